#!/usr/bin/env python3
# test_faults.py -- Every call of the library that can fail is made to fail.
#
# First a program is run to count its calls of each function; then once for
# each call that fails, alone or with all that come after it. The tour and the
# examples by themselves take half a minute; with --all every call of each of
# them fails, and the calls of the interface tests, too. With --ways it is one
# call for each way on which the library comes to it, through its own functions.
# A line of a failure says the rule: `WEFT_FAULT=RULE PROGRAM` does it again.
import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import hardships
import kv_client
import plan
import run
import shimmed
from tap_out import Tap

TREE = Path(os.environ.get("WEFT_TREE", "."))
HERE = TREE / "tests" / "faults"
JOBS = len(os.sched_getaffinity(0))
LIBRARY = HERE / "libweft-faults.so"

PARTS = ("tasks", "sync", "net", "dump", "names", "signal")


class Subject:
    """A program that faults are tried on, and what came of it."""

    def __init__(self, name, argv, limit_s=20, start=None, tidy=(0,)):
        self.name, self.argv, self.limit_s = name, argv, limit_s
        self.tidy = tidy  # exit statuses with which it gives everything back
        self.start = start or (lambda rules, **more: run.run(
            self.argv, rules, self.limit_s, **more))
        self.counts, self.ways, self.mapped = {}, {}, 0

    def record(self):
        """Counts its calls. What is wrong with a run without a fault."""
        done = self.start([])
        self.counts, self.ways = done.counts, done.ways
        self.mapped = done.mapped
        self.limit_s = min(self.limit_s, 10 + 10 * done.seconds)
        bad = run.verdict(done)
        if bad is None and done.status != 0:
            bad = f"exit status {done.status}"
        if bad is None and not done.counts:
            bad = "made no calls"
        return bad, done

    def attempt(self, rules, **more):
        """One run under rules: what is wrong, and the run."""
        done = self.start(rules, **more)
        bad = run.verdict(done)
        if (bad is None and done.status in self.tidy
                and done.mapped > self.mapped):
            bad = f"{done.mapped - self.mapped} bytes are still mapped"
        return bad, done


def notes_of(subject, rules, bad, done):
    yield f"{bad}: WEFT_FAULT={','.join(rules)} {subject.name}"
    lines = done.text.splitlines()
    for line in lines[:15] + lines[15:][-15:]:
        yield f"  | {line}"


class Campaign:
    """Runs subjects under rules, and keeps count of what was reached."""

    def __init__(self, tap, pool):
        self.tap, self.pool = tap, pool
        self.lock = threading.Lock()
        self.runs = self.reached = self.degraded = 0
        self.failed_at, self.called_at = set(), set()
        self.assertions = {}

    def note(self, done):
        with self.lock:
            self.runs += 1
            self.reached += bool(done.faults)
            self.degraded += bool(done.faults) and done.status == 0
            self.failed_at |= {offset for _, _, offset in done.faults}
            self.called_at |= set(done.sites)
            if check := done.assertion():
                self.assertions[check] = self.assertions.get(check, 0) + 1

    def record(self, subject):
        bad, done = subject.record()
        self.note(done)
        self.tap.case(bad is None, f"{subject.name}: without a fault",
                      [] if bad is None
                      else notes_of(subject, [], bad, done))
        return bad is None

    def one(self, subject, rules, **more):
        bad, done = subject.attempt(rules, **more)
        self.note(done)
        return None if bad is None else list(notes_of(subject, rules, bad,
                                                      done))

    def case(self, subject, name, attempts):
        """One case of any number of runs: (rules, options of the run)."""
        found = [notes for notes in self.pool.map(
            lambda each: self.one(subject, each[0], **each[1]), attempts)
            if notes is not None]
        self.tap.case(not found,
                      f"{subject.name}: {name} ({len(attempts)} runs)",
                      [line for notes in found[:4] for line in notes])

    def fail_by_ways(self, subject):
        for name, rules in sorted(plan.by_ways(subject.ways).items()):
            if waits_in_vain(subject, name):
                continue
            self.case(subject, f"{name} fails, by each way to it",
                      [([rule], {}) for rule in rules])

    def fail_in_turn(self, subject, most, others, periods):
        for name, count in sorted(subject.counts.items()):
            if waits_in_vain(subject, name):
                continue
            rules = plan.failures(name, count, most, others)
            if rules:
                self.case(subject, f"{name} fails, of {count} calls",
                          [([rule], {}) for rule in rules])
            storms = plan.storms(name, periods)
            if storms:
                self.case(subject, f"{name} in a storm, {count} calls",
                          [([rule], {}) for rule in storms])


# ---- What there is to fail ----

def imported(library):
    """The functions that a library takes from others, sanitizers' left out."""
    listing = subprocess.run(["nm", "-D", "--undefined-only", str(library)],
                             stdout=subprocess.PIPE, check=True, text=True)
    names = {line.split()[-1].split("@")[0]
             for line in listing.stdout.splitlines()}
    return {name for name in names
            if not re.match(r"__(asan|ubsan|sanitizer|lsan|tsan)_", name)}


def every_call_is_listed(tap):
    known = set(shimmed.shimmed(Path(__file__).parent / "shim.c"))
    can_fail = set(plan.ERRORS) | {
        name for names in plan.STORMS.values() for name in names}
    strangers = imported(TREE / "src" / "libweft.so") - known - plan.harmless()
    idle = known - can_fail - {"syscall"}
    tap.case(not strangers and not idle, "every call that can fail is made to",
             [f"not in plan.py: {name}" for name in sorted(strangers | idle)])


def places(library):
    """Where the library calls what the shim stands in for: the offsets behind
    those calls, with the function called and the one that calls."""
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(library)],
        stdout=subprocess.PIPE, check=True, text=True).stdout
    found, caller, pending = {}, "", None
    for line in text.splitlines():
        if match := re.match(r"[0-9a-f]+ <(\w+)", line):
            caller, pending = match[1], None
        elif match := re.match(r"\s*([0-9a-f]+):\s*(.*)", line):
            if pending is not None:
                found[int(match[1], 16)] = (pending, caller)
            call = re.match(r"(?:call|bl)\s.*<__wrap_(\w+?)(?:@plt)?>",
                            match[2])
            pending = call[1] if call else None
    return {at: what for at, what in found.items()
            if not what[1].startswith("__wrap_")}


def account(campaign):
    """What of the library's calls has failed, in comments."""
    there = places(LIBRARY)
    never = {at: what for at, what in there.items()
             if at not in campaign.failed_at and what[0] != "syscall"}
    print(f"# {campaign.runs} runs, a fault was reached in {campaign.reached},"
          f" {campaign.degraded} of these went on without an error")
    print(f"# {len(there) - len(never)} of {len(there)} places that call have"
          " seen their call fail")
    for check, times in sorted(campaign.assertions.items()):
        print(f"# noticed by a test, {times} times: {check}")
    for at, (name, caller) in sorted(never.items(), key=lambda e: e[1]):
        called = "called" if at in campaign.called_at else "never called"
        print(f"# no fault: {name} in {caller}, {called}")


# ---- What comes from outside ----

def hard_times(campaign, subject, times):
    """Signals, stops, few descriptors and small files."""
    hardship_cases = {
        SIGNALS: times * [hardships.signal_storm(200)],
        "stopped and continued": [
            hardships.stop_and_go(seed) for seed in range(times)],
        FEW_DESCRIPTORS: hardships.descriptors()[::4 - times % 4],
        SMALL_FILES: hardships.file_size(),
    }
    for name, each in hardship_cases.items():
        if not waits_in_vain(subject, name):
            campaign.case(subject, name, [([], options) for options in each])


# ---- The programs ----

def parts():
    return [Subject(f"tour {part}", [str(HERE / "tour"), part], tidy=(0, 1))
            for part in PARTS]


def examples():
    ended = [Subject(f"faulty-{name}", [str(HERE / f"faulty-{name}")])
             for name in ("hello", "shop")]
    server = [str(HERE / "faulty-kv-server"), "--port", "0", "--workers", "2"]
    return ended + [Subject("faulty-kv-server", server, start=lambda rules,
                            **more: kv_client.run_server(server, rules,
                                                         **more))]


SIGNALS = "in a storm of signals"
FEW_DESCRIPTORS = "with few descriptors"
SMALL_FILES = "with small files alone"

# Interface tests under faults end at the first check that fails. Some wait
# without limit for what a fault keeps from coming: of a test, what it waits
# for, and the functions and hardships that are therefore left out.
WAITS_IN_VAIN = {
    "test_dump_content": ("a task that is blocked in a write", {"send"}),
    "test_dump_signal": ("a dump's file or text", {
        "fclose", "fopen64", "mmap64", "open_memstream", "realloc", "rename",
        "strdup", "calloc", "malloc"}),
    "test_findings": ("a thread that is seen in a system call", {
        "open64", "pread64", FEW_DESCRIPTORS}),
    "test_findings_watch": (
        "a dump that the watch takes, or a finding that depends on which "
        "threads there are, of whom the sender of signals is one", {
            "aligned_alloc", "calloc", "fclose", "fopen64", "mmap64", "open64",
            "malloc", "open_memstream", "process_vm_readv", "read", "realloc",
            "strdup", SIGNALS, FEW_DESCRIPTORS, SMALL_FILES}),
    "test_net": ("a reply, from who takes no connection", {"accept4"}),
    "test_trace": ("a function's name, which is read from its file", {
        "fstat64", "open64", "pread64", FEW_DESCRIPTORS}),
}


def waits_in_vain(subject, name):
    _, names = WAITS_IN_VAIN.get(subject.name.removeprefix("faulty-"),
                                 (None, ()))
    return name in names


def interface_tests():
    return [Subject(path.name, [str(path)], limit_s=60)
            for path in sorted(HERE.parent.glob("faulty-test_*"))
            if path.is_file()]


# How many calls of each function fail with its usual error, how many with each
# other, and which of a storm's calls; how often there are hard times.
SAMPLE = (2, 0, (2,), 1)
ALL = (300, 8, (2, 3), 7)
OF_TESTS = (2, 0, (2,), 1)


def plan_of(options):
    """The subjects, each with how thoroughly it is tried."""
    extent = ALL if options.all else SAMPLE
    subjects = [(subject, extent) for subject in parts() + examples()]
    if options.all:
        subjects += [(subject, OF_TESTS) for subject in interface_tests()]
    return [entry for entry in subjects if options.only in entry[0].name]


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--ways", action="store_true",
                        help="only the first call of each way to it fails")
    parser.add_argument("--only", default="", help="part of a subject's name")
    options = parser.parse_args(arguments)
    tap = Tap()
    can_list = shutil.which("nm") and shutil.which("objdump")
    if can_list and not options.ways:  # they are not in tests/vm's machine
        every_call_is_listed(tap)
    with ThreadPoolExecutor(JOBS) as pool:
        campaign = Campaign(tap, pool)
        for subject, extent in plan_of(options):
            if not campaign.record(subject):
                continue
            if extent is ALL or options.ways:
                campaign.fail_by_ways(subject)
            if not options.ways:
                campaign.fail_in_turn(subject, *extent[:3])
                hard_times(campaign, subject, extent[3])
    if can_list:
        account(campaign)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
