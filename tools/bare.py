#!/usr/bin/env python3
# bare.py -- What serving dumps costs while none is taken: `./dev bare`.
#
# Measures the release build and one without all that serves dumps alone, in
# turn, each run a process of its own: processor time, one worker. The two runs
# of a round are a pair, and its first is the other's the next time, so that
# what else the machine does falls on both alike. Of a figure the median over
# all rounds is shown, and the quartiles of the pairs' ratios with theirs.
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import build

NAMES = ["yield", "chan-pingpong", "spawn-join", "mutex"]
PAIR = ["release", "bare"]


def measure(variant, path):
    """One run of each point: label -> ns."""
    program = build.directory(variant) / "bench" / "weft-bench"
    subprocess.run([program, *NAMES, "--cpu", "--workers=1", "--runs=1",
                    f"--json={path}"], check=True, stdout=subprocess.DEVNULL)
    return {label(row): row["median"]
            for row in json.loads(path.read_text())}


def label(row):
    params = {key: value for key, value in row["params"].items()
              if key != "workers"}
    return " ".join([row["name"], *(f"{k}={v}" for k, v in params.items())])


def report(runs):
    """`runs`: for each round, the figures of the release and the bare build."""
    print(f"{'':24}{'release':>9}{'bare':>9}{'cost':>8}{'quartiles':>18}")
    for point in runs[0][0]:
        ratios = [100 * (one[point] / bare[point] - 1) for one, bare in runs]
        low, median, high = statistics.quantiles(ratios, n=4)
        ns = [statistics.median(run[side][point] for run in runs)
              for side in range(2)]
        print(f"{point:24}{ns[0]:9.1f}{ns[1]:9.1f}{median:+7.1f}%"
              f"{low:+9.1f}{high:+8.1f}%")


def main(rounds):
    wishes = [f"{variant}:bench/weft-bench" for variant in PAIR]
    status = build.main(wishes)
    if status != 0:
        return status
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "run.json"
        for index in range(rounds):
            order = PAIR if index % 2 == 0 else PAIR[::-1]
            found = {variant: measure(variant, path) for variant in order}
            runs.append([found[variant] for variant in PAIR])
    report(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
