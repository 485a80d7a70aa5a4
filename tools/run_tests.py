#!/usr/bin/env python3
# run_tests.py -- `./dev test`: builds every variant, runs every test, counts.
#
# A step is a build variant with the meson tests that belong to it, or one of
# the runners that print TAP by themselves: the house rules, the models, the
# explorer, the aarch64 machine, the demo. With --long there are more of both.
# The last line printed is `N passed, N failed`, with `, N skipped` when there
# are any; a count is one of test cases.
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import build
import tap

EVERYWHERE = {"unit", "interface", "stress"}

# Variant -> the suites that run in it, and how much slower it may be.
SUITES = {
    "release": (EVERYWHERE | {"header", "tools", "e2e", "soak", "sim",
                              "relacy"}, 1),
    "clang": ({"unit"}, 1),  # the rest of it with --long: TSan is clang, too
    "asan": (EVERYWHERE | {"e2e", "faults", "fuzz"}, 4),
    "tsan": (EVERYWHERE | set(), 6),
    "hostile": (EVERYWHERE | {"faults"}, 3),
}

SANITIZED = ("asan", "tsan", "msan")
SANITIZER_ENV = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1",
}

# Name -> what it is, its command, its time-out in seconds. They print TAP.
RUNNERS = {
    "check": ("format, lint and house rules",
              ["python3", "tools/check.py", "--tap"], 600),
    "vm": ("the unit tests on aarch64, in a virtual machine",
           ["tests/vm/run"], 600),
    "model": ("the protocols' models under Spin",
              ["python3", "tests/model/run.py"], 600),
    "explore": ("the lock-free files under the explorer",
                ["python3", "tools/explore.py"], 600),
    "demo": ("the demo, judged", ["python3", "tools/demo.py", "--tap"], 180),
}

# The same, with --long alone; and the suite of tests that run so.
LONG_RUNNERS = {
    "fuzz": ("the fuzz targets under libFuzzer",
             ["python3", "tools/fuzz.py", "--tap", "--runs", "10000000"],
             2 * 3600),
    "coverage": ("what of src/ the tests reach, by its limits",
                 ["python3", "tools/coverage.py", "--tap"], 3600),
    "prove": ("the explorer's whole search, and the mutants",
              ["python3", "tools/prove.py", "--tap"], 4 * 3600),
}
LONG_SUITE = "long"

# Variants that are built with --long alone.
LONG_SUITES = {
    "msan": ({"unit"}, 4),
}

HEARTBEAT_S = 15
LOG_LINES = 40
SLOWEST = 4  # programs of a step to name


class Tally:
    """What all steps came to. Locked: programs end on several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.passed = self.failed = 0
        self.skipped = []
        self.failures = []
        self.times = []

    def add(self, name, result):
        log = write_log(name, result)
        with self.lock:
            self.times.append((result.seconds, name))
            self.passed += len(result.passed)
            self.failed += len(result.failed)
            self.skipped += [(f"{name}: {case}", why)
                             for case, why in result.skipped]
            if result.failed:
                self.failures.append((name, result, log))
                show_failure(name, result, log)

    def fail(self, name, what, text=""):
        self.add(name, tap.Result(failed=[what], output=text))


def say(text):
    print(text, flush=True)


def write_log(name, result):
    log = build.BUILD / "logs" / (name.replace("/", "-") + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(result.output)
    return log


def relevant(output):
    """The part of a log to show: what surrounds each failed case, then the
    beginning of standard error; without either, the end."""
    lines = output.splitlines()
    split = lines.index(tap.STDERR) if tap.STDERR in lines else len(lines)
    shown = {near for index, line in enumerate(lines[:split])
             if line.startswith("not ok") and "# SKIP" not in line
             for near in range(max(0, index - 3), min(split, index + 6))}
    shown = sorted(shown)[:LOG_LINES]
    shown += range(split, min(len(lines), split + LOG_LINES))
    return [lines[index] for index in shown] or lines[-LOG_LINES:]


def show_failure(name, result, log):
    say(f"  FAILED {name}: " + ", ".join(result.failed))
    for line in relevant(result.output):
        say(f"    | {line}")
    say(f"    the whole log: {log}")


class Heartbeat:
    """Says from time to time how far a long step has come."""

    def __init__(self, text):
        self.text = text
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.beat, daemon=True)

    def beat(self):
        while not self.stop.wait(HEARTBEAT_S):
            say(f"      ... {self.text()}")

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def no_randomization():
    """The prefix that keeps sanitizers' shadow memory where they expect it."""
    prefix = ["setarch", "-R"]
    works = subprocess.run(prefix + ["true"], stderr=subprocess.DEVNULL)
    return prefix if works.returncode == 0 else []


def meson_tests(variant, pattern, suites):
    """The tests of a configured variant whose name contains the pattern."""
    listing = subprocess.run(
        ["meson", "introspect", "--tests", str(build.directory(variant))],
        stdout=subprocess.PIPE, check=True, text=True).stdout
    tests = []
    for test in json.loads(listing):
        suite = test["suite"][0].split(":")[-1]
        name = f"{variant}/{suite}/{test['name']}"
        if suite in suites and pattern in name:
            tests.append((name, test))
    return tests


def compile_for(variant, tests, pattern):
    """Builds everything, or under a filter only the programs of the tests."""
    if not pattern:
        build.compile(variant)
        return
    tree = build.directory(variant)
    listing = subprocess.run(
        ["meson", "introspect", "--targets", str(tree)],
        stdout=subprocess.PIPE, check=True, text=True).stdout
    files = {target["id"]: target["filename"]
             for target in json.loads(listing)}
    needed = {os.path.relpath(file, tree) for _, test in tests
              for target in test["depends"] for file in files[target]}
    if needed:
        build.compile(variant, sorted(needed))


def run_one(name, test, slowness, prefix):
    env = {**os.environ, **SANITIZER_ENV, **test["env"]}
    return tap.run(name.split("/")[-1], prefix + test["cmd"], env,
                   test["workdir"] or build.ROOT, test["timeout"] * slowness,
                   tap=test["protocol"] == "tap")


def run_programs(variant, tests, tally):
    """Parallel ones first, one more at a time than there are processors, for
    most of them wait a while; then those that want to be alone."""
    prefix = no_randomization() if variant in SANITIZED else []
    done = [0]

    def run_and_count(entry):
        name, test = entry
        tally.add(name, run_one(name, test, SUITES[variant][1], prefix))
        done[0] += 1

    with Heartbeat(lambda: f"{done[0]} of {len(tests)} programs"):
        with ThreadPoolExecutor(build.JOBS + 1) as pool:
            together = [pool.submit(run_and_count, entry) for entry in tests
                        if entry[1]["is_parallel"]]
            for future in as_completed(together):
                future.result()
        for entry in tests:
            if not entry[1]["is_parallel"]:
                run_and_count(entry)


def variant_step(variant, pattern, tally):
    try:
        build.configure(variant)
        tests = meson_tests(variant, pattern, SUITES[variant][0])
        if not tests:
            if not pattern:
                tally.fail(variant, "(the build has no tests)")
            return
        with Heartbeat(lambda: "building"):
            compile_for(variant, tests, pattern)
    except build.BuildError as error:
        tally.fail(f"{variant}/build", "(does not build)", str(error))
        return
    say(f"      {len(tests)} programs")
    tally.times = []
    run_programs(variant, tests, tally)
    say("      slowest: " + ", ".join(
        f"{name.partition('/')[2]} {seconds:.0f} s"
        for seconds, name in sorted(tally.times, reverse=True)[:SLOWEST]))


def runner_step(name, tally):
    _, argv, timeout = RUNNERS[name]
    last = ["started"]

    def on_line(line):
        last[0] = line or last[0]

    with Heartbeat(lambda: last[0]):
        tally.add(name, tap.run(name, argv, dict(os.environ), build.ROOT,
                                timeout, on_line=on_line))


def plan(pattern):
    """All steps as (name, description), or those a filter can mean: one step
    by its name, one variant by `variant/...`, or any test in any variant."""
    steps = [("check", RUNNERS["check"][0])]
    steps += [(name, build.describe(name)) for name in build.VARIANTS]
    steps += [(name, RUNNERS[name][0]) for name in RUNNERS if name != "check"]
    head = pattern.split("/")[0]
    if head in (name for name, _ in steps):
        return [step for step in steps if step[0] == head]
    return [step for step in steps if step[0] in build.VARIANTS
            or pattern in step[0]]


def summary(tally, seconds):
    for name, why in tally.skipped:
        say(f"skipped {name}: {why}")
    for name, result, log in tally.failures:
        say(f"failed {name}: {', '.join(result.failed)} (log: {log})")
    say(f"{seconds / 60:.1f} minutes")
    line = f"{tally.passed} passed, {tally.failed} failed"
    if tally.skipped:
        line += f", {len(tally.skipped)} skipped"
    say(line)


def leave(number, _):
    tap.kill_live()
    say("interrupted: not all tests have run")
    os._exit(128 + number)


def main(arguments):
    if "--long" in arguments:
        arguments.remove("--long")
        RUNNERS.update(LONG_RUNNERS)
        SUITES["clang"][0].update(EVERYWHERE)
        for suites, _ in SUITES.values():
            suites.add(LONG_SUITE)
        SUITES.update(LONG_SUITES)
        build.VARIANTS.update(
            {name: build.MEASURED[name] for name in LONG_SUITES})
    if len(arguments) > 1:
        print("usage: run_tests.py [--long] [FILTER]", file=sys.stderr)
        return 64
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, leave)
    pattern = arguments[0] if arguments else ""
    began = time.monotonic()
    tally = Tally()
    steps = plan(pattern)
    for index, (name, description) in enumerate(steps, 1):
        before = tally.passed, tally.failed
        start = time.monotonic()
        say(f"[{index}/{len(steps)}] {name}: {description}")
        if name in build.VARIANTS:
            variant_step(name, pattern, tally)
        else:
            runner_step(name, tally)
        passed, failed = tally.passed - before[0], tally.failed - before[1]
        say(f"      {passed} passed, {failed} failed "
            f"({time.monotonic() - start:.0f} s)")
    if tally.passed + tally.failed + len(tally.skipped) == 0:
        tally.fail("filter", f"(no test has {pattern} in its name)")
    summary(tally, time.monotonic() - began)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
