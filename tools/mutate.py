#!/usr/bin/env python3
# mutate.py -- Breaks the lock-free files one place at a time: is it noticed?
#
# A mutant is a copy of one file with one fault: an order weakened, found by
# pattern in every file that the explorer covers; or a recheck, a notification
# or a time-out left out or turned, found by pattern or listed in
# tests/explore/mutants.txt. Each is compiled, linked with the explorer and put
# to its scenarios, first with the small bounds, then with the whole ones. It is
# killed by the first that fails. Those that none can kill are excused there,
# each with the reason why it is no fault.
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import build
import explore

LIST = build.ROOT / "tests/explore/mutants.txt"
TIMEOUT_S = 600

# How each scenario of a mutant's file is searched, one after the other.
QUICK = ["--quick"]
LARGER = [["--preemptions", "2", "--stale", "2"], []]
MOST = 600000  # executions of these
MOST_IF_EXCUSED = 60000

ORDERED = re.compile(r"\b(load|store|xchg|cas|add|sub|or)_"
                     r"(acquire|release|acq_rel|seq_cst)\(")
LAXER = {
    ("load", "acquire"): ["relaxed"],
    ("load", "seq_cst"): ["relaxed", "acquire"],
    ("store", "release"): ["relaxed"],
    ("store", "seq_cst"): ["relaxed", "release"],
}
LAXER_OF_CHANGES = {
    "acquire": ["relaxed"],
    "release": ["relaxed"],
    "acq_rel": ["relaxed"],
    "seq_cst": ["relaxed", "acq_rel"],
}

# Whole statements that notify, or look once more.
NOTICES = re.compile(
    r"^(\s+)(?:\(void\))?(port_futex_wake|park_wake|sched_notify|driver_wake|"
    r"object_wake_all|wake_all|look_around|check_canceled|port_barrier_heavy|"
    r"close_meeting|barrier_wake|take_back|list_remove|dequeue)"
    r"\(.*\);(?:\s*//.*)?$")


@dataclass
class Mutant:
    """One fault: the file, the line that it is in, what became of it."""
    path: str
    line: int
    what: str
    text: str  # of the whole file
    scenarios: tuple = ()  # its own, where the file is not in the list
    verdict: str = ""
    by: str = ""

    def key(self):
        return f"{self.path}:{self.what}"


# ---- What is explored ----

def explored():
    """The files of the explorer's list, and what drives them."""
    covered = {}
    for line in (build.ROOT / "tests/explore/covered.txt").read_text(
            ).splitlines():
        if line and not line.startswith("#"):
            path, _, names = line.partition(":")
            if not names.strip().startswith("no:"):
                covered[path.strip()] = names.split()
    return covered


# ---- Making mutants ----

def with_line(lines, index, line):
    return "\n".join(lines[:index] + [line] + lines[index + 1:]) + "\n"


def code_of(line):
    return line.split("//")[0]


def number(mutants):
    """Tells those of a file apart that read alike."""
    seen = {}
    for mutant in mutants:
        seen[mutant.key()] = seen.get(mutant.key(), 0) + 1
        if seen[mutant.key()] > 1:
            mutant.what += f" #{seen[mutant.key()]}"
    return mutants


def weakened(path, lines):
    for index, line in enumerate(lines):
        for match in ORDERED.finditer(code_of(line)):
            kind, order = match[1], match[2]
            for laxer in LAXER.get((kind, order)) or LAXER_OF_CHANGES[order]:
                change = (line[:match.start()] + f"{kind}_{laxer}("
                          + line[match.end():])
                rest = code_of(line[match.end():]).strip()
                yield Mutant(path, index + 1,
                             f"{kind}_{order}({rest} -> {laxer}",
                             with_line(lines, index, change))


def silenced(path, lines):
    for index, line in enumerate(lines):
        if match := NOTICES.match(line):
            yield Mutant(path, index + 1, f"no {code_of(line).strip()}",
                         with_line(lines, index, match[1] + ";"))


def listed(text):
    """The edits of a list: `edit PATH: WHAT`, then perhaps `by SCENARIO...`,
    the old and the new text, each line after `- ` or `+ `; and `excuse
    PATH:WHAT -- REASON`."""
    edits, excuses = [], {}
    for line in text.splitlines():
        if line.startswith("edit "):
            path, _, what = line[5:].partition(": ")
            edits.append((path, what, [], [], []))
        elif line.startswith("by "):
            edits[-1][4].extend(line[3:].split())
        elif line.startswith("- "):
            edits[-1][2].append(line[2:])
        elif line.startswith("+ "):
            edits[-1][3].append(line[2:])
        elif line.startswith("excuse "):
            key, _, reason = line[7:].partition(" -- ")
            excuses[key] = reason
    return edits, excuses


def edited(edits):
    for path, what, old, new, scenarios in edits:
        text = (build.ROOT / path).read_text()
        before = "\n".join(old)
        if text.count(before) != 1:
            raise SystemExit(f"{LIST}: {path}: {what}: the old text is there "
                             f"{text.count(before)} times")
        line = text[:text.index(before)].count("\n") + 1
        yield Mutant(path, line, what, text.replace(before, "\n".join(new)),
                     tuple(scenarios))


def all_mutants():
    edits, excuses = listed(LIST.read_text())
    mutants = []
    for path in explored():
        lines = (build.ROOT / path).read_text().splitlines()
        mutants += number([*weakened(path, lines), *silenced(path, lines)])
    mutants += edited(edits)
    for key in excuses.keys() - {mutant.key() for mutant in mutants}:
        raise SystemExit(f"{LIST}: there is no mutant {key}")
    return mutants, excuses


# ---- Compiling them ----

class Kit:
    """How the explorer is compiled and linked, as the build tree says."""

    def __init__(self):
        self.tree = build.directory("release")
        commands = json.loads(subprocess.run(
            ["ninja", "-C", str(self.tree), "-t", "compdb"],
            stdout=subprocess.PIPE, check=True, text=True).stdout)
        self.compile = {}
        for entry in commands:
            if "libexplored.a.p" in entry["output"]:
                path = (self.tree / entry["file"]).resolve()
                self.compile[path] = entry
            if entry["output"] == explore.TARGET:
                self.link = entry["command"]
        self.users = self.find_users()

    def find_users(self):
        """Header -> the sources that are compiled with it."""
        output = subprocess.run(
            ["ninja", "-C", str(self.tree), "-t", "deps"],
            stdout=subprocess.PIPE, check=True, text=True).stdout
        sources = {entry["output"]: path
                   for path, entry in self.compile.items()}
        users, source = {}, None
        for line in output.splitlines():
            if line and not line.startswith(" "):
                source = sources.get(line.split(":")[0])
            elif source is not None and line.strip():
                header = (self.tree / line.strip()).resolve()
                users.setdefault(header, []).append(source)
        return users

    def sources_of(self, path):
        path = (build.ROOT / path).resolve()
        return [path] if path in self.compile else self.users.get(path, [])

    def object_of(self, source, overlay, where):
        """Compiles one file with the mutant in place of its original."""
        mutated = overlay / os.path.relpath(source, build.ROOT / "src")
        command = shlex.split(self.compile[source]["command"])
        command = [f"-I{overlay}" if word.startswith("-I") and not done else
                   word for done, word in self.first_include(command)]
        output = where / (str(source).replace("/", "!") + ".o")
        replaced = []
        skip = 0
        for index, word in enumerate(command):
            if skip:
                skip -= 1
            elif word in ("-MQ", "-MF", "-o"):
                skip = 1
            elif word == "-MD":
                pass
            elif word == "-c":
                skip = 1
            else:
                replaced.append(word)
        replaced += ["-w", "-o", str(output), "-c",
                     str(mutated if mutated.exists() else source)]
        done = subprocess.run(replaced, cwd=self.tree, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return output if done.returncode == 0 else None

    @staticmethod
    def first_include(command):
        """Pairs; the overlay goes before the first -I."""
        seen = False
        for word in command:
            if word.startswith("-I") and not seen:
                seen = True
                yield False, word
                yield True, word
            else:
                yield True, word

    def explorer_of(self, mutant, where):
        """The path of the mutant's program; None: it does not compile."""
        overlay = where / "overlay"
        copy = overlay / Path(mutant.path).relative_to("src")
        copy.parent.mkdir(parents=True)
        copy.write_text(mutant.text)
        objects = {path: self.tree / entry["output"]
                   for path, entry in self.compile.items()}
        for source in self.sources_of(mutant.path):
            objects[source] = self.object_of(source, overlay, where)
            if objects[source] is None:
                return None
        library = where / "libexplored.a"
        subprocess.run(["ar", "rcsP", str(library),
                        *map(str, objects.values())], check=True)
        program = where / "explore"
        command = self.link.replace(f"-o {explore.TARGET}", f"-o {program}", 1)
        command = command.replace("tests/explore/libexplored.a", str(library))
        done = subprocess.run(command, cwd=self.tree, shell=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return program if done.returncode == 0 else None


# ---- Putting them to the test ----

def rounds(mutant, covered, every, quick, excused):
    """Scenarios with their arguments: those of the file with the small bounds,
    and, unless it is to be quick, with larger ones; then, for one without an
    excuse, all others."""
    names = [*mutant.scenarios, *covered.get(mutant.path, ())]
    own = [entry for name in names for entry in every if entry[0] == name]
    others = [entry for entry in every if entry not in own]
    for entry in own:
        yield entry, QUICK
    if quick:
        return
    most = str(MOST_IF_EXCUSED if excused else MOST)
    for arguments in LARGER:
        for entry in own:
            yield entry, [*arguments, "--limit", most]
    for entry in [] if excused else others:
        yield entry, QUICK


def judge(mutant, kit, covered, every, quick, excused):
    with tempfile.TemporaryDirectory(prefix="weft-mutant-") as where:
        program = kit.explorer_of(mutant, Path(where))
        if program is None:
            mutant.verdict, mutant.by = "broken", "it does not compile"
            return mutant
        for entry, arguments in rounds(mutant, covered, every, quick,
                                       excused):
            found = explore.search(*entry, ["--quiet", *arguments], TIMEOUT_S,
                                   program)
            if not found.good:
                mutant.verdict, mutant.by = "killed", entry[0]
                return mutant
    mutant.verdict = "survived"
    return mutant


def run(on_result, pattern="", quick=False):
    """Judges all mutants whose name contains the pattern."""
    mutants, excuses = all_mutants()
    mutants = [mutant for mutant in mutants if pattern in mutant.key()]
    covered = explored()
    kit = Kit()
    every = [entry for entry in explore.scenarios()
             if entry[1] not in ("litmus", "self")]

    def one(mutant):
        excused = mutant.key() in excuses
        judge(mutant, kit, covered, every, quick, excused)
        if mutant.verdict == "survived" and excused:
            mutant.verdict, mutant.by = "excused", excuses[mutant.key()]
        on_result(mutant)

    with ThreadPoolExecutor(build.JOBS) as pool:
        list(pool.map(one, mutants))
    return mutants


def show(mutant):
    print(f"{mutant.verdict:8} {mutant.path}:{mutant.line}: {mutant.what}"
          f"{'  by ' if mutant.verdict == 'killed' else '  '}{mutant.by}",
          flush=True)


def main(arguments):
    quick = "--quick" in arguments
    patterns = [word for word in arguments if word != "--quick"]
    if len(patterns) > 1:
        print("usage: mutate.py [--quick] [PATTERN]", file=sys.stderr)
        return 64
    explore.make()
    mutants = run(show, *patterns, quick=quick)
    counts = {}
    for mutant in mutants:
        counts[mutant.verdict] = counts.get(mutant.verdict, 0) + 1
    print(", ".join(f"{count} {verdict}"
                    for verdict, count in sorted(counts.items())))
    return "survived" in counts or "broken" in counts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
