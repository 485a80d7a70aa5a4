// rendezvous.pml -- The meeting of a dump: workers, requesters, time-outs.
//
// WORKERS workers run tasks, go out and come in as they like; THREADS threads
// and one task ask for a dump, each at any moment. One of them conducts: has
// the workers meet, then captures while they run on. Mirrors dump/rendezvous.c,
// dump/barrier.c, the notes of dump/missing.c and what worker.c does about
// trace_asked. What is done under the barrier's lock and touches nothing else
// is one step; trace_asked, presence, current, `open` and `inside`, which
// others touch without the lock, are steps of their own. A time-out may fire
// whenever somebody waits with a deadline. A worker that has ended or not
// started is OUT and is never woken. At any moment the program may come to
// rest: then nobody is woken any more, and who is inside a task stays there.
// Memory may fail, and the table outgrow the store, once each.
//
//   I1  One leader a meeting. Until the epoch opens nobody takes from a queue,
//       save who is missing; and from the leader's look at those, whoever is
//       inside a task is missing and noted. Who begins a task in an open epoch
//       has it captured first, or noted.
//   I2  Each worker is arrived, away, missing, late or leader; the counts are
//       true.
//   I3  A worker is missing only if it was truly busy: whoever has come, or is
//       OUT for good, counts, in this meeting and in the next.
//   I4  Every request is answered once, by a meeting that closed after it was
//       made, or by an error; one thread conducts at a time.
//   I5  Nobody captures when the epoch is over.
//   I6  At rest there is no meeting, no epoch and no conductor.
//
//   P1  worker: presence = IN or OUT, or current = task, then loads
//       trace_asked; conductor: trace_asked = MEETING, then loads presence, and
//       the leader current. One sees the other.
//   P2  `inside` is counted, then `open` loaded; `open` cleared, then `inside`
//       loaded.
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef THREADS
#define THREADS 1
#endif
#define TASK THREADS // whose bit in the lists is that of the task that asks
#define ALL ((1 << WORKERS) - 1)
#define BIT(w) (1 << (w))
#define OUTSIDE 8 // and up: threads that lead; below: workers
#define NOBODY 15
#define COUNT(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1) + \
                  (((m) >> 3) & 1) + (((m) >> 4) & 1))
#define NONE 0
#define MEETING 1
#define CAPTURE 2

bit lock;          // the barrier's, where it is held for more than one step
byte trace_asked;  // read by workers without the lock
byte presence;     // a bit a worker: IN; each written by its worker alone
byte current;      // a bit a worker: it names a task
bit open;          // the epoch's
byte inside;
bit meeting;        // the meeting; this and all below under the lock
bit closed;        // not the barrier's `open`: nobody is waited for any more
byte ended;        // moves when a meeting ends; with `closed`, STARTED
byte arrived, narrived; // places and their count
byte away, naway;
byte missing;
byte leader = NOBODY;
bit conducted;
byte waiting;      // requests, until a leader takes them along
byte answered;     // requests that the present dump is for
byte handed = NOBODY; // the request whose thread shall conduct next
bit grown;         // the conductor's: the table outgrew the store
bit asked;         // the task has left the rest to its thread, which
bit proxy_conducts;
bit proxy_error;

byte standing;     // ghost: who truly stands at the start barrier
byte busy;         // ghost: who neither stands there nor is OUT for good
byte running;      // ghost: who is inside a task
byte noted;        // ghost: whose task the leader has seen
bit looked;        // ghost: the leader has seen all; the epoch is not open
byte capturing;    // ghost: who found the epoch open
byte conductors;   // ghost
byte late;         // ghost: requests made since the leader took them along
byte made, done;   // ghost: requests
bit has_failed, has_grown;
bit quiet;         // the program comes to rest

#define STARTED (ended + closed) // moves when a meeting closes
#ifdef IGNORE_MOVED
#define TIME_IS_UP(w) (arrived & BIT(w))
#else
#define TIME_IS_UP(w) (STARTED == gen)
#endif

// ---- The barrier ----

// `here`: a leader whose arrival is not, or no more, counted.
inline close_meeting(who, here)
{
    assert(meeting && !closed && leader == NOBODY);                  // I1
    closed = 1;
    leader = who;
    missing = ALL & ~(arrived | away | here);
    assert(narrived == COUNT(arrived) && naway == COUNT(away));     // I2
    assert(arrived == standing && !(arrived & away));               // I2
    assert(!(missing & ~busy));                                     // I3
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
    gen = 0;
    assert(missing)                                                 // I3
}

// ---- Leading ----

inline end_meeting()
{
    arrived = 0;
    narrived = 0;
    away = 0;
    naway = 0;
    missing = 0;
    leader = NOBODY;
    closed = 0;
    meeting = 0;
    ended++;
    grown = grows;
    grows = 0
}

inline open_epoch()
{
    open = 1; // P2
    d_step {
#ifndef OPEN_BEFORE_LOOK
        assert(!(running & ~noted) || trace_asked != MEETING);      // I1
#endif
        trace_asked = CAPTURE;
        looked = 0
    }
}

// Takes along who has asked until now; looks; opens the epoch; lets all go.
inline lead(who)
{
    d_step { !lock && leader == who ->
        answered = answered | waiting;
        waiting = 0;
        late = 0 };
#ifdef OPEN_BEFORE_LOOK
    open_epoch();
#endif
    do
    :: d_step { i < WORKERS && !(current & missing & BIT(i)) -> i++ } // P1
    :: i < WORKERS && (current & missing & BIT(i)) -> // P1
        d_step { !lock ->
#ifndef NOT_NOTED
            noted = noted | (missing & BIT(i));
#endif
            i++ }
    :: d_step { i == WORKERS -> i = 0; looked = 1 }; break
    od;
    assert(meeting && closed && leader == who && answered);          // I1
#ifndef OPEN_BEFORE_LOOK
    if
    :: true -> open_epoch()
#ifndef SOUND
    :: d_step { !has_grown ->
        has_grown = 1;
        grows = 1;
        looked = 0;
        trace_asked = NONE }
#endif
    fi;
#endif
    d_step { !lock -> end_meeting() }
}

// ---- Conducting ----

// The epoch is made; the workers are asked to come; the lock is given back.
inline begin()
{
    assert(!capturing && !open && trace_asked == NONE);             // I5
    if
#ifndef SOUND
    :: d_step { !has_failed -> has_failed = 1; error = 1 }
#endif
    :: d_step { !lock ->
        lock = 1;
        assert(!arrived && !away && !missing && !meeting);           // I2
        assert(!narrived && !naway && leader == NOBODY);            // I2
        meeting = 1 };
#ifndef LOOK_BEFORE_ASK
        trace_asked = MEETING; // P1
#endif
        do
        :: i < WORKERS && (presence & BIT(i)) -> i++ // P1
        :: d_step { i < WORKERS && !(presence & BIT(i)) ->
            away = away | BIT(i);
            naway++;
            i++ }
        :: d_step { i == WORKERS -> i = 0 }; break
        od;
#ifdef LOOK_BEFORE_ASK
        trace_asked = MEETING;
#endif
        lock = 0
    fi
}

inline hold_meeting()
{
    do
    :: d_step { !lock && !meeting } -> break
#ifndef NO_LAST_RESORT
    :: d_step { !lock && meeting && !closed && !arrived ->
        close_meeting(OUTSIDE + me, 0) }; // all away, or time is up
        lead(OUTSIDE + me)
#endif
    od
}

inline close_epoch()
{
#ifndef KEEP_ASKING
    trace_asked = NONE;
#endif
#ifdef CLEAR_LATE
    inside == 0;
    open = 0;
#else
    open = 0; // P2
    inside == 0; // P2
#endif
    assert(!capturing)                                              // I5
}

inline give_answers()
{
    if
#ifdef ANSWER_ALL
    :: true ->
#else
    :: error ->
#endif
        answered = answered | waiting;
        waiting = 0
    :: else
    fi;
    assert(error || !(answered & late));                            // I4
    assert(!(answered & done));                                     // I4
    done = done | answered;
    late = 0;
    answered = 0;
    error = 0
}

// Whoever is handed the rest is not among those who wait until it asks again.
inline hand_on()
{
    conductors--;
#ifdef FORGET_WAITING
    conducted = 0;
#else
    if
    :: waiting & BIT(0) -> handed = 0
    :: waiting & BIT(1) -> handed = 1
#if THREADS > 1
    :: waiting & BIT(2) -> handed = 2
#endif
    :: !waiting -> conducted = 0
    fi;
    if
    :: handed != NOBODY -> waiting = waiting & ~BIT(handed)
    :: else
    fi;
#ifdef TWO_CONDUCTORS
    conducted = 0;
#endif
#endif
    conducts = 0
}

inline answer()
{
    atomic { !lock -> give_answers(); hand_on() }
}

inline enlist(who, conducts)
{
    made = made | BIT(who);
    waiting = waiting | BIT(who);
    late = late | ((answered != 0) << who);
    conducts = !conducted;
    conducted = 1;
    conductors = conductors + conducts;
    assert(conductors <= 1)                                         // I4
}

// ---- Those who take part ----

inline begin_task()
{
    running = running | BIT(me);
    assert(!looked || (noted & BIT(me)));                           // I1
    assert(trace_asked != CAPTURE || captured || (noted & BIT(me))); // I1
    captured = 0
}

inline capture()
{
#ifdef ENTER_LATE
    if
    :: open ->
        inside++;
        captured = 1;
        capturing = capturing | BIT(me)
    :: !open -> inside++
    fi;
#else
    inside++; // P2
    if
    :: d_step { open -> captured = 1; capturing = capturing | BIT(me) } // P2
    :: !open
    fi;
#endif
    d_step { true ->
        capturing = capturing & ~BIT(me);
        inside-- }
}

proctype worker(byte me)
{
    byte gen, i;
    bit conducts, error, captured, grows;

end_out:
    if
    :: d_step { !quiet -> // unparked, by a wake-up or by an event
        presence = presence | BIT(me);
        busy = busy | BIT(me) }
    fi;

come_in:
    if
#ifdef NO_RECHECK_IN
    :: goto between
#endif
    :: trace_asked != MEETING -> goto between // P1
    :: trace_asked == MEETING -> goto meet
    fi;

between: // two tasks
    if
#ifdef CHECK_BEFORE_CURRENT
    :: !quiet && trace_asked == NONE ->
        d_step { true -> current = current | BIT(me); begin_task() };
        goto end_inside
#else
    :: d_step { !quiet ->
        assert(!closed || trace_asked != MEETING || (missing & BIT(me))); // I1
        current = current | BIT(me); // P1
        noted = noted & ~BIT(me) };
        goto commits
#endif
    :: presence = presence & ~BIT(me); goto go_out
    fi;

commits:
    if
    :: d_step { trace_asked == NONE -> begin_task() } // P1
    :: d_step { trace_asked == MEETING -> current = current & ~BIT(me) };
        goto meet
    :: trace_asked == CAPTURE ->
#ifndef NO_CAPTURE_FIRST
        capture();
#endif
        d_step { true -> begin_task() }
    fi;

end_inside: // a task, which takes, spawns and wakes as it likes
    if
    :: d_step { !quiet ->
        assert(!looked || (missing & noted & BIT(me)));             // I1
        running = running & ~BIT(me);
        noted = noted & ~BIT(me) };
        current = current & ~BIT(me);
        goto between
#ifndef NO_TASK
    :: d_step { !quiet && !lock && !(made & BIT(TASK)) -> // the task asks
        enlist(TASK, conducts) };
        if
        :: conducts -> begin()
        :: !conducts
        fi;
        d_step { true ->
            proxy_conducts = conducts;
            proxy_error = error;
            asked = 1;
            conducts = 0;
            error = 0 };
        goto end_inside
#endif
    fi;

go_out:
    if
#ifdef NO_RECHECK_OUT
    :: d_step { true -> busy = busy & ~BIT(me) }; goto end_out
#endif
    :: d_step { trace_asked != MEETING -> busy = busy & ~BIT(me) }; // P1
        goto end_out
    :: d_step { trace_asked == MEETING -> presence = presence | BIT(me) };
        goto come_in
    fi;

meet:
    if
    :: d_step { !lock && !meeting }; goto come_in
#ifdef COUNT_LATE
    :: d_step { !lock && meeting && closed -> gen = STARTED; arrive(me) };
        goto stand
#else
    :: d_step { !lock && meeting && closed -> // MISSING becomes LATE
        missing = missing & ~BIT(me);
        gen = ended };
        goto follow
#endif
    :: d_step { !lock && meeting && !closed &&
        narrived + naway + !(away & BIT(me)) < WORKERS ->
        gen = STARTED;
        arrive(me) };
        goto stand
    :: d_step { !lock && meeting && !closed &&
        narrived + naway + !(away & BIT(me)) >= WORKERS ->
        arrive(me);
        close_meeting(me, 0) };
        goto leads
    fi;

stand: // at the start barrier
    if
    :: d_step { !lock && STARTED != gen && (arrived & BIT(me)) && closed ->
        gen = ended };
        goto follow
    :: d_step { !lock && STARTED != gen && !((arrived & BIT(me)) && closed) ->
        gen = 0 };
        goto come_in
#ifdef CLOSE_UNLOCKED
    :: STARTED == gen -> d_step { !lock -> lead_late(me) }
#else
    :: d_step { !lock && TIME_IS_UP(me) -> lead_late(me) }
#endif
    fi;

leads:
    lead(me);
    goto come_in;

follow: // waits for the leader, as one who arrived or as one who came late
    if
    :: d_step { ended != gen -> gen = 0 }; goto come_in
    fi
}

// ask_as_thread; of TASK proxy_main.
proctype thread(byte me)
{
    byte i;
    bit conducts, error, grows;

end_unasked:
    if
    :: d_step { me < THREADS && !lock &&
        (made & ~BIT(TASK)) == BIT(me) - 1 -> // one by one
        enlist(me, conducts) };
        if
        :: conducts -> begin()
        :: !conducts
        fi
    :: d_step { me == TASK && asked ->
        conducts = proxy_conducts;
        error = proxy_error;
        proxy_conducts = 0;
        proxy_error = 0 }
    fi;
    if
    :: conducts
    :: d_step { !conducts && !lock && (done & BIT(me)) }; goto over
    :: d_step { !conducts && handed == me && !lock ->
        handed = NOBODY;
        waiting = waiting | BIT(me);
        conducts = 1;
        conductors++;
        assert(conductors == 1) };                                  // I4
        begin()
    fi;
    do
    :: error -> break
    :: !error ->
        hold_meeting();
        if
        :: d_step { grown -> grown = 0 }; begin()
        :: !grown -> break
        fi
    od;
#ifdef HAND_ON_EARLY
    answer();
    close_epoch();
#else
    if
    :: open -> close_epoch()
    :: !open // there is none: an error
    fi;
    answer();
#endif
    assert(done & BIT(me));                                         // I4
over:
    skip
}

init
{
    byte w;

    atomic {
        for (w : 0 .. WORKERS - 1) { run worker(w) }
        for (w : 0 .. THREADS) { run thread(w) }
        w = 0
    }
    quiet = 1;
    timeout;
    assert(!waiting && !answered && done == made);                  // I4
    assert(!meeting && !lock && !conducted && !conductors);          // I6
    assert(trace_asked == NONE && !open && !inside)                 // I6
}
