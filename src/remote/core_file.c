// core_file.c -- A core file as a target.
//
// Its notes are untrusted: each is looked at by what it has of bytes.
#include "remote/core_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/grow.h"
#include "base/list.h"
#include "dump/beacon.h"
#include "remote/regs.h"
#include "remote/unpack.h"

static const uint64_t NOTES_MAX = 1 << 30;

__attribute__((format(printf, 3, 4))) static int fail(struct core_file *core,
                                                      int error,
                                                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(core->target.problem, sizeof core->target.problem, format,
                    args);
    va_end(args);
    return -error;
}

static struct core_file *core_of(struct target *target)
{
    return container_of(target, struct core_file, target);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// ---- Memory ----

static size_t read_space(const struct space *space, uintptr_t address, void *to,
                         size_t bytes)
{
    const struct core_file *core =
        container_of(space, struct core_file, target.space);

    return space_read(&core->image.space, address, to, bytes);
}

static void read_spans(const struct space *space, struct span *spans,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        spans[i].bytes =
            read_space(space, spans[i].address, spans[i].to, spans[i].bytes);
}

// ---- Threads ----

static struct target_thread *find_thread(struct core_file *core, int tid)
{
    struct target *target = &core->target;

    for (size_t i = 0; i < target->thread_count; i++)
        if (target->threads[i].tid == tid)
            return &target->threads[i];
    if (!grow(&target->threads, &core->thread_room, target->thread_count + 1,
              sizeof *target->threads))
        return NULL;
    target->threads[target->thread_count] =
        (struct target_thread){.tid = tid, .inner_tid = tid, .call = -1};
    return &target->threads[target->thread_count++];
}

// By what the kernel leaves in the registers of a thread inside a call.
static void read_call(struct target_thread *thread)
{
#if defined(__x86_64__)
    const struct user_regs_struct *user = &thread->user;
    const uint64_t args[] = {user->rdi, user->rsi, user->rdx,
                             user->r10, user->r8,  user->r9};

    thread->call = (long)user->orig_rax;
    thread->in_call = thread->call >= 0;
    memcpy(thread->args, args, sizeof args);
#else
    (void)thread; // a note of its own says so: NT_ARM_SYSTEM_CALL
#endif
}

static int add_status(struct core_file *core, const char *bytes, size_t size)
{
    struct elf_prstatus status;

    if (size < sizeof status)
        return 0;
    memcpy(&status, bytes, sizeof status);
    struct target_thread *thread = find_thread(core, status.pr_pid);
    if (thread == NULL)
        return -ENOMEM;
    thread->stopped = thread->standing = true;
    memcpy(&thread->user, status.pr_reg, sizeof thread->user);
    regs_of_user(&thread->user, &thread->regs);
    read_call(thread);
    return 0;
}

// Of the thread whose registers came last.
static void add_call(struct core_file *core, const char *bytes, size_t size)
{
    struct target *target = &core->target;
    int32_t call;

    if (size < sizeof call || target->thread_count == 0)
        return;
    memcpy(&call, bytes, sizeof call);
    struct target_thread *thread = &target->threads[target->thread_count - 1];
    thread->call = call;
    thread->in_call = call >= 0;
    memcpy(thread->args, &thread->regs.reg, sizeof thread->args);
}

static int add_saved_threads(struct core_file *core, const char *bytes,
                             size_t size)
{
    struct saved_thread saved;

    for (size_t at = 0; size - at >= sizeof saved; at += sizeof saved) {
        memcpy(&saved, bytes + at, sizeof saved);
        struct target_thread *thread = find_thread(core, saved.tid);
        if (thread == NULL)
            return -ENOMEM;
        thread->inner_tid = saved.inner_tid;
        thread->in_call = saved.in_call != 0;
        if (!thread->standing && saved.standing != 0) {
            thread->standing = true;
            thread->regs =
                (struct unwind_regs){.pc = saved.pc, .valid = 1u << CFI_SP};
            thread->regs.reg[CFI_SP] = saved.sp;
        }
        thread->call = (long)saved.call;
        memcpy(thread->args, saved.args, sizeof thread->args);
    }
    return 0;
}

// ---- Notes ----

struct note {
    uint32_t type;
    bool ours; // of weft
    const char *bytes;
    size_t size;
};

static int add_auxv(struct core_file *core, const char *bytes, size_t size)
{
    ElfW(auxv_t) entry;
    int error = 0;

    for (size_t at = 0; size - at >= sizeof entry && error == 0;
         at += sizeof entry) {
        memcpy(&entry, bytes + at, sizeof entry);
        uintptr_t value = entry.a_un.a_val;
        if (entry.a_type == AT_PHDR)
            core->headers = value;
        if (entry.a_type == AT_SYSINFO_EHDR)
            error =
                image_add_mapping(&core->image, value, value + 1, 0, "[vdso]");
    }
    return error;
}

// How many, the size of a page, three numbers each, then as many paths.
static int add_files(struct core_file *core, const char *bytes, size_t size)
{
    uint64_t head[2], row[3];

    if (size < sizeof head)
        return 0;
    memcpy(head, bytes, sizeof head);
    const char *rows = bytes + sizeof head;
    if (head[0] > (size - sizeof head) / sizeof row)
        return 0;
    const char *path = rows + head[0] * sizeof row;
    const char *end = bytes + size;
    for (uint64_t i = 0; i < head[0] && path < end; i++) {
        size_t length = strnlen(path, (size_t)(end - path));
        if (path + length == end)
            return 0;
        memcpy(row, rows + i * sizeof row, sizeof row);
        int error = image_add_mapping(&core->image, row[0], row[1],
                                      row[2] * head[1], path);
        if (error != 0)
            return error;
        path += length + 1;
    }
    return 0;
}

static void add_info(struct core_file *core, const char *bytes, size_t size)
{
    struct elf_prpsinfo info;

    if (size < sizeof info)
        return;
    memcpy(&info, bytes, sizeof info);
    core->target.pid = info.pr_pid;
    if (core->args.bytes == NULL) // its words, not yet told apart
        core->args = (struct core_file_text){
            bytes + offsetof(struct elf_prpsinfo, pr_psargs),
            strnlen(info.pr_psargs, sizeof info.pr_psargs)};
}

// A time that can be told.
static int64_t sound(int64_t ns)
{
    return ns >= 0 && ns < INT64_MAX / 4 ? ns : 0;
}

static void set_moment(struct core_file *core, const char *bytes)
{
    struct saved_moment *moment = &core->moment;

    memcpy(moment, bytes, sizeof *moment);
    moment->now_ns = sound(moment->now_ns);
    moment->wall_ns = sound(moment->wall_ns);
    moment->start_ns = sound(moment->start_ns);
    moment->stood_ns = sound(moment->stood_ns);
    moment->took_ns = sound(moment->took_ns);
}

static int add_ours(struct core_file *core, const struct note *note)
{
    struct core_file_text text = {note->bytes, note->size};

    switch (note->type) {
    case SAVED_MOMENT:
        if (note->size >= sizeof core->moment)
            set_moment(core, note->bytes);
        break;
    case SAVED_EXE:
        core->exe = text;
        break;
    case SAVED_HOST:
        core->host = text;
        break;
    case SAVED_ARGS:
        core->args = text;
        break;
    case SAVED_FDS:
        core->fds = text;
        break;
    case SAVED_NAMES:
        core->names = text;
        break;
    case SAVED_THREADS:
        return add_saved_threads(core, note->bytes, note->size);
    default:
        break;
    }
    return 0;
}

static int add_note(struct core_file *core, const struct note *note)
{
    if (note->ours)
        return add_ours(core, note);
    switch (note->type) {
    case NT_PRSTATUS:
        return add_status(core, note->bytes, note->size);
    case NT_ARM_SYSTEM_CALL:
        add_call(core, note->bytes, note->size);
        return 0;
    case NT_PRPSINFO:
        add_info(core, note->bytes, note->size);
        return 0;
    case NT_AUXV:
        return add_auxv(core, note->bytes, note->size);
    case NT_FILE:
        return add_files(core, note->bytes, note->size);
    default:
        return 0;
    }
}

// The next of a segment's notes; false: there is none.
static bool next_note(const char *bytes, size_t size, size_t *at,
                      struct note *ret_note)
{
    ElfW(Nhdr) header;

    if (size - *at < sizeof header)
        return false;
    memcpy(&header, bytes + *at, sizeof header);
    const char *name = bytes + *at + sizeof header;
    size_t left = size - *at - sizeof header;
    size_t name_room = ((size_t)header.n_namesz + 3) & ~(size_t)3;
    size_t room = ((size_t)header.n_descsz + 3) & ~(size_t)3;
    if (name_room > left || header.n_descsz > left - name_room)
        return false;
    *ret_note = (struct note){
        .type = header.n_type,
        .ours = header.n_namesz == sizeof BEACON_OWNER &&
                memcmp(name, BEACON_OWNER, sizeof BEACON_OWNER) == 0,
        .bytes = name + name_room,
        .size = header.n_descsz,
    };
    if (room > left - name_room)
        room = left - name_room;
    *at = (size_t)(name + name_room + room - bytes);
    return true;
}

static int read_notes(struct core_file *core)
{
    const struct elf_file *file = &core->file;
    struct note note;
    int error = 0;

    core->notes = calloc(file->segment_count + 1, sizeof *core->notes);
    if (core->notes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < file->segment_count && error == 0; i++) {
        const ElfW(Phdr) *p = &file->segments[i];
        size_t at = 0;
        char *bytes = p->p_type == PT_NOTE && p->p_filesz <= NOTES_MAX
                          ? elf_file_read(file, p->p_offset, p->p_filesz)
                          : NULL;
        if (bytes == NULL)
            continue;
        core->notes[core->note_count++] = bytes;
        while (error == 0 && next_note(bytes, p->p_filesz, &at, &note))
            error = add_note(core, &note);
    }
    return error;
}

// ---- What it says ----

static int stop(struct target *target)
{
    (void)target;
    return 0;
}

static void resume(struct target *target)
{
    (void)target;
}

static void read_moment(struct target *target, struct target_moment *ret_moment)
{
    const struct core_file *core = core_of(target);

    *ret_moment = (struct target_moment){.wall_ns = core->written_ns};
    if (core->moment.version != 0)
        *ret_moment = (struct target_moment){
            .now = {core->moment.ticks, core->moment.now_ns},
            .wall_ns = core->moment.wall_ns};
}

static FILE *open_maps(struct target *target)
{
    struct core_file *core = core_of(target);

    free(core->maps);
    core->maps = image_maps(&core->image);
    return core->maps == NULL ? NULL
                              : fmemopen(core->maps, strlen(core->maps), "r");
}

// At its path, if anywhere: not in the program of the reader.
static int find_file(struct target *target, const char *path, bool is_exe,
                     char **ret_file)
{
    (void)target;
    (void)is_exe;
    *ret_file = strdup(path);
    return *ret_file == NULL ? -ENOMEM : 0;
}

// What comes after a number in a list; its length in *ret_length. NULL: it is
// not there.
static const char *find_number(const struct core_file_text *list, int number,
                               size_t *ret_length)
{
    for (size_t at = 0; at < list->size;) {
        const char *line = list->bytes + at;
        size_t length = strnlen(line, list->size - at);
        char *end;
        if (strtol(line, &end, 10) == number && end > line && *end == ' ' &&
            end < line + length) {
            *ret_length = (size_t)(line + length - end - 1);
            return end + 1;
        }
        at += length + 1;
    }
    return NULL;
}

static char *read_descriptor(struct target *target, int fd)
{
    size_t length;
    const char *name = find_number(&core_of(target)->fds, fd, &length);

    return name == NULL ? NULL : strndup(name, length);
}

static void read_name(struct target *target, int tid, char *ret_name)
{
    size_t length;
    const char *name = find_number(&core_of(target)->names, tid, &length);

    snprintf(ret_name, 16, "%.*s", name == NULL ? 0 : (int)least(length, 15),
             name == NULL ? "" : name);
}

static bool is_still(const struct target *target,
                     const struct target_thread *thread)
{
    (void)target;
    (void)thread;
    return true;
}

static char *copy_text(const struct core_file_text *text, const char *otherwise)
{
    return text->bytes != NULL ? strndup(text->bytes, text->size)
                               : strdup(otherwise);
}

// Words that end with `end`.
static char **split(const struct core_file_text *text, char end)
{
    char **words = calloc(text->size + 2, sizeof *words);
    size_t count = 0;

    for (size_t at = 0; words != NULL && at < text->size;) {
        const char *word = text->bytes + at;
        const char *stop = memchr(word, end, text->size - at);
        size_t length = stop == NULL ? text->size - at : (size_t)(stop - word);
        at += length + 1;
        if (length == 0 && end == ' ')
            continue;
        words[count] = strndup(word, length);
        if (words[count++] == NULL)
            break;
    }
    return words;
}

static int describe(struct target *target, struct weft_dump *dump)
{
    const struct core_file *core = core_of(target);
    bool saved = core->moment.version != 0;

    dump->pid = target->pid;
    if (saved) {
        dump->pid = core->moment.pid;
        dump->process_start_ns = core->moment.start_ns;
    }
    if (core->exe.bytes != NULL)
        dump->exe = copy_text(&core->exe, "");
    else
        dump->exe = image_path(&core->image, core->headers);
    dump->host = copy_text(&core->host, "");
    dump->args = split(&core->args, saved ? '\0' : ' ');
    return dump->host == NULL || dump->args == NULL ? -ENOMEM : 0;
}

static char *missing(struct target *target, uint64_t *ret_pages)
{
    const struct core_file *core = core_of(target);

    *ret_pages = image_lost_pages(&core->image);
    if (core->cut)
        return strdup("the core is cut off before its end");
    return image_lost_files(&core->image);
}

static const struct target_kind CORE = {
    .stop = stop,
    .resume = resume,
    .moment = read_moment,
    .still = is_still,
    .maps = open_maps,
    .file = find_file,
    .descriptor = read_descriptor,
    .thread_name = read_name,
    .describe = describe,
    .missing = missing,
};

// ---- Opening ----

static int explain_file(struct core_file *core, int error)
{
    core->cut |= error == -ENODATA;
    if (core->cut)
        return fail(core, ENODATA,
                    "it is cut off after %" PRIu64 " bytes, before the end "
                    "of its table of segments (which a saved dump has at its "
                    "own end): nothing of it can be read",
                    core->file.size);
    if (error != -ENOEXEC)
        return fail(core, -error, "%s", strerror(-error));
    return fail(core, ENOEXEC, "it is not a core file of this kind of machine");
}

static int open_file(struct core_file *core, const char *path)
{
    struct stat about;
    // What is no plain file is not to be waited for.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return fail(core, errno, "%s", strerror(errno));
    if (fstat(fd, &about) == 0)
        core->written_ns =
            about.st_mtim.tv_sec * 1000000000 + about.st_mtim.tv_nsec;
    int error = unpack(&fd, core->target.problem, sizeof core->target.problem);
    core->cut = error == -ENODATA;
    if (error != 0 && !core->cut) {
        (void)close(fd);
        return error;
    }
    core->target.problem[0] = '\0';
    error = elf_file_open_at(&core->file, fd);
    if (error != 0) {
        core->file.fd = -1;
        return explain_file(core, error);
    }
    return core->file.header.e_type == ET_CORE
               ? 0
               : fail(core, ENOEXEC, "it is not a core file");
}

// The executable that the caller names must be the one.
static int use_exe(struct core_file *core, const char *exe)
{
    char *path = realpath(exe, NULL);

    if (path == NULL)
        return fail(core, errno, "%s: %s", exe, strerror(errno));
    int error = image_move_file(&core->image, core->headers, path);
    free(path);
    if (error == -ENOENT)
        return fail(core, ENOENT,
                    "it does not say where its executable was, so that %s "
                    "cannot be told to be it",
                    exe);
    return error;
}

static int open_memory(struct core_file *core, const char *exe)
{
    int error = image_init(&core->image, &core->file);

    if (error == 0)
        error = read_notes(core);
    if (error == 0 && core->moment.version > SAVED_VERSION)
        return fail(core, EPROTO,
                    "it was saved by a newer weft: use that command");
    if (error == 0 && exe != NULL)
        error = use_exe(core, exe);
    if (error != 0)
        return error;
    core->cut |= image_is_cut(&core->image);
    image_open_files(&core->image);
    const char *distrust = image_distrust(&core->image, core->headers);
    if (exe != NULL && distrust != NULL)
        return fail(core, ENOEXEC, "%s %s", exe, distrust);
    if (core->image.file_count == 0)
        return fail(core, ENODATA,
                    "it does not say what was mapped where, or is cut off "
                    "before that");
    return 0;
}

int core_file_open(struct core_file *core, const char *path, const char *exe)
{
    *core = (struct core_file){
        .target = {.space = {.read = read_space, .read_many = read_spans},
                   .kind = &CORE,
                   .method = MODEL_CORE,
                   .frozen = true,
                   .memory = -1},
        .file = {.fd = -1},
    };
    int error = open_file(core, path);
    if (error == 0)
        error = open_memory(core, exe);
    if (error != 0 && core->target.problem[0] == '\0')
        return fail(core, -error, "%s", strerror(-error));
    if (core->moment.version != 0) {
        core->target.method = MODEL_PTRACE;
        core->target.stood_ns = core->moment.stood_ns;
        core->target.took_ns = core->moment.took_ns;
    }
    return error;
}

void core_file_close(struct core_file *core)
{
    for (size_t i = 0; i < core->note_count; i++)
        free(core->notes[i]);
    free(core->notes);
    free(core->target.threads);
    free(core->maps);
    image_deinit(&core->image);
    if (core->file.fd >= 0)
        elf_file_close(&core->file);
}
