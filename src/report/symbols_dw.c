// symbols_dw.c -- libdw as far as names need it, loaded at the first need.
//
// Each module is opened when the first of its addresses is asked for, from the
// files that module_file.h has found: libdw's own search would ask servers.
//
// libdw finds a function by going through all of its compilation unit, which
// for 10,000 places in one unit takes most of a minute. So each unit that is
// asked about is gone through once, and its functions are kept, sorted:
//
//   I1  `functions` are in the order of the tree: a function that was inlined
//       comes after the one it lies in, its `outer`.
//   I2  `ranges` of a unit are sorted by `lo`, and at the same `lo` the outer
//       comes first; `around` is the nearest before it that holds its `lo`. So
//       the innermost range with an address is the last that begins at or
//       before it, or else one of those around that.
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
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/grow.h"
#include "dump/model.h"
#include "report/module_file.h"

// The functions of libdw in use.
#define DW_FUNCTIONS(X)                                                        \
    X(dwfl_begin)                                                              \
    X(dwfl_end)                                                                \
    X(dwfl_report_begin_add)                                                   \
    X(dwfl_report_elf)                                                         \
    X(dwfl_report_end)                                                         \
    X(dwfl_module_info)                                                        \
    X(dwfl_module_getdwarf)                                                    \
    X(dwarf_nextcu)                                                            \
    X(dwarf_offdie)                                                            \
    X(dwarf_ranges)                                                            \
    X(dwarf_child)                                                             \
    X(dwarf_siblingof)                                                         \
    X(dwarf_dieoffset)                                                         \
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

// A function of a compilation unit, or one that was inlined into another.
struct function {
    Dwarf_Off die;
    uint32_t outer; // where it was inlined, or NONE
    bool inlined;
};

// Addresses [lo, hi) of a function, without the bias.
struct function_range {
    uint64_t lo, hi;
    uint32_t function;
    uint32_t around; // or NONE
};

// A compilation unit; all but `die` is filled in at the first need.
struct unit {
    Dwarf_Off die;
    bool indexed;
    struct function *functions; // I1
    size_t function_count, function_room;
    struct function_range *ranges; // I2
    size_t range_count, range_room;
};

// Addresses [lo, hi) of a compilation unit, without the bias.
struct unit_range {
    uint64_t lo, hi;
    uint32_t unit;
};

struct dw_module {
    bool opened;
    Dwarf *dwarf;    // NULL: no debug information
    Dwarf_Addr bias; // of `dwarf`
    struct unit *units;
    size_t unit_count, unit_room;
    struct unit_range *ranges; // sorted by lo
    size_t range_count, range_room;
};

enum { NONE = UINT32_MAX, DEPTH_MAX = 200 };

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

// libdw's question where the debug information of a module lies; a descriptor,
// or -1. `userdata` is ours. A name without a checksum is that of a file shared
// by dwz, which libdw finds by itself when it comes to it, in local files.
static int find_debuginfo(Dwfl_Module *module, void **userdata,
                          const char *name, Dwarf_Addr base,
                          const char *file_name, const char *debuglink_file,
                          GElf_Word debuglink_crc, char **ret_path)
{
    const struct module_file *file = *userdata;

    (void)module, (void)name, (void)base, (void)file_name;
    if (!file || !file->debug || (debuglink_file && !debuglink_crc))
        return -1;
    *ret_path = strdup(file->debug);
    return *ret_path ? open(file->debug, O_RDONLY | O_CLOEXEC) : -1;
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

static bool load(struct dw *dw)
{
    // Not to be unloaded: what libdw loads itself may not bear that.
    dw->library = dlopen("libdw.so.1", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (!dw->library || !load_functions(dw))
        return false;
    dw->callbacks.find_elf = find_elf;
    dw->callbacks.find_debuginfo = find_debuginfo;
    dw->dwfl = dw->dwfl_begin(&dw->callbacks);
    return dw->dwfl != NULL;
}

struct dw *dw_open(const struct model_module *modules, size_t count,
                   const char **ret_why)
{
    // A program without a dynamic loader cannot load a library that needs
    // another libc than its own.
    bool is_static = getauxval(AT_BASE) == 0;
    struct dw *dw = is_static ? NULL : calloc(1, sizeof(*dw));

    *ret_why = "a statically linked program cannot load libdw";
    if (!dw)
        return NULL;
    *ret_why = "libdw.so.1 was not found; Debian has it in the package libdw1";
    dw->about = modules;
    dw->module_count = count;
    dw->modules = calloc(count ? count : 1, sizeof(*dw->modules));
    if (dw->modules && load(dw))
        return dw;
    dw_close(dw);
    return NULL;
}

static void free_units(struct dw_module *module)
{
    for (size_t i = 0; i < module->unit_count; i++) {
        free(module->units[i].functions);
        free(module->units[i].ranges);
    }
    free(module->units);
    free(module->ranges);
}

void dw_close(struct dw *dw)
{
    if (!dw)
        return;
    if (dw->dwfl)
        dw->dwfl_end(dw->dwfl);
    for (size_t i = 0; dw->modules && i < dw->module_count; i++)
        free_units(&dw->modules[i]);
    free(dw->modules);
    if (dw->library)
        dlclose(dw->library);
    free(dw);
}

// ---- Modules and their units. ----

static bool add_range(struct dw_module *module, uint64_t lo, uint64_t hi)
{
    if (!grow(&module->ranges, &module->range_room, module->range_count + 1,
              sizeof(*module->ranges)))
        return false;
    module->ranges[module->range_count++] = (struct unit_range){
        .lo = lo, .hi = hi, .unit = (uint32_t)module->unit_count - 1};
    return true;
}

static bool add_unit(struct dw *dw, struct dw_module *module, Dwarf_Off at)
{
    Dwarf_Addr base, lo, hi;
    ptrdiff_t step = 0;
    Dwarf_Die die;

    if (!grow(&module->units, &module->unit_room, module->unit_count + 1,
              sizeof(*module->units)))
        return false;
    module->units[module->unit_count++] = (struct unit){.die = at};
    if (!dw->dwarf_offdie(module->dwarf, at, &die))
        return true;
    while ((step = dw->dwarf_ranges(&die, step, &base, &lo, &hi)) > 0)
        if (!add_range(module, lo, hi))
            return false;
    return true;
}

static int by_address(const void *left, const void *right)
{
    const struct unit_range *a = left, *b = right;

    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

static void collect_units(struct dw *dw, struct dw_module *module)
{
    Dwarf_Off at = 0, next;
    size_t header;

    while (dw->dwarf_nextcu(module->dwarf, at, &next, &header, NULL, NULL,
                            NULL) == 0) {
        if (!add_unit(dw, module, at + header))
            break;
        at = next;
    }
    if (module->range_count)
        qsort(module->ranges, module->range_count, sizeof(*module->ranges),
              by_address);
}

static void open_module(struct dw *dw, size_t index,
                        const struct module_file *file)
{
    struct dw_module *module = &dw->modules[index];
    void **userdata;

    module->opened = true;
    if (!file->path)
        return;
    dw->dwfl_report_begin_add(dw->dwfl);
    Dwfl_Module *opened = dw->dwfl_report_elf(dw->dwfl, file->path, file->path,
                                              -1, dw->about[index].bias, true);
    if (dw->dwfl_report_end(dw->dwfl, NULL, NULL) != 0 || !opened)
        return;
    dw->dwfl_module_info(opened, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
    *userdata = (void *)file; // for find_debuginfo
    module->dwarf = dw->dwfl_module_getdwarf(opened, &module->bias);
    if (module->dwarf)
        collect_units(dw, module);
}

// ---- The functions of a unit. ----

static bool add_function(struct dw *dw, struct unit *unit, Dwarf_Die *die,
                         uint32_t outer, bool inlined)
{
    Dwarf_Addr base, lo, hi;
    ptrdiff_t step = 0;

    if (!grow(&unit->functions, &unit->function_room, unit->function_count + 1,
              sizeof(*unit->functions)))
        return false;
    uint32_t number = (uint32_t)unit->function_count++;
    unit->functions[number] = (struct function){
        .die = dw->dwarf_dieoffset(die), .outer = outer, .inlined = inlined};
    while ((step = dw->dwarf_ranges(die, step, &base, &lo, &hi)) > 0) {
        if (!grow(&unit->ranges, &unit->range_room, unit->range_count + 1,
                  sizeof(*unit->ranges)))
            return false;
        unit->ranges[unit->range_count++] =
            (struct function_range){lo, hi, number, NONE};
    }
    return true;
}

// Adds what lies below an entry; false: no memory, or it is nested too deeply.
static bool add_below(struct dw *dw, struct unit *unit, Dwarf_Die *parent,
                      uint32_t outer, int depth)
{
    Dwarf_Die die;

    if (depth == DEPTH_MAX)
        return false;
    if (dw->dwarf_child(parent, &die) != 0)
        return true;
    do {
        int tag = dw->dwarf_tag(&die);
        bool inlined = tag == DW_TAG_inlined_subroutine;
        uint32_t inner = outer;
        if (inlined || tag == DW_TAG_subprogram) {
            inner = (uint32_t)unit->function_count;
            if (!add_function(dw, unit, &die, inlined ? outer : NONE, inlined))
                return false;
        }
        if (!add_below(dw, unit, &die, inner, depth + 1))
            return false;
    } while (dw->dwarf_siblingof(&die, &die) == 0);
    return true;
}

// At the same address the wider first; as wide, in the order of the tree.
static int by_nesting(const void *left, const void *right)
{
    const struct function_range *a = left, *b = right;

    if (a->lo != b->lo)
        return a->lo < b->lo ? -1 : 1;
    if (a->hi != b->hi)
        return a->hi > b->hi ? -1 : 1;
    return a->function < b->function ? -1 : a->function > b->function; // I1
}

static void index_unit(struct dw *dw, struct dw_module *module,
                       struct unit *unit)
{
    Dwarf_Die die;

    unit->indexed = true;
    if (dw->dwarf_offdie(module->dwarf, unit->die, &die))
        (void)add_below(dw, unit, &die, NONE, 0); // what is there is true
    if (unit->range_count == 0)
        return;
    qsort(unit->ranges, unit->range_count, sizeof(*unit->ranges), by_nesting);
    uint32_t around = NONE;
    for (uint32_t i = 0; i < unit->range_count; i++) {
        while (around != NONE && unit->ranges[around].hi <= unit->ranges[i].lo)
            around = unit->ranges[around].around;
        unit->ranges[i].around = around; // I2
        around = i;
    }
}

// The innermost function with an address, or NONE.
static uint32_t find_function(const struct unit *unit, uint64_t address)
{
    size_t lo = 0, hi = unit->range_count; // the last with .lo <= address

    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (unit->ranges[middle].lo <= address)
            lo = middle + 1;
        else
            hi = middle;
    }
    uint32_t at = lo == 0 ? (uint32_t)NONE : (uint32_t)lo - 1;
    while (at != NONE && address >= unit->ranges[at].hi)
        at = unit->ranges[at].around; // I2
    return at == NONE ? (uint32_t)NONE : unit->ranges[at].function;
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

// Fills in a function and those that it was inlined into, up to the first that
// was not.
static size_t add_chain(struct dw *dw, struct dw_module *module,
                        const struct unit *unit, Dwarf_Die *unit_die,
                        uint32_t function,
                        struct dw_frame frames[DW_FRAMES_MAX])
{
    Dwarf_Die inner, die;
    size_t used = 0;

    for (; function != NONE && used < DW_FRAMES_MAX;
         function = unit->functions[function].outer) {
        const struct function *about = &unit->functions[function];
        if (!dw->dwarf_offdie(module->dwarf, about->die, &die))
            break;
        struct dw_frame *frame = &frames[used++];
        if (used > 1)
            set_call_place(dw, unit_die, &inner, frame);
        frame->function = function_name(dw, &die);
        frame->dir = frames[0].dir;
        frame->inlined = about->inlined;
        inner = die;
    }
    return used;
}

size_t dw_find(struct dw *dw, size_t index, const struct module_file *file,
               uintptr_t address, struct dw_frame frames[DW_FRAMES_MAX])
{
    struct dw_module *module = &dw->modules[index];
    Dwarf_Die die;

    if (!module->opened)
        open_module(dw, index, file);
    address -= module->bias;
    const struct unit_range *range =
        module->dwarf ? find_range(module, address) : NULL;
    if (!range ||
        !dw->dwarf_offdie(module->dwarf, module->units[range->unit].die, &die))
        return 0;
    struct unit *unit = &module->units[range->unit];
    if (!unit->indexed)
        index_unit(dw, module, unit);
    memset(frames, 0, DW_FRAMES_MAX * sizeof(*frames));
    frames[0].dir = text_of(dw, &die, DW_AT_comp_dir);
    set_line(dw, &die, address, &frames[0]);
    size_t used =
        add_chain(dw, module, unit, &die, find_function(unit, address), frames);
    // Of assembly, debug information may know the lines alone.
    return used ? used : frames[0].file ? 1 : 0;
}

#else

struct dw *dw_open(const struct model_module *modules, size_t count,
                   const char **ret_why)
{
    (void)modules, (void)count;
    *ret_why = "weft was built without elfutils";
    return NULL;
}

void dw_close(struct dw *dw)
{
    (void)dw;
}

size_t dw_find(struct dw *dw, size_t index, const struct module_file *file,
               uintptr_t address, struct dw_frame frames[DW_FRAMES_MAX])
{
    (void)dw, (void)index, (void)file, (void)address, (void)frames;
    return 0;
}

#endif
