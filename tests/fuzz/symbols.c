// symbols.c -- Fuzzes the names of places: a module whose file is the input.
//
// Input: how (a byte), how many places (a byte), their offsets in the module (2
// bytes each), and the file. Debug information is read by libdw.
#include "report/symbols.h"

#include <unistd.h>

#include "dump/elf_file.h"
#include "dump/model.h"
#include "support/fuzz.h"

enum { PLACES = 8, FRAMES = 8, BASE = 0x10000000 };

static const char *write_file(struct input bytes)
{
    static char path[64];
    static int fd = -1;

    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    must(fd >= 0 && ftruncate(fd, 0) == 0);
    must(pwrite(fd, bytes.at, bytes.left, 0) == (ssize_t)bytes.left);
    return path;
}

// The module as if just this version of the file had been loaded.
static bool describe(struct model_module *module, const char *path,
                     bool by_build_id)
{
    struct elf_file file;

    if (elf_file_open(&file, path) != 0)
        return false;
    *module = (struct model_module){.path = strdup(path),
                                    .bias = BASE,
                                    .start = BASE,
                                    .end = BASE + UINT16_MAX};
    must(module->path);
    if (by_build_id)
        module->build_id = elf_file_build_id(&file);
    module->fingerprint = elf_file_fingerprint(&file);
    elf_file_close(&file);
    return true;
}

static void check(struct symbols *symbols, uintptr_t pc)
{
    weft_frame frames[FRAMES];
    int count = symbols_lookup(symbols, pc, frames, FRAMES);

    must(count >= 1);
    for (int i = 0; i < count && i < FRAMES; i++) {
        must(frames[i].pc == pc);
        must(frames[i].function ? frames[i].function[0] != '\0'
                                : frames[i].unnamed != NULL);
        must(!frames[i].file || strlen(frames[i].file) < 100000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct model_module module;
    uintptr_t pcs[PLACES];
    bool by_build_id = input_number(&in, 1) & 1;
    size_t count = input_number(&in, 1) % PLACES + 1;

    for (size_t i = 0; i < count; i++)
        pcs[i] = BASE + 1 + input_number(&in, 2);
    if (!describe(&module, write_file(in), by_build_id))
        return 0;
    struct symbols *symbols = symbols_new(&module, 1, 0);
    must(symbols && symbols_load(symbols, pcs, count) == 0);
    for (size_t i = 0; i < count; i++)
        check(symbols, pcs[i]);
    symbols_free(symbols);
    free(module.path);
    free(module.build_id);
    return 0;
}
