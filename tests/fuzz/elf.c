// elf.c -- Fuzzes the reading of ELF files: the input is one.
#include "dump/elf_file.h"

#include <unistd.h>

#include "report/symtab.h"
#include "support/fuzz.h"

enum { LOOKED_UP = 64 };

static char *write_file(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;

    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    must(fd >= 0 && ftruncate(fd, 0) == 0);
    must(pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

static void check_id(char *id, size_t size)
{
    if (id)
        must(strlen(id) % 2 == 0 && strlen(id) <= 2 * size &&
             strspn(id, "0123456789abcdef") == strlen(id));
    free(id);
}

// What is found holds the address; and what holds it is found, save that a
// symbol without a size ends where the next one begins.
static void check_symbol(const struct symtab *symtab, uint64_t address)
{
    const struct symbol *found = symtab_find(symtab, address);
    bool any = false;

    for (size_t i = 0; i < symtab->count; i++)
        any |=
            symtab->symbols[i].lo <= address && address < symtab->symbols[i].hi;
    must(any == (found != NULL));
    if (found)
        must(found->lo <= address && address < found->hi && *found->name);
}

static void check_symbols(const struct elf_file *file)
{
    struct symtab symtab = {0};

    symtab_add(&symtab, file);
    symtab_sort(&symtab);
    for (size_t i = 0; i < symtab.count && i < LOOKED_UP; i++) {
        check_symbol(&symtab, symtab.symbols[i].lo);
        check_symbol(&symtab, symtab.symbols[i].hi);
        check_symbol(&symtab, symtab.symbols[i].hi - 1);
    }
    symtab_deinit(&symtab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_file file;

    check_id(elf_notes_build_id((const char *)data, size, 4), size);
    check_id(elf_notes_build_id((const char *)data, size, 8), size);
    if (elf_file_open(&file, write_file(data, size)) != 0)
        return 0;
    must(file.size == size);
    check_id(elf_file_build_id(&file), size);
    (void)elf_file_fingerprint(&file);
    (void)elf_file_section(&file, ".text");
    check_symbols(&file);
    elf_file_close(&file);
    return 0;
}
