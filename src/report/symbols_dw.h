// symbols_dw.h -- libdw as far as names need it, loaded at the first need.
#ifndef WEFT_REPORT_SYMBOLS_DW_H
#define WEFT_REPORT_SYMBOLS_DW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DW_FRAMES_MAX 64

struct model_module;
struct module_file;
struct dw;

// One function at a place. Strings live until dw_close.
struct dw_frame {
    const char *function; // or NULL; of C++ the mangled name
    const char *file;     // as the compiler has recorded it, or NULL
    const char *dir;      // directory the compiler ran in, or NULL
    int line;             // or 0
    bool inlined;
};

// NULL if libdw cannot be loaded, or was not known when weft was built; then
// *ret_why says which. `modules` must outlive the result.
struct dw *dw_open(const struct model_module *modules, size_t count,
                   const char **ret_why);
void dw_close(struct dw *dw);

// The functions around an address (not a return address) in module `index`,
// innermost first: at most DW_FRAMES_MAX. Their number, 0 if debug information
// says nothing. The last may lack its function, which then a symbol may tell.
// `file` is the module's, the same at each call, and outlives `dw`.
size_t dw_find(struct dw *dw, size_t index, const struct module_file *file,
               uintptr_t address, struct dw_frame frames[DW_FRAMES_MAX]);

#endif
