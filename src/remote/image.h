// image.h -- The memory that a core file has, as far as it has it.
//
// The kernel and gdb leave out what a program's files have as well: that is
// read from those files, if they are what was loaded (by build-id; without one,
// by what the core has of their first page). What neither has is missing, and
// counted; nothing is made up in its place.
#ifndef WEFT_REMOTE_IMAGE_H
#define WEFT_REMOTE_IMAGE_H

#include "dump/elf_file.h"
#include "dump/space.h"

struct image_file;

// A piece of memory that the core has, in whole or in part.
struct image_part {
    uintptr_t begin, end;
    uintptr_t kept;  // the end of what is in the core, and
    uintptr_t meant; // of what would be, had the core not been cut off
    uint64_t offset;
};

// A piece of memory that a file was mapped to.
struct image_mapping {
    uintptr_t begin, end;
    uint64_t offset;
    size_t file; // index
};

struct image {
    struct space space;
    const struct elf_file *core;
    struct image_part *parts; // by address
    size_t part_count;
    struct image_mapping *mappings; // by address
    size_t mapping_count, mapping_room;
    struct image_file *files;
    size_t file_count, file_room;
    struct image_lost *lost; // what was asked for in vain
};

// Takes the segments of a core, which stays open for as long. 0 or -ENOMEM.
int image_init(struct image *image, const struct elf_file *core);
void image_deinit(struct image *image);

// Adds a mapping of a file. 0 or -ENOMEM.
int image_add_mapping(struct image *image, uintptr_t begin, uintptr_t end,
                      uint64_t offset, const char *path);

// Where the file lies to which an address was mapped: another path than the
// core says. -ENOMEM; or -ENOENT: none was.
int image_move_file(struct image *image, uintptr_t address, const char *path);

// Opens those files that can be trusted; all mappings are added.
void image_open_files(struct image *image);

// Why the file to which an address was mapped cannot be used, a static text;
// NULL: it can, or there is none.
const char *image_distrust(const struct image *image, uintptr_t address);

// The path of that file, or NULL. The caller's.
char *image_path(const struct image *image, uintptr_t address);

// The mappings, at least one, as the text of /proc/PID/maps. The caller's;
// NULL: no memory.
char *image_maps(const struct image *image);

// Whether the core was cut off before its end.
bool image_is_cut(const struct image *image);

// How many pages were asked for in vain since.
uint64_t image_lost_pages(const struct image *image);

// Which files were needed and are not there, in words, or NULL. The caller's.
char *image_lost_files(const struct image *image);

#endif
