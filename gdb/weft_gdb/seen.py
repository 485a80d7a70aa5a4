# seen.py -- The task that is seen in place of the thread.
#
# An unwinder says that the caller of the frame in which the thread stands is
# where the task goes on when it is resumed. So frame 0 is the thread's, those
# from there on are the task's, and a filter leaves frame 0 out of backtraces.
# No register is written, which a core file would not bear and a live process
# not forgive: however gdb is left, the program goes on as if nothing had been
# looked at.
import itertools
import typing

import gdb
import gdb.unwinder

from weft_gdb.beacon import Problem, number, read
from weft_gdb.tasks import Task, describe_pc, runtimes

SLAB_CLASSES = range(14, 31)  # log2 of a stack's size

# What lets the program run, or asks for threads: the task is left before.
LEAVING = ("step", "next", "stepi", "nexti", "until", "advance", "finish",
           "jump", "thread", "thread apply", "thread apply all")

# ---- A selected task ----

class Names(typing.NamedTuple):
    """gdb's names of pc and sp, and of what the beacon calls otherwise."""
    pc: str
    sp: str
    others: dict

    @staticmethod
    def here():
        """Of a vector register calls preserve the lower half, which has a
        name, too."""
        if gdb.selected_frame().architecture().name().startswith("i386"):
            return Names("rip", "rsp", {"pc": ["rip"]})
        halves = {f"d{i}": [f"v{i}", f"d{i}"] for i in range(8, 16)}
        return Names("pc", "sp", {"fp": ["x29"]} | halves)

    def of(self, register):
        return self.others.get(register, [register])

    def place(self, frame):
        return (int(frame.read_register(self.pc)),
                int(frame.read_register(self.sp)))


class Selection:
    """The task that is seen, through which thread, and its registers."""

    task = None
    thread = None
    names = None   # of its registers
    place = None   # its pc and sp: so its frame is known again
    saved = {}     # gdb's name of a register: its bytes
    floor = 0      # below all frames of the task
    level = 0      # of the task's first frame

    @classmethod
    def is_seen(cls):
        return (cls.task is not None and cls.thread.is_valid()
                and gdb.selected_thread() is not None
                and gdb.selected_thread().ptid == cls.thread.ptid)


class TaskUnwinder(gdb.unwinder.Unwinder):
    """For the frame in which the thread stands: its caller is the task."""

    class Id:
        def __init__(self, sp, pc):
            self.sp, self.pc = gdb.Value(sp), gdb.Value(pc)

    def __init__(self):
        super().__init__("weft task")
        self.enabled = False

    def __call__(self, frame):
        if not Selection.is_seen():
            return None
        try:
            if Selection.names.place(frame) != Selection.place:
                return None
        except gdb.error:  # one of the thread's, of which they are not known
            return None
        # gdb wants callers above their callees, wherever the stacks lie.
        info = frame.create_unwind_info(
            self.Id(Selection.floor, Selection.place[0]))
        for name, raw in Selection.saved.items():
            kind = frame.read_register(name).type
            info.add_saved_register(
                name, gdb.Value(raw.ljust(kind.sizeof, b"\0"), kind))
        return info


class TaskFilter:
    """Leaves the thread's own frames out of a task's backtrace."""

    def __init__(self):
        self.name, self.priority, self.enabled = "weft task", 100, False

    def filter(self, frames):
        if not Selection.is_seen():
            return frames
        return itertools.dropwhile(
            lambda each: each.inferior_frame().level() < Selection.level,
            frames)


unwinder = TaskUnwinder()
frame_filter = TaskFilter()


def show_frames(on):
    unwinder.enabled = frame_filter.enabled = on
    gdb.invalidate_cached_frames()


def leave():
    """Back to the thread. Harmless at any time."""
    if Selection.task is not None:
        Selection.task = None
        show_frames(False)


def read_saved(task, names):
    """The end of its stack, and the registers of a task that is parked,
    checked: {name: bytes}."""
    beacon, size = task.beacon, task.beacon.size("switch_frame")
    sp, top = task.get("sp"), task.get("top")
    if task.get("stack_class") not in SLAB_CLASSES:
        raise Problem(f"weft: the slot of {task.label()} is damaged")
    low = top & ~((1 << task.get("stack_class")) - 1)
    if not low < sp <= top - size or sp % 8:
        raise Problem(f"weft: the stack pointer of {task.label()} is damaged: "
                      f"{sp:#x} is not in its stack, {low:#x} to {top:#x}")
    raw = read(sp, size, f"the stack of {task.label()}")
    if beacon.field("switch_frame.pc", raw) == 0:
        raise Problem(f"weft: the stack of {task.label()} is empty: it is "
                      "damaged, or was not saved (gcore leaves stacks out; "
                      "cores written by the kernel have them)")
    saved = {known: raw[at:at + bytes_]
             for name, at, bytes_ in beacon.registers()
             for known in names.of(name)}
    saved[names.sp] = (sp + size).to_bytes(8, "little")
    return low, saved


def refuse_unless_parked(task):
    if task.phase == "new":
        raise Problem(f"weft: {task.label()} has not started yet: it will "
                      f"begin in {describe_pc(task.get('fn'))}")
    if task.phase == "done":
        raise Problem(f"weft: {task.label()} has ended; it waits to be joined")
    if task.phase not in ("ready", "waiting"):
        raise Problem(f"weft: the slot of {task.label()} is damaged")


def first_frame(sp):
    """The innermost frame of the task whose registers are now in force."""
    frame = gdb.newest_frame()
    while frame is not None:
        if int(frame.read_register(Selection.names.sp)) == sp:
            return frame
        frame = frame.older()
    raise Problem("weft: gdb does not go on from the thread's frame to the "
                  "task's")


def enter(task):
    """Selects a parked task, through the selected thread."""
    refuse_unless_parked(task)
    leave()
    thread = gdb.selected_thread() or gdb.selected_inferior().threads()[0]
    thread.switch()
    gdb.newest_frame().select()
    names = Names.here()
    place = names.place(gdb.newest_frame())
    floor, saved = read_saved(task, names)
    sp = number(saved[names.sp], 0, 8)
    if sp == place[1]:
        raise Problem(f"weft: {task.label()} stands where the thread does")
    Selection.task, Selection.thread = task, thread
    Selection.names, Selection.place = names, place
    Selection.floor, Selection.saved, Selection.level = floor, saved, 0
    set_hooks()
    show_frames(True)
    try:
        frame = first_frame(sp)
    except (gdb.error, Problem):
        leave()
        raise
    Selection.level = frame.level()
    frame.select()


def thread_of(task):
    """The thread that runs a task, and the worker's number."""
    for index, tid, slot in task.runtime.workers():
        if slot != task.address:
            continue
        for thread in gdb.selected_inferior().threads():
            if tid in thread.ptid[1:]:
                return thread, index
        raise Problem(f"weft: {task.label()} runs on thread {tid} of the "
                      "system, which gdb does not know")
    raise Problem(f"weft: {task.label()} is just being entered or left by a "
                  "worker; `info threads` has it")


def select(task):
    """Whatever it is doing: what was selected, in words."""
    if not task.is_running():
        enter(task)
        return f"task {task.label()}: {task.doing()}"
    thread, index = thread_of(task)
    leave()
    thread.switch()
    gdb.newest_frame().select()
    return (f"thread {thread.num} (worker {index}), which runs task "
            f"{task.label()}")


def current():
    """The task that is seen, or the one that the selected thread runs."""
    if Selection.is_seen():
        return Selection.task
    thread = gdb.selected_thread()
    for runtime in runtimes() if thread is not None else []:
        for _, tid, slot in runtime.workers():
            if slot and tid in thread.ptid[1:]:
                raw = read(slot, runtime.beacon.size("task"), "a task")
                return Task(runtime, slot, raw)
    return None


# ---- When the program runs on ----

in_call = False
hooks_set = False


def on_continue(_):
    if not in_call:
        leave()


def on_call(event):
    """A call that the user has gdb make (`print f(x)`) comes back."""
    global in_call
    in_call = isinstance(event, gdb.InferiorCallPreEvent)


def set_hooks():
    """For commands that would take the task's frames for the thread's. Once,
    and never in place of a hook of the user's."""
    global hooks_set
    if hooks_set:
        return
    hooks_set = True
    for command in LEAVING:
        define_hook(command, "python weft_gdb.seen.leave()")
    define_hook("return", "weft refuse-return")


def define_hook(command, body):
    words = command.split()
    name = " ".join(words[:-1] + ["hook-" + words[-1]])
    try:
        gdb.execute(f"show user {name}", to_string=True)
    except gdb.error:
        gdb.execute(f"define {name}\n{body}\nend")


def register():
    gdb.unwinder.register_unwinder(None, unwinder, replace=True)
    gdb.frame_filters[frame_filter.name] = frame_filter
    gdb.events.cont.connect(on_continue)
    gdb.events.inferior_call.connect(on_call)
    gdb.events.exited.connect(lambda _: leave())
