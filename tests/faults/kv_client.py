# kv_client.py -- Runs the example of a server under faults, with a client.
#
# What the client hears may end early, at any byte; but a reply that is whole
# must be right.
import select
import signal
import socket
import time

import run

COMMANDS = [
    (b"SET a 1\r\n", b"+OK\r\n"),
    (b"INCR a\r\n", b":2\r\n"),
    (b"SET long " + b"x" * 1500 + b"\r\n", b"+OK\r\n"),
    (b"GET long\r\n", b"$1500\r\n" + b"x" * 1500 + b"\r\n"),
    (b"SET b 7\r\nSET c 1\r\n", b"+OK\r\n+OK\r\n"),
    (b"TRANSFER b c 3\r\n", b"+OK\r\n"),
    (b"MGET b c\r\n", b"*2\r\n$1\r\n4\r\n$1\r\n4\r\n"),
]
DUMP_S = 0.1  # for a dump to begin, before the end comes


class WrongReply(Exception):
    """The server said what it should not."""


def converse(port):
    """One connection that runs all commands. The end of the stream, and errors
    of the connection, are borne."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as client:
            for command, wanted in COMMANDS:
                client.sendall(command)
                got = b""
                while len(got) < len(wanted):
                    more = client.recv(65536)
                    if not more:
                        return
                    got += more
                    rest = got.removeprefix(wanted)
                    if rest.startswith(b"-ERR"):  # its own connection broke
                        return
                    if not wanted.startswith(got):
                        raise WrongReply(f"{command[:20]!r}: {got[:60]!r}")
    except OSError:
        return


def use(process, said, wrong):
    """Has a conversation or two, asks for a dump, and for the end."""
    ready, _, _ = select.select([process.stdout], [], [], 10)
    said.append(process.stdout.readline() if ready else "")
    if "listening on" not in said[0]:
        return
    try:
        for _ in range(2):
            converse(int(said[0].rsplit(":", 1)[1]))
    except WrongReply as error:
        wrong.append(str(error))
    process.send_signal(signal.SIGQUIT)
    time.sleep(DUMP_S)
    process.send_signal(signal.SIGTERM)


def run_server(argv, rules, **options):
    said, wrong = [], []
    meddle = options.pop("meddle", None)

    def both(process):
        if meddle is not None:
            meddle(process)
        use(process, said, wrong)

    done = run.run(argv, rules, meddle=both, **options)
    done.text = "".join(said) + done.text
    if wrong:
        done.status = run.BROKE_ITS_WORD
        done.text += "\n".join(wrong)
    return done
