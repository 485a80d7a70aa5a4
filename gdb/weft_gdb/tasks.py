# tasks.py -- Runtimes, their tasks, and what each is doing, in words.
#
# What is counted is bounded by what weft itself can have; no list is followed.
import re

import gdb

from weft_gdb.beacon import Problem, find_beacon, number, read, read_name, text

# ---- Runtimes and tasks ----

class Task:
    """A slot in which a task lives, or has ended."""

    def __init__(self, runtime, address, raw):
        self.runtime, self.address, self.raw = runtime, address, raw
        self.beacon = runtime.beacon
        self.id = self.get("id")
        self.phase = runtime.phases.get(self.get("state") & 0xff, "damaged")

    def get(self, field):
        return self.beacon.field("task." + field, self.raw)

    def is_running(self):
        return self.phase in ("running", "parking", "fired")

    def name(self):
        at, size, _ = self.beacon.places["task_top.name"]
        try:
            return text(read(self.get("top") + at, size, "a task's name"))
        except Problem:
            return ""

    def label(self):
        """As the dumps have it: T7 "name"."""
        name = self.name()
        number = self.runtime.prefix() + f"T{self.id}"
        return f'{number} "{name}"' if name else number

    def state(self):
        words = {"parking": "running", "fired": "running", "done": "ended"}
        return words.get(self.phase, self.phase)

    def wait(self):
        return describe_wait(self) if self.phase == "waiting" else ""

    def doing(self):
        return " ".join(filter(None, (self.state(), self.wait())))


class Runtime:
    """One of the program's; it reads its table, and its workers."""

    def __init__(self, beacon, tag, address, alone):
        self.beacon, self.tag, self.alone = beacon, tag, alone
        self.raw = read(address, beacon.size("weft_runtime"), "a runtime")
        self.phases = beacon.numbers("phase.")
        self.waits = beacon.numbers("wait.")

    def get(self, field):
        return self.beacon.field("weft_runtime." + field, self.raw)

    def name(self):
        at, size, _ = self.beacon.places["weft_runtime.name"]
        return text(self.raw[at:at + size])

    def prefix(self):
        """By what its tasks' numbers are told from those of others."""
        return "" if self.alone else f"{self.tag}/"

    def table(self):
        """(slots used, address of the array of segments), checked."""
        beacon = self.beacon
        base = beacon.number("weft_runtime.table")
        used = beacon.field("table.used", self.raw, base)
        if used > beacon.number("TABLE_MAX"):
            raise Problem(f"weft: the table of runtime \"{self.name()}\" is "
                          f"damaged: it says that it has {used} slots")
        return used, beacon.field("table.segments", self.raw, base)

    def tasks(self):
        """All that live or have ended unjoined, by number. What cannot be
        read is left out, and said."""
        used, segments = self.table()
        per = self.beacon.number("SEGMENT_SLOTS")
        found, lost = [], 0
        for first in range(0, used, per):
            count = min(per, used - first)
            try:
                found += self.segment_tasks(segments + first // per * 8,
                                            first, count)
            except Problem:
                lost += count
        if lost:
            print(f"weft: {lost} slots of the table cannot be read: they are "
                  "damaged, or were not saved")
        return sorted(found, key=lambda task: task.id)

    def segment_tasks(self, place, first, count):
        size = self.beacon.size("task")
        at = number(read(place, 8, "the table"), 0, 8)
        raw = memoryview(read(at, count * size, "a segment of the table"))
        state, index = (self.beacon.places["task." + name][:2]
                        for name in ("state", "index"))
        free = self.beacon.number("phase.free")
        for i in range(count):
            slot = raw[i * size:(i + 1) * size]
            if (slot[state[0]] != free
                    and number(slot, *index) == first + i):
                yield Task(self, at + i * size, slot)

    def workers(self):
        """(index, tid, address of the slot that it runs or 0) of each."""
        count = self.get("worker_count")
        if count > self.beacon.number("CREW_MAX"):
            raise Problem("weft: the number of workers is damaged")
        size = self.beacon.size("worker")
        raw = read(self.get("workers"), count * size, "the workers")
        for i in range(count):
            yield (i, self.beacon.field("worker.tid", raw, i * size),
                   self.beacon.field("worker.current", raw, i * size))


def runtimes():
    """Those of the program that is being debugged."""
    threads = gdb.selected_inferior().threads()
    beacon = find_beacon()
    if not threads:
        raise Problem("weft: the program is not running")
    if any(thread.is_running() for thread in threads):
        raise Problem("weft: the program runs: stop it first (`interrupt`)")
    raw = read(beacon.registry, 8 * (beacon.number("RUNTIMES_MAX") + 1),
               "the list of runtimes")
    all_of_them = ((tag, number(raw, 8 * tag, 8))
                   for tag in range(1, len(raw) // 8))
    found = [(tag, address) for tag, address in all_of_them if address]
    if not found:
        raise Problem("weft: the program has no runtime now: it has not "
                      "started one, or has ended it")
    return [Runtime(beacon, tag, address, len(found) == 1)
            for tag, address in found]


def all_tasks():
    return [task for runtime in runtimes() for task in runtime.tasks()]


# ---- Words ----

NEEDS_OBJECT = {"chan_send": "to send to channel", "cond": "for condition",
                "chan_recv": "to receive from channel",
                "rwlock_read": "to read under rwlock",
                "rwlock_write": "to write under rwlock",
                "scope_spawn": "for a place in scope",
                "scope_next": "for the next child of scope"}
NEEDS_NONE = {"scope": "for the children of its scope", "sleep": "in a sleep",
              "dump": "for a dump",
              "blocking": "for a blocking call on another thread",
              "select": "in a select",
              "interval": "for the tick of an interval",
              "wall": "for a wall-clock time"}


def describe_wait(task):
    kind = task.runtime.waits.get(task.get("wait_kind"))
    if kind is None:
        return "for something"
    if kind in NEEDS_NONE:
        return NEEDS_NONE[kind]
    if kind == "join":
        return f"for T{task.get('wait_object')} to end"
    if kind == "fd":
        return (f"to {'write to' if task.get('wait_write') else 'read from'} "
                f"fd {task.get('wait_fd')}")
    words = NEEDS_OBJECT.get(kind, "for " + kind)
    return f"{words} {describe_object(task.beacon, kind, task)}"


def describe_object(beacon, kind, task):
    address = task.get("wait_object")
    name = ""
    try:
        if kind in ("chan_send", "chan_recv"):
            at, size, _ = beacon.places["weft_channel.name"]
            name = text(read(address + at, size, "a channel"))
        else:
            raw = read(address, beacon.size("held"), "an object")
            name = read_name(beacon.field("held.name", raw))
    except Problem:
        pass
    return f'"{name}"' if name else f"{address:#x}"


def describe_pc(pc):
    words = gdb.execute(f"info symbol {pc:#x}", to_string=True)
    match = re.match(r"(\S+)(?: \+ \d+)? in section", words)
    return match[1] if match else f"{pc:#x}"
