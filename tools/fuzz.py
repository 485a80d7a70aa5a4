#!/usr/bin/env python3
# fuzz.py -- `./dev fuzz`: runs the fuzz targets under libFuzzer, and counts.
#
# Each target begins with its corpus in tests/fuzz/corpus/NAME and with what
# earlier runs have found, which is kept in the build tree. An input that makes
# one fail is kept there too, and how to repeat it is said. With --keep the
# corpus becomes the fewest inputs that reach all that is reached.
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build

# Target -> its share of the executions, in percent, by how fast it is and how
# much there is to find; and the longest input.
TARGETS = {
    "reader": (14, 512),
    "cfi": (16, 1024),
    "core": (4, 4096),
    "unwind": (20, 4096),
    "elf": (12, 8192),
    "path": (8, 512),
    "settings": (8, 512),
    "names": (8, 512),
    "resp": (8, 2048),
    "dump": (1, 2048),
    "symbols": (1, 32768),
}

# Here libFuzzer also keeps inputs that bring two compared values nearer to each
# other. Not of those whose inputs have no words to be guessed, where that costs
# a third of the time.
BY_VALUES = set(TARGETS) - {"core"}

TREE = build.directory("fuzz")
CORPUS = build.ROOT / "tests" / "fuzz" / "corpus"
INPUT_S = 20  # no input may take longer
MEMORY_MB = 2048
KEPT_FILES = 120  # of a target in the repository, at most

ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:symbolize=1",
           UBSAN_OPTIONS="print_stacktrace=1", LC_ALL="C.UTF-8")

DONE = re.compile(r"^Done (\d+) runs in", re.M)
COVERED = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")


def program(name):
    return TREE / "tests" / "fuzz" / f"fuzz-{name}"


def found_dir(name):
    path = build.BUILD / "fuzz-corpus" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def failures_dir():
    path = build.BUILD / "fuzz-failures"
    path.mkdir(parents=True, exist_ok=True)
    return path


class Outcome:
    """What the run of one target came to."""

    def __init__(self, name, output, status, seconds):
        self.name = name
        self.output = output
        self.seconds = seconds
        done = DONE.search(output)
        self.runs = int(done[1]) if done else 0
        self.covered = COVERED.findall(output)
        self.failed = status != 0 or not done
        self.inputs = re.findall(r"Test unit written to (\S+)", output)

    def line(self):
        edges = self.covered[-1][0] if self.covered else "?"
        pace = self.runs / self.seconds if self.seconds else 0
        return (f"{self.name:<10} {self.runs:>11,} {edges:>7} "
                f"{self.seconds:>7.0f} {pace:>9,.0f}  "
                + ("FAILED" if self.failed else "ok"))


HEAD = f"{'target':<10} {'executions':>11} {'edges':>7} " \
       f"{'seconds':>7} {'a second':>9}"


def run_target(name, runs, seed):
    _, longest = TARGETS[name]
    # What a target says of its input is not for the log: stderr is closed to
    # it (2), reports of failures still come.
    argv = [program(name), f"-runs={runs}", f"-max_len={longest}",
            f"-timeout={INPUT_S}", f"-rss_limit_mb={MEMORY_MB}",
            f"-seed={seed}", "-close_fd_mask=2",
            f"-use_value_profile={int(name in BY_VALUES)}",
            f"-artifact_prefix={failures_dir()}/{name}-",
            found_dir(name), CORPUS / name]
    log = build.BUILD / "logs" / f"fuzz-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(log, "w") as out:
        status = subprocess.run([str(word) for word in argv], env=ENV,
                                cwd=build.ROOT, stdout=out,
                                stderr=subprocess.STDOUT,
                                stdin=subprocess.DEVNULL).returncode
    return Outcome(name, log.read_text(errors="replace"), status,
                   time.monotonic() - began)


def explain(outcome):
    """What failed, and how to see it again."""
    lines = outcome.output.splitlines()
    telling = [line for line in lines if re.search(
        r"ERROR: |SUMMARY: |runtime error: |must hold|^\s+#\d+ 0x", line)]
    for line in telling[:30] or lines[-20:]:
        print(f"    | {line[:200]}")
    print(f"    the whole log: {build.BUILD}/logs/fuzz-{outcome.name}.log")
    for path in outcome.inputs:
        print(f"    again:         {program(outcome.name)} {path}")
        print("    once mended, the input goes into "
              f"{CORPUS.relative_to(build.ROOT)}/{outcome.name}/")


def keep(name):
    """Makes the corpus the fewest inputs that reach what all together reach.
    What was put there by hand, under a name with a letter beyond f, stays."""
    _, longest = TARGETS[name]
    fresh = build.BUILD / "fuzz-kept" / name
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    # By the edges that are reached, however often.
    subprocess.run([str(program(name)), "-set_cover_merge=1",
                    "-use_counters=0", f"-max_len={longest}",
                    "-close_fd_mask=2", str(fresh),
                    str(CORPUS / name), str(found_dir(name))],
                   env=ENV, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    for old in (CORPUS / name).iterdir():
        if re.fullmatch(r"[0-9a-f]{40}", old.name):
            old.unlink()
    chosen = sorted(fresh.iterdir(), key=lambda path: path.stat().st_size)
    for path in chosen[:KEPT_FILES]:
        shutil.copy(path, CORPUS / name / path.name)
    print(f"{name}: {len(chosen[:KEPT_FILES])} of {len(chosen)} inputs kept")


def report_tap(outcomes):
    print(f"1..{len(outcomes)}")
    for number, outcome in enumerate(outcomes, 1):
        print(f"{'not ok' if outcome.failed else 'ok'} {number} - "
              f"{outcome.name}: {outcome.runs} executions")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev fuzz")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="targets: " + " ".join(TARGETS))
    parser.add_argument("--runs", type=int, default=200_000,
                        help="executions of all targets together")
    parser.add_argument("--seed", type=int, default=0, help="0: a new one")
    parser.add_argument("--keep", action="store_true",
                        help="then make the corpora anew")
    parser.add_argument("--jobs", type=int, default=build.JOBS)
    parser.add_argument("--tap", action="store_true")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(TARGETS)
    if unknown:
        parser.error("no such target: " + " ".join(sorted(unknown)))
    return options


def main(arguments):
    options = parse(arguments)
    names = options.names or list(TARGETS)
    try:
        build.configure("fuzz")
        build.compile("fuzz", ["fuzzers"])
    except build.BuildError as error:
        print(error, file=sys.stderr)
        return 1
    whole = sum(TARGETS[name][0] for name in names)
    print(f"# {HEAD}" if options.tap else HEAD, flush=True)

    def run(name):
        runs = -(-options.runs * TARGETS[name][0] // whole)
        outcome = run_target(name, runs, options.seed)
        print(("# " if options.tap else "") + outcome.line(), flush=True)
        return outcome

    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(run, names))
    if options.tap:
        report_tap(outcomes)
    for outcome in outcomes:
        if outcome.failed:
            explain(outcome)
    total = sum(outcome.runs for outcome in outcomes)
    print(f"# {total:,} executions of {len(outcomes)} targets")
    failed = any(outcome.failed for outcome in outcomes)
    if options.keep and not failed:
        for name in names:
            keep(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
