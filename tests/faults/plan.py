#!/usr/bin/env python3
# plan.py -- Which calls of the library are made to fail, and with what.
#
# A rule is a text as shim.c reads it: NAME:FIRST:EVERY:ACTION, where the NAME
# may be NAME@WAY.
import errno

# What a call may say that cannot be done; the first is the usual one. Errors
# that only a mistake of the library's own could cause are not among them.
ERRORS = {
    "malloc": ["ENOMEM"],
    "calloc": ["ENOMEM"],
    "realloc": ["ENOMEM"],
    "aligned_alloc": ["ENOMEM"],
    "strdup": ["ENOMEM"],
    "strndup": ["ENOMEM"],
    "asprintf": ["ENOMEM"],
    "open_memstream": ["ENOMEM"],
    "__getdelim": ["ENOMEM"],
    "realpath": ["ENOENT"],
    "__sched_cpualloc": ["ENOMEM"],
    "mmap64": ["ENOMEM"],
    "munmap": ["ENOMEM"],
    "mprotect": ["ENOMEM"],
    "madvise": ["EINVAL", "ENOMEM"],
    "guard_install": ["EINVAL"],
    "process_vm_readv": ["EPERM", "ENOSYS", "EFAULT"],
    "pthread_create": ["EAGAIN"],
    "pthread_setname_np": ["ENOENT"],
    "pthread_getattr_np": ["ENOMEM"],
    "__register_atfork": ["ENOMEM"],
    "sched_getaffinity": ["EPERM"],
    "open64": ["EMFILE", "EACCES", "EINTR"],
    "fopen64": ["EMFILE"],
    "fclose": ["ENOSPC"],
    "close": ["EIO", "EINTR"],
    "read": ["EIO"],
    "pread64": ["EIO"],
    "write": ["EIO", "EAGAIN"],
    "fstat64": ["EIO"],
    "lstat64": ["EACCES"],
    "access": ["EACCES"],
    "readlink": ["EACCES"],
    "getcwd": ["ENOENT"],
    "gethostname": ["EPERM"],
    "rename": ["EACCES"],
    "unlink": ["EACCES"],
    "epoll_create1": ["EMFILE"],
    "epoll_ctl": ["ENOSPC", "ENOMEM"],
    "eventfd": ["ENFILE"],
    "timerfd_create": ["EMFILE", "ENOMEM"],
    "timerfd_settime": ["EINVAL"],
    "socket": ["EMFILE", "ENOBUFS"],
    "setsockopt": ["ENOMEM"],
    "bind": ["EADDRINUSE"],
    "listen": ["EADDRINUSE"],
    "connect": ["ENETUNREACH", "EADDRNOTAVAIL"],
    "accept4": ["EMFILE", "ENOMEM"],
    "getsockname": ["ENOBUFS"],
    "getpeername": ["ENOTCONN"],
    "recv": ["ECONNRESET", "ENOMEM"],
    "send": ["EPIPE", "ENOBUFS"],
    "timer_create": ["EAGAIN"],
    "timer_settime": ["EINVAL"],
    "thread_clock": ["EINVAL"],
    "getrandom": ["ENOSYS"],
    "dlopen": ["ENOENT"],
    "dlsym": ["ENOENT"],
    "dladdr": ["ENOENT"],
    "_Fork": ["EAGAIN"],
    "waitpid": ["ECHILD"],
    "membarrier": ["ENOSYS"],
    "epoll_pwait2": ["ENOSYS", "EPERM"],
}

# What may come now and then, and is no failure but an invitation to try again:
# given on each second and on each third call.
STORMS = {
    "EINTR": ["futex", "epoll_wait", "epoll_pwait2", "read", "recv", "send",
              "accept4", "waitpid", "getrandom"],
    "EAGAIN": ["futex", "recv", "send", "accept4"],
    "ECONNABORTED": ["accept4"],
    "short": ["read", "write", "pread64", "recv", "send", "process_vm_readv"],
    "jump": ["clock_gettime"],
}

# Calls that are not made to fail, with the reason.
HARMLESS = {
    "cannot fail, or only by a mistake of the caller's": """
        __cxa_finalize __errno_location __isoc99_sscanf
        __libc_current_sigrtmin __sched_cpucount __sched_cpufree
        __tls_get_addr __stack_chk_fail __gmon_start__ _exit abort dlclose
        dl_iterate_phdr free getauxval getenv secure_getenv getpid gmtime_r
        inet_ntop inet_pton isatty kill memchr memcmp memcpy memmove memset
        pause pthread_attr_destroy pthread_attr_getstack pthread_attr_init
        pthread_attr_setdetachstate pthread_join pthread_self pthread_sigmask
        qsort qsort_r raise sched_yield sigabbrev_np sigaction sigaddset
        sigaltstack sigdelset sigemptyset sigfillset signal snprintf
        strcasecmp strcasestr strchr strcmp strcspn strerror strftime strlen
        strncasecmp strncmp strncpy strnlen strrchr strsep strspn strstr
        strtol strtoll strtoul strtoull sysconf timer_delete vsnprintf
        memrchr strtod stpcpy getrlimit if_nametoindex __cxa_demangle
        geteuid sigprocmask environ __environ
        _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable
        __fdelt_chk __assert_fail""",
    "of src/remote, which looks at other processes; not tried so far": """
        closedir fread opendir ptrace readdir64 stat64 fmemopen ftruncate64
        lseek64 mkostemp64 poll posix_spawn_file_actions_adddup2
        posix_spawn_file_actions_destroy posix_spawn_file_actions_init
        posix_spawnp pwrite64""",
    "fails where the program's file does: the tour prints to a full disk": """
        fprintf fputc fputs fwrite putc ftell getc stderr fflush ferror
        fputc_unlocked __overflow __uflow""",
}


def harmless():
    return {name for names in HARMLESS.values() for name in names.split()}


def number(action):
    return action if action in ("short", "jump") else getattr(errno, action)


def rule(name, first, every, action):
    return f"{name}:{first}:{every}:{number(action)}"


def picks(count, most):
    """Which of `count` calls fail, each in a run of its own: all, or the first
    ones, the last, and some between, ever further apart."""
    if most == 0:
        return []
    if count <= most:
        return list(range(1, count + 1))
    chosen = set(range(1, most // 2 + 1)) | {count}
    step, at = 1.0, most // 2 or 1
    factor = (count / at) ** (1 / max(1, most - most // 2))
    while len(chosen) < most and step * at < count:
        step *= factor
        chosen.add(min(count, max(round(at * step), max(chosen - {count}) + 1)))
    return sorted(chosen)


def failures(name, count, most, others):
    """The rules by which the calls of one function fail in turn, once and from
    then on: `most` of them with the usual error, `others` with each other."""
    rules = []
    for index, error in enumerate(ERRORS.get(name, [])):
        for first in picks(count, others if index else most):
            rules.append(rule(name, first, 0, error))
            rules.append(rule(name, first, 1, error))
    return rules


def by_ways(ways):
    """The rules by which the first call of each way fails, by its function."""
    rules = {}
    for way, name in ways.items():
        for error in ERRORS.get(name, [])[:1]:
            rules.setdefault(name, []).append(
                rule(f"{name}@{way:x}", 1, 0, error))
    return rules


def storms(name, periods):
    return [rule(name, 1, every, action) for action, names in STORMS.items()
            if name in names for every in periods]
