// core.c -- Fuzzes what reads a process from outside: core files that are
// damaged, and memory that is.
//
// A program whose tasks are stuck in many ways is saved once, by a child of
// this process; so the damaged memory is always of today's structures. Input: a
// byte that says what is made of it, then either a whole file, or changes to
// the saved one, as change() takes them.
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <weft/dump.h>

#include "dump/beacon.h"
#include "dump/process.h"
#include "remote/core_file.h"
#include "remote/save.h"
#include "remote/take.h"
#include "support/fuzz.h"
#include "support/json_check.h"
#include "support/stuck.h"

// PRINTED is two bits, so that a quarter of the inputs are.
enum { WHOLE_FILE = 1, AS_JSON = 2, VERBOSE = 4, PRINTED = 0xc0 };
enum { FILE_MAX = 4 << 20, CHANGES_MAX = 200 };

// ---- The module that leads to weft: a note, and no code ----

struct module {
    ElfW(Ehdr) header;
    ElfW(Phdr) segments[2];
    ElfW(Nhdr) note;
    char owner[8];
    char away[sizeof(int64_t)]; // from here to the beacon
};

static _Alignas(4096) union {
    struct module module;
    char page[4096];
} page;

static void make_module(void)
{
    struct module *m = &page.module;
#if defined(__x86_64__)
    const unsigned machine = EM_X86_64;
#else
    const unsigned machine = EM_AARCH64;
#endif
    size_t note = offsetof(struct module, note);
    uintptr_t away = (uintptr_t)&beacon - (uintptr_t)m->away;

    *m = (struct module){
        .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                               ELFDATA2LSB, EV_CURRENT},
                   .e_machine = (ElfW(Half))machine,
                   .e_phoff = offsetof(struct module, segments),
                   .e_phentsize = sizeof *m->segments,
                   .e_phnum = 2},
        .segments = {{.p_type = PT_LOAD,
                      .p_flags = PF_R,
                      .p_memsz = sizeof page,
                      .p_filesz = sizeof page},
                     {.p_type = PT_NOTE,
                      .p_vaddr = note,
                      .p_memsz = sizeof *m - note,
                      .p_align = 4}},
        .note = {sizeof BEACON_OWNER, sizeof m->away, BEACON_NOTE},
        .owner = BEACON_OWNER,
    };
    memcpy(m->away, &away, sizeof away);
}

// ---- This process as a target ----

static int stop(struct target *target)
{
    struct target_thread *thread = calloc(1, sizeof *thread);
    uintptr_t sp = atomic_load(&stuck_sp);

    must(thread);
    thread->stopped = thread->standing = thread->in_call = true;
    // Whichever worker it is: each is tried for the task that runs.
    thread->tid = thread->inner_tid = target->pid;
#if defined(__x86_64__)
    thread->call = SYS_clock_nanosleep;
    thread->user.rsp = sp;
    thread->user.rip = (uintptr_t)stuck_runner;
#else
    thread->call = SYS_clock_nanosleep;
    thread->user.sp = sp;
    thread->user.pc = (uintptr_t)stuck_runner;
#endif
    target->threads = thread;
    target->thread_count = 1;
    return 0;
}

static void resume(struct target *target)
{
    (void)target;
}

static void read_moment(struct target *target, struct target_moment *ret_moment)
{
    (void)target;
    *ret_moment = (struct target_moment){.now = {port_ticks(), port_now()},
                                         .wall_ns = port_wall_now()};
}

static FILE *open_maps(struct target *target)
{
    static char line[128];

    (void)target;
    snprintf(line, sizeof line, "%zx-%zx r--p 0 00:00 0 /fuzz/module\n",
             (size_t)&page, (size_t)&page + sizeof page);
    return fmemopen(line, strlen(line), "r");
}

static char *read_descriptor(struct target *target, int fd)
{
    (void)target;
    (void)fd;
    return strdup("socket:[4711]");
}

static bool is_still(const struct target *target,
                     const struct target_thread *thread)
{
    (void)target;
    (void)thread;
    return true;
}

static void read_name(struct target *target, int tid, char *ret_name)
{
    (void)target;
    snprintf(ret_name, 16, "thread %d", tid);
}

static int describe(struct target *target, struct weft_dump *dump)
{
    (void)target;
    return process_describe(0, dump);
}

static size_t read_space(const struct space *space, uintptr_t address, void *to,
                         size_t bytes)
{
    (void)space;
    return space_read(NULL, address, to, bytes);
}

static void read_spans(const struct space *space, struct span *spans,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        spans[i].bytes =
            read_space(space, spans[i].address, spans[i].to, spans[i].bytes);
}

static const struct target_kind OWN = {
    .stop = stop,
    .resume = resume,
    .moment = read_moment,
    .still = is_still,
    .maps = open_maps,
    .descriptor = read_descriptor,
    .thread_name = read_name,
    .describe = describe,
};

// The thread that keeps a worker, by its number.
static int find_runner(weft_runtime *runtime)
{
    for (uint32_t i = 0; i < runtime->worker_count; i++)
        if (load_relaxed(&runtime->workers[i].current) != NULL)
            return (int)load_relaxed(&runtime->workers[i].tid);
    return 0;
}

static void save_own(int fd)
{
    struct remote_dumps dumps;
    struct recorder recorder;

    make_module();
    struct target target = {
        .space = {.read = read_space, .read_many = read_spans},
        .kind = &OWN,
        .method = MODEL_PTRACE,
        .pid = find_runner(stuck_start()),
    };
    must(recorder_init(&recorder, &target, fd) == 0);
    int error = remote_take(&recorder.target, NULL, &dumps);
    if (error != 0)
        fprintf(stderr, "%s\n", recorder.target.problem);
    must(error == 0);
    must(recorder_finish(&recorder, dumps.dumps[0]) == 0);
}

// ---- The saved dump ----

static int file_fd;      // the damaged one
static char *file;       // the same, in memory
static char *sound;      // what it was
static size_t file_size; // of the sound one

static void make_sound(void)
{
    int fd = memfd_create("sound", 0);
    int status;

    must(fd >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        save_own(fd);
        _exit(0);
    }
    must(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    file_size = (size_t)lseek(fd, 0, SEEK_END);
    must(file_size > 0 && file_size < FILE_MAX);
    sound = malloc(file_size);
    must(sound && pread(fd, sound, file_size, 0) == (ssize_t)file_size);
    close(fd);
    file_fd = memfd_create("damaged", 0);
    must(file_fd >= 0 && ftruncate(file_fd, FILE_MAX) == 0);
    file = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0);
    must(file != MAP_FAILED);
}

// ---- Damage ----

// One of the words of the memory that was saved: its place in the file.
static size_t choose_word(struct input *in)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)sound;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(sound + header->e_phoff);
    const ElfW(Phdr) *p =
        &segments[1 + input_number(in, 1) % (header->e_phnum - 1U)];
    size_t words = p->p_filesz / sizeof(uint64_t);

    return p->p_offset +
           (words == 0 ? 0 : input_number(in, 2) % words * sizeof(uint64_t));
}

// The address that such a place was read from.
static uint64_t address_of(size_t place)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)sound;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(sound + header->e_phoff);

    for (size_t i = 1; i < header->e_phnum; i++)
        if (place - segments[i].p_offset < segments[i].p_filesz)
            return segments[i].p_vaddr + place - segments[i].p_offset;
    return 0;
}

static void put_word(size_t place, uint64_t word)
{
    memcpy(file + place, &word, sizeof word);
}

static void change(struct input *in, size_t *size)
{
    static const uint64_t edges[] = {0,         1,         UINT64_MAX,
                                     INT64_MAX, 1UL << 63, 0xfffffff8,
                                     1UL << 32, 1UL << 24, 4096};
    unsigned what = (unsigned)input_number(in, 1);
    // The tables and notes lie behind the memory.
    size_t place =
        what & 128 ? file_size / 2 + input_number(in, 3) % (file_size / 2 - 8)
                   : choose_word(in);
    uint64_t word;

    memcpy(&word, file + place, sizeof word);
    switch (what % 8) {
    case 0:
        put_word(place, input_number(in, 8));
        break;
    case 1:
        put_word(place, word ^ 1UL << input_number(in, 1) % 64);
        break;
    case 2: // another's address: a cycle, or the wrong kind
        put_word(place, address_of(choose_word(in)));
        break;
    case 3:
        memcpy(file + place, file + choose_word(in), sizeof word);
        break;
    case 4:
        put_word(place, word + input_number(in, 1) - 128);
        break;
    case 5:
        put_word(place,
                 edges[input_number(in, 1) % (sizeof edges / sizeof *edges)]);
        break;
    case 6:
        *size = place;
        break;
    default:
        file[place + (what >> 4 & 7)] = (char)input_number(in, 1);
        break;
    }
}

// How long the damaged file is.
static size_t damage(struct input *in, unsigned how)
{
    size_t size = file_size;

    if (how & WHOLE_FILE) {
        size = in->left;
        if (size > 0)
            memcpy(file, in->at, size);
        return size;
    }
    memcpy(file, sound, file_size);
    for (int i = 0; i < CHANGES_MAX && in->left > 0; i++)
        change(in, &size);
    return size;
}

// ---- What must hold ----

static void print(const weft_dump *dump, unsigned how)
{
    weft_print_options options = {.size = sizeof options,
                                  .verbose = how & VERBOSE};
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    must(to);
    must((how & AS_JSON ? weft_dump_print_json
                        : weft_dump_print_text)(dump, &options, to) == 0);
    must(fclose(to) == 0 && (!(how & AS_JSON) || json_valid(text)));
    free(text);
}

// What is not damaged must be read as it was.
static void check_sound(int error, const char *problem,
                        const struct remote_dumps *dumps)
{
    if (error != 0 || !dumps->dumps[0]->complete)
        fprintf(stderr, "%s\n",
                error != 0 ? problem : dumps->dumps[0]->problem);
    must(error == 0 && dumps->count == 1 && dumps->dumps[0]->complete);
    must(dumps->dumps[0]->task_count == STUCK_TASKS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned how = (unsigned)input_number(&in, 1);
    struct core_file core;
    struct remote_dumps dumps = {0};
    char path[64];

    if (sound == NULL)
        make_sound();
    must(ftruncate(file_fd, FILE_MAX) == 0);
    size_t length = damage(&in, how);
    must(ftruncate(file_fd, (off_t)length) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file_fd);
    int error = core_file_open(&core, path, NULL);
    if (error == 0)
        error = remote_take(&core.target, NULL, &dumps);
    must(error == 0 || core.target.problem[0] != '\0');
    if (size <= 1 && !(how & WHOLE_FILE))
        check_sound(error, core.target.problem, &dumps);
    core_file_close(&core);
    for (size_t i = 0; i < dumps.count; i++)
        if ((how & PRINTED) == PRINTED)
            print(dumps.dumps[i], how);
    remote_free(&dumps);
    return 0;
}
