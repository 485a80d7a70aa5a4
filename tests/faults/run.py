# run.py -- Runs a program under faults, and judges how it ended.
#
# However its calls fail, a program ends: by itself, in time, well or with an
# error that it tells, with nothing left behind.
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

# An emulated machine takes this many times as long.
PATIENCE = float(os.environ.get("WEFT_PATIENCE", "1"))

LEFT_BEHIND, BROKE_ITS_WORD, SANITIZER = 97, 98, 99

SANITIZERS = {
    "ASAN_OPTIONS": f"exitcode={SANITIZER}:detect_leaks=1:abort_on_error=0:"
                    "handle_abort=0:allocator_may_return_null=1",
    "LSAN_OPTIONS": f"exitcode={SANITIZER}",
    "UBSAN_OPTIONS": f"print_stacktrace=1:exitcode={SANITIZER}",
}

# What a test says before it aborts because a check of its own failed, and what
# the library says before it aborts.
ASSERTED = re.compile(r"^\S*?([\w.]+\.[ch]:\d+: .*)$", re.M)
PANIC = re.compile(r"^weft: (.* broken law: |sigaltstack: |task .* ended "
                   r"(while|inside)|task .* overflowed)", re.M)


@dataclass
class Run:
    """One process: what was done to it, and what became of it."""
    status: int
    text: str
    timed_out: bool
    seconds: float
    counts: dict = field(default_factory=dict)
    sites: dict = field(default_factory=dict)   # offset -> name
    ways: dict = field(default_factory=dict)    # hash -> name
    faults: list = field(default_factory=list)  # (name, number, offset)
    mapped: int = 0

    def assertion(self):
        """The check of a test's own that it ended at, or None."""
        found = ASSERTED.findall(self.text)
        return found[-1] if found and self.status == -signal.SIGABRT else None

    def read_report(self, path):
        if not path.exists():
            return
        for line in path.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                return  # cut short by a limit
            word, *rest = line.split()
            if word == "count":
                self.counts[rest[0]] = max(int(rest[1]),
                                           self.counts.get(rest[0], 0))
            elif word == "site":
                self.sites[int(rest[1], 16)] = rest[0]
            elif word == "way":
                self.ways[int(rest[1], 16)] = rest[0]
            elif word == "fault":
                self.faults.append((rest[0], int(rest[1]), int(rest[2], 16)))
            elif word == "mapped":
                self.mapped = int(rest[0])


def environment(rules, report, extra):
    env = {**os.environ, **SANITIZERS, "CMOCKA_TEST_ABORT": "1",
           "CMOCKA_MESSAGE_OUTPUT": "STDOUT", "WEFT_TEST_SCALE": "0.05",
           "WEFT_FAULT": ",".join(rules), "WEFT_FAULT_REPORT": str(report)}
    return {**env, **extra}


def end_session(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def stacks(pid):
    """Where the threads of a process that hangs stand."""
    try:
        return subprocess.run(
            ["gdb", "-p", str(pid), "-batch", "-nx", "-ex",
             "set debuginfod enabled off", "-ex", "thread apply all bt 20"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, errors="replace",
            timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"(no backtraces: {error})"


def wait(process, limit_s):
    """What a process said until it ended, or None if it did not in time."""
    try:
        return process.communicate(timeout=limit_s)[0]
    except subprocess.TimeoutExpired:
        return None


def run(argv, rules=(), limit_s=20, extra=None, meddle=None, prefix=(),
        **options):
    """Runs a program under rules. `meddle` is called with the process once it
    runs, to do things to it."""
    with tempfile.TemporaryDirectory(prefix="weft-faults-") as folder:
        report = Path(folder) / "report"
        env = environment(rules, report, {"TMPDIR": folder, **(extra or {})})
        began = time.monotonic()
        process = subprocess.Popen(
            [*prefix, *argv], env=env, cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True, **options)
        where = ""
        try:
            if meddle is not None:
                meddle(process)
            text = wait(process, limit_s * PATIENCE)
            if text is None:
                where = stacks(process.pid)
        finally:
            end_session(process.pid)
        timed_out = text is None
        if timed_out:
            text = process.communicate()[0]
        done = Run(process.returncode, text + where, timed_out,
                   time.monotonic() - began)
        done.read_report(report)
        return done


def verdict(done):
    """What is wrong with how a run ended; None: nothing."""
    if done.timed_out:
        return "hung"
    if "AddressSanitizer" in done.text or "runtime error:" in done.text:
        return "found by a sanitizer"
    if "LeakSanitizer" in done.text:
        return "leaked"
    if done.status == LEFT_BEHIND:
        return "left something behind"
    if done.status == BROKE_ITS_WORD:
        return "a promise was broken"
    if (done.status == -signal.SIGABRT and done.text
            and not PANIC.search(done.text)):
        return None  # a test that noticed
    if done.status < 0:
        return f"killed by {signal.Signals(-done.status).name}"
    if done.status != 0 and not done.text:
        return f"exit status {done.status} without a word"
    return None
