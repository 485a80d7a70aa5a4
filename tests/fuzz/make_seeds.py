#!/usr/bin/env python3
# make_seeds.py -- Writes the first inputs of the fuzz targets into corpus/.
#
# They are valid, or nearly so, and show each target's input with all its parts:
# a fuzzer begins with these and would not invent them. To be run by hand, once
# an input's form has changed. Needs gcc, for ELF files with symbols and lines.
import struct
import subprocess
import tempfile
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data)


def text(string):
    return string.encode() + b"\0"


# ---- Call frame information. ----

def entry(content):
    content += b"\0" * (-len(content) % 4)
    return struct.pack("<I", len(content)) + content


def cie(augmentation=b"zR", data=b"\x1b", program=b""):
    return entry(struct.pack("<I", 0) + b"\x01" + augmentation + b"\0"
                 + b"\x01\x78\x10" + bytes([len(data)]) + data
                 + (program or b"\x0c\x07\x08\x90\x01"))


# push %rbp; mov %rsp, %rbp; ...; leave; ret
FRAMED = b"\x41\x0e\x10\x86\x02\x43\x0d\x06\x60\x0c\x07\x08"
# How linkers describe their table of jumps: an expression with rip.
PLT = (b"\x0e\x10\x46\x0e\x18\x4a\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33"
       b"\x24\x22")
EXPRESSIONS = b"\x0f\x03\x76\x78\x06\x10\x06\x02\x76\x00\x16\x03\x02\x77\x08"
STATES = b"\x0a\x42\x0e\x20\x83\x04\x0b\x0a\x41\x07\x10\x08\x06\x0b\xc6\xd0"


# A register beyond those that there are, as the base of one that there is.
BEYOND = b"\x10\x03\x02\x8f\x00"


def seed_cfi():
    for name, program in (("framed", FRAMED), ("plt", PLT),
                          ("expressions", EXPRESSIONS), ("states", STATES),
                          ("beyond", BEYOND)):
        first = cie()
        write("cfi", name, struct.pack("<HH", len(first), 20) + first + program)
    signal = cie(b"zRS", b"\x1b")
    write("cfi", "signal", struct.pack("<HH", len(signal), 1) + signal + FRAMED)


# A module: .eh_frame_hdr, a CIE, FDEs each of 64 bytes of code, the code.
def module(programs, first=None):
    first = first or cie()
    count = len(programs)
    header_size = 12 + 8 * count
    fde_sizes = [len(entry(b"\0" * 13 + program)) for program in programs]
    code = header_size + len(first) + sum(fde_sizes)
    code += -code % 16
    body, table, at = first, b"", header_size + len(first)
    for number, program in enumerate(programs):
        start = code + 64 * number
        table += struct.pack("<ii", start, at)
        body += entry(struct.pack("<IiI", at + 4 - header_size,
                                  start - (at + 8), 64) + b"\0" + program)
        at += fde_sizes[number]
    header = struct.pack("<BBBBiI", 1, 0x1b, 3, 0x3b, header_size - 4, count)
    whole = header + table + body
    whole += b"\0" * (code - len(whole)) + b"\x90" * 64 * count
    return whole, code


RAW, CODE, STACK = 0, 1, 2


def words(*pairs):
    return b"".join(struct.pack("<BH", kind, number) for kind, number in pairs)


def unwind(flags, frames, tail, bytes_, pc, sp, fp, stack):
    return (struct.pack("<BBBHHHHH", flags, frames, tail, len(bytes_), 0, pc,
                        sp, fp) + bytes_ + stack)


def seed_unwind():
    bytes_, code = module([FRAMED, b"", FRAMED + STATES])
    stack = words((RAW, 1), (RAW, 2), (STACK, 48), (CODE, code + 20), (RAW, 3),
                  (RAW, 4), (STACK, 80), (CODE, code + 150), (CODE, code + 70),
                  (RAW, 0), (RAW, 0), (RAW, 0))
    for name, flags in (("walk", 1), ("copy", 3), ("search", 5), ("low", 9),
                        ("no-header", 17)):
        write("unwind", name, unwind(flags, 15, 3, bytes_, code + 20, 0, 2,
                                     stack))
    # A function that keeps its frame pointer, called straight and through a
    # register; fp is not known, so its record is looked for.
    for name, call in (("call", b"\xe8" + struct.pack("<i", -85)),
                       ("register", b"\x90\x90\x90\xff\xd0")):
        bytes_, code = module([FRAMED, b""])
        bytes_ = bytes_[:code + 80] + call + bytes_[code + 85:]
        stack = words((RAW, 1), (CODE, code + 85), (STACK, 64),
                      (CODE, code + 85), (RAW, 0), (RAW, 0))
        write("unwind", f"search-{name}",
              unwind(4, 15, 3, bytes_, code + 20, 0, 0, stack))
    # A signal frame whose CFA is its own stack pointer, and which leads back
    # to itself.
    bytes_, code = module([b"\x0e\x00\x90\x00"], cie(b"zRS", b"\x1b"))
    write("unwind", "signal-for-ever",
          unwind(0, 7, 2, bytes_, code + 8, 0, 0, words((CODE, code + 8))))
    # The kernel's frame of a signal: registers in a ucontext.
    bytes_, code = module([FRAMED])
    bytes_ += b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05" + b"\x90" * 16
    context = [(STACK, 8 * i) for i in range(40)]
    context[21] = (CODE, code + 20)  # rip
    write("unwind", "sigreturn",
          unwind(0, 7, 2, bytes_, code + 64, 0, 0, words(*context)))


# ---- ELF files. ----

SOURCE = """
static inline __attribute__((always_inline)) int inner(int n)
{
    return n * 7;
}

int outer(int n)
{
    return inner(n) + 1;
}

static __attribute__((noinline, used)) int hidden(int n)
{
    return outer(n) + outer(n + 1);
}
"""


def compile_module(folder, name, *flags):
    source = Path(folder) / "seed.c"
    source.write_text(SOURCE)
    target = Path(folder) / name
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-nostdlib",
                    "-fno-stack-protector", "-Wl,-z,noseparate-code",
                    f"-ffile-prefix-map={folder}=/src",
                    "-Wl,-z,norelro", "-Wl,--hash-style=gnu", "-o", target,
                    "seed.c", *flags], cwd=folder, check=True)
    return target.read_bytes()


def seed_elf():
    with tempfile.TemporaryDirectory() as folder:
        plain = compile_module(folder, "plain", "-Wl,--build-id")
        bare = compile_module(folder, "bare", "-s", "-Wl,--build-id=none")
        lines = compile_module(folder, "lines", "-g", "-Wl,--build-id")
        old = compile_module(folder, "old", "-gdwarf-4", "-Wl,--build-id=none")
    write("elf", "plain", plain)
    write("elf", "bare", bare)
    for name, data, how in (("lines", lines, 1), ("old", old, 0),
                            ("plain", plain, 1)):
        head = bytes([how, 7]) + b"".join(
            struct.pack("<H", at) for at in (0x240, 0x250, 0x254, 0x25a, 0x25d,
                                             0x266, 0x272, 0x27c))
        write("symbols", name, head + data)


# ---- Text. ----

def seed_text():
    for name, command in (
            ("inline", b"set a 1\r\nGET a\r\nincr a\nping hi\r\n\r\nquit\r\n"),
            ("bulk", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\0x\r\n"
                     b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n"),
            ("keys", b"MGET a b c\r\nDEL a b\r\nEXISTS a\r\nEXPIRE a 10\r\n"
                     b"TTL a\r\nDBSIZE\r\nINFO\r\nCOMMAND\r\nECHO x\r\n"),
            ("transfer", b"set a 10\nset b 10\ntransfer a b 3\n"
                         b"transfer a a 1\ntransfer b a 99\nexpire a -1\n"),
            ("wrong", b"*1\r\n$99999999\r\n"), ("half", b"*2\r\n$3\r\nGE")):
        write("resp", name, b"\x10" + command)
    write("settings", "both", b"\0" + text(
        "stall=off,ready_ns=5s,growth_tasks=50000,no_yield_ns=100ms,what=1")
        + text("warning,every_ns=1m,look_ns=2h,period_ns=10us"))
    write("settings", "given", b"\7" + struct.pack("<qqqq", 5, 80, 1, 9) + b"\1"
          + text("stack_percent=120,deadlock=on,stall_waiters=4294967295")
          + text("off,error,every_ns=9223372036854775807h"))
    write("path", "below", text("/home/u") + text("/w/src/report/symbols.c")
          + text("/home/u/build") + text("../app/./x//bank.c"))
    write("path", "own", text("/") + text("/w/src/report/symbols.c")
          + text("/w/build") + text("../src/io/fd.c"))
    write("reader", "all", bytes(range(0, 256, 5)) + bytes(range(0x60, 0xa0)))
    hostile = "a\"\\\x1b[31m\n\u202eb\u200b\x7f\u0301\u5b57\U0001f600"
    write("names", "hostile", b"\x20\x02" + hostile.encode() + b"\xff\xc0\x80")
    write("names", "long", b"\x05\x04" + b"/usr/lib/some/where/" * 9)


RUNNING, READY, WAITING, NEW = range(4)
MUTEX, SEND, RECEIVE, JOIN, SCOPE = range(5)  # of enum weft_wait_kind, less 1
NOTHING = 255


def task(name, state, wait=0, on=NOTHING, target=0, scope=0, labels=()):
    edges = bytes([on, wait, target, target, 5]) if state == WAITING else b""
    return (text(name) + bytes([state | len(labels) // 2 << 4])
            + struct.pack("<Q", 1 << 40) + edges + bytes([scope, 16, 0, 1])
            + b"".join(text(part) for part in labels))


def mutex(name, owner):
    return text(name) + bytes([0, owner]) + b"\0" * 16


def channel(name, sender, receiver):
    peers = b"".join(bytes([last, 0, 0]) + struct.pack("<Q", 1 << 42)
                     for last in (sender, receiver))
    return text(name) + b"\1\0" + struct.pack("<QQ", 0, 4) + peers


def dump(objects, tasks):
    head = text("/bin/x") + text("db\x1b7") + text("we\"ft")
    head += struct.pack("<QIBBB", 1768187261 << 31, 1200000, 1, 0, 1)
    head += text("why")
    workers = b"\2\5\0\0\0\0\0\0\1\0\0\0\0\0\0"
    return (head + bytes([len(objects)]) + b"".join(objects) + workers
            + b"".join(tasks))


def seed_dump():
    plain = dump([mutex("accounts", 1), channel("", 2, 0)], [
        task("main", RUNNING), task("conn \u202e1", NEW), task("n", READY),
        task("", WAITING, RECEIVE, 1, labels=("key", "\x1b", "k2", "v2"))])
    for how in (0, 1, 2, 12, 16):
        write("dump", f"plain-{how}", bytes([how]) + plain)
    write("dump", "deadlock", b"\4" + dump(
        [mutex("a", 1), mutex("b", 2)],
        [task("one", WAITING, MUTEX, 1), task("two", WAITING, MUTEX, 0),
         task("behind", WAITING, MUTEX, 0)]))
    write("dump", "joins", b"\0" + dump([], [
        task("one", WAITING, JOIN, target=2),
        task("two", WAITING, SCOPE, target=7),
        task("three", WAITING, JOIN, target=1, scope=7)]))
    write("dump", "stall", b"\0" + dump(
        [mutex("hot", 12), channel("jobs", 99, 0)],
        [task(f"waits {i}", WAITING, MUTEX, 0) for i in range(11)]
        + [task("keeper", WAITING, RECEIVE, 1)]))


def main():
    seed_cfi()
    seed_unwind()
    seed_elf()
    seed_text()
    seed_dump()


if __name__ == "__main__":
    main()
