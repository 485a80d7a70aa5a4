# tap_out.py -- Prints cases in the Test Anything Protocol.
import threading


class Tap:
    """Prints cases as they are decided, from any thread."""

    def __init__(self):
        self.lock = threading.Lock()
        self.cases = self.failed = 0

    def case(self, good, name, notes=()):
        with self.lock:
            self.cases += 1
            self.failed += not good
            for note in notes:
                print(f"# {note}")
            print(f"{'ok' if good else 'not ok'} {self.cases} - {name}",
                  flush=True)

    def end(self):
        print(f"1..{self.cases}", flush=True)
        return 1 if self.failed else 0
