#!/usr/bin/env python3
# test_memory.py -- The tour in processes that may map or write little memory.
#
# Not under a sanitizer, whose own memory counts, too. With less than a tour
# needs it has errors, which it tells; however little there is, it ends.
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import hardships
import run
from tap_out import Tap

TREE = Path(os.environ.get("WEFT_TREE", "."))
JOBS = len(os.sched_getaffinity(0))
PROGRAM = TREE / "tests" / "faults" / "tour-plain"
PARTS = ("tasks", "sync", "net", "dump", "names", "signal")

# Megabytes. The program itself cannot be loaded with less than the first; with
# the last, each part has all it needs.
ADDRESSES = [*range(4, 40, 2), *range(60, 1000, 30), 2048]
DATA = [*range(1, 16), *range(16, 800, 32), 2048]


def attempt(part, what, mb):
    """What is wrong with a run under one limit, with the end of what it said,
    and its status."""
    done = run.run([str(PROGRAM), part], limit_s=60,
                   **hardships.limit(what, mb << 20))
    bad = run.verdict(done)
    if bad is None and done.status not in (0, 1):
        bad = f"exit status {done.status}"
    if bad is None:
        return [], done.status
    return [f"{what} {mb} MB: {bad}",
            *(f"  | {line}" for line in done.text.splitlines()[-15:])], 1


def case(tap, pool, part, what, limits):
    runs = list(pool.map(lambda mb: attempt(part, what, mb), limits))
    notes = [line for lines, _ in runs for line in lines]
    statuses = {status for _, status in runs}
    if statuses != {0, 1}:
        notes.append(f"some limits should be too low, others not: {statuses}")
    tap.case(not notes, f"tour {part}: {what}, {len(runs)} limits", notes)


def main():
    tap = Tap()
    with ThreadPoolExecutor(JOBS) as pool:
        for part in PARTS:
            case(tap, pool, part, "as", ADDRESSES)
            case(tap, pool, part, "data", DATA)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
