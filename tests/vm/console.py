# console.py -- Reads what the test machine printed, program by program.
#
# Between the marks of init.c lie a program's own lines, TAP among them. How a
# program is judged is the same here as outside the machine: tools/tap.py.
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'tools'))
import tap  # noqa: E402

MARK = '@@vm '


class Program:
    def __init__(self, name):
        self.name = name
        self.lines = []
        self.ending = None  # (how, code, milliseconds)

    def judge(self, prints_tap):
        """A tap.Result. A program that the machine never ended has failed."""
        text = '\n'.join(self.lines)
        if self.ending is None:
            result, _ = tap.parse(text)
            result.failed.append('(the machine stopped before it ended)')
            return result
        how, code, ms = self.ending
        status = -code if how == 'signal' else code
        hung = how == 'time-out'
        if prints_tap:
            return tap.judge(text, status, hung, ms / 1000)
        return tap.judge_status('exit', text, status, hung, ms / 1000)


class Console:
    def __init__(self):
        self.programs = []
        self.other = []  # the kernel's lines, and ours when something broke
        self.done = False
        self.current = None

    def read(self, line):
        if line.startswith(MARK):
            self._report(*line[len(MARK):].split(' ', 1))
        elif self.current:
            self.current.lines.append(line)
        elif line.strip():
            self.other.append(line)

    def _report(self, word, rest=''):
        if word == 'begin':
            self.current = Program(rest)
            self.programs.append(self.current)
        elif word == 'end':
            _, how, code, ms = rest.rsplit(' ', 3)
            self.current.ending = (how, int(code), int(ms))
            self.current = None
        elif word == 'done':
            self.done = True
        else:
            self.other.append(f'{word} {rest}')
