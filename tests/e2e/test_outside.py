#!/usr/bin/env python3
# test_outside.py -- `weft dump PID`, as whoever is called at night meets it.
#
# A key-value server deadlocks, and its dump by pid must say what its own dump,
# by signal, says. It is stopped, stripped, rebuilt with other structures; the
# command is killed in the middle, and refused. Prints TAP.
import ctypes
import json
import os
import random
import re
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
WAIT_S = 30
KILLS = 20
PR_SET_PDEATHSIG = 1
MAGIC = b"weft dmp"
LAYOUT_AT = 64 + 4096  # in the beacon


class Skip(Exception):
    """The machine lacks something; the message says what."""


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A running server, and clients of it."""

    def __init__(self, program=SERVER, **env):
        self.process = subprocess.Popen(
            [program, "--port", "0"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, **env},
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


def ask(client, words):
    client.sendall(words.encode() + b"\r\n")
    return client.recv(4096)


def weft(*arguments, **options):
    return subprocess.run([WEFT, *map(str, arguments)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=4 * WAIT_S, **options)


def dump_by_pid(server):
    done = weft("dump", server.pid, "--json")
    if done.returncode != 0:
        raise AssertionError(f"status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


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
        f["rule"] == "deadlock" for f in dump_by_pid(server)["findings"]))


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


def of_another_layout():
    with tempfile.TemporaryDirectory() as place:
        copy = os.path.join(place, "server")
        with open(SERVER, "rb") as file:
            image = bytearray(file.read())
        at = [m.start() for m in re.finditer(MAGIC, image)]
        for start in at:
            image[start + LAYOUT_AT] ^= 1
        with open(copy, "wb") as file:
            file.write(image)
        os.chmod(copy, 0o755)
        with Server(copy) as server:
            done = weft("dump", server.pid)
            equal(done.returncode, 1)
            expect("use the command that came with that weft" in done.stderr,
                   done.stderr)
            equal(len(done.stderr.splitlines()), 1)


def killed_in_the_middle():
    with Server() as server:
        client = server.connect()
        for _ in range(KILLS):
            command = subprocess.Popen([WEFT, "dump", str(server.pid)],
                                       stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            time.sleep(random.random() * 0.02)
            command.kill()
            command.wait()
            equal(ask(client, "PING"), b"+PONG\r\n")


def under_load():
    with Server() as server:
        clients = [server.connect() for _ in range(20)]
        for _ in range(20):
            for client in clients:
                client.sendall(b"SET key value\r\n" * 20)
            equal(len(dump_by_pid(server)["tasks"]), 21)
        for client in clients:
            got = b""
            while len(got) < 400 * len(b"+OK\r\n"):
                got += client.recv(65536)
            equal(got, b"+OK\r\n" * 400)


def refusals():
    for arguments, status, words in (
            ((), 64, "usage:"), (("dump",), 64, "usage:"),
            (("dump", "x"), 64, "not the number of a process"),
            (("dump", "-1"), 64, "not the number of a process"),
            (("dump", "1", "--xml"), 64, "usage:"),
            (("dump", "999999999"), 1, "no process 999999999"),
            (("dump", str(os.getpid())), 1, "not a weft program")):
        done = weft(*arguments)
        equal((arguments, done.returncode), (arguments, status))
        expect(words in done.stderr, done.stderr)
        equal(done.stdout, "")


def help_text():
    done = weft("--help")
    equal((done.returncode, done.stderr), (0, ""))
    expect(done.stdout.startswith("usage: weft dump PID"), done.stdout)


def as_another_user():
    if os.geteuid() != 0:
        raise Skip("only root can become another user")
    with Server() as server, tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        copy = os.path.join(place, "weft")
        shutil.copy(WEFT, copy)
        done = subprocess.run([copy, "dump", str(server.pid)], user=65534,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        equal(done.returncode, 1)
        expect("run this as root" in done.stderr, done.stderr)


def may_trace():
    """Whether this machine lets one process look at another at all."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        return os.access(f"/proc/{child.pid}/mem", os.R_OK)
    finally:
        child.kill()
        child.wait()


CASES = [
    says_what_the_process_says, text_names_the_deadlock, of_a_stopped_process,
    of_a_stripped_program, of_a_program_that_is_gone, of_another_layout,
    killed_in_the_middle, under_load, refusals, help_text, as_another_user,
]


def main():
    failed = False
    print(f"1..{len(CASES)}", flush=True)
    for number, case in enumerate(CASES, 1):
        result, comment = "ok", ""
        try:
            if not may_trace():
                raise Skip("this machine lets no process be traced")
            case()
        except Skip as reason:
            comment = f" # SKIP {reason}"
        except Exception as failure:
            result, failed = "not ok", True
            print(f"# {type(failure).__name__}: {failure}")
        print(f"{result} {number} - {case.__name__}{comment}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
