# tap.py -- Runs one test program and reads the TAP it prints, as true counts.
#
# A program is judged by what it did, not only by what it said: one that
# crashes, hangs, stops before its plan is done or runs no case at all gets a
# failed case on top of those it reported.
import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*SKIP\b\s*(.*))?$", re.IGNORECASE)
CASE = re.compile(r"^(not )?ok\b *(\d+)? *(?:- )?(.*)$")
SKIP = re.compile(r"#\s*SKIP\b\s*(.*)$", re.IGNORECASE)
REASON = re.compile(r"^(?:# *)?skip: (.*)$")

STDERR = "--- standard error ---"
DONE_SKIPPED = 77  # the exit status by which a whole program says "skipped"
NO_REASON = "no reason given"


@dataclass
class Result:
    """What a program came to: names of cases, reasons with those skipped."""
    passed: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    output: str = ""
    seconds: float = 0.0

    def cases(self):
        return len(self.passed) + len(self.failed) + len(self.skipped)


def parse(output):
    """Reads TAP. Returns a Result and how many cases the plans promised."""
    result = Result(output=output)
    planned = None
    reason = NO_REASON
    for line in output.splitlines():
        if match := PLAN.match(line):
            planned = (planned or 0) + int(match[1])
            if match[1] == "0" and match[2] is not None:
                result.skipped.append(("all", match[2] or NO_REASON))
        elif match := REASON.match(line):
            reason = match[1]
        elif match := CASE.match(line):
            parse_case(result, match, reason)
            reason = NO_REASON
    return result, planned


def parse_case(result, match, reason):
    """cmocka writes `not ok N # SKIP name`, others `ok N - name # SKIP why`;
    in cmocka's case the reason is what a line `skip: ...` before it said."""
    bad, number, text = match[1], match[2], match[3].strip()
    skip = SKIP.search(text)
    if skip:
        name = text[:skip.start()].strip()
        if not name:
            result.skipped.append((skip[1].strip() or f"case {number}", reason))
        else:
            result.skipped.append((name, skip[1].strip() or reason))
    elif bad:
        result.failed.append(text or f"case {number}")
    else:
        result.passed.append(text or f"case {number}")


def describe_status(status):
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def judge(output, status, timed_out, timeout):
    """TAP and the way the program ended, together."""
    result, planned = parse(output)
    if status == DONE_SKIPPED and result.cases() == 0:
        last = output.strip().splitlines()[-1:] or [NO_REASON]
        reason = REASON.match(last[0])
        result.skipped.append(("all", reason[1] if reason else last[0]))
        return result
    ended = describe_status(status)
    if timed_out:
        result.failed.append(f"(hung: stopped after {timeout:.0f} s)")
    elif status < 0:
        result.failed.append(f"({ended})")
    elif result.cases() == 0:
        result.failed.append(f"(ran no test case, {ended})")
    elif planned is None:
        result.failed.append("(printed no plan)")
    elif planned > result.cases():
        result.failed.append(f"(stopped after {result.cases()} of {planned}"
                             f" cases, {ended})")
    elif status != 0 and not result.failed:
        result.failed.append(f"({ended})")
    return result


def judge_status(name, output, status, timed_out, timeout):
    """For a program that is one case and says so by its exit status."""
    result = Result(output=output)
    if timed_out:
        result.failed.append(f"{name} (hung: stopped after {timeout:.0f} s)")
    elif status == 0:
        result.passed.append(name)
    else:
        result.failed.append(f"{name} ({describe_status(status)})")
    return result


def backtraces(pid):
    """Where every thread of a hung program stands, for its log."""
    try:
        done = subprocess.run(
            ["gdb", "-p", str(pid), "-batch", "-nx", "-ex",
             "set debuginfod enabled off", "-ex", "thread apply all bt 30"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=60)
        return done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"(no backtraces: {error})"


def kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


live = set()  # process groups that run now; for kill_live


def kill_live():
    """For whoever must leave at once: no program stays behind."""
    for pid in list(live):
        kill_group(pid)


def collect(stream, into, on_line):
    for line in stream:
        into.append(line)
        on_line(line.strip())
    stream.close()


def run(name, argv, env, cwd, timeout, tap=True, on_line=lambda line: None):
    """Runs a program in a session of its own; nothing of it outlives this."""
    began = time.monotonic()
    out, err = [], []
    try:
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True)
    except OSError as error:
        return Result(failed=[f"(cannot run {argv[0]}: {error.strerror})"])
    live.add(process.pid)
    readers = [threading.Thread(target=collect, args=(stream, into, on_line))
               for stream, into in ((process.stdout, out),
                                    (process.stderr, err))]
    for reader in readers:
        reader.start()

    timed_out = False
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        err.append(backtraces(process.pid))
    finally:
        kill_group(process.pid)
        live.discard(process.pid)
        process.wait()
        for reader in readers:
            reader.join()

    output = "".join(out)
    status = process.returncode
    result = (judge(output, status, timed_out, timeout) if tap else
              judge_status(name, output, status, timed_out, timeout))
    if err:
        result.output += f"\n{STDERR}\n" + "".join(err)
    result.seconds = time.monotonic() - began
    return result
