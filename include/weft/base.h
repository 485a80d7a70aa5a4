// base.h -- What every weft header needs: linkage, handles, time constants.
//
// Conventions of the whole interface:
//  - A call that can fail returns 0 or a count on success, -errno on failure.
//    errno itself says nothing: a task may go on in another thread.
//  - "May be called by": task = inside a weft task; thread = any other thread;
//    a call that parks lets other tasks run on this worker meanwhile.
//  - Deadlines are absolute, in nanoseconds of CLOCK_MONOTONIC, as given by
//    weft_time_now(); WEFT_NEVER waits without limit; a deadline in the past
//    makes the call try once.
//  - Options structs begin with `size`, to be set to sizeof of the struct;
//    every other field may be left zero, which means the default.
#ifndef WEFT_BASE_H
#define WEFT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define WEFT_BEGIN extern "C" {
#define WEFT_END }
#else
#define WEFT_BEGIN
#define WEFT_END
#endif

#define WEFT_API __attribute__((visibility("default")))

#define WEFT_VERSION "0.1.0"

#define WEFT_NEVER INT64_MAX
#define WEFT_MICROSECOND INT64_C(1000)
#define WEFT_MILLISECOND INT64_C(1000000)
#define WEFT_SECOND INT64_C(1000000000)

WEFT_BEGIN

// A runtime: workers, their queues, and the tasks they run.
typedef struct weft_runtime weft_runtime;

// A task's handle: slot and generation, passed by value. All zero is no task.
// A handle that has outlived its task is answered with -ESRCH; it never
// touches memory of another task.
typedef struct weft_task {
    uint64_t id;
} weft_task;

// A file descriptor registered with a runtime, passed by value. All zero is
// none. A handle used after weft_fd_close is answered with -EBADF.
typedef struct weft_fd {
    uint64_t id;
} weft_fd;

// What every object that is waited for and embedded by its user begins with;
// the content is weft's own.
typedef struct weft_object {
    void *opaque_link;
    const char *opaque_name;
    uint32_t opaque[4];
    void *opaque_links[2];
} weft_object;

// The same as a static initialiser; for the initialisers of those objects.
#define WEFT_OBJECT_MAGIC UINT32_C(0x77656600)
#define WEFT_OBJECT_INIT(name, kind)                                           \
    {                                                                          \
        0, (name), {WEFT_OBJECT_MAGIC + (kind), 0, 0, 0},                      \
        {                                                                      \
            0, 0                                                               \
        }                                                                      \
    }

// The body of a task.
typedef void *weft_task_fn(void *arg);

WEFT_END

#endif
