// unpack.h -- Cores that are compressed.
#ifndef WEFT_REMOTE_UNPACK_H
#define WEFT_REMOTE_UNPACK_H

#include <stddef.h>

// If a file is compressed in a way that is known (zstd, lz4, xz, gzip), has the
// program of that name write it to a file without a name, and puts that one's
// descriptor in place of *fd. 0; or -errno, with a sentence in `problem`.
// -ENODATA: only a part could be had; that part is in *fd.
int unpack(int *fd, char *problem, size_t room);

#endif
