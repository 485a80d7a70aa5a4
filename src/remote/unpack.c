// unpack.c -- Cores that are compressed.
//
// By the compressors' own programs: they are there where a system compresses
// its cores, and weft needs no library for it. What they write goes to a file
// in TMPDIR, or /var/tmp, as a core may be larger than memory.
#include "remote/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct packer {
    char magic[8];
    size_t size;
    const char *name;
    const char *options[2];
};

static const struct packer packers[] = {
    {"\x28\xb5\x2f\xfd", 4, "zstd", {"-dcq", "--sparse"}},
    {"\x04\x22\x4d\x18", 4, "lz4", {"-dcq", "--sparse"}},
    {"\xfd\x37zXZ", 5, "xz", {"-dcq"}},
    {"\x1f\x8b", 2, "gzip", {"-dcq"}},
};

static const struct packer *find_packer(int fd)
{
    char magic[8] = "";
    ssize_t got = pread(fd, magic, sizeof magic, 0);

    for (size_t i = 0; i < sizeof packers / sizeof *packers; i++)
        if (got >= (ssize_t)packers[i].size &&
            memcmp(magic, packers[i].magic, packers[i].size) == 0)
            return &packers[i];
    return NULL;
}

static int open_room(char *ret_path, size_t room)
{
    const char *place = secure_getenv("TMPDIR");

    snprintf(ret_path, room, "%s/weft-core-XXXXXX",
             place != NULL && *place != '\0' ? place : "/var/tmp");
    int fd = mkostemp(ret_path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(ret_path);
    return fd;
}

// Its exit status, or -errno.
static int run(const struct packer *packer, int from, int to)
{
    posix_spawn_file_actions_t actions;
    // execve takes strings that it does not change as if it did.
    char *argv[] = {(char *)packer->name, (char *)packer->options[0],
                    (char *)packer->options[1], NULL};
    int status = 0;
    pid_t pid;
    int error = posix_spawn_file_actions_init(&actions);

    if (error != 0)
        return -error;
    error = posix_spawn_file_actions_adddup2(&actions, from, 0);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, to, 1);
    if (error == 0)
        error = posix_spawnp(&pid, packer->name, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return -error;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int explain(int error, const struct packer *packer, char *problem,
                   size_t room)
{
    if (error == -ENOENT)
        snprintf(problem, room,
                 "it is compressed by %s, and that program is not installed",
                 packer->name);
    else
        snprintf(problem, room, "%s cannot be run: %s", packer->name,
                 strerror(-error));
    return error;
}

int unpack(int *fd, char *problem, size_t room)
{
    char path[4096];
    const struct packer *packer = find_packer(*fd);

    if (packer == NULL)
        return 0;
    int to = open_room(path, sizeof path);
    if (to < 0) {
        int error = -errno;
        snprintf(problem, room, "it cannot be unpacked to %s: %s", path,
                 strerror(-error));
        return error;
    }
    int status = lseek(*fd, 0, SEEK_SET) < 0 ? -errno : run(packer, *fd, to);
    if (status < 0) {
        (void)close(to);
        return explain(status, packer, problem, room);
    }
    (void)close(*fd);
    *fd = to;
    if (status != 0)
        snprintf(problem, room, "%s could not unpack all of it", packer->name);
    return status == 0 ? 0 : -ENODATA;
}
