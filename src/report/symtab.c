// symtab.c -- The symbols of a module's files, sorted by address.
//
// Functions from assembly often have no size; such a one reaches to the next
// symbol, or to the end of its section. One that has a size goes before it: a
// label inside a function is not what its code is called.
#include "report/symtab.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "dump/elf_file.h"

// ---- Reading. ----

// The section of code that a symbol lies in, or NULL: it is no function.
static const ElfW(Shdr) * code_of(const struct elf_file *file,
                                  const ElfW(Sym) * symbol, const char *name)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);

    if ((type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE) ||
        symbol->st_shndx >= file->section_count || name[0] == '\0' ||
        name[0] == '$') // a mark of aarch64, between code and data
        return NULL;
    const ElfW(Shdr) *section = &file->sections[symbol->st_shndx];
    if (!(section->sh_flags & SHF_EXECINSTR) ||
        symbol->st_value - section->sh_addr >= section->sh_size)
        return NULL;
    return section;
}

static void add_symbol(struct symtab *symtab, const ElfW(Shdr) * section,
                       const ElfW(Sym) * from, const char *name)
{
    uint64_t end = section->sh_addr + section->sh_size;

    if (!grow(&symtab->symbols, &symtab->room, symtab->count + 1,
              sizeof(*symtab->symbols)))
        return;
    symtab->symbols[symtab->count++] = (struct symbol){
        .lo = from->st_value,
        .hi = from->st_size ? from->st_value + from->st_size : end,
        .name = name,
        .sized = from->st_size > 0,
        .binding = ELF64_ST_BIND(from->st_info),
    };
}

static void add_table(struct symtab *symtab, const struct elf_file *file,
                      const ElfW(Shdr) * table)
{
    const ElfW(Shdr) *strings = &file->sections[table->sh_link];
    char *symbols = elf_file_read(file, table->sh_offset, table->sh_size);
    char *text = elf_file_read(file, strings->sh_offset, strings->sh_size);
    ElfW(Sym) symbol;

    if (!symbols || !text ||
        !grow(&symtab->texts, &symtab->text_room, symtab->text_count + 1,
              sizeof(*symtab->texts))) {
        free(symbols);
        free(text);
        return;
    }
    symtab->texts[symtab->text_count++] = text;
    for (uint64_t at = 0; table->sh_size - at >= sizeof(symbol);
         at += sizeof(symbol)) {
        memcpy(&symbol, symbols + at, sizeof(symbol));
        if (symbol.st_name >= strings->sh_size)
            continue;
        char *name = text + symbol.st_name;
        const ElfW(Shdr) *section = code_of(file, &symbol, name);
        if (section)
            add_symbol(symtab, section, &symbol, name);
    }
    free(symbols);
}

void symtab_add(struct symtab *symtab, const struct elf_file *file)
{
    for (size_t i = 0; i < file->section_count; i++) {
        const ElfW(Shdr) *section = &file->sections[i];
        if ((section->sh_type == SHT_SYMTAB ||
             section->sh_type == SHT_DYNSYM) &&
            section->sh_link < file->section_count)
            add_table(symtab, file, section);
    }
}

// ---- Sorting and finding. ----

// How good a name is for the same code: the one that other modules know, and
// of those the one that is not reserved for the library itself.
static int rank(const struct symbol *symbol)
{
    int global = symbol->binding == STB_GLOBAL ? 4
                 : symbol->binding == STB_WEAK ? 2
                                               : 0;

    return global + (symbol->name[0] != '_');
}

// By address; at the same, the outer and the worse before the better.
static int by_address(const void *left, const void *right)
{
    const struct symbol *a = left, *b = right;

    if (a->lo != b->lo)
        return a->lo < b->lo ? -1 : 1;
    if (a->sized != b->sized)
        return a->sized ? 1 : -1;
    if (a->hi != b->hi)
        return a->hi > b->hi ? -1 : 1;
    if (rank(a) != rank(b))
        return rank(a) - rank(b);
    return strcmp(a->name, b->name);
}

void symtab_sort(struct symtab *symtab)
{
    struct symbol *symbols = symtab->symbols;
    uint64_t next = UINT64_MAX, reach = 0;

    if (symtab->count == 0)
        return;
    qsort(symbols, symtab->count, sizeof(*symbols), by_address);
    for (size_t i = symtab->count; i-- > 0;) {
        if (i + 1 < symtab->count && symbols[i + 1].lo != symbols[i].lo)
            next = symbols[i + 1].lo;
        if (!symbols[i].sized && symbols[i].hi > next)
            symbols[i].hi = next;
    }
    for (size_t i = 0; i < symtab->count; i++) {
        if (symbols[i].hi > reach)
            reach = symbols[i].hi;
        symbols[i].reach = reach;
    }
}

const struct symbol *symtab_find(const struct symtab *symtab, uint64_t address)
{
    size_t lo = 0, hi = symtab->count; // the last with .lo <= address
    const struct symbol *unsized = NULL;

    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (symtab->symbols[middle].lo <= address)
            lo = middle + 1;
        else
            hi = middle;
    }
    for (; lo > 0 && symtab->symbols[lo - 1].reach > address; lo--) {
        const struct symbol *symbol = &symtab->symbols[lo - 1];
        if (address >= symbol->hi)
            continue;
        if (symbol->sized)
            return symbol;
        if (!unsized)
            unsized = symbol;
    }
    return unsized;
}

void symtab_deinit(struct symtab *symtab)
{
    for (size_t i = 0; i < symtab->text_count; i++)
        free(symtab->texts[i]);
    free(symtab->texts);
    free(symtab->symbols);
}
