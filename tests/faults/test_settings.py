#!/usr/bin/env python3
# test_settings.py -- The tour and the tests under settings that break things.
#
# In a hostile build, where queues hold two, every operation yields and thieves
# search at random; on top of that one setting at a time, as kernels, filters
# and machines would have it, or nobody would. With --all the interface tests
# run under each setting, too.
import argparse
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import plan
import run
from tap_out import Tap

TREE = Path(os.environ.get("WEFT_TREE", "."))
HERE = TREE / "tests" / "faults"
JOBS = len(os.sched_getaffinity(0))
PARTS = ("tasks", "sync", "net", "dump", "names", "signal")


def always(name, error):
    return plan.rule(name, 1, 1, error)


OLD_GUARDS = always("guard_install", "EINVAL")

# Under this one a dump cannot be complete, and says so: the tour has errors,
# and tests that look into dumps are of no use.
FILTER = "an old kernel, and a strict filter"

# Name -> the calls that never work, and what is in the environment.
SETTINGS = {
    "as built": ([], {}),
    "guards by mprotect": ([OLD_GUARDS], {}),
    "no guards": ([OLD_GUARDS, always("mprotect", "ENOMEM")], {}),
    "no libdw": ([always("dlopen", "ENOENT")], {}),
    FILTER: (
        [always("membarrier", "EPERM"), always("epoll_pwait2", "ENOSYS"),
         always("getrandom", "EPERM"), always("process_vm_readv", "EPERM"),
         always("timer_create", "EAGAIN")], {}),
    "migration at every park": ([], {"WEFT_HOSTILE_MIGRATION": "1"}),
    "tiny stacks": ([], {"WEFT_HOSTILE_STACK": "16384"}),
    "1 worker": ([], {"WEFT_HOSTILE_WORKERS": "1"}),
    "64 workers": ([], {"WEFT_HOSTILE_WORKERS": "64"}),
}

# Interface tests that ask for what a setting takes away.
LEFT_OUT = {
    "no guards": {"test_overflow": "runs into guards"},
    "no libdw": dict.fromkeys(
        ("test_dump_content", "test_dump_print", "test_overflow",
         "test_trace"), "asks for lines of files"),
    "migration at every park": {
        "test_barrier": "knows who arrives last",
        "test_dump": "knows in which worker's queue a task is",
        "test_dump_content": "knows that a task has ended by now",
        "test_dump_moment": "knows that a join does not wait",
        "test_dump_queues": "knows the order of tasks in queues",
        "test_metrics": "makes queues overflow",
        "test_scope": "knows that the last child is gone by now"},
    "tiny stacks": dict.fromkeys(
        ("test_dump_content", "test_findings", "test_fork", "test_standing",
         "test_trace"), "has frames that need more"),
    "1 worker": dict.fromkeys(
        ("test_dump", "test_dump_content", "test_dump_print", "test_findings",
         "test_limits", "test_metrics"), "keeps one worker, uses another"),
    "64 workers": dict.fromkeys(
        ("test_dump", "test_dump_content", "test_dump_queues", "test_metrics",
         "test_standing", "test_standing_calls", "test_standing_signal"),
        "knows how many workers there are"),
}


def tour():
    return [[str(HERE / "tour"), part] for part in PARTS]


def interface_tests(setting):
    if setting == FILTER:
        return []
    left_out = LEFT_OUT.get(setting, {})
    return [[str(path)] for path in sorted(HERE.parent.glob("faulty-test_*"))
            if path.is_file()
            and path.name.removeprefix("faulty-") not in left_out]


def judge(argv, rules, extra, may_fail):
    """What is wrong with a run under a setting, as notes; None: nothing."""
    done = run.run(argv, rules, 120, {**extra, "WEFT_TEST_SCALE": "0.2",
                                      "CMOCKA_TEST_ABORT": "0"})
    bad = run.verdict(done)
    if bad is None and done.status != 0 and not may_fail:
        bad = f"exit status {done.status}"
    if bad is None:
        return None
    return [f"{bad}: {' '.join(argv)}"] + [
        f"  | {line}" for line in done.text.splitlines()[-25:]]


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="", help="part of a setting's name")
    options = parser.parse_args(arguments)
    tap = Tap()
    with ThreadPoolExecutor(JOBS) as pool:
        for name, (rules, extra) in SETTINGS.items():
            if options.only not in name:
                continue
            programs = tour() + (interface_tests(name) if options.all else [])
            for argv, notes in zip(programs, pool.map(
                    lambda argv: judge(argv, rules, extra, name == FILTER),
                    programs)):
                title = " ".join([Path(argv[0]).name, *argv[1:]])
                tap.case(notes is None, f"{name}: {title}", notes or [])
    return tap.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
