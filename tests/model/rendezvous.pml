// rendezvous.pml -- The meeting of a dump: workers, requesters, time-outs.
//
// WORKERS workers run tasks, go out and come in as they like; THREADS threads
// and one task ask for a dump, each at any moment. Mirrors dump/rendezvous.c,
// dump/barrier.c and what worker.c does about trace_asked. What is done under
// the barrier's lock and touches nothing else is one step; trace_asked and
// presence, which others touch without the lock, are steps of their own (but
// for a load after which a worker only waits for the lock). A time-out may
// fire whenever somebody waits with a deadline. A worker that has ended or not
// started is OUT and is never woken. At any moment the program may come to
// rest: then nobody is woken any more, and who is inside a task stays there.
//
//   I1  One leader a meeting. While it works no worker begins a task.
//   I2  Each worker is arrived, away, missing or leader; the counts are true.
//   I3  A queue the leader holds is touched by nobody else. The queue of a
//       missing worker is not held: the task it is in may spawn and wake.
//   I4  A worker is missing only if it was truly busy: whoever has come, or is
//       OUT for good, counts, in this meeting and in the next.
//   I5  Every request is answered, by a meeting that closed after it was made.
//   I6  The counts are zero between meetings.
//
//   P1  worker: presence = IN or OUT, then loads trace_asked;
//       requester: trace_asked = 1, then loads presence. One sees the other.
//   P2  worker: takes a task, loads trace_asked, begins the task. The other
//       way round, one held up in between begins a task in the pause.
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef THREADS
#define THREADS 2
#endif
#define TASK THREADS // whose bit in the lists is that of the task that asks
#define ALL ((1 << WORKERS) - 1)
#define BIT(w) (1 << (w))
#define OUTSIDE 8 // and up: threads that lead; below: workers
#define NOBODY 15
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1) + \
                  (((m) >> 3) & 1) + (((m) >> 4) & 1))

bit lock;          // the barrier's, where it is held for more than one step
bit trace_asked;   // read by workers without the lock
byte presence;     // a bit a worker: IN; each written by its worker alone
bit meeting;       // `active`: one is on; this and all below under the lock
bit closed;        // not `open`: nobody is waited for any more
byte started;      // moves when a meeting closes
byte ended;        // moves when a meeting ends
byte arrived, narrived; // places and their count
byte away, naway;
byte missing;
byte leader = NOBODY;
byte waiting;      // requests, until a leader takes them on
byte answered;     // requests that the leader will answer

byte standing;     // ghost: who truly stands at the start barrier
byte busy;         // ghost: who neither stands there nor is OUT for good
byte late;         // ghost: requests made while a leader captured
byte made, done;   // ghost: requests
bit quiet;         // the program comes to rest

#define NOTE_LATE(r) late = late | ((answered != 0) << (r))

#ifdef HOLD_MISSING
#define HELD(w) (closed)
#else
#define HELD(w) (closed && !(missing & BIT(w)))
#endif

#ifdef IGNORE_MOVED
#define TIME_IS_UP(w) (arrived & BIT(w))
#else
#define TIME_IS_UP(w) (ended == gen && !closed)
#endif

// `here`: a leader whose arrival is not, or no more, counted.
inline close_meeting(who, here)
{
    assert(meeting && !closed && leader == NOBODY);                 // I1
    closed = 1;
    started++;
    leader = who;
    missing = ALL & ~(arrived | away | here);
    assert(narrived == COUNT(arrived) && naway == COUNT(away));     // I2
    assert(arrived == standing && !(arrived & away));               // I2
    assert(!(missing & ~busy));                                     // I4
    busy = busy | standing;
    standing = 0
}

inline arrive(w)
{
#ifndef COUNT_BOTH
    if
    :: away & BIT(w) ->
        away = away & ~BIT(w);
        naway--
    :: else
    fi;
#endif
    arrived = arrived | BIT(w);
    narrived++;
    standing = standing | BIT(w);
    busy = busy & ~BIT(w)
}

// barrier_meet, until it sleeps.
inline meet(w)
{
    gen = ended;
    if
#ifndef COUNT_LATE
    :: closed // waits for the end, uncounted
#endif
    :: else ->
        arrive(w);
        if
        :: narrived + naway == WORKERS -> close_meeting(w, 0)
        :: else
        fi
    fi
}

// The deadline is past and nobody closed the meeting meanwhile.
inline lead_late(w)
{
    standing = standing & ~BIT(w);
    busy = busy | BIT(w);
#ifndef KEEP_ARRIVAL
    arrived = arrived & ~BIT(w);
    narrived--;
#endif
    close_meeting(w, BIT(w));
    assert(missing)                                                 // I4
}

// Under the lock, which is given back in the end.
inline open_meeting()
{
    d_step {
        assert(!arrived && !away && !missing);                      // I6
        assert(!narrived && !naway && leader == NOBODY);            // I6
        meeting = 1
    };
    trace_asked = 1; // P1
    do
    :: i < WORKERS && (presence & BIT(i)) -> i++ // P1
    :: d_step { i < WORKERS && !(presence & BIT(i)) ->
        away = away | BIT(i);
        naway++;
        i++ }
    :: d_step { i == WORKERS -> i = 0; opens = 0; lock = 0 }; break
    od
}

// The leader takes on who has asked until now, captures, and lets all go.
inline lead(who)
{
    d_step { !lock && leader == who -> answered = waiting; waiting = 0 };
    d_step { !lock ->
        assert(meeting && closed && leader == who && answered);     // I1
        assert(started == ended + 1);                               // I1
#ifdef ANSWER_ALL
        answered = answered | waiting;
        waiting = 0;
#endif
        assert(!(answered & late));                                 // I5
        late = 0;
        lock = 1;
        arrived = 0;
        narrived = 0;
        away = 0;
        naway = 0;
        missing = 0;
        leader = NOBODY;
        closed = 0;
        meeting = 0;
        ended++;
        done = done + COUNT(answered);
        answered = 0
#ifdef CLEAR_FIRST
        ;
        trace_asked = 0
#endif
#ifdef CLEAR_UNLOCKED
        ;
        lock = 0
#endif
    };
#ifdef CLEAR_UNLOCKED
    trace_asked = 0
#else
    if
    :: waiting -> open_meeting() // for those who have asked since
    :: d_step { !waiting -> trace_asked = 0; lock = 0 }
    fi
#endif
}

proctype worker(byte me)
{
    byte gen, i;
    bit opens;

end_out:
    if
    :: d_step { !quiet -> // unparked, by a wake-up or by an event
        presence = presence | BIT(me);
        busy = busy | BIT(me) }
    fi;

come_in:
    if
#ifdef NO_RECHECK_IN
    :: goto end_in
#endif
    :: !trace_asked -> goto end_in // P1
    :: d_step { !lock && meeting -> meet(me) }; goto stand
#ifdef CLEAR_UNLOCKED
    :: !lock && !meeting -> goto end_in
#endif
    fi;

end_in: // inside a task, or between two
    if
    :: d_step { !quiet -> assert(!HELD(me)) }; goto end_in // I3: takes, spawns
#ifndef CHECK_BEFORE_TAKE
    :: d_step { !quiet && !trace_asked -> assert(!closed) }; goto end_in // I1
#else
    :: !quiet && !trace_asked -> assert(!closed); goto end_in // I1
#endif
    :: !quiet && trace_asked -> goto come_in // trace
    :: d_step { !quiet -> presence = presence & ~BIT(me) }; goto go_out
    :: d_step { !quiet && !lock && !(made & BIT(TASK)) -> // the task asks
        made = made | BIT(TASK);
        waiting = waiting | BIT(TASK);
        NOTE_LATE(TASK);
        opens = !meeting;
        lock = opens };
        if
        :: opens -> open_meeting()
        :: !opens
        fi;
        goto come_in
    fi;

go_out:
    if
#ifdef NO_RECHECK_OUT
    :: d_step { true -> busy = busy & ~BIT(me) }; goto end_out
#endif
    :: d_step { !trace_asked -> busy = busy & ~BIT(me) }; goto end_out // P1
    :: d_step { trace_asked -> presence = presence | BIT(me) }; goto come_in
    fi;

stand: // at the start barrier, or late, or as leader
    do
    :: d_step { ended != gen -> gen = 0 }; goto come_in
    :: !lock && leader == me -> lead(me)
#ifdef CLOSE_UNLOCKED
    :: ended == gen && !closed -> d_step { !lock -> lead_late(me) }
#else
    :: d_step { !lock && TIME_IS_UP(me) -> lead_late(me) }
#endif
    od
}

// ask_as_thread.
proctype thread(byte me)
{
    byte i;
    bit opens;

    d_step { !lock && (made & ~BIT(TASK)) == BIT(me) - 1 -> // one by one
        made = made | BIT(me);
        waiting = waiting | BIT(me);
        NOTE_LATE(me);
        opens = !meeting;
        lock = opens };
    if
    :: opens -> open_meeting()
    :: !opens
    fi;
    do
    :: !((waiting | answered) & BIT(me)) -> break
#ifndef NO_LAST_RESORT
    :: d_step { !lock && (waiting & BIT(me)) &&
        meeting && !closed && !arrived -> // all away, or time is up
        close_meeting(OUTSIDE + me, 0) };
        lead(OUTSIDE + me)
#endif
    od
}

init
{
    byte w;

    atomic {
        for (w : 0 .. WORKERS - 1) { run worker(w) }
        for (w : 0 .. THREADS - 1) { run thread(w) }
        w = 0
    }
    quiet = 1;
    timeout;
    assert(!waiting && !answered && done == COUNT(made));           // I5
    assert(!meeting && !trace_asked && !lock)                       // I6
}
