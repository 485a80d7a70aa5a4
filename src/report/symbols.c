// symbols.c -- Names for program counters: function, file, line, inlining.
//
// libdw works on a thread of its own, started for each batch and ended with
// it: it needs more stack than a task may have, and its first use runs the
// start-up code of whatever libraries it brings along. The caller waits, so at
// any time one thread at most touches a `struct symbols`.
//
// Names come from files on disk, never from memory: a module may have been
// closed since, and another one loaded in its place. A file counts only if it
// is the one that was loaded (module_file.h). Lines and inlined functions come
// from libdw; where it is missing, or knows nothing of a place, the name is
// that of the symbol.
//
// Which frames are weft's own: those in libweft.so; and in a program that weft
// was linked into, those whose source file lies in the folder from which this
// file here was compiled, as the debug information of both says. If there is
// none, the public functions alone can be told, by their names.
#include "report/symbols.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/grow.h"
#include "dump/elf_file.h"
#include "dump/model.h"
#include "report/module_file.h"
#include "report/symbols_dw.h"
#include "report/symbols_path.h"
#include "report/symtab.h"

enum { ENTRY_BYTES = 32 }; // more than task_entry has

// Where task_entry is written.
#if defined(__x86_64__)
#define OWN_FILE "task/switch_x86_64.S"
#else
#define OWN_FILE "task/switch_aarch64.S"
#endif

// There if the program has C++'s run-time library, however it is linked.
extern char *__cxa_demangle(const char *name, char *buffer, size_t *length,
                            int *status) __attribute__((weak));

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

// What is known of a module from the first of its places on.
struct source {
    bool looked;
    struct module_file file;
    bool listed;          // `symtab` is filled in
    struct symtab symtab; // only asked where libdw knows no name
};

struct symbols {
    const struct model_module *modules;
    size_t module_count;
    struct source *sources; // one for each module

    struct entry *entries; // hash table, `entry_room` a power of two
    size_t entry_count, entry_room;
    weft_frame *frames;
    size_t frame_count, frame_room;
    struct pool *pool;

    bool tried;        // to load libdw
    struct dw *dw;     // or NULL
    const char *no_dw; // why it is NULL
    uintptr_t entry;   // task_entry, or 0
    size_t own_module; // the module of weft's code; module_count: none
    bool own_library;  // it is libweft.so
    bool demangle_sought;
    demangle_fn *demangle; // or NULL
    struct symbols_path paths;
};

// ---- Strings. ----

static const char *keep(struct symbols *symbols, const char *text,
                        size_t length)
{
    size_t size = length + 1;
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
    memcpy(kept, text, length);
    kept[length] = '\0';
    pool->used += size;
    return kept;
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

// The sources of a module's names; its files are sought at the first time.
static struct source *source_of(struct symbols *symbols, size_t module)
{
    struct source *source = &symbols->sources[module];

    if (!source->looked)
        module_file_find(&source->file, &symbols->modules[module], module == 0);
    source->looked = true;
    return source;
}

static void find_own_root(struct symbols *symbols)
{
    struct dw_frame frames[DW_FRAMES_MAX];
    size_t module = symbols->own_module;

    if (dw_find(symbols->dw, module, &source_of(symbols, module)->file,
                symbols->entry + 1, frames) &&
        frames[0].file)
        symbols_path_set_own(&symbols->paths, frames[0].dir, frames[0].file,
                             OWN_FILE);
}

static void start(struct symbols *symbols)
{
    symbols->tried = true;
    symbols->dw =
        dw_open(symbols->modules, symbols->module_count, &symbols->no_dw);
    symbols_path_init(&symbols->paths);
    symbols->own_module = find_module(symbols, symbols->entry);
    if (symbols->own_module == symbols->module_count)
        return;
    symbols->own_library =
        is_library(symbols->modules[symbols->own_module].path);
    if (symbols->dw)
        find_own_root(symbols);
}

// ---- One pc. ----

static weft_frame *add_frame(struct symbols *symbols)
{
    if (!grow(&symbols->frames, &symbols->frame_room, symbols->frame_count + 1,
              sizeof(*symbols->frames)))
        return NULL;
    weft_frame *frame = &symbols->frames[symbols->frame_count++];
    *frame = (weft_frame){0};
    return frame;
}

// libdw does not translate C++'s names; C++'s own library does, which is
// loaded for it if need be. A static program can load none.
static demangle_fn *find_demangle(struct symbols *symbols)
{
    if (symbols->demangle_sought)
        return symbols->demangle;
    symbols->demangle_sought = true;
    symbols->demangle = __cxa_demangle;
    if (symbols->demangle || getauxval(AT_BASE) == 0)
        return symbols->demangle;
    symbols->demangle = (demangle_fn *)dlsym(RTLD_DEFAULT, "__cxa_demangle");
    // Not to be unloaded: a program may come to use it in the meantime.
    void *library =
        symbols->demangle
            ? NULL
            : dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (library) {
        symbols->demangle = (demangle_fn *)dlsym(library, "__cxa_demangle");
        dlclose(library);
    }
    return symbols->demangle;
}

// Without the version that the linker has put behind a name.
static const char *show_function(struct symbols *symbols, const char *name)
{
    char *plain = NULL;
    int status;

    if (name[0] == '_' && name[1] == 'Z' && find_demangle(symbols))
        plain = symbols->demangle(name, NULL, NULL, &status);
    const char *kept = plain ? keep(symbols, plain, strlen(plain))
                             : keep(symbols, name, strcspn(name, "@"));
    free(plain);
    return kept;
}

static const char *show_file(struct symbols *symbols,
                             const struct dw_frame *from, bool *ret_own)
{
    char path[SYMBOLS_PATH_ROOM];
    const char *shown = symbols_path_show(&symbols->paths, from->dir,
                                          from->file, path, ret_own);

    return keep(symbols, shown, strlen(shown));
}

static bool is_own(const struct symbols *symbols, size_t module,
                   const weft_frame *frame)
{
    if (module != symbols->own_module)
        return false;
    return symbols->own_library ||
           (!symbols->paths.own_root && frame->function &&
            !strncmp(frame->function, "weft_", 5));
}

// Where a frame is, whatever it is called.
static void set_place(const struct symbols *symbols, uintptr_t pc,
                      size_t module, weft_frame *frame)
{
    frame->pc = pc;
    if (module == symbols->module_count)
        return;
    frame->module = symbols->modules[module].path;
    frame->offset = pc - 1 - symbols->modules[module].bias;
}

// Why a place has no name.
static const char *explain(const struct symbols *symbols, size_t module)
{
    if (module == symbols->module_count)
        return "no module is there";
    const char *missing = symbols->sources[module].file.missing;
    return missing ? missing : "no symbol is there";
}

static int add_named(struct symbols *symbols, uintptr_t pc, size_t module,
                     const struct dw_frame *from)
{
    weft_frame *frame = add_frame(symbols);

    if (!frame)
        return -ENOMEM;
    set_place(symbols, pc, module, frame);
    frame->inlined = from->inlined;
    frame->line = from->line;
    if (from->function && from->function[0] != '\0') {
        frame->function = show_function(symbols, from->function);
        if (!frame->function)
            return -ENOMEM;
    } else {
        frame->unnamed = explain(symbols, module);
    }
    if (from->file &&
        !(frame->file = show_file(symbols, from, &frame->runtime)))
        return -ENOMEM;
    frame->runtime = frame->runtime || is_own(symbols, module, frame);
    return 0;
}

static void list_symbols(struct source *source)
{
    const char *paths[] = {source->file.path, source->file.debug};
    struct elf_file file;

    source->listed = true;
    for (size_t i = 0; i < 2; i++)
        if (paths[i] && elf_file_open(&file, paths[i]) == 0) {
            symtab_add(&source->symtab, &file);
            elf_file_close(&file);
        }
    symtab_sort(&source->symtab);
}

// The symbol at an address. What is part of the kernel has no file; it is never
// unloaded, so its memory may be asked.
static const char *find_symbol(struct symbols *symbols, size_t module,
                               uintptr_t address)
{
    struct source *source = &symbols->sources[module];
    Dl_info about;

    if (!strchr(symbols->modules[module].path, '/'))
        return dladdr((void *)address, &about) ? about.dli_sname : NULL;
    if (!source->listed)
        list_symbols(source);
    const struct symbol *symbol =
        symtab_find(&source->symtab, address - symbols->modules[module].bias);
    return symbol ? symbol->name : NULL;
}

// What is known of an address in a module: at least one frame, maybe empty.
static size_t find_frames(struct symbols *symbols, size_t module,
                          uintptr_t address,
                          struct dw_frame frames[DW_FRAMES_MAX])
{
    struct source *source = source_of(symbols, module);
    size_t count = 0;

    if (symbols->dw)
        count = dw_find(symbols->dw, module, &source->file, address, frames);
    if (count == 0) {
        frames[0] = (struct dw_frame){0};
        count = 1;
    }
    if (!frames[count - 1].function)
        frames[count - 1].function = find_symbol(symbols, module, address);
    return count;
}

static int add_frames(struct symbols *symbols, uintptr_t pc,
                      uint32_t *ret_count)
{
    struct dw_frame frames[DW_FRAMES_MAX] = {0};
    size_t module = find_module(symbols, pc - 1);
    size_t count = 1;

    if (module < symbols->module_count)
        count = find_frames(symbols, module, pc - 1, frames);
    for (size_t i = 0; i < count; i++) {
        int failed = add_named(symbols, pc, module, &frames[i]);
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

static bool make_room(struct symbols *symbols)
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
    if (!make_room(symbols))
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
    if (port_thread_start(&thread, "weft-names", work, &batch) == 0)
        port_thread_join(&thread);
    else
        work_without_libdw(&batch);
    return batch.failed;
}

bool symbols_know(const struct symbols *symbols, uintptr_t pc)
{
    return find_entry(symbols, pc) != NULL;
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
    if (count >= 2 && pcs[count - 1] - symbols->entry < ENTRY_BYTES) {
        mark(symbols, pcs[count - 1]);
        mark(symbols, pcs[count - 2]);
    }
}

const char *symbols_limit(const struct symbols *symbols)
{
    return symbols->tried && !symbols->dw ? symbols->no_dw : NULL;
}

const char *symbols_missing(const struct symbols *symbols, size_t module)
{
    return symbols->sources[module].file.missing;
}

// ---- Beginning and end. ----

struct symbols *symbols_new(const struct model_module *modules, size_t count,
                            uintptr_t entry)
{
    struct symbols *symbols = calloc(1, sizeof(*symbols));

    if (!symbols)
        return NULL;
    symbols->modules = modules;
    symbols->module_count = count;
    symbols->entry = entry;
    symbols->sources = calloc(count + 1, sizeof(*symbols->sources));
    if (!symbols->sources) {
        free(symbols);
        return NULL;
    }
    return symbols;
}

void symbols_free(struct symbols *symbols)
{
    if (!symbols)
        return;
    dw_close(symbols->dw);
    for (size_t i = 0; i < symbols->module_count; i++) {
        module_file_deinit(&symbols->sources[i].file);
        symtab_deinit(&symbols->sources[i].symtab);
    }
    while (symbols->pool) {
        struct pool *next = symbols->pool->next;
        free(symbols->pool);
        symbols->pool = next;
    }
    free(symbols->entries);
    free(symbols->frames);
    free(symbols->sources);
    symbols_path_deinit(&symbols->paths);
    free(symbols);
}
