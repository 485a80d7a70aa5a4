#!/usr/bin/env python3
# test_gdb.py -- weft's commands inside gdb, tried by gdb itself: on processes
# that it has attached to or started, on cores that the kernel has written, with
# and without debug information; and whether all who can be asked of a thousand
# parked tasks say the same. Prints TAP.
#
# gdb starts slowly: each case is one run of it, with many commands.
import functools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import typing
from pathlib import Path

from test_outside import (NEWER, OLDER, Server, Skip, deadlock,
                          die_with_parent, equal, expect, other_server, run)

TREE = Path(os.environ.get("WEFT_TREE", "build/release")).resolve()
SOURCE = Path(os.environ.get("WEFT_SOURCE",
                             Path(__file__).resolve().parents[2])).resolve()
SCRIPT = SOURCE / "gdb" / "weft-gdb.py"
INSIDE = SOURCE / "tests" / "gdb" / "inside.py"
WEFT = TREE / "src" / "weft"
SERVER = TREE / "examples" / "kv-server"
LIBRARY = TREE / "src" / "libweft.so.0.1.0"
SITUATIONS = TREE / "tests" / "gdb" / "situations"
PARKED = TREE / "tests" / "gdb" / "parked"
PLUGIN = TREE / "tests" / "modules" / "plugin.so"
WAIT_S = 60
TASKS = 1000
CHAINS = 50
SUM = "sum 28266"


def shows(pattern, output):
    expect(re.search(pattern, output, re.MULTILINE),
           f"{pattern!r} is not in:\n{output}")


def hides(pattern, output):
    expect(not re.search(pattern, output, re.MULTILINE),
           f"{pattern!r} is in:\n{output}")


# ---- Programs, and gdb ----

class Program:
    """One that has said by a line that it is where it shall be."""

    def __init__(self, *words, ready, cwd=None, **env):
        self.process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, **env},
            cwd=cwd, preexec_fn=die_with_parent)
        self.pid = self.process.pid
        line = self.process.stdout.readline()
        expect(line.startswith(ready), f"{words[0]} said {line!r}")

    def finish(self):
        """With what it has said, and its status."""
        out, _ = self.process.communicate("go\n", timeout=WAIT_S)
        return out, self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def core_of(process, directory):
    """The path of a core that the kernel has written of it."""
    process.send_signal(signal.SIGABRT)
    process.wait(WAIT_S)
    cores = list(Path(directory).glob("core*"))
    if not cores:
        with open("/proc/sys/kernel/core_pattern") as file:
            raise Skip("the kernel writes no core here (core_pattern is "
                       f"{file.read().strip()!r})")
    return cores[0]


def gdb(*words, commands, env=None):
    """What gdb prints at each command."""
    if not shutil.which("gdb"):
        raise Skip("there is no gdb")
    mark = "@@@"
    line = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off"]
    line += [str(word) for word in words] + ["-ex", "set width 0"]
    for command in commands:
        line += ["-ex", f"echo {mark}", "-ex", command]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=WAIT_S, env={**os.environ, **(env or {})})
    parts = done.stdout.split(mark)
    hides("Traceback|Python Exception", done.stdout)
    equal(len(parts), len(commands) + 1)
    return parts[1:]


SOURCED = f"source {SCRIPT}"


class Session:
    """The commands of one run of gdb, each with what must come of it."""

    def __init__(self):
        self.commands, self.checks = [], []

    def add(self, command, *patterns, without=None):
        self.commands.append(command)
        self.checks.append((patterns, without))

    def run(self, *words, env=None):
        outputs = gdb(*words, commands=self.commands, env=env)
        for command, (patterns, without), output in zip(
                self.commands, self.checks, outputs):
            output = f"({command})\n{output}"
            for pattern in patterns:
                shows(pattern, output)
            if without:
                hides(without, output)
        return outputs


def weft(*words):
    done = subprocess.run([str(WEFT), *map(str, words)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=WAIT_S)
    expect(done.returncode == 0, f"weft {words}: {done.stderr}")
    return done.stdout


def ids_by_name(dump):
    return {task["name"]: task["id"] for task in dump["tasks"]}


# ---- Cases ----

def without_a_running_weft():
    s = Session()
    s.add(SOURCED)
    s.add("help weft", "weft task ID", "weft apply all COMMAND",
          "weft findings")
    s.add("info weft tasks", "there is no weft in this program, or its file "
          "is not known")
    s.add("file /bin/true")
    for command in ("info weft tasks", "weft apply all bt", "weft findings",
                    "weft task 1"):
        s.add(command, "^weft: there is no weft in this program$")
    s.add(f"file {PARKED}")
    for command in "info weft tasks", "weft task 1", "weft thread":
        s.add(command, "^weft: the program is not running$")
    s.add("weft task", "No task is selected")
    s.add("run", "Inferior 1 .* exited")
    s.add("info weft tasks", "^weft: the program is not running$")
    s.run()


def stripped_library(place):
    """A directory with a libweft without names and debug information, and
    gdb's options by which it loads the script with that."""
    strip = shutil.which("strip")
    if not strip:
        raise Skip("there is no strip")
    place = Path(place).resolve()
    copy = place / "libweft.so.0"
    subprocess.run([strip, "-o", copy, LIBRARY], check=True)
    scripts = place / "scripts"
    link = Path(f"{scripts}{copy}-gdb.py")
    link.parent.mkdir(parents=True)
    link.symlink_to(SCRIPT)
    return place, ["-iex", f"set auto-load scripts-directory {scripts}",
                   "-iex", f"add-auto-load-safe-path {scripts}"]


def add_damage(s, waits):
    """What weft's memory says is overwritten in many ways, and mended."""
    for field, value, command, pattern in (
            ("sp", "0", f"weft task {waits}", "stack pointer .* damaged"),
            ("sp", "2 ** 64 - 1", f"weft task {waits}",
             "stack pointer .* is damaged"),
            ("sp", "lambda sp: sp + 1", f"weft task {waits}",
             "stack pointer .* is damaged"),
            ("top", "8", f"weft task {waits}", "stack pointer .* is damaged"),
            ("top", "8", "info weft tasks", rf"T{waits} +waiting"),
            ("stack_class", "77", f"weft task {waits}",
             "the slot of .* is damaged"),
            ("state", "99", f"weft task {waits}", "the slot of .* is damaged"),
            ("wait_object", "12", "info weft tasks",
             rf"T{waits} +waiting to receive from channel 0xc"),
            ("wait_kind", "200", "info weft tasks",
             rf"T{waits} +waiting for something")):
        s.add(f'python damage_task({waits}, "{field}", {value})')
        s.add(command, pattern)
        s.add("python mend()")
    for damage, command, pattern in (
            ("table(2 ** 32 - 1)", "info weft tasks",
             "the table of runtime .* is damaged"),
            ("table(2 ** 20)", "info weft tasks",
             r"\d+ slots of the table cannot be read"),
            ("registry()", "info weft tasks",
             "a runtime at 0x10 cannot be read"),
            (f"stack({waits}, 0)", f"weft task {waits}",
             "the stack of .* is empty: it is damaged, or was not saved"),
            # A stack that leads in a circle: gdb ends it, as a thread's.
            (f"stack({waits})", f"weft apply {waits} bt 50", "^#1 ")):
        s.add(f"python damage_{damage}")
        s.add(command, pattern)
        s.add("python mend()")


def attached():
    """To a program whose weft is without debug information; by itself, gdb
    loads the commands with the library."""
    with tempfile.TemporaryDirectory() as place:
        path, options = stripped_library(place)
        with Program(SITUATIONS, ready="at work",
                     LD_LIBRARY_PATH=str(path)) as program:
            ids = ids_by_name(json.loads(weft("dump", program.pid, "--json")))
            s = Session()
            add_looks(s, ids)
            add_damage(s, ids["waits"])
            add_findings(s)
            # However gdb leaves: here with a task selected.
            s.add(f"weft task {ids['waits']}")
            s.add("detach")
            s.add("weft task", "No task is selected")
            outputs = s.run("-p", program.pid, *options)
            equal(*[output for command, output in zip(s.commands, outputs)
                    if command == "info registers"])
            out, status = program.finish()
            expect(SUM in out and status == 0, (out, status))


def add_looks(s, ids):
    """Every command, about tasks in every state."""
    waits, busy = ids["waits"], ids["main"]
    s.add("python sys.modules['weft_gdb']", without="Error")
    s.add("info weft tasks", r'^\d tasks of runtime "situations":$',
          rf"^  T{waits} +waiting to receive from channel \"gate\" +waits"
          " +waits$",
          rf"^  T{ids['locks']} +waiting for mutex \"counter\"",
          rf"^  T{ids['ended']} +ended", rf"^  T{ids['turns']} +ready ",
          rf"^  T{ids['fresh']} +new", rf"^  T{busy} +running")
    s.add("weft task", "No task is selected")
    s.add("info registers", "rip|pc")
    s.add(f"weft task T{waits}",
          rf'^\[Switching to task T{waits} "waits": waiting to receive from '
          r'channel "gate"\]$', r"^#\d+ ")
    s.add(f"source {INSIDE}")
    s.add(f"python check_registers({waits})", "checked registers",
          without="is wrong|not saved")
    s.add("weft task", rf'Current task is T{waits} "waits"', "thread 1")
    s.add("info weft tasks", rf"^\* T{waits} ", rf"^  T{ids['locks']} ")
    s.add("bt", r"in wait_here \(depth=0\)", r"in waits \(",
          without=r" main \(")
    s.add("bt 1", r"^#\d+ ")
    s.add("frame function wait_here", "wait_here")
    s.add("info locals", "^local = 4711$", "^a = 4711$")
    s.add("print local + a", "= 9422")
    s.add("print twice(local)", "= 9422", without="Unable to restore")
    s.add("print local", "= 4711")
    s.add("up", "waits")
    s.add("return", "weft: return would give")
    s.add("weft task", rf'Current task is T{waits} "waits"')
    s.add("info threads", "Thread")
    s.add("weft thread", r"\[Switching to thread 1\]", "^#0")
    s.add("info registers")
    s.add("weft task", "No task is selected")
    s.add(f"weft task {ids['locks']}", "Switching to task")
    s.add("thread 1", "Switching to thread 1")
    s.add("bt", "main", without="wait_for_mutex")
    s.add("weft task", "No task is selected")
    s.add(f"weft task {busy}", rf'thread \d+ \(worker 0\), which runs task '
          rf'T{busy} "main"')
    s.add("bt", "at_work", r"in busy \(")
    s.add("weft task", "the current thread runs task T\\d+ \"main\"")
    s.add("thread 1")
    s.add(f"weft task T{ids['fresh']}",
          '"fresh" has not started yet: it will begin in end$')
    s.add(f"weft task T{ids['ended']}", '"ended" has ended')
    s.add("weft task T4711", "there is no T4711: it has ended, or never was")
    s.add("weft task seven", "seven is not the number of a task")
    s.add(f"weft task {waits}")
    s.add("frame function wait_here")
    s.add(f"weft apply {ids['turns']} bt", "ready$", r"in take_turns \(")
    s.add("weft apply all bt 3", r'^Task T\d+ "locks": waiting for mutex',
          "has not started yet", "has ended", "at_work", "wait_here")
    s.add("print local", "= 4711")
    s.add(f"weft apply {waits} {ids['locks']} print 6 * 7",
          r"(?s)= 42.*= 42", without="ended")
    s.add(f"weft apply 1-{waits} print 6 * 7", "= 42")
    for words in "", "all", "T1", "bt":
        s.add(f"weft apply {words}", "usage: weft apply")
    s.add("thread apply all bt", "at_work", without="wait_here")
    s.add("weft task", "No task is selected")


def add_findings(s):
    s.add("set weft-command /nowhere/weft")
    s.add("weft findings", "/nowhere/weft cannot be run: No such file")
    s.add("set weft-command /bin/false")
    s.add("weft findings", "/bin/false said nothing, and ended with 1")
    s.add(f"set weft-command {WEFT}")
    s.add("weft findings", 'runtime "situations"$', "^FINDINGS: ",
          without="^TASKS")


def stopped_by_a_breakpoint():
    """Stepping is the thread's, and the program goes on as if nothing had
    been looked at. It has two runtimes, with tasks of the same numbers."""
    s = Session()
    s.add("break at_work")
    s.add("run two < /dev/null", "hit Breakpoint 1.*at_work")
    s.add(SOURCED)
    s.add("info weft tasks", '^6 tasks of runtime "situations":$',
          r"^  1/T2 +waiting to receive", '^2 tasks of runtime "other":$',
          r"^  2/T2 +waiting in a sleep +sleep_on +two$")
    s.add("weft task 2", r'several runtimes .*: 1/T2 "waits", 2/T2 "two"$')
    s.add("weft task 2/T2", r'Switching to task 2/T2 "two": waiting in a sl')
    s.add("bt", "sleep_on")
    s.add("weft apply all bt", "wait_here", "sleep_on")
    s.add("weft apply 1/2-3 bt", "wait_here", without="sleep_on")
    s.add(f"set weft-command {WEFT}")
    s.add("weft findings", 'runtime "situations"\n', 'runtime "other"\n',
          "^FINDINGS: none$", without=r"^TASKS|^ +T\d+ \"|_start")
    s.add("weft task 1/T2", "Switching to task")
    s.add("bt", "wait_here")
    s.add("next", r"^\d+\s", without="wait_here")
    s.add("weft task", "the current thread runs task")
    s.add("bt", r"^#0 +(0x\S+ in )?at_work", "busy")
    s.add("weft task 1/2")
    s.add("finish", "busy")
    s.add("weft task 1/2")
    s.add("stepi")
    s.add("bt 1", "^#0", without="wait_here")
    s.add("weft task 1/2")
    s.add("continue", SUM, "exited normally")
    s.add("weft task", "No task is selected")
    s.add("info weft tasks", "the program is not running")
    s.run(SITUATIONS)


def findings_of_a_deadlock():
    """By the command, of the process that gdb holds, of its core, and of what
    `weft save` has kept of it."""
    s = Session()
    s.add(SOURCED)
    s.add(f"set weft-command {WEFT}")
    s.add("weft findings", 'DEADLOCK: 2 tasks wait for each other',
          'holds mutex "alice" .* taken in transfer', without="^TASKS")
    with tempfile.TemporaryDirectory() as place, \
            Server(SERVER, cwd=place) as server:
        deadlock(server)
        s.run("-p", server.pid)
        saved = Path(place) / "saved"
        weft("save", server.pid, "-o", saved)
        core = core_of(server.process, place)
        s.add("weft apply all bt", r"in weft_mutex_lock \(")
        s.run(SERVER, core)
        s.run(SERVER, saved)


def of_another_version():
    """An older beacon, or a newer one, is refused in one line."""
    s = Session()
    s.add(SOURCED)
    s.add("info weft tasks", r"^weft: the program runs "
          r"weft 0\.1\.0, whose beacon this file does not know: load the "
          r"weft-gdb\.py that came with that weft$")
    with tempfile.TemporaryDirectory() as place:
        for number, change in enumerate((OLDER, NEWER)):
            home = Path(place) / str(number)
            home.mkdir()
            with other_server(change, cwd=home) as server:
                s.run("-p", server.pid)
                program = os.readlink(f"/proc/{server.pid}/exe")
                s.run(program, core_of(server.process, home))


# ---- The oracle: four who are asked the same ----

class Frame(typing.NamedTuple):
    function: str
    file: str  # its base name
    line: int
    pc: str    # None: gdb gives none, of a function that is inlined

    def is_ours(self):
        return self.file.startswith("oracle") or self.file in our_files()


@functools.lru_cache(maxsize=None)
def our_files():
    return {path.name for folder in ("src", "tests")
            for path in SOURCE.glob(f"{folder}/*/*")}


def stacks_of_json(text):
    dump = json.loads(text)
    frames = {f["id"]: Frame(f["function"], os.path.basename(f["file"] or ""),
                             f["line"], f["pc"]) for f in dump["frames"]}
    stacks = {s["id"]: s for s in dump["stacks"]}
    return {task["name"]: [frames[f] for f in stacks[task["stack"]]["frames"]]
            for task in dump["tasks"] if task["name"]}


FRAME = re.compile(r"#\d+ +(?:0x0*([0-9a-f]+) in )?(\S+) \(.*?\)"
                   r"(?: at (\S+):(\d+)| from \S+| at \S+)?$")


def stacks_of_gdb(text, tail_calls):
    found, name = {}, None
    for line in text.splitlines():
        head = re.match(r'Task T\d+(?: "(.*)")?: ', line)
        frame = FRAME.match(line)
        if head:
            name = head[1]
            found[name] = []
        elif frame and (frame[1] is None or "0x" + frame[1] not in tail_calls):
            found[name].append(Frame(
                frame[2], os.path.basename(frame[3] or ""), int(frame[4] or 0),
                frame[1] and "0x" + frame[1]))
    found.pop(None, None)
    return found


def check_truth(stacks, truth):
    """Against what the program itself has noted: functions and lines."""
    equal(len(stacks), TASKS)
    for name, places in truth.items():
        found = [[frame.function, frame.line] for frame in stacks[name]
                 if frame.file.startswith("oracle_sites_")
                 or frame.file == "parked.c"]
        if places[-1][1] is None:
            found[-1][1] = None
        equal((name, found), (name, places))


def is_same(one, other):
    """Whether two mean the same frame. What libc calls its own functions is
    its affair; and gdb 13 ascribes some calls by pointer to the file and line
    of an inlined function before them."""
    if one.pc and other.pc and one.pc != other.pc:
        return False
    if not one.is_ours():
        return not other.is_ours()
    return (one.function == other.function
            and (one.line == other.line or one.file == "oracle.h"))


def check_same(who, stacks, others):
    equal((who, sorted(stacks)), (who, sorted(others)))
    for name, stack in stacks.items():
        other = others[name]
        expect(len(stack) == len(other) and all(map(is_same, stack, other)),
               f"{name}: {who} says {stack},\nnot {other}")


def check_gdb(who, words, stacks, tail_calls=None):
    """Those frames come by the first run, and are the second's, too."""
    commands = [SOURCED, f"source {INSIDE}", "set print frame-arguments none",
                "weft apply all bt"]
    if tail_calls is None:
        commands.append("weft apply all python tail_calls()")
    outputs = gdb(*words, commands=commands)
    if tail_calls is None:
        tail_calls = set(re.findall("^tail call (.*)$", outputs[4],
                                    re.MULTILINE))
    check_same(who, stacks_of_gdb(outputs[3], tail_calls), stacks)
    return tail_calls


def all_agree_on_a_thousand_stacks():
    with tempfile.TemporaryDirectory() as place:
        own, truth = Path(place) / "dump.json", Path(place) / "truth.json"
        with Program(PARKED, PLUGIN, own, truth, ready="parked",
                     cwd=place) as program:
            stacks = stacks_of_json(own.read_text())
            check_truth(stacks, json.loads(truth.read_text()))
            expect(len(set(map(tuple, stacks.values()))) >= CHAINS,
                   "too few chains")
            check_same("weft dump PID", stacks_of_json(
                weft("dump", program.pid, "--json")), stacks)
            tail_calls = check_gdb("gdb", ["-p", program.pid], stacks)
            core = core_of(program.process, place)
        check_same("weft dump --core", stacks_of_json(
            weft("dump", "--core", core, "-e", PARKED, "--json")), stacks)
        check_gdb("gdb on the core", [PARKED, core], stacks, tail_calls)


CASES = [
    without_a_running_weft, attached, stopped_by_a_breakpoint,
    findings_of_a_deadlock, of_another_version, all_agree_on_a_thousand_stacks,
]


def main():
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))  # the programs', too
    return run(CASES)


if __name__ == "__main__":
    sys.exit(main())
