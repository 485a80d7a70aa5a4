// test_symtab.c -- Symbols by address, and ELF files that are not to be
// trusted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump/elf_file.h"
#include "dump/model.h"
#include "report/module_file.h"
#include "report/symtab.h"
#include "support/skip.h"

// ---- A file made up: one section of code, one table of symbols. ----

enum { CODE = 0x1000, CODE_SIZE = 0x1000, SYMBOLS_MAX = 64 };

struct made {
    ElfW(Ehdr) header;
    ElfW(Shdr) sections[5]; // none, code, data, symbols, names
    ElfW(Sym) symbols[SYMBOLS_MAX];
    char names[1024];
    size_t count, used;
};

static void add(struct made *made, const char *name, uint64_t at, uint64_t size,
                int binding, int type, unsigned section)
{
    made->symbols[made->count++] = (ElfW(Sym)){
        .st_name = (ElfW(Word))made->used,
        .st_value = at,
        .st_size = size,
        .st_info = (unsigned char)ELF64_ST_INFO(binding, type),
        .st_shndx = (ElfW(Half))section,
    };
    strcpy(made->names + made->used, name);
    made->used += strlen(name) + 1;
}

static void add_function(struct made *made, const char *name, uint64_t at,
                         uint64_t size)
{
    add(made, name, at, size, STB_LOCAL, STT_FUNC, 1);
}

static struct made *make(void)
{
    struct made *made = calloc(1, sizeof(*made));

    assert_non_null(made);
    made->used = 1;
    memcpy(made->header.e_ident, ELFMAG, SELFMAG);
    made->header.e_ident[EI_CLASS] = ELFCLASS64;
    made->header.e_ident[EI_DATA] = ELFDATA2LSB;
#if defined(__x86_64__)
    made->header.e_machine = EM_X86_64;
#else
    made->header.e_machine = EM_AARCH64;
#endif
    made->header.e_phentsize = sizeof(ElfW(Phdr));
    made->header.e_shentsize = sizeof(ElfW(Shdr));
    made->header.e_shnum = 5;
    made->header.e_shoff = offsetof(struct made, sections);
    made->sections[1] = (ElfW(Shdr)){.sh_type = SHT_PROGBITS,
                                     .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
                                     .sh_addr = CODE,
                                     .sh_size = CODE_SIZE};
    made->sections[2] = (ElfW(Shdr)){.sh_type = SHT_PROGBITS,
                                     .sh_flags = SHF_ALLOC,
                                     .sh_addr = CODE + CODE_SIZE,
                                     .sh_size = CODE_SIZE};
    made->sections[4] = (ElfW(Shdr)){.sh_type = SHT_STRTAB,
                                     .sh_offset = offsetof(struct made, names),
                                     .sh_size = sizeof(made->names)};
    return made;
}

// Writes the file, reads it and frees what it was made of.
static void load(struct made *made, struct symtab *ret_symtab)
{
    char path[] = "/tmp/weft-symtab-XXXXXX";
    int fd = mkstemp(path);
    struct elf_file file;

    made->sections[3] =
        (ElfW(Shdr)){.sh_type = SHT_SYMTAB,
                     .sh_link = 4,
                     .sh_offset = offsetof(struct made, symbols),
                     .sh_size = made->count * sizeof(made->symbols[0])};
    assert_true(fd >= 0);
    assert_int_equal(write(fd, made, sizeof(*made)), sizeof(*made));
    close(fd);
    *ret_symtab = (struct symtab){0};
    assert_int_equal(elf_file_open(&file, path), 0);
    symtab_add(ret_symtab, &file);
    symtab_sort(ret_symtab);
    elf_file_close(&file);
    unlink(path);
    free(made);
}

static void expect_name(const struct symtab *symtab, uint64_t address,
                        const char *name)
{
    const struct symbol *symbol = symtab_find(symtab, address);

    if (!name)
        assert_null(symbol);
    else if (!symbol)
        fail_msg("nothing at 0x%llx", (unsigned long long)address);
    else
        assert_string_equal(symbol->name, name);
}

static void empty(void **state)
{
    struct symtab symtab;

    (void)state;
    load(make(), &symtab);
    expect_name(&symtab, CODE, NULL);
    expect_name(&symtab, 0, NULL);
    expect_name(&symtab, UINT64_MAX, NULL);
    symtab_deinit(&symtab);
}

// Each function from its first byte to its last; nothing before and between.
static void sized(void **state)
{
    struct made *made = make();
    struct symtab symtab;

    (void)state;
    add_function(made, "second", 0x1200, 0x10);
    add_function(made, "first", 0x1100, 0x100);
    add_function(made, "third", 0x1300, 1);
    load(made, &symtab);
    expect_name(&symtab, 0x10ff, NULL);
    expect_name(&symtab, 0x1100, "first");
    expect_name(&symtab, 0x11ff, "first");
    expect_name(&symtab, 0x1200, "second");
    expect_name(&symtab, 0x120f, "second");
    expect_name(&symtab, 0x1210, NULL);
    expect_name(&symtab, 0x1300, "third");
    expect_name(&symtab, 0x1301, NULL);
    symtab_deinit(&symtab);
}

// Without a size: to the next symbol, or the end of the section; but not
// within one that has a size.
static void unsized(void **state)
{
    struct made *made = make();
    struct symtab symtab;

    (void)state;
    add_function(made, "asm_one", 0x1000, 0);
    add(made, "asm_two", 0x1040, 0, STB_GLOBAL, STT_NOTYPE, 1);
    add_function(made, "sized", 0x1080, 0x40);
    add(made, "label", 0x1090, 0, STB_LOCAL, STT_NOTYPE, 1);
    add_function(made, "asm_last", 0x1f00, 0);
    load(made, &symtab);
    expect_name(&symtab, 0x1000, "asm_one");
    expect_name(&symtab, 0x103f, "asm_one");
    expect_name(&symtab, 0x1040, "asm_two");
    expect_name(&symtab, 0x107f, "asm_two");
    expect_name(&symtab, 0x108f, "sized");
    expect_name(&symtab, 0x1090, "sized");
    expect_name(&symtab, 0x10bf, "sized");
    expect_name(&symtab, 0x10c0, "label");
    expect_name(&symtab, 0x1fff, "asm_last");
    expect_name(&symtab, 0x2000, NULL);
    symtab_deinit(&symtab);
}

// The innermost; and where an inner one has ended, the outer again.
static void nested(void **state)
{
    struct made *made = make();
    struct symtab symtab;

    (void)state;
    add_function(made, "outer", 0x1100, 0x400);
    add_function(made, "inner", 0x1180, 0x80);
    add_function(made, "small", 0x1190, 0x10);
    add_function(made, "late", 0x1300, 0x10);
    load(made, &symtab);
    expect_name(&symtab, 0x1180, "inner");
    expect_name(&symtab, 0x1195, "small");
    expect_name(&symtab, 0x11a0, "inner");
    expect_name(&symtab, 0x1200, "outer");
    expect_name(&symtab, 0x1305, "late");
    expect_name(&symtab, 0x14ff, "outer");
    expect_name(&symtab, 0x1500, NULL);
    symtab_deinit(&symtab);
}

// Of several names of the same code, the one that users know.
static void aliases(void **state)
{
    struct made *made = make();
    struct symtab symtab;

    (void)state;
    add(made, "local", 0x1100, 0x10, STB_LOCAL, STT_FUNC, 1);
    add(made, "__global", 0x1100, 0x10, STB_GLOBAL, STT_FUNC, 1);
    add(made, "weak", 0x1100, 0x10, STB_WEAK, STT_FUNC, 1);
    add(made, "global", 0x1100, 0x10, STB_GLOBAL, STT_FUNC, 1);
    add(made, "no_size", 0x1100, 0, STB_GLOBAL, STT_FUNC, 1);
    add(made, "chosen_at_run_time", 0x1200, 8, STB_GLOBAL, STT_GNU_IFUNC, 1);
    load(made, &symtab);
    expect_name(&symtab, 0x1105, "global");
    expect_name(&symtab, 0x1205, "chosen_at_run_time");
    symtab_deinit(&symtab);
}

static void no_functions(void **state)
{
    struct made *made = make();
    struct symtab symtab;

    (void)state;
    add(made, "variable", 0x1100, 8, STB_GLOBAL, STT_OBJECT, 1);
    add(made, "in_data", 0x2100, 8, STB_GLOBAL, STT_FUNC, 2);
    add(made, "nowhere", 0x1100, 8, STB_GLOBAL, STT_FUNC, SHN_UNDEF);
    add(made, "absolute", 0x1100, 8, STB_GLOBAL, STT_FUNC, SHN_ABS);
    add(made, "outside", 0x2000, 8, STB_GLOBAL, STT_FUNC, 1);
    add(made, "$x", 0x1100, 0, STB_LOCAL, STT_NOTYPE, 1);
    add(made, "", 0x1100, 8, STB_LOCAL, STT_FUNC, 1);
    made->symbols[made->count++] =
        (ElfW(Sym)){.st_name = 1 << 20, .st_value = 0x1100, .st_shndx = 1};
    load(made, &symtab);
    for (uint64_t at = 0x1000; at < 0x2200; at += 4)
        expect_name(&symtab, at, NULL);
    symtab_deinit(&symtab);
}

// ---- Files that are broken. ----

// Whatever it says, reading it ends and stays within it.
static void read_all(const char *path)
{
    struct model_module module = {.path = (char *)path,
                                  .build_id = (char *)"00ff"};
    struct module_file files;
    struct elf_file file;
    struct symtab symtab = {0};

    if (elf_file_open(&file, path) == 0) {
        symtab_add(&symtab, &file);
        symtab_sort(&symtab);
        (void)symtab_find(&symtab, CODE);
        free(elf_file_build_id(&file));
        (void)elf_file_fingerprint(&file);
        (void)elf_file_section(&file, ".gnu_debuglink");
        symtab_deinit(&symtab);
        elf_file_close(&file);
    }
    module_file_find(&files, &module, false);
    assert_null(files.path);
    assert_non_null(files.missing);
    module_file_deinit(&files);
}

static void write_file(const char *path, const char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

// This program's own start and its sections, put together.
static char *read_sample(size_t *ret_size)
{
    struct elf_file file;

    assert_int_equal(elf_file_open(&file, "/proc/self/exe"), 0);
    *ret_size = file.size;
    char *bytes = elf_file_read(&file, 0, file.size);
    elf_file_close(&file);
    assert_non_null(bytes);
    return bytes;
}

static void broken_files(void **state)
{
    char path[] = "/tmp/weft-symtab-XXXXXX";
    struct made *made = make();
    size_t size = sizeof(*made);
    unsigned random = 1;

    (void)state;
    close(mkstemp(path));
    for (int i = 0; i < 20; i++)
        add_function(made, "function", CODE + 16u * (unsigned)i, 16);
    made->sections[3] =
        (ElfW(Shdr)){.sh_type = SHT_SYMTAB,
                     .sh_link = 4,
                     .sh_offset = offsetof(struct made, symbols),
                     .sh_size = made->count * sizeof(made->symbols[0])};
    for (size_t cut = 0; cut < size; cut += 7) {
        write_file(path, (char *)made, cut);
        read_all(path);
    }
    char *copy = malloc(size);
    assert_non_null(copy);
    for (int round = 0; round < 2000; round++) {
        memcpy(copy, made, size);
        for (int change = 0; change < 4; change++) {
            random = random * 1103515245 + 12345;
            size_t at = (random >> 8) % offsetof(struct made, symbols);
            copy[at] = (char)(random >> 4);
        }
        write_file(path, copy, size);
        read_all(path);
    }
    free(copy);
    free(made);
    unlink(path);
}

// The whole of it and its halves: real sections, of which some are missing.
static void cut_program(void **state)
{
    char path[] = "/tmp/weft-symtab-XXXXXX";
    size_t size;
    char *bytes = read_sample(&size);

    (void)state;
    close(mkstemp(path));
    for (size_t part = 0; part <= 8; part++) {
        write_file(path, bytes, size / 8 * part);
        read_all(path);
    }
    free(bytes);
    unlink(path);
}

static void no_files(void **state)
{
    struct elf_file file;
    char path[] = "/tmp/weft-symtab-XXXXXX";

    (void)state;
    assert_int_equal(elf_file_open(&file, "/no/such/file"), -ENOENT);
    assert_int_equal(elf_file_open(&file, "/tmp"), -ENOEXEC);
    assert_int_equal(elf_file_open(&file, "/dev/null"), -ENOEXEC);
    close(mkstemp(path));
    unlink(path);
    if (mkfifo(path, 0600) != 0)
        skip_because("no pipes in /tmp");
    assert_int_equal(elf_file_open(&file, path), -ENOEXEC); // and no waiting
    unlink(path);
}

// The module's build-id as memory has it is that of its file.
static void versions(void **state)
{
    struct model_module *modules;
    size_t count, seen = 0;

    (void)state;
    assert_int_equal(model_load_modules(&modules, &count), 0);
    for (size_t i = 0; i < count; i++) {
        struct elf_file file;
        if (elf_file_open(&file, modules[i].path) != 0)
            continue;
        char *id = elf_file_build_id(&file);
        if (modules[i].build_id)
            assert_string_equal(id, modules[i].build_id);
        else
            assert_true(elf_file_fingerprint(&file) == modules[i].fingerprint);
        free(id);
        elf_file_close(&file);
        seen++;
    }
    assert_true(seen >= 2);
    model_free_modules(modules, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),        cmocka_unit_test(sized),
        cmocka_unit_test(unsized),      cmocka_unit_test(nested),
        cmocka_unit_test(aliases),      cmocka_unit_test(no_functions),
        cmocka_unit_test(broken_files), cmocka_unit_test(cut_program),
        cmocka_unit_test(no_files),     cmocka_unit_test(versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
