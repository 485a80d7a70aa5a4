# forgotten.py -- Would never run.
