// unwind.c -- Fuzzes the unwinder: a damaged module and a damaged stack.
//
// src/dump/cfi.c is compiled once more with this file, and both with the name
// dl_iterate_phdr meaning the one here. It tells of one module, made of the
// input, which begins or ends at a page that faults, as does the stack.
//
// Input: FLAGS, how many frames fit, how many of them at the end (a byte each),
// the module's size, where its .eh_frame_hdr is, where pc is in it, sp and fp
// as words of the stack (2 bytes each), the module, and then the words of the
// stack: a byte that says of what kind each is, and 2 bytes, or 8.
#include <link.h>

#include "dump/fp_search.h"
#include "dump/unwind.h"
#include "support/fuzz.h"

enum {
    RETURNS = 1,
    COPY = 2,      // the stack lies elsewhere
    SEARCH = 4,    // fp is not known
    LOW = 8,       // module and stack begin at a page that faults
    NO_HEADER = 16 // the module has no .eh_frame_hdr
};
enum { FRAMES_MAX = 64, WORDS_MAX = 1024 };

static ElfW(Phdr) segments[2];
static struct dl_phdr_info module = {.dlpi_name = "fuzz",
                                     .dlpi_phdr = segments};

int dl_iterate_phdr(int (*callback)(struct dl_phdr_info *, size_t, void *),
                    void *arg)
{
    struct dl_phdr_info info = module;

    return callback(&info, sizeof info, arg);
}

static void load_module(uint8_t *room, struct input bytes, bool low,
                        size_t header)
{
    uint8_t *at = guarded_place(room, bytes.left, low);

    if (bytes.left > 0)
        memcpy(at, bytes.at, bytes.left);
    segments[0] = (ElfW(Phdr)){
        .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_memsz = bytes.left};
    segments[1] =
        (ElfW(Phdr)){.p_type = PT_GNU_EH_FRAME,
                     .p_vaddr = header,
                     .p_memsz = header < bytes.left ? bytes.left - header : 0};
    module.dlpi_addr = (uintptr_t)at;
    module.dlpi_adds++; // so the cache forgets
}

// The words of the stack whose first is at `lo`.
static size_t read_words(struct input *in, uintptr_t lo,
                         uintptr_t words[WORDS_MAX])
{
    size_t count = 0;

    while (in->left > 0 && count < WORDS_MAX) {
        unsigned kind = (unsigned)input_number(in, 1);
        uint64_t number = input_number(in, kind % 4 == 3 ? 8 : 2);
        words[count++] = kind % 4 == 0   ? number
                         : kind % 4 == 1 ? module.dlpi_addr + number
                         : kind % 4 == 2 ? lo + number
                                         : number;
    }
    return count;
}

static struct unwind_memory place_stack(uint8_t *room, struct input in,
                                        unsigned flags)
{
    static uintptr_t words[WORDS_MAX];
    // The words hold addresses of the stack, whose place depends on how many
    // they are; so they are read twice.
    size_t bytes = read_words(&(struct input){in.at, in.left}, 0, words) * 8;
    uint8_t *at = guarded_place(room, bytes, flags & LOW);
    uintptr_t lo = flags & COPY ? 0x7f0000000000 : (uintptr_t)at;

    (void)read_words(&in, lo, words);
    if (bytes > 0)
        memcpy(at, words, bytes);
    return (struct unwind_memory){lo, lo + bytes, flags & COPY ? at : NULL};
}

static struct unwind_regs set_registers(const struct unwind_memory *memory,
                                        uintptr_t pc, size_t sp, size_t fp,
                                        unsigned flags)
{
    size_t words = (memory->hi - memory->lo) / 8 + 1;
    struct unwind_regs regs = {.pc = pc, .returns = flags & RETURNS};

    for (size_t i = 0; i < CFI_REGS; i++)
        regs.reg[i] = memory->lo + 8 * (i % words);
    regs.reg[CFI_SP] = memory->lo + 8 * (sp % words);
    regs.reg[CFI_FP] = memory->lo + 8 * (fp % words) + fp / 0x8000;
    regs.valid = CFI_PRESERVED;
    if (flags & SEARCH) // as of a thread in a system call
        regs.valid = (uint64_t)1 << CFI_SP;
    return regs;
}

static void check(const struct unwind_result *result, int kept, int max,
                  int tail)
{
    must(kept >= 1 && kept <= max);
    must(result->frames >= (uint64_t)kept);
    must(tail > 0 || result->frames == (uint64_t)kept);
    must(kept == max || result->frames == (uint64_t)kept);
    must(unwind_end_name(result->end) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *rooms[2];
    static struct cfi_cache *cache;
    struct input in = {data, size};
    struct unwind_result result;

    if (size > FUZZ_ROOM)
        return 0;
    for (int i = 0; i < 2; i++)
        rooms[i] = rooms[i] ? rooms[i] : guarded_new();
    unsigned flags = (unsigned)input_number(&in, 1);
    int max = (int)(input_number(&in, 1) % FRAMES_MAX) + 1;
    int tail = (int)input_number(&in, 1) % max;
    size_t module_size = input_number(&in, 2);
    size_t header = input_number(&in, 2), pc = input_number(&in, 2);
    size_t sp = input_number(&in, 2), fp = input_number(&in, 2);
    module.dlpi_phnum = 2; // cfi_cache_new looks whether there is a header
    cache = cache ? cache : cfi_cache_new();
    load_module(rooms[0], input_part(&in, module_size), flags & LOW, header);
    module.dlpi_phnum = flags & NO_HEADER ? 1 : 2;
    cfi_cache_refresh(cache);

    struct unwind_memory memory = place_stack(rooms[1], in, flags);
    struct unwind_regs regs =
        set_registers(&memory, module.dlpi_addr + pc, sp, fp, flags);
    uintptr_t *pcs = malloc((size_t)max * sizeof *pcs);
    must(pcs && cache);
    int kept = (flags & SEARCH ? fp_search_unwind : unwind)(
        cache, &regs, &memory, pcs, max, tail, &result);
    check(&result, kept, max, tail);
    free(pcs);
    return 0;
}
