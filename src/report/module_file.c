// module_file.c -- The files on disk that know a module's names.
//
// A file counts only if it is of the version that was loaded: it has the same
// build-id, or, where there is none, the same layout (elf_file.h). A module
// that was replaced or removed since then may still have its separate debug
// information, which is then enough by itself.
//
// Separate debug information is looked for as gdb does: by build-id under each
// directory of debug files, and by the name in .gnu_debuglink beside the
// module, in .debug beside it, and under each of those directories. They are
// those in WEFT_DEBUG_PATH, divided by colons, then /usr/lib/debug. No server
// is ever asked.
#include "report/module_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump/elf_file.h"
#include "dump/model.h"

#define DEBUG_ROOT "/usr/lib/debug"

// What a debug link says, and of which module.
struct link {
    const char *id; // the module's, or NULL
    char *name;     // owned; followed by padding and the checksum
    uint32_t crc;
    char *dir; // where the module lies, without a slash at the end; owned
};

// ---- Is it the right file? ----

static bool has_id(const struct elf_file *file, const char *expected)
{
    char *id = elf_file_build_id(file);
    bool same = id && !strcmp(id, expected);

    free(id);
    return same;
}

static bool is_version(const struct elf_file *file,
                       const struct model_module *module)
{
    return elf_file_is(file, module->build_id, module->fingerprint);
}

// The checksum of gdb's debug links: the CRC-32 of zip files, by the byte.
static uint32_t add_crc(uint32_t crc, const unsigned char *bytes, size_t count)
{
    uint32_t table[256];

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] =
                table[i] >> 1 ^ (table[i] & 1 ? UINT32_C(0xedb88320) : 0);
    }
    for (size_t i = 0; i < count; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
    return crc;
}

static bool has_crc(const struct elf_file *file, uint32_t expected)
{
    size_t piece = 1 << 20;
    uint32_t crc = UINT32_MAX;

    for (uint64_t at = 0; at < file->size; at += piece) {
        uint64_t left = file->size - at;
        size_t size = left < piece ? left : piece;
        char *bytes = elf_file_read(file, at, size);
        if (!bytes)
            return false;
        crc = add_crc(crc, (unsigned char *)bytes, size);
        free(bytes);
    }
    return ~crc == expected;
}

static bool knows_names(const struct elf_file *file)
{
    return elf_file_section(file, ".debug_info") ||
           elf_file_section(file, ".symtab");
}

// A path made of up to four strings, owned by the caller; NULL: no memory.
static char *join(const char *a, const char *b, const char *c, const char *d)
{
    char *path;

    return asprintf(&path, "%s%s%s%s", a, b, c, d) < 0 ? NULL : path;
}

// Takes a path, which may be NULL, over: gives it back if the file there is
// what the link means, else frees it. A build-id is as good as the checksum,
// and does not need all of the file to be read.
static char *try_debug(char *path, const struct link *link)
{
    struct elf_file file;
    bool right = false;

    if (path && elf_file_open(&file, path) == 0) {
        right = knows_names(&file) && (link->id ? has_id(&file, link->id)
                                                : has_crc(&file, link->crc));
        elf_file_close(&file);
    }
    if (right)
        return path;
    free(path);
    return NULL;
}

// Tries a path under each of the directories of a list.
static char *try_list(const char *dirs, const char *below,
                      const struct link *link)
{
    char *found = NULL;

    while (dirs && *dirs && !found) {
        size_t length = strcspn(dirs, ":");
        char *dir = length ? strndup(dirs, length) : NULL;
        if (dir)
            found = try_debug(join(dir, below, "", ""), link);
        free(dir);
        dirs += length + (dirs[length] == ':');
    }
    return found;
}

static char *try_roots(const char *below, const struct link *link)
{
    char *found = try_list(secure_getenv("WEFT_DEBUG_PATH"), below, link);

    return found ? found : try_list(DEBUG_ROOT, below, link);
}

static char *find_by_build_id(const char *id)
{
    struct link link = {.id = id};
    char below[256];

    if (!id || strlen(id) < 4 || strlen(id) > 128)
        return NULL;
    snprintf(below, sizeof(below), "/.build-id/%.2s/%s.debug", id, id + 2);
    return try_roots(below, &link);
}

// Reads a module's debug link; false: it has none.
static bool read_link(const struct elf_file *file, struct link *link)
{
    const ElfW(Shdr) *section = elf_file_section(file, ".gnu_debuglink");

    link->name = NULL;
    if (section)
        link->name = elf_file_read(file, section->sh_offset, section->sh_size);
    if (!link->name)
        return false;
    size_t place = (strlen(link->name) + 4) & ~(size_t)3;
    if (strchr(link->name, '/') || link->name[0] == '\0' ||
        place + sizeof(link->crc) > section->sh_size)
        return false;
    memcpy(&link->crc, link->name + place, sizeof(link->crc));
    return true;
}

static bool find_dir(struct link *link, const char *path)
{
    link->dir = realpath(path, NULL);
    char *slash = link->dir ? strrchr(link->dir, '/') : NULL;

    if (slash)
        *slash = '\0';
    return slash != NULL;
}

static char *follow_link(const struct link *link)
{
    char *found = try_debug(join(link->dir, "/.debug/", link->name, ""), link);
    char *beside = join(link->dir, "/", link->name, "");

    if (!found && beside)
        found = try_roots(beside, link);
    if (found) {
        free(beside);
        return found;
    }
    return try_debug(beside, link);
}

static char *find_by_link(const struct elf_file *file,
                          const struct model_module *module)
{
    struct link link = {.id = module->build_id};
    char *found = NULL;

    if (read_link(file, &link) && find_dir(&link, module->path))
        found = follow_link(&link);
    free(link.name);
    free(link.dir);
    return found;
}

// ---- A module. ----

// Takes a file, if it still is what was loaded. What it says then is true.
static bool try_module(struct module_file *file,
                       const struct model_module *module, const char *path)
{
    struct elf_file elf;
    int error = elf_file_open(&elf, path);

    if (error) {
        if (!file->missing)
            file->missing = error == -ENOENT ? "its file is gone"
                                             : "its file cannot be read";
        return false;
    }
    bool right = is_version(&elf, module);
    if (!right)
        file->missing = "replaced on disk since it was loaded";
    if (right)
        file->path = strdup(path);
    if (right && !elf_file_section(&elf, ".debug_info")) {
        file->debug = find_by_build_id(module->build_id);
        if (!file->debug)
            file->debug = find_by_link(&elf, module);
    }
    elf_file_close(&elf);
    return right;
}

void module_file_find(struct module_file *file,
                      const struct model_module *module, bool running)
{
    *file = (struct module_file){0};
    // An executable that was replaced or removed can be had while it runs.
    const char *sure = running ? "/proc/self/exe" : NULL;
    if (module->file != NULL)
        sure = module->file;
    bool found = sure != NULL && try_module(file, module, sure);
    if (!found && module->path[0] == '/')
        found = try_module(file, module, module->path);
    if (!found)
        file->path = find_by_build_id(module->build_id);
    if (file->path)
        file->missing = NULL;
    else if (!file->missing && strchr(module->path, '/'))
        file->missing = "it is not known where its file lies";
}

void module_file_deinit(struct module_file *file)
{
    free(file->path);
    free(file->debug);
}
