// module_file.h -- The files on disk that know a module's names.
#ifndef WEFT_REPORT_MODULE_FILE_H
#define WEFT_REPORT_MODULE_FILE_H

#include <stdbool.h>

struct model_module;

struct module_file {
    char *path;          // what libdw is to open, or NULL
    char *debug;         // a separate file of debug information, or NULL
    const char *missing; // without `path`: why, in a few words
};

// Finds the files of a module as it was loaded. `running`: it is the executable
// of this process. Reads files, so not for a worker.
void module_file_find(struct module_file *file,
                      const struct model_module *module, bool running);
void module_file_deinit(struct module_file *file);

#endif
