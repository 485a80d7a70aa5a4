#!/usr/bin/env python3
# explore.py -- Builds the explorer, runs its scenarios, and prints TAP.
#
# A scenario is one program run; two run at a time. Without --long the smaller
# bounds, for ./dev test; with it the whole search (see tests/explore).
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import build

TARGET = "tests/explore/explore"
QUICK_TIMEOUT = 120
LONG_TIMEOUT = 3600


@dataclass
class Search:
    """What the search of one scenario has come to."""
    name: str
    protocol: str
    good: bool = False
    executions: int = 0
    exhausted: bool = False
    bounds: str = ""
    seconds: float = 0.0
    output: str = ""


def program():
    return build.directory("release") / TARGET


def make():
    build.configure("release")
    build.compile("release", [TARGET])


def scenarios(explorer=None):
    """All of them, in order, as (name, protocol)."""
    listing = subprocess.run([str(explorer or program()), "--list"],
                             stdout=subprocess.PIPE, check=True, text=True)
    return [tuple(line.split("\t")) for line in listing.stdout.splitlines()]


def search(name, protocol, arguments, timeout, explorer=None):
    """Runs one scenario; what hangs has failed."""
    found = Search(name, protocol)
    try:
        done = subprocess.run(
            ["setarch", "-R", str(explorer or program()), *arguments, name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=timeout)
    except subprocess.TimeoutExpired:
        found.output = f"{name}: not done after {timeout} s"
        return found
    for line in done.stdout.splitlines():
        fields = line.split("\t")
        if fields[0] != "result":
            found.output += line + "\n"
            continue
        found.good = fields[3] == "good" and done.returncode == 0
        found.executions = int(fields[4])
        found.exhausted = fields[5] == "exhausted"
        found.bounds = f"{fields[6]}/{fields[7]}"
        found.seconds = float(fields[8])
    return found


def search_all(long, on_result, names=None):
    """Runs all, or the named ones; what takes long is last in the list, and
    begun first."""
    wanted = [entry for entry in scenarios()
              if names is None or entry[0] in names]
    arguments = [] if long else ["--quick"]
    timeout = LONG_TIMEOUT if long else QUICK_TIMEOUT
    results = {}

    def run(entry):
        results[entry[0]] = search(*entry, arguments, timeout)
        on_result(results[entry[0]])

    with ThreadPoolExecutor(build.JOBS) as pool:
        list(pool.map(run, reversed(wanted)))
    return [results[name] for name, _ in wanted]


def main(arguments):
    if [word for word in arguments if word != "--long"]:
        print("usage: explore.py [--long]", file=sys.stderr)
        return 64
    try:
        make()
    except build.BuildError as error:
        print(f"Bail out! {error}")
        return 1
    count = len(scenarios())
    print(f"1..{count}", flush=True)
    numbers = iter(range(1, count + 1))
    failed = 0

    def report(found):
        nonlocal failed
        good = found.good and found.exhausted
        failed += not good
        text = "" if good else "# " + found.output.replace("\n", "\n# ") + "\n"
        print(f"{'ok' if good else 'not ok'} {next(numbers)} - explore: "
              f"{found.name} # {found.executions:,} executions "
              f"({found.bounds}) in {found.seconds} s\n{text}",
              end="", flush=True)

    search_all("--long" in arguments, report)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
