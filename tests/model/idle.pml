// idle.pml -- Who sleeps, who searches, and whom to wake: no wake-up is lost.
//
// WORKERS workers, a thread that pushes to the inject queue, events of the
// driver, tasks that push to their worker's queue. Mirrors src/sched/idle.c,
// park.c and the search and rest of worker.c. What is done under inject.lock
// is one step, every other access to a shared word one each; a load after
// which one merely goes on to a step possible at any time is left out. Tasks
// are counted, not told apart; any sleeper may be the one that is picked; a
// core's next slot, whose tasks wait for their own worker, is not modelled.
// At any moment the program may come to rest: then nothing more is pushed and
// each running task ends, or hangs for ever.
//
//   I1  A task in a queue is found: when all has come to rest, no queue holds
//       one while a worker sleeps, even if all others hang in their tasks.
//   I2  sleepers + awake == workers, searching <= awake; a worker is listed
//       at most once, and the searching count is that of those who search.
//   I3  An event is taken unless every worker hangs or sleeps on a futex
//       because the one in the driver was picked for a task that hangs.
#ifndef WORKERS
#define WORKERS 2
#endif
#define BIT(w) (1 << (w))
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1) + \
                  (((m) >> 3) & 1) + (((m) >> 4) & 1))
#define EMPTY 0
#define ON_FUTEX 1
#define IN_DRIVER 2
#define NOTIFIED 3
#define INJECT_MAX 2
#define LOCAL_MAX 1 // a task stops spawning here

byte awake = WORKERS; // half of the state word
byte searching;       // its other half
byte sleepers;        // a bit a worker; under inject.lock
byte inject;          // how many tasks are queued
byte local[WORKERS];
byte word[WORKERS];   // of the parkers
bit driver;           // taken
bit rung;             // its eventfd
bit event;            // a descriptor is ready
bit quiet;            // the program comes to rest

byte searchers;       // ghost: who searches, or was picked to
byte hung;            // ghost: whose task hangs

#define MAY_PICK (searching == 0 && awake < WORKERS)

inline check_counts()
{
    assert(COUNT(sleepers) + awake == WORKERS);                     // I2
    assert(searching <= awake && searching == COUNT(searchers))     // I2
}

inline pick(w)
{
    sleepers = sleepers & ~BIT(w);
    awake++;
    searching++;
    searchers = searchers | BIT(w);
    who = w;
    check_counts()
}

inline wake(w)
{
    if
    :: word[w] == IN_DRIVER -> rung = 1
    :: else
    fi;
    word[w] = NOTIFIED;
    who = WORKERS
}

// sched_notify: idle_pick, then park_wake.
inline notify()
{
    if
    :: !MAY_PICK
    :: d_step { MAY_PICK && (sleepers & BIT(0)) -> pick(0) }
    :: d_step { MAY_PICK && (sleepers & BIT(1)) -> pick(1) }
#if WORKERS > 2
    :: d_step { MAY_PICK && (sleepers & BIT(2)) -> pick(2) }
#endif
#if WORKERS > 3
    :: d_step { MAY_PICK && (sleepers & BIT(3)) -> pick(3) }
#endif
#if WORKERS > 4
    :: d_step { MAY_PICK && (sleepers & BIT(4)) -> pick(4) }
#endif
    fi;
    if
    :: d_step { who < WORKERS -> wake(who) }
    :: who == WORKERS
    fi
}

inline idle_enter(w)
{
    assert(!(sleepers & BIT(w)));                                   // I2
    sleepers = sleepers | BIT(w);
    awake--;
    last = 0;
    if
    :: searches ->
        searches = 0;
        searchers = searchers & ~BIT(w);
        searching--;
        last = (searching == 0)
    :: else
    fi;
    check_counts()
}

inline idle_leave(w)
{
    if
    :: sleepers & BIT(w) ->
        if
        :: has_work ->
            sleepers = sleepers & ~BIT(w);
            awake++
        :: else
        fi;
        again = !has_work
    :: else ->
        searches = 1;
        again = 0
    fi;
    has_work = 0;
    check_counts()
}

#ifdef SEARCHERS_ONLY
#define LOOK_AGAIN (last)
#else
#ifdef NO_LAST_LOOK
#define LOOK_AGAIN (false)
#else
#define LOOK_AGAIN (true)
#endif
#endif

proctype worker(byte me)
{
    byte i, who = WORKERS;
    bit searches, last, again, has_work;

find:
    if
    :: d_step { local[me] > 0 -> local[me]-- }; goto got
    :: d_step { inject > 0 -> inject-- }; goto got
    :: d_step { inject > 1 -> inject = inject - 2 }; // a batch
        local[me]++;
#ifndef BATCH_UNTOLD
        notify();
#endif
        goto got
    :: d_step { !driver && event -> event = 0; local[me]++ }; // poll_driver
        notify();
        goto find
    :: local[me] == 0 && inject == 0
    fi;
    if // search
    :: searches
    :: d_step { !searches && 2 * searching < WORKERS ->
        searches = 1;
        searching++;
        searchers = searchers | BIT(me);
        check_counts() }
    :: !searches && 2 * searching >= WORKERS -> goto rest
    fi;
    do
    :: d_step { i < WORKERS && local[i] > 0 -> local[i]--; i = 0 }; goto got
    :: d_step { i < WORKERS && local[i] == 0 -> i++ }
    :: i == WORKERS -> break
    od;
    i = 0;
    if
    :: d_step { inject > 0 -> inject-- }; goto got
    :: inject == 0 -> goto rest
    fi;

got: // end_search
    if
    :: d_step { searches ->
        searches = 0;
        searchers = searchers & ~BIT(me);
        searching--;
        last = (searching == 0);
        check_counts() };
        if
        :: last -> notify()
        :: !last
        fi;
        last = 0
    :: !searches
    fi;

running:
    if
    :: d_step { !quiet && local[me] < LOCAL_MAX -> local[me]++ };
        notify();
        goto running
    :: goto find
    :: d_step { quiet -> hung = hung | BIT(me) }; goto end_hung
    fi;

rest:
    d_step { idle_enter(me) };
    if
    :: LOOK_AGAIN ->
        if
        :: inject > 0 -> notify(); goto look_done
        :: inject == 0
        fi;
        do
        :: i < WORKERS && local[i] > 0 -> notify(); break
        :: d_step { i < WORKERS && local[i] == 0 -> i++ }
        :: i == WORKERS -> break
        od;
    :: !LOOK_AGAIN
    fi;
look_done:
    d_step { i = 0; last = 0 };

asleep: // park_sleep
    if
    :: d_step { !driver ->
        driver = 1;
        if
        :: word[me] == EMPTY -> word[me] = IN_DRIVER
        :: else
        fi };
end_driver:
        if
        :: d_step { event -> event = 0; rung = 0; has_work = 1 }
        :: d_step { rung && !event -> rung = 0 }
        :: word[me] == NOTIFIED // before it slept; or about to be rung
        :: !quiet // unasked
        fi;
        d_step { driver = 0; word[me] = EMPTY }
    :: d_step { driver ->
        if
        :: word[me] == EMPTY -> word[me] = ON_FUTEX
        :: else
        fi };
end_futex:
        d_step { word[me] == NOTIFIED -> word[me] = EMPTY }
    fi;
    if
    :: has_work -> local[me]++
    :: !has_work
    fi;
    d_step { idle_leave(me) };
    if
    :: again -> goto asleep
    :: !again -> goto find
    fi;
end_hung:
    false
}

// Any thread: spawns and wakes tasks of the runtime.
proctype outside()
{
    byte who = WORKERS;

end_outside:
    do
    :: d_step { !quiet && inject < INJECT_MAX -> inject++ }; notify()
    :: d_step { !quiet && !event -> event = 1 }
    od
}

init
{
    atomic {
        byte w;
        for (w : 0 .. WORKERS - 1) { run worker(w) }
        run outside();
        w = 0
    }
    quiet = 1;
    timeout;
    assert(COUNT(sleepers) + COUNT(hung) == WORKERS); // I2
    assert(searching == 0); // I2
    assert(inject == 0 || !sleepers); // I1
    w = 0;
    do
    :: w < WORKERS -> assert(local[w] == 0 || !sleepers); w++ // I1
    :: else -> break
    od
}
