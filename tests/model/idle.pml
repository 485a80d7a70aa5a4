// idle.pml -- Who sleeps, who searches, and whom to wake: no wake-up is lost.
//
// WORKERS workers, a thread that pushes to the inject queue, events of the
// driver, tasks that push to their worker's queue. Mirrors src/sched/idle.c
// and the search and rest of worker.c; how a sleeper is woken is park.pml's
// matter: here a worker sleeps until it is no longer listed, or an event is
// for it. What is done under inject.lock is one step, and so is every other
// access to a shared word; a load after which one merely goes on to a step
// that is harmless at any time is left out. Tasks are counted, not told apart;
// any sleeper may be the one that is picked; a core's next slot, whose task
// waits for its own worker, is not modelled. At any moment the program may
// come to rest: then nothing more is pushed, and each task ends or hangs.
//
//   I1  A task in a queue is found: when all has come to rest no queue holds
//       one while a worker sleeps, even if all others hang in their tasks.
//   I2  sleepers + awake == workers, searching <= awake; a worker is listed
//       at most once; `searching` counts those who search or were picked to.
#ifndef WORKERS
#define WORKERS 2
#endif
#define ALL ((1 << WORKERS) - 1)
#define BIT(w) (1 << (w))
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))
#ifndef INJECT_MAX
#define INJECT_MAX 2
#endif
#ifndef LOCAL_MAX
#define LOCAL_MAX 1 // a task stops spawning here
#endif

byte awake = WORKERS; // half of the state word
byte searching;       // its other half
byte sleepers;        // a bit a worker; under inject.lock
byte inject;          // how many tasks are queued
bit quiet;            // the program comes to rest

byte searchers;       // ghost: who searches, or was picked to
byte hung;            // ghost: whose task hangs

// With 2 workers each look into a queue is a step; with 3 one goes over all.
#define FINE (WORKERS == 2)
byte queue[WORKERS];
bit event;            // the driver has a task for somebody
#if WORKERS == 2
#define QUEUED (queue[0] + queue[1])
#else
#define QUEUED (queue[0] + queue[1] + queue[2])
#endif


#define MAY_PICK (searching == 0 && awake < WORKERS)

// What a worker that went to sleep looks at once more.
#ifdef NO_LAST_LOOK
#define LOOK_AGAIN false
#else
#ifdef SEARCHERS_ONLY
#define LOOK_AGAIN (last)
#else
#define LOOK_AGAIN true
#endif
#endif

inline check_counts()
{
    assert(COUNT(sleepers) + awake == WORKERS);                     // I2
    assert(searching <= awake && searching == COUNT(searchers))     // I2
}

inline pick(w)
{
    MAY_PICK && (sleepers & BIT(w)) ->
    sleepers = sleepers & ~BIT(w);
    awake++;
    searching++;
    searchers = searchers | BIT(w);
    check_counts()
}

// sched_notify: whom idle_pick takes out wakes as a searcher.
inline notify()
{
    if
    :: !MAY_PICK
    :: d_step { pick(0) }
    :: d_step { pick(1) }
#if WORKERS > 2
    :: d_step { pick(2) }
#endif
    fi
}

inline stop_searching(w)
{
    searches = 0;
    searchers = searchers & ~BIT(w);
#ifndef KEEP_SEARCHING
    searching--;
#endif
    last = (searching == 0)
}

inline idle_enter(w)
{
    assert(!(sleepers & BIT(w)));                                   // I2
    sleepers = sleepers | BIT(w);
    awake--;
    if
    :: searches -> stop_searching(w)
    :: else
    fi;
    check_counts()
}

// Takes itself out, or was picked and so searches.
inline idle_leave(w)
{
    if
    :: sleepers & BIT(w) ->
#ifdef LISTED_TWICE
        skip
#else
        sleepers = sleepers & ~BIT(w);
        awake++
#endif
    :: else -> searches = 1
    fi;
    last = 0;
    check_counts()
}

proctype worker(byte me)
{
    byte i;
    bit searches, last;

find:
    if
    :: d_step { queue[me] > 0 -> queue[me]-- }; goto got
    :: d_step { event && queue[me] <= LOCAL_MAX -> event = 0; queue[me]++ };
#ifndef EVENT_UNTOLD
        if
        :: queue[me] > 1 -> notify()
        :: queue[me] <= 1
        fi;
#endif
        goto find
    :: d_step { inject > 0 && queue[me] > 0 -> inject-- }; // its turn
#ifndef TURN_UNTOLD
        notify();
#endif
        goto got
    :: d_step { inject > 1 && queue[me] == 0 -> inject = inject - 2 };
        queue[me]++; // took two: one to run, one for the queue
#ifndef BATCH_UNTOLD
        notify();
#endif
        goto got
    :: d_step { inject > 0 && queue[me] == 0 -> inject-- }; goto got
    :: queue[me] == 0 && inject == 0
    fi;
    if
    :: searches
    :: d_step { !searches && 2 * searching < WORKERS ->
        searches = 1;
        searching++;
        searchers = searchers | BIT(me);
        check_counts() }
    :: !searches && 2 * searching >= WORKERS -> goto rest
    fi;
#if FINE
    do
    :: d_step { i < WORKERS && queue[i] > 0 -> queue[i]--; i = 0 }; goto got
    :: d_step { i < WORKERS && queue[i] == 0 -> i++ }
    :: d_step { i == WORKERS && inject > 0 -> inject--; i = 0 }; goto got
    :: d_step { i == WORKERS && inject == 0 -> i = 0 }; goto rest
    od;
#else
    if
    :: d_step { QUEUED > 0 ->
        do
        :: queue[i] == 0 -> i++
        :: else -> break
        od;
        queue[i]--;
        i = 0 }; goto got
    :: d_step { QUEUED == 0 && inject > 0 -> inject-- }; goto got
    :: QUEUED == 0 && inject == 0 -> goto rest
    fi;
#endif

got: // end_search
    if
    :: d_step { searches -> stop_searching(me); check_counts() };
#ifndef END_UNTOLD
        if
        :: last -> notify()
        :: !last
        fi
#endif
    :: !searches
    fi;

running:
    if
#ifdef NOTIFY_FIRST
    :: !quiet && queue[me] < LOCAL_MAX -> notify(); queue[me]++; goto running
#else
    :: d_step { !quiet && queue[me] < LOCAL_MAX -> queue[me]++ };
        notify();
        goto running
#endif
    :: goto find
    :: d_step { quiet -> hung = hung | BIT(me) }; goto end_hung
    fi;

rest:
    if
    :: d_step { true -> idle_enter(me) }
    fi;
#if FINE
    do
    :: d_step { LOOK_AGAIN && i < WORKERS && queue[i] == 0 -> i++ }
    :: d_step { LOOK_AGAIN && i < WORKERS && queue[i] > 0 -> i = 0 };
        notify();
        break
    :: d_step { LOOK_AGAIN && i == WORKERS && inject > 0 -> i = 0 };
        notify();
        break
    :: d_step { !LOOK_AGAIN || (i == WORKERS && inject == 0) -> i = 0 }; break
    od;
#else
    if
    :: LOOK_AGAIN && QUEUED + inject > 0 -> notify()
    :: !LOOK_AGAIN || QUEUED + inject == 0
    fi;
#endif

end_asleep:
    if
    :: d_step { event -> event = 0; queue[me]++ };
        if
        :: d_step { true -> idle_leave(me) }
        fi
    :: d_step { !(sleepers & BIT(me)) -> searches = 1; last = 0 }
    fi;
    goto find;

end_hung:
    false
}

// Any thread: spawns and wakes tasks of the runtime; makes descriptors ready.
proctype outside()
{
end_outside:
    do
    :: d_step { !quiet && inject < INJECT_MAX -> inject++ }; notify()
    :: d_step { !quiet && !event -> event = 1 }
    od
}

init
{
    byte w;

    atomic {
        for (w : 0 .. WORKERS - 1) { run worker(w) }
        run outside();
        w = 0
    }
    quiet = 1;
    timeout;
    assert((sleepers | hung) == ALL && !(sleepers & hung));         // I2
    assert(searching == 0);                                         // I2
    assert(inject == 0 || !sleepers);                               // I1
    assert(QUEUED == 0 || !sleepers)                                // I1
}
