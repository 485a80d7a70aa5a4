// save.c -- Writes down what a dump is made of, so that it can be made again
// elsewhere.
//
// Not whole pages but the ranges that were read: of a task that waits, that is
// some hundred bytes of its stack instead of a page or two. They go to the file
// as they come, the table that says where each belongs follows at its end.
#include "remote/save.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "base/grow.h"
#include "base/list.h"
#include "base/lock.h"
#include "dump/beacon.h"

enum { BUFFER = 1 << 20, BLOCK = 4096 };

// Bytes of the file and where they were in memory.
struct range {
    uintptr_t begin, end;
    uint64_t offset;
};

// Numbers, and what each is called.
struct list_text {
    char *bytes;
    size_t size;
    FILE *to;
};

struct recorded {
    struct range *ranges;
    size_t range_count, range_room;
    uint64_t written; // of the file, without what is in the buffer
    size_t used;
    int error; // the first that writing met
    struct target_moment moment;
    bool has_moment;
    char *maps;
    size_t maps_size;
    struct list_text fds, names;
    struct lock lock; // guards ranges and the buffer: several threads read
    char buffer[BUFFER];
};

static struct recorder *recorder_of(struct target *target)
{
    return container_of(target, struct recorder, target);
}

// ---- The file ----

static void put(struct recorder *recorder, const void *bytes, size_t size,
                uint64_t offset)
{
    struct recorded *r = recorder->recorded;

    for (size_t done = 0; done < size && r->error == 0;) {
        ssize_t count = pwrite(recorder->fd, (const char *)bytes + done,
                               size - done, (off_t)(offset + done));
        if (count < 0 && errno != EINTR)
            r->error = errno;
        done += count > 0 ? (size_t)count : 0;
    }
}

static bool is_zero(const char *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

// Blocks of zeros stay holes.
static void flush(struct recorder *recorder)
{
    struct recorded *r = recorder->recorded;

    for (size_t at = 0; at < r->used; at += BLOCK) {
        size_t size = r->used - at < BLOCK ? r->used - at : BLOCK;
        if (!is_zero(r->buffer + at, size))
            put(recorder, r->buffer + at, size, r->written + at);
    }
    r->written += r->used;
    r->used = 0;
}

static void append(struct recorder *recorder, const void *bytes, size_t size)
{
    struct recorded *r = recorder->recorded;

    for (size_t done = 0; done < size;) {
        size_t room = BUFFER - r->used;
        size_t part = size - done < room ? size - done : room;
        memcpy(r->buffer + r->used, (const char *)bytes + done, part);
        r->used += part;
        done += part;
        if (r->used == BUFFER)
            flush(recorder);
    }
}

static uint64_t position(const struct recorder *recorder)
{
    return recorder->recorded->written + recorder->recorded->used;
}

// ---- What is read ----

static void keep(struct recorder *recorder, uintptr_t address,
                 const void *bytes, size_t size)
{
    struct recorded *r = recorder->recorded;

    if (size == 0)
        return;
    lock_acquire(&r->lock);
    if (grow(&r->ranges, &r->range_room, r->range_count + 1,
             sizeof *r->ranges)) {
        r->ranges[r->range_count++] =
            (struct range){address, address + size, position(recorder)};
        append(recorder, bytes, size);
    } else {
        r->error = ENOMEM;
    }
    lock_release(&r->lock);
}

static size_t read_space(const struct space *space, uintptr_t address, void *to,
                         size_t bytes)
{
    struct recorder *recorder =
        container_of(space, struct recorder, target.space);
    size_t got = space_read(&recorder->from->space, address, to, bytes);

    keep(recorder, address, to, got);
    return got;
}

static void read_spans(const struct space *space, struct span *spans,
                       size_t count)
{
    struct recorder *recorder =
        container_of(space, struct recorder, target.space);

    recorder->from->space.read_many(&recorder->from->space, spans, count);
    for (size_t i = 0; i < count; i++)
        keep(recorder, spans[i].address, spans[i].to, spans[i].bytes);
}

// ---- What is asked ----

static int stop(struct target *target)
{
    struct recorder *recorder = recorder_of(target);
    struct target *from = recorder->from;
    int error = from->kind->stop(from);

    memcpy(target->problem, from->problem, sizeof target->problem);
    if (error != 0)
        return error;
    free(target->threads);
    target->threads =
        malloc((from->thread_count + 1) * sizeof *target->threads);
    if (target->threads == NULL) {
        from->kind->resume(from);
        return -ENOMEM;
    }
    target->thread_count = from->thread_count;
    memcpy(target->threads, from->threads,
           from->thread_count * sizeof *target->threads);
    return 0;
}

static void resume(struct target *target)
{
    struct target *from = recorder_of(target)->from;

    from->kind->resume(from);
    target->stood_ns = from->stood_ns;
}

// The same to all who ask.
static void read_moment(struct target *target, struct target_moment *ret_moment)
{
    struct recorder *recorder = recorder_of(target);
    struct recorded *r = recorder->recorded;

    if (!r->has_moment)
        recorder->from->kind->moment(recorder->from, &r->moment);
    r->has_moment = true;
    *ret_moment = r->moment;
}

static void copy_maps(struct recorder *recorder, FILE *from)
{
    struct recorded *r = recorder->recorded;
    FILE *to;
    int c;

    free(r->maps);
    r->maps = NULL;
    to = open_memstream(&r->maps, &r->maps_size);
    while (to != NULL && (c = getc(from)) != EOF)
        putc(c, to);
    if (to == NULL || fclose(to) != 0)
        r->error = ENOMEM;
}

static FILE *open_maps(struct target *target)
{
    struct recorder *recorder = recorder_of(target);
    FILE *from = recorder->from->kind->maps(recorder->from);

    if (from == NULL)
        return NULL;
    copy_maps(recorder, from);
    (void)fclose(from);
    errno = EIO;
    return recorder->recorded->maps_size == 0
               ? NULL
               : fmemopen(recorder->recorded->maps,
                          recorder->recorded->maps_size, "r");
}

static char *read_descriptor(struct target *target, int fd)
{
    struct recorder *recorder = recorder_of(target);
    char *name = recorder->from->kind->descriptor(recorder->from, fd);

    if (name != NULL)
        fprintf(recorder->recorded->fds.to, "%d %s%c", fd, name, 0);
    return name;
}

static void read_name(struct target *target, int tid, char *ret_name)
{
    struct recorder *recorder = recorder_of(target);

    recorder->from->kind->thread_name(recorder->from, tid, ret_name);
    fprintf(recorder->recorded->names.to, "%d %s%c", tid, ret_name, 0);
}

static bool is_still(const struct target *target,
                     const struct target_thread *thread)
{
    const struct recorder *recorder =
        container_of(target, struct recorder, target);

    return recorder->from->kind->still(recorder->from, thread);
}

static int find_file(struct target *target, const char *path, bool is_exe,
                     char **ret_file)
{
    struct target *from = recorder_of(target)->from;

    return from->kind->file == NULL
               ? 0
               : from->kind->file(from, path, is_exe, ret_file);
}

static int describe(struct target *target, struct weft_dump *dump)
{
    struct recorder *recorder = recorder_of(target);

    return recorder->from->kind->describe(recorder->from, dump);
}

static const struct target_kind RECORDING = {
    .stop = stop,
    .resume = resume,
    .moment = read_moment,
    .still = is_still,
    .maps = open_maps,
    .file = find_file,
    .descriptor = read_descriptor,
    .thread_name = read_name,
    .describe = describe,
};

// ---- Begin and end ----

static bool text_init(struct list_text *text)
{
    text->to = open_memstream(&text->bytes, &text->size);
    return text->to != NULL;
}

static void text_deinit(struct list_text *text)
{
    if (text->to != NULL)
        (void)fclose(text->to);
    free(text->bytes);
}

int recorder_init(struct recorder *recorder, struct target *from, int fd)
{
    *recorder = (struct recorder){
        .target = {.space = {.read = read_space, .read_many = read_spans},
                   .kind = &RECORDING,
                   .method = from->method,
                   .frozen = true,
                   .pid = from->pid,
                   .living = from->living,
                   .memory = -1},
        .from = from,
        .fd = fd,
        .recorded = calloc(1, sizeof *recorder->recorded),
    };
    if (recorder->recorded == NULL)
        return -ENOMEM;
    struct recorded *r = recorder->recorded;
    r->written = BLOCK; // room for the header
    return text_init(&r->fds) && text_init(&r->names) ? 0 : -ENOMEM;
}

void recorder_deinit(struct recorder *recorder)
{
    struct recorded *r = recorder->recorded;

    if (r == NULL)
        return;
    text_deinit(&r->fds);
    text_deinit(&r->names);
    free(r->maps);
    free(r->ranges);
    free(r);
    free(recorder->target.threads);
}

// ---- Notes ----

static void write_note(FILE *to, const char *owner, uint32_t type,
                       const void *bytes, size_t size)
{
    static const char zeros[4];
    size_t owner_size = strlen(owner) + 1;
    ElfW(Nhdr) header = {.n_namesz = (uint32_t)owner_size,
                         .n_descsz = (uint32_t)size,
                         .n_type = type};

    (void)fwrite(&header, sizeof header, 1, to);
    (void)fwrite(owner, 1, owner_size, to);
    (void)fwrite(zeros, 1, -owner_size & 3, to);
    (void)fwrite(bytes, 1, size, to);
    (void)fwrite(zeros, 1, -size & 3, to);
}

static void write_status(FILE *to, const struct target_thread *thread)
{
    struct elf_prstatus status = {.pr_pid = thread->tid};

    _Static_assert(sizeof status.pr_reg == sizeof thread->user, "the same");
    memcpy(status.pr_reg, &thread->user, sizeof thread->user);
    write_note(to, "CORE", NT_PRSTATUS, &status, sizeof status);
}

static void write_threads(struct recorder *recorder, FILE *to)
{
    const struct target *target = &recorder->target;
    struct saved_thread *saved =
        calloc(target->thread_count + 1, sizeof *saved);

    if (saved == NULL) {
        recorder->recorded->error = ENOMEM;
        return;
    }
    for (size_t i = 0; i < target->thread_count; i++) {
        const struct target_thread *thread = &target->threads[i];
        if (thread->stopped)
            write_status(to, thread);
        saved[i] = (struct saved_thread){.tid = thread->tid,
                                         .inner_tid = thread->inner_tid,
                                         .stopped = thread->stopped,
                                         .in_call = thread->in_call,
                                         .standing = thread->standing,
                                         .pc = thread->regs.pc,
                                         .sp = thread->regs.reg[CFI_SP],
                                         .call = thread->call};
        memcpy(saved[i].args, thread->args, sizeof saved[i].args);
    }
    write_note(to, BEACON_OWNER, SAVED_THREADS, saved,
               target->thread_count * sizeof *saved);
    free(saved);
}

// A line of the mappings that is of a file: its three numbers and its path,
// which lies in the line. NULL: of none.
static char *parse_mapping(char *line, uint64_t numbers[3])
{
    char *path = strchr(line, '/');

    if (path == NULL || sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64,
                               &numbers[0], &numbers[1], &numbers[2]) != 3)
        return NULL;
    path[strcspn(path, "\n")] = '\0';
    return path;
}

// Writes, of each mapping of a file, its path or its numbers, or nothing; how
// many there are.
enum put_what { PUT_NOTHING, PUT_NUMBERS, PUT_PATHS };

static uint64_t put_files(const struct recorded *r, FILE *to,
                          enum put_what what)
{
    FILE *maps = fmemopen(r->maps, r->maps_size, "r");
    char *line = NULL;
    size_t room = 0;
    uint64_t count = 0;
    uint64_t numbers[3];

    while (maps != NULL && getline(&line, &room, maps) > 0) {
        char *path = parse_mapping(line, numbers);
        count += path != NULL;
        if (path != NULL && what == PUT_NUMBERS)
            (void)fwrite(numbers, sizeof numbers, 1, to);
        if (path != NULL && what == PUT_PATHS)
            (void)fwrite(path, strlen(path) + 1, 1, to);
    }
    free(line);
    if (maps != NULL)
        (void)fclose(maps);
    return count;
}

// As the kernel does; offsets are in units of one byte.
static void write_files(struct recorded *r, FILE *to)
{
    char *bytes = NULL;
    size_t size = 0;
    FILE *note = open_memstream(&bytes, &size);

    if (note == NULL) {
        r->error = ENOMEM;
        return;
    }
    uint64_t head[2] = {put_files(r, NULL, PUT_NOTHING), 1};
    (void)fwrite(head, sizeof head, 1, note);
    bool all = put_files(r, note, PUT_NUMBERS) == head[0] &&
               put_files(r, note, PUT_PATHS) == head[0];
    if (fclose(note) == 0 && all)
        write_note(to, "CORE", NT_FILE, bytes, size);
    else
        r->error = ENOMEM;
    free(bytes);
}

// What the kernel told the program at its start: where its headers lie.
static void write_auxv(const struct target *target, FILE *to)
{
    char path[64];
    char auxv[4096];

    snprintf(path, sizeof path, "/proc/%d/auxv", target->pid);
    FILE *from = fopen(path, "re");
    if (from == NULL)
        return;
    size_t size = fread(auxv, 1, sizeof auxv, from);
    (void)fclose(from);
    write_note(to, "CORE", NT_AUXV, auxv, size);
}

static void write_args(struct recorded *r, const struct weft_dump *dump,
                       FILE *to)
{
    char *bytes = NULL;
    size_t size = 0;
    FILE *note = open_memstream(&bytes, &size);

    if (note == NULL) {
        r->error = ENOMEM;
        return;
    }
    for (char **arg = dump->args; *arg != NULL; arg++)
        (void)fwrite(*arg, 1, strlen(*arg) + 1, note);
    if (fclose(note) == 0)
        write_note(to, BEACON_OWNER, SAVED_ARGS, bytes, size);
    else
        r->error = ENOMEM;
    free(bytes);
}

// For other tools.
static void write_info(const struct weft_dump *dump, FILE *to)
{
    struct elf_prpsinfo info = {.pr_pid = dump->pid, .pr_sname = 'T'};
    const char *exe = dump->exe == NULL ? "" : dump->exe;
    const char *slash = strrchr(exe, '/');

    snprintf(info.pr_fname, sizeof info.pr_fname, "%s",
             slash == NULL ? exe : slash + 1);
    snprintf(info.pr_psargs, sizeof info.pr_psargs, "%s", exe);
    write_note(to, "CORE", NT_PRPSINFO, &info, sizeof info);
}

static void write_facts(struct recorder *recorder, const struct weft_dump *dump,
                        FILE *to)
{
    const struct recorded *r = recorder->recorded;
    struct saved_moment moment = {
        .version = SAVED_VERSION,
        .pid = dump->pid,
        .ticks = r->moment.now.ticks,
        .now_ns = r->moment.now.ns,
        .wall_ns = r->moment.wall_ns,
        .start_ns = dump->process_start_ns,
        .stood_ns = dump->pause_ns,
        .took_ns = dump->total_ns,
    };

    write_note(to, BEACON_OWNER, SAVED_MOMENT, &moment, sizeof moment);
    if (dump->exe != NULL)
        write_note(to, BEACON_OWNER, SAVED_EXE, dump->exe, strlen(dump->exe));
    write_note(to, BEACON_OWNER, SAVED_HOST, dump->host, strlen(dump->host));
    write_note(to, BEACON_OWNER, SAVED_FDS, r->fds.bytes, r->fds.size);
    write_note(to, BEACON_OWNER, SAVED_NAMES, r->names.bytes, r->names.size);
}

static size_t write_notes(struct recorder *recorder,
                          const struct weft_dump *dump)
{
    struct recorded *r = recorder->recorded;
    char *bytes = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&bytes, &size);

    if (to == NULL || fflush(r->fds.to) != 0 || fflush(r->names.to) != 0) {
        r->error = ENOMEM;
        return 0;
    }
    write_info(dump, to);
    write_threads(recorder, to);
    write_auxv(&recorder->target, to);
    write_files(r, to);
    write_facts(recorder, dump, to);
    write_args(r, dump, to);
    if (fclose(to) != 0)
        r->error = ENOMEM;
    else
        append(recorder, bytes, size);
    free(bytes);
    return size;
}

// ---- Tables ----

static int by_begin(const void *left, const void *right)
{
    const struct range *a = left, *b = right;

    return (a->begin > b->begin) - (a->begin < b->begin);
}

// In the order of addresses, each byte once.
static void tidy(struct recorded *r)
{
    size_t count = 0;
    struct range *last = NULL;

    qsort(r->ranges, r->range_count, sizeof *r->ranges, by_begin);
    for (size_t i = 0; i < r->range_count; i++) {
        struct range range = r->ranges[i];
        if (last != NULL && range.end <= last->end)
            continue;
        if (last != NULL && range.begin < last->end) {
            range.offset += last->end - range.begin;
            range.begin = last->end;
        }
        if (last != NULL && range.begin == last->end &&
            range.offset == last->offset + (last->end - last->begin)) {
            last->end = range.end;
            continue;
        }
        last = &r->ranges[count++];
        *last = range;
    }
    r->range_count = count;
}

static void align(struct recorder *recorder)
{
    static const char zeros[8];

    append(recorder, zeros, -position(recorder) & 7);
}

static void write_segments(struct recorder *recorder, uint64_t notes_at,
                           size_t notes_size)
{
    struct recorded *r = recorder->recorded;
    ElfW(Phdr) segment = {.p_type = PT_NOTE,
                          .p_offset = notes_at,
                          .p_filesz = notes_size,
                          .p_align = 4};

    append(recorder, &segment, sizeof segment);
    for (size_t i = 0; i < r->range_count; i++) {
        const struct range *range = &r->ranges[i];
        segment = (ElfW(Phdr)){.p_type = PT_LOAD,
                               .p_flags = PF_R,
                               .p_offset = range->offset,
                               .p_vaddr = range->begin,
                               .p_filesz = range->end - range->begin,
                               .p_memsz = range->end - range->begin,
                               .p_align = 1};
        append(recorder, &segment, sizeof segment);
    }
}

// `segments`: where their table lies, which a section's header follows if they
// are too many for this one.
static void write_header(struct recorder *recorder, uint64_t segments,
                         size_t count)
{
#if defined(__x86_64__)
    const uint16_t machine = EM_X86_64;
#else
    const uint16_t machine = EM_AARCH64;
#endif
    bool many = count >= PN_XNUM;
    ElfW(Ehdr) header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
                    EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = machine,
        .e_version = EV_CURRENT,
        .e_phoff = segments,
        .e_ehsize = sizeof(ElfW(Ehdr)),
        .e_phentsize = sizeof(ElfW(Phdr)),
        .e_phnum = (uint16_t)(many ? PN_XNUM : count),
    };

    if (many) {
        ElfW(Shdr) section = {.sh_info = (uint32_t)count};
        header.e_shoff = position(recorder);
        header.e_shentsize = sizeof section;
        header.e_shnum = 1;
        append(recorder, &section, sizeof section);
    }
    put(recorder, &header, sizeof header, 0);
}

int recorder_finish(struct recorder *recorder, const struct weft_dump *dump)
{
    struct recorded *r = recorder->recorded;

    tidy(r);
    align(recorder);
    uint64_t notes = position(recorder);
    size_t notes_size = write_notes(recorder, dump);
    align(recorder);
    uint64_t segments = position(recorder);
    write_segments(recorder, notes, notes_size);
    write_header(recorder, segments, r->range_count + 1);
    flush(recorder);
    if (r->error == 0 && ftruncate(recorder->fd, (off_t)r->written) != 0)
        r->error = errno;
    return -r->error;
}
