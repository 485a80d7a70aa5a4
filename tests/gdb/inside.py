# inside.py -- For test_gdb.py, inside gdb: weft's memory is overwritten,
# and mended; and frames are told apart that `bt` does not tell.
import gdb

from weft_gdb import beacon, tasks

kept = []  # (address, bytes) to be put back, newest last


def overwrite(address, raw):
    inferior = gdb.selected_inferior()
    kept.append((address, bytes(inferior.read_memory(address, len(raw)))))
    inferior.write_memory(address, raw)


def mend():
    while kept:
        address, raw = kept.pop()
        gdb.selected_inferior().write_memory(address, raw)


def slot(number):
    return next(task for task in tasks.all_tasks() if task.id == number)


def damage_task(number, field, value):
    """A field of a task; the value may be a function of what was there."""
    task = slot(number)
    at, size, _ = task.beacon.places["task." + field]
    if callable(value):
        value = value(task.get(field))
    overwrite(task.address + at, value.to_bytes(size, "little"))


def damage_stack(number, word=None):
    """All words are that, or point to the first of them."""
    sp = slot(number).get("sp")
    overwrite(sp, (sp if word is None else word).to_bytes(8, "little") * 64)


def damage_table(used):
    where = beacon.find_beacon()
    runtime = beacon.number(bytes(gdb.selected_inferior().read_memory(
        where.registry + 8 * tasks.runtimes()[0].tag, 8)), 0, 8)
    overwrite(runtime + where.number("weft_runtime.table")
              + where.number("table.used"), used.to_bytes(4, "little"))


def damage_registry():
    where = beacon.find_beacon()
    overwrite(where.registry + 8 * tasks.runtimes()[0].tag,
              (16).to_bytes(8, "little"))


def tail_calls():
    """The places of frames that gdb has only deduced: of functions that had
    made a last call, and were gone."""
    frame = gdb.newest_frame()
    while frame is not None:
        if frame.type() == gdb.TAILCALL_FRAME:
            print(f"tail call {frame.pc():#x}")
        frame = frame.older()


def check_registers(number):
    """Those of a selected task's first frame, by the order in which
    src/task/switch_*.S saves them."""
    frame = gdb.selected_frame()
    if frame.architecture().name().startswith("i386"):
        names = ["r15", "r14", "r13", "r12", "rbx", "rbp", "rip"]
    else:
        names = [f"x{i}" for i in range(19, 30)] + ["pc"]
    raw = bytes(gdb.selected_inferior().read_memory(slot(number).get("sp"),
                                                    8 * len(names)))
    for i, name in enumerate(names):
        value = int(frame.read_register(name)) & (1 << 64) - 1
        if value != int.from_bytes(raw[8 * i:8 * i + 8], "little"):
            print(f"{name} is wrong: {value:#x}")
    print("checked registers")
