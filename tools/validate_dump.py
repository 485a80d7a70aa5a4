#!/usr/bin/env python3
# validate_dump.py -- Checks a JSON dump against its schema and against itself.
#
# What a schema cannot say is checked here: every id resolves, counts add up,
# holders and waiters agree from both sides, no integer is beyond 2^53.
"""usage: validate_dump.py [FILE...]

Reads standard input without FILE. Status: 0 all are valid, 1 some are not,
2 a file cannot be read, 64 usage."""
import json
import pathlib
import sys

import jsonschema

SCHEMA = pathlib.Path(__file__).parent.parent / "doc/weft-dump.schema.json"
SHOWN_MAX = 20
CHANNELS = ("channel", "oneshot", "broadcast", "watch")


class Checker:
    """Collects what is wrong with one document."""

    def __init__(self, dump):
        self.dump = dump
        self.problems = []
        self.tasks = {task["id"]: task for task in dump["tasks"]}
        self.objects = {item["id"]: item for item in dump["objects"]}
        self.whole = dump["tasks_complete"]

    def expect(self, holds, message):
        if not holds:
            self.problems.append(message)

    def positions(self, section):
        ids = [item["id"] for item in self.dump[section]]
        self.expect(ids == list(range(len(ids))),
                    f"{section}: ids out of order")

    def index(self, section, value, where):
        size = len(self.dump[section])
        self.expect(value is None or 0 <= value < size,
                    f"{where}: no entry {value} in {section}")

    def task(self, value, where):
        if self.whole:
            self.expect(value is None or value in self.tasks,
                        f"{where}: no task {value}")

    def object(self, value, where):
        self.expect(value is None or value in self.objects,
                    f"{where}: no object {value}")

    def check(self):
        for section in ("modules", "frames", "stacks", "sites", "groups"):
            self.positions(section)
        self.expect(len(self.tasks) == len(self.dump["tasks"]),
                    "tasks: an id is there twice")
        self.check_stacks()
        self.check_tasks()
        self.check_objects()
        self.check_groups()
        self.check_findings()
        self.check_workers()
        self.check_threads()
        self.check_summary()
        self.check_integers(self.dump, "document")
        return self.problems

    def check_stacks(self):
        for frame in self.dump["frames"]:
            self.index("modules", frame["module"], f"frame {frame['id']}")
        for stack in self.dump["stacks"]:
            where = f"stack {stack['id']}"
            for frame in stack["frames"]:
                self.index("frames", frame, where)
            self.expect(stack["truncated"] == (stack["end"] != "whole"),
                        f"{where}: truncated contradicts end")
            place = stack["left_out_at"]
            self.expect(place is None or place <= len(stack["frames"]),
                        f"{where}: left_out_at is beyond its frames")

    def check_tasks(self):
        for task in self.dump["tasks"]:
            where = f"task {task['id']}"
            wait = task["wait"]
            self.index("stacks", task["stack"], where)
            self.index("sites", task["spawn_site"], where)
            self.index("workers", task["worker"], where)
            self.task(task["parent"], where)
            self.expect((wait is not None) == (task["state"] == "waiting"),
                        f"{where}: {task['state']} but wait is {wait}")
            for held in task["holds"]:
                self.object(held, where)
                if held in self.objects:
                    target = self.objects[held]
                    self.expect(not target["holders_complete"]
                                or task["id"] in target["holders"],
                                f"{where}: holds {held} but is not its holder")
            if wait:
                self.check_wait(task, wait, where)

    def check_wait(self, task, wait, where):
        self.object(wait["object"], where)
        self.task(wait.get("task"), where)
        target = self.objects.get(wait["object"])
        if target and target["waiters_complete"]:
            self.expect(task["id"] in target["waiters"],
                        f"{where}: waits for {target['id']} unlisted there")

    def check_objects(self):
        self.expect(len(self.objects) == len(self.dump["objects"]),
                    "objects: an id is there twice")
        for item in self.dump["objects"]:
            where = f"object {item['id']}"
            owner = self.tasks.get(item["owner"])
            self.task(item["owner"], where)
            if owner:
                self.expect(item["id"] in owner["holds"],
                            f"{where}: its owner does not hold it")
                self.expect(owner["id"] in item["holders"],
                            f"{where}: its owner is not among its holders")
            for kind in ("waiter", "holder"):
                listed, count = len(item[f"{kind}s"]), item[f"{kind}_count"]
                self.expect(listed == count if item[f"{kind}s_complete"]
                            else listed < count,
                            f"{where}: {kind}_count contradicts {kind}s")
            for waiter in item["waiters"]:
                self.task(waiter, where)
                wait = self.tasks.get(waiter, {}).get("wait")
                self.expect(waiter not in self.tasks or
                            (wait and wait["object"] == item["id"]),
                            f"{where}: task {waiter} does not wait for it")

    def check_groups(self):
        counted, seen = 0, set()
        for group in self.dump["groups"]:
            where = f"group {group['id']}"
            counted += group["count"]
            self.index("stacks", group["stack"], where)
            self.expect(len(group["tasks"]) == group["count"]
                        if group["tasks_complete"]
                        else len(group["tasks"]) < group["count"],
                        f"{where}: count contradicts tasks")
            times = group["state_us"]
            self.expect(times["min"] <= times["median"] <= times["max"],
                        f"{where}: times out of order")
            for number in group["tasks"]:
                self.check_member(group, number, where)
                self.expect(number not in seen,
                            f"{where}: task {number} is in two groups")
                seen.add(number)
        self.expect(counted == self.dump["summary"]["tasks"],
                    f"groups: {counted} tasks in all")

    def check_member(self, group, number, where):
        task = self.tasks.get(number)
        self.expect(task, f"{where}: task {number} is not listed")
        if not task:
            return
        kind = task["wait"]["kind"] if task["wait"] else None
        times = group["state_us"]
        self.expect(task["state"] == group["state"] and
                    task["stack"] == group["stack"] and
                    kind == group["wait_kind"] and
                    times["min"] <= task["state_us"] <= times["max"],
                    f"{where}: task {number} does not belong there")

    def check_findings(self):
        for place, finding in enumerate(self.dump["findings"]):
            where = f"finding {finding['id']}"
            self.expect(finding["id"] == f"F{place + 1}",
                        f"{where}: id out of order")
            self.index("workers", finding["worker"], where)
            for number in finding["tasks"] + finding["blocked_behind"]:
                self.expect(number in self.tasks,
                            f"{where}: task {number} is not listed")
            for name in finding["objects"]:
                self.object(name, where)
            self.index("sites", finding["spawn_site"], where)
            self.expect(len(finding["now_in"]) == len(finding["tasks"]),
                        f"{where}: now_in and tasks differ")
            self.check_chain(finding, where)
            if finding["rule"] == "deadlock":
                self.check_cycle(finding, where)

    @staticmethod
    def waits_for(wait, name):
        """One who leaves a scope waits for its children, not for an object."""
        return name is None if wait["kind"] == "scope" else \
            wait["object"] == name

    def check_chain(self, finding, where):
        """Each task of a chain waits for an object that the next serves."""
        chain = finding["chain"]
        if chain:
            self.expect([link["task"] for link in chain] == finding["tasks"],
                        f"{where}: chain and tasks differ")
        for link, after in zip(chain, chain[1:]):
            wait = self.tasks.get(link["task"], {}).get("wait")
            self.expect(wait and self.waits_for(wait, after["object"]),
                        f"{where}: task {link['task']} does not wait so")
        for link in chain:
            self.object(link["object"], where)

    def check_cycle(self, finding, where):
        cycle = finding["cycle"]
        self.expect([edge["task"] for edge in cycle] == finding["tasks"],
                    f"{where}: cycle and tasks differ")
        for edge, after in zip(cycle, cycle[1:] + cycle[:1]):
            task = self.tasks.get(edge["task"])
            self.expect(edge["held_by"] == after["task"],
                        f"{where}: the cycle is not closed")
            self.expect(edge["waits_for"] == after["holds"],
                        f"{where}: the holder holds something else")
            wait = task["wait"] if task else None
            self.expect(wait and self.waits_for(wait, edge["waits_for"]),
                        f"{where}: task {edge['task']} does not wait so")
            target = self.objects.get(edge["waits_for"])
            if target and target["kind"] in CHANNELS:
                continue  # it has no holder
            if target:
                self.expect(not target["holders_complete"]
                            or edge["held_by"] in target["holders"],
                            f"{where}: {edge['waits_for']} has other holders")
            elif wait and wait["kind"] != "scope":
                self.expect(wait.get("task") == edge["held_by"],
                            f"{where}: task {edge['task']} joins another")

    def check_workers(self):
        for worker in self.dump["workers"]:
            where = f"worker {worker['id']}"
            self.task(worker["task"], where)
            self.expect(worker["syscall"] is None or
                        worker["state"] == "missing" and worker["task"],
                        f"{where}: in a system call, but not in a task")

    def check_threads(self):
        for thread in self.dump["threads"]:
            where = f"thread {thread['tid']}"
            self.index("stacks", thread["stack"], where)
            self.task(thread["task"], where)
            self.expect((thread["wait"] is not None) ==
                        (thread["state"] == "waiting"),
                        f"{where}: {thread['state']} but it waits")
            self.expect(thread["kind"] == ("pool" if thread["state"] in
                                           ("idle", "calling") else "foreign"),
                        f"{where}: {thread['kind']} but {thread['state']}")
            if thread["wait"]:
                self.task(thread["wait"]["task"], where)

    def check_summary(self):
        summary = self.dump["summary"]
        for key in ("groups", "findings", "threads"):
            self.expect(summary[key] == len(self.dump[key]),
                        f"summary: {key} is wrong")
        self.expect(sum(summary["by_state"].values()) == summary["tasks"],
                    "summary: by_state does not add up")
        self.expect(sum(summary["by_wait"].values()) ==
                    summary["by_state"].get("waiting", 0),
                    "summary: by_wait does not add up")
        self.expect((len(self.tasks) == summary["tasks"])
                    if self.whole else len(self.tasks) <= summary["tasks"],
                    "summary: the number of tasks is wrong")

    def check_integers(self, value, where):
        if isinstance(value, dict):
            for key, item in value.items():
                self.check_integers(item, f"{where}.{key}")
        elif isinstance(value, list):
            for item in value:
                self.check_integers(item, where)
        elif isinstance(value, int):
            self.expect(abs(value) < 2**53, f"{where}: {value} is too large")
        elif isinstance(value, float):
            self.problems.append(f"{where}: {value} is no integer")


def unique_keys(pairs):
    """An object without a key that is there twice."""
    item = dict(pairs)
    if len(item) != len(pairs):
        raise ValueError(f"a key is there twice among {[k for k, _ in pairs]}")
    return item


def validate(data):
    """The problems of a document, which is given as bytes."""
    try:
        dump = json.loads(data.decode("utf-8"), object_pairs_hook=unique_keys)
    except ValueError as error:
        return [str(error)]
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(schema)
    problems = []
    for error in validator.iter_errors(dump):
        path = "/".join(str(step) for step in error.absolute_path)
        problems.append(f"{path or 'document'}: {error.message[:200]}")
        if len(problems) > SHOWN_MAX:
            break
    return problems or Checker(dump).check()


def main(arguments):
    if any(word.startswith("-") for word in arguments):
        print(__doc__, file=sys.stderr)
        return 64
    status = 0
    for name in arguments or [None]:
        try:
            data = (pathlib.Path(name).read_bytes() if name
                    else sys.stdin.buffer.read())
        except OSError as error:
            print(f"validate_dump: {error}", file=sys.stderr)
            return 2
        problems = validate(data)
        for problem in problems[:SHOWN_MAX]:
            print(f"{name or 'stdin'}: {problem}")
        if len(problems) > SHOWN_MAX:
            print(f"{name or 'stdin'}: ... {len(problems) - SHOWN_MAX} more")
        status = status or (1 if problems else 0)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
