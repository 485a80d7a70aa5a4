#!/usr/bin/env python3
# make_sites.py -- Writes the functions in which the oracle's tasks are parked.
#
# usage: make_sites.py HEADER SOURCE...
#
# Each function has several places from which it calls another one, of any of
# the sources; a site's `path` says which to take at each level. So a few
# hundred functions give any number of different chains. Before a call, each
# notes its name and line, as the compiler gives them, in the site: the truth.
#
# The sources are to be compiled in different ways. What could make unwinding
# hard is mixed in: large and variable frames, many arguments, calls by pointer,
# calls back from libc, functions inlined into each other.
#
# Two calls must never become one, or its line would be a matter of taste: so
# after each comes an `asm` of its own.
import random
import sys

FUNCTIONS = 40   # of each source
INLINES = 12     # of each source, in layers
LAYERS = 3
ARMS = 4
SEED = 20260112

LEAVES = [
    "weft_channel_recv(site->empty, site->room + {n}, WEFT_NEVER)",
    "weft_channel_send(site->full, site->room + {n}, WEFT_NEVER)",
    "weft_mutex_lock(site->mutex, WEFT_NEVER)",
    "weft_task_sleep(WEFT_NEVER)",
]


class Writer:
    """Collects lines, and counts what has to be unique."""

    def __init__(self, rng):
        self.rng = rng
        self.lines = []
        self.unique = 0

    def line(self, text=""):
        self.lines.append(text)

    def next(self):
        self.unique += 1
        return self.unique

    def call(self, indent, call):
        """A call, on one line with its note and its mark."""
        self.line(f"{indent}NOTE(site, level); r = {call}; "
                  f"KEEP({self.next()});")


def leaf(out):
    """The end of a chain: one of weft's calls that park."""
    out.line("    if (level == 0) {")
    out.line("        switch (site->path[0] % 4) {")
    for arm, call in enumerate(LEAVES):
        out.line("        default:" if arm == 3 else f"        case {arm}:")
        out.call("            ", call.format(n=out.rng.randrange(8)))
        out.line("            break;")
    out.line("        }")
    out.line("        return r;")
    out.line("    }")


def arms(out, calls):
    out.line(f"    switch (site->path[level] % {len(calls)}) {{")
    for arm, call in enumerate(calls):
        last = arm == len(calls) - 1
        out.line("    default:" if last else f"    case {arm}:")
        out.call("        ", call)
        out.line("        break;")
    out.line("    }")


def plain_call(rng, name):
    """A call of another function, directly or by a pointer."""
    if rng.random() < 0.3:
        return f"by_pointer({name})(site, level - 1, {rng.randrange(99)})"
    return f"{name}(site, level - 1, {rng.randrange(99)})"


def frame(out):
    """Something that gives the frame an unusual shape; its use after."""
    shape = out.rng.randrange(5)
    if shape == 0:
        size = out.rng.randrange(1, 400)
        out.line(f"    volatile char room[{size}] = {{(char)salt}};")
        return "room[0]"
    if shape == 1:
        out.line("    volatile char *room = "
                 "__builtin_alloca((size_t)(salt & 63) + 1);")
        out.line("    room[0] = (char)salt;")
        return "room[0]"
    if shape == 2:
        out.line("    int a = site->salt ^ salt, b = a * 3, c = b - salt;")
        out.line("    int d = c ^ b, e = d + a;")
        return "(a ^ b ^ c ^ d ^ e)"
    if shape == 3:
        out.line("    double x = site->salt * 0.5 + salt;")
        return "(int)x"
    return "salt"


def function(out, name, calls, head):
    out.line()
    out.line(head.format(name=name))
    out.line("{")
    out.line("    int r;")
    after = frame(out)
    out.line()
    leaf(out)
    arms(out, calls)
    out.line(f"    return r + {after};")
    out.line("}")


def call_back(out, number, source, name):
    """A function that libc calls, and that goes on from there."""
    out.line()
    out.line(f"static int back_{source}_{number}(const void *one, "
             "const void *other, void *arg)")
    out.line("{")
    out.line("    struct hop *hop = arg;")
    out.line("    struct site *site = hop->site;")
    out.line("    int level = hop->level;")
    out.line("    int r;")
    out.line()
    out.line("    (void)one, (void)other;")
    leaf(out)
    out.call("    ", f"{name}(site, level - 1, {number})")
    out.line("    return r;")
    out.line("}")


def write_source(rng, source, names):
    out = Writer(rng)
    out.unique = source * 100000
    out.line(f"// Source {source} of the oracle's places: made by "
             "make_sites.py.")
    out.line('#include "oracle_sites.h"')
    others = [name for name in names if name != "f"]
    for number in range(4):
        call_back(out, number, source, rng.choice(others))
    layers = []
    for layer in range(LAYERS):
        layers.append([])
        for number in range(INLINES // LAYERS):
            name = f"in_{source}_{layer}_{number}"
            calls = [plain_call(rng, callee)
                     for callee in rng.sample(others, 2)]
            if layer:
                calls[0] = (f"{rng.choice(layers[layer - 1])}"
                            f"(site, level - 1, {rng.randrange(99)})")
            function(out, name, calls,
                     "ALWAYS_INLINE int {name}(struct site *site, int level, "
                     "int salt)")
            layers[layer].append(name)
    inlines = [name for layer in layers for name in layer]
    for number in range(FUNCTIONS):
        calls = [plain_call(rng, callee)
                 for callee in rng.sample(others, ARMS)]
        calls[1] = (f"{rng.choice(inlines)}(site, level - 1, "
                    f"{rng.randrange(99)})")
        if number % 8 == 0:
            calls[2] = f"THROUGH_LIBC(back_{source}_{number // 8 % 4})"
        function(out, f"f_{source}_{number}", calls,
                 "NO_INLINE int {name}(struct site *site, int level, int salt)")
    return out.lines


def write_header(names):
    lines = ["// The oracle's places: made by make_sites.py.",
             '#include "support/oracle.h"', ""]
    lines += [f"place_fn {name};" for name in names]
    lines += ["", f"#define PLACE_FUNCTIONS {len(names)}",
              "#define EACH_PLACE_FUNCTION(X) \\"]
    lines += [f"    X({name}) \\" for name in names[:-1]]
    lines += [f"    X({names[-1]})"]
    return lines


def main(header, sources):
    rng = random.Random(SEED)
    names = [f"f_{source}_{number}" for source in range(len(sources))
             for number in range(FUNCTIONS)]
    with open(header, "w") as file:
        file.write("\n".join(write_header(names)) + "\n")
    for source, path in enumerate(sources):
        with open(path, "w") as file:
            file.write("\n".join(write_source(rng, source, names)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
