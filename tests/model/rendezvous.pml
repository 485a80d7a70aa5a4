// rendezvous.pml -- The meeting of a dump: workers, requesters, time-outs.
//
// WORKERS workers run tasks, park and leave as they like; two requests for a
// dump come at any moment. Mirrors src/dump/rendezvous.c and barrier.c: what
// they do under rv.lock and touches nothing else is one step here; accesses to
// `trace_asked` and `presence`, which others make without the lock, are steps
// of their own. A time-out may fire whenever somebody waits with a deadline.
// A worker that has exited or not yet started is OUT and never woken.
//
//   I1  One leader a meeting. While it works no worker begins a task.
//   I2  arrived, away and missing part the workers; the counts are true.
//   I3  A queue the leader holds is touched by nobody else. The queue of a
//       missing worker is not held: the task it is in may spawn and wake.
//   I4  A worker is missing only if it was truly busy: whoever has come, or is
//       OUT for good, counts, in the first meeting and in the next.
//   I5  Every request is answered, by a meeting that closed after it was made.
//   I6  All counts are zero between meetings.
//
//   P1  worker: presence = IN, then load trace_asked;
//       requester: trace_asked = true, then load presence.
//       One sees the other, or a worker counted away runs in the pause.
//   P2  worker: presence = OUT, then load trace_asked; if set, it is counted
//       away under the lock. Without it a parked worker costs 250 ms.
//   P3  worker: take a task, then load trace_asked, then begin the task. The
//       other way round, one held up in between begins a task in the pause.
#ifndef WORKERS
#define WORKERS 2
#endif
#define REQUESTS 2
#define ALL ((1 << WORKERS) - 1)
#define BIT(w) (1 << (w))
#define REQUESTER 8 // 8 and up: requesters; below: workers
#define NOBODY 15
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1) + \
                  (((m) >> 3) & 1) + (((m) >> 4) & 1))

bit lock;         // rv.lock, where it is held for more than one step
bit trace_asked;  // read by workers without the lock
byte presence;    // a bit a worker: IN; each written by its worker alone
bit meeting;      // one is on; this and all below under rv.lock
bit closed;       // nobody is waited for any more
byte generation;  // moves when a meeting closes: futex of the start barrier
byte ended;       // moves when a meeting ends: futex of the end barrier
byte arrived, narrived;
byte away, naway;
byte missing;     // named in the dump
byte opener;      // leads if no worker can
byte leader = NOBODY;
byte result;      // the meeting whose dump was stored last

byte waiting;     // ghost: who truly stands in the start barrier
byte busy;        // ghost: who is neither there nor OUT with P2 done
byte begun;       // ghost: requests made
bit quiet;        // the program rests: tasks hang, nobody is woken

#ifdef HOLD_MISSING
#define HELD(w) (closed)
#else
#define HELD(w) (closed && !(missing & BIT(w)))
#endif

#ifdef CLEAR_UNLOCKED
#define AFTER_END ; trace_asked = 0
#else
#define AFTER_END
#endif

#ifdef SHARE_CLOSED
#define CLOSED 0
#else
#define CLOSED (meeting && closed)
#endif

#ifdef IGNORE_MOVED
#define DEADLINE(w) (arrived & BIT(w))
#else
#define DEADLINE(w) (generation == gen)
#endif

// Nobody is waited for any more; `here` is a leader that is not in `arrived`.
inline close(who, here)
{
    assert(meeting && !closed && leader == NOBODY);                 // I1
    closed = 1;
    generation++;
    leader = who;
    missing = ALL & ~(arrived | away | here);
    assert(narrived == COUNT(arrived) && naway == COUNT(away));     // I2
    assert(arrived == waiting && !(arrived & away));                // I2
    assert(!(missing & ~busy));                                     // I4
    busy = busy | waiting;
    waiting = 0
}

// A worker went OUT. The last one awaited cannot lead, so the opener does.
inline count_away(w)
{
    if
    :: meeting && !closed && !(away & BIT(w)) ->
        away = away | BIT(w);
        naway++;
        if
        :: narrived + naway == WORKERS -> close(opener, 0)
        :: else
        fi
    :: else
    fi
}

inline arrive(w)
{
    arrived = arrived | BIT(w);
    narrived++;
    waiting = waiting | BIT(w);
    busy = busy & ~BIT(w);
#ifndef COUNT_BOTH
    if
    :: away & BIT(w) ->
        away = away & ~BIT(w);
        naway--
    :: else
    fi;
#endif
    if
    :: narrived + naway == WORKERS -> close(w, 0)
    :: else
    fi
}

// The deadline is past and nobody closed the meeting meanwhile.
inline close_short(w)
{
    waiting = waiting & ~BIT(w);
    busy = busy | BIT(w);
#ifndef KEEP_ARRIVAL
    arrived = arrived & ~BIT(w);
    narrived--;
#endif
    close(w, BIT(w));
    assert(missing)                                                 // I4
}

// Captured; the leader stores the result and lets all go.
inline end_meeting(who)
{
    assert(meeting && closed && leader == who);                     // I1
    result = generation;
    arrived = 0;
    narrived = 0;
    away = 0;
    naway = 0;
    missing = 0;
    opener = 0;
    leader = NOBODY;
    closed = 0;
    meeting = 0;
#ifndef CLEAR_UNLOCKED
    trace_asked = 0;
#endif
    ended++
}

// A worker found the flag set. What it does then under the lock it may do at
// any time later, so the load that found it set is no step of its own.
inline trace_core(w)
{
    gen = ended;
    if
#ifndef COUNT_LATE
    :: closed // late: waits for the end, uncounted
#endif
    :: else -> arrive(w)
    fi
}

proctype worker(byte me)
{
    byte gen; // the meeting it takes part in

end_out:
    if
    :: d_step { !quiet -> // unparked, by a wake-up or by an event of the driver
        presence = presence | BIT(me);
        busy = busy | BIT(me) }
    fi;
    if
#ifdef NO_RECHECK_IN
    :: goto end_in
#endif
    :: !trace_asked -> goto end_in // P1
#ifdef CLEAR_UNLOCKED
    :: trace_asked && !meeting && !lock -> goto end_in
#endif
    :: d_step { !lock && meeting -> trace_core(me) }; goto meet
    fi;

end_in: // in a task, or between two; for ever, if the task never ends
    if
    :: d_step { !quiet -> assert(!HELD(me)) }; goto end_in // I3: takes, spawns
#ifndef CHECK_BEFORE_TAKE
    :: d_step { !quiet && !trace_asked -> assert(!closed) }; goto end_in // I1
#else
    :: !quiet && !trace_asked -> assert(!closed); goto end_in
#endif
    :: d_step { !quiet && !lock && meeting -> trace_core(me) }; goto meet
    :: d_step { !quiet -> presence = presence & ~BIT(me) }; goto go_out
    fi;

go_out:
    if
#ifdef NO_RECHECK_OUT
    :: busy = busy & ~BIT(me); goto end_out
#endif
    :: d_step { !trace_asked -> busy = busy & ~BIT(me) }; goto end_out // P2
    :: d_step { !lock -> count_away(me); busy = busy & ~BIT(me) }; goto end_out
    fi;

meet:
    do
    :: d_step { ended != gen -> gen = 0 }; goto end_in
    :: d_step { !lock && leader == me -> end_meeting(me) }
       AFTER_END
#ifdef CLOSE_UNLOCKED
    :: generation == gen -> d_step { !lock -> close_short(me) }
#else
    :: d_step { !lock && DEADLINE(me) -> close_short(me) }
#endif
    od
}

// A request: opens a meeting, shares the one that is on, or waits for its end.
proctype requester(byte me)
{
    byte gen, i;

    atomic {
        begun == me - REQUESTER && !lock && !CLOSED ->
        begun++;
        gen = ended;
        if
        :: meeting -> // shares: answered when the opener is
            assert(!closed); // I5
            goto done
        :: else
        fi;
        assert(!arrived && !away && !missing);                      // I6
        assert(!narrived && !naway && leader == NOBODY);            // I6
        meeting = 1;
        opener = me;
        lock = 1
    }
    trace_asked = 1; // P1
    do
    :: i < WORKERS ->
        if
        :: presence & BIT(i) -> i++ // P1
        :: d_step { !(presence & BIT(i)) ->
            away = away | BIT(i);
            naway++;
            i++ }
        fi
    :: else -> break
    od;
    atomic {
        i = 0;
        if
        :: naway == WORKERS -> close(me, 0)
        :: else
        fi;
        lock = 0
    }
    do
    :: d_step { ended != gen -> assert(result > gen) }; break // I5
#ifdef FORGET_WHO
    :: generation != gen ->
        if
        :: d_step { !lock && leader >= REQUESTER -> end_meeting(me) }; break
        :: ended != gen -> break
        fi
#endif
    :: d_step { !lock && leader == me -> end_meeting(me) }
       AFTER_END
#ifndef NO_LAST_RESORT
    :: d_step { !lock && generation == gen && !arrived -> // timed out
        close(me, 0);
        assert(missing) } // I4
#endif
    od;
done:
    skip
}

init
{
    atomic {
        byte w;
        for (w : 0 .. WORKERS - 1) { run worker(w) }
        for (w : 0 .. REQUESTS - 1) { run requester(REQUESTER + w) }
        w = 0
    }
    quiet = 1
}
