// worker.c -- Every way around the port; mmap() in a comment is none.
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

_Atomic int count;
_Atomic(struct task *) *free_tasks;

void worker(void)
{
    pthread_t thread;
    __atomic_store_n(&count, 1, __ATOMIC_RELEASE);
    atomic_fetch_add(&count, 1);
    syscall(SYS_futex, &count, 0, 0);
    clock_gettime(1, &now);
    epoll_wait(fd, events, 1, -1);
    madvise(p, n, 4);
    mprotect(p, n, 0);
    getrandom(p, n, 0);
    x = rand();
    clone(fn, stack, 0, 0);
    t = __rdtsc();
    puts("clock_gettime(), mmap() and rand() in a string are none");
    port_futex_wake(&word, 1);
    strand(x), operand(x), epoll_add(x), core->random(1), random = 2;
    load_acquire(&word); // P1
}
