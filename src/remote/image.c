// image.c -- The memory that a core file has, as far as it has it.
//
// Everything in a core is untrusted: parts may overlap, lie behind the file's
// end, or name any file. A file that it names is only read if it is a plain one
// and its build-id is that which the core itself has in memory.
#include "remote/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/grow.h"
#include "base/list.h"
#include "base/lock.h"
#include "remote/modules.h"

// What the core has of a file without a build-id must be equal to it.
enum { FIRST_PAGE = 4096, LOST_FILES_SHOWN = 3 };

struct image_file {
    char *path;
    struct elf_file elf; // if it is open
    bool open;
    const char *distrust; // why it is not, or NULL
    atomic_u32 wanted;    // something of it was asked for, in vain; relaxed:
                          // set by several threads, read when they ended
};

// Ranges of pages, as they were asked for, by several threads.
struct image_lost {
    struct lock lock;
    struct {
        uintptr_t first, end; // numbers of pages
    } * ranges;
    size_t count, room;
};

// ---- Finding ----

// The last of `count` items of `size` bytes, ordered by an address that each
// begins with, that is not above an address; NULL: there is none.
static const void *find_last(const void *items, size_t count, size_t size,
                             uintptr_t address)
{
    const char *low = items;
    const char *found = NULL;
    uintptr_t begin;

    while (count > 0) {
        const char *middle = low + count / 2 * size;
        memcpy(&begin, middle, sizeof begin);
        if (begin <= address) {
            found = middle;
            low = middle + size;
            count -= count / 2 + 1;
        } else {
            count /= 2;
        }
    }
    return found;
}

static const struct image_part *find_part(const struct image *image,
                                          uintptr_t address)
{
    const struct image_part *part = find_last(image->parts, image->part_count,
                                              sizeof *image->parts, address);

    return part != NULL && address < part->end ? part : NULL;
}

static const struct image_mapping *find_mapping(const struct image *image,
                                                uintptr_t address)
{
    const struct image_mapping *mapping =
        find_last(image->mappings, image->mapping_count,
                  sizeof *image->mappings, address);

    return mapping != NULL && address < mapping->end ? mapping : NULL;
}

// ---- What is missing ----

static void lose(const struct image *image, uintptr_t address, size_t bytes)
{
    struct image_lost *lost = image->lost;
    uintptr_t page = port_page_size();

    lock_acquire(&lost->lock);
    // Without memory it is told short.
    if (grow(&lost->ranges, &lost->room, lost->count + 1,
             sizeof *lost->ranges)) {
        lost->ranges[lost->count].first = address / page;
        lost->ranges[lost->count++].end = (address + bytes - 1) / page + 1;
    }
    lock_release(&lost->lock);
}

static int by_address(const void *left, const void *right)
{
    uintptr_t a, b;

    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return (a > b) - (a < b);
}

uint64_t image_lost_pages(const struct image *image)
{
    struct image_lost *lost = image->lost;
    uintptr_t counted = 0; // up to this page
    uint64_t pages = 0;

    if (lost->count == 0)
        return 0;
    qsort(lost->ranges, lost->count, sizeof *lost->ranges, by_address);
    for (size_t i = 0; i < lost->count; i++) {
        uintptr_t first = lost->ranges[i].first;
        uintptr_t end = lost->ranges[i].end;
        if (first < counted)
            first = counted;
        if (end <= first)
            continue;
        pages += end - first;
        counted = end;
    }
    return pages;
}

char *image_lost_files(const struct image *image)
{
    char *words = NULL;
    size_t size = 0;
    size_t shown = 0;
    FILE *to = open_memstream(&words, &size);

    if (to == NULL)
        return NULL;
    for (size_t i = 0; i < image->file_count; i++) {
        const struct image_file *file = &image->files[i];
        if (load_relaxed(&file->wanted) && shown++ < LOST_FILES_SHOWN)
            fprintf(to, "%s%s %s", shown > 1 ? "; " : "", file->path,
                    file->distrust);
    }
    if (shown > LOST_FILES_SHOWN)
        fprintf(to, "; and so with %zu more files", shown - LOST_FILES_SHOWN);
    if (fclose(to) == 0 && shown > 0)
        return words;
    free(words);
    return NULL;
}

// ---- Reading ----

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t read_file(const struct elf_file *file, uint64_t offset, void *to,
                        size_t bytes)
{
    if (offset >= file->size)
        return 0;
    ssize_t got = pread(file->fd, to, bytes, (off_t)offset);
    return got < 0 ? 0 : (size_t)got;
}

// The kernel's own module has a name, but no file.
static bool is_file(const struct image_file *file)
{
    return file->path[0] == '/';
}

// Whether something was there, that is, should be.
static bool is_mapped(const struct image *image, uintptr_t address)
{
    const struct image_mapping *mapping = find_mapping(image, address);

    return find_part(image, address) != NULL ||
           (mapping != NULL && is_file(&image->files[mapping->file]));
}

// Out of the file that was mapped there.
static size_t read_mapping(const struct image *image, uintptr_t address,
                           void *to, size_t bytes)
{
    const struct image_mapping *mapping = find_mapping(image, address);

    if (mapping == NULL)
        return 0;
    struct image_file *file = &image->files[mapping->file];
    size_t got = 0;
    if (file->open)
        got =
            read_file(&file->elf, mapping->offset + (address - mapping->begin),
                      to, least(bytes, mapping->end - address));
    if (!file->open && is_file(file))
        store_relaxed(&file->wanted, 1);
    return got;
}

// How much of `bytes` lies before the next part of the core.
static size_t before_next(const struct image *image, uintptr_t address,
                          size_t bytes)
{
    const struct image_part *part = find_last(image->parts, image->part_count,
                                              sizeof *image->parts, address);
    const struct image_part *next = part == NULL ? image->parts : part + 1;

    return next < image->parts + image->part_count
               ? least(bytes, next->begin - address)
               : bytes;
}

// The first piece of what is asked for; 0: it is not there.
static size_t read_piece(const struct image *image, uintptr_t address, void *to,
                         size_t bytes)
{
    const struct image_part *part = find_part(image, address);

    if (part != NULL && address < part->kept)
        return read_file(image->core, part->offset + (address - part->begin),
                         to, least(bytes, part->kept - address));
    if (part != NULL && address < part->meant)
        return 0; // the file may differ from what memory was
    return read_mapping(image, address, to, before_next(image, address, bytes));
}

static size_t read_space(const struct space *space, uintptr_t address, void *to,
                         size_t bytes)
{
    const struct image *image = container_of(space, struct image, space);
    size_t done = 0;
    size_t got = 1;

    if (bytes > UINTPTR_MAX - address)
        bytes = UINTPTR_MAX - address;
    for (; done < bytes && got > 0; done += got)
        got =
            read_piece(image, address + done, (char *)to + done, bytes - done);
    if (done < bytes && is_mapped(image, address + done))
        lose(image, address + done, bytes - done);
    return done;
}

static void read_spans(const struct space *space, struct span *spans,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        spans[i].bytes =
            read_space(space, spans[i].address, spans[i].to, spans[i].bytes);
}

// ---- Mappings ----

static int find_file(struct image *image, const char *path, size_t *ret_index)
{
    size_t count = image->file_count;

    // Those of one file lie side by side.
    if (count == 0 || strcmp(image->files[count - 1].path, path) != 0) {
        if (!grow(&image->files, &image->file_room, count + 1,
                  sizeof *image->files))
            return -ENOMEM;
        image->files[count] = (struct image_file){.path = strdup(path)};
        if (image->files[count].path == NULL)
            return -ENOMEM;
        image->file_count++;
    }
    *ret_index = image->file_count - 1;
    return 0;
}

int image_add_mapping(struct image *image, uintptr_t begin, uintptr_t end,
                      uint64_t offset, const char *path)
{
    size_t file;
    int error = find_file(image, path, &file);

    if (error != 0)
        return error;
    if (begin >= end)
        return 0;
    if (!grow(&image->mappings, &image->mapping_room, image->mapping_count + 1,
              sizeof *image->mappings))
        return -ENOMEM;
    image->mappings[image->mapping_count++] =
        (struct image_mapping){begin, end, offset, file};
    return 0;
}

int image_move_file(struct image *image, uintptr_t address, const char *path)
{
    const struct image_mapping *mapping = NULL;

    for (size_t i = 0; i < image->mapping_count && mapping == NULL; i++)
        if (address >= image->mappings[i].begin &&
            address < image->mappings[i].end)
            mapping = &image->mappings[i];
    if (mapping == NULL)
        return -ENOENT;
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    free(image->files[mapping->file].path);
    image->files[mapping->file].path = copy;
    return 0;
}

char *image_path(const struct image *image, uintptr_t address)
{
    const struct image_mapping *mapping = find_mapping(image, address);

    return mapping == NULL ? NULL : strdup(image->files[mapping->file].path);
}

char *image_maps(const struct image *image)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    if (to == NULL)
        return NULL;
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct image_mapping *m = &image->mappings[i];
        fprintf(to, "%" PRIxPTR "-%" PRIxPTR " r--p %" PRIx64 " 00:00 0 %s\n",
                m->begin, m->end, m->offset, image->files[m->file].path);
    }
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

// ---- Trust ----

// Whether what the core has of its first page is the file's.
static bool begins_alike(const struct image *image, const struct elf_file *file,
                         uintptr_t begin)
{
    char ours[FIRST_PAGE], theirs[FIRST_PAGE];
    size_t got = read_space(&image->space, begin, ours, sizeof ours);

    return got >= sizeof(ElfW(Ehdr)) &&
           read_file(file, 0, theirs, got) == got &&
           memcmp(ours, theirs, got) == 0;
}

static const char *compare(const struct image *image,
                           const struct elf_file *file, uintptr_t begin)
{
    ElfW(Ehdr) header;
    char *loaded = modules_build_id(&image->space, begin);
    char *id = elf_file_build_id(file);
    const char *distrust = NULL;

    if (!space_read_all(&image->space, begin, &header, sizeof header))
        distrust = "cannot be used: the core does not say its build-id";
    else if (loaded != NULL && id != NULL && strcmp(loaded, id) != 0)
        distrust = "has another build-id than what ran";
    else if ((loaded == NULL) != (id == NULL) ||
             (id == NULL && !begins_alike(image, file, begin)))
        distrust = "is another file than what ran";
    free(loaded);
    free(id);
    return distrust;
}

static void open_file(struct image *image, struct image_file *file,
                      uintptr_t begin)
{
    int error = is_file(file) ? elf_file_open(&file->elf, file->path) : -ENOENT;

    if (error != 0) {
        file->distrust = error == -ENOENT ? "is gone" : "cannot be read";
        return;
    }
    file->distrust = compare(image, &file->elf, begin);
    file->open = file->distrust == NULL;
    if (!file->open)
        elf_file_close(&file->elf);
}

void image_open_files(struct image *image)
{
    if (image->mapping_count > 0)
        qsort(image->mappings, image->mapping_count, sizeof *image->mappings,
              by_address);
    for (size_t i = 0; i < image->file_count; i++)
        image->files[i].distrust = "is not mapped from its begin";
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct image_mapping *m = &image->mappings[i];
        struct image_file *file = &image->files[m->file];
        if (m->offset == 0 && !file->open)
            open_file(image, file, m->begin);
    }
    image->lost->count = 0; // what was asked for so far was a try
    for (size_t i = 0; i < image->file_count; i++)
        store_relaxed(&image->files[i].wanted, 0);
}

const char *image_distrust(const struct image *image, uintptr_t address)
{
    const struct image_mapping *mapping = find_mapping(image, address);

    return mapping == NULL ? NULL : image->files[mapping->file].distrust;
}

// ---- All of it ----

static void add_part(struct image *image, const ElfW(Phdr) * p)
{
    uint64_t size = image->core->size;
    uint64_t there = p->p_offset < size ? size - p->p_offset : 0;
    size_t meant = least(p->p_filesz, p->p_memsz);

    if (p->p_type != PT_LOAD || p->p_memsz == 0 ||
        p->p_memsz > UINTPTR_MAX - p->p_vaddr)
        return;
    image->parts[image->part_count++] =
        (struct image_part){.begin = p->p_vaddr,
                            .end = p->p_vaddr + p->p_memsz,
                            .kept = p->p_vaddr + least(meant, there),
                            .meant = p->p_vaddr + meant,
                            .offset = p->p_offset};
}

int image_init(struct image *image, const struct elf_file *core)
{
    *image = (struct image){
        .space = {.read = read_space, .read_many = read_spans},
        .core = core,
        .parts = calloc(core->segment_count + 1, sizeof *image->parts),
        .lost = calloc(1, sizeof *image->lost),
    };
    if (image->parts == NULL || image->lost == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < core->segment_count; i++)
        add_part(image, &core->segments[i]);
    qsort(image->parts, image->part_count, sizeof *image->parts, by_address);
    return 0;
}

bool image_is_cut(const struct image *image)
{
    for (size_t i = 0; i < image->part_count; i++)
        if (image->parts[i].kept < image->parts[i].meant)
            return true;
    return false;
}

void image_deinit(struct image *image)
{
    for (size_t i = 0; i < image->file_count; i++) {
        if (image->files[i].open)
            elf_file_close(&image->files[i].elf);
        free(image->files[i].path);
    }
    if (image->lost != NULL)
        free(image->lost->ranges);
    free(image->lost);
    free(image->files);
    free(image->mappings);
    free(image->parts);
}
