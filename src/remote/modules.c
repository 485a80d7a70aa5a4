// modules.c -- The modules of another process.
#include "remote/modules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "dump/elf_file.h"

enum {
    SEGMENTS_MAX = 64,
    NOTES_MAX = 64 << 10,
};

// More than any code: what says so is damaged.
static const uint64_t MODULE_MAX = (uint64_t)4 << 30;

// One being read.
struct module {
    const struct space *space;
    uintptr_t begin; // of its first mapping
    ElfW(Ehdr) header;
    ElfW(Phdr) segments[SEGMENTS_MAX];
    size_t count;
    uintptr_t bias;
    uintptr_t low, high; // addresses relative to the bias, in whole pages
};

// ---- What it is ----

static bool read_header(struct module *m)
{
#if defined(__x86_64__)
    const unsigned machine = EM_X86_64;
#else
    const unsigned machine = EM_AARCH64;
#endif
    ElfW(Ehdr) *h = &m->header;

    if (!space_read_all(m->space, m->begin, h, sizeof *h) ||
        memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 ||
        h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != machine ||
        h->e_phentsize != sizeof(ElfW(Phdr)) || h->e_phnum > SEGMENTS_MAX)
        return false;
    m->count = h->e_phnum;
    return space_read_all(m->space, m->begin + h->e_phoff, m->segments,
                          m->count * sizeof *m->segments);
}

static bool read_bounds(struct module *m)
{
    uintptr_t page = port_page_size();
    bool first = true;

    for (size_t i = 0; i < m->count; i++) {
        const ElfW(Phdr) *p = &m->segments[i];
        if (p->p_type != PT_LOAD)
            continue;
        if (first)
            m->low = p->p_vaddr & ~(page - 1);
        first = false;
        if (p->p_memsz > MODULE_MAX || p->p_vaddr < m->low ||
            p->p_vaddr - m->low > MODULE_MAX ||
            p->p_vaddr > UINTPTR_MAX - 2 * MODULE_MAX)
            return false;
        if (p->p_vaddr + p->p_memsz > m->high)
            m->high = (p->p_vaddr + p->p_memsz + page - 1) & ~(page - 1);
    }
    m->bias = m->begin - m->low;
    return !first;
}

// ---- Its notes ----

// Where the beacon of a segment of notes is, or 0.
static uintptr_t find_beacon(const char *notes, size_t size, uintptr_t address)
{
    size_t at = 0;

    while (size - at >= sizeof(ElfW(Nhdr)) + 16) {
        ElfW(Nhdr) note;
        int64_t away;
        memcpy(&note, notes + at, sizeof note);
        size_t name = at + sizeof note;
        size_t content = name + (((size_t)note.n_namesz + 3) & ~(size_t)3);
        size_t next = content + (((size_t)note.n_descsz + 3) & ~(size_t)3);
        if (content > size || next > size)
            break;
        if (note.n_type == BEACON_NOTE && note.n_descsz == sizeof away &&
            note.n_namesz == sizeof BEACON_OWNER &&
            memcmp(notes + name, BEACON_OWNER, sizeof BEACON_OWNER) == 0) {
            memcpy(&away, notes + content, sizeof away);
            return address + content + (uintptr_t)away;
        }
        at = next;
    }
    return 0;
}

static void read_beacon(struct modules *modules, const struct space *space,
                        uintptr_t at)
{
    struct beacon found = {0};
    size_t got = space_read(space, at, &found, sizeof found);

    if (got < offsetof(struct beacon, registry) ||
        memcmp(found.magic, beacon.magic, sizeof found.magic) != 0)
        return;
    modules->beacon = found;
    modules->has_beacon = true;
}

// A segment of notes as far as it is there, owned by the caller; NULL: no
// memory.
static char *load_notes(const struct module *m, const ElfW(Phdr) * p,
                        size_t *ret_size)
{
    size_t size = p->p_memsz < NOTES_MAX ? p->p_memsz : NOTES_MAX;
    char *notes = malloc(size + 1);

    if (notes != NULL)
        *ret_size = space_read(m->space, m->bias + p->p_vaddr, notes, size);
    return notes;
}

static void read_notes(struct modules *modules, const struct module *m,
                       const ElfW(Phdr) * p, struct model_module *about)
{
    size_t size = 0;
    uintptr_t address = m->bias + p->p_vaddr;
    char *notes = load_notes(m, p, &size);

    if (notes == NULL)
        return;
    if (about->build_id == NULL)
        about->build_id = elf_notes_build_id(notes, size, p->p_align);
    uintptr_t at = find_beacon(notes, size, address);
    if (at != 0 && !modules->has_beacon)
        read_beacon(modules, m->space, at);
    free(notes);
}

// ---- Its copy ----

static bool is_wanted(const ElfW(Phdr) * p)
{
    return p->p_type == PT_LOAD && (p->p_flags & PF_R) != 0 &&
           (p->p_flags & PF_W) == 0;
}

// Code and read-only data, at the distances that they have there.
static bool copy_code(const struct module *m, struct cfi_module *ret_code)
{
    size_t span = m->high - m->low;
    size_t table = m->count * sizeof(ElfW(Phdr));
    char *copy = port_reserve(span, port_page_size(), false);
    ElfW(Phdr) *segments = malloc(table);

    if (copy == NULL || segments == NULL) {
        if (copy != NULL)
            port_unreserve(copy, span);
        free(segments);
        return false;
    }
    memcpy(segments, m->segments, table);
    for (size_t i = 0; i < m->count; i++)
        if (is_wanted(&segments[i]))
            (void)space_read(m->space, m->bias + segments[i].p_vaddr,
                             copy + (segments[i].p_vaddr - m->low),
                             segments[i].p_memsz);
    *ret_code = (struct cfi_module){
        .start = m->bias + m->low,
        .end = m->bias + m->high,
        .here = (uintptr_t)copy - (m->bias + m->low),
        .info = {.dlpi_addr = (uintptr_t)copy - m->low,
                 .dlpi_phdr = segments,
                 .dlpi_phnum = (ElfW(Half))m->count},
    };
    return true;
}

static void add_fingerprint(const struct module *m,
                            const struct cfi_module *code,
                            struct model_module *about)
{
    const void *table = NULL;
    size_t size = 0;

    for (size_t i = 0; i < m->count && table == NULL; i++)
        if (m->segments[i].p_type == PT_GNU_EH_FRAME) {
            table =
                (const void *)(code->info.dlpi_addr + m->segments[i].p_vaddr);
            size = m->segments[i].p_filesz;
        }
    about->fingerprint = elf_fingerprint(m->segments, m->count, table, size);
}

// Without .eh_frame_hdr, as in many static executables: where .eh_frame lies is
// said by the section headers alone, which only the file has.
static void list_places(const struct module *m,
                        const struct model_module *about,
                        struct cfi_module *code)
{
    struct elf_file file;

    for (size_t i = 0; i < m->count; i++)
        if (m->segments[i].p_type == PT_GNU_EH_FRAME)
            return;
    if (elf_file_open(&file, about->file != NULL ? about->file : about->path) !=
        0)
        return;
    const ElfW(Shdr) *section = elf_file_section(&file, ".eh_frame");
    if (section != NULL &&
        elf_file_is(&file, about->build_id, about->fingerprint))
        cfi_places_list(&code->places, &code->info,
                        code->info.dlpi_addr + section->sh_addr,
                        section->sh_size);
    elf_file_close(&file);
}

static int add(struct modules *modules, size_t *room, size_t *code_room,
               const struct module *m, char *path, char *file)
{
    size_t need = modules->count + 1;

    if (!grow(&modules->about, room, need, sizeof *modules->about) ||
        !grow(&modules->code, code_room, need, sizeof *modules->code))
        return -ENOMEM;
    struct model_module *about = &modules->about[modules->count];
    *about = (struct model_module){.path = path,
                                   .file = file,
                                   .bias = m->bias,
                                   .start = m->bias + m->low,
                                   .end = m->bias + m->high};
    struct cfi_module *code = &modules->code[modules->count];
    if (!copy_code(m, code))
        return -ENOMEM;
    modules->count++;
    for (size_t i = 0; i < m->count; i++)
        if (m->segments[i].p_type == PT_NOTE)
            read_notes(modules, m, &m->segments[i], about);
    if (about->build_id == NULL)
        add_fingerprint(m, code, about);
    list_places(m, about, code);
    return 0;
}

// ---- All ----

// A line of the file: where a mapping begins, its offset in its file, and that
// one's path. False: it begins no module.
static bool parse(char *line, uintptr_t *ret_begin, char **ret_path)
{
    char *at;
    static const char mark[] = " (deleted)";

    *ret_begin = strtoull(line, &at, 16);
    for (int field = 0; field < 2 && at != NULL; field++) // to the offset
        at = strchr(at + 1, ' ');
    if (at == NULL || strtoull(at, &at, 16) != 0)
        return false;
    for (int field = 0; field < 2 && at != NULL; field++) // device and inode
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    at += strspn(at, " ");
    at[strcspn(at, "\n")] = '\0';
    size_t length = strlen(at);
    if (length > sizeof mark &&
        strcmp(at + length - (sizeof mark - 1), mark) == 0)
        at[length - (sizeof mark - 1)] = '\0';
    *ret_path = at;
    return at[0] == '/' || strcmp(at, "[vdso]") == 0;
}

// Its strings are `modules`' only if it is added.
static int add_named(struct modules *modules, size_t rooms[2],
                     const struct module *m, struct target *target,
                     const char *name)
{
    bool first = modules->count == 0;
    char *path = strdup(name);
    char *file = NULL;
    int error = path == NULL ? -ENOMEM : 0;

    if (error == 0 && target->kind->file != NULL)
        error = target->kind->file(target, name, first, &file);
    if (error == 0)
        error = add(modules, &rooms[0], &rooms[1], m, path, file);
    if (error != 0) {
        free(path);
        free(file);
    }
    return error;
}

static int read_all(struct modules *modules, struct target *target, FILE *maps)
{
    size_t rooms[2] = {0};
    char *line = NULL;
    size_t size = 0;
    char *path;
    int error = 0;

    while (error == 0 && getline(&line, &size, maps) > 0) {
        struct module m = {.space = &target->space};
        if (parse(line, &m.begin, &path) && read_header(&m) && read_bounds(&m))
            error = add_named(modules, rooms, &m, target, path);
    }
    free(line);
    return error;
}

int modules_read(struct modules *modules, struct target *target)
{
    FILE *maps = target->kind->maps(target);

    *modules = (struct modules){0};
    if (maps == NULL)
        return -errno;
    int error = read_all(modules, target, maps);
    (void)fclose(maps);
    return error;
}

char *modules_build_id(const struct space *space, uintptr_t begin)
{
    struct module m = {.space = space, .begin = begin};
    char *id = NULL;

    if (!read_header(&m) || !read_bounds(&m))
        return NULL;
    for (size_t i = 0; i < m.count && id == NULL; i++) {
        size_t size = 0;
        char *notes = m.segments[i].p_type == PT_NOTE
                          ? load_notes(&m, &m.segments[i], &size)
                          : NULL;
        if (notes != NULL)
            id = elf_notes_build_id(notes, size, m.segments[i].p_align);
        free(notes);
    }
    return id;
}

void modules_free(struct modules *modules)
{
    for (size_t i = 0; i < modules->count; i++) {
        const struct cfi_module *code = &modules->code[i];
        port_unreserve((void *)(code->start + code->here),
                       code->end - code->start);
        free((void *)(uintptr_t)code->info.dlpi_phdr);
        free(code->places.places);
    }
    free(modules->code);
    model_free_modules(modules->about, modules->count);
    *modules = (struct modules){0};
}

// ---- In a dump ----

static bool copy_text(const char *text, char **ret_copy)
{
    *ret_copy = text == NULL ? NULL : strdup(text);
    return text == NULL || *ret_copy != NULL;
}

int modules_describe(const struct modules *modules, struct weft_dump *dump)
{
    dump->modules = calloc(modules->count + 1, sizeof *dump->modules);
    if (dump->modules == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < modules->count; i++) {
        const struct model_module *from = &modules->about[i];
        struct model_module *to = &dump->modules[i];
        *to = *from;
        dump->module_count++;
        bool path = copy_text(from->path, &to->path);
        bool file = copy_text(from->file, &to->file);
        bool id = copy_text(from->build_id, &to->build_id);
        if (!path || !file || !id)
            return -ENOMEM;
    }
    return 0;
}
