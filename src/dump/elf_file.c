// elf_file.c -- An ELF file on disk, read piece by piece.
#include "dump/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/port.h"

// ---- Pieces. ----

static bool read_at(const struct elf_file *file, void *to, uint64_t size,
                    uint64_t offset)
{
    for (uint64_t done = 0; done < size;) {
        ssize_t count = pread(file->fd, (char *)to + done, size - done,
                              (off_t)(offset + done));
        if (count == 0 || (count < 0 && errno != EINTR))
            return false;
        done += count > 0 ? (uint64_t)count : 0;
    }
    return true;
}

char *elf_file_read(const struct elf_file *file, uint64_t offset, uint64_t size)
{
    if (offset > file->size || size > file->size - offset)
        return NULL;
    char *bytes = malloc(size + 1);
    if (!bytes)
        return NULL;
    if (!read_at(file, bytes, size, offset)) {
        free(bytes);
        return NULL;
    }
    bytes[size] = '\0';
    return bytes;
}

// ---- Opening. ----

static bool is_ours(const ElfW(Ehdr) * header)
{
#if defined(__x86_64__)
    const unsigned machine = EM_X86_64;
#else
    const unsigned machine = EM_AARCH64;
#endif
    return !memcmp(header->e_ident, ELFMAG, SELFMAG) &&
           header->e_ident[EI_CLASS] == ELFCLASS64 &&
           header->e_ident[EI_DATA] == ELFDATA2LSB &&
           header->e_machine == machine &&
           header->e_phentsize == sizeof(ElfW(Phdr));
}

// Sections may be missing: none of them is needed to run a program.
static void read_sections(struct elf_file *file)
{
    const ElfW(Ehdr) *header = &file->header;
    size_t count = header->e_shnum;

    if (header->e_shentsize != sizeof(ElfW(Shdr)) || count == 0)
        return;
    file->sections = (ElfW(Shdr) *)elf_file_read(
        file, header->e_shoff, count * sizeof(*file->sections));
    if (!file->sections)
        return;
    file->section_count = count;
    if (header->e_shstrndx >= count)
        return;
    const ElfW(Shdr) *names = &file->sections[header->e_shstrndx];
    file->names = elf_file_read(file, names->sh_offset, names->sh_size);
    file->names_size = names->sh_size;
}

// Of one that is shorter than a header.
static bool begins_right(const struct elf_file *file)
{
    size_t size = file->size < SELFMAG ? (size_t)file->size : SELFMAG;
    char magic[SELFMAG];

    return read_at(file, magic, size, 0) && memcmp(magic, ELFMAG, size) == 0;
}

static int read_headers(struct elf_file *file)
{
    if (file->size < sizeof(file->header))
        return begins_right(file) ? -ENODATA : -ENOEXEC;
    if (!read_at(file, &file->header, sizeof(file->header), 0) ||
        !is_ours(&file->header))
        return -ENOEXEC;
    read_sections(file);
    file->segment_count = file->header.e_phnum;
    if (file->segment_count == PN_XNUM && file->section_count > 0)
        file->segment_count = file->sections[0].sh_info; // a core of many
    uint64_t at = file->header.e_phoff;
    uint64_t bytes = file->segment_count * sizeof(*file->segments);
    file->segments = (ElfW(Phdr) *)elf_file_read(file, at, bytes);
    if (file->segments)
        return 0;
    return at > file->size || file->size - at < bytes ? -ENODATA : -ENOEXEC;
}

int elf_file_open(struct elf_file *file, const char *path)
{
    struct stat about;

    *file = (struct elf_file){.fd = -1};
    if (stat(path, &about) != 0)
        return -errno;
    port_filled(&about, sizeof about);
    if (!S_ISREG(about.st_mode)) // to open another may wait, or do something
        return -ENOEXEC;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    return elf_file_open_at(file, fd);
}

int elf_file_open_at(struct elf_file *file, int fd)
{
    struct stat about;

    *file = (struct elf_file){.fd = fd};
    int error = -ENOEXEC;
    bool known = fstat(file->fd, &about) == 0;
    port_filled(&about, sizeof about);
    if (known && S_ISREG(about.st_mode)) {
        file->size = (uint64_t)about.st_size;
        error = read_headers(file);
    }
    if (error)
        elf_file_close(file);
    return error;
}

void elf_file_close(struct elf_file *file)
{
    close(file->fd);
    free(file->segments);
    free(file->sections);
    free(file->names);
}

const ElfW(Shdr) *
    elf_file_section(const struct elf_file *file, const char *name)
{
    for (size_t i = 0; file->names && i < file->section_count; i++)
        if (file->sections[i].sh_name < file->names_size &&
            !strcmp(file->names + file->sections[i].sh_name, name))
            return &file->sections[i];
    return NULL;
}

// ---- Which version it is. ----

static char *hex_of(const unsigned char *bytes, size_t count)
{
    char *hex = malloc(2 * count + 1);

    if (!hex)
        return NULL;
    hex[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    return hex;
}

char *elf_notes_build_id(const char *notes, size_t size, size_t align)
{
    size_t at = 0;

    align = align == 8 ? 8 : 4;
    while (size - at >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, notes + at, sizeof(note));
        size_t name = at + sizeof(note);
        size_t content = (name + note.n_namesz + align - 1) & ~(align - 1);
        size_t next = (content + note.n_descsz + align - 1) & ~(align - 1);
        if (content < name || next < content || content + note.n_descsz > size)
            return NULL;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            !memcmp(notes + name, "GNU", 4))
            return hex_of((const unsigned char *)notes + content,
                          note.n_descsz);
        if (next > size)
            return NULL;
        at = next;
    }
    return NULL;
}

static char *read_notes(const struct elf_file *file, uint64_t offset,
                        uint64_t size, uint64_t align)
{
    char *notes = elf_file_read(file, offset, size);
    char *id = notes ? elf_notes_build_id(notes, size, align) : NULL;

    free(notes);
    return id;
}

// By its sections, for the segments of a file of debug information alone may
// point to what was taken out of it; without sections, by its segments.
char *elf_file_build_id(const struct elf_file *file)
{
    char *id = NULL;

    for (size_t i = 0; i < file->section_count && !id; i++) {
        const ElfW(Shdr) *section = &file->sections[i];
        if (section->sh_type == SHT_NOTE)
            id = read_notes(file, section->sh_offset, section->sh_size,
                            section->sh_addralign);
    }
    for (size_t i = 0; i < file->header.e_phnum && !id; i++) {
        const ElfW(Phdr) *segment = &file->segments[i];
        if (file->section_count == 0 && segment->p_type == PT_NOTE)
            id = read_notes(file, segment->p_offset, segment->p_filesz,
                            segment->p_align);
    }
    return id;
}

// FNV-1a.
static uint64_t add_bytes(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < count; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t elf_fingerprint(const ElfW(Phdr) * segments, size_t count,
                         const void *table, size_t table_size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    hash = add_bytes(hash, segments, count * sizeof(*segments));
    return table ? add_bytes(hash, table, table_size) : hash;
}

uint64_t elf_file_fingerprint(const struct elf_file *file)
{
    size_t count = file->header.e_phnum;
    char *table = NULL;
    size_t size = 0;

    for (size_t i = 0; i < count && !table; i++)
        if (file->segments[i].p_type == PT_GNU_EH_FRAME) {
            size = file->segments[i].p_filesz;
            table = elf_file_read(file, file->segments[i].p_offset, size);
        }
    uint64_t hash = elf_fingerprint(file->segments, count, table, size);
    free(table);
    return hash;
}

bool elf_file_is(const struct elf_file *file, const char *build_id,
                 uint64_t fingerprint)
{
    if (build_id == NULL)
        return elf_file_fingerprint(file) == fingerprint;
    char *id = elf_file_build_id(file);
    bool same = id != NULL && strcmp(id, build_id) == 0;
    free(id);
    return same;
}
