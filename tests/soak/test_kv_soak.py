#!/usr/bin/env python3
# test_kv_soak.py -- The key-value server for a long time, as real life has it.
#
# Load comes in cycles, from nothing up to some hundred connections and back:
# clients that know what each reply must be, money moved between accounts,
# peers that vanish in the middle of a command or without reading, and now and
# then a second server that is ended under load, which cancels all its tasks.
# Meanwhile the server is dumped each 100 ms, and each dump must have every
# task: those of the connections that were there before it was asked for and
# still are after it, and no unknown one. Between cycles, when all peers are
# gone, descriptors, keys and tasks must be as many as at first, and memory must
# not grow with the connections that there were. Times are told, not judged.
#
# WEFT_SOAK_SECONDS is how long it lasts; 20 without it. Prints TAP.
import asyncio
import json
import os
import random
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "e2e"))
from test_kv_server import (Client, ReplyError, Server, Tap, encode, equal,
                            eventually, info)

SECONDS = float(os.environ.get("WEFT_SOAK_SECONDS", "20"))
CYCLE_S = min(4.0, SECONDS / 4)
STEP_S = 0.1        # between two changes of the load
DUMP_EVERY_S = 0.1
REPLY_S = 60        # a reply that takes longer is taken for lost
STEADY = 60         # clients at the height of a cycle, of each kind
VANISHING = 120
MOVERS = 20
ACCOUNTS, BALANCE = 10, 1000
RESTS = 4           # times without load, at least
# By how much the least memory of the second half may be above the first's:
# malloc's arenas take up to 15 MiB more or less from cycle to cycle; and less
# than anything that each connection could leave behind.
GROWTH, GROWTH_PER_PEER = 24 << 20, 256


class Connection:
    """A peer: sends bytes, reads replies in order."""

    def __init__(self, soak):
        self.soak = soak

    async def __aenter__(self):
        self.soak.connecting.add(self)
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.soak.server.port, limit=1 << 21)
        self.port = self.writer.get_extra_info("sockname")[1]
        self.soak.ports[self.port] += 1
        self.soak.connecting.discard(self)
        self.soak.peers += 1
        return self

    async def __aexit__(self, *_):
        self.gone()
        self.writer.close()

    def gone(self):
        self.soak.there.discard(self)

    def vanish(self):
        """Ends it by a reset, whatever is on its way."""
        self.gone()
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def reply(self):
        line = await self.reader.readuntil(b"\r\n")
        kind, text = line[:1], line[1:-2]
        self.soak.replies += 1
        if kind == b"-":
            return ReplyError(text)
        if kind == b":":
            return int(text)
        if kind == b"$":
            if text == b"-1":
                return None
            data = await self.reader.readexactly(int(text) + 2)
            assert data[-2:] == b"\r\n", data[-20:]
            return data[:-2]
        if kind == b"*":
            return [await self.reply() for _ in range(int(text))]
        assert kind == b"+", line
        return text

    async def call(self, *words):
        return (await self.batch([words]))[0]

    async def batch(self, commands):
        self.writer.write(b"".join(encode(*words) for words in commands))

        async def all_replies():
            return [await self.reply() for _ in commands]
        replies = await asyncio.wait_for(all_replies(), REPLY_S)
        # From here on it must be in every dump, until it is gone.
        if not self.writer.is_closing():
            self.soak.there.add(self)
        return replies


class Model:
    """What the keys of one client hold, and a random command on them with the
    reply that it must get."""

    def __init__(self, name):
        self.name = name
        self.values = {}

    def key(self):
        return f"{self.name}:{random.randrange(30)}"

    def command(self):
        kind = random.choice((self.set, self.get, self.get, self.delete,
                              self.mget, self.incr, self.exists, self.echo))
        return kind(self.key())

    def set(self, key):
        value = random.randbytes(random.choice((0, 1, 10, 100, 2000)))
        self.values[key] = value
        return ("SET", key, value), b"OK"

    def get(self, key):
        return ("GET", key), self.values.get(key)

    def delete(self, key):
        return ("DEL", key), int(self.values.pop(key, None) is not None)

    def mget(self, key):
        keys = [key] + [self.key() for _ in range(random.randrange(10))]
        return ("MGET", *keys), [self.values.get(key) for key in keys]

    def incr(self, _):
        key = f"{self.name}:n"
        self.values[key] = b"%d" % (int(self.values.get(key, b"0")) + 1)
        return ("INCR", key), int(self.values[key])

    def exists(self, key):
        return ("EXISTS", key), int(key in self.values)

    def echo(self, key):
        return ("ECHO", key), key.encode()


async def steady(soak, number):
    """A client that checks every reply; new connections over the same keys."""
    model = Model(f"s{number}")
    while not soak.resting(number / STEADY):
        async with Connection(soak) as peer:
            for _ in range(random.randrange(1, 30)):
                batch = [model.command()
                         for _ in range(random.randrange(1, 20))]
                replies = await peer.batch([words for words, _ in batch])
                for (words, expected), got in zip(batch, replies):
                    assert got == expected, (words, got, expected)
                if soak.resting(number / STEADY):
                    break
            total = await peer.call("INCR", "hits")
            soak.hits += 1
            assert 1 <= total <= soak.hits + STEADY, total
    async with Connection(soak) as peer:
        if model.values:
            equal(await peer.call("DEL", *model.values), len(model.values))


BREACH = b"*1\r\n$x\r\n"  # the server itself ends the connection
VANISHING_ACTS = [
    b"*2\r\n$3\r\nGE",                      # in the middle of a word
    b"*3\r\n$3\r\nSET\r\n$2\r\nvx\r\n$1000\r\nhalf of it",
    encode("GET", "big") * 50,              # without reading
    encode("INCR", "vn") * 100,
    b"",
    b"\r\n\r\nPI",
    BREACH,
]


async def vanishing(soak, number):
    """Peers that go without a word, one after another."""
    while not soak.resting(number / VANISHING):
        async with Connection(soak) as peer:
            if random.random() < 0.5:
                equal(await peer.call("PING"), b"PONG")
            act = random.choice(VANISHING_ACTS)
            if random.random() < 0.01:  # a transfer takes 50 ms, one by one
                act = encode("TRANSFER", "left0", "left1", 1)
            if act == BREACH:
                peer.gone()
            peer.writer.write(act)
            await asyncio.sleep(random.random() * 0.05)
            if random.random() < 0.8:
                peer.vanish()
            soak.vanished += 1


async def mover(soak, number):
    """Moves money, always to the higher account: nobody waits in a circle."""
    while not soak.resting(number / MOVERS):
        async with Connection(soak) as peer:
            low, high = sorted(random.sample(range(ACCOUNTS), 2))
            got = await peer.call("TRANSFER", f"acct{low}", f"acct{high}",
                                  random.randrange(1, 50))
            text = got.args[0] if isinstance(got, ReplyError) else got
            assert text in (b"OK", b"ERR insufficient funds"), text


class Dumps:
    """Asks for dumps, reads them, checks them."""

    def __init__(self, soak, folder):
        self.soak = soak
        self.folder = folder
        self.number = 0
        self.late_ms, self.total_ms, self.pause_us, self.sizes = [], [], [], []
        self.incomplete = 0

    async def run(self):
        while not self.soak.ended:
            began = time.monotonic()
            async with self.soak.quiet:
                await self.take()
            await asyncio.sleep(
                max(0, DUMP_EVERY_S - (time.monotonic() - began)))

    async def take(self):
        self.number += 1
        path = os.path.join(self.folder, f"{self.number}.json")
        before = set(self.soak.there)
        asked = time.time()
        self.soak.server.process.send_signal(signal.SIGQUIT)
        end = time.monotonic() + REPLY_S
        while not os.path.exists(path):
            assert time.monotonic() < end, f"dump {self.number} never came"
            await asyncio.sleep(0.002)
        must_be_there = {peer.port for peer in before & self.soak.there}
        unknown = set(self.soak.connecting)
        while unknown & self.soak.connecting:  # their ports are not known yet
            await asyncio.sleep(0.001)
        with open(path) as file:
            dump = json.load(file)
        os.unlink(path)
        self.check(dump, must_be_there)
        self.note(dump, asked)

    def check(self, dump, must_be_there):
        tasks = dump["tasks"]
        assert dump["tasks_complete"]
        equal(len(tasks), dump["summary"]["tasks"])
        equal(sum(dump["summary"]["by_state"].values()), len(tasks))
        equal(sum(group["count"] for group in dump["groups"]), len(tasks))
        equal(len({task["id"] for task in tasks}), len(tasks))
        names = [task["name"] for task in tasks if task["name"]]
        equal(names.count("listener"), 1)
        ports = [int(name.rsplit(":", 1)[1]) for name in names
                 if name.startswith("conn 127.0.0.1:")]
        gone = names.count("conn (gone)")  # before its task had begun
        equal(len(ports) + gone + 1, len(names))
        missing = must_be_there - set(ports)
        assert not missing, f"dump {self.number} lacks {sorted(missing)}"
        # A port may have been taken again before the task of its last peer
        # has seen that it is gone.
        surplus = Counter(ports) - self.soak.ports
        assert not surplus, f"dump {self.number} has {sorted(surplus)}"

    def note(self, dump, asked):
        capture = dump["capture"]
        met = datetime.fromisoformat(
            capture["time"].replace("Z", "+00:00")).timestamp()
        self.late_ms.append(1000 * (met - asked))
        self.total_ms.append(capture["total_us"] / 1000)
        self.pause_us.append(capture["pause_us"])
        self.sizes.append(len(dump["tasks"]))
        self.incomplete += not capture["complete"]

    def tell(self):
        for what, figures in (("asked to meeting, ms", self.late_ms),
                              ("capture in all, ms", self.total_ms),
                              ("pause, us", self.pause_us),
                              ("tasks", self.sizes)):
            figures = sorted(figures)
            at = [figures[int((len(figures) - 1) * share)]
                  for share in (0.5, 0.99, 1)]
            print(f"# {what}: p50 {at[0]:.1f}, p99 {at[1]:.1f}, "
                  f"most {at[2]:.1f}")
        print(f"# {len(self.sizes)} dumps, {self.incomplete} of them without "
              "some worker's stack")


class Rest:
    """What the server takes while no peer is there."""

    def __init__(self, soak, control):
        self.pid = pid = soak.server.process.pid
        self.when = time.monotonic()
        self.peers = soak.peers
        with open(f"/proc/{pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        self.memory = 1024 * int(fields["RssAnon"].split()[0])
        self.descriptors = self.count_descriptors()
        self.threads = int(fields["Threads"])
        self.keys = control.call("DBSIZE")
        self.tasks = int(info(control)["tasks_live"])

    def count_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Soak:
    def __init__(self, server, folder):
        self.server = server
        self.ports = Counter()  # of every connection there ever was
        self.connecting = set()
        self.there = set()  # those whose task is sure to be there
        self.quiet = asyncio.Lock()  # no dump is on its way
        self.height = 0.0       # of the load, 0 to 1
        self.ended = False
        self.peers = self.replies = self.vanished = self.hits = 0
        self.canceled = 0
        self.rests = []
        self.accounts = ["left0", "left1"] + [
            f"acct{number}" for number in range(ACCOUNTS)]
        self.dumps = Dumps(self, folder)

    def resting(self, place):
        """Whether a client that is there from a height on is to end."""
        return self.height <= place

    async def cycle(self):
        """The load rises, falls, and is gone."""
        clients = {}
        began = time.monotonic()
        while (share := (time.monotonic() - began) / CYCLE_S) < 1:
            self.height = 1 - abs(2 * share - 1)
            for kind, count in ((steady, STEADY), (vanishing, VANISHING),
                                (mover, MOVERS)):
                for number in range(int(count * self.height)):
                    task = clients.get((kind, number))
                    if task and task.done():
                        task.result()
                    if not task or task.done():
                        clients[kind, number] = asyncio.create_task(
                            kind(self, number))
            await asyncio.sleep(STEP_S)
        self.height = 0.0
        await asyncio.gather(*clients.values())

    def rest(self, control):
        eventually("the peers' tasks have ended",
                   lambda: info(control)["connected_clients"] == "1")
        for key in ("vx", "vn"):
            control.call("DEL", key)
        rest = Rest(self, control)
        if self.rests:
            # The last dump is written, but may not have been freed yet.
            eventually("descriptors as at the first rest", lambda:
                       rest.count_descriptors() == self.rests[0].descriptors)
            rest = Rest(self, control)
        self.rests.append(rest)

    async def end_another(self):
        """Ends a second server under load: all its tasks are canceled."""
        with Server("--workers", "2",
                    stderr=subprocess.DEVNULL) as other:
            clients = [Client(other) for _ in range(60)]
            for number, client in enumerate(clients):
                client.call("SET", f"a{number}", "100")
            for number, client in enumerate(clients):
                client.send((b"*2\r\n$3\r\nGE", encode("GET", "a1") * 100,
                             encode("TRANSFER", "a1", f"a{number + 2}", 1),
                             b"")[number % 4])
            await asyncio.sleep(0.02)
            equal(other.stop(), 0)
            for client in clients:
                client.close()
            self.canceled += len(clients)

    async def run(self):
        with Client(self.server) as control:
            self.ports[control.socket.getsockname()[1]] += 1
            for name in self.accounts:
                control.call("SET", name, BALANCE)
            control.call("SET", "big", b"x" * 20000)
            control.call("SET", "hits", 0)
            dumps = asyncio.create_task(self.dumps.run())
            end = time.monotonic() + SECONDS
            while time.monotonic() < end or len(self.rests) < RESTS:
                await self.cycle()
                await self.end_another()
                if dumps.done():
                    dumps.result()
                async with self.quiet:
                    self.rest(control)
            self.ended = True
            await dumps
            self.check_values(control)

    def check_values(self, control):
        equal(control.call("GET", "hits"), b"%d" % self.hits)
        equal(sum(int(control.call("GET", name)) for name in self.accounts),
              len(self.accounts) * BALANCE)


def slope(xs, ys):
    """Of the straight line with the least squares."""
    x, y = statistics.fmean(xs), statistics.fmean(ys)
    spread = sum((a - x) ** 2 for a in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / spread


def nothing_grows(soak):
    rests = soak.rests[1:]  # the first has filled caches
    assert len(rests) + 1 >= RESTS, "it did not last long enough to tell"
    first, last = rests[0], rests[-1]
    for what in ("descriptors", "keys", "tasks"):
        equal([getattr(rest, what) for rest in rests],
              [getattr(first, what)] * len(rests))
    times = [rest.when for rest in rests]
    memory = [rest.memory for rest in rests]
    print(f"# at rest: {first.descriptors} descriptors, {first.keys} keys, "
          f"{first.tasks} tasks, {first.threads} to {last.threads} threads")
    print(f"# memory: {memory[0] >> 10} to {memory[-1] >> 10} KiB over "
          f"{last.peers - first.peers} connections; slope "
          f"{slope(times, memory) / 1024 * 60:+.0f} KiB a minute; "
          f"descriptors {slope(times, [r.descriptors for r in rests]):+.2f}")
    half = len(rests) // 2
    allowed = GROWTH + GROWTH_PER_PEER * (last.peers - first.peers)
    grown = min(memory[half:]) - min(memory[:half])
    assert grown <= allowed, f"{grown} bytes more; {allowed} are allowed"


def ends_under_load(soak):
    """With its dumps still going on."""
    clients = [Client(soak.server) for _ in range(50)]
    for client in clients:
        client.send(encode("INCR", "last") * 1000)
        soak.server.process.send_signal(signal.SIGQUIT)
    equal(soak.server.stop(), 0)
    for client in clients:
        client.close()


def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    seed = int(os.environ.get("WEFT_SOAK_SEED", time.time_ns() % 1000000))
    random.seed(seed)
    tap = Tap(3)
    print(f"# {SECONDS:.0f} s, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="weft-soak-") as folder:
        env = dict(os.environ, WEFT_DUMP_FILE=f"{folder}/%n.json")
        with Server("--workers", "2", env=env,
                    stderr=subprocess.DEVNULL) as server:
            soak = Soak(server, folder)
            tap.run("every reply is right and every dump whole",
                    lambda: asyncio.run(soak.run()))
            print(f"# {soak.replies} replies over {soak.peers} connections, "
                  f"{soak.vanished} of which vanished; {soak.canceled} more "
                  "canceled with their server")
            soak.dumps.tell()
            tap.run("nothing grows", nothing_grows, soak)
            tap.run("it ends under load", ends_under_load, soak)
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
