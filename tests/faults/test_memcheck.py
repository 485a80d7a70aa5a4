#!/usr/bin/env python3
# test_memcheck.py -- The tour, examples and tests under Valgrind's memcheck.
#
# It is told of every stack that tasks run on (src/task/fiber.h), and of nothing
# to be overlooked: there are no suppressions. A definite leak is an error, too.
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import run
from tap_out import Tap

TREE = Path(os.environ.get("WEFT_TREE", "."))
JOBS = len(os.sched_getaffinity(0))
FOUND = 95

VALGRIND = ["valgrind", "-q", f"--error-exitcode={FOUND}", "--leak-check=full",
            "--errors-for-leak-kinds=definite", "--fair-sched=yes",
            "--trace-children=no"]

TOUR = [["tests/faults/tour-plain", part]
        for part in ("tasks", "sync", "net", "dump", "names", "signal")]
EXAMPLES = [["examples/hello"], ["examples/shop"]]
TESTS = [[f"tests/interface_test_{name}"] for name in (
    "barrier", "cancel", "channel", "cond", "event", "metrics", "mutex",
    "net", "once", "rwlock", "scope", "semaphore", "task", "waitgroup")] + [
    [f"tests/unit_test_{name}"] for name in (
        "barrier", "driver", "fd", "findings", "idle", "inject", "list",
        "lock", "map", "park", "queue", "report", "stats", "switch",
        "symbols", "symtab", "timer", "waiter", "words")]


def judge(argv):
    done = run.run([*VALGRIND, str(TREE / argv[0]), *argv[1:]], limit_s=600,
                   extra={"WEFT_TEST_SCALE": "0.02", "WEFT_FAULT": "",
                          "CMOCKA_TEST_ABORT": "0"})
    # Valgrind keeps signals from running tasks, so that dumps are incomplete:
    # which the tour calls errors.
    told = argv[-1] == "dump" and "it blocks SIGURG" in done.text
    good = not done.timed_out and (done.status == 0
                                   or (told and done.status == 1))
    return good, [] if good else [f"| {line}" for line in
                                  done.text.splitlines()[-40:]]


def main():
    tap = Tap()
    programs = TOUR + EXAMPLES + TESTS
    with ThreadPoolExecutor(JOBS) as pool:
        for argv, (good, notes) in zip(programs, pool.map(judge, programs)):
            tap.case(good, f"memcheck: {' '.join(argv)}", notes)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
