// core_file.h -- A core file as a target: one that the kernel wrote, or gdb, or
// that is a saved dump (saved.h).
#ifndef WEFT_REMOTE_CORE_FILE_H
#define WEFT_REMOTE_CORE_FILE_H

#include "remote/image.h"
#include "remote/saved.h"
#include "remote/target.h"

// Bytes of the core's notes.
struct core_file_text {
    const char *bytes; // ended by zero; NULL: it does not say
    size_t size;
};

struct core_file {
    struct target target;
    struct elf_file file;
    struct image image;
    char **notes; // of all segments of notes; owned
    size_t note_count;
    size_t thread_room;
    char *maps; // the mappings, as text; owned
    struct core_file_text exe, host, args, fds, names;
    struct saved_moment moment; // version 0: it is no saved dump
    uintptr_t headers;          // where the executable's lie (AT_PHDR)
    int64_t written_ns;         // when the file was
    bool cut; // it was not written, copied or unpacked to its end
};

// Opens a core; `exe`: where its executable lies, or NULL for where the core
// says. 0; or -errno, with target.problem set. core_file_close either way.
int core_file_open(struct core_file *core, const char *path, const char *exe);
void core_file_close(struct core_file *core);

#endif
