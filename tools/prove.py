#!/usr/bin/env python3
# prove.py -- `./dev prove`: every protocol searched whole, every mutant killed.
#
# Prints a table, or TAP with --tap. --json FILE writes the figures.
import json
import sys
from pathlib import Path

import build
import explore
import mutate

OWN_TESTS = ("litmus", "self")  # of the explorer: no protocols of weft's


def by_protocol(searches):
    """Sums of the scenarios of each protocol, in order."""
    protocols = {}
    for found in searches:
        if found.protocol in OWN_TESTS:
            continue
        sums = protocols.setdefault(found.protocol, {
            "name": found.protocol, "executions": 0, "exhausted": True})
        sums["executions"] += found.executions
        sums["exhausted"] &= found.exhausted and found.good
    return list(protocols.values())


def count_mutants(mutants):
    def count(verdict):
        return sum(mutant.verdict == verdict for mutant in mutants)

    return {"total": len(mutants), "killed": count("killed"),
            "excused": count("excused")}


class Report:
    """Prints what is found as it comes."""

    def __init__(self, as_tap):
        self.as_tap = as_tap
        self.cases = self.failed = 0

    def case(self, good, name, note, more=""):
        self.cases += 1
        self.failed += not good
        if self.as_tap:
            text = "".join(f"# {line}\n" for line in more.splitlines())
            print(f"{'ok' if good else 'not ok'} {self.cases} - {name} # "
                  f"{note}\n{'' if good else text}", end="", flush=True)
        else:
            print(f"{'' if good else 'FAILED '}{name}: {note}\n"
                  f"{'' if good else more}", end="", flush=True)

    def search(self, found):
        self.case(found.good and found.exhausted, f"explore: {found.name}",
                  f"{found.executions:,} executions ({found.bounds}) "
                  f"in {found.seconds} s", found.output)

    def mutant(self, mutant):
        self.case(mutant.verdict in ("killed", "excused"),
                  f"mutant: {mutant.path}:{mutant.line}: {mutant.what}",
                  f"{mutant.verdict} {mutant.by}")


def print_table(figures):
    print("\nprotocol           executions  exhausted")
    for row in figures["protocols"]:
        print(f"{row['name']:16} {row['executions']:12,}  "
              f"{'yes' if row['exhausted'] else 'NO'}")
    total = sum(row["executions"] for row in figures["protocols"])
    print(f"{'all':16} {total:12,}")
    mutants = figures["mutants"]
    print(f"\nmutants: {mutants['total']}, killed {mutants['killed']}, "
          f"excused {mutants['excused']}")


def parse(arguments):
    """as_tap and the JSON file, or None."""
    as_tap = "--tap" in arguments
    rest = [word for word in arguments if word != "--tap"]
    if rest and (len(rest) != 2 or rest[0] != "--json"):
        print("usage: prove.py [--tap] [--json FILE]", file=sys.stderr)
        return None
    return as_tap, Path(rest[1]) if rest else None


def main(arguments):
    parsed = parse(arguments)
    if parsed is None:
        return 64
    as_tap, file = parsed
    try:
        explore.make()
    except build.BuildError as error:
        print(f"Bail out! {error}")
        return 1
    report = Report(as_tap)
    searches = explore.search_all(True, report.search)
    mutants = mutate.run(report.mutant)
    figures = {"protocols": by_protocol(searches),
               "mutants": count_mutants(mutants)}
    if as_tap:
        print(f"1..{report.cases}")
    else:
        print_table(figures)
    if file is not None:
        file.write_text(json.dumps(figures, indent=2) + "\n")
    return report.failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
