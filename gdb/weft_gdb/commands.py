# commands.py -- What a person types: `help weft`.
import itertools
import re
import subprocess

import gdb

from weft_gdb import seen
from weft_gdb.beacon import Problem
from weft_gdb.seen import Selection
from weft_gdb.tasks import all_tasks, describe_pc, runtimes

FINDINGS_S = 60

# ---- Lists of tasks ----

ID = re.compile(r"(?:(\d+)/)?[Tt]?(\d+)(?:-[Tt]?(\d+))?$")


def find(tasks, word):
    """The task that a word means."""
    match = ID.match(word)
    if not match or match[3]:
        raise Problem(f"weft: {word} is not the number of a task, as T7 or 7")
    found = pick(tasks, match)
    if not found:
        raise Problem(f"weft: there is no T{match[2]}: it has ended, or never "
                      "was (`info weft tasks`)")
    if len(found) > 1:
        raise Problem("weft: several runtimes have a task of that number: "
                      + ", ".join(task.label() for task in found))
    return found[0]


def pick(tasks, match):
    first, last = int(match[2]), int(match[3] or match[2])
    return [task for task in tasks if first <= task.id <= last
            and (match[1] is None or int(match[1]) == task.runtime.tag)]


def split_ids(argument):
    """`T7 9-11 bt full`: the words that are numbers, and the rest."""
    words = argument.split()
    count = len(list(itertools.takewhile(ID.match, words)))
    return words[:count], argument.split(None, count)[count:]


# ---- Commands ----

class Weft(gdb.Command):
    """Tasks of weft: select one, walk through all, ask what is wrong.

info weft tasks          lists all tasks
weft task ID             selects a task (T7 or 7): bt, frame, info locals,
                         print and the like are then about it
weft task                says which is selected
weft thread              goes back to the thread; `thread N` does, too
weft apply all COMMAND   runs a gdb command in each task; or in some:
                         weft apply T7 9-11 COMMAND
weft findings            what is wrong with the program, by the command `weft`

A task is seen through the selected thread, whose own frame is frame 0; the
task's begin with the next. The registers of the program are never changed.
Whatever lets the program run goes back to the thread first. Of a task that
runs on a thread, that thread is selected.
Where several runtimes have tasks of one number: 2/T7, by the runtime's."""

    def __init__(self):
        super().__init__("weft", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class InfoWeft(gdb.Command):
    """About weft: `info weft tasks`."""

    def __init__(self):
        super().__init__("info weft", gdb.COMMAND_STATUS, gdb.COMPLETE_NONE,
                         True)


class InfoTasks(gdb.Command):
    """Lists all tasks: number, state, what it waits for, name.

The selected one is marked with *."""

    def __init__(self):
        super().__init__("info weft tasks", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        if argument:
            raise Problem("weft: info weft tasks takes no arguments, got: "
                          + argument)
        self.dont_repeat()
        for runtime in runtimes():
            self.show(runtime)

    def show(self, runtime):
        tasks = runtime.tasks()
        selected = Selection.task if Selection.is_seen() else None
        print(f'{len(tasks)} task{"s" * (len(tasks) != 1)} of runtime '
              f'"{runtime.name()}":')
        functions = {}
        for task in tasks:
            fn = task.get("fn")
            if fn not in functions:
                functions[fn] = describe_pc(fn)
            mark = ("*" if selected and selected.address == task.address
                    and selected.id == task.id else " ")
            print(f"{mark} {runtime.prefix()}T{task.id:<6} "
                  f"{task.doing():<40} {functions[fn]:<20} {task.name()}"
                  .rstrip())


class SelectTask(gdb.Command):
    """Selects a task: weft task ID, as T7 or 7. Without ID: which one is.

bt, up, frame, info locals, print and the like are then about it. A task that
runs is selected by its thread. `weft thread` goes back to the thread."""

    def __init__(self):
        super().__init__("weft task", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        if argument:
            print(f"[Switching to {seen.select(find(all_tasks(), argument))}]")
            gdb.execute("frame")
            return
        task = seen.current()
        if task is None:
            print("[No task is selected]")
        elif Selection.is_seen():
            print(f"[Current task is {task.label()}: {task.doing()}; seen "
                  f"through thread {Selection.thread.num}]")
        else:
            print(f"[No task is selected; the current thread runs task "
                  f"{task.label()}]")


class SelectThread(gdb.Command):
    """Goes back from a task to the thread through which it was seen."""

    def __init__(self):
        super().__init__("weft thread", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        if argument:
            raise Problem("weft: weft thread takes no arguments (`thread N` "
                          "selects another one)")
        thread = gdb.selected_thread()
        if thread is None:
            raise Problem("weft: the program is not running")
        seen.leave()
        print(f"[Switching to thread {thread.num}]")
        gdb.execute("frame 0")


class Apply(gdb.Command):
    """Runs a gdb command in tasks: weft apply all COMMAND, or with numbers in
place of all: weft apply T7 9-11 bt.

A task that has not started, has ended or is damaged is named with that reason,
and passed over. What was selected before is so again afterwards."""

    def __init__(self):
        super().__init__("weft apply", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        words = argument.split(None, 1)
        every = bool(words) and words[0] == "all"
        ids, command = ([], words[1:]) if every else split_ids(argument)
        if not command or not (every or ids):
            raise Problem("weft: usage: weft apply all|ID... COMMAND")
        tasks = all_tasks()
        if not every:
            tasks = self.chosen(tasks, ids)
        self.run(tasks, command[0])

    def chosen(self, tasks, ids):
        found = []
        for word in ids:
            match = ID.match(word)
            found += pick(tasks, match) if match[3] else [find(tasks, word)]
        return found

    def run(self, tasks, command):
        was, thread = current_place()
        try:
            for task in tasks:
                self.run_in(task, command, thread)
        finally:
            go_back(was, thread)

    def run_in(self, task, command, thread):
        seen.leave()
        thread.switch()
        print(f"\nTask {task.label()}: {task.doing()}")
        try:
            seen.select(task)
        except Problem as problem:
            print(problem)
            return
        gdb.execute(command)


def current_place():
    """What is selected: (task and frame's level, or None), thread."""
    thread = gdb.selected_thread()
    if thread is None:
        thread = gdb.selected_inferior().threads()[0]
        thread.switch()
    task = Selection.task if Selection.is_seen() else None
    return (task, gdb.selected_frame().level()), thread


def go_back(was, thread):
    """If the program has run on meanwhile, to the thread at most."""
    seen.leave()
    if not thread.is_valid():
        return
    thread.switch()
    task, level = was
    if task is not None:
        seen.enter(task)
    gdb.execute(f"frame level {level}", to_string=True)


class RefuseReturn(gdb.Command):
    """Refuses `return` while a task is seen: weft's own hook of `return`."""

    def __init__(self):
        super().__init__("weft refuse-return", gdb.COMMAND_OBSCURE)

    def invoke(self, argument, from_tty):
        if Selection.is_seen():
            raise Problem("weft: return would give the task's registers to "
                          "the thread: `weft thread` first")


# ---- Findings ----

class WeftCommand(gdb.Parameter):
    """The command `weft` by which `weft findings` finds what is wrong."""

    set_doc = "Set the command that `weft findings` runs."
    show_doc = "Show the command that `weft findings` runs."

    def __init__(self):
        super().__init__("weft-command", gdb.COMMAND_SUPPORT,
                         gdb.PARAM_FILENAME)
        self.value = "weft"

    def get_set_string(self):
        return ""

    def get_show_string(self, value):
        return f'The command of `weft findings` is "{value}".'


def core_file():
    """The path of the core file that is being looked at, or None."""
    words = gdb.execute("info files", to_string=True)
    match = re.search(r"^Local core dump file:\n\s*`(.*)', file type", words,
                      re.MULTILINE)
    return match[1] if match else None


def findings_of(text):
    """What stands in dumps (one for each runtime) before the tasks."""
    return re.sub(r"^TASKS:.*?(?=^\S[^\n]*  pid \d+ |\Z)", "", text,
                  flags=re.MULTILINE | re.DOTALL).rstrip()


class Findings(gdb.Command):
    """What is wrong with the program, as `weft dump` says first.

Runs the command `weft` on the process that gdb holds, or on the core file.
`set weft-command PATH` if it is not found by PATH."""

    def __init__(self):
        super().__init__("weft findings", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        if argument:
            raise Problem("weft: weft findings takes no arguments, got: "
                          + argument)
        self.dont_repeat()
        runtimes()
        print(findings_of(self.run(["dump", *self.target()])))

    def target(self):
        core, program = core_file(), gdb.current_progspace().filename
        if core is None:
            return [str(gdb.selected_inferior().pid), "--no-stop"]
        return ["--core", core] + (["-e", program] if program else [])

    def run(self, arguments):
        command = gdb.parameter("weft-command") or "weft"
        try:
            done = subprocess.run([command, *arguments], text=True,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=FINDINGS_S)
        except OSError as error:
            raise Problem(f"weft: {command} cannot be run: {error.strerror} "
                          "(`set weft-command PATH`)") from None
        except subprocess.TimeoutExpired:
            raise Problem(f"weft: {command} did not end within {FINDINGS_S} "
                          "s") from None
        if not done.stdout:
            raise Problem(done.stderr.strip() or
                          f"weft: {command} said nothing, and ended with "
                          f"{done.returncode}")
        return done.stdout


def register():
    for command in (Weft, InfoWeft, InfoTasks, SelectTask, SelectThread, Apply,
                    RefuseReturn, WeftCommand, Findings):
        command()
