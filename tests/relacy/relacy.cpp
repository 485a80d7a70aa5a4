// relacy.cpp -- Relacy's second opinion: the shipped run queue (sched/queue.c)
// and parking (sched/park.c), compiled as C++ with its atomics. Prints TAP.
//
//   relacy [ITERATIONS]   for each program as many of the random scheduler, and
//                         all executions of up to so many preemptions
#include <stdio.h>
#include <stdlib.h>

#include "port/port.h"

struct futex *futexes;

#include "sched/park.c"
#include "sched/queue.c"

enum { TASKS = 6, OWNER = 0 };

// ---- The run queue ----

// One pushes and pops, the others steal. Each task comes out once, by somebody
// who sees what was written before it was pushed.
template <int THREADS, int PUSHED>
struct queue_test : rl::test_suite<queue_test<THREADS, PUSHED>, THREADS> {
    struct queue queues[THREADS]; // the thieves' are their own
    struct task tasks[TASKS];
    rl::atomic<int> taken[TASKS];

    void before()
    {
        for (struct queue &queue : queues) {
            store_relaxed(&queue.head, 0);
            store_relaxed(&queue.tail, 0);
            for (auto &slot : queue.slots)
                store_relaxed(&slot, NULL);
        }
        for (auto &count : taken)
            count.store(0, rl::mo_relaxed, $);
    }

    void take(struct task *task)
    {
        int number = (int)(task - tasks);

        RL_ASSERT(task->written($) == number + 1);
        taken[number].fetch_add(1, rl::mo_relaxed, $);
    }

    void make_room(struct queue *queue)
    {
        struct task_list oldest = {NULL};

        queue_pop_batch(queue, &oldest);
        for (struct task *task = oldest.head; task != NULL; task = task->next)
            take(task);
    }

    void own(struct queue *queue)
    {
        for (int i = 0; i < PUSHED; i++) {
            tasks[i].written($) = i + 1;
            while (!queue_push(queue, &tasks[i], i % 2 == 0))
                make_room(queue);
        }
        struct task *task = queue_pop(queue);
        if (task != NULL)
            take(task);
    }

    void steal(struct queue *own)
    {
        uint32_t count;
        struct task *task = queue_steal(&queues[OWNER], own, &count);

        while (task != NULL) {
            take(task);
            task = queue_pop(own);
        }
    }

    void thread(unsigned who)
    {
        if (who == OWNER)
            own(&queues[OWNER]);
        else
            steal(&queues[who]);
    }

    void after()
    {
        struct task *task;

        while ((task = queue_pop(&queues[OWNER])) != NULL)
            take(task);
        for (int i = 0; i < PUSHED; i++)
            RL_ASSERT(taken[i].load(rl::mo_relaxed, $) == 1);
    }
};

// ---- Parking ----

// Some sleep, the first of them in the driver, and one wakes each of them once:
// nobody sleeps on, and what was done before the waking is seen.
template <int SLEEPERS>
struct park_test : rl::test_suite<park_test<SLEEPERS>, SLEEPERS + 1> {
    struct futex futex;
    struct driver driver;
    struct parker parkers[SLEEPERS];
    rl::var<int> told[SLEEPERS];

    void before()
    {
        futexes = &futex;
        store_relaxed(&driver.token, 0);
        driver.wakeup = false;
        for (struct parker &parker : parkers)
            store_relaxed(&parker.word, 0);
    }

    void thread(unsigned who)
    {
        struct task_list ready = {NULL};

        if (who < SLEEPERS) {
            park_sleep(&parkers[who], &driver, &ready);
            RL_ASSERT(told[who]($) == 1); // park.c K2
            return;
        }
        for (int i = 0; i < SLEEPERS; i++) {
            told[i]($) = 1;
            park_wake(&parkers[i], &driver);
        }
    }
};

// ---- All of them ----

static int cases;
static bool all_good = true;

template <typename Test>
static void run(const char *name, rl::scheduler_type_e how, int iterations)
{
    static std::ostream nowhere(NULL);
    rl::test_params params;

    params.search_type = how;
    params.context_bound = 2;
    params.iteration_count = (rl::iteration_t)iterations;
    params.execution_depth_limit = 10000;
    params.output_stream = &std::cerr;
    params.progress_stream = &nowhere;
    bool good = rl::simulate<Test>(params);
    all_good &= good;
    printf("%s %d - relacy: %s, %s # %llu executions\n", good ? "ok" : "not ok",
           ++cases, name, rl::format(how),
           (unsigned long long)params.stop_iteration);
    fflush(stdout);
}

template <typename Test> static void both(const char *name, int iterations)
{
    run<Test>(name, rl::sched_random, iterations);
    run<Test>(name, rl::sched_bound, iterations);
}

int main(int argc, char **argv)
{
    int iterations = argc > 1 ? atoi(argv[1]) : 20000;

    both<queue_test<2, 3>>("queue, one thief", iterations);
    both<queue_test<3, 3>>("queue, two thieves", iterations);
    both<queue_test<2, 6>>("queue, overflowing", iterations);
    both<park_test<1>>("park, one sleeper", iterations);
    both<park_test<2>>("park, two sleepers", iterations);
    printf("1..%d\n", cases);
    return all_good ? 0 : 1;
}
