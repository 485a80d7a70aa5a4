// symbols.c -- Names for program counters: function, file, line, inlining.
//
// libdw works on a thread of its own, started for each batch and ended with
// it: it needs more stack than a task may have, and its first use runs the
// start-up code of whatever libraries it brings along. The caller waits, so at
// any time one thread at most touches a `struct symbols`.
//
// Which frames are weft's own: those in libweft.so; and in a program that weft
// was linked into, those whose source file lies in the folder from which this
// file here was compiled, as the debug information of both says. If there is
// none, the public functions alone can be told, by their names.
#include "report/symbols.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump/model.h"
#include "report/symbols_dw.h"
#include "task/switch.h"

enum { ENTRY_BYTES = 32 }; // more than task_entry has

#define OWN_FILE "report/symbols.c"
#define PATH_ROOM 4096

typedef char *demangle_fn(const char *name, char *buffer, size_t *length,
                          int *status);

// Blocks of strings, which stay where they are.
struct pool {
    struct pool *next;
    size_t used, room;
    char text[];
};

struct entry {
    uintptr_t pc;
    uint32_t first; // in `frames`
    uint32_t count; // 0: the place is free
};

struct symbols {
    const struct model_module *modules;
    size_t module_count;

    struct entry *entries; // hash table, `entry_room` a power of two
    size_t entry_count, entry_room;
    weft_frame *frames;
    size_t frame_count, frame_room;
    struct pool *pool;

    bool tried;    // to load libdw
    struct dw *dw; // or NULL
    demangle_fn *demangle;
    size_t own_module; // the module of this code; module_count: none
    bool own_library;  // it is libweft.so
    char *own_root;    // ".../src/", or NULL: not known
    char *current_dir; // without a slash at its end; NULL: unknown, or "/"
};

// ---- Strings. ----

static const char *keep(struct symbols *symbols, const char *text)
{
    size_t size = strlen(text) + 1;
    struct pool *pool = symbols->pool;

    if (!pool || pool->room - pool->used < size) {
        size_t room = size > 8192 ? size : 8192;
        pool = malloc(sizeof(*pool) + room);
        if (!pool)
            return NULL;
        *pool = (struct pool){.next = symbols->pool, .room = room};
        symbols->pool = pool;
    }
    char *kept = pool->text + pool->used;
    memcpy(kept, text, size);
    pool->used += size;
    return kept;
}

// ---- Paths. ----

// Takes ".", ".." and double slashes out of an absolute path, in place.
static void normalise(char *path)
{
    char *to = path;

    for (const char *from = path; *from;) {
        size_t length = strcspn(from + 1, "/") + 1; // "/name"
        if (length == 3 && !memcmp(from, "/..", 3)) {
            while (to > path && *--to != '/')
                continue;
        } else if (length > 1 && !(length == 2 && from[1] == '.')) {
            memmove(to, from, length);
            to += length;
        }
        from += length;
    }
    *to = '\0';
}

static bool make_absolute(const char *dir, const char *file,
                          char path[PATH_ROOM])
{
    int length = file[0] == '/' || !dir
                     ? snprintf(path, PATH_ROOM, "%s", file)
                     : snprintf(path, PATH_ROOM, "%s/%s", dir, file);

    if (length >= PATH_ROOM || path[0] != '/')
        return false;
    normalise(path);
    return true;
}

// What follows `dir` and a slash in a path; NULL if it lies elsewhere.
static const char *below(const char *path, const char *dir)
{
    size_t length = strlen(dir);

    if (strncmp(path, dir, length) != 0 || path[length] != '/')
        return NULL;
    return path + length + 1;
}

// A file that the compiler was given relative to its directory is shown
// relative to what both have in common, so "../app/bank.c" is app/bank.c.
static const char *below_common(const char *path, const char *dir,
                                const char *recorded)
{
    size_t common = 0;
    char place[PATH_ROOM];

    if (!dir || (recorded[0] == '/' && !below(recorded, dir)))
        return NULL;
    if (!make_absolute(NULL, dir, place))
        return NULL;
    for (size_t i = 0; path[i] && path[i] == place[i]; i++) {
        bool ends = place[i + 1] == '/' || place[i + 1] == '\0';
        if (ends && path[i + 1] == '/')
            common = i + 1;
    }
    return common ? path + common + 1 : NULL;
}

// The file as it is to be shown; *ret_own says whether it is weft's.
static const char *show_file(struct symbols *symbols, const char *dir,
                             const char *file, bool *ret_own)
{
    char path[PATH_ROOM];
    const char *shown = NULL;
    size_t root = symbols->own_root ? strlen(symbols->own_root) : 0;

    if (!make_absolute(dir, file, path))
        return keep(symbols, file);
    if (root && !strncmp(path, symbols->own_root, root)) {
        *ret_own = true;
        shown = path + root - strlen("src/");
    }
    if (!shown && symbols->current_dir)
        shown = below(path, symbols->current_dir);
    if (!shown)
        shown = below_common(path, dir, file);
    return keep(symbols, shown ? shown : path);
}

// ---- What is weft's own. ----

static size_t find_module(const struct symbols *symbols, uintptr_t address)
{
    for (size_t i = 0; i < symbols->module_count; i++)
        if (address >= symbols->modules[i].start &&
            address < symbols->modules[i].end)
            return i;
    return symbols->module_count;
}

static bool is_library(const char *path)
{
    const char *slash = strrchr(path, '/');

    return !strncmp(slash ? slash + 1 : path, "libweft.so", 10);
}

static void find_own_root(struct symbols *symbols, uintptr_t own)
{
    struct dw_frame frames[DW_FRAMES_MAX];
    char path[PATH_ROOM];

    if (!dw_find(symbols->dw, symbols->own_module, own, frames) ||
        !frames[0].file || !make_absolute(frames[0].dir, frames[0].file, path))
        return;
    size_t length = strlen(path), tail = strlen("src/" OWN_FILE);
    if (length <= tail || strcmp(path + length - tail, "src/" OWN_FILE) != 0)
        return;
    path[length - strlen(OWN_FILE)] = '\0';
    symbols->own_root = strdup(path);
}

static void start(struct symbols *symbols)
{
    uintptr_t own = (uintptr_t)symbols_load;
    char dir[PATH_ROOM];

    symbols->tried = true;
    symbols->dw = dw_open(symbols->modules, symbols->module_count);
    symbols->demangle = (demangle_fn *)dlsym(RTLD_DEFAULT, "__cxa_demangle");
    symbols->own_module = find_module(symbols, own);
    if (symbols->own_module < symbols->module_count) {
        symbols->own_library =
            is_library(symbols->modules[symbols->own_module].path);
        if (symbols->dw)
            find_own_root(symbols, own);
    }
    if (getcwd(dir, sizeof(dir)) && dir[0] == '/' && dir[1])
        symbols->current_dir = strdup(dir);
}

// ---- One pc. ----

static weft_frame *add_frame(struct symbols *symbols)
{
    if (symbols->frame_count == symbols->frame_room) {
        size_t room = symbols->frame_room ? 2 * symbols->frame_room : 64;
        weft_frame *frames = realloc(symbols->frames, room * sizeof(*frames));
        if (!frames)
            return NULL;
        symbols->frames = frames;
        symbols->frame_room = room;
    }
    weft_frame *frame = &symbols->frames[symbols->frame_count++];
    *frame = (weft_frame){0};
    return frame;
}

static const char *show_function(struct symbols *symbols, const char *name)
{
    char *plain = NULL;
    int status;

    if (symbols->demangle && name[0] == '_' && name[1] == 'Z')
        plain = symbols->demangle(name, NULL, NULL, &status);
    const char *kept = keep(symbols, plain ? plain : name);
    free(plain);
    return kept;
}

static bool is_own(const struct symbols *symbols, size_t module,
                   const weft_frame *frame)
{
    if (module != symbols->own_module)
        return false;
    return symbols->own_library || (!symbols->own_root && frame->function &&
                                    !strncmp(frame->function, "weft_", 5));
}

static int add_dw_frame(struct symbols *symbols, uintptr_t pc, size_t module,
                        const struct dw_frame *from)
{
    weft_frame *frame = add_frame(symbols);

    if (!frame)
        return -ENOMEM;
    frame->pc = pc;
    frame->inlined = from->inlined;
    frame->line = from->line;
    if (module < symbols->module_count)
        frame->module = symbols->modules[module].path;
    if (from->function && from->function[0] != '\0' &&
        !(frame->function = show_function(symbols, from->function)))
        return -ENOMEM;
    if (from->file && !(frame->file = show_file(symbols, from->dir, from->file,
                                                &frame->runtime)))
        return -ENOMEM;
    frame->runtime = frame->runtime || is_own(symbols, module, frame);
    return 0;
}

static size_t find_frames(struct symbols *symbols, size_t module,
                          uintptr_t address,
                          struct dw_frame frames[DW_FRAMES_MAX])
{
    Dl_info about;

    if (module == symbols->module_count)
        return 0;
    if (symbols->dw) {
        size_t count = dw_find(symbols->dw, module, address, frames);
        if (count)
            return count;
    }
    if (!dladdr((void *)address, &about) || !about.dli_sname)
        return 0;
    frames[0] = (struct dw_frame){.function = about.dli_sname};
    return 1;
}

static int add_frames(struct symbols *symbols, uintptr_t pc,
                      uint32_t *ret_count)
{
    struct dw_frame frames[DW_FRAMES_MAX];
    uintptr_t address = pc - 1;
    size_t module = find_module(symbols, address);
    size_t count = find_frames(symbols, module, address, frames);

    if (count == 0) {
        frames[0] = (struct dw_frame){0};
        count = 1;
    }
    for (size_t i = 0; i < count; i++) {
        int failed = add_dw_frame(symbols, pc, module, &frames[i]);
        if (failed)
            return failed;
    }
    *ret_count = (uint32_t)count;
    return 0;
}

// ---- The table. ----

// The place of a pc: with its entry, or free.
static struct entry *find_place(const struct symbols *symbols, uintptr_t pc)
{
    size_t mask = symbols->entry_room - 1;
    uint64_t hash = pc * UINT64_C(0x9e3779b97f4a7c15);
    size_t at = (hash ^ hash >> 32) & mask;

    while (symbols->entries[at].count && symbols->entries[at].pc != pc)
        at = (at + 1) & mask;
    return &symbols->entries[at];
}

static bool grow(struct symbols *symbols)
{
    struct entry *old = symbols->entries;
    size_t old_room = symbols->entry_room;

    if (2 * (symbols->entry_count + 1) <= old_room)
        return true;
    size_t room = old_room ? 2 * old_room : 64;
    struct entry *entries = calloc(room, sizeof(*entries));
    if (!entries)
        return false;
    symbols->entries = entries;
    symbols->entry_room = room;
    for (size_t i = 0; i < old_room; i++)
        if (old[i].count)
            *find_place(symbols, old[i].pc) = old[i];
    free(old);
    return true;
}

static const struct entry *find_entry(const struct symbols *symbols,
                                      uintptr_t pc)
{
    if (!symbols->entry_room)
        return NULL;
    const struct entry *entry = find_place(symbols, pc);
    return entry->count ? entry : NULL;
}

static int add_entry(struct symbols *symbols, uintptr_t pc)
{
    uint32_t first = (uint32_t)symbols->frame_count;
    uint32_t count;

    if (find_entry(symbols, pc))
        return 0;
    if (!grow(symbols))
        return -ENOMEM;
    int failed = add_frames(symbols, pc, &count);
    if (failed) {
        symbols->frame_count = first;
        return failed;
    }
    *find_place(symbols, pc) = (struct entry){pc, first, count};
    symbols->entry_count++;
    return 0;
}

// ---- Batches. ----

struct batch {
    struct symbols *symbols;
    const uintptr_t *pcs;
    size_t count;
    int failed;
};

static void add_entries(struct batch *batch)
{
    for (size_t i = 0; i < batch->count && !batch->failed; i++)
        batch->failed = add_entry(batch->symbols, batch->pcs[i]);
}

static void *work(void *arg)
{
    struct batch *batch = arg;

    if (!batch->symbols->tried)
        start(batch->symbols);
    add_entries(batch);
    return NULL;
}

// With no thread to be had, the poor names are better than none.
static void work_without_libdw(struct batch *batch)
{
    struct dw *dw = batch->symbols->dw;

    batch->symbols->dw = NULL;
    add_entries(batch);
    batch->symbols->dw = dw;
}

int symbols_load(struct symbols *symbols, const uintptr_t *pcs, size_t count)
{
    struct batch batch = {.symbols = symbols, .pcs = pcs, .count = count};
    struct port_thread thread;

    while (batch.count && find_entry(symbols, *batch.pcs)) {
        batch.pcs++;
        batch.count--;
    }
    if (batch.count == 0)
        return 0;
    if (symbols->tried && !symbols->dw) {
        add_entries(&batch);
        return batch.failed;
    }
    if (port_thread_start(&thread, "weft-names", work, &batch) == 0)
        port_thread_join(&thread);
    else
        work_without_libdw(&batch);
    return batch.failed;
}

int symbols_lookup(struct symbols *symbols, uintptr_t pc,
                   weft_frame *ret_frames, size_t max)
{
    int failed = symbols_load(symbols, &pc, 1);

    if (failed)
        return failed;
    const struct entry *entry = find_entry(symbols, pc);
    for (size_t i = 0; i < entry->count && i < max; i++)
        ret_frames[i] = symbols->frames[entry->first + i];
    return (int)entry->count;
}

static void mark(struct symbols *symbols, uintptr_t pc)
{
    const struct entry *entry = find_entry(symbols, pc);

    for (size_t i = 0; entry && i < entry->count; i++)
        symbols->frames[entry->first + i].runtime = true;
}

static bool is_public(const struct symbols *symbols, uintptr_t pc)
{
    const struct entry *entry = find_entry(symbols, pc);

    if (!entry)
        return false;
    const char *name =
        symbols->frames[entry->first + entry->count - 1].function;
    return name && !strncmp(name, "weft_", 5);
}

void symbols_mark_stack(struct symbols *symbols, const uintptr_t *pcs,
                        size_t count)
{
    size_t call = 0;

    while (call < count && !is_public(symbols, pcs[call]))
        call++;
    for (size_t i = 0; call < count && i <= call; i++)
        mark(symbols, pcs[i]);
    // A task's outermost frames: its entry, and the body that calls its
    // function.
    if (count >= 2 && pcs[count - 1] - (uintptr_t)task_entry < ENTRY_BYTES) {
        mark(symbols, pcs[count - 1]);
        mark(symbols, pcs[count - 2]);
    }
}

bool symbols_are_full(const struct symbols *symbols)
{
    return !symbols->tried || symbols->dw;
}

// ---- Beginning and end. ----

struct symbols *symbols_new(const struct model_module *modules, size_t count)
{
    struct symbols *symbols = calloc(1, sizeof(*symbols));

    if (!symbols)
        return NULL;
    symbols->modules = modules;
    symbols->module_count = count;
    return symbols;
}

void symbols_free(struct symbols *symbols)
{
    if (!symbols)
        return;
    dw_close(symbols->dw);
    while (symbols->pool) {
        struct pool *next = symbols->pool->next;
        free(symbols->pool);
        symbols->pool = next;
    }
    free(symbols->entries);
    free(symbols->frames);
    free(symbols->own_root);
    free(symbols->current_dir);
    free(symbols);
}
