# plant.py -- Writes a copy of the key-value server with a fault planted.
#
#   plant.py SERVER.c COPY.c
#
# The fault: adding to a number gives the key's lock back between the reading
# and the writing, so that of two that add at once one is lost.
import sys
from pathlib import Path

HEALTHY = """\
    if (fits) {
        struct slice text = {allocate(24), 0};
"""
FAULTY = """\
    pthread_mutex_unlock(entry->lock);
    pthread_mutex_lock(entry->lock);
""" + HEALTHY


def main(server, copy):
    text = Path(server).read_text()
    if text.count(HEALTHY) != 1:
        sys.exit(f"{server}: the place for the fault is not there")
    Path(copy).write_text(text.replace(HEALTHY, FAULTY))


main(*sys.argv[1:])
