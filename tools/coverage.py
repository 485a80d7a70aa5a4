#!/usr/bin/env python3
# coverage.py -- `./dev coverage`: which lines and branches of src/ tests reach.
#
# Builds with gcc's counters, runs the unit, interface and end-to-end tests and
# the faults by each way to a call, and reads what gcov made of it: a table by
# folder, and with --missed the places that nothing reached. Less than LIMITS of
# the whole is a failure. Assertions are compiled out, as in the release, and
# the branches of an ensure() are not counted: only a defect can take the other.
import argparse
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build
import run_tests

SUITES = {"unit", "interface", "e2e", "faults"}
LIMITS = (95, 85)  # percent: of lines, of branches
LAW = re.compile(r"\bensure\(")


class Counts:
    """Lines and branches of one file: line -> times, (line, n) -> times."""

    def __init__(self, path):
        self.lines, self.branches = defaultdict(int), defaultdict(int)
        self.laws = {number for number, text in enumerate(
            path.read_text().splitlines(), 1) if LAW.search(text)}

    def add(self, line):
        number = line["line_number"]
        self.lines[number] += line["count"]
        if number in self.laws:
            return
        taken = [b for b in line["branches"] if not b["throw"]]
        for index, branch in enumerate(taken):
            self.branches[number, index] += branch["count"]

    def reached(self):
        return (sum(times > 0 for times in self.lines.values()),
                len(self.lines),
                sum(times > 0 for times in self.branches.values()),
                len(self.branches))


def run_suites(pattern):
    """Runs the tests in the build with counters. Names of what failed."""
    tests = run_tests.meson_tests("coverage", pattern, SUITES)
    failed = []

    def run(entry):
        name, test = entry
        result = run_tests.run_one(name, test, 4, [])
        if result.failed:
            failed.append(f"{name}: {', '.join(result.failed)}")

    together = [entry for entry in tests if entry[1]["is_parallel"]]
    with run_tests.Heartbeat(lambda: f"{len(tests)} programs"):
        with ThreadPoolExecutor(build.JOBS) as pool:
            list(pool.map(run, together))
        for entry in tests:
            if not entry[1]["is_parallel"]:
                run(entry)
    return failed


def read_counters(tree):
    """What gcov says of the library's objects, by file."""
    data = sorted((tree / "src" / "libweft-core.a.p").glob("*.gcda"))
    files = {}
    for each in data:
        done = subprocess.run(
            ["gcov", "--json-format", "--stdout", "--branch-probabilities",
             str(each)], cwd=tree, stdout=subprocess.PIPE, check=True,
            stderr=subprocess.DEVNULL)
        for entry in json.loads(done.stdout)["files"]:
            path = (tree / entry["file"]).resolve()
            if build.ROOT / "src" in path.parents:
                counts = files.setdefault(path, Counts(path))
                for line in entry["lines"]:
                    counts.add(line)
    return files


def share(part, whole):
    return 100 * part / whole if whole else 100.0


def show(title, reached):
    lines, all_lines, branches, all_branches = reached
    print(f"{title:<28} {share(lines, all_lines):6.1f} % of {all_lines:5} "
          f"lines  {share(branches, all_branches):6.1f} % of "
          f"{all_branches:5} branches")


def show_table(files):
    folders = defaultdict(list)
    for path, counts in files.items():
        folders[str(path.parent.relative_to(build.ROOT))].append(
            counts.reached())
    for folder, each in sorted(folders.items()):
        show(folder, [sum(column) for column in zip(*each)])
    whole = [sum(column) for column in
             zip(*(one for each in folders.values() for one in each))]
    show("all", whole)
    return whole


def judge(reached, failed):
    """What is to be kept, and whether it is: lines, branches, the tests."""
    lines, all_lines, branches, all_branches = reached
    shares = share(lines, all_lines), share(branches, all_branches)
    limits = [(each > limit, f"{each:.2f} % of {what} reached, over {limit} %")
              for each, limit, what in zip(shares, LIMITS,
                                           ("lines", "branches"))]
    return limits + [(False, each) for each in failed]


def tell(judged, tap):
    for index, (good, what) in enumerate(judged, 1):
        if tap:
            print(f"{'ok' if good else 'not ok'} {index} - {what}")
        elif not good:
            print(f"failed: {what}", file=sys.stderr)
    if tap:
        print(f"1..{len(judged)}")


def show_missed(files):
    for path, counts in sorted(files.items()):
        source = path.read_text().splitlines()
        short = path.relative_to(build.ROOT)
        for number in sorted(counts.lines):
            if counts.lines[number] == 0:
                print(f"{short}:{number}: line: {source[number - 1].strip()}")
        for number in sorted({number for (number, _), times
                              in counts.branches.items() if times == 0}):
            if counts.lines[number] > 0:
                print(f"{short}:{number}: branch: "
                      f"{source[number - 1].strip()}")


def main(arguments):
    parser = argparse.ArgumentParser(prog="dev coverage")
    parser.add_argument("--missed", action="store_true",
                        help="list every line and branch not reached")
    parser.add_argument("--again", action="store_true",
                        help="only read the counters of the last run")
    parser.add_argument("--tap", action="store_true",
                        help="say in TAP which limits are kept")
    parser.add_argument("filter", nargs="?", default="")
    options = parser.parse_args(arguments)
    tree = build.directory("coverage")
    failed = []
    if not options.again:
        try:
            build.configure("coverage")
            build.compile("coverage")
        except build.BuildError as error:
            print(error, file=sys.stderr)
            return 1
        for old in tree.rglob("*.gcda"):
            old.unlink()
        failed = run_suites(options.filter)
    files = read_counters(tree)
    if options.missed:
        show_missed(files)
    whole = show_table(files) if files else (0, 1, 0, 1)
    judged = judge(whole, failed)[2 if options.filter else 0:]
    tell(judged, options.tap)
    return 0 if all(good for good, _ in judged) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
