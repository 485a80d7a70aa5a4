// park.pml -- How a worker sleeps: in the driver if it is free, or on a futex.
//
// Mirrors src/sched/park.c. Workers sleep and wake again and again; whoever
// picked one wakes it; a descriptor gets ready now and then. Each access to a
// shared word is one step. Sleeping on a futex is waiting for the word to
// change; the poll returns when the eventfd rings or a descriptor is ready.
//
//   I1  At rest nobody sleeps who was told to wake.
//   I2  At rest, with all asleep, one is in the driver and no event is left.
#ifndef WORKERS
#define WORKERS 2
#endif
#define EMPTY 0
#define ON_FUTEX 1
#define IN_DRIVER 2
#define NOTIFIED 3

byte word[WORKERS];
bit driver;          // taken
bit rung;            // its eventfd
bit event;           // a descriptor is ready
bit picked[WORKERS]; // ghost: told to wake, and has not seen it
byte polling;        // ghost: how many sleep in the driver
bit quiet;           // nobody is woken any more

proctype worker(byte me)
{
    bit holds;

end_awake:
    if
    :: d_step { !driver && event -> event = 0 }; goto end_awake // poll_driver
    :: d_step { !driver -> driver = 1; holds = 1 } // driver_try_take
    :: driver
    fi;
    if
#ifdef SLEEP_UNSEEN
    :: word[me] = (holds -> IN_DRIVER : ON_FUTEX)
#else
    :: d_step { word[me] == EMPTY ->
        word[me] = (holds -> IN_DRIVER : ON_FUTEX) }
    :: word[me] != EMPTY -> goto wakes
#endif
    fi;
    polling = polling + holds;
end_asleep:
    if
    :: d_step { holds && rung -> rung = 0; event = 0 }
    :: d_step { holds && event -> event = 0 }
    :: !holds && word[me] != ON_FUTEX
    fi;
    polling = polling - holds;

wakes:
    if
    :: d_step { holds -> driver = 0; holds = 0 } // driver_give
    :: !holds
    fi;
    if
    :: d_step { true -> word[me] = EMPTY; picked[me] = 0 }
    fi;
    goto end_awake
}

// Whoever has picked a worker.
proctype waker()
{
    byte before, w;

end_waker:
    do
    :: !quiet && w < WORKERS - 1 -> w++
    :: d_step { !quiet && w > 0 -> w = 0 }
    :: d_step { !quiet && !picked[w] ->
        picked[w] = 1;
        before = word[w];
        word[w] = NOTIFIED };
        if
#ifdef NO_RING
        :: true
#else
        :: before == IN_DRIVER -> rung = 1
        :: before != IN_DRIVER // on a futex: wakes it; awake: need not
#endif
        fi;
        before = EMPTY
    :: d_step { !quiet && !event -> event = 1 }
    od
}

init
{
    byte w;

    atomic {
        for (w : 0 .. WORKERS - 1) { run worker(w) }
        run waker();
        w = 0
    }
    quiet = 1;
    timeout;
    assert(polling == 1 && !event);                                 // I2
    do
    :: w < WORKERS -> assert(!picked[w]); w++                       // I1
    :: else -> break
    od
}
