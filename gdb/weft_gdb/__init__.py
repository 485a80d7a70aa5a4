# __init__.py -- Registers weft's commands with gdb, once.
from weft_gdb import commands, seen

seen.register()
commands.register()
