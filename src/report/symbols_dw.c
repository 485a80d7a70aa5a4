// symbols_dw.c -- libdw as far as names need it, loaded at the first need.
//
// Each module is opened when the first of its addresses is asked for. Debug
// information is taken from the module itself or from files of this machine:
// by build-id and by debug link, as in gdb's manual. No server is ever asked
// for it: libdw's own search would do so, hence the search here.
//
// Address ranges of compilation units come from the units themselves, since
// clang writes no .debug_aranges. They are sorted once per module.
#include "report/symbols_dw.h"

#ifdef HAVE_LIBDW

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "dump/model.h"

#define DEBUG_ROOT "/usr/lib/debug"

// The functions of libdw in use.
#define DW_FUNCTIONS(X)                                                        \
    X(dwfl_begin)                                                              \
    X(dwfl_end)                                                                \
    X(dwfl_report_begin_add)                                                   \
    X(dwfl_report_elf)                                                         \
    X(dwfl_report_end)                                                         \
    X(dwfl_module_info)                                                        \
    X(dwfl_module_build_id)                                                    \
    X(dwfl_module_getdwarf)                                                    \
    X(dwfl_module_addrinfo)                                                    \
    X(dwarf_nextcu)                                                            \
    X(dwarf_offdie)                                                            \
    X(dwarf_ranges)                                                            \
    X(dwarf_getscopes)                                                         \
    X(dwarf_getscopes_die)                                                     \
    X(dwarf_tag)                                                               \
    X(dwarf_attr_integrate)                                                    \
    X(dwarf_attr)                                                              \
    X(dwarf_formstring)                                                        \
    X(dwarf_formudata)                                                         \
    X(dwarf_diename)                                                           \
    X(dwarf_getsrcfiles)                                                       \
    X(dwarf_filesrc)                                                           \
    X(dwarf_getsrc_die)                                                        \
    X(dwarf_linesrc)                                                           \
    X(dwarf_lineno)

// Addresses [lo, hi) of a compilation unit, without the bias.
struct unit_range {
    uint64_t lo, hi;
    Dwarf_Off unit; // of its DIE
};

struct dw_module {
    bool opened;
    Dwfl_Module *dwfl; // NULL: cannot be read, or is another file by now
    Dwarf *dwarf;      // NULL: no debug information
    Dwarf_Addr bias;   // of `dwarf`
    struct unit_range *ranges; // sorted by lo
    size_t range_count, range_room;
};

struct dw {
    void *library;
    Dwfl *dwfl;
    Dwfl_Callbacks callbacks;
    const struct model_module *about;
    size_t module_count;
    struct dw_module *modules;
#define DW_MEMBER(name) __typeof__ (&(name))(name);
    DW_FUNCTIONS(DW_MEMBER)
#undef DW_MEMBER
};

// ---- Where debug information lies. ----

static int open_file(char **ret_path, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    *ret_path = strdup(path);
    if (*ret_path)
        return fd;
    close(fd);
    return -1;
}

static int open_by_build_id(const unsigned char *id, int size, char **ret_path)
{
    char path[256] = DEBUG_ROOT "/.build-id/";
    size_t used = strlen(path);

    if (size < 2 || size > 64)
        return -1;
    for (int i = 0; i < size; i++)
        used += snprintf(path + used, sizeof(path) - used,
                         i == 0 ? "%02x/" : "%02x", id[i]);
    snprintf(path + used, sizeof(path) - used, ".debug");
    return open_file(ret_path, path);
}

// The checksum of gdb's debug links: the CRC-32 of zip files.
static uint32_t add_crc(uint32_t crc, const unsigned char *bytes, size_t count)
{
    crc = ~crc;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

static bool has_crc(int fd, uint32_t expected)
{
    unsigned char bytes[4096];
    uint32_t crc = 0;
    ssize_t count;

    while ((count = read(fd, bytes, sizeof(bytes))) > 0)
        crc = add_crc(crc, bytes, count);
    return count == 0 && crc == expected && lseek(fd, 0, SEEK_SET) == 0;
}

static int open_link(const char *root, const char *dir, const char *below,
                     const char *name, uint32_t crc, char **ret_path)
{
    char path[4096];
    int length =
        snprintf(path, sizeof(path), "%s%s%s/%s", root, dir, below, name);

    if (length >= (int)sizeof(path))
        return -1;
    int fd = open_file(ret_path, path);
    if (fd < 0 || has_crc(fd, crc))
        return fd;
    close(fd);
    free(*ret_path);
    *ret_path = NULL;
    return -1;
}

// The file that a module's debug link names: beside it, in .debug beside it,
// or under the root of debug files.
static int open_by_link(const char *module, const char *name, uint32_t crc,
                        char **ret_path)
{
    char real[4096];
    char *slash = realpath(module, real) ? strrchr(real, '/') : NULL;

    if (!slash || strchr(name, '/'))
        return -1;
    *slash = '\0';
    int fd = open_link("", real, "/.debug", name, crc, ret_path);
    if (fd < 0)
        fd = open_link(DEBUG_ROOT, real, "", name, crc, ret_path);
    if (fd < 0)
        fd = open_link("", real, "", name, crc, ret_path);
    return fd;
}

// libdw's question where the debug information of a module lies; a descriptor,
// or -1. `userdata` is ours. A name without a checksum is that of a file shared
// by dwz, which libdw finds by itself when it comes to it, in local files.
static int find_debuginfo(Dwfl_Module *module, void **userdata,
                          const char *name, Dwarf_Addr base,
                          const char *file_name, const char *debuglink_file,
                          GElf_Word debuglink_crc, char **ret_path)
{
    struct dw *dw = *userdata;
    const unsigned char *id;
    GElf_Addr where;

    (void)base;
    if (!dw || (debuglink_file && !debuglink_crc))
        return -1;
    int size = dw->dwfl_module_build_id(module, &id, &where);
    int fd = open_by_build_id(id, size, ret_path);
    if (fd < 0 && debuglink_file)
        fd = open_by_link(file_name ? file_name : name, debuglink_file,
                          debuglink_crc, ret_path);
    return fd;
}

// Modules are reported with their file, so libdw has nothing to find.
static int find_elf(Dwfl_Module *module, void **userdata, const char *name,
                    Dwarf_Addr base, char **file_name, Elf **elf)
{
    (void)module, (void)userdata, (void)name, (void)base;
    (void)file_name, (void)elf;
    return -1;
}

// ---- Opening and closing. ----

static bool load_functions(struct dw *dw)
{
#define DW_LOAD(name)                                                          \
    dw->name = (__typeof__(name) *)dlsym(dw->library, #name);                  \
    if (!dw->name)                                                             \
        return false;
    DW_FUNCTIONS(DW_LOAD)
#undef DW_LOAD
    return true;
}

struct dw *dw_open(const struct model_module *modules, size_t count)
{
    // A program without a dynamic loader cannot load a library that needs
    // another libc than its own.
    bool is_static = getauxval(AT_BASE) == 0;
    struct dw *dw = is_static ? NULL : calloc(1, sizeof(*dw));

    if (!dw)
        return NULL;
    dw->about = modules;
    dw->module_count = count;
    dw->callbacks.find_elf = find_elf;
    dw->callbacks.find_debuginfo = find_debuginfo;
    dw->modules = calloc(count ? count : 1, sizeof(*dw->modules));
    // Not to be unloaded: what libdw loads itself may not bear that.
    dw->library = dlopen("libdw.so.1", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (dw->modules && dw->library && load_functions(dw))
        dw->dwfl = dw->dwfl_begin(&dw->callbacks);
    if (dw->dwfl)
        return dw;
    dw_close(dw);
    return NULL;
}

void dw_close(struct dw *dw)
{
    if (!dw)
        return;
    if (dw->dwfl)
        dw->dwfl_end(dw->dwfl);
    for (size_t i = 0; dw->modules && i < dw->module_count; i++)
        free(dw->modules[i].ranges);
    free(dw->modules);
    if (dw->library)
        dlclose(dw->library);
    free(dw);
}

// ---- Modules and their units. ----

static bool add_range(struct dw_module *module, uint64_t lo, uint64_t hi,
                      Dwarf_Off unit)
{
    if (module->range_count == module->range_room) {
        size_t room = module->range_room ? 2 * module->range_room : 64;
        struct unit_range *ranges =
            realloc(module->ranges, room * sizeof(*ranges));
        if (!ranges)
            return false;
        module->ranges = ranges;
        module->range_room = room;
    }
    module->ranges[module->range_count++] = (struct unit_range){lo, hi, unit};
    return true;
}

static int by_address(const void *left, const void *right)
{
    const struct unit_range *a = left, *b = right;

    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

static void collect_ranges(struct dw *dw, struct dw_module *module)
{
    Dwarf_Off at = 0, next;
    size_t header;

    while (dw->dwarf_nextcu(module->dwarf, at, &next, &header, NULL, NULL,
                            NULL) == 0) {
        Dwarf_Die unit;
        Dwarf_Addr base, lo, hi;
        ptrdiff_t step = 0;
        if (dw->dwarf_offdie(module->dwarf, at + header, &unit))
            while ((step = dw->dwarf_ranges(&unit, step, &base, &lo, &hi)) > 0)
                if (!add_range(module, lo, hi, at + header))
                    return;
        at = next;
    }
    if (module->range_count)
        qsort(module->ranges, module->range_count, sizeof(*module->ranges),
              by_address);
}

static bool has_build_id(struct dw *dw, Dwfl_Module *module,
                         const char *expected)
{
    const unsigned char *id;
    GElf_Addr where;
    int size = dw->dwfl_module_build_id(module, &id, &where);

    if (size < 0 || (size_t)size * 2 != strlen(expected))
        return false;
    for (int i = 0; i < size; i++) {
        char hex[3];
        snprintf(hex, sizeof(hex), "%02x", id[i]);
        if (memcmp(hex, expected + 2 * i, 2) != 0)
            return false;
    }
    return true;
}

// Opens a module's file, if it still is the file that was loaded.
static Dwfl_Module *report(struct dw *dw, const struct model_module *about,
                           const char *path)
{
    dw->dwfl_report_begin_add(dw->dwfl);
    Dwfl_Module *module =
        dw->dwfl_report_elf(dw->dwfl, path, path, -1, about->bias, true);

    if (dw->dwfl_report_end(dw->dwfl, NULL, NULL) != 0)
        return NULL;
    if (module && about->build_id && !has_build_id(dw, module, about->build_id))
        return NULL;
    return module;
}

static void open_module(struct dw *dw, size_t index)
{
    struct dw_module *module = &dw->modules[index];
    const struct model_module *about = &dw->about[index];

    module->opened = true;
    // The executable may have been replaced on disk while it runs.
    if (index == 0)
        module->dwfl = report(dw, about, "/proc/self/exe");
    if (!module->dwfl && about->path[0] == '/')
        module->dwfl = report(dw, about, about->path);
    if (!module->dwfl)
        return;
    void **userdata;
    dw->dwfl_module_info(module->dwfl, &userdata, NULL, NULL, NULL, NULL, NULL,
                         NULL);
    *userdata = dw; // for find_debuginfo
    module->dwarf = dw->dwfl_module_getdwarf(module->dwfl, &module->bias);
    if (module->dwarf)
        collect_ranges(dw, module);
}

// ---- Looking up. ----

static const struct unit_range *find_range(const struct dw_module *module,
                                           uint64_t address)
{
    size_t lo = 0, hi = module->range_count; // the last with .lo <= address

    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (module->ranges[middle].lo <= address)
            lo = middle + 1;
        else
            hi = middle;
    }
    if (lo == 0 || address >= module->ranges[lo - 1].hi)
        return NULL;
    return &module->ranges[lo - 1];
}

static const char *text_of(struct dw *dw, Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;

    if (!dw->dwarf_attr_integrate(die, name, &attribute))
        return NULL;
    return dw->dwarf_formstring(&attribute);
}

static const char *function_name(struct dw *dw, Dwarf_Die *die)
{
    const char *name = text_of(dw, die, DW_AT_linkage_name);

    if (!name)
        name = text_of(dw, die, DW_AT_MIPS_linkage_name);
    return name && name[0] == '_' && name[1] == 'Z' ? name
                                                    : dw->dwarf_diename(die);
}

static uint64_t number_of(struct dw *dw, Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word number;

    if (!dw->dwarf_attr(die, name, &attribute) ||
        dw->dwarf_formudata(&attribute, &number) != 0)
        return 0;
    return number;
}

// Sets the place from which an inlined function was called.
static void set_call_place(struct dw *dw, Dwarf_Die *unit, Dwarf_Die *inlined,
                           struct dw_frame *frame)
{
    Dwarf_Files *files;
    size_t count;
    uint64_t file = number_of(dw, inlined, DW_AT_call_file);

    frame->line = (int)number_of(dw, inlined, DW_AT_call_line);
    if (dw->dwarf_getsrcfiles(unit, &files, &count) != 0 || file >= count)
        return;
    // Number 0 is a file since DWARF 5; before, libdw gives it no name.
    const char *source = dw->dwarf_filesrc(files, file, NULL, NULL);
    if (source && strcmp(source, "???") != 0)
        frame->file = source;
}

static void set_line(struct dw *dw, Dwarf_Die *unit, Dwarf_Addr address,
                     struct dw_frame *frame)
{
    Dwarf_Line *line = dw->dwarf_getsrc_die(unit, address);
    int number;

    if (!line)
        return;
    frame->file = dw->dwarf_linesrc(line, NULL, NULL);
    if (dw->dwarf_lineno(line, &number) == 0)
        frame->line = number;
}

// Fills in the functions that enclose the innermost of them, which is the
// first of `scopes`; each is where the one before was inlined from.
static size_t walk_scopes(struct dw *dw, Dwarf_Die *unit, Dwarf_Die *scopes,
                          int count, struct dw_frame frames[DW_FRAMES_MAX])
{
    size_t used = 0;
    Dwarf_Die *inner = NULL;

    for (int i = 0; i < count && used < DW_FRAMES_MAX; i++) {
        int tag = dw->dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_subprogram && tag != DW_TAG_inlined_subroutine)
            continue;
        struct dw_frame *frame = &frames[used++];
        if (inner) {
            frame->file = NULL;
            set_call_place(dw, unit, inner, frame);
        }
        frame->function = function_name(dw, &scopes[i]);
        frame->dir = frames[0].dir;
        frame->inlined = tag == DW_TAG_inlined_subroutine;
        inner = &scopes[i];
        if (tag == DW_TAG_subprogram)
            break;
    }
    return used;
}

// The functions around an address by debug information; frames[0] is set up to
// its line even when there are none.
static size_t find_in_unit(struct dw *dw, Dwarf_Die *unit, Dwarf_Addr address,
                           struct dw_frame frames[DW_FRAMES_MAX])
{
    Dwarf_Die *around = NULL, *outwards = NULL;
    size_t used = 0;

    frames[0].dir = text_of(dw, unit, DW_AT_comp_dir);
    set_line(dw, unit, address, &frames[0]);
    // Of an inlined function, the first call continues where it was defined,
    // the second one where it was put.
    if (dw->dwarf_getscopes(unit, address, &around) > 0) {
        int count = dw->dwarf_getscopes_die(&around[0], &outwards);
        if (count > 0)
            used = walk_scopes(dw, unit, outwards, count, frames);
    }
    free(outwards);
    free(around);
    return used;
}

size_t dw_find(struct dw *dw, size_t index, uintptr_t address,
               struct dw_frame frames[DW_FRAMES_MAX])
{
    struct dw_module *module = &dw->modules[index];
    const struct unit_range *range = NULL;
    Dwarf_Die unit;
    size_t used = 0;

    if (!module->opened)
        open_module(dw, index);
    if (!module->dwfl)
        return 0;
    for (int i = 0; i < DW_FRAMES_MAX; i++)
        frames[i] = (struct dw_frame){0};
    if (module->dwarf)
        range = find_range(module, address - module->bias);
    if (range && dw->dwarf_offdie(module->dwarf, range->unit, &unit))
        used = find_in_unit(dw, &unit, address - module->bias, frames);
    if (used && frames[used - 1].function)
        return used;

    // No debug information, or none about functions (assembly): the symbol.
    GElf_Off offset;
    GElf_Sym symbol;
    frames[used ? used - 1 : 0].function = dw->dwfl_module_addrinfo(
        module->dwfl, address, &offset, &symbol, NULL, NULL, NULL);
    if (used)
        return used;
    return frames[0].function || frames[0].file ? 1 : 0;
}

#else

struct dw *dw_open(const struct model_module *modules, size_t count)
{
    (void)modules, (void)count;
    return NULL;
}

void dw_close(struct dw *dw)
{
    (void)dw;
}

size_t dw_find(struct dw *dw, size_t index, uintptr_t address,
               struct dw_frame frames[DW_FRAMES_MAX])
{
    (void)dw, (void)index, (void)address, (void)frames;
    return 0;
}

#endif
