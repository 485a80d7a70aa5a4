// calls.c -- System calls that a thread can sit in, by name.
//
// Those that wait, or may take long; any other is shown by its number. What
// one machine or older headers do not have is left out there.
#include "dump/calls.h"

#include <stddef.h>
#include <sys/syscall.h>

struct call {
    long number;
    const char *name;
    int fd_arg;
};

#define ON_FD(name)                                                            \
    {                                                                          \
        SYS_##name, #name, 0                                                   \
    }
#define PLAIN(name)                                                            \
    {                                                                          \
        SYS_##name, #name, -1                                                  \
    }

static const struct call calls[] = {
    ON_FD(accept),
    ON_FD(accept4),
    ON_FD(close),
    ON_FD(connect),
    ON_FD(copy_file_range),
    ON_FD(epoll_pwait),
    ON_FD(fallocate),
    ON_FD(fcntl),
    ON_FD(fdatasync),
    ON_FD(flock),
    ON_FD(fsync),
    ON_FD(ftruncate),
    ON_FD(getdents64),
    ON_FD(ioctl),
    ON_FD(mq_timedreceive),
    ON_FD(mq_timedsend),
    ON_FD(pread64),
    ON_FD(preadv),
    ON_FD(pwrite64),
    ON_FD(pwritev),
    ON_FD(read),
    ON_FD(readv),
    ON_FD(recvfrom),
    ON_FD(recvmmsg),
    ON_FD(recvmsg),
    ON_FD(sendfile),
    ON_FD(sendmmsg),
    ON_FD(sendmsg),
    ON_FD(sendto),
    ON_FD(splice),
    ON_FD(sync_file_range),
    ON_FD(syncfs),
    ON_FD(tee),
    ON_FD(vmsplice),
    ON_FD(write),
    ON_FD(writev),
    {426, "io_uring_enter", 0}, // on every machine; older headers lack it
#ifdef SYS_epoll_pwait2
    ON_FD(epoll_pwait2),
#endif
#ifdef SYS_epoll_wait
    ON_FD(epoll_wait),
    PLAIN(open),
    PLAIN(pause),
    PLAIN(poll),
    PLAIN(select),
    PLAIN(vfork),
#endif
    PLAIN(clock_nanosleep),
    PLAIN(clone),
    PLAIN(futex),
    PLAIN(getrandom),
    PLAIN(io_getevents),
    PLAIN(madvise),
    PLAIN(membarrier),
    PLAIN(mmap),
    PLAIN(mprotect),
    PLAIN(mremap),
    PLAIN(msgrcv),
    PLAIN(msgsnd),
    PLAIN(msync),
    PLAIN(munmap),
    PLAIN(nanosleep),
    PLAIN(openat),
    PLAIN(ppoll),
    PLAIN(pselect6),
    PLAIN(restart_syscall),
    PLAIN(rt_sigsuspend),
    PLAIN(rt_sigtimedwait),
    PLAIN(semop),
    PLAIN(semtimedop),
    PLAIN(sync),
    PLAIN(unlinkat),
    PLAIN(wait4),
    PLAIN(waitid),
};

const char *calls_name(long number, int *ret_fd_arg)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].number == number) {
            *ret_fd_arg = calls[i].fd_arg;
            return calls[i].name;
        }
    *ret_fd_arg = -1;
    return NULL;
}
