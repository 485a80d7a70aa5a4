#!/usr/bin/env python3
# test_modules.py -- Names and stacks of real modules: however they are linked
# and stripped, wherever their debug information lies, and whatever has become
# of them since they were loaded.
#
# Each case runs a program of tests/modules with a copy of a module in a
# directory of its own, and looks at the dump that it prints of itself. All the
# time a server listens that a debuginfod client would ask. Prints TAP.
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

TREE = pathlib.Path(os.environ.get("WEFT_TREE", "build/release"))
SOURCE = pathlib.Path(os.environ.get(
    "WEFT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BUILT = TREE / "tests/modules"

sys.path.insert(0, str(SOURCE / "tools"))
try:
    import validate_dump
except ImportError:  # python3-jsonschema is not there
    validate_dump = None


class Skip(Exception):
    """The machine or the build lacks something; the message says what."""


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def tool(*command):
    if not shutil.which(command[0]):
        raise Skip(f"no {command[0]}")
    done = subprocess.run([str(word) for word in command], check=True,
                          capture_output=True, text=True)
    return done.stdout


class Dump:
    """What a program printed of itself."""

    def __init__(self, text, document):
        self.text = text.decode()
        self.json = json.loads(document)
        if validate_dump:
            problems = validate_dump.validate(document)
            expect(not problems, problems)

    def stack(self, name):
        task = next(t for t in self.json["tasks"] if t["name"] == name)
        return self.json["stacks"][task["stack"]]

    def frames(self, name):
        """Leaf first, without weft's own."""
        frames = [self.json["frames"][i] for i in self.stack(name)["frames"]]
        return [frame for frame in frames if not frame["runtime"]]

    def functions(self, name):
        return [frame["function"] for frame in self.frames(name)]

    def problems(self):
        return {item["code"]: item["message"]
                for item in self.json["capture"]["problems"]}

    def full(self):
        return "no-libdw" not in self.problems()


class Place:
    """A directory of a case, gone at its end."""

    def __init__(self, directory, environment):
        self.path = pathlib.Path(directory)
        self.environment = dict(environment)

    def copy(self, built, name="plugin.so"):
        if not (BUILT / built).exists():
            raise Skip(f"{built} is not built")
        return shutil.copy(BUILT / built, self.path / name)

    def run(self, *arguments, program="program-pie", cwd=None):
        if not (BUILT / program).exists():
            raise Skip(f"{program} is not built")
        text, document = self.path / "text", self.path / "json"
        done = subprocess.run(
            [BUILT / program, text, document,
             *[str(argument) for argument in arguments]],
            env=self.environment, cwd=cwd, capture_output=True, text=True,
            timeout=60)
        expect(done.returncode == 0,
               f"status {done.returncode}: {done.stderr}")
        return Dump(text.read_bytes(), document.read_bytes())


OWN = ["hold", "own_inlined", "own_secret", "own"]
GUEST = ["hold", "plugin_inlined", "plugin_secret", "plugin_run", "guest"]


def expect_line(dump, function, file):
    """A frame's line of text."""
    line = rf"^ +{re.escape(function)}( \(inlined\))? +\S*{file}:\d+$"
    expect(re.search(line, dump.text, re.MULTILINE), (line, dump.text))


def expect_full(dump, task="guest", chain=None, file="modules/plugin.c"):
    chain = chain or GUEST
    if not dump.full():
        raise Skip("no libdw here")
    expect(dump.functions(task) == chain, dump.functions(task))
    expect(dump.stack(task)["end"] == "whole", dump.stack(task))
    expect(dump.stack(task)["error"] is None, dump.stack(task))
    for frame in dump.frames(task)[1:-1]:
        expect(frame["file"].endswith(file), frame)
        expect(frame["line"] > 0 and frame["unnamed"] is None, frame)
        expect(frame["inlined"] == frame["function"].endswith("inlined"),
               frame)
    expect_line(dump, chain[1], file)


def expect_nameless(dump, why, original):
    """The module's static function is without a name, but can be found."""
    frames = [frame for frame in dump.frames("guest")
              if frame["module"] is not None and
              dump.json["modules"][frame["module"]]["path"].endswith(
                  "/plugin.so")]
    expect(frames, dump.functions("guest"))
    nameless = [frame for frame in frames if frame["function"] is None]
    expect(nameless, frames)
    for frame in nameless:
        expect(frame["unnamed"] == why and frame["file"] is None, frame)
        expect(f"plugin.so+{frame['offset']} " in dump.text, dump.text)
    expect(f"({why})" in dump.text, dump.text)
    found = tool("addr2line", "-f", "-i", "-e", BUILT / original,
                 nameless[0]["offset"])
    expect("plugin_secret" in found.split("\n"), found)
    return nameless, frames


# ---- Executables. ----

def check_program(place, program):
    dump = place.run(program=program)
    expect_full(dump, "own", OWN, "modules/program.c")
    expect("no names" not in dump.text, dump.text)


def a_pie(place):
    check_program(place, "program-pie")


def no_pie(place):
    check_program(place, "program-no-pie")


def expect_symbols(dump, task, chain):
    """Without debug information, some of weft's own may come before."""
    functions = dump.functions(task)
    expect(functions[-len(chain):] == chain, functions)


def check_static(place, program):
    """No libdw there: names by symbols, but whole stacks."""
    dump = place.run(program=program)
    expect("statically linked" in dump.problems()["no-libdw"],
           dump.problems())
    expect("(few names: a statically linked program" in dump.text, dump.text)
    expect(dump.stack("own")["end"] == "whole", dump.stack("own"))
    expect_symbols(dump, "own", ["hold", "own_secret", "own"])


def static(place):
    check_static(place, "program-static")


def static_pie(place):
    check_static(place, "program-static-pie")


def stripped_program(place):
    for name in ["program-pie", "program-no-pie", "program-static"]:
        if not (BUILT / name).exists():
            continue
        stripped = place.copy(name, name)
        tool("strip", "--strip-all", stripped)
        dump = place.run(program=stripped)
        expect(dump.stack("own")["end"] == "whole", dump.stack("own"))
        frames = dump.frames("own")
        named = [frame for frame in frames if frame["function"]]
        expect(not any(f["function"].startswith("own") for f in named), named)
        found = []
        for frame in frames:
            expect(frame["function"] or frame["unnamed"], frame)
            if not frame["function"]:
                expect(f"{name}+{frame['offset']}" in dump.text, dump.text)
                found += tool("addr2line", "-f", "-i", "-e", BUILT / name,
                              frame["offset"]).split("\n")
        expect("own_secret" in found, found)


def replaced_program(place):
    """Its old file can still be had."""
    copy = place.copy("program-pie", "prog")
    dump = place.run("--shell",
                     f"cp {BUILT}/program-no-pie {copy}.new && "
                     f"mv {copy}.new {copy}", program=copy)
    expect_full(dump, "own", OWN, "modules/program.c")


def removed_program(place):
    copy = place.copy("program-pie", "prog")
    dump = place.run("--shell", f"rm {copy}", program=copy)
    expect_full(dump, "own", OWN, "modules/program.c")


# ---- Modules and their debug information. ----

def module(place):
    expect_full(place.run(place.copy("plugin.so"), "plugin_run"))


def module_without_id(place):
    expect_full(place.run(place.copy("plugin-no-id.so"), "plugin_run"))


def stripped_module(place):
    copy = place.copy("plugin.so")
    tool("strip", "--strip-all", copy)
    dump = place.run(copy, "plugin_run")
    _, frames = expect_nameless(dump, "no symbol is there", "plugin.so")
    expect([f["function"] for f in frames] == [None, "plugin_run"], frames)
    expect("no-names" not in dump.problems(), dump.problems())


def split(place, built, debug, link=None):
    """A stripped module, and its debug information in a file of its own."""
    copy = place.copy(built)
    debug = place.path / debug
    debug.parent.mkdir(parents=True, exist_ok=True)
    tool("objcopy", "--only-keep-debug", copy, debug)
    tool("strip", "--strip-all", copy)
    if link:
        tool("objcopy", f"--add-gnu-debuglink={debug}", copy)
    return copy


def link_beside(place):
    for built in ["plugin.so", "plugin-no-id.so"]:
        copy = split(place, built, "plugin.dbg", True)
        expect_full(place.run(copy, "plugin_run"))


def link_in_debug(place):
    for built in ["plugin.so", "plugin-no-id.so"]:
        copy = split(place, built, ".debug/plugin.dbg", True)
        expect_full(place.run(copy, "plugin_run"))


def link_under_root(place):
    root = place.path / "root"
    below = str(place.path).lstrip("/")
    copy = split(place, "plugin.so", root / below / "plugin.dbg", True)
    place.environment["WEFT_DEBUG_PATH"] = f"/no/such:{root}"
    expect_full(place.run(copy, "plugin_run"))


def wrong_link(place):
    """A file of the right name and another version is not taken."""
    for ident in ["", "-no-id"]:
        copy = split(place, f"plugin{ident}.so", "plugin.dbg", True)
        tool("objcopy", "--only-keep-debug",
             BUILT / f"plugin-other{ident}.so", place.path / "plugin.dbg")
        dump = place.run(copy, "plugin_run")
        expect_nameless(dump, "no symbol is there", f"plugin{ident}.so")


def build_id(path):
    match = re.search(r"Build ID: ([0-9a-f]+)", tool("readelf", "-n", path))
    return match[1]


def debug_by_id(place, of, built):
    """Puts the debug information of `built` where that of `of` belongs."""
    ident = build_id(of)
    debug = place.path / f"debug/.build-id/{ident[:2]}/{ident[2:]}.debug"
    debug.parent.mkdir(parents=True, exist_ok=True)
    tool("objcopy", "--only-keep-debug", BUILT / built, debug)
    place.environment["WEFT_DEBUG_PATH"] = str(place.path / "debug")


def by_build_id(place):
    copy = place.copy("plugin.so")
    debug_by_id(place, copy, "plugin.so")
    tool("strip", "--strip-all", copy)
    expect_full(place.run(copy, "plugin_run"))


def wrong_build_id(place):
    copy = place.copy("plugin.so")
    debug_by_id(place, copy, "plugin-other.so")
    tool("strip", "--strip-all", copy)
    dump = place.run(copy, "plugin_run")
    expect_nameless(dump, "no symbol is there", "plugin.so")


def cxx(place):
    copy = place.copy("plugin-cxx.so")
    for close in [[], ["--close"]]:
        dump = place.run(copy, "plugin_run", *close)
        names = dump.functions("guest")
        expect(names[1].startswith("void shop::Order::apply<") or
               names[1].startswith("shop::Order::apply<"), names)
        expect(names[2].startswith("shop::Order::operator+("), names)
        expect("shop::Order::operator+(" in dump.text, dump.text)
        expect("_ZN" not in dump.text, dump.text)


# ---- What became of a module since. ----

def closed(place):
    for built in ["plugin.so", "plugin-no-id.so"]:
        expect_full(place.run(place.copy(built), "plugin_run", "--close"))


def relative(place):
    """Loaded by a path that no longer means it."""
    place.copy("plugin.so")
    dump = place.run("./plugin.so", "plugin_run", "--chdir", "/",
                     cwd=place.path)
    expect_full(dump)


def gone(place):
    copy = place.copy("plugin.so")
    for close in [[], ["--close"]]:
        copy = place.copy("plugin.so")
        dump = place.run(copy, "plugin_run", *close, "--shell", f"rm {copy}")
        nameless, frames = expect_nameless(dump, "its file is gone",
                                           "plugin.so")
        expect(nameless == frames, frames)
        expect("plugin.so: its file is gone" in dump.problems()["no-names"],
               dump.problems())


def replaced(place):
    """No name is better than one out of another version."""
    for ident in ["", "-no-id"]:
        for close in [[], ["--close"]]:
            copy = place.copy(f"plugin{ident}.so")
            dump = place.run(
                copy, "plugin_run", *close, "--shell",
                f"cp {BUILT}/plugin-other{ident}.so {copy}.new && "
                f"mv {copy}.new {copy}")
            why = "replaced on disk since it was loaded"
            nameless, frames = expect_nameless(dump, why, f"plugin{ident}.so")
            expect(nameless == frames, frames)
            expect(f"plugin.so: {why}" in dump.problems()["no-names"],
                   dump.problems())
            expect(re.search(rf"\(no names in \S*plugin.so: {why}\)",
                             dump.text), dump.text)


def replaced_with_debug(place):
    """The old version's debug information is still there."""
    copy = place.copy("plugin.so")
    debug_by_id(place, copy, "plugin.so")
    for close in [[], ["--close"]]:
        copy = place.copy("plugin.so")
        dump = place.run(copy, "plugin_run", *close, "--shell",
                         f"cp {BUILT}/plugin-other.so {copy}.new && "
                         f"mv {copy}.new {copy}")
        expect_full(dump)


# ---- Stacks. ----

def without_frame_pointers(place):
    copy = place.copy("plugin.so")
    expect_full(place.run(copy, "plugin_deep"), chain=[
        "hold", "plugin_leaf", "plugin_crowd", "plugin_sized", "plugin_deep",
        "guest"])


def assembly_with_cfi(place):
    dump = place.run(place.copy("plugin.so"), "plugin_told")
    expect(dump.functions("guest") == [
        "hold", "plugin_asm_told", "plugin_told", "guest"],
        dump.functions("guest"))
    expect(dump.stack("guest")["end"] == "whole", dump.stack("guest"))


def assembly_without_cfi(place):
    """The stack ends there, and says so."""
    dump = place.run(place.copy("plugin.so"), "plugin_untold")
    stack = dump.stack("guest")
    expect(dump.functions("guest") == ["hold", "plugin_asm_untold"],
           dump.functions("guest"))
    expect(stack["end"] == "broken" and stack["truncated"], stack)
    expect(stack["error"] == "no unwind information", stack)
    expect(dump.json["frames"][stack["error_frame"]]["function"] ==
           "plugin_asm_untold", stack)
    expect("the rest cannot be read past plugin_asm_untold: "
           "no unwind information" in dump.text, dump.text)
    expect(dump.stack("own")["end"] == "whole", dump.stack("own"))


# ---- Without libdw. ----

def without_libdw(place):
    """Functions by their symbols, static ones too; no lines."""
    (place.path / "libdw.so.1").touch()
    place.environment["LD_LIBRARY_PATH"] = str(place.path)
    dump = place.run(place.copy("plugin.so"), "plugin_run")
    expect("libdw.so.1 was not found" in dump.problems()["no-libdw"],
           dump.problems())
    expect("(few names: libdw.so.1 was not found" in dump.text, dump.text)
    expect_symbols(dump, "guest",
                   ["hold", "plugin_secret", "plugin_run", "guest"])
    expect(all(f["file"] is None for f in dump.frames("guest")),
           dump.frames("guest"))
    # Symbols in separate files are as good.
    copy = split(place, "plugin.so", "plugin.dbg", True)
    dump = place.run(copy, "plugin_run", "--close")
    expect("plugin_secret" in dump.functions("guest"),
           dump.functions("guest"))


CASES = [
    a_pie, no_pie, static, static_pie, stripped_program, replaced_program,
    removed_program, module, module_without_id, stripped_module, link_beside,
    link_in_debug, link_under_root, wrong_link, by_build_id, wrong_build_id,
    cxx, closed, relative, gone, replaced, replaced_with_debug,
    without_frame_pointers, assembly_with_cfi, assembly_without_cfi,
    without_libdw,
]


def listen():
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server


def run_case(case, server):
    environment = dict(os.environ)
    environment.update({
        "DEBUGINFOD_URLS": f"http://127.0.0.1:{server.getsockname()[1]}",
        "DEBUGINFOD_TIMEOUT": "1",
        "DEBUGINFOD_RETRY_LIMIT": "1",
    })
    environment.pop("WEFT_DEBUG_PATH", None)
    with tempfile.TemporaryDirectory(prefix="weft-modules-") as directory:
        place = Place(os.path.realpath(directory), environment)
        environment["DEBUGINFOD_CACHE_PATH"] = directory
        case(place)
    try:
        server.accept()
    except BlockingIOError:
        return
    raise AssertionError("somebody was asked for debug information")


def main():
    chosen = [case for case in CASES
              if len(sys.argv) < 2 or case.__name__ in sys.argv[1:]]
    failed = 0
    server = listen()
    print(f"1..{len(chosen)}")
    for number, case in enumerate(chosen, 1):
        try:
            run_case(case, server)
            print(f"ok {number} - {case.__name__}")
        except Skip as reason:
            print(f"ok {number} - {case.__name__} # SKIP {reason}")
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            for line in f"{type(error).__name__}: {error}".splitlines():
                print(f"# {line}")
            print(f"not ok {number} - {case.__name__}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
