// idle_many.pml -- The handshake of idle.pml among many: workers are counted.
//
// Workers are alike, so it is enough to know how many stand at each point of
// their loop. That makes 4 and 5 workers, and more, as cheap as 2, and lets
// several search at once. Of the queues only inject is modelled, and a task
// that an event brings to the worker that it wakes. Each turn of the loop is
// one step of one worker, or of the outside; the laws are those of idle.pml.
//
//   I1  At rest no task is queued while a worker sleeps.
//   I2  sleepers + awake == workers; searching counts those who search.
#ifndef WORKERS
#define WORKERS 4
#endif
#define INJECT_MAX 3

byte inject;
byte awake = WORKERS, searching; // the state word

byte finding = WORKERS; // looks into inject, not searching
byte finding_s;         // the same, searching
byte trying;            // found nothing; asks to search
byte scanning;          // searches
byte got;               // has a task, still counted as searching
byte telling;           // was the last searcher; to notify
byte running;           // in a task
byte spawned;           // its task has pushed; to notify
byte hung;              // in a task for ever
byte resting;           // to enter the sleepers
byte resting_s;         // the same, searching
// In the set of sleepers (_l) or picked out of it (_p):
byte looking_l, looking_p; // looks at inject once more
byte found_l, found_p;     // found something; to notify
byte asleep_l, asleep_p;
byte woken_l, woken_p;     // by an event, with a task of its own
bit pushed;                // outside: to notify
bit quiet;                 // the program comes to rest

#define MAY_PICK (searching == 0 && awake < WORKERS)
#define LISTED (looking_l + found_l + asleep_l + woken_l)
#define SEARCHERS (finding_s + scanning + got + resting_s + \
                   looking_p + found_p + asleep_p + woken_p)

inline move(from, to)
{
    from--;
    to++
}

inline pick(from, to)
{
    MAY_PICK && from > 0 -> move(from, to);
    awake++;
    searching++
}

inline notify()
{
    if
    :: !MAY_PICK
    :: pick(looking_l, looking_p)
    :: pick(found_l, found_p)
    :: pick(asleep_l, asleep_p)
    :: pick(woken_l, woken_p)
    fi
}

#ifdef SEARCHERS_ONLY
#define enter_unsearching() move(resting, asleep_l)
#else
#define enter_unsearching() move(resting, looking_l)
#endif
#ifdef NO_LAST_LOOK
#define enter_searching() move(resting_s, asleep_l)
#else
#define enter_searching() move(resting_s, looking_l)
#endif

inline find_and_search()
{
    if
    :: finding > 0 && inject > 0 -> inject--; move(finding, running)
    :: finding > 0 && inject == 0 -> move(finding, trying)
    :: finding_s > 0 && inject > 0 -> inject--; move(finding_s, got)
    :: finding_s > 0 && inject == 0 -> move(finding_s, scanning)
    :: trying > 0 && 2 * searching < WORKERS ->
        searching++;
        move(trying, scanning)
    :: trying > 0 && 2 * searching >= WORKERS -> move(trying, resting)
    :: scanning > 0 && inject > 0 -> inject--; move(scanning, got)
    :: scanning > 0 && inject == 0 -> move(scanning, resting_s)
    :: got > 0 ->
        searching--;
        if
        :: searching == 0 -> move(got, telling)
        :: searching > 0 -> move(got, running)
        fi
#ifdef END_UNTOLD
    :: telling > 0 -> move(telling, running)
#else
    :: telling > 0 -> notify(); move(telling, running)
#endif
    fi
}

inline run_tasks()
{
    if
    :: running > 0 && !quiet && inject < INJECT_MAX ->
        inject++;
        move(running, spawned)
    :: spawned > 0 -> notify(); move(spawned, running)
    :: running > 0 -> move(running, finding)
    :: running > 0 && quiet -> move(running, hung)
    fi
}

inline rest_and_wake()
{
    if
    :: resting > 0 -> awake--; enter_unsearching()
    :: resting_s > 0 ->
        awake--;
        searching--;
        if
        :: searching == 0 -> enter_searching()
#ifdef SEARCHERS_ONLY
        :: searching > 0 -> move(resting_s, asleep_l)
#else
        :: searching > 0 -> enter_searching()
#endif
        fi
    :: looking_l > 0 && inject > 0 -> move(looking_l, found_l)
    :: looking_l > 0 && inject == 0 -> move(looking_l, asleep_l)
    :: looking_p > 0 && inject > 0 -> move(looking_p, found_p)
    :: looking_p > 0 && inject == 0 -> move(looking_p, asleep_p)
    :: found_l > 0 && !MAY_PICK -> move(found_l, asleep_l)
    :: found_l > 0 && MAY_PICK ->
        found_l--;
        if
        :: LISTED > 0 -> notify(); asleep_l++
        :: awake++; searching++; asleep_p++ // picks itself
        fi
    :: found_p > 0 -> move(found_p, asleep_p) // searches: none to pick
    :: asleep_p > 0 -> move(asleep_p, finding_s)
    :: asleep_l > 0 && !quiet -> move(asleep_l, woken_l)
    :: asleep_p > 0 && !quiet -> move(asleep_p, woken_p)
    :: woken_l > 0 -> awake++; move(woken_l, running)
    :: woken_p > 0 -> move(woken_p, got)
    fi
}

init
{
    do
    :: atomic {
        if
        :: find_and_search()
        :: run_tasks()
        :: rest_and_wake()
        :: !quiet && !pushed && inject < INJECT_MAX -> inject++; pushed = 1
        :: pushed -> notify(); pushed = 0
        :: !quiet -> quiet = 1
        :: else -> break
        fi;
        assert(LISTED + awake == WORKERS && searching == SEARCHERS) } // I2
    od;
    assert(hung + asleep_l == WORKERS && searching == 0);           // I2
    assert(inject == 0 || asleep_l == 0)                            // I1
}
