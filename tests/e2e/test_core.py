#!/usr/bin/env python3
# test_core.py -- Dumps from core files, and dumps that were saved.
#
# A key-value server deadlocks, and is then killed with a core, copied by gdb,
# or saved by the command; what is read from the file must be what was read from
# the process. Files are compressed, cut off, given the wrong executable; the
# executable is removed. Prints TAP.
import glob
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from test_outside import (NEWER, OLDER, OTHER, SERVER, WEFT, Server, Skip, ask,
                          deadlock, dump_by_pid, equal, essence, expect,
                          findings, is_refused, other_server, run, weft)

CUTS = 24
KILLS = 10
VAST_PAGES = 1 << 28


def dump_file(path, *options, status=(0,), **more):
    done = weft("dump", "--core", path, "--json", *options, **more)
    expect(done.returncode in status,
           f"status {done.returncode}: {done.stderr} {done.stdout[:1000]}")
    dump = json.loads(done.stdout)
    equal(dump["capture"]["complete"], done.returncode == 0)
    return dump


def text_of(path, **options):
    """The text of a saved dump, whole."""
    done = weft("dump", "--core", path, **options)
    equal((done.returncode, done.stderr), (0, ""))
    return done.stdout


def timeless(text):
    """A dump's text without its figures of time, and the blanks beside."""
    text = re.sub(r"\d+-\d+-\d+ [\d:.]+ UTC", "", text)
    return re.sub(r"(\b\d[\d.]* (ns|us|µs|ms|s|m|h)\b)|  +", " ", text)


def save(server, path, *options):
    done = weft("save", server.pid, "-o", path, *options)
    equal((done.returncode, done.stderr, done.stdout), (0, "", ""))


def same(dump, live):
    equal(essence(dump), essence(live))
    equal(findings(dump), findings(live))
    expect(any(f["rule"] == "deadlock" for f in dump["findings"]),
           "no deadlock was found")


def kernel_core(server, place):
    """Ends the server so that the kernel writes its core."""
    with open("/proc/sys/kernel/core_pattern") as file:
        pattern = file.read().strip()
    if pattern.startswith(("|", "/")):
        raise Skip(f"cores go elsewhere here: {pattern}")
    with open(f"/proc/{server.pid}/maps") as file:
        if "tsan.rodata" in file.read():
            raise Skip("ThreadSanitizer maps files that it has removed")
    resource.prlimit(server.pid, resource.RLIMIT_CORE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.kill(server.pid, signal.SIGABRT)
    status = os.waitpid(server.pid, 0)[1]
    found = glob.glob(os.path.join(place, "core*"))
    if not os.WCOREDUMP(status) or not found:
        raise Skip("the kernel writes no core here")
    return found[0]


class Place:
    """A directory, with a server in it as its working directory, deadlocked."""

    def __init__(self, program=SERVER):
        self.program = os.path.abspath(program)

    def __enter__(self):
        self.place = tempfile.mkdtemp()
        here = os.getcwd()
        os.chdir(self.place)
        try:
            self.server = Server(self.program)
        finally:
            os.chdir(here)
        deadlock(self.server)
        return self

    def __exit__(self, *_):
        self.server.__exit__()
        shutil.rmtree(self.place)

    def path(self, name):
        return os.path.join(self.place, name)


# ---- Saved dumps ----

def saved_is_what_it_was():
    with Place() as at:
        path = at.path("saved")
        save(at.server, path)
        equal(os.stat(path).st_mode & 0o777, 0o600)
        same(dump_file(path), dump_by_pid(at.server))
        equal(timeless(text_of(path)),
              timeless(weft("dump", at.server.pid).stdout))


def saved_outlives_everything():
    """Names come by build-id when the process and its program are gone."""
    objcopy = shutil.which("objcopy")
    if not objcopy:
        raise Skip("there is no objcopy")
    with tempfile.TemporaryDirectory() as place:
        program = os.path.join(place, "server")
        shutil.copy(SERVER, program)
        with Place(program) as at:
            path = at.path("saved")
            save(at.server, path)
            dump = dump_file(path)
            before = text_of(path)
            at.server.__exit__()
            equal(text_of(path), before)
            name = dump["process"]["build_id"]
            below = os.path.join(place, ".build-id", name[:2])
            os.makedirs(below)
            subprocess.run([objcopy, "--only-keep-debug", program, os.path.join(
                below, name[2:] + ".debug")], check=True)
            os.unlink(program)
            equal(text_of(path, env={**os.environ, "WEFT_DEBUG_PATH": place}),
                  before)
            text = text_of(path)
            expect(re.search(r"server\+0x[0-9a-f]+", text), text)
            expect("its file is gone" in text, text)
            equal(findings(dump_file(path)), findings(dump))


def saved_is_there_whole_or_not_at_all():
    with Place() as at:
        path = at.path("saved")
        save(at.server, path)
        inode = os.stat(path).st_ino
        done = weft("save", at.server.pid, "-o", path)
        equal(done.returncode, 2)
        expect("-f replaces it" in done.stderr, done.stderr)
        equal(os.stat(path).st_ino, inode)
        save(at.server, path, "-f")
        expect(os.stat(path).st_ino != inode, "it was not replaced")
        equal(os.listdir(at.place), ["saved"])
        equal(weft("save", at.server.pid, "-o",
                   at.path("no/such")).returncode, 2)


def saving_can_be_killed():
    with Server() as server, tempfile.TemporaryDirectory() as place:
        client = server.connect()
        path = os.path.join(place, "saved")
        for _ in range(KILLS):
            command = subprocess.Popen(
                [WEFT, "save", str(server.pid), "-f", "-o", path])
            time.sleep(random.random() * 0.02)
            command.kill()
            command.wait()
            equal(ask(client, "PING"), b"+PONG\r\n")
            expect(set(os.listdir(place)) <= {"saved"}, os.listdir(place))
        if os.path.exists(path):
            text_of(path)


def dump_goes_to_a_file():
    with Place() as at:
        saved, path = at.path("saved"), at.path("dump.json")
        save(at.server, saved)
        for options, status in ((), 0), ((), 2), (("-f",), 0):
            done = weft("dump", "--core", saved, "--json", "-o", path,
                        *options)
            equal((done.returncode, done.stdout), (status, ""))
        with open(path) as file:
            same(json.load(file), dump_file(saved))
        equal(weft("dump", "--core", saved, "-o", "-").stdout, text_of(saved))


# ---- Cores ----

def of_the_kernel():
    with Place() as at:
        live = dump_by_pid(at.server)
        core = kernel_core(at.server, at.place)
        dump = dump_file(core)
        same(dump, live)
        equal(dump["capture"]["source"], "core")
        equal(dump["process"]["pid"], live["process"]["pid"])
        equal(dump["process"]["args"][1:], live["process"]["args"][1:])
        expect("from a core file" in text_of(core), "it does not say so")
        # Times are counted to when it was made: its tasks still waited.
        was = {t["id"]: t["state_us"] for t in live["tasks"]}
        for task in dump["tasks"]:
            expect(task["state_us"] >= was[task["id"]] - 200000, task)


def of_gdb():
    gcore = shutil.which("gcore")
    if not gcore:
        raise Skip("there is no gcore")
    with Place() as at:
        with open(f"/proc/{at.server.pid}/statm") as file:
            pages = int(file.read().split()[0])
        if pages > VAST_PAGES:
            raise Skip("gdb would copy a sanitizer's terabytes")
        live = dump_by_pid(at.server)
        done = subprocess.run([gcore, "-o", at.path("copy"),
                               str(at.server.pid)], text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        path = at.path(f"copy.{at.server.pid}")
        if done.returncode != 0 or not os.path.exists(path):
            raise Skip(f"gcore fails here: {done.stdout[-200:]}")
        dump = dump_file(path, status=(0, 1))
        equal(findings(dump), findings(live))
        # It leaves out what lies behind a guard page.
        if "Memory read failed" not in done.stdout:
            same(dump, live)
        else:
            expect("stacks are all zeros" in
                   dump["capture"]["problems"][0]["message"], dump["capture"])


def without_its_executable():
    with tempfile.TemporaryDirectory() as place:
        program = os.path.join(place, "server")
        shutil.copy(SERVER, program)
        with Place(program) as at:
            live = dump_by_pid(at.server)
            core = kernel_core(at.server, at.place)
            os.unlink(program)
            dump = dump_file(core, status=(1,))
            equal(findings(dump), findings(live))
            problems = {p["code"]: p for p in dump["capture"]["problems"]}
            expect(problems["missing-pages"]["count"] > 0, problems)
            expect("server is gone" in problems["incomplete"]["message"],
                   problems)
            same(dump_file(core, "-e", SERVER), live)


def with_another_executable():
    with Place() as at:
        core = kernel_core(at.server, at.place)
        for exe, words in ((WEFT, "has another build-id than what ran"),
                           ("/no/such", "No such file"),
                           (__file__, "cannot be read")):
            done = weft("dump", "--core", core, "-e", exe)
            equal((done.returncode, done.stdout), (2, ""))
            expect(words in done.stderr, done.stderr)
            equal(len(done.stderr.splitlines()), 1)


def compressed():
    with Place() as at:
        live = dump_by_pid(at.server)
        core = kernel_core(at.server, at.place)
        packers = [p for p in ("zstd", "lz4") if shutil.which(p)]
        for packer in packers:
            packed = at.path("packed")
            with open(core, "rb") as source, open(packed, "wb") as target:
                subprocess.run([packer, "-c", "-q"], stdin=source,
                               stdout=target, check=True)
            same(dump_file(packed), live)
            done = weft("dump", "--core", packed, env={"PATH": "/no/such"})
            equal((done.returncode, done.stdout), (2, ""))
            expect(f"compressed by {packer}, and that program is not "
                   "installed" in done.stderr, done.stderr)
            os.truncate(packed, os.stat(packed).st_size // 2)
            done = weft("dump", "--core", packed)
            expect(done.returncode in (1, 2), done)
            expect("cut off" in done.stderr + done.stdout, done)
        if not packers:
            raise Skip("there is neither zstd nor lz4")


def cut_off():
    with Place() as at:
        core = kernel_core(at.server, at.place)
        size = os.stat(core).st_size
        random.seed(1)
        cuts = sorted((random.randrange(size) for _ in range(CUTS)),
                      reverse=True)
        found = set()
        for cut in cuts + [4096, 64, 1, 0]:
            os.truncate(core, cut)
            done = weft("dump", "--core", core)
            expect(done.returncode in (1, 2), (cut, done))
            expect("cut off" in done.stderr + done.stdout, (cut, done))
            found.add(done.returncode)
        expect(2 in found, found)


def of_another_version():
    for change, words in (OLDER, "older than"), (NEWER, "newer than"):
        with tempfile.TemporaryDirectory() as place, \
                other_server(change, cwd=place) as server:
            path = os.path.join(place, "saved")
            is_refused(words, "save", server.pid, "-o", path)
            equal(os.listdir(place), [])
            core = kernel_core(server, place)
            is_refused(words, "dump", "--core", core)
            is_refused(OTHER, "dump", "--core", core)


def saved_by_a_newer_one():
    with Place() as at:
        path = at.path("saved")
        save(at.server, path)
        with open(path, "r+b") as file:
            image = file.read()
            # The note's type, its owner, and the version.
            mark = struct.pack("<I8sI", 0x77650001, b"weft", 1)
            equal(image.count(mark), 1)
            file.seek(image.index(mark) + len(mark) - 4)
            file.write(struct.pack("<I", 2))
        is_refused("it was saved by a newer weft", "dump", "--core", path)


def saved_is_cut_off():
    with Place() as at:
        path = at.path("saved")
        save(at.server, path)
        size = os.stat(path).st_size
        for cut in size - 1, size - size // 4, size // 2, 4096, 64, 63, 1, 0:
            os.truncate(path, cut)
            done = weft("dump", "--core", path)
            equal((done.returncode, done.stdout), (2, ""))
            expect("cut off" in done.stderr, (cut, done.stderr))
            equal(len(done.stderr.splitlines()), 1)


def refusals():
    for arguments, status, words in (
            (("dump", "--core"), 64, "usage:"),
            (("dump", "1", "--core", "x"), 64, "usage:"),
            (("dump", "1", "-e", "x"), 64, "usage:"),
            (("dump", "--core", "x", "--no-stop"), 64, "usage:"),
            (("dump", "1", "-f"), 64, "usage:"),
            (("save", "1"), 64, "usage:"),
            (("save", "1", "-o", "-"), 64, "usage:"),
            (("save", "1", "-o", "x", "--json"), 64, "usage:"),
            (("save", "x", "-o", "y"), 64, "not the number of a process"),
            (("save", "999999999", "-o", "/tmp/none"), 2, "999999999"),
            (("dump", "--core", "/no/such"), 2, "No such file"),
            (("dump", "--core", "/"), 2, "not a core file"),
            (("dump", "--core", "/dev/null"), 2, "not a core file"),
            (("dump", "--core", WEFT), 2, "not a core file"),
            (("dump", "--core", __file__), 2, "not a core file")):
        done = weft(*arguments)
        equal((arguments, done.returncode), (arguments, status))
        expect(words in done.stderr, done.stderr)
        equal(done.stdout, "")


CASES = [
    saved_is_what_it_was, saved_outlives_everything,
    saved_is_there_whole_or_not_at_all, saving_can_be_killed,
    dump_goes_to_a_file, of_the_kernel, of_gdb, without_its_executable,
    with_another_executable, compressed, cut_off, of_another_version,
    saved_by_a_newer_one, saved_is_cut_off, refusals,
]


if __name__ == "__main__":
    sys.exit(run(CASES))
