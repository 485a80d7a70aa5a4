#!/usr/bin/env python3
# counting.py -- ./dev test counts truly: each way a program can end, tried.
#
# Every entry is a shell program and what must be made of it: how many cases
# passed, failed and were skipped, and a word that the verdict must contain.
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import tap  # noqa: E402

PROGRAMS = {
    "all pass": (
        "echo 1..2; echo ok 1 - a; echo ok 2 - b", (2, 0, 0), ""),
    "one fails": (
        "echo 1..2; echo ok 1 - a; echo not ok 2 - b; exit 1", (1, 1, 0), "b"),
    "one fails, exit status 0": (
        "echo 1..1; echo not ok 1 - b", (0, 1, 0), "b"),
    "a skip as TAP has it": (
        "echo 1..1; echo 'ok 1 - a # SKIP no kernel'", (0, 0, 1), "no kernel"),
    "a skip as cmocka has it": (
        "echo 1..1; echo skip: too old; echo 'not ok 1 # SKIP a'",
        (0, 0, 1), "too old"),
    "a skip without a reason": (
        "echo 1..1; echo 'not ok 1 # SKIP a'", (0, 0, 1), "no reason given"),
    "a reason is for one skip only": (
        "echo 1..3; echo skip: old; echo 'not ok 1 # SKIP a'; echo ok 2 - b;"
        "echo 'not ok 3 # SKIP c'", (1, 0, 2), "no reason given"),
    "all skipped by the plan": (
        "echo '1..0 # SKIP no machine'", (0, 0, 1), "no machine"),
    "all skipped by status 77": (
        "echo skip: no network; exit 77", (0, 0, 1), "no network"),
    "two groups, two plans": (
        "echo 1..1; echo ok 1 - a; echo 1..1; echo ok 1 - b", (2, 0, 0), ""),
    "the plan at the end": (
        "echo ok 1 - a; echo ok 2 - b; echo 1..2", (2, 0, 0), ""),
    "crashed in mid-plan": (
        "echo 1..3; echo ok 1 - a; kill -SEGV $$", (1, 1, 0), "SIGSEGV"),
    "crashed after its last case": (
        "echo 1..1; echo ok 1 - a; kill -ABRT $$", (1, 1, 0), "SIGABRT"),
    "crashed after a case had failed": (
        "echo 1..3; echo not ok 1 - a; kill -SEGV $$", (0, 2, 0), "SIGSEGV"),
    "left in mid-plan with status 0": (
        "echo 1..3; echo ok 1 - a", (1, 1, 0), "stopped after 1 of 3"),
    "a bad status though all passed": (
        "echo 1..1; echo ok 1 - a; exit 66", (1, 1, 0), "exit status 66"),
    "no case at all": ("true", (0, 1, 0), "ran no test case"),
    "a plan of no cases": ("echo 1..0", (0, 1, 0), "ran no test case"),
    "cases without a plan": ("echo ok 1 - a", (1, 1, 0), "no plan"),
    "hung": ("echo 1..2; echo ok 1 - a; sleep 60", (1, 1, 0), "hung"),
    "talk beside the cases": (
        "echo 1..1; echo okay then; echo ok 1 - a; echo not yet; echo no >&2",
        (1, 0, 0), ""),
}


def verdict(result):
    return " ".join(result.failed + [why for _, why in result.skipped])


def judge(name, script, counts, word):
    """What is wrong with the count of a program, or None."""
    result = tap.run(name, ["sh", "-c", script], dict(os.environ), ".", 3)
    found = len(result.passed), len(result.failed), len(result.skipped)
    if found != counts:
        return f"counted {found}, not {counts}"
    if word not in verdict(result):
        return f"said `{verdict(result)}`, without `{word}`"
    return None


def survivor():
    """A program's children do not outlive it."""
    result = tap.run("survivor", ["sh", "-c", "sleep 60 & echo child $!;"
                                  "echo 1..1; echo ok 1 - a"],
                     dict(os.environ), ".", 30)
    pid = int(result.output.split()[1])
    for _ in range(100):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        if "\nState:\tZ" in status:
            return None
        time.sleep(0.02)
    return f"process {pid} is still there"


def main():
    checks = {name: (lambda entry=entry, name=name: judge(name, *entry))
              for name, entry in PROGRAMS.items()}
    checks["children end with their program"] = survivor
    print(f"1..{len(checks)}")
    failed = 0
    for number, (name, check) in enumerate(checks.items(), 1):
        problem = check()
        failed += problem is not None
        print(f"{'not ' if problem else ''}ok {number} - {name}", flush=True)
        if problem:
            print(f"# {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
