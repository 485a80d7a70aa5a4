#!/usr/bin/env python3
# check.py -- `./dev check`: the house rules, each a small function.
#
# A rule takes a Tree and yields problems as (path, line, message). The real
# tree is the repository; tests/check/RULE/ is a tree in miniature that breaks
# one rule, with the places where in `expected`. `self-test` is itself a rule:
# every other rule must find exactly what its miniature holds, so that a check
# that has gone blind is noticed.
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build
import mutate

FOLDERS = ["include/weft", "src/port", "src/base", "src/task", "src/driver",
           "src/sched", "src/sync", "src/io", "src/dump", "src/report",
           "src/remote", "src/command", "src/sim"]
MAX_COLUMNS = 80
MAX_LINES = 1000

C_FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-DHAVE_LIBDW=1", "-Iinclude",
           "-Isrc", "-Itests", '-DWEFT_BENCH_SOURCE="bench"']


class Tree:
    """A directory laid out like the repository. Paths are relative to it."""

    def __init__(self, root, library):
        self.root = Path(root)
        self.library = library  # makes the shared library, returns its path
        self.paths = sorted(self.walk())

    def walk(self):
        for folder, folders, names in os.walk(self.root):
            here = Path(folder).relative_to(self.root)
            folders[:] = [name for name in folders if not self.left_out(
                here / name)]
            yield from (here / name for name in names)

    def left_out(self, folder):
        return (folder.name in (".git", "__pycache__")
                or folder == Path("tests/check")
                or self.root / folder == build.BUILD
                or (self.root / folder / "meson-private").is_dir()
                or folder == Path("build"))

    def select(self, *suffixes, under=""):
        return [path for path in self.paths if path.suffix in suffixes
                and str(path).startswith(under)]

    def text(self, path):
        return (self.root / path).read_text(errors="replace")

    def lines(self, path):
        return self.text(path).splitlines()


# ---- Reading C. ----

TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|"""
                   r"""'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def code_lines(text):
    """The lines of C text with comments and literals blanked out."""
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text).split("\n")


def without_includes(lines):
    return [(number, line) for number, line in enumerate(lines, 1)
            if not line.lstrip().startswith("#include")]


# ---- Tools. ----

def run_tool(tree, argv):
    done = subprocess.run(argv, cwd=tree.root, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")
    return done.returncode, done.stdout


DIAGNOSTIC = re.compile(r"^(?:\./)?([^\s:]+):(\d+):\d+: "
                        r"(?:warning|error|fatal error): (.*)$", re.M)


def diagnostics(tree, argv):
    """The places in a compiler-like tool's output, each of them once."""
    status, output = run_tool(tree, argv)
    found = {}
    for path, line, message in DIAGNOSTIC.findall(output):
        if os.path.isabs(path):
            path = os.path.relpath(path, tree.root)
        found.setdefault((path, int(line), message))
    if status != 0 and not found:
        last = (output.strip().splitlines() or ["no output"])[-1]
        found[(argv[0], 0, f"exit status {status}: {last}")] = None
    return list(found)


def rule_format(tree):
    """C looks as .clang-format says."""
    files = tree.select(".c", ".h", ".cpp")
    style = f"--style=file:{build.ROOT / '.clang-format'}"
    if not files:
        return
    lines = {}
    for path, line, _ in diagnostics(tree, ["clang-format", style, "--dry-run",
                                            "-Werror", *map(str, files)]):
        lines.setdefault(path, []).append(line)
    for path, bad in lines.items():
        yield path, bad[0], f"{len(bad)} lines: clang-format -i {path}"


def simulated(path):
    """What the simulator's own sources are compiled with."""
    return ["-DWEFT_SIM=1"] if str(path).startswith("src/sim/") else []


def rule_tidy(tree):
    """clang-tidy finds nothing in what users get."""
    files = [path for folder in ("src/", "examples/", "bench/")
             for path in tree.select(".c", under=folder)]
    config = f"--config-file={build.ROOT / '.clang-tidy'}"

    def tidy(path):
        return diagnostics(tree, ["clang-tidy", "--quiet", config, str(path),
                                  "--", *C_FLAGS, *simulated(path)])

    with ThreadPoolExecutor(build.JOBS) as pool:
        problems = {problem for found in pool.map(tidy, files)
                    for problem in found}
    yield from sorted(problems)


def rule_cppcheck(tree):
    """cppcheck finds nothing in the library."""
    # A waiter lives on the stack of whoever waits: autoVariables is no fault
    # here. Version 2.10 cannot read `c ? (struct s){0} : x`: internalAstError.
    if tree.select(".c", under="src/"):
        yield from diagnostics(tree, [
            "cppcheck", "--quiet", "--std=c11", "--error-exitcode=1",
            "--enable=warning,performance,portability", "--inline-suppr",
            f"-j{build.JOBS}", "-Iinclude", "-Isrc", "-D__x86_64__",
            "-D__GNUC__=12", "-D_GNU_SOURCE", "-U__cplusplus",
            "--suppress=missingIncludeSystem", "--suppress=autoVariables",
            "--suppress=internalAstError",
            "--template={file}:{line}:{column}: warning: {message} [{id}]",
            "src"])


# ---- House rules. ----

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def folder_of(path):
    """The place of a file in the dependency order, or None."""
    for index, folder in enumerate(FOLDERS):
        if str(path).startswith(folder + "/"):
            return index
    return None


def bad_include(path, quote, target):
    """What is wrong with an include, or None. In the library a quoted one is a
    path from src/; in users' code it is that of a header of their own."""
    if target.startswith("weft/"):
        return None if quote == "<" else f"write <{target}>"
    if quote == "<":
        return None
    own = folder_of(path)
    place = folder_of(Path("src") / target)
    if own is None:
        return None if place is None else (
            f'"{target}": examples and interface tests use <weft/...> alone')
    if place is None:
        return f'"{target}": write it from src/, as "base/list.h"'
    if place > own:
        return f'"{target}": {FOLDERS[own]} may not use {FOLDERS[place]}'
    return None


def rule_folders(tree):
    """A file includes only from its own folder and those above it."""
    for path in tree.select(".c", ".h", ".S"):
        if folder_of(path) is None and not str(path).startswith(
                ("examples/", "tests/interface/")):
            continue
        for number, line in enumerate(tree.lines(path), 1):
            if match := INCLUDE.match(line):
                if message := bad_include(path, match[1], match[2]):
                    yield path, number, message


def purpose_line(path, lines):
    """Which line must say the purpose, after which sign; None: no source."""
    script = bool(lines) and lines[0].startswith("#!")
    if path.suffix in (".c", ".h", ".S", ".cpp"):
        sign = "//"
    elif script or path.suffix in (".py", ".sh") or path.name == "meson.build":
        sign = "#"
    else:
        return None
    return 1 if script else 0, sign


def rule_purpose(tree):
    """Every source file begins by saying what it is for."""
    for path in tree.paths:
        lines = tree.lines(path)
        if opening := purpose_line(path, lines):
            index, sign = opening
            pattern = rf"{sign} {re.escape(path.name)} -- \S"
            if len(lines) <= index or not re.match(pattern, lines[index]):
                yield path, index + 1, f"say: {sign} {path.name} -- Purpose."


def rule_sizes(tree):
    """No line past 80 columns; outside the tests no file past 1,000 lines."""
    for path in tree.select(".c", ".h", ".S", ".cpp", ".py", ".sh"):
        lines = tree.lines(path)
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS:
                yield path, number, f"{len(line)} columns"
        if len(lines) > MAX_LINES and not str(path).startswith("tests/"):
            yield path, MAX_LINES + 1, f"{len(lines)} lines: two things in one"


# Where sources lie, the list that must name them, and the form of a name.
LISTS = [
    ("src/", (".c",), "src/meson.build", "src/", True),
    ("include/weft/", (".h",), "include/weft/meson.build", "include/weft/",
     True),
    ("examples/", (".c",), "examples/meson.build", "examples/", True),
    ("bench/", (".c",), "bench/meson.build", "bench/", True),
    ("tests/sim/", (".c", ".py"), "tests/sim/meson.build", "tests/sim/", True),
    ("tests/fuzz/", (".c",), "tests/fuzz/meson.build", "tests/fuzz/", False),
    ("tests/gdb/", (".c",), "tests/gdb/meson.build", "tests/gdb/", True),
    ("gdb/", (".py",), "gdb/meson.build", "gdb/", True),
] + [(f"tests/{suite}/", (".c", ".py"), "tests/meson.build", "tests/", False)
     for suite in ("unit", "interface", "stress", "e2e", "soak", "tools")]


def rule_listed(tree):
    """No source is left out of the build's lists, no test out of the run."""
    for folder, suffixes, listing, base, with_suffix in LISTS:
        paths = tree.select(*suffixes, under=folder)
        text = tree.text(listing) if paths else ""
        for path in paths:
            name = path.relative_to(base)
            name = str(name if with_suffix else name.with_suffix(""))
            if f"'{name}'" not in text:
                yield path, 1, f"{listing} does not list '{name}'"


def rule_skips(tree):
    """A C test that skips a case says why: skip_because of support/skip.h."""
    for path in tree.select(".c", under="tests/"):
        for number, line in enumerate(code_lines(tree.text(path)), 1):
            if re.search(r"\bskip\(\)", line):
                yield path, number, "a skip without a reason: skip_because()"


# What only src/port may touch: by name, by call, and by header. As the type of
# a shared pointer `_Atomic(T *)` is free: port.h cannot name them all.
PORT_NAMES = [
    r"__atomic_\w+", r"__sync_\w+", r"_Atomic(?!\([^()]*\*\))",
    r"SYS_futex\w*", r"__NR_futex\w*", r"FUTEX_\w+", r"EPOLL\w+",
    r"pthread_\w+", r"thrd_\w+", r"timerfd_\w+", r"io_uring_\w+",
]
PORT_CALLS = [
    r"atomic_(?:load|store|exchange|compare_exchange|fetch|flag|init)\w*",
    r"clock_(?:gettime|settime|nanosleep|getres)", r"nanosleep", r"usleep",
    r"gettimeofday", r"epoll_(?:create1?|ctl|wait|pwait2?)", r"eventfd",
    r"ppoll", r"mmap(?:64)?", r"munmap", r"mremap", r"madvise", r"mprotect",
    r"clone3?", r"getrandom", r"getentropy", r"s?rand", r"s?random", r"rand_r",
    r"__rdtscp?", r"_rdtsc", r"__builtin_ia32_rdtscp?",
]
PORT_ONLY = re.compile(
    r"\b(" + "|".join(PORT_NAMES) + r")\b|"
    r"(?<![.>\w])(" + "|".join(PORT_CALLS) + r")\s*\(")
PORT_ONLY_HEADERS = {
    "stdatomic.h", "pthread.h", "threads.h", "linux/futex.h", "sys/epoll.h",
    "sys/eventfd.h", "sys/timerfd.h", "sys/mman.h", "sys/random.h",
    "x86intrin.h", "liburing.h"}


def above_port(tree):
    """The simulator is a back-end of the port too."""
    return [path for path in tree.select(".c", ".h", under="src/")
            if not str(path).startswith(("src/port/", "src/sim/"))]


def rule_port(tree):
    """Machine and system are reached through src/port/port.h alone."""
    for path in above_port(tree):
        for number, line in enumerate(tree.lines(path), 1):
            match = INCLUDE.match(line)
            if match and match[2] in PORT_ONLY_HEADERS:
                yield path, number, f"<{match[2]}> belongs to src/port"
        for number, line in without_includes(code_lines(tree.text(path))):
            for match in PORT_ONLY.finditer(line):
                name = match[1] or match[2]
                yield path, number, f"{name} belongs to src/port"


FENCE = re.compile(r"\b(atomic_(?:thread|signal)_fence|__sync_synchronize|"
                   r"__atomic_(?:thread|signal)_fence|_mm_[lms]fence)\b")


def rule_fences(tree):
    """No stand-alone fences anywhere: ThreadSanitizer cannot see them."""
    for path in tree.select(".c", ".h"):
        for number, line in enumerate(code_lines(tree.text(path)), 1):
            for match in FENCE.finditer(line):
                yield path, number, f"{match[1]}: order an access instead"


ORDERED = re.compile(r"\b(?:load|store|xchg|cas|add|sub|or|and)_"
                     r"(?:acquire|release|acq_rel|seq_cst)\s*\(")
LAW = re.compile(r"//.*\b[A-Z]\d+\b")


def rule_laws(tree):
    """An access stronger than relaxed cites its law: // P1, on its lines or
    on the one above."""
    for path in above_port(tree):
        lines = tree.lines(path)
        code = code_lines(tree.text(path))
        for index, line in enumerate(code):
            if not ORDERED.search(line):
                continue
            end = index
            while end + 1 < len(code) and not code[end].rstrip().endswith(
                    (";", "{", "}")):
                end += 1
            if not any(LAW.search(near)
                       for near in lines[max(0, index - 1):end + 1]):
                yield path, index + 1, "cite the law: // P1"


MUTANTS = "tests/explore/mutants.txt"
COVERED = "tests/explore/covered.txt"


def rule_covered(tree):
    """A file with ordered atomics is in the explorer's list: with scenarios
    that exist, or with the reason why none drives it. Others may be listed,
    with scenarios. What the list of mutants is to edit is there, once."""
    files = [path for path in above_port(tree)
             if any(ORDERED.search(line)
                    for line in code_lines(tree.text(path)))]
    listed = {}
    for number, line in enumerate(tree.lines(COVERED) if files else [], 1):
        if line and not line.startswith("#"):
            path, _, rest = line.partition(":")
            listed[path] = number, rest.strip()
            yield from bad_cover(tree, number, path, rest.strip())
    for path in files:
        if str(path) not in listed:
            yield path, 1, f"ordered atomics, but not in {COVERED}"
    for path in listed.keys() - {str(path) for path in files}:
        number, rest = listed[path]
        if rest.startswith("no:"):
            yield COVERED, number, f"{path} has no ordered atomics"
        elif not (tree.root / path).is_file():
            yield COVERED, number, f"there is no {path}"
    if (tree.root / MUTANTS).is_file():
        yield from bad_edits(tree)


def bad_edits(tree):
    lines = tree.lines(MUTANTS)
    edits, _ = mutate.listed(tree.text(MUTANTS))
    for path, what, old, *_ in edits:
        if tree.text(path).count("\n".join(old)) != 1:
            yield (MUTANTS, lines.index(f"edit {path}: {what}") + 1,
                   "its old text is not there, or more than once")


def bad_cover(tree, number, path, rest):
    if rest.startswith("no:"):
        if len(rest) < 20:
            yield COVERED, number, f"say why {path} is not explored"
        return
    scenarios = "".join(tree.text(source) for source in tree.select(
        ".c", under="tests/explore/"))
    for name in rest.split() or [""]:
        if f'"{name}"' not in scenarios:
            yield COVERED, number, f'no scenario "{name}"'


def rule_comments(tree):
    """Every public function has a comment directly above it."""
    for path in tree.select(".h", under="include/weft/"):
        lines = tree.lines(path)
        for index, line in enumerate(lines):
            if line.startswith("WEFT_API") and not lines[
                    index - 1].startswith("//"):
                yield path, index + 1, "a public function without a comment"


DECLARED = re.compile(r"^WEFT_API\b[^;(]*?\b(weft_\w+)\s*\(", re.M)


def declared_names(tree):
    for path in tree.select(".h", under="include/weft/"):
        if path.name == "sim.h":  # of libweft-sim alone
            continue
        text = tree.text(path)
        for match in DECLARED.finditer(text):
            yield path, text.count("\n", 0, match.start(1)) + 1, match[1]


def rule_exports(tree):
    """libweft.so exports the functions of the public headers, no others, and
    needs nothing but libc."""
    library = tree.library(tree)
    _, output = run_tool(tree, ["nm", "-D", "--defined-only", str(library)])
    exported = {line.split()[-1] for line in output.splitlines() if line}
    declared = set()
    for path, line, name in declared_names(tree):
        declared.add(name)
        if name not in exported:
            yield path, line, f"{name} is not exported by libweft.so"
    for name in sorted(exported - declared):
        yield "src/weft.map", 1, f"{name} is exported, but in no public header"
    archive = library.parent / "libweft.a"
    if archive.exists():
        _, output = run_tool(tree, ["nm", "-g", "--defined-only", str(archive)])
        inner = {line.split()[-1] for line in output.splitlines()
                 if len(line.split()) == 3} - declared
        for name in sorted(inner):
            yield "src/meson.build", 1, f"{name} is a global name of libweft.a"
    _, output = run_tool(tree, ["readelf", "-d", str(library)])
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", output):
        if not name.startswith(("libc.so", "ld-linux")):
            yield "src/meson.build", 1, f"libweft.so needs {name}"


# ---- The rules tested on themselves. ----

def release_library(_):
    """The library as released."""
    build.configure("release")
    build.compile("release", ["src/libweft.so.0.1.0", "src/libweft.a"])
    return build.directory("release") / "src/libweft.so.0.1.0"


def miniature_library(tree):
    """The library of a miniature: all its C files, nothing hidden."""
    library = Path(tempfile.mkdtemp(prefix="weft-check-")) / "libweft.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Iinclude", "-o", str(library),
                    *map(str, tree.select(".c")), "-Wl,--no-as-needed", "-lm"],
                   cwd=tree.root, check=True)
    return library


def rule_self_test(tree):
    """Every rule finds exactly what its miniature under tests/check holds."""
    for name, rule in RULES.items():
        if rule is rule_self_test:
            continue
        here = tree.root / "tests/check" / name
        expected_file = here / "expected"
        if not expected_file.exists():
            yield expected_file.relative_to(tree.root), 1, "no self-test"
            continue
        expected = set(expected_file.read_text().split())
        found = {f"{path}:{line}" for path, line, _ in
                 rule(Tree(here, miniature_library))}
        for place in sorted(expected - found):
            yield f"tests/check/{name}/{place}", 0, "the rule missed this"
        for place in sorted(found - expected):
            yield f"tests/check/{name}/{place}", 0, "the rule's false alarm"


RULES = {
    "self-test": rule_self_test,
    "purpose": rule_purpose,
    "folders": rule_folders,
    "sizes": rule_sizes,
    "listed": rule_listed,
    "skips": rule_skips,
    "port": rule_port,
    "fences": rule_fences,
    "laws": rule_laws,
    "covered": rule_covered,
    "comments": rule_comments,
    "format": rule_format,
    "exports": rule_exports,
    "cppcheck": rule_cppcheck,
    "tidy": rule_tidy,
}


def explain(rule):
    return " ".join(rule.__doc__.split())


def check(name, tree):
    """Runs one rule and prints what it finds; says whether all is well."""
    began = time.monotonic()
    try:
        problems = list(RULES[name](tree))
    except build.BuildError as error:
        problems = [("libweft", 0, f"could not be built:\n{error}")]
    for path, line, message in problems:
        print(f"{path}:{line}: {message} [{name}]")
    return not problems, time.monotonic() - began


def main(arguments):
    as_tap = "--tap" in arguments
    names = [name for name in arguments if name != "--tap"] or list(RULES)
    unknown = [name for name in names if name not in RULES]
    if unknown:
        print(f"check: unknown rule {unknown[0]}; there are: "
              + " ".join(RULES), file=sys.stderr)
        return 64
    tree = Tree(build.ROOT, release_library)
    if as_tap:
        print(f"1..{len(names)}", flush=True)
    good = 0
    for number, name in enumerate(names, 1):
        if as_tap:
            print(f"# rule {name}", flush=True)
        well, seconds = check(name, tree)
        good += well
        if as_tap:
            print(f"{'ok' if well else 'not ok'} {number} - {name}",
                  flush=True)
        else:
            print(f"[{number}/{len(names)}] {name}: "
                  f"{'good' if well else 'BROKEN'} ({seconds:.1f} s): "
                  f"{explain(RULES[name])}", flush=True)
    if not as_tap:
        print(f"{good} of {len(names)} rules kept")
    return 0 if good == len(names) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
