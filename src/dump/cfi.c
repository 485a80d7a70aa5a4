// cfi.c -- Finds call frame information for a pc, and caches what it says.
//
// The way is from the pc to its module, by .eh_frame_hdr's table (or, without
// one, through all of .eh_frame) to its FDE, whose interpretation is in
// cfi_program.c. A row that compilers commonly make is compiled to a rule.
//
// A statically linked executable often has no .eh_frame_hdr. Its .eh_frame is
// then found by its section headers, which only the file has, and a table is
// made of it, once for the process and before any cache.
//
// The loader keeps a module mapped while dl_iterate_phdr looks at it. So all
// reading is done inside that call, and nothing kept points into a module: a
// dlclose at any time is harmless.
//
//   I1  .eh_frame is not trusted: every reader is bounded by the mapped segment
//       that it begins in.
//   I2  Each loop takes at least a byte of a bounded range in each round.
//   I3  A rule lies within WINDOW slots of its home, behind no empty slot: they
//       are overwritten or all cleared, never emptied one by one.
#include "dump/cfi.h"

#include "base/grow.h"
#include "base/lock.h"
#include "dump/cfi_program.h"
#include "dump/elf_file.h"
#include "dump/reader.h"

#include <link.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum {
    SLOTS_LOG = 12,
    SLOTS = 1 << SLOTS_LOG,
    WINDOW = 4,
};

// ---- From a pc to its FDE ----

// What .eh_frame of one module is looked at for one pc.
struct search {
    struct cfi_cache *cache;
    uintptr_t pc;
    uintptr_t code_after; // the end of the code segment that pc lies in
    const uint8_t *hdr;
    bool counted; // the loader's counters were compared
    enum cfi_kind kind;
    uintptr_t function; // where the code of the pc's FDE begins, or 0
    const struct cfi_places *places; // of a module without a header, or NULL
};

struct cfi_cache {
    struct cfi_rule slot[SLOTS];
    unsigned victim;
    unsigned long long loads;
    unsigned long long unloads;
    const struct cfi_module *modules; // of another process, or NULL
    size_t module_count;              //
    const struct space *space;        //
    struct cfi_program program;
};

// From `address` to the end of the readable segment that it is in, or nothing.
static struct reader segment_at(const struct dl_phdr_info *info,
                                uintptr_t address)
{
    struct reader r = {.bad = true};

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_R) &&
            address - start < p->p_memsz) {
            r.at = (const uint8_t *)address;
            r.end = (const uint8_t *)(start + p->p_memsz);
            r.bad = false;
        }
    }
    return r;
}

static bool is_code(const struct dl_phdr_info *info, uintptr_t pc)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) &&
            pc - (info->dlpi_addr + p->p_vaddr) < p->p_memsz)
            return true;
    }
    return false;
}

// Reads the FDE at `r`, if it is one that covers the pc.
static enum cfi_kind read_fde(const struct dl_phdr_info *info, struct search *s,
                              struct reader r)
{
    struct reader e = cfi_entry(&r);
    struct cfi_cie cie;

    uintptr_t id_at = (uintptr_t)e.at;
    uint64_t id = reader_take(&e, 4); // how far before this field the CIE is
    if (e.bad || id == 0)
        return CFI_NONE;
    struct reader cie_at = segment_at(info, id_at - id);
    if (cie_at.bad || !cfi_cie_read(cie_at, &cie))
        return CFI_BAD;
    uintptr_t start = reader_pointer(&e, cie.encoding, s->hdr);
    uint64_t length = reader_form(&e, cie.encoding);
    if (e.bad || s->pc - start >= length)
        return CFI_NONE;
    s->function = start;
    if (cie.has_data)
        reader_skip(&e, reader_uleb(&e));
    if (e.bad)
        return CFI_BAD;
    return cfi_program_run(&s->cache->program, &cie, e, start, s->pc);
}

// The table in .eh_frame_hdr: pairs of offsets from the header's start, of the
// code and of its FDE, sorted by the first.
static enum cfi_kind search_table(const struct dl_phdr_info *info,
                                  struct search *s, struct reader table,
                                  uint64_t count)
{
    int64_t wanted = (int64_t)(s->pc - (uintptr_t)s->hdr);
    int32_t pair[2];
    size_t low = 0;
    size_t high = reader_left(&table) / sizeof pair;

    if (high > count)
        high = count;
    while (low < high) { // entries before low begin at or before the pc
        size_t middle = low + (high - low) / 2;
        memcpy(pair, table.at + middle * sizeof pair, sizeof pair);
        if (pair[0] <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return CFI_NONE;
    memcpy(pair, table.at + (low - 1) * sizeof pair, sizeof pair);
    struct reader fde =
        segment_at(info, (uintptr_t)s->hdr + (uintptr_t)(int64_t)pair[1]);
    return fde.bad ? CFI_BAD : read_fde(info, s, fde);
}

// For want of a table: all entries in their order, up to the empty one.
static enum cfi_kind search_all(const struct dl_phdr_info *info,
                                struct search *s, struct reader frames)
{
    while (reader_left(&frames) > 4) { // I2
        struct reader here = frames;
        struct reader entry = cfi_entry(&frames);
        if (entry.bad || reader_left(&entry) == 0)
            break;
        enum cfi_kind kind = read_fde(info, s, here);
        if (kind != CFI_NONE)
            return kind;
    }
    return CFI_NONE;
}

// ---- An executable without a header ----

// Of the executable; empty if it has a header. Written under `lock` by the
// first cfi_cache_new, then never again: whoever has a cache may read it.
static struct {
    struct lock lock;
    bool made;
    struct cfi_places all;
} executable;

// The code that an entry of .eh_frame is about; false: it is none, or a CIE.
static bool read_code(const struct dl_phdr_info *info, struct reader entry,
                      uintptr_t *ret_code)
{
    struct cfi_cie cie;
    uintptr_t id_at = (uintptr_t)entry.at;
    uint64_t id = reader_take(&entry, 4);

    if (entry.bad || id == 0)
        return false;
    struct reader cie_at = segment_at(info, id_at - id);
    if (cie_at.bad || !cfi_cie_read(cie_at, &cie))
        return false;
    *ret_code = reader_pointer(&entry, cie.encoding, NULL);
    return !entry.bad;
}

static int by_code(const void *left, const void *right)
{
    const struct cfi_fde_place *a = left, *b = right;

    return a->code < b->code ? -1 : a->code > b->code;
}

void cfi_places_list(struct cfi_places *places, const struct dl_phdr_info *info,
                     uintptr_t section, size_t size)
{
    struct reader frames = segment_at(info, section);
    uintptr_t code;

    if (frames.bad)
        return;
    frames = reader_part(&frames, size);
    while (reader_left(&frames) > 4) { // I2
        uintptr_t at = (uintptr_t)frames.at;
        struct reader entry = cfi_entry(&frames);
        if (entry.bad || reader_left(&entry) == 0)
            break;
        if (!read_code(info, entry, &code))
            continue;
        if (!grow(&places->places, &places->room, places->count + 1,
                  sizeof *places->places))
            break;
        places->places[places->count++] = (struct cfi_fde_place){code, at};
    }
    if (places->count > 0)
        qsort(places->places, places->count, sizeof *places->places, by_code);
}

static int list_places(struct dl_phdr_info *info, size_t size, void *arg)
{
    const ElfW(Shdr) *section = arg;

    (void)size;
    cfi_places_list(&executable.all, info, info->dlpi_addr + section->sh_addr,
                    section->sh_size);
    return 1; // the executable is the first
}

static int has_header(struct dl_phdr_info *info, size_t size, void *arg)
{
    bool *ret_has = arg;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++)
        *ret_has |= info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME;
    return 1; // the executable is the first
}

static void list_executable(void)
{
    struct elf_file file;
    bool has = false;

    dl_iterate_phdr(has_header, &has);
    if (has || elf_file_open(&file, "/proc/self/exe") != 0)
        return;
    const ElfW(Shdr) *section = elf_file_section(&file, ".eh_frame");
    if (section != NULL)
        dl_iterate_phdr(list_places, (void *)section);
    elf_file_close(&file);
}

static void prepare_executable(void)
{
    lock_acquire(&executable.lock);
    if (!executable.made)
        list_executable();
    executable.made = true;
    lock_release(&executable.lock);
}

// For a pc of a module without a header: nothing, if its FDEs are not listed.
static enum cfi_kind search_places(const struct dl_phdr_info *info,
                                   struct search *s)
{
    size_t low = 0;
    size_t high = s->places->count;

    while (low < high) { // entries before low begin at or before the pc
        size_t middle = low + (high - low) / 2;
        if (s->places->places[middle].code <= s->pc)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return CFI_NONE;
    struct reader fde = segment_at(info, s->places->places[low - 1].fde);
    return fde.bad ? CFI_NONE : read_fde(info, s, fde);
}

static enum cfi_kind read_hdr(const struct dl_phdr_info *info, struct search *s,
                              const ElfW(Phdr) * p)
{
    struct reader r = segment_at(info, info->dlpi_addr + p->p_vaddr);
    if (r.bad)
        return CFI_NONE;
    r = reader_part(&r, p->p_memsz);
    s->hdr = r.at;
    if (reader_take(&r, 1) != 1) // its version
        return CFI_NONE;
    unsigned frames_encoding = (unsigned)reader_take(&r, 1);
    unsigned count_encoding = (unsigned)reader_take(&r, 1);
    unsigned table_encoding = (unsigned)reader_take(&r, 1);
    uintptr_t frames = reader_pointer(&r, frames_encoding, s->hdr);
    if (r.bad)
        return CFI_NONE;
    if (table_encoding == (READER_DATAREL | READER_SDATA4) &&
        count_encoding == READER_UDATA4) {
        uint64_t count = reader_take(&r, 4);
        return search_table(info, s, r, count);
    }
    struct reader all = segment_at(info, frames);
    return all.bad ? CFI_NONE : search_all(info, s, all);
}

// ---- Signal trampolines ----
//
// Where a handler returns to. musl's has no CFI at all, and that of Linux for
// aarch64 loses the interrupted function; but the code is part of the kernel's
// interface, and so is the frame: every register is in the ucontext there.

#if defined(__x86_64__)
static const uint8_t SIGRETURN[] = {
    // mov $15, %rax; syscall
    0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05,
};
enum { CONTEXT = 0 }; // from sp to the ucontext
static const uint8_t GREG_OF[] = {
    REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static size_t offset_in_context(int reg)
{
    int greg = reg == CFI_LR ? REG_RIP : GREG_OF[reg];
    return offsetof(ucontext_t, uc_mcontext.gregs) + 8 * (size_t)greg;
}

static size_t offset_of_pc(void)
{
    return offset_in_context(CFI_LR);
}
#else
static const uint8_t SIGRETURN[] = {
    // mov x8, #139; svc #0
    0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4,
};
enum { CONTEXT = 128 }; // a siginfo_t comes first

static size_t offset_in_context(int reg)
{
    if (reg == CFI_SP)
        return offsetof(ucontext_t, uc_mcontext.sp);
    return offsetof(ucontext_t, uc_mcontext.regs) + 8 * (size_t)reg;
}

static size_t offset_of_pc(void)
{
    return offsetof(ucontext_t, uc_mcontext.pc);
}
#endif

// A pc here is a return address, hence looked up as one less, or the first
// instruction itself.
static bool is_sigreturn(const struct dl_phdr_info *info, uintptr_t pc)
{
    struct reader code = segment_at(info, pc);
    size_t size = sizeof SIGRETURN;

    return !code.bad && reader_left(&code) > size &&
           (memcmp(code.at, SIGRETURN, size) == 0 ||
            memcmp(code.at + 1, SIGRETURN, size) == 0);
}

static struct cfi_place place_in_context(size_t offset, enum cfi_how how)
{
    return (struct cfi_place){.how = (uint8_t)how,
                              .base = CFI_SP,
                              .off = (int32_t)(CONTEXT + offset)};
}

static enum cfi_kind describe_sigreturn(struct cfi_row *row)
{
    memset(row, 0, sizeof *row);
    for (int i = 0; i < CFI_REGS; i++)
        row->reg[i] = place_in_context(offset_in_context(i), CFI_AT);
    row->cfa = place_in_context(offset_in_context(CFI_SP), CFI_IS);
    row->cfa.deref = true;
    row->ra = place_in_context(offset_of_pc(), CFI_AT);
    row->is_signal = true;
    return CFI_FULL;
}

// ---- The cache ----

static void forget(struct cfi_cache *cache)
{
    memset(cache->slot, 0, sizeof cache->slot);
}

static void compare_counters(struct cfi_cache *cache,
                             const struct dl_phdr_info *info)
{
    if (cache->loads == info->dlpi_adds && cache->unloads == info->dlpi_subs)
        return;
    cache->loads = info->dlpi_adds;
    cache->unloads = info->dlpi_subs;
    forget(cache);
}

static int refresh(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    compare_counters(arg, info);
    return 1; // every module tells the same
}

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *s = arg;
    (void)size;

    if (!s->counted)
        compare_counters(s->cache, info);
    s->counted = true;
    if (!is_code(info, s->pc))
        return 0;
    if (is_sigreturn(info, s->pc)) {
        s->kind = describe_sigreturn(&s->cache->program.row);
        return 1;
    }
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME) {
            s->kind = read_hdr(info, s, &info->dlpi_phdr[i]);
            return 1;
        }
    if (s->places != NULL)
        s->kind = search_places(info, s);
    return 1;
}

// In the copy of a module of another process: its code is looked for as if it
// ran here. What comes of that knows no addresses.
static void look_far(const struct cfi_cache *cache, struct search *s)
{
    for (size_t i = 0; i < cache->module_count; i++) {
        const struct cfi_module *m = &cache->modules[i];
        struct dl_phdr_info info = m->info;
        if (s->pc < m->start || s->pc >= m->end)
            continue;
        s->pc += m->here;
        s->counted = true;
        s->places = &m->places;
        (void)look(&info, sizeof info, s);
        if (s->function != 0)
            s->function -= m->here;
        return;
    }
}

static void look_up(struct search *s)
{
    s->places = &executable.all;
    if (s->cache->modules != NULL)
        look_far(s->cache, s);
    else
        dl_iterate_phdr(look, s);
}

// Leaves the row in cache->program.
static enum cfi_kind read_row(struct cfi_cache *cache, uintptr_t pc)
{
    struct search s = {.cache = cache, .pc = pc, .kind = CFI_NONE};
    look_up(&s);
    return s.kind;
}

static bool compile_cfa(const struct cfi_place *cfa, struct cfi_rule *rule)
{
    rule->cfa_by_fp = cfa->base == CFI_FP;
    rule->cfa_deref = cfa->deref;
    rule->cfa_off = cfa->off;
    rule->cfa_add = cfa->add;
    return cfa->base == CFI_FP || cfa->base == CFI_SP;
}

static bool compile_ra(const struct cfi_place *ra, struct cfi_rule *rule)
{
    rule->ra_off = ra->off;
    rule->ra_in_lr = ra->how == CFI_SAME;
    if (rule->ra_in_lr)
        return true;
    return ra->how == CFI_AT && ra->base == CFI_BASE_CFA && !ra->deref;
}

static bool compile_fp(const struct cfi_place *fp, struct cfi_rule *rule)
{
    rule->fp_off = fp->off;
    rule->fp_saved = fp->how == CFI_AT;
    rule->fp_by_fp = fp->base == CFI_FP;
    if (fp->how == CFI_SAME)
        return true;
    return rule->fp_saved && !fp->deref &&
           (fp->base == CFI_BASE_CFA || fp->base == CFI_FP);
}

static bool is_simple(const struct cfi_row *row, struct cfi_rule *rule)
{
    rule->ra_signed = row->ra_signed;
    return !row->is_signal && row->reg[CFI_SP].how == CFI_SAME &&
           compile_cfa(&row->cfa, rule) && compile_ra(&row->ra, rule) &&
           compile_fp(&row->reg[CFI_FP], rule);
}

static struct cfi_rule compile(struct cfi_cache *cache, uintptr_t pc)
{
    struct cfi_rule rule = {.pc = pc};
    rule.kind = (uint8_t)read_row(cache, pc);
    if (rule.kind == CFI_FULL && is_simple(&cache->program.row, &rule))
        rule.kind = CFI_SIMPLE;
    return rule;
}

static size_t home(uintptr_t pc)
{
    return (pc * 0x9e3779b97f4a7c15u) >> (64 - SLOTS_LOG);
}

struct cfi_cache *cfi_cache_new(void)
{
    prepare_executable();
    size_t line = 64; // two rules in each, none across two
    size_t size = (sizeof(struct cfi_cache) + line - 1) & -line;
    struct cfi_cache *cache = aligned_alloc(line, size);
    if (cache)
        memset(cache, 0, size);
    return cache;
}

struct cfi_cache *cfi_cache_new_for(const struct cfi_module *modules,
                                    size_t count, const struct space *space)
{
    struct cfi_cache *cache = cfi_cache_new();

    if (cache != NULL) {
        cache->space = space;
        cache->modules = modules;
        cache->module_count = count;
    }
    return cache;
}

void cfi_cache_free(struct cfi_cache *cache)
{
    free(cache);
}

void cfi_cache_refresh(struct cfi_cache *cache)
{
    if (cache->modules == NULL)
        dl_iterate_phdr(refresh, cache);
}

enum cfi_kind cfi_read(struct cfi_cache *cache, uintptr_t pc,
                       struct cfi_row *ret_row)
{
    enum cfi_kind kind = read_row(cache, pc);
    if (kind == CFI_FULL)
        *ret_row = cache->program.row;
    return kind;
}

size_t cfi_memory(const struct cfi_cache *cache, uintptr_t address, void *to,
                  size_t bytes)
{
    return space_read(cache->space, address, to, bytes);
}

uintptr_t cfi_function(struct cfi_cache *cache, uintptr_t pc)
{
    struct search s = {.cache = cache, .pc = pc, .kind = CFI_NONE};
    look_up(&s);
    return s.function;
}

static const struct cfi_rule *insert(struct cfi_cache *cache, uintptr_t pc)
{
    struct cfi_rule rule = compile(cache, pc); // may clear the table
    size_t at = home(pc);

    for (size_t i = 0; i < WINDOW; i++) {
        struct cfi_rule *slot = &cache->slot[(at + i) % SLOTS];
        if (slot->pc == 0) {
            *slot = rule;
            return slot; // I3
        }
    }
    at = (at + cache->victim++ % WINDOW) % SLOTS;
    cache->slot[at] = rule;
    return &cache->slot[at];
}

const struct cfi_rule *cfi_find(struct cfi_cache *cache, uintptr_t pc)
{
    static const struct cfi_rule nowhere = {.kind = CFI_NONE};
    size_t at = home(pc);

    if (pc == 0) // the mark of an empty slot
        return &nowhere;
    for (size_t i = 0; i < WINDOW; i++) { // I3
        const struct cfi_rule *slot = &cache->slot[(at + i) % SLOTS];
        if (slot->pc == pc)
            return slot;
        if (slot->pc == 0)
            break;
    }
    return insert(cache, pc);
}
