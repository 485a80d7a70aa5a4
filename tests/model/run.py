#!/usr/bin/env python3
# run.py -- Checks the Promela models with Spin: whole searches, printed as TAP.
#
# A good model must have no error, its search must be complete, and every
# statement must be reached, save the ends listed in NEVER_ENDS. Spin does not
# count what is inside a d_step, so reach is checked with each d_step compiled
# as an atomic sequence, without merged statements. A broken model must fail,
# by an assertion or a dead end, or the good ones prove nothing.
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# Model, workers, depth of the search, definitions.
GOOD = [
    ("idle", 3, 1000000, ["LOCAL_MAX=0"]),
    ("rendezvous", 2, 20000, []),
    ("rendezvous", 3, 20000, ["NO_TASK"]),
    ("epoch", 1, 20000, ["EPOCHS=1", "SHARER"]),
    ("epoch", 1, 20000, ["EPOCHS=1", "SLOTS=2", "RUNS=1"]),
    ("rendezvous", 2, 20000, ["NO_TASK", "THREADS=2"]),
    ("epoch", 1, 20000, ["EPOCHS=1", "OUTSIDERS=2", "RUNS=1"]),
    ("epoch", 2, 20000, ["EPOCHS=1"]),
    ("epoch", 1, 20000, []),
    ("idle", 2, 100000, []),
    ("idle_many", 4, 500000, []),
    ("idle_many", 5, 500000, []),
    ("park", 2, 50000, []),
    ("park", 3, 500000, []),
]

# Model, workers and definitions for which every statement must be reached.
REACH = [
    ("rendezvous", 2, []),
    ("epoch", 1, ["SHARER", "RUNS=1"]),
    ("idle", 2, []),
    ("idle_many", 4, []),
    ("park", 2, []),
]

# Model, workers, what breaks it and other definitions, what is broken.
BROKEN = [
    ("rendezvous", 2, "KEEP_ARRIVAL", "arrival not taken back"),
    ("rendezvous", 2, "IGNORE_MOVED", "moved generation ignored"),
    ("rendezvous", 2, "CLOSE_UNLOCKED", "time-out decided without the lock"),
    ("rendezvous", 2, "COUNT_BOTH", "arrived and still counted away"),
    ("rendezvous", 2, "COUNT_LATE", "arrival counted after closing"),
    ("rendezvous", 2, "NO_RECHECK_IN", "flag not looked at on coming in"),
    ("rendezvous", 2, "NO_RECHECK_OUT", "flag not looked at on going out"),
    ("rendezvous", 2, "CHECK_BEFORE_CURRENT", "flag looked at too early"),
    ("rendezvous", 2, "LOOK_BEFORE_ASK", "presence looked at too early"),
    ("rendezvous", 2, "NO_CAPTURE_FIRST", "task begun without capture"),
    ("rendezvous", 2, "NOT_NOTED", "task of a missing worker not noted"),
    ("rendezvous", 2, "OPEN_BEFORE_LOOK", "epoch open before tasks are noted"),
    ("rendezvous", 2, "ANSWER_ALL", "late request given the old dump"),
    ("rendezvous", 2, "NO_LAST_RESORT", "no leader outside"),
    ("rendezvous", 2, "FORGET_WAITING", "conductor does not hand on"),
    ("rendezvous", 2, "TWO_CONDUCTORS THREADS=2 SOUND", "free while handed on"),
    ("rendezvous", 2, "HAND_ON_EARLY", "handed on before the epoch's end"),
    ("rendezvous", 2, "KEEP_ASKING", "flag not cleared at the epoch's end"),
    ("rendezvous", 2, "CLEAR_LATE", "inside looked at before open is cleared"),
    ("rendezvous", 2, "ENTER_LATE", "inside counted after looking at open"),
    ("epoch", 1, "NO_MARK_BY_WAKER", "no mark by the waker"),
    ("epoch", 1, "MARK_AFTER", "mark after the wake-up"),
    ("epoch", 1, "MARK_LOADED_LATE", "mark loaded after the epoch"),
    ("epoch", 1, "MARK_ONCE", "mark not tried again"),
    ("epoch", 1, "EPOCH_LOADED_LATE OUTSIDERS=2 EPOCHS=1 RUNS=1",
     "epoch loaded after the state"),
    ("epoch", 1, "NO_BEFORE_RUN", "task run without capture"),
    ("epoch", 1, "CLAIM_BY_STORE", "claim by a plain store"),
    ("epoch", 1, "NO_MARK_BY_SPAWNER", "no mark by the spawner"),
    ("epoch", 1, "NO_CAPTURE_BY_RELEASE", "slot freed without capture"),
    ("epoch", 1, "DONE_UNCHECKED", "ended task not looked at again"),
    ("epoch", 1, "GENERATION_FIRST", "generation grows before FREE"),
    ("epoch", 1, "MISSING_UNMARKED", "task of a missing worker not marked"),
    ("epoch", 1, "NOTED_UNCHECKED", "task of a missing worker not checked"),
    ("epoch", 1, "CURRENT_KEPT", "current names a slot that may be another's"),
    ("epoch", 1, "LIMBO_LATE EPOCHS=1 SHARER", "limbo after the epoch opens"),
    ("epoch", 1, "OPEN_SECOND", "epoch shown before it is open"),
    ("epoch", 1, "CLOSE_LAST", "epoch hidden before it is closed"),
    ("epoch", 1, "CLEAR_LATE", "inside looked at before open is cleared, too"),
    ("epoch", 1, "ENTER_LATE", "inside counted after looking at open, too"),
    ("idle", 2, "LISTED_TWICE", "sleeper listed twice"),
    ("idle", 2, "KEEP_SEARCHING", "searching count leaks"),
    ("idle", 2, "NO_LAST_LOOK", "no look after going to sleep"),
    ("idle", 2, "SEARCHERS_ONLY", "only the last searcher looks again"),
    ("idle", 2, "END_UNTOLD", "last searcher tells nobody of work"),
    ("idle", 2, "TURN_UNTOLD", "inject's turn taken, local queue untold"),
    ("idle", 2, "EVENT_UNTOLD", "event's task untold behind another"),
    ("idle", 2, "BATCH_UNTOLD", "surplus of a batch untold"),
    ("idle", 2, "NOTIFY_FIRST", "notified before the push"),
    ("idle_many", 4, "NO_LAST_LOOK", "no last look, among many"),
    ("idle_many", 4, "SEARCHERS_ONLY", "only searchers look, among many"),
    ("idle_many", 4, "END_UNTOLD", "last searcher silent, among many"),
    ("park", 2, "SLEEP_UNSEEN", "notification before the sleep unseen"),
    ("park", 2, "NO_RING", "eventfd not rung"),
]

# Processes that run for ever, and so never reach their last brace.
NEVER_ENDS = {
    "worker": "sleeps, waits or runs a task at the end",
    "outside": "may always push more",
    "sharer": "waits for the next capture",
    "waker": "may always wake more",
}

TIMEOUT = 300


def command(arguments, where):
    return subprocess.run(
        arguments, cwd=where, timeout=TIMEOUT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def search(model, workers, depth, definitions, reach=False, optimize="-O2"):
    """Returns what Spin's verifier printed."""
    source = os.path.join(HERE, model + ".pml")
    defines = [f"-DWORKERS={workers}"] + ["-D" + d for d in definitions]
    if reach:
        defines = ["-o3", "-Dd_step=atomic"] + defines
    with tempfile.TemporaryDirectory() as where:
        for step in (["spin", *defines, "-a", source],
                     ["cc", optimize, "-w", "-DSAFETY", "-DCOLLAPSE",
                      "-o", "pan", "pan.c"]):
            done = command(step, where)
            if done.returncode != 0:
                raise RuntimeError(" ".join(step) + "\n" + done.stdout)
        return command(["./pan", f"-m{depth}", "-w22"], where).stdout


def unreached(output):
    """The statements that no execution came to, but for the allowed ends."""
    found, process = [], None
    for line in output.splitlines():
        if match := re.match(r"unreached in (?:proctype )?(\S+)", line):
            process = match[1]
        elif match := re.search(r"\.pml:(\d+), state \d+, (.*)", line):
            if match[2] != '"-end-"' or process not in NEVER_ENDS:
                found.append(f"{process}, line {match[1]}: {match[2]}")
    if "unreached in init" not in output:
        found.append("no report of reach")
    return found


def faults(output):
    """Why this is not the whole search of a model without errors."""
    found = re.findall(r"pan:.*(?:violated|invalid|error).*", output)
    if "errors: 0" not in output:
        found.append("errors found, or no result")
    for sign in ("max search depth too small", "Search not completed",
                 "out of memory", "reached -DMEMLIM", "truncated"):
        if sign in output:
            found.append(sign)
    return found


def states(output):
    match = re.search(r"(\d+) states, stored", output)
    return f"{int(match[1]):,} states" if match else "no count"


def check_good(model, workers, depth, definitions):
    output = search(model, workers, depth, definitions)
    return faults(output), states(output)


def check_reach(model, workers, definitions):
    output = search(model, workers, 1000000, definitions, reach=True)
    return faults(output) + unreached(output), states(output)


def check_broken(model, workers, definitions):
    output = search(model, workers, 1000000, definitions.split(),
                    optimize="-O0")  # an error is near: compiling is the cost
    match = re.search(r"pan:\d+: (assertion violated|invalid end state).*",
                      output)
    if match is None:
        return ["Spin finds no error"], states(output)
    return [], f"fails as it must: {match[1]}"


def tests():
    for model, workers, depth, definitions in GOOD:
        yield (" ".join([model, str(workers), "workers", *definitions]),
               check_good, (model, workers, depth, definitions))
    for model, workers, definitions in REACH:
        yield (f"{model} {workers} workers, all statements reached",
               check_reach, (model, workers, definitions))
    for model, workers, definitions, what in BROKEN:
        yield f"{model} broken: {what}", check_broken, (
            model, workers, definitions)


def attempt(check, arguments):
    try:
        return check(*arguments)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        return [str(error)], "not run"


def main():
    every = list(tests())
    failed = 0
    print(f"1..{len(every)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(attempt, check, arguments)
                   for _, check, arguments in every]
        for number, (test, future) in enumerate(zip(every, futures), 1):
            found, note = future.result()
            failed += bool(found)
            print(f"{'not ok' if found else 'ok'} {number} - "
                  f"model: {test[0]} # {note}", flush=True)
            for line in found:
                print("# " + line.replace("\n", "\n# "), flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
