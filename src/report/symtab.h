// symtab.h -- The symbols of a module's files, sorted by address.
#ifndef WEFT_REPORT_SYMTAB_H
#define WEFT_REPORT_SYMTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_file;

struct symbol {
    uint64_t lo, hi; // of the code, as the file has it
    uint64_t reach;  // the greatest `hi` up to here
    const char *name;
    bool sized;      // the file says where it ends
    uint8_t binding; // STB_*
};

// All zero is empty. One thread at a time.
struct symtab {
    struct symbol *symbols;
    size_t count, room;
    char **texts; // owned: what the names lie in
    size_t text_count, text_room;
};

// Adds the functions of a file. What memory does not suffice for is left out.
void symtab_add(struct symtab *symtab, const struct elf_file *file);

// Sorts; to be called once, after all is added.
void symtab_sort(struct symtab *symtab);

// The function that holds an address, or NULL.
const struct symbol *symtab_find(const struct symtab *symtab, uint64_t address);

void symtab_deinit(struct symtab *symtab);

#endif
