# weft-gdb.py -- weft's tasks inside gdb: listed, selected, walked through.
#
# gdb loads this file by itself with libweft.so; with a program that holds weft
# itself, `source` it. Then: `help weft`. What it loads has a name space of its
# own, for gdb runs all such files in one.
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import weft_gdb  # noqa: E402
