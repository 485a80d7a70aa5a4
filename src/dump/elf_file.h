// elf_file.h -- An ELF file on disk, read piece by piece.
//
// Nothing in the file is trusted: every piece is checked against its size, and
// nothing is mapped, so that a file that shrinks meanwhile is no fault.
#ifndef WEFT_DUMP_ELF_FILE_H
#define WEFT_DUMP_ELF_FILE_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_file {
    int fd;
    uint64_t size;
    ElfW(Ehdr) header;
    ElfW(Phdr) * segments; // segment_count; owned
    size_t segment_count;
    ElfW(Shdr) * sections; // section_count; owned
    size_t section_count;  // 0: the file has no sections
    char *names;           // of the sections; owned, or NULL
    size_t names_size;
};

// Opens a file of this machine's kind. 0, or -errno; -ENOEXEC: another kind,
// -ENODATA: it ends before its table of segments does.
int elf_file_open(struct elf_file *file, const char *path);

// The same by a descriptor, which is the file's from then on, even on error.
int elf_file_open_at(struct elf_file *file, int fd);
void elf_file_close(struct elf_file *file);

// A part of the file with a zero after it, owned by the caller. NULL: it is not
// in the file, or no memory.
char *elf_file_read(const struct elf_file *file, uint64_t offset,
                    uint64_t size);

// A section by name, or NULL.
const ElfW(Shdr) *
    elf_file_section(const struct elf_file *file, const char *name);

// The build-id as hex, owned by the caller, or NULL.
char *elf_file_build_id(const struct elf_file *file);

// The same out of the bytes of a segment of notes.
char *elf_notes_build_id(const char *notes, size_t size, size_t align);

// What tells two versions of a module without build-ids apart: a hash of its
// segments and of the table of its functions (.eh_frame_hdr). The first of a
// file, the second of the same parts wherever they are; `table` may be NULL.
uint64_t elf_file_fingerprint(const struct elf_file *file);
uint64_t elf_fingerprint(const ElfW(Phdr) * segments, size_t count,
                         const void *table, size_t table_size);

// Whether a file is of the version that has a build-id, or, where that is NULL,
// a fingerprint.
bool elf_file_is(const struct elf_file *file, const char *build_id,
                 uint64_t fingerprint);

#endif
