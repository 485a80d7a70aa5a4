# beacon.py -- The program's memory, and how weft lies in it.
#
# Where things are is asked of the program, never of debug information: a note
# (section .note.weft) leads to the beacon (src/dump/beacon.h), which names each
# field and number that is used here. All of it is untrusted.
import re

import gdb

MAGIC = b"weft dmp"
VERSION = 2
HEAD = 64  # bytes before its names
BEACON_MAX = 1 << 20
NOTE = (5, 8, 1, b"weft\0\0\0\0")  # lengths, type, owner
NOTES_MAX = 64 << 10


class Problem(gdb.GdbError):
    """What the user is told, in one line."""


# ---- Memory ----

def read(address, size, what):
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except (gdb.MemoryError, OverflowError):
        raise Problem(f"weft: {what} at {address:#x} cannot be read: it is "
                      "damaged, or was not saved") from None


def number(raw, at, size):
    return int.from_bytes(raw[at:at + size], "little")


def text(raw):
    """Bytes that a program took for a name, fit for a terminal."""
    name = raw.split(b"\0")[0].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in name)


def read_name(address):
    """A string in the program's memory, or ""."""
    for size in 64, 8:  # it may lie at the end of what is there
        try:
            return text(read(address, size, "a name"))
        except Problem:
            pass
    return ""


# ---- The beacon ----

def note_sections():
    """The addresses of all sections of notes of the program and its
    libraries; `strip` leaves them."""
    pattern = re.compile(r"^\s+(0x[0-9a-f]+) - (0x[0-9a-f]+) is \.note")
    for line in gdb.execute("info files", to_string=True).splitlines():
        match = pattern.match(line)
        if match:
            begin, end = int(match[1], 16), int(match[2], 16)
            yield begin, min(end - begin, NOTES_MAX)


def find_note(begin, size):
    """Where weft's note among these says that the beacon is, or None."""
    notes = read(begin, size, "a section of notes")
    at = 0
    while at + 12 <= size:
        head = tuple(number(notes, at + 4 * i, 4) for i in range(3))
        owner = at + 12
        content = owner + (head[0] + 3 & ~3)
        if (*head, notes[owner:owner + 8]) == NOTE and content + 8 <= size:
            away = int.from_bytes(notes[content:content + 8], "little",
                                  signed=True)
            return begin + content + away
        at = content + (head[1] + 3 & ~3)
    return None


class Beacon:
    """Where the runtimes are, and by name the places of fields: offset, size,
    and size of the struct; or numbers."""

    def __init__(self, address):
        self.address = address
        head = read(address, HEAD, "weft's beacon")
        self.library = text(head[16:32])
        version, size = number(head, 8, 4), number(head, 12, 4)
        if head[:8] != MAGIC or not HEAD <= size <= BEACON_MAX:
            raise Problem("weft: its beacon is damaged")
        if version != VERSION:
            raise Problem(f"weft: the program runs weft {self.library}, whose "
                          "beacon this file does not know: load the "
                          "weft-gdb.py that came with that weft")
        self.registry, self.entry = number(head, 32, 8), number(head, 40, 8)
        names_size, count = number(head, 56, 4), number(head, 60, 4)
        raw = read(address, size, "weft's beacon")
        names = text(raw[HEAD:HEAD + names_size]).split()
        first = HEAD + names_size
        if len(names) != count or first + 12 * count > size:
            raise Problem("weft: its beacon is damaged")
        self.places = {
            name: tuple(number(raw, first + 12 * i + 4 * k, 4)
                        for k in range(3))
            for i, name in enumerate(names)}

    def number(self, name):
        return self.places[name][0]

    def size(self, struct):
        """Of a struct of which it knows a field."""
        return next(place[2] for name, place in self.places.items()
                    if name.startswith(struct + "."))

    def field(self, name, raw, base=0):
        at, size, _ = self.places[name]
        return number(raw, base + at, size)

    def numbers(self, prefix):
        """{number: name} of those whose names begin so."""
        return {place[0]: name[len(prefix):]
                for name, place in self.places.items()
                if name.startswith(prefix)}

    def registers(self):
        """Those that a switch saves: (name, offset, size)."""
        for name, (at, size, _) in self.places.items():
            if name.startswith("switch_frame."):
                yield name[len("switch_frame."):], at, size


def find_beacon():
    for begin, size in note_sections():
        address = find_note(begin, size)
        if address is not None:
            return Beacon(address)
    raise Problem("weft: there is no weft in this program" + doubt())


def doubt():
    """What may be why it is not found."""
    if not gdb.current_progspace().filename:
        return ", or its file is not known: `file PROGRAM`"
    libraries = [objfile for objfile in gdb.objfiles()
                 if ".so" in (objfile.filename or "")]
    if gdb.selected_inferior().threads() and not libraries:
        return ", or gdb does not know its libraries: `info sharedlibrary`"
    return ""
