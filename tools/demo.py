#!/usr/bin/env python3
# demo.py -- `./dev demo`: a server deadlocks under load, a dump says why.
#
# Starts examples/kv-server, loads it with redis-benchmark, lets two opposite
# TRANSFERs lock each other out, asks for a dump by SIGQUIT while the load runs,
# shows it, and then checks what it said and that nobody else had to wait. The
# command `weft` must say the same of the process, and of the core that is left
# of it. With --tap the checks are TAP, the rest comments. Exits 0 if all hold.
import argparse
import contextlib
import ctypes
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "examples" / "kv-server.c"
CONNECTIONS = 200
PIPELINE = 16
LOAD_S = 2.0  # how long each half of the load would run on its own
WAIT_S = 20
LIMIT_S = 90  # the whole demo gives up after that
WORST_MS = 1000
PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """The demo cannot go on; the message says why, and what to do."""


class Report:
    """Prints what happens, and the checks, as text or as TAP."""

    def __init__(self, tap):
        self.tap = tap
        self.checks = self.failed = 0

    def say(self, text=""):
        for line in text.split("\n"):
            print(f"# {line}".rstrip() if self.tap else line, flush=True)

    def check(self, holds, what):
        self.checks += 1
        self.failed += not holds
        if self.tap:
            print(f"{'ok' if holds else 'not ok'} {self.checks} - {what}",
                  flush=True)
        else:
            print(f"  {'ok     ' if holds else 'FAILED '} {what}", flush=True)

    def skip(self, what, why):
        self.checks += 1
        if self.tap:
            print(f"ok {self.checks} - {what} # SKIP {why}", flush=True)
        else:
            print(f"  skipped {what}: {why}", flush=True)

    def end(self):
        if self.tap:
            print(f"1..{self.checks}", flush=True)
        else:
            print(f"\n{self.checks - self.failed} of {self.checks} checks "
                  f"hold: {'FAILED' if self.failed else 'ok'}", flush=True)
        return 1 if self.failed or not self.checks else 0


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def start(argv, **options):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True,
                            preexec_fn=die_with_parent, **options)


def end_process(process):
    if process.poll() is None:
        process.kill()
    process.wait()


class Server:
    """examples/kv-server on a free port; keeps what it writes to stderr."""

    def __init__(self, program, dump_file, place):
        self.process = start([str(program), "--port", "0"],
                             stderr=subprocess.PIPE, cwd=place,
                             env=dict(os.environ, WEFT_DUMP_FILE=dump_file))
        self.lines = []
        self.heard = time.monotonic()
        threading.Thread(target=self.listen, daemon=True).start()
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        line = self.process.stdout.readline() if ready else ""
        match = re.search(r"listening on 127\.0\.0\.1:(\d+)$", line)
        if not match:
            end_process(self.process)
            raise Failure(f"{program} did not start: {line}"
                          + "\n".join(self.lines))
        self.port = int(match[1])

    def listen(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            self.heard = time.monotonic()

    def text(self):
        """What came on standard error, once nothing more is coming."""
        while time.monotonic() < self.heard + 0.5:
            time.sleep(0.05)
        return "\n".join(self.lines)


class Client:
    """A connection that runs commands, one at a time, in words."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self.file = self.socket.makefile("rb")
        self.name = "conn 127.0.0.1:%d" % self.socket.getsockname()[1]

    def send(self, words):
        self.socket.sendall(words.encode() + b"\r\n")

    def reply(self):
        line = self.file.readline()
        if not line:
            raise Failure("the server closed a connection")
        if line[:1] == b"$" and line != b"$-1\r\n":
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        return line[1:-2].decode()

    def call(self, words):
        self.send(words)
        return self.reply()

    def silent(self):
        return not select.select([self.socket], [], [], 0)[0]


class Probe:
    """A connection that asks all the time and notes how long it waits."""

    def __init__(self, port):
        self.client = Client(port)
        self.waits = []  # (when asked, how long it took), in seconds
        self.wrong = None
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            for number in range(1 << 62):
                if self.stopping:
                    return
                for words, expected in (("PING", "PONG"),
                                        (f"SET probe {number}", "OK"),
                                        ("GET probe", str(number))):
                    self.ask(words, expected)
                time.sleep(0.002)
        except (OSError, Failure) as failure:
            self.wrong = str(failure)

    def ask(self, words, expected):
        asked = time.monotonic()
        reply = self.client.call(words)
        self.waits.append((asked, time.monotonic() - asked))
        if reply != expected:
            raise Failure(f"{words} was answered with {reply}")

    def stop(self):
        self.stopping = True
        self.thread.join(WAIT_S)

    def waits_from(self, moment):
        return [wait for asked, wait in self.waits if asked >= moment]


def benchmark_command(server, requests, pipeline):
    path = shutil.which("redis-benchmark")
    if not path:
        raise Failure("there is no redis-benchmark: ./dev setup installs it")
    return [path, "-p", str(server.port), "-c", str(CONNECTIONS), "-n",
            str(requests), "-P", str(pipeline), "-t", "set,get"]


def measured_rate(server, pipeline):
    """Requests a second in a short run: the load is sized by it."""
    command = benchmark_command(server, 10000 * pipeline, pipeline)
    done = subprocess.run(command + ["--csv"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, timeout=WAIT_S,
                          preexec_fn=die_with_parent)
    rates = re.findall(r'^"(?:SET|GET)","([\d.]+)"', done.stdout, re.MULTILINE)
    if len(rates) != 2:
        raise Failure(f"redis-benchmark failed: {done.stdout}")
    return min(map(float, rates))


class Load:
    """A redis-benchmark at work: as many SETs as GETs."""

    def __init__(self, server, pipeline, rate):
        # redis-benchmark sends whole pipelines: a number it can keep to.
        batches = int(rate * LOAD_S) // pipeline
        self.requests = max(1000, batches) * pipeline
        self.process = start(benchmark_command(server, self.requests,
                                               pipeline),
                             stderr=subprocess.DEVNULL)
        self.output = ""
        # Its progress must be read, or it would wait for us.
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        self.output = self.process.stdout.read()

    def running(self):
        return self.process.poll() is None

    def finish(self):
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            return False
        self.thread.join(WAIT_S)
        done = re.findall(r"(\d+) requests completed in", self.output)
        return (self.process.returncode == 0
                and done == [str(self.requests)] * 2)


def wait_for(what, condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"waited {WAIT_S} s in vain for {what}")
        time.sleep(0.01)


def connected(client):
    info = client.call("INFO")
    return int(re.search(r"^connected_clients:(\d+)", info, re.MULTILINE)[1])


def lock_lines():
    """The lines of kv-server.c on which transfer() locks: first and second."""
    lines = SOURCE.read_text().splitlines()
    begin = next(number for number, line in enumerate(lines)
                 if re.match(r"static .*\btransfer\(", line))
    end = lines.index("}", begin)
    found = [number + 1 for number in range(begin, end)
             if "weft_mutex_lock(" in lines[number]]
    if len(found) != 2:
        raise Failure(f"{SOURCE}: transfer() does not lock twice")
    return found


def is_at(place, line):
    """Whether a frame or a site of the dump is that line of transfer()."""
    return (place is not None and place["function"] == "transfer"
            and os.path.basename(place["file"] or "") == SOURCE.name
            and place["line"] == line)


class Dump:
    """The JSON document, with its cross-references followed."""

    def __init__(self, text):
        self.document = json.loads(text)
        self.tasks = {task["id"]: task for task in self.document["tasks"]}
        self.objects = {thing["id"]: thing
                        for thing in self.document["objects"]}
        self.frames = {frame["id"]: frame
                       for frame in self.document["frames"]}
        self.stacks = {stack["id"]: stack
                       for stack in self.document["stacks"]}

    def deadlocks(self):
        return [finding for finding in self.document["findings"]
                if finding["rule"] == "deadlock"]

    def own_frame(self, task_id):
        """Where a task stands, past weft's own functions."""
        stack = self.stacks[self.tasks[task_id]["stack"]]
        frames = [self.frames[number] for number in stack["frames"]]
        return next((frame for frame in frames if not frame["runtime"]), None)

    def names(self):
        return [task["name"] for task in self.tasks.values()]


def check_deadlock(report, dump, transfers):
    taken_line, waits_line = lock_lines()
    found = dump.deadlocks()
    report.check(len(found) == 1 and dump.document["findings"][0] is found[0]
                 and found[0]["certainty"] == "proven",
                 "one deadlock is found, first of all findings, and is proven")
    if len(found) != 1:
        return
    finding = found[0]
    locks = [dump.objects[number] for number in finding["objects"]]
    report.check(sorted(lock["name"] for lock in locks) == ["alice", "bob"],
                 'it is about the mutexes "alice" and "bob"')
    report.check(sorted(dump.tasks[task]["name"] for task in finding["tasks"])
                 == sorted(client.name for client in transfers),
                 "it names the two connections that sent the TRANSFERs")
    report.check(all(edge["held_by"] != edge["task"]
                     and dump.objects[edge["holds"]]["owner"] == edge["task"]
                     and dump.objects[edge["waits_for"]]["owner"]
                     == edge["held_by"] for edge in finding["cycle"]),
                 "each holds what the other waits for")
    report.check(all(is_at(lock["acquired_at"], taken_line) for lock in locks),
                 f"both were taken in transfer, kv-server.c:{taken_line}")
    report.check(all(is_at(dump.own_frame(task), waits_line)
                     for task in finding["tasks"]),
                 f"both holders stand in transfer, kv-server.c:{waits_line}")


def check_text(report, text):
    taken_line, waits_line = lock_lines()
    findings, _, groups = text.partition("\nTASKS:")
    words = ["DEADLOCK", '"alice"', '"bob"', f".c:{taken_line}",
             f".c:{waits_line}"]
    report.check(all(word in findings for word in words) and groups != "",
                 "the text names it, too, before the groups of tasks")


def check_whole(report, dump, count):
    document = dump.document
    report.check(document["format"] == "weft-dump"
                 and document["capture"]["complete"]
                 and document["capture"]["consistent"],
                 "the dump is complete and of one moment")
    there = sum((name or "").startswith("conn ") for name in dump.names())
    report.check(there == count and count > 2 * CONNECTIONS,
                 f"all {count} connections are in it (it has {there})")
    report.check(sum(group["count"] for group in document["groups"])
                 == len(dump.tasks) == document["summary"]["tasks"],
                 f"its groups add up to all {len(dump.tasks)} tasks")


def slowest_ms(waits):
    return max(waits, default=WAIT_S) * 1000


def check_service(report, probe, asked, loads):
    report.check(all([load.finish() for load in loads]),
                 "redis-benchmark got every reply, in both loads: "
                 + ", ".join(f"2 x {load.requests:,}" for load in loads))
    probe.stop()
    after = probe.waits_from(asked)
    slowest = slowest_ms(probe.waits_from(0))
    report.check(probe.wrong is None and len(after) > 100
                 and slowest < WORST_MS,
                 f"another connection was served throughout: {len(after):,} "
                 f"replies from the dump on, the slowest in "
                 f"{slowest_ms(after):.1f} ms (of all: {slowest:.1f} ms)"
                 + (f"; {probe.wrong}" if probe.wrong else ""))


def essence(dump):
    """What the errors among the findings say, whatever the dump's source."""
    def task(number):
        return dump.tasks[number]["name"]

    def lock(number):
        return dump.objects[number]["name"]

    return [(finding["rule"], finding["certainty"],
             sorted(map(task, finding["tasks"])),
             sorted((task(edge["task"]), lock(edge["holds"]),
                     lock(edge["waits_for"]), task(edge["held_by"]))
                    for edge in finding.get("cycle", [])))
            for finding in dump.document["findings"]
            if finding["severity"] == "error"]


def weft_says(build, *words):
    """The dump that the command `weft` takes."""
    done = subprocess.run([build / "src" / "weft", "dump", *words, "--json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=WAIT_S)
    if not done.stdout:
        raise Failure(f"weft dump {' '.join(map(str, words))} says nothing "
                      f"but: {done.stderr}")
    return Dump(done.stdout)


def check_same(report, source, dump, other):
    report.check(essence(dump) == essence(other) != [],
                 f"a dump {source} finds the same")


def leave_core(server, place):
    """The core that the kernel leaves of the server, or None."""
    server.process.send_signal(signal.SIGABRT)
    server.process.wait(WAIT_S)
    return next(Path(place).glob("core*"), None)


def check_core(report, build, dump, server, place):
    core = leave_core(server, place)
    if core is None:
        with open("/proc/sys/kernel/core_pattern") as file:
            report.skip("a dump from its core finds the same",
                        "the kernel writes none here (core_pattern is "
                        f"{file.read().strip()!r})")
        return
    check_same(report, "from its core, when it has been killed,",
               weft_says(build, "--core", core, "-e",
                         build / "examples" / "kv-server"), dump)


def check_alive(report, control, transfers):
    report.check(all(client.silent() for client in transfers),
                 "the two TRANSFERs still wait, as they must")
    report.check(control.call("MGET alice bob").startswith("2"),
                 "the server still answers")


def check_end(report, server):
    """Another one, in the same deadlock."""
    control = Client(server.port)
    transfers = deadlock(server, control)
    wait_for("all connections", lambda: connected(control) == 3)
    time.sleep(0.2)
    stuck = all(client.silent() for client in transfers)
    server.process.terminate()
    try:
        status = server.process.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        status = None
    report.check(stuck and status == 0, "another server, in the same deadlock, "
                 "stops in order when told to")


def deadlock(server, control):
    """Two transfers that lock the same accounts in opposite orders."""
    control.call("SET alice 100")
    control.call("SET bob 100")
    transfers = [Client(server.port), Client(server.port)]
    transfers[0].send("TRANSFER alice bob 10")
    transfers[1].send("TRANSFER bob alice 10")
    return transfers


def show(report, text):
    report.say()
    report.say("\n".join("  " + line if line else line
                         for line in text.split("\n")))
    report.say()


def run(report, build, stack):
    program = build / "examples" / "kv-server"
    dump_file = build / "demo-dump.json"
    if not program.exists():
        raise Failure(f"there is no {program}: ./dev build makes it")
    dump_file.unlink(missing_ok=True)

    place = stack.enter_context(tempfile.TemporaryDirectory())
    server = Server(program, str(dump_file), place)
    stack.callback(end_process, server.process)
    report.say(f"A key-value server on weft runs on port {server.port}, "
               f"as process {server.process.pid}.")
    control = Client(server.port)
    loads = []
    report.say(f"redis-benchmark loads it, over {CONNECTIONS} connections with"
               f" one request at a time,\nand over {CONNECTIONS} more with "
               f"{PIPELINE}; another connection asks all the time and notes "
               "how long it waits.")
    rates = {pipeline: measured_rate(server, pipeline)
             for pipeline in (1, PIPELINE)}
    for pipeline, rate in rates.items():
        loads.append(Load(server, pipeline, rate))
        stack.callback(end_process, loads[-1].process)
    probe = Probe(server.port)

    report.say("Two clients send opposite transfers: TRANSFER alice bob 10, "
               "and TRANSFER bob alice 10.")
    transfers = deadlock(server, control)
    count = 2 * CONNECTIONS + 4
    wait_for("all connections", lambda: connected(control) == count)
    time.sleep(0.5)
    stuck = all(client.silent() for client in transfers)
    report.say("Half a second later neither has been answered. "
               "SIGQUIT asks the server why:")
    loaded = all(load.running() for load in loads)
    asked = time.monotonic()
    server.process.send_signal(signal.SIGQUIT)
    wait_for("the dump", lambda: dump_file.exists() or
             server.process.poll() is not None)
    outside = weft_says(build, str(server.process.pid))
    loaded = loaded and all(load.running() for load in loads)
    text = server.text()
    show(report, text)
    report.say(f"The same as JSON is in {dump_file}.")
    report.say("What has been checked:")

    report.check(stuck, "the two transfers lock each other out")
    report.check(loaded, "the dumps were taken while both loads ran")
    dump = Dump(dump_file.read_text())
    check_deadlock(report, dump, transfers)
    check_text(report, text)
    check_whole(report, dump, count)
    check_same(report, "from outside, by its pid,", outside, dump)
    check_service(report, probe, asked, loads)
    check_alive(report, control, transfers)
    check_core(report, build, dump, server, place)
    other = Server(program, str(dump_file), place)
    stack.callback(end_process, other.process)
    check_end(report, other)


def give_up(number, _):
    raise Failure(f"stopped by {signal.Signals(number).name}"
                  + (f" after {LIMIT_S} s" if number == signal.SIGALRM else ""))


def main():
    parser = argparse.ArgumentParser(
        description="A key-value server deadlocks under load; "
                    "weft's dump says why.")
    default = Path(os.environ.get("WEFT_BUILD", ROOT / "build")) / "release"
    parser.add_argument("--build", type=Path, default=default, metavar="DIR",
                        help=f"the build tree (default: {default})")
    parser.add_argument("--tap", action="store_true",
                        help="print the checks as TAP")
    arguments = parser.parse_args()

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, give_up)
    signal.alarm(LIMIT_S)
    report = Report(arguments.tap)
    with contextlib.ExitStack() as stack:
        try:
            run(report, arguments.build.resolve(), stack)
        except (Failure, OSError, ValueError, KeyError) as failure:
            report.say(f"{type(failure).__name__}: {failure}")
            report.check(False, "the demo runs to its end")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
