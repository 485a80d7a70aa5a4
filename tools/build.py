#!/usr/bin/env python3
# build.py -- The build variants of weft, and how each is configured and built.
#
# Used as a program by `./dev build` and as a module by the other tools.
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("WEFT_BUILD", ROOT / "build")).resolve()
JOBS = len(os.sched_getaffinity(0))

OPTIMIZED = ["--buildtype=debugoptimized", "-Dwerror=true"]
CHECKED = ["--buildtype=debug", "-Doptimization=1"]  # gcc warns falsely there
NO_SIM = ["-Dsimulator=false"]  # it would compile everything twice

# Name -> what it is, the compilers, and the arguments to meson. `release` is
# what users get, so the benchmarks and the demo use it too.
VARIANTS = {
    "release": ("gcc -O2", "gcc", "g++", OPTIMIZED + ["-Db_ndebug=true"]),
    "clang": ("clang -O2", "clang", "clang++", OPTIMIZED + NO_SIM),
    "asan": ("gcc -O1, ASan and UBSan", "gcc", "g++",
             CHECKED + NO_SIM + ["-Db_sanitize=address,undefined"]),
    "tsan": ("clang -O1, TSan", "clang", "clang++",
             CHECKED + NO_SIM + ["-Db_sanitize=thread", "-Db_lundef=false"]),
    "hostile": ("gcc -O1, built to break", "gcc", "g++",
                CHECKED + NO_SIM + ["-Dhostile=true"]),
}

# The same of those that ./dev test does not build.
MEASURED = {
    "msan": ("clang -O1, MSan", "clang", "clang++",
             CHECKED + ["-Db_sanitize=memory", "-Db_lundef=false"]),
    "bare": ("gcc -O2, without what serves dumps alone", "gcc", "g++",
             VARIANTS["release"][3] + NO_SIM + ["-Dbare=true"]),
    "coverage": ("gcc -O0, counting lines and branches", "gcc", "g++",
                 ["--buildtype=debug", "-Doptimization=0", "-Db_ndebug=true",
                  "-Db_coverage=true", "-Dc_args=-fprofile-update=atomic"]
                 + NO_SIM),
    "fuzz": ("clang -O1, libFuzzer, ASan and UBSan", "clang", "clang++",
             CHECKED + NO_SIM + ["-Db_sanitize=address,undefined",
                                 "-Db_lundef=false", "-Dfuzz=true"]),
}


class BuildError(Exception):
    """A step failed; the message says where the log is and what to do."""


def directory(variant):
    return BUILD / variant


def describe(variant):
    return (VARIANTS | MEASURED)[variant][0]


def run_logged(step, argv, env, advice):
    log = BUILD / "logs" / f"{step}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as out:
        done = subprocess.run(argv, env=env, cwd=ROOT, stdout=out,
                              stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise BuildError("\n".join(
            complaint(log.read_text(errors="replace"))
            + [f"{step} failed", f"  the whole log: {log}",
               f"  what to do:    {advice}"]))


def complaint(text, most=40):
    """The part of a build's log to show: from the first failure on, without
    the compilers' command lines."""
    lines = [line for line in text.splitlines() if len(line) < 240]
    for index, line in enumerate(lines):
        if line.startswith("FAILED:") or "ERROR:" in line:
            return lines[index:index + most]
    return lines[-most:]


def configure(variant):
    """Makes the tree as it ought to be; an up-to-date one costs nothing."""
    _, cc, cxx, arguments = (VARIANTS | MEASURED)[variant]
    tree = directory(variant)
    stamp = tree / "weft-variant.json"
    wanted = json.dumps([cc, cxx, arguments])
    if stamp.exists() and stamp.read_text() == wanted:
        run_logged(f"{variant}-configure",
                   ["ninja", "-C", str(tree), "build.ninja"], None,
                   "mend the meson.build named above")
        return
    shutil.rmtree(tree, ignore_errors=True)
    env = dict(os.environ, CC=cc, CXX=cxx)
    run_logged(f"{variant}-configure",
               ["meson", "setup", *arguments, str(tree),
                str(ROOT)], env, "./dev setup, then the same again")
    stamp.write_text(wanted)


def compile(variant, targets=()):
    run_logged(f"{variant}-build",
               ["ninja", "-C", str(directory(variant)), "-j", str(JOBS),
                *targets], None,
               f"mend the error above, then ./dev build {variant}")


def main(wishes):
    """A wish is a variant, or `variant:target` for one of its programs."""
    for wish in wishes:
        if wish.partition(":")[0] not in VARIANTS | MEASURED:
            print(f"build: unknown variant {wish}; there are: "
                  + " ".join(VARIANTS), file=sys.stderr)
            return 64
    for index, wish in enumerate(wishes, 1):
        name, _, target = wish.partition(":")
        print(f"[{index}/{len(wishes)}] building {target or name} "
              f"({describe(name)}) in {directory(name)}", flush=True)
        try:
            configure(name)
            compile(name, [target] if target else [])
        except BuildError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["release"]))
