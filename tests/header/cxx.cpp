// cxx.cpp -- weft used from C++, linked to libweft.so.
//
// Exit status 0: the headers' C linkage, the symbol map and the shared library
// agree, and a task started from C++ has run there and used every lock.
#include <weft/weft.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

// The static initialisers are C++ too.
static weft_mutex mutex = WEFT_MUTEX_INIT("mutex");
static weft_rwlock rwlock = WEFT_RWLOCK_INIT("rwlock");
static weft_semaphore semaphore = WEFT_SEMAPHORE_INIT("semaphore", 1);
static weft_cond cond = WEFT_COND_INIT("cond");
static weft_event event = WEFT_EVENT_INIT("event");
static weft_barrier barrier = WEFT_BARRIER_INIT("barrier", 1);
static weft_once once = WEFT_ONCE_INIT("once");
static weft_waitgroup waitgroup = WEFT_WAITGROUP_INIT("waitgroup");

static int succeed(void *)
{
    return 0;
}

static bool use_all()
{
    return weft_mutex_lock(&mutex, WEFT_NEVER) == 0 &&
           weft_cond_wait(&cond, &mutex, 0) == -ETIMEDOUT &&
           weft_mutex_unlock(&mutex) == 0 &&
           weft_rwlock_lock_write(&rwlock, WEFT_NEVER) == 0 &&
           weft_rwlock_unlock(&rwlock) == 0 &&
           weft_semaphore_acquire(&semaphore, 1, WEFT_NEVER) == 0 &&
           weft_semaphore_try_acquire(&semaphore, 1) == -EBUSY &&
           weft_event_set(&event) == 0 &&
           weft_event_wait(&event, WEFT_NEVER) == 0 &&
           weft_barrier_wait(&barrier, WEFT_NEVER) == 1 &&
           weft_once_run(&once, succeed, nullptr, WEFT_NEVER) == 0 &&
           weft_waitgroup_add(&waitgroup, 1) == 0 &&
           weft_waitgroup_done(&waitgroup) == 0 &&
           weft_waitgroup_wait(&waitgroup, WEFT_NEVER) == 0;
}

static void *twice(void *arg)
{
    return reinterpret_cast<void *>(reinterpret_cast<intptr_t>(arg) * 2);
}

static void *start_and_join(void *arg)
{
    weft_task_options options = weft_task_options();
    weft_task task;
    void *result = nullptr;

    options.size = sizeof options;
    options.name = "from C++";
    if (!use_all())
        return nullptr;
    if (weft_task_spawn(&options, twice, arg, &task) != 0)
        return nullptr;
    if (weft_task_join(task, WEFT_NEVER, &result) != 0)
        return nullptr;
    return result;
}

int main()
{
    void *result = nullptr;
    int error = weft_run(nullptr, start_and_join,
                         reinterpret_cast<void *>(intptr_t(21)), &result);
    intptr_t number = reinterpret_cast<intptr_t>(result);

    if (error != 0 || number != 42) {
        std::printf("error %d, result %jd\n", error, intmax_t(number));
        return 1;
    }
    return 0;
}
