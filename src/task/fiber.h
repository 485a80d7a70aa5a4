// fiber.h -- Tells ASan, TSan and Valgrind about every stack and switch.
//
// Without a sanitizer all of it is empty, save what Valgrind needs: it sees the
// switches by itself if it knows the stacks, and is told of each once, by a few
// instructions that do nothing elsewhere. The other functions are called on the
// stack that they name, around task_switch: fiber_leave before, fiber_enter
// after.
#ifndef WEFT_TASK_FIBER_H
#define WEFT_TASK_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WEFT_TSAN 1
#endif
#if __has_feature(memory_sanitizer)
#define WEFT_MSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WEFT_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define WEFT_TSAN 1
#endif

#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
#define FIBERS_ANNOUNCED true
#else
#define FIBERS_ANNOUNCED false
#endif

// One stack as the sanitizers see it.
struct fiber {
    void *handle;       // TSan's
    void *fake;         // ASan's fake stack while this stack is left
    const void *bottom; // bounds, for ASan
    size_t size;
};

#if defined(WEFT_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(WEFT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(HAVE_VALGRIND)
#include <valgrind/valgrind.h>
#endif

// A stack that will be run on, and one that will not be any more. The number is
// Valgrind's for it.
static inline unsigned fiber_announce(const char *low, const char *high)
{
    (void)low, (void)high;
#if defined(HAVE_VALGRIND)
    return VALGRIND_STACK_REGISTER(low, high - 1);
#else
    return 0;
#endif
}

static inline void fiber_withdraw(unsigned announced)
{
    (void)announced;
#if defined(HAVE_VALGRIND)
    VALGRIND_STACK_DEREGISTER(announced);
#endif
}

static inline bool fiber_must_withdraw(void)
{
#if defined(HAVE_VALGRIND)
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}

static inline void fiber_init(struct fiber *fiber, void *bottom, size_t size)
{
    fiber->handle = NULL;
    fiber->fake = NULL;
    fiber->bottom = bottom;
    fiber->size = size;
#if defined(WEFT_TSAN)
    fiber->handle = __tsan_create_fiber(0);
#endif
}

static inline void fiber_deinit(struct fiber *fiber)
{
#if defined(WEFT_TSAN)
    __tsan_destroy_fiber(fiber->handle);
#endif
    fiber->handle = NULL;
}

// The calling thread's own stack.
static inline void fiber_init_thread(struct fiber *fiber)
{
    fiber->handle = NULL;
    fiber->fake = NULL;
    fiber->bottom = NULL;
    fiber->size = 0;
#if defined(WEFT_TSAN)
    fiber->handle = __tsan_get_current_fiber();
#endif
}

// The calling thread may be on another stack than it knows of, and is to come
// back to it: what TSan calls that one.
static inline void fiber_keep(struct fiber *fiber)
{
    (void)fiber;
#if defined(WEFT_TSAN)
    fiber->handle = __tsan_get_current_fiber();
#endif
}

// About to switch; `last`: the stack that is left will never be entered again.
static inline void fiber_leave(struct fiber *from, struct fiber *to, bool last)
{
    (void)from, (void)to, (void)last;
#if defined(WEFT_ASAN)
    __sanitizer_start_switch_fiber(last ? NULL : &from->fake, to->bottom,
                                   to->size);
#endif
#if defined(WEFT_TSAN)
    __tsan_switch_to_fiber(to->handle, 0);
#endif
}

// Just arrived on `to`, coming from `from`, whose bounds are learnt (a thread's
// are not known before).
static inline void fiber_enter(struct fiber *from, struct fiber *to)
{
    (void)from, (void)to;
#if defined(WEFT_ASAN)
    __sanitizer_finish_switch_fiber(to->fake, &from->bottom, &from->size);
#endif
}

#endif
