#!/usr/bin/env python3
# test_outside.py -- `weft dump PID`, as whoever is called at night meets it.
#
# A key-value server deadlocks, and its dump by pid must say what its own dump,
# by signal, says. It is stopped, stripped, rebuilt with other structures; the
# command is killed in the middle, and refused. tests/outside has programs in
# states of their own, linked in several ways. Prints TAP.
import contextlib
import ctypes
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TREE = os.environ.get("WEFT_TREE", "build/release")
WEFT = os.path.join(TREE, "src", "weft")
SERVER = os.path.join(TREE, "examples", "kv-server")
OUTSIDE = os.path.join(TREE, "tests", "outside", "outside")
WAIT_S = 30
KILLS = 40
NOBODY = 65534
PR_SET_PDEATHSIG = 1
MAGIC = b"weft dmp"
VERSION_AT = 8  # in the beacon
LAYOUT_AT = 64 + 4096  #
PTRACE_CONT, PTRACE_ATTACH, PTRACE_DETACH = 7, 16, 17
WALL = 0x40000000  # of waitpid
LIBC = ctypes.CDLL(None, use_errno=True)


class Skip(Exception):
    """The machine lacks something; the message says what."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A running server, and clients of it."""

    def __init__(self, program=SERVER, cwd=None, **env):
        self.process = subprocess.Popen(
            [program, "--port", "0"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, **env}, cwd=cwd,
            preexec_fn=die_with_parent)
        line = self.process.stdout.readline().decode()
        self.port = int(re.search(r":(\d+)$", line)[1])
        self.pid = self.process.pid
        self.clients = []

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
        self.clients.append(client)
        return client

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class Outside:
    """A program of tests/outside in one of its states."""

    def __init__(self, *state, program=OUTSIDE, before=(), **options):
        self.process = subprocess.Popen(
            [*before, program, *state], stdout=subprocess.PIPE,
            preexec_fn=None if "user" in options else die_with_parent,
            **options)
        line = self.process.stdout.readline()
        self.pid = self.process.pid
        if line != b"ready\n":
            self.__exit__()
            raise AssertionError(f"{state}: {line!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def connect_many(server):
    """Clients that the server has a task for, each."""
    clients = [server.connect() for _ in range(20)]
    for client in clients:
        equal(ask(client, "PING"), b"+PONG\r\n")
    return clients


def ask(client, words):
    client.sendall(words.encode() + b"\r\n")
    return client.recv(4096)


def weft(*arguments, **options):
    return subprocess.run([WEFT, *map(str, arguments)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=4 * WAIT_S, **options)


def dump_by_pid(server, *options, moving=False):
    """A dump; a task that is moving may make it incomplete."""
    done = weft("dump", server.pid, "--json", *options)
    if done.returncode != 0 and not (moving and done.returncode == 1):
        raise AssertionError(f"status {done.returncode}: {done.stderr} "
                             f"{done.stdout[:1000]}")
    dump = json.loads(done.stdout)
    equal(dump["capture"]["complete"], done.returncode == 0)
    return dump


def threads_of(pid):
    return [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]


def status_of(pid, tid, key):
    with open(f"/proc/{pid}/task/{tid}/status") as status:
        return re.search(rf"^{key}:\s+(\S+)", status.read(), re.M)[1]


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def equal(left, right):
    expect(left == right, f"{left!r} is not {right!r}")


def wait_for(what, condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        expect(time.monotonic() < end, f"waited in vain for {what}")
        time.sleep(0.01)


# ---- What two dumps of one standing process have in common ----

def frames_of(dump, task):
    """Function and line of each frame, leaf first, without weft's own."""
    by_id = {frame["id"]: frame for frame in dump["frames"]}
    stack = next(s for s in dump["stacks"] if s["id"] == task["stack"])
    return [(by_id[f]["function"], by_id[f]["file"], by_id[f]["line"])
            for f in stack["frames"]]


def essence(dump):
    objects = {o["id"]: (o["kind"], o["name"]) for o in dump["objects"]}
    return {task["id"]: (task["name"], task["state"], task["schedules"],
                         task["wait"] and task["wait"]["kind"],
                         task["wait"] and objects.get(task["wait"]["object"]),
                         sorted(objects[h] for h in task["holds"]),
                         frames_of(dump, task))
            for task in dump["tasks"]}


def findings(dump):
    return [(f["rule"], f["certainty"], sorted(f["tasks"]))
            for f in dump["findings"]]


def deadlock(server):
    """Two clients whose opposite transfers wait for each other."""
    first, second = server.connect(), server.connect()
    for client, key in (first, "alice"), (second, "bob"):
        equal(ask(client, f"SET {key} 100"), b"+OK\r\n")
    first.sendall(b"TRANSFER alice bob 1\r\n")
    second.sendall(b"TRANSFER bob alice 1\r\n")
    wait_for("the deadlock", lambda: any(
        f["rule"] == "deadlock"
        for f in dump_by_pid(server, moving=True)["findings"]))


# ---- Cases ----

def says_what_the_process_says():
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "dump.json")
        with Server(WEFT_DUMP_SIGNAL="QUIT", WEFT_DUMP_FILE=path) as server:
            deadlock(server)
            outside = dump_by_pid(server)
            server.process.send_signal(signal.SIGQUIT)
            wait_for("the dump", lambda: os.path.exists(path))
            with open(path) as file:
                inside = json.load(file)
            equal(essence(outside), essence(inside))
            equal(findings(outside), findings(inside))
            expect(outside["findings"], "no deadlock was found")


def text_names_the_deadlock():
    with Server() as server:
        deadlock(server)
        done = weft("dump", server.pid)
        equal(done.returncode, 0)
        expect("DEADLOCK: 2 tasks wait for each other" in done.stdout,
               done.stdout)
        expect("the process was stopped for" in done.stdout, done.stdout)


def verbose_shows_all_frames():
    with Server() as server:
        deadlock(server)
        text = weft("dump", server.pid).stdout
        expect("(weft's own frames are hidden: --verbose shows them)" in text
               and "(all of it as JSON: --json)" in text, text)
        expect("weft_mutex_lock" not in text, text)
        text = weft("dump", server.pid, "--verbose").stdout
        expect("weft_mutex_lock" in text and "hidden" not in text, text)
        equal(weft("dump", server.pid, "--verbose", "--json").returncode, 64)


def of_a_stopped_process():
    with Server() as server:
        client = server.connect()
        equal(ask(client, "PING"), b"+PONG\r\n")
        os.kill(server.pid, signal.SIGSTOP)
        os.waitpid(server.pid, os.WUNTRACED)
        equal(len(dump_by_pid(server)["tasks"]), 2)
        with open(f"/proc/{server.pid}/stat") as stat:
            equal(stat.read().rsplit(")", 1)[1].split()[0], "T")
        os.kill(server.pid, signal.SIGCONT)
        equal(ask(client, "PING"), b"+PONG\r\n")


def of_a_stripped_program():
    strip = shutil.which("strip")
    if not strip:
        raise Skip("there is no strip")
    with tempfile.TemporaryDirectory() as place:
        bare = os.path.join(place, "server")
        subprocess.run([strip, "-o", bare, SERVER], check=True)
        with Server(bare) as server:
            dump = dump_by_pid(server)
            equal([t["name"] for t in dump["tasks"]], ["listener"])
            expect(all(s["end"] == "whole" for s in dump["stacks"]),
                   "a stack is not whole")


def of_a_program_that_is_gone():
    with tempfile.TemporaryDirectory() as place:
        copy = os.path.join(place, "server")
        shutil.copy(SERVER, copy)
        with Server(copy) as server:
            os.unlink(copy)
            equal(len(dump_by_pid(server)["tasks"]), 1)


@contextlib.contextmanager
def other_server(change, cwd=None):
    """A server whose beacon says something else."""
    with tempfile.TemporaryDirectory() as place:
        copy = os.path.join(place, "server")
        with open(SERVER, "rb") as file:
            image = bytearray(file.read())
        for start in [m.start() for m in re.finditer(MAGIC, image)]:
            change(image, start)
        with open(copy, "wb") as file:
            file.write(image)
        os.chmod(copy, 0o755)
        with Server(copy, cwd=cwd) as server:
            yield server


def is_refused(words, *arguments):
    done = weft(*arguments)
    equal((done.returncode, done.stdout), (2, ""))
    expect(words in done.stderr, done.stderr)
    equal(len(done.stderr.splitlines()), 1)


OTHER = "use the command that came with that weft"


def with_other_beacon(change, words):
    with other_server(change) as server:
        is_refused(f"{words}: {OTHER}", "dump", server.pid)


def add_to(offset, number):
    def change(image, start):
        image[start + offset] += number
    return change


OLDER, NEWER = add_to(VERSION_AT, -1), add_to(VERSION_AT, 1)


def of_another_layout():
    with_other_beacon(add_to(LAYOUT_AT, 1), 
                      "whose structures this command (of weft 0.1.0) does not "
                      "know")


def of_an_older_version():
    with_other_beacon(OLDER, "older than this command (of weft 0.1.0) can read")


def of_a_newer_version():
    with_other_beacon(NEWER, "newer than this command (of weft 0.1.0) can read")


def runs_on(server, client):
    """Nothing of it is stopped or traced, and it answers."""
    for tid in threads_of(server.pid):
        equal(status_of(server.pid, tid, "TracerPid"), "0")
        expect(status_of(server.pid, tid, "State") not in "Tt",
               f"thread {tid} stands")
    equal(ask(client, "PING"), b"+PONG\r\n")


def ended_in_the_middle(number, statuses):
    with Server() as server:
        clients = connect_many(server)
        seen = set()
        for _ in range(KILLS):
            command = subprocess.Popen([WEFT, "dump", str(server.pid)],
                                       stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            time.sleep(random.random() * 0.03)
            command.send_signal(number)
            seen.add(command.wait())
            runs_on(server, clients[0])
        expect(seen <= statuses, f"statuses {seen}")
        equal(len(dump_by_pid(server)["tasks"]), 21)


def killed_in_the_middle():
    ended_in_the_middle(signal.SIGKILL, {0, 1, -signal.SIGKILL})


# The handlers are set when the command line has been read: before that it dies
# as any program does.
def interrupted_in_the_middle():
    ended_in_the_middle(signal.SIGINT, {0, 1, 130, -signal.SIGINT})


def interrupted_says_130():
    """It cannot have ended: nobody reads what it writes, and that is long."""
    with Outside("parked", "5000") as program, subprocess.Popen(
            [WEFT, "dump", str(program.pid), "--json"],
            stdout=subprocess.PIPE) as command:
        wait_for("the handler", lambda: int(status_of(
            command.pid, command.pid, "SigCgt"), 16) & 2)
        command.send_signal(signal.SIGINT)
        equal(command.wait(), 130)
        for tid in threads_of(program.pid):
            equal(status_of(program.pid, tid, "TracerPid"), "0")


def under_load():
    with Server() as server:
        clients = connect_many(server)
        for _ in range(20):
            for client in clients:
                client.sendall(b"SET key value\r\n" * 20)
            equal(len(dump_by_pid(server, moving=True)["tasks"]), 21)
        for client in clients:
            got = b""
            while len(got) < 400 * len(b"+OK\r\n"):
                got += client.recv(65536)
            equal(got, b"+OK\r\n" * 400)


def refusals():
    for arguments, status, words in (
            ((), 64, "usage:"), (("dump",), 64, "usage:"),
            (("dump", "x"), 64, "not the number of a process"),
            (("dump", "0"), 64, "not the number of a process"),
            (("dump", "-1"), 64, "usage:"),
            (("dump", "1", "2"), 64, "usage:"),
            (("dump", "1", "--xml"), 64, "usage:"),
            (("dump", "1", "--runtime"), 64, "usage:"),
            (("dump", "999999999"), 2, "999999999: there is no such process"),
            (("dump", str(os.getpid())), 2, "it is not a weft program")):
        done = weft(*arguments)
        equal((arguments, done.returncode), (arguments, status))
        expect(words in done.stderr, done.stderr)
        equal(done.stdout, "")


def help_text():
    done = weft("--help")
    equal((done.returncode, done.stderr), (0, ""))
    expect(done.stdout.startswith("usage: weft dump PID"), done.stdout)


def of_a_zombie():
    child = subprocess.Popen(["true"], stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    refused(child.pid, "a zombie")
    child.wait()


def of_a_thread():
    with Server() as server:
        other = next(t for t in threads_of(server.pid) if t != server.pid)
        refused(other, f"it is a thread: give the number of its process, "
                       f"{server.pid}")


def of_a_kernel_thread():
    try:
        with open("/proc/2/comm") as name:
            if name.read() != "kthreadd\n":
                raise Skip("process 2 is not the kernel's")
    except OSError as reason:
        raise Skip("no thread of the kernel is in sight") from reason
    refused(2, "a thread of the kernel")


def refused(pid, words, command=WEFT, **options):
    done = subprocess.run([command, "dump", str(pid)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=WAIT_S, **options)
    equal((done.returncode, done.stdout), (2, ""))
    expect(words in done.stderr, done.stderr)
    equal(len(done.stderr.splitlines()), 1)


class ForAll:
    """Copies of programs that every user may run."""

    def __init__(self):
        if os.geteuid() != 0:
            raise Skip("only root can become another user")
        self.place = tempfile.TemporaryDirectory()

    def __enter__(self):
        os.chmod(self.place.name, 0o1777)
        return lambda path: shutil.copy(path, self.place.name)

    def __exit__(self, *_):
        self.place.cleanup()


def refused_to_another(pid, words, command):
    """Where a build counts what is reached, its user's go beside the copy."""
    counted = {"GCOV_PREFIX": os.path.dirname(command)}
    refused(pid, words, command, user=NOBODY, env={**os.environ, **counted})


def as_another_user():
    with Server() as server, ForAll() as copy:
        refused_to_another(
            server.pid, f"run by user 0, and this command by user {NOBODY}",
            copy(WEFT))


def of_one_not_dumpable():
    with ForAll() as copy, Outside("sealed", program=copy(OUTSIDE),
                                   user=NOBODY) as program:
        refused_to_another(program.pid, "it is not dumpable", copy(WEFT))
        equal(len(dump_by_pid(program)["tasks"]), 1)  # root may


def forbid(*calls):
    """A filter of system calls, as containers have it: these give EPERM."""
    class Instruction(ctypes.Structure):
        _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8),
                    ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_uint16),
                    ("filter", ctypes.POINTER(Instruction))]

    code = [(0x20, 0, 0, 0)]  # load the call's number
    for call in calls:
        code += [(0x15, 0, 1, call[os.uname().machine]),
                 (0x06, 0, 0, 0x00050001)]  # EPERM
    code += [(0x06, 0, 0, 0x7fff0000)]  # allow
    code = (Instruction * len(code))(*code)

    def apply():
        LIBC.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        LIBC.prctl(22, 2, ctypes.byref(Program(len(code), code)))  # SECCOMP

    return {"preexec_fn": apply,  # LeakSanitizer traces its own process
            "env": {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}}


PTRACE = {"x86_64": 101, "aarch64": 117}
PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270}


def under_a_filter_of_calls():
    with Outside("waiting") as program:
        refused(program.pid, "(seccomp", **forbid(PTRACE))
        refused(program.pid, "(seccomp", **forbid(PTRACE, PROCESS_VM_READV))
        for options, filtered in (
                (("--no-stop",), forbid(PTRACE)),
                (("--no-stop",), forbid(PTRACE, PROCESS_VM_READV)),
                ((), forbid(PROCESS_VM_READV))):
            done = weft("dump", program.pid, *options, **filtered)
            equal((done.returncode, done.stderr), (0, ""))
            expect("wait_for_ever" in done.stdout, done.stdout)


def without_its_capability():
    """Root, but without SYS_PTRACE, as in containers."""
    CAP_SYS_PTRACE = 19
    with open("/proc/self/status") as file:
        own = int(re.search(r"^CapEff:\s+(\w+)", file.read(), re.M)[1], 16)
    if not own >> CAP_SYS_PTRACE & 1:
        raise Skip("it has none to begin with")
    less = {  # PR_CAPBSET_DROP: what is executed then has it no more
        "preexec_fn": lambda: LIBC.prctl(24, CAP_SYS_PTRACE, 0, 0, 0)}
    with Outside("waiting") as program:
        refused(program.pid, "has capabilities that this command lacks (`capsh "
                             "--decode=80000`", **less)
    with ForAll() as copy, Outside("waiting", program=copy(OUTSIDE),
                                   user=NOBODY) as program:
        refused(program.pid, f"it is run by user {NOBODY}, and this root lacks "
                             "the capability SYS_PTRACE", **less)


def from_another_user_namespace():
    before = ["unshare", "--user", "--map-root-user"]
    probe = subprocess.run([*before, "true"], stderr=subprocess.PIPE,
                           text=True)
    if probe.returncode != 0:
        raise Skip(f"no user namespaces: {probe.stderr.strip()}")
    with Outside("waiting") as program:
        done = subprocess.run([*before, WEFT, "dump", str(program.pid)],
                              stderr=subprocess.PIPE, text=True)
        equal(done.returncode, 2)
        expect("this command is in a user namespace" in done.stderr,
               done.stderr)


# ---- Without a stop ----

def is_unstopped(dump):
    equal((dump["capture"]["consistent"], dump["capture"]["method"],
           dump["capture"]["pause_us"]), (False, "none", 0))
    expect(all(f["certainty"] != "proven" for f in dump["findings"]),
           dump["findings"])


def without_a_stop():
    with Server() as server:
        deadlock(server)
        dump = dump_by_pid(server, "--no-stop")
        is_unstopped(dump)
        equal([f["certainty"] for f in dump["findings"]
               if f["rule"] == "deadlock"], ["likely"])
        equal(essence(dump), essence(dump_by_pid(server)))
        text = weft("dump", server.pid, "--no-stop").stdout
        expect("snapshot: NOT OF ONE MOMENT, complete; the process was not "
               "stopped" in text, text)
        expect("no finding is proven" in text, text)
        equal(dump_by_pid(server)["capture"]["method"], "ptrace")


def without_a_stop_under_load():
    with Server() as server:
        clients = connect_many(server)
        for _ in range(10):
            for client in clients:
                client.sendall(b"SET key value\r\n" * 20)
            dump = dump_by_pid(server, "--no-stop", moving=True)
            is_unstopped(dump)
            equal(len(dump["tasks"]), 21)


def held_by_another():
    with Server() as server:
        deadlock(server)
        before = essence(dump_by_pid(server))
        held = threads_of(server.pid)
        for tid in held:
            equal(LIBC.ptrace(PTRACE_ATTACH, tid, None, None), 0)
            os.waitpid(tid, WALL)
        refused(server.pid, f"process {os.getpid()} (")
        refused(server.pid, "traces it already, and only one can: end that, or "
                            "read without stopping by --no-stop")
        dump = dump_by_pid(server, "--no-stop")
        is_unstopped(dump)
        equal(essence(dump), before)
        for tid in held:
            equal(LIBC.ptrace(PTRACE_DETACH, tid, None, None), 0)


# ---- Programs in states of their own ----

def functions(dump, stack):
    frames = {frame["id"]: frame["function"] for frame in dump["frames"]}
    return [frames[f] for f in
            next(s for s in dump["stacks"] if s["id"] == stack)["frames"]]


def task_called(dump, name):
    return next(t for t in dump["tasks"] if t["name"] == name)


def linked_in_every_way():
    programs = [p for p in os.listdir(os.path.dirname(OUTSIDE))
                if re.fullmatch(r"outside-[a-z-]+", p)]
    expect(len(programs) >= 3, programs)
    for program in programs:
        path = os.path.join(os.path.dirname(OUTSIDE), program)
        with Outside("waiting", program=path) as running:
            dump = dump_by_pid(running)
            equal((program, len(dump["tasks"])), (program, 1))
            names = functions(dump, dump["tasks"][0]["stack"])
            expect("wait_for_item" in names and "wait_for_ever" in names,
                   f"{program}: {names}")
            equal((program, [s["end"] for s in dump["stacks"]]),
                  (program, ["whole"]))


def stripped_without_a_table():
    program = OUTSIDE + "-no-header"
    strip = shutil.which("strip")
    if not os.path.exists(program) or not strip:
        raise Skip("there is no static program, or no strip")
    with tempfile.TemporaryDirectory() as place:
        bare = os.path.join(place, "bare")
        subprocess.run([strip, "-o", bare, program], check=True)
        with Outside("waiting", program=bare) as running:
            dump = dump_by_pid(running)
            equal([s["end"] for s in dump["stacks"]], ["whole"])
            expect(len(dump["stacks"][0]["frames"]) >= 4, dump["stacks"])


def of_several_runtimes():
    with Outside("two") as program:
        done = weft("dump", program.pid, "--json")
        decoder, text, names = json.JSONDecoder(), done.stdout, []
        while text.strip():
            dump, end = decoder.raw_decode(text.lstrip())
            text = text.lstrip()[end:]
            names.append((dump["process"]["runtime"]["name"],
                          [t["name"] for t in dump["tasks"]]))
        equal(names, [("first", ["one"]), ("second", ["two"])])
        dump = dump_by_pid(program, "--runtime", "second")
        equal([t["name"] for t in dump["tasks"]], ["two"])
        done = weft("dump", program.pid, "--runtime", "third")
        equal(done.returncode, 2)
        expect('no runtime called "third"' in done.stderr, done.stderr)


def with_all_workers_stuck():
    with Outside("stuck") as program:
        wait_for("the findings", lambda: {"no-yield", "syscall"} <= {
            f["rule"] for f in dump_by_pid(program)["findings"]})
        dump = dump_by_pid(program)
        reader = task_called(dump, "reader")
        expect("read_never" in functions(dump, reader["stack"]), reader)
        spinner = task_called(dump, "spinner")
        expect("spawn_and_spin" in functions(dump, spinner["stack"]), spinner)
        queued = [t for t in dump["tasks"] if t["state"] == "new"]
        expect(queued, "no task is queued")
        own = [t for t in queued if t["worker"] == spinner["worker"]]
        # The newest is to run next; what a short queue cannot hold, is shared.
        equal([t["queue_place"] for t in own],
              [(i + 1) % len(own) for i in range(len(own))])
        equal(sorted(t["queue_place"] for t in queued if t["worker"] is None),
              list(range(len(queued) - len(own))))


def of_foreign_threads():
    with Outside("threads") as program:
        for options in (), ("--no-stop",):
            dump = dump_by_pid(program, *options)
            threads = {t["kind"]: t for t in dump["threads"]}
            stranger, pool = threads["foreign"], threads["pool"]
            equal((stranger["name"], stranger["wait"]["object_name"]),
                  ("stranger", "door"))
            expect("wait_as_thread" in functions(dump, stranger["stack"]),
                   functions(dump, stranger["stack"]))
            expect("read_never" in functions(dump, pool["stack"]),
                   functions(dump, pool["stack"]))
            tids = threads_of(program.pid)
            expect(stranger["tid"] in tids and pool["tid"] in tids, tids)


def with_its_own_locks_held():
    with Outside("locks") as program:
        dump = dump_by_pid(program, "--runtime", "locks")
        equal([t["name"] for t in dump["tasks"]], ["waiter"])
        dump = dump_by_pid(program, "--runtime", "spawner")
        spawner = task_called(dump, "spawner")
        equal(spawner["state"], "running")
        expect("spawn_once" in functions(dump, spawner["stack"]), spawner)


def out_of_memory_and_descriptors():
    with Outside("threads") as program:
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (0, 0))
        resource.prlimit(program.pid, resource.RLIMIT_AS, (4096, 4096))
        equal(len(dump_by_pid(program)["tasks"]), 1)


def in_other_namespaces():
    if os.geteuid() != 0:
        raise Skip("only root can make namespaces")
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"],
                           stderr=subprocess.PIPE, text=True)
    if probe.returncode != 0:
        raise Skip(f"no namespaces: {probe.stderr.strip()}")
    with tempfile.TemporaryDirectory() as place:
        library = os.path.realpath(os.path.join(TREE, "src", "libweft.so.0"))
        script = ("mount -t tmpfs none $0 && cp $1 $0/hidden && "
                  "cp $2 $0/libweft.so.0 && export LD_LIBRARY_PATH=$0 && "
                  "exec $0/hidden stuck")
        before = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh",
                  "-c", script, place, OUTSIDE + "-shared"]
        with Outside(program=library, before=before) as shell:
            with open(f"/proc/{shell.pid}/task/{shell.pid}/children") as file:
                shell.inner = int(file.read())
            done = weft("dump", shell.inner, "--json")
            equal((done.returncode, done.stderr), (0, ""))
            dump = json.loads(done.stdout)
            reader = task_called(dump, "reader")
            names = functions(dump, reader["stack"])
            expect("read_never" in names, names)
            tids = threads_of(shell.inner)
            expect(all(w["tid"] in tids for w in dump["workers"]),
                   dump["workers"])
            new = task_called(dump, "ready 0")
            expect("wait_for_ever" in functions(dump, new["stack"]), new)
            library = next(m for m in dump["modules"]
                           if m["path"].endswith("libweft.so.0"))
            expect(any(f["module"] == library["id"] and f["line"]
                       for f in dump["frames"]), "no names in libweft")


def may_trace():
    """Whether this machine lets one process look at another at all."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        return os.access(f"/proc/{child.pid}/mem", os.R_OK)
    finally:
        child.kill()
        child.wait()


CASES = [
    says_what_the_process_says, text_names_the_deadlock,
    verbose_shows_all_frames, of_a_stopped_process,
    of_a_stripped_program, of_a_program_that_is_gone, of_another_layout,
    of_an_older_version, of_a_newer_version, killed_in_the_middle,
    interrupted_in_the_middle, interrupted_says_130, under_load, refusals,
    help_text, of_a_zombie, of_a_thread, of_a_kernel_thread, as_another_user,
    of_one_not_dumpable, under_a_filter_of_calls, without_its_capability,
    from_another_user_namespace, without_a_stop,
    without_a_stop_under_load, held_by_another, linked_in_every_way,
    stripped_without_a_table, of_several_runtimes, with_all_workers_stuck,
    of_foreign_threads, with_its_own_locks_held, out_of_memory_and_descriptors,
    in_other_namespaces,
]


def run(cases):
    """Runs them, or those that the command line names, prints TAP; the exit
    status."""
    wanted = sys.argv[1:]
    cases = [case for case in cases if not wanted or case.__name__ in wanted]
    failed = False
    print(f"1..{len(cases)}", flush=True)
    for number, case in enumerate(cases, 1):
        result, comment = "ok", ""
        try:
            if not may_trace():
                raise Skip("this machine lets no process be traced")
            case()
        except Skip as reason:
            comment = f" # SKIP {reason}"
        except Exception as failure:
            result, failed = "not ok", True
            for line in f"{type(failure).__name__}: {failure}".splitlines():
                print(f"# {line}")
        print(f"{result} {number} - {case.__name__}{comment}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(CASES))
