// epoch.pml -- The capture of tasks while they run: an epoch and its marks.
//
// SLOTS slots; WORKERS workers that run what is in them; OUTSIDERS threads that
// wake, spawn into a slot that is free, and release one whose task is DONE; one
// conductor, who holds EPOCHS meetings and captures; one more thread that takes
// shares. Mirrors task/task.h (S1, P3), task/waiter.c, publish and task_release
// of sched/spawn.c, commits and run of sched/worker.c, dump/capture.c,
// dump/epoch.c, the notes of dump/missing.c, begin, lead and close_epoch of
// dump/rendezvous.c, and base/limbo.c. The meeting is one whose time may be up
// at once: rendezvous.pml is about it. Each load and store of a word that
// others write meanwhile is a step.
//
// Of a slot there is the state (phase and count), the mark, the generation, the
// id, the saved stack, and memory that the task points to and frees when it
// runs. Its id is the generation that it was made with, its stack the count
// with which it was saved last: so a copy is true if all these agree.
//
//   I1  Who wins a claim has a true copy, of the task as it was when the epoch
//       was stored. A wake-up, a spawn and a release by one who loaded the
//       epoch before that may count as earlier, and as later.
//   I2  A task that lived then is recorded once; none that was born later.
//   I3  Nobody reads memory that has been freed.
//   I4  Nobody captures when the epoch is over.
#ifndef WORKERS
#define WORKERS 1
#endif
#ifndef SLOTS
#define SLOTS 1
#endif
#ifndef OUTSIDERS
#define OUTSIDERS 1
#endif
#ifndef EPOCHS
#define EPOCHS 2
#endif
#ifndef RUNS
#define RUNS 2 // of tasks, in all
#endif

#define FREE 0
#define NEW 1
#define READY 2
#define RUNNING 3
#define WAITING 4
#define DONE 5
#define NONE 0
#define MEETING 1
#define CAPTURE 2
#define WAITED 1
#define TAKEN 2
#define MARK(e, kind) ((e) * 4 + (kind))
#define MARK_EPOCH(mark) ((mark) / 4)
#define STATE(count, phase) ((count) * 8 + (phase))
#define COUNT(state) ((state) / 8)
#define PHASE(state) ((state) % 8)
#define NOBODY 15
#define BIT(s) (1 << (s))
#define STACK(state) (COUNT(state) * 2 + (PHASE(state) == NEW))
#define BLOCK(s, id) (1 << ((s) * 4 + (id)))

byte state[SLOTS], mark[SLOTS], gen[SLOTS], id[SLOTS], stack[SLOTS];
byte memory[SLOTS];   // what the task points to: its block, or 0
byte current[WORKERS]; // slot, or NOBODY
byte queued;          // slots in some queue
byte unused;          // slots in the free list
byte locked;          // slots whose lock is held to release them
byte task_epoch;      // task_epochs[tag]
byte trace_asked;
byte limbo;           // how many captures go on
byte graves;          // blocks to be freed then
bit open;
byte inside;
byte picture;         // the number of the epoch that is made
byte next, done;      // of the stretches

byte snap[SLOTS];     // ghost: the states when the epoch was stored
byte other[SLOTS];    // ghost: as good, for somebody was late
byte cut;             // ghost: the epoch of which these are
byte gone;            // ghost: slots that were released by one who was late
byte recorded;        // ghost: slots
byte noted;           // ghost: slots recorded by the leader
byte taken[SLOTS];    // ghost: the id that a worker took last, and 1
byte freed;           // ghost: blocks
byte standing;        // workers
byte capturers;       // ghost: who found the epoch open
byte runs;            // ghost: tasks that were begun

// The state changes by one who has loaded `ep` before: P3.
inline change(s, to)
{
    state[s] = to;
    if
    :: cut != 0 && ep != cut ->
        other[s] = to;
        gone = gone | ((PHASE(to) == FREE) << s)
    :: else
    fi
}

// ---- Capturing ----

inline record(s)
{
    its_state = (its_mark == MARK(picture, WAITED) ->
        STATE(COUNT(its_state), WAITING) : its_state);
    assert(its_state == snap[s] || its_state == other[s]);          // I1
    assert(its_stack == STACK(its_state) && its_gen == its_id);     // I1
    assert(!(recorded & BIT(s)) && !(noted & BIT(s)));              // I2
    assert(capturers);                                              // I4
    recorded = recorded | BIT(s)
}

// With the copy made; good: nothing in it shows that it is none.
inline claim(s)
{
    if
#ifdef CLAIM_BY_STORE
    :: d_step { true ->
#else
    :: d_step { mark[s] == its_mark ->
#endif
        record(s);
        mark[s] = MARK(picture, TAKEN);
        its_mark = MARK(picture, TAKEN) }
    :: d_step { mark[s] != its_mark -> its_mark = mark[s] }
    fi
}

// capture_task, by anyone.
inline capture(s)
{
    its_mark = mark[s];
    do
    :: its_mark == MARK(picture, TAKEN) -> break
    :: its_mark != MARK(picture, TAKEN) ->
        its_state = state[s];
        if
        :: PHASE(its_state) == FREE -> break
        :: PHASE(its_state) != FREE
        fi;
        its_stack = stack[s];
        its_gen = gen[s];
        its_memory = memory[s];
        its_id = id[s];
        assert(!its_memory || !(freed & BLOCK(s, its_memory - 1))); // I3
        if
        :: its_mark != MARK(picture, WAITED) && PHASE(its_state) == RUNNING ->
            d_step {
                assert(mark[s] != its_mark); // or it could not be read
                its_mark = mark[s] }
#ifndef DONE_UNCHECKED
        :: PHASE(its_state) == DONE && state[s] != its_state ->
            its_mark = mark[s]
        :: PHASE(its_state) == DONE && state[s] == its_state -> claim(s)
        :: PHASE(its_state) != DONE &&
#else
        ::
#endif
            (its_mark == MARK(picture, WAITED) || PHASE(its_state) != RUNNING)
            -> claim(s)
        fi
    od;
    atomic { its_mark = 0; its_state = 0; its_stack = 0; its_gen = 0;
        its_memory = 0; its_id = 0 }
}

// capture_task by the task's owner: nothing moves under his eyes.
inline capture_own(s)
{
    its_mark = mark[s];
    do
    :: its_mark == MARK(picture, TAKEN) -> break
    :: its_mark != MARK(picture, TAKEN) ->
        d_step {
            its_state = state[s];
            its_stack = stack[s];
            its_gen = gen[s];
            its_id = id[s] };
        claim(s)
    od;
    atomic { its_mark = 0; its_state = 0; its_stack = 0; its_gen = 0; its_id = 0 }
}

inline enter()
{
#ifdef ENTER_LATE
    is_open = open;
    d_step { true -> inside++; capturers = capturers + is_open }
#else
    inside++; // dump/rendezvous.c P3
    d_step { true -> is_open = open; capturers = capturers + open }
#endif
}

inline leave()
{
    d_step { true -> inside--; capturers = capturers - is_open; is_open = 0 }
}

inline enter_and_capture(s)
{
    enter();
    if
    :: is_open -> capture_own(s)
    :: !is_open
    fi;
    leave()
}

// A stretch is one slot.
inline share()
{
    d_step { true -> at = next; next = next + (next < SLOTS) };
    if
    :: at < SLOTS -> capture(at); done++
    :: at == SLOTS
    fi;
    at = 0
}

// ---- What changes tasks ----

// task_note_wait; `again` if the mark has changed meanwhile.
inline note_wait(s)
{
#ifdef NO_MARK_BY_WAKER
    skip
#else
    if
    :: d_step { ep != 0 && MARK_EPOCH(word) != ep && mark[s] == word ->
        mark[s] = MARK(ep, WAITED) }
#ifdef MARK_ONCE
    :: ep == 0 || MARK_EPOCH(word) == ep || mark[s] != word
#else
    :: ep == 0 || MARK_EPOCH(word) == ep
    :: ep != 0 && MARK_EPOCH(word) != ep && mark[s] != word -> goto again
#endif
    fi
#endif
}

// waiter_fire_word, with a ticket for the wait that ends.
inline wake(s)
{
    ep = 0;
again:
    word = mark[s];
#ifndef EPOCH_LOADED_LATE
    ep = task_epoch;
#endif
    if
    :: state[s] == ticket
    :: state[s] != ticket -> goto lost
    fi;
#ifdef EPOCH_LOADED_LATE
    ep = task_epoch;
#endif
#ifdef MARK_LOADED_LATE
    word = mark[s];
#endif
#ifndef MARK_AFTER
    note_wait(s);
#endif
    if
    :: d_step { state[s] == ticket ->
        change(s, STATE(COUNT(ticket), READY)) };
#ifdef MARK_AFTER
        note_wait(s);
#endif
        queued = queued | BIT(s)
    :: state[s] != ticket
    fi;
lost:
    skip
}

// task_release; the lock is held.
inline release(s)
{
    ep = task_epoch;
    if
#ifdef NO_CAPTURE_BY_RELEASE
    :: true
#else
    :: ep == 0 || mark[s] == MARK(ep, TAKEN)
    :: ep != 0 && mark[s] != MARK(ep, TAKEN) -> enter_and_capture(s)
#endif
    fi;
#ifdef GENERATION_FIRST
    gen[s]++;
#endif
    d_step { true -> change(s, STATE(COUNT(state[s]), FREE)) };
#ifndef GENERATION_FIRST
    gen[s]++;
#endif
    d_step { true -> locked = locked & ~BIT(s); unused = unused | BIT(s) }
}

// make and publish, of a slot that was taken from the free list.
inline spawn(s)
{
    stack[s] = COUNT(state[s]) * 2 + 1;
    memory[s] = gen[s] + 1;
    id[s] = gen[s];
    ep = task_epoch;
#ifndef NO_MARK_BY_SPAWNER
    if
    :: ep != 0 -> mark[s] = MARK(ep, TAKEN)
    :: ep == 0
    fi;
#endif
    d_step { true -> change(s, STATE(COUNT(state[s]), NEW)) };
    queued = queued | BIT(s)
}

// limbo_free, once nothing points to it any more.
inline free_memory(s)
{
    if
    :: memory[s] ->
        d_step { true -> block = BLOCK(s, memory[s] - 1); memory[s] = 0 };
        if
        :: limbo -> d_step {
            if
            :: limbo -> graves = graves | block
            :: else -> freed = freed | block
            fi }
        :: !limbo -> freed = freed | block
        fi;
        block = 0
    :: !memory[s]
    fi
}

// From a queue.
inline take(s)
{
    t = s;
    queued = queued & ~BIT(s);
    taken[s] = id[s] + 1;
    runs++
}

proctype worker(byte me)
{
    byte t, ep, block, its_mark, its_state, its_stack, its_gen, its_id;
    bit is_open;

end_idle:
    if
    :: d_step { runs < RUNS && (queued & BIT(0)) -> take(0) }
#if SLOTS > 1
    :: d_step { runs < RUNS && (queued & BIT(1)) -> take(1) }
#endif
    fi;
commits:
    current[me] = t; // sched/worker.c C3
    if
    :: trace_asked == NONE
    :: trace_asked == MEETING ->
        current[me] = NOBODY;
        standing = standing | BIT(me);
        d_step { trace_asked != MEETING -> standing = standing & ~BIT(me) };
        goto commits
    :: trace_asked == CAPTURE ->
#ifndef NO_BEFORE_RUN
        enter_and_capture(t)
#endif
    fi;
    state[t] = STATE(COUNT(state[t]) + 1, RUNNING);
    stack[t] = COUNT(state[t]) * 2;
    free_memory(t);
    if
    :: state[t] = STATE(COUNT(state[t]), READY); queued = queued | BIT(t)
    :: state[t] = STATE(COUNT(state[t]), WAITING)
    :: locked = locked | BIT(t); // it has ended
        state[t] = STATE(COUNT(state[t]), DONE);
#ifndef CURRENT_KEPT
        current[me] = NOBODY;
#endif
        if
        :: locked = locked & ~BIT(t) // somebody will join it
        :: release(t) // it was detached
        fi
    fi;
    current[me] = NOBODY;
    d_step { true -> t = 0; ep = 0 };
    goto end_idle
}

proctype outsider()
{
    byte s, ep, word, ticket, its_mark, its_state, its_stack, its_gen, its_id;
    bit is_open;

    s = 0;
#if SLOTS > 1
    if
    :: s = 0
    :: s = 1
    fi;
#endif
end_outside:
    if
    :: d_step { PHASE(state[s]) == WAITING -> ticket = state[s] };
        wake(s)
    :: d_step { PHASE(state[s]) == DONE && !(locked & BIT(s)) ->
        locked = locked | BIT(s) };
        release(s)
    :: d_step { unused & BIT(s) -> unused = unused & ~BIT(s) };
        spawn(s)
    fi
}

proctype sharer()
{
    byte at, its_mark, its_state, its_stack, its_gen, its_memory, its_id;
    bit is_open;

end_sharer:
    trace_asked == CAPTURE;
    enter();
    if
    :: is_open -> share()
    :: !is_open
    fi;
    leave();
    goto end_sharer
}

// ---- The conductor ----

inline note(s)
{
    assert(its_gen == its_id);                                      // I1
    assert(WORKERS > 1 || taken[s] > its_id);                       // I1
    assert(!(noted & BIT(s)));                                      // I2
    noted = noted | BIT(s)
}

// dump/missing.c.
inline look(w)
{
    at = current[w];
    if
    :: at == NOBODY || (standing & BIT(w))
    :: at != NOBODY && !(standing & BIT(w)) ->
#ifndef MISSING_UNMARKED
        its_gen = gen[at];
        if
#ifndef NOTED_UNCHECKED
        :: current[w] != at
        :: current[w] == at ->
#else
        :: true ->
#endif
            word = mark[at];
            if
            :: word == MARK(picture, TAKEN) -> goto noted_before
            :: word != MARK(picture, TAKEN)
            fi;
            mark[at] = MARK(picture, TAKEN);
            its_state = state[at];
            its_id = id[at];
            if
#ifndef NOTED_UNCHECKED
            :: gen[at] != its_gen || PHASE(its_state) == FREE -> mark[at] = word
            :: d_step { gen[at] == its_gen && PHASE(its_state) != FREE ->
                note(at) }
#else
            :: d_step { true -> note(at) }
#endif
            fi
        fi;
noted_before:
        atomic { its_gen = 0; its_state = 0; its_id = 0; word = 0 }
#endif
    fi;
    at = 0
}

inline take_snapshot()
{
    for (at : 0 .. SLOTS - 1) {
        snap[at] = state[at];
        other[at] = state[at]
    }
    at = 0;
    cut = picture
}

inline check_epoch()
{
    for (at : 0 .. SLOTS - 1) {
        assert((recorded | noted) & BIT(at) || PHASE(snap[at]) == FREE ||
            (gone & BIT(at)));                                      // I2
        snap[at] = 0;
        other[at] = 0
    }
    at = 0;
    gone = 0;
    recorded = 0;
    noted = 0
}

inline close_epoch()
{
#ifdef CLEAR_LATE
    inside == 0;
#endif
#ifndef CLOSE_LAST
    open = 0; // dump/rendezvous.c P3
#endif
    trace_asked = NONE;
    d_step { true -> task_epoch = 0; cut = 0 };
#ifdef CLOSE_LAST
    open = 0;
#endif
#ifndef CLEAR_LATE
    inside == 0; // dump/rendezvous.c P3
#endif
    assert(!capturers)                                              // I4
}

proctype conductor()
{
    byte at, word, w;
    byte its_mark, its_state, its_stack, its_gen, its_memory, its_id;

    do
    :: picture == EPOCHS -> break
    :: picture < EPOCHS ->
        d_step { true ->
            assert(!open && !capturers);                            // I4
            picture++;
            next = 0;
            done = 0 };
#ifndef LIMBO_LATE
        limbo++;
#endif
        trace_asked = MEETING;
        do
        :: w < WORKERS -> look(w); w++
        :: w == WORKERS -> break
        od;
#ifdef OPEN_SECOND
        atomic { w = 0; take_snapshot(); task_epoch = picture };
        open = 1;
#else
        atomic { w = 0; take_snapshot(); open = 1 };
        task_epoch = picture;
#endif
        trace_asked = CAPTURE;
#ifdef LIMBO_LATE
        limbo++;
#endif
        d_step { true -> capturers++ };
        do
        :: next < SLOTS -> share()
        :: next == SLOTS && done == SLOTS -> break
        od;
        capturers--;
        close_epoch();
        d_step { true ->
            limbo--;
            freed = freed | graves;
            graves = 0;
            check_epoch() }
    od
}

init
{
    byte s;

    atomic {
        for (s : 0 .. WORKERS - 1) { current[s] = NOBODY; run worker(s) }
        for (s : 0 .. SLOTS - 1) {
            memory[s] = 1;
            if
            :: unused = unused | BIT(s); memory[s] = 0; gen[s] = 1
            :: state[s] = STATE(0, NEW); stack[s] = 1; queued = queued | BIT(s)
            :: state[s] = STATE(0, WAITING)
            :: state[s] = STATE(0, DONE)
            fi
        }
        for (s : 1 .. OUTSIDERS) { run outsider() }
#ifdef SHARER
        run sharer();
#endif
        run conductor();
        s = 0
    }
}
