#!/usr/bin/env python3
# test_examples.py -- The small examples print what their first lines promise.
#
# An example whose head says `Prints:` is run with one worker and with as many
# as there are processors, and must print just that, end well, and stay below
# a hundred lines. Programs are those of $WEFT_TREE/examples. Prints TAP.
import os
import re
import subprocess
import sys
from pathlib import Path

SOURCES = Path(os.environ.get("WEFT_SOURCE", ".")) / "examples"
PROGRAMS = Path(os.environ.get("WEFT_TREE", "build/release")) / "examples"
MOST_LINES = 99
PROMISE = re.compile(r"^// Prints: (.*(?:\n//         .*)*)", re.M)


def promise(source):
    """What the head of an example says that it prints, or None."""
    match = PROMISE.search(source.read_text())
    return match and match[1].replace("\n//         ", "\n") + "\n"


def one_processor():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def attempt(source, expected, prepare):
    """Runs an example: what is wrong, line by line."""
    done = subprocess.run([PROGRAMS / source.stem], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", preexec_fn=prepare)
    if done.returncode != 0:
        yield f"exit status {done.returncode}"
    if done.stdout != expected:
        yield "printed:"
        yield from (f"  {line}" for line in done.stdout.splitlines())
        yield "promised:"
        yield from (f"  {line}" for line in expected.splitlines())


def length(source):
    lines = source.read_text().count("\n")
    if lines > MOST_LINES:
        yield f"{lines} lines"


def main():
    cases = []
    for source in sorted(SOURCES.glob("*.c")):
        if expected := promise(source):
            cases += [(f"{source.stem}: one worker", attempt,
                       (source, expected, one_processor)),
                      (f"{source.stem}: all workers", attempt,
                       (source, expected, None)),
                      (f"{source.stem}: is short", length, (source,))]
    print(f"1..{len(cases)}", flush=True)
    failed = 0
    for number, (name, check, arguments) in enumerate(cases, 1):
        wrong = list(check(*arguments))
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} - {name}", flush=True)
        for line in wrong:
            print(f"# {line}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
