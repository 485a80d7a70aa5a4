// threads.h -- For tests in which threads and tasks meet at one object.
//
// For programs that include support/tasks.h before.
#ifndef WEFT_TESTS_THREADS_H
#define WEFT_TESTS_THREADS_H

#include <pthread.h>

static inline pthread_t start_thread(void *(*fn)(void *), void *arg)
{
    pthread_t thread;

    expect_is(pthread_create(&thread, NULL, fn, arg), 0);
    return thread;
}

static inline intptr_t join_thread(pthread_t thread)
{
    void *result = NULL;

    expect_is(pthread_join(thread, &result), 0);
    return (intptr_t)result;
}

// Runs `fn` in `tasks` tasks of a runtime and `threads` threads at once, all
// with the same argument; the sum of their results.
static inline long run_mixed(unsigned workers, int tasks, int threads,
                             weft_task_fn *fn, void *arg)
{
    enum { MOST = 64 };
    weft_runtime *runtime = start_with(workers);
    weft_task task[MOST];
    pthread_t thread[MOST];
    long sum = 0;

    expect(tasks <= MOST && threads <= MOST);
    for (int i = 0; i < tasks; i++)
        task[i] = spawn_on(runtime, fn, arg);
    for (int i = 0; i < threads; i++)
        thread[i] = start_thread(fn, arg);
    for (int i = 0; i < tasks; i++)
        sum += join(task[i]);
    for (int i = 0; i < threads; i++)
        sum += join_thread(thread[i]);
    expect_is(weft_runtime_free(runtime), 0);
    return sum;
}

#endif
