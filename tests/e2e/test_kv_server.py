#!/usr/bin/env python3
# test_kv_server.py -- The key-value server, as its clients meet it.
#
# Speaks RESP over sockets, whole and in pieces, and lets Debian's redis-cli
# and redis-benchmark speak it too. The server is $WEFT_TREE/examples/kv-server
# or the program named on the command line. Every case of CASES runs against a
# server with one worker and one with two; those of PROCESS_CASES start their
# own. Prints TAP.
import contextlib
import ctypes
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

WAIT_S = 20
NOT_AN_INTEGER = b"ERR value is not an integer or out of range"
PR_SET_PDEATHSIG = 1


class Skip(Exception):
    """The machine lacks something; the message says what."""


class ReplyError(Exception):
    """An error reply; its only argument is the text as bytes."""


def server_program():
    if len(sys.argv) > 1:
        return sys.argv[1]
    tree = os.environ.get("WEFT_TREE", "build/release")
    return os.path.join(tree, "examples", "kv-server")


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A running server; a `with` block ends it, kindly at first. What has a
    name goes to Popen."""

    def __init__(self, *options, **popen):
        self.process = subprocess.Popen(
            [server_program(), "--port", "0", *options],
            stdout=subprocess.PIPE, preexec_fn=die_with_parent, **popen)
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        line = self.process.stdout.readline().decode() if ready else ""
        match = re.fullmatch(r"kv-server: listening on (.*):(\d+)\n", line)
        if not match:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server said {line!r}")
        self.host, self.port = match[1], int(match[2])

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()


def encode(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Client:
    """A connection that sends bytes and reads replies."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port),
                                               WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def reply(self):
        """The next reply; one that is an error is returned, not raised."""
        line = self.file.readline()
        if not line:
            raise EOFError("the server closed the connection")
        assert line.endswith(b"\r\n"), line
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            return ReplyError(text)
        if kind == b":":
            return int(text)
        if kind == b"$":
            return self.string(int(text))
        if kind == b"*":
            return [self.reply() for _ in range(int(text))]
        assert kind == b"+", line
        return text

    def string(self, length):
        if length < 0:
            return None
        data = self.file.read(length + 2)
        assert data[length:] == b"\r\n", data[-20:]
        return data[:length]

    def call(self, *words):
        self.send(encode(*words))
        return self.reply()

    def closed(self):
        """Whether nothing but the end comes."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


def equal(got, expected):
    if isinstance(got, ReplyError) and isinstance(expected, ReplyError):
        got, expected = got.args[0], expected.args[0]
    assert got == expected, f"got {got!r}, expected {expected!r}"


def error(text):
    return ReplyError(text if isinstance(text, bytes) else text.encode())


def eventually(what, condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.02)


def info(client):
    text = client.call("INFO").decode()
    pairs = [line.split(":", 1) for line in text.split("\r\n") if ":" in line]
    return dict(pairs)


def tool(name):
    path = shutil.which(name)
    if not path:
        raise Skip(f"no {name}: install redis-tools")
    return path


def redis_cli(server, *words):
    done = subprocess.run([tool("redis-cli"), "-p", str(server.port), *words],
                          stdout=subprocess.PIPE, timeout=WAIT_S, check=True)
    return done.stdout.decode().strip()


def ping_and_echo(server):
    with Client(server) as client:
        equal(client.call("PING"), b"PONG")
        equal(client.call("ping", "hi there"), b"hi there")
        equal(client.call("Echo", b"\r\n\x00\xff"), b"\r\n\x00\xff")
        equal(client.call("ECHO", ""), b"")


def set_and_get(server):
    with Client(server) as client:
        equal(client.call("GET", "sg"), None)
        equal(client.call("SET", "sg", "one"), b"OK")
        equal(client.call("GET", "sg"), b"one")
        equal(client.call("SET", "sg", "a longer value than before"), b"OK")
        equal(client.call("GET", "sg"), b"a longer value than before")
        equal(client.call("SET", "sg", ""), b"OK")
        equal(client.call("GET", "sg"), b"")


def binary_keys_and_values(server):
    every_byte = bytes(range(256))
    with Client(server) as client:
        for key in (every_byte, b"", b"\r\n", b"a\x00b", b"a\x00c", b"a"):
            equal(client.call("SET", key, key + every_byte), b"OK")
        for key in (every_byte, b"", b"\r\n", b"a\x00b", b"a\x00c", b"a"):
            equal(client.call("GET", key), key + every_byte)
        equal(client.call("DEL", b"a\x00b", b"", b"a"), 3)
        equal(client.call("GET", b"a\x00c"), b"a\x00c" + every_byte)


def set_takes_the_expiry_away(server):
    with Client(server) as client:
        equal(client.call("SET", "so", "1"), b"OK")
        equal(client.call("EXPIRE", "so", "100"), 1)
        equal(client.call("SET", "so", "2"), b"OK")
        equal(client.call("TTL", "so"), -1)
        equal(client.call("EXPIRE", "so", "100"), 1)
        equal(client.call("DEL", "so"), 1)
        equal(client.call("INCR", "so"), 1)
        equal(client.call("TTL", "so"), -1)


def del_exists_mget(server):
    with Client(server) as client:
        for name in "abc":
            client.call("SET", "dem" + name, name)
        equal(client.call("EXISTS", "dema", "demx", "demb", "dema"), 3)
        equal(client.call("MGET", "dema", "demx", "demc", "dema"),
              [b"a", None, b"c", b"a"])
        equal(client.call("DEL", "dema", "demx", "dema", "demc"), 2)
        equal(client.call("MGET", "dema", "demb", "demc"), [None, b"b", None])


def incr(server):
    with Client(server) as client:
        equal(client.call("INCR", "i"), 1)
        equal(client.call("INCR", "i"), 2)
        client.call("SET", "i", "-1")
        client.call("EXPIRE", "i", "100")
        equal(client.call("INCR", "i"), 0)
        equal(client.call("TTL", "i"), 100)
        equal(client.call("GET", "i"), b"0")
        for text in ("", " 1", "1 ", "+1", "01", "-0", "-", "1.5", "0x10",
                     "9223372036854775808", "-9223372036854775809", "12a",
                     b"1\x00"):
            client.call("SET", "i", text)
            equal(client.call("INCR", "i"), error(NOT_AN_INTEGER))
        client.call("SET", "i", 2**63 - 2)
        equal(client.call("INCR", "i"), 2**63 - 1)
        equal(client.call("INCR", "i"),
              error(NOT_AN_INTEGER))
        equal(client.call("GET", "i"), b"9223372036854775807")
        client.call("SET", "i", -2**63)
        equal(client.call("INCR", "i"), -2**63 + 1)


def incr_from_many(server):
    def count():
        with Client(server) as client:
            client.send(encode("INCR", "im") * 2000)
            for _ in range(2000):
                client.reply()
    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Client(server) as client:
        equal(client.call("GET", "im"), b"16000")


def expire_and_ttl(server):
    with Client(server) as client:
        equal(client.call("TTL", "e"), -2)
        equal(client.call("EXPIRE", "e", "10"), 0)
        client.call("SET", "e", "x")
        equal(client.call("TTL", "e"), -1)
        equal(client.call("EXPIRE", "e", "1000"), 1)
        equal(client.call("TTL", "e"), 1000)
        equal(client.call("EXPIRE", "e", "soon"), error(NOT_AN_INTEGER))
        for delay in ("9223372036854775807", "2147483648", "-2147483649"):
            equal(client.call("EXPIRE", "e", delay), error(NOT_AN_INTEGER))
        equal(client.call("EXPIRE", "e", "-1"), 1)
        equal(client.call("EXISTS", "e"), 0)
        equal(client.call("TTL", "e"), -2)
        client.call("SET", "e", "x")
        client.call("EXPIRE", "e", "1")
        equal(client.call("GET", "e"), b"x")
        time.sleep(1.1)
        equal(client.call("GET", "e"), None)
        equal(client.call("TTL", "e"), -2)
        equal(client.call("INCR", "e"), 1)
        equal(client.call("TTL", "e"), -1)


def an_expired_key_counts_until_it_is_met(server):
    with Client(server) as client:
        before = client.call("DBSIZE")
        client.call("SET", "ek", "x")
        equal(client.call("DBSIZE"), before + 1)
        client.call("EXPIRE", "ek", "0")
        equal(client.call("EXISTS", "ek"), 0)
        equal(client.call("DBSIZE"), before)


def wrong_numbers_of_arguments(server):
    wrong = [["GET"], ["GET", "a", "b"], ["SET", "a"],
             ["SET", "a", "b", "c"], ["ECHO"], ["DEL"],
             ["PING", "a", "b"], ["EXISTS"], ["INCR"], ["INCR", "a", "b"],
             ["MGET"], ["EXPIRE", "a"], ["EXPIRE", "a", "1", "2"], ["TTL"],
             ["DBSIZE", "a"], ["TRANSFER", "a", "b"],
             ["TRANSFER", "a", "b", "1", "2"]]
    with Client(server) as client:
        for words in wrong:
            equal(client.call(*words), error("ERR wrong number of arguments"))


def unknown_commands(server):
    with Client(server) as client:
        for name in ("FOO", "GETT", "GE", "", "x" * 5000, "A\r\n+FAKE\r\n"):
            equal(client.call(name, "arg"), error("ERR unknown command"))
        equal(client.call("PING"), b"PONG")


def command_lists_all(server):
    with Client(server) as client:
        names = {entry[0] for entry in client.call("COMMAND")}
        expected = ("ping echo set get del exists incr mget expire ttl dbsize "
                    "info command quit transfer")
        equal(names, {name.encode() for name in expected.split()})
        equal(client.call("COMMAND", "DOCS"), [])


def info_tells(server):
    with Client(server) as client:
        client.call("SET", "info", "1")
        told = info(client)
        equal(int(told["tcp_port"]), server.port)
        equal(told["workers"], server.workers)
        equal(told["db0"], f"keys={client.call('DBSIZE')}")
        assert int(told["connected_clients"]) >= 1, told
        assert int(told["tasks_live"]) >= 2, told
        first = int(told["total_commands_processed"])
        client.call("PING")
        client.call("PING")
        assert int(info(client)["total_commands_processed"]) >= first + 3


def inline_commands(server):
    with Client(server) as client:
        client.send(b"PING\r\n")
        equal(client.reply(), b"PONG")
        client.send(b"\r\n\n  \r\n set  inline\tvalue \nGET inline\r\n")
        equal(client.reply(), b"OK")
        equal(client.reply(), b"value")
        client.send(b"ECHO a\r\n" + encode("ECHO", "b") + b"echo c\n")
        equal([client.reply() for _ in range(3)], [b"a", b"b", b"c"])
        client.send(b"*0\r\n*-1\r\nPING\r\n")
        equal(client.reply(), b"PONG")


def pipelining(server):
    with Client(server) as client:
        count = 10000
        client.send(b"".join(encode("SET", f"p{i}", i) + encode("GET", f"p{i}")
                             for i in range(count)))
        for i in range(count):
            equal(client.reply(), b"OK")
            equal(client.reply(), b"%d" % i)


def replies_larger_than_the_buffer(server):
    value = os.urandom(300_000)
    with Client(server) as client:
        client.call("SET", "big", value)
        client.send(encode("GET", "big") * 40 + encode("MGET", *["big"] * 40))
        for _ in range(40):
            equal(client.reply() == value, True)
        equal(client.reply() == [value] * 40, True)


def byte_by_byte(server):
    value = b"v\r\n$3\r\n*1\r\n\x00"
    stream = (encode("SET", "bb", value) + b"PING\r\n" + encode("GET", "bb")
              + b"*0\r\n" + encode("DEL", "bb"))
    with Client(server) as client:
        for byte in stream:
            client.send(bytes([byte]))
            time.sleep(0.0005)
        equal([client.reply() for _ in range(4)], [b"OK", b"PONG", value, 1])


def cut_everywhere(server):
    stream = encode("SET", "cut", b"\r\n" * 5) + encode("GET", "cut")
    with Client(server) as client:
        for place in range(1, len(stream)):
            client.send(stream[:place])
            time.sleep(0.001)
            client.send(stream[place:])
            equal(client.reply(), b"OK")
            equal(client.reply(), b"\r\n" * 5)


BREACHES = [
    (b"*1\r\n$-1\r\n", "bulk length"),
    (b"*2\r\n$3\r\nGET\r\n$99999999999\r\n", "bulk length"),
    (b"*2\r\n$3\r\nGET\r\n$99999999999999999999999\r\n", "bulk length"),
    (b"*2\r\n$3\r\nGET\r\n$1048576\r\n", "bulk length"),
    (b"*1\r\n$x\r\n", "bulk length"),
    (b"*1\r\n$\r\n", "bulk length"),
    (b"*1\r\n$4 \r\nPING\r\n", "bulk length"),
    (b"*1\r\n$" + b"1" * 100 + b"\r\n", "bulk length"),
    (b"*1\r\n$" + b"1" * 5000, "bulk length"),
    (b"*1\r\nPING\r\n", "bulk length"),
    (b"*1\r\n\n\r\n", "bulk length"),
    (b"*x\r\n", "multibulk length"),
    (b"*\r\n", "multibulk length"),
    (b"*1025\r\n", "multibulk length"),
    (b"*99999999999999999999\r\n", "multibulk length"),
    (b"*" + b"0" * 100 + b"\r\n", "multibulk length"),
    (b"x" * 70_000, "inline request"),
    (b"*" + b"0" * 70_000, "inline request"),
    (b"x " * 1025 + b"\r\n", "inline request"),
]


def broken_protocol(server):
    for data, what in BREACHES:
        with Client(server) as client:
            client.send(b"PING\r\n" + data)
            equal(client.reply(), b"PONG")
            equal(client.reply(), error("ERR Protocol error: invalid " + what))
            assert client.closed(), f"still open after {data[:40]}"
    with Client(server) as client:
        equal(client.call("PING"), b"PONG")


def the_largest_command(server):
    with Client(server) as client:
        value = os.urandom((1 << 20) - 200)
        equal(client.call("SET", "largest", value), b"OK")
        assert client.call("GET", "largest") == value
        equal(client.call("SET", "largest", b"x" * (1 << 20)),
              error("ERR Protocol error: invalid bulk length"))
    with Client(server) as client:
        head = b"*1024\r\n$4\r\nMGET\r\n"
        client.send(head + b"$3\r\nnot\r\n" * 1023)
        equal(client.reply(), [None] * 1023)
    with Client(server) as client:
        with contextlib.suppress(ConnectionError):
            client.send(head + (b"$2000\r\n" + b"k" * 2000 + b"\r\n") * 1023)
        equal(client.reply(), error("ERR Protocol error: invalid bulk length"))


def quit_closes(server):
    with Client(server) as client:
        client.send(encode("SET", "q", "1") + encode("QUIT")
                    + encode("SET", "q", "2"))
        equal(client.reply(), b"OK")
        equal(client.reply(), b"OK")
        assert client.closed()
    with Client(server) as client:
        equal(client.call("GET", "q"), b"1")


def vanishing_clients(server):
    whole = encode("SET", "vanished", "value")
    for i in range(60):
        client = Client(server)
        client.send(whole[:1 + i % (len(whole) - 1)])
        if i % 2:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     struct.pack("ii", 1, 0))
        client.close()
    with Client(server) as client:
        eventually("one client left",
                   lambda: info(client)["connected_clients"] == "1")
        equal(client.call("GET", "vanished"), None)


def a_client_that_does_not_read(server):
    value = os.urandom(500_000)
    with Client(server) as lazy, Client(server) as other:
        lazy.call("SET", "lazy", value)
        lazy.send(encode("GET", "lazy") * 60)
        time.sleep(0.2)
        began = time.monotonic()
        for i in range(200):
            equal(other.call("SET", f"lazy{i}", i), b"OK")
            equal(other.call("GET", "lazy") == value, True)
        assert time.monotonic() - began < WAIT_S / 2
        for _ in range(60):
            assert lazy.reply() == value


def many_connections(server):
    clients = [Client(server) for _ in range(1000)]
    try:
        for client in clients:
            client.send(encode("PING"))
        for client in clients:
            equal(client.reply(), b"PONG")
        assert int(info(clients[0])["connected_clients"]) >= 1000
    finally:
        for client in clients:
            client.close()


def transfer_moves_money(server):
    with Client(server) as client:
        client.call("SET", "t1", "100")
        equal(client.call("TRANSFER", "t1", "t2", "30"), b"OK")
        equal(client.call("MGET", "t1", "t2"), [b"70", b"30"])
        equal(client.call("TRANSFER", "t2", "t1", "31"),
              error("ERR insufficient funds"))
        equal(client.call("TRANSFER", "t1", "t1", "1"),
              error("ERR both accounts are the same"))
        for amount in ("0", "-1", "x", "2147483648", "9223372036854775808"):
            equal(client.call("TRANSFER", "t1", "t2", amount),
                  error(NOT_AN_INTEGER))
        client.call("SET", "t3", "gold")
        equal(client.call("TRANSFER", "t1", "t3", "1"), error(NOT_AN_INTEGER))
        client.call("SET", "t3", 2**63 - 1)
        equal(client.call("TRANSFER", "t1", "t3", "1"),
              error(NOT_AN_INTEGER))
        equal(client.call("MGET", "t1", "t2"), [b"70", b"30"])
        equal(client.call("DEL", "t1"), 1)
        equal(client.call("TRANSFER", "t2", "t1", "5"), b"OK")


def transfers_keep_the_sum(server):
    names = ["ts0", "ts1", "ts2", "ts3"]
    with Client(server) as client:
        for name in names:
            client.call("SET", name, 1000)
    clients = [Client(server) for _ in range(12)]
    try:
        for i, client in enumerate(clients):
            low, high = [(0, 1), (0, 3), (1, 2), (2, 3)][i % 4]
            client.send(encode("TRANSFER", names[low], names[high], 7) * 3)
        for client in clients:
            for _ in range(3):
                equal(client.reply(), b"OK")
        total = sum(map(int, clients[0].call("MGET", *names)))
        equal(total, 4000)
    finally:
        for client in clients:
            client.close()


def tools_of_redis(server):
    equal(redis_cli(server, "SET", "cli", "value of cli"), "OK")
    equal(redis_cli(server, "GET", "cli"), "value of cli")
    equal(redis_cli(server, "MGET", "cli", "no such"), "value of cli")
    done = subprocess.run(
        [tool("redis-benchmark"), "-p", str(server.port), "-c", "50", "-n",
         "5000", "-P", "7", "-r", "1000", "--csv", "-t",
         "ping_inline,ping_mbulk,set,get,incr"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60,
        check=True, text=True)
    tests = re.findall(r'^"(\w+)","[\d.]+"', done.stdout, re.MULTILINE)
    equal(tests, ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR"])


CASES = [
    ping_and_echo, set_and_get, binary_keys_and_values,
    set_takes_the_expiry_away, del_exists_mget, incr, incr_from_many,
    expire_and_ttl, an_expired_key_counts_until_it_is_met,
    wrong_numbers_of_arguments, unknown_commands, command_lists_all,
    info_tells, inline_commands, pipelining, replies_larger_than_the_buffer,
    byte_by_byte, cut_everywhere, broken_protocol, the_largest_command,
    quit_closes, vanishing_clients, a_client_that_does_not_read,
    many_connections, transfer_moves_money, transfers_keep_the_sum,
    tools_of_redis,
]


class Load:
    """Clients that pipeline commands until the server goes."""

    def __init__(self, server, count):
        self.replies = 0
        self.threads = [threading.Thread(target=self.run, args=(server,))
                        for _ in range(count)]
        for thread in self.threads:
            thread.start()
        eventually("load", lambda: self.replies > 1000)

    def run(self, server):
        with contextlib.suppress(EOFError, OSError), Client(server) as client:
            while True:
                client.send(encode("SET", "load", "x" * 100) * 50)
                for _ in range(50):
                    equal(client.reply(), b"OK")
                self.replies += 50

    def join(self):
        for thread in self.threads:
            thread.join()


def sigterm_under_load():
    with Server("--workers", "2") as server:
        load = Load(server, 6)
        equal(server.stop(), 0)
        load.join()


def sigint_under_load():
    with Server() as server:
        load = Load(server, 6)
        equal(server.stop(signal.SIGINT), 0)
        load.join()


def sigterm_with_idle_and_half_sent():
    with Server("--workers", "1") as server:
        clients = [Client(server) for _ in range(100)]
        for client in clients[:50]:
            client.send(b"*2\r\n$3\r\nGE")
        equal(clients[99].call("PING"), b"PONG")
        equal(server.stop(), 0)
        for client in clients:
            assert client.closed()
            client.close()


def opposite_transfers_deadlock():
    with Server("--workers", "2") as server, Client(server) as first, \
            Client(server) as second, Client(server) as other:
        other.call("SET", "a", "10")
        other.call("SET", "b", "10")
        first.send(encode("TRANSFER", "a", "b", 1))
        second.send(encode("TRANSFER", "b", "a", 1))
        ready, _, _ = select.select([first.socket, second.socket], [], [], 0.5)
        equal(ready, [])
        equal(other.call("MGET", "a", "b"), [b"10", b"10"])
        equal(server.stop(), 0)


def sigquit_dumps_and_goes_on():
    with Server() as server, Client(server) as client:
        load = Load(server, 4)
        for _ in range(5):
            server.process.send_signal(signal.SIGQUIT)
            time.sleep(0.1)
            equal(client.call("PING"), b"PONG")
        eventually("five dumps or fewer, shared",
                   lambda: int(info(client)["dumps"]) >= 1)
        equal(server.stop(), 0)
        load.join()


def run_to_end(*options):
    done = subprocess.run([server_program(), *options], timeout=WAIT_S,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, preexec_fn=die_with_parent)
    return done.returncode, done.stdout, done.stderr


def bad_options():
    for options, named in [
            (["--port"], "port"), (["--port", "70000"], "70000"),
            (["--port", "x"], "x"), (["--port", "-1"], "-1"),
            (["--port", ""], "65535"), (["--port", "1x"], "1x"),
            (["--workers", "many"], "many"), (["--workers", "2000"], "2000"),
            (["--wrong"], "--wrong"), (["stray"], "arguments"), (["-x"], "x")]:
        status, out, err = run_to_end(*options)
        equal((options, status, out), (options, 64, ""))
        assert named in err, f"{options}: {err}"


def help_text():
    status, out, err = run_to_end("--help")
    equal((status, err), (0, ""))
    for word in ("--port", "--bind", "--workers", "6380", "127.0.0.1"):
        assert word in out, out


def addresses_that_cannot_be():
    with Server() as server:
        status, _, err = run_to_end("--port", str(server.port))
        equal(status, 1)
        assert "Address already in use" in err and str(server.port) in err, err
    for address in ("not-an-address", "300.0.0.1", "203.0.113.77"):
        status, _, err = run_to_end("--port", "0", "--bind", address)
        equal(status, 1)
        assert address in err, err


def bind_elsewhere():
    with Server("--bind", "127.0.0.2") as server:
        equal(server.host, "127.0.0.2")
        with socket.create_connection((server.host, server.port), WAIT_S) as s:
            s.sendall(b"PING\r\n")
            equal(s.recv(100), b"+PONG\r\n")
        try:
            Client(server).close()
        except ConnectionRefusedError:
            return
        raise AssertionError("127.0.0.1 answers too")


def bind_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as failure:
        raise Skip(f"no IPv6: {failure}") from None
    with Server("--bind", "::1") as server:
        equal(server.host, "[::1]")
        with socket.create_connection(("::1", server.port), WAIT_S) as s:
            s.sendall(b"PING\r\n")
            equal(s.recv(100), b"+PONG\r\n")


def out_of_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        server = Server("--workers", "2")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with server:
        clients = [Client(server) for _ in range(100)]
        clients[0].send(encode("PING"))
        equal(clients[0].reply(), b"PONG")
        for client in clients[:90]:
            client.close()
        equal(clients[99].call("PING"), b"PONG")
        for client in clients[90:]:
            client.close()
        equal(server.stop(), 0)


PROCESS_CASES = [
    sigterm_under_load, sigint_under_load, sigterm_with_idle_and_half_sent,
    opposite_transfers_deadlock, sigquit_dumps_and_goes_on, bad_options,
    help_text, addresses_that_cannot_be, bind_elsewhere, bind_ipv6,
    out_of_descriptors,
]


class Tap:
    """Runs cases, one line of TAP each."""

    def __init__(self, count):
        self.number = 0
        self.failed = False
        print(f"1..{count}", flush=True)

    def run(self, name, case, *arguments):
        self.number += 1
        result, comment = "ok", ""
        try:
            case(*arguments)
        except Skip as reason:
            comment = f" # SKIP {reason}"
        except Exception as failure:
            result = "not ok"
            self.failed = True
            print(f"# {type(failure).__name__}: {failure}")
        print(f"{result} {self.number} - {name}{comment}", flush=True)


def run_cases(tap, workers):
    def name(case):
        return f"{case.__name__}, workers {workers}"
    try:
        with Server("--workers", workers) as server:
            server.workers = workers
            for case in CASES:
                tap.run(name(case), case, server)
            tap.run(f"ends, workers {workers}",
                    lambda: equal(server.stop(), 0))
    except (AssertionError, OSError) as failure:
        tap.failed = True
        print(f"# workers {workers}: {failure}", flush=True)


def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    tap = Tap(2 * (len(CASES) + 1) + len(PROCESS_CASES))
    for workers in ("1", "2"):
        run_cases(tap, workers)
    for case in PROCESS_CASES:
        tap.run(case.__name__, case)
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
