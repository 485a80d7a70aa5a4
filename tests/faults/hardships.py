# hardships.py -- What befalls a program from outside: signals, stops, limits.
import os
import random
import signal
import time

# Of which three are open from the beginning.
DESCRIPTORS = (3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20)


def signal_storm(period_us):
    """Options of a run in which all threads get signals all the time."""
    return {"extra": {"WEFT_FAULT_SIGNALS": str(period_us)}}


def stop_and_go(seed):
    """A run that is stopped and continued, at moments that a seed decides."""
    chance = random.Random(seed)

    def meddle(process):
        for _ in range(8):
            time.sleep(chance.uniform(0, 0.02))
            if process.poll() is not None:
                return
            os.killpg(process.pid, signal.SIGSTOP)
            time.sleep(chance.uniform(0, 0.1))
            os.killpg(process.pid, signal.SIGCONT)

    return {"meddle": meddle}


def limit(what, most):
    """A run with less of something than a process usually has. SIGXFSZ stays
    ignored, so that a write past the end is an error."""
    return {"prefix": ["prlimit", f"--{what}={most}:{most}"],
            "restore_signals": False}


def descriptors():
    return [limit("nofile", most) for most in DESCRIPTORS]


def file_size():
    return [limit("fsize", most) for most in (0, 1000, 20000)]
