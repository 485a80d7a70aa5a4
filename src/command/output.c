// output.c -- Where the command writes.
//
// The file has no name until it is whole, so that a command that is killed
// leaves nothing behind. Where the file system has no such files it has a name
// of its own for that long.
#include "command/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int complain(const struct output *output, int error)
{
    fprintf(stderr, "weft: %s: %s%s\n", output->path, strerror(error),
            error == EEXIST ? " (-f replaces it)" : "");
    return -error;
}

// The folder that a path lies in, the caller's.
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int open_draft(struct output *output)
{
    if (asprintf(&output->draft, "%s.XXXXXX", output->path) < 0) {
        output->draft = NULL;
        return ENOMEM;
    }
    output->fd = mkostemp(output->draft, O_CLOEXEC);
    if (output->fd >= 0)
        return 0;
    int error = errno;
    free(output->draft);
    output->draft = NULL;
    return error;
}

int output_open(struct output *output, const char *path, bool force)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;

    *output = (struct output){.path = standard ? NULL : path, .force = force};
    output->fd = standard ? STDOUT_FILENO : -1;
    if (standard)
        return 0;
    if (!force && access(path, F_OK) == 0) // sooner than in the end
        return complain(output, EEXIST);
    char *folder = folder_of(path);
    if (folder == NULL)
        return complain(output, ENOMEM);
    output->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int error = output->fd < 0 ? errno : 0;
    free(folder);
    if (error == EOPNOTSUPP || error == EISDIR || error == EINVAL)
        error = open_draft(output);
    return error == 0 ? 0 : complain(output, error);
}

FILE *output_stream(struct output *output)
{
    if (output->stream == NULL)
        output->stream =
            output->path == NULL ? stdout : fdopen(output->fd, "w");
    return output->stream;
}

static int name_draft(const struct output *output, const char *name)
{
    char link[64];

    if (output->draft != NULL)
        return linkat(AT_FDCWD, output->draft, AT_FDCWD, name, 0);
    snprintf(link, sizeof link, "/proc/self/fd/%d", output->fd);
    return linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

// Over one that is there already.
static int replace(struct output *output)
{
    char *name = NULL;
    int error = 0;

    if (asprintf(&name, "%s.%d", output->path, (int)getpid()) < 0)
        return ENOMEM;
    (void)unlink(name); // of a process of that number that was killed
    if (name_draft(output, name) != 0 || rename(name, output->path) != 0)
        error = errno;
    if (error != 0)
        (void)unlink(name);
    free(name);
    return error;
}

int output_commit(struct output *output)
{
    int error = 0;

    if (output->path == NULL)
        return 0;
    if (name_draft(output, output->path) != 0)
        error = errno;
    if (error == EEXIST && output->force)
        error = replace(output);
    output_close(output);
    return error == 0 ? 0 : complain(output, error);
}

void output_close(struct output *output)
{
    if (output->path != NULL && output->stream != NULL)
        (void)fclose(output->stream);
    else if (output->path != NULL && output->fd >= 0)
        (void)close(output->fd);
    output->stream = NULL;
    output->fd = -1;
    if (output->draft != NULL)
        (void)unlink(output->draft);
    free(output->draft);
    output->draft = NULL;
}
