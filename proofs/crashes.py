"""Hosts are killed at every step of their journal, and what goes on after them repeats and loses nothing.

An item is a number of runs of one script, in one place, with one kind of store. Each run is killed
at a step of its host: before or after an event is noted, rows are written, a lease is taken or
given up, a tool has its effect, the journal is closed. Every step of the undisturbed run is taken once
before any is taken again. Other hosts, some of them killed too, take the run up until it has ended.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from collections.abc import Sequence

from .base import ROOT, Found, Proof, Report
from .crash_scripts import SCRIPTS

sys.path.append(str(ROOT))
from tests.postgres import postgres, programs

RUNS = 50  # of one item
PLACES = {("sqlite", "monty"): 3, ("postgres", "monty"): 1, ("sqlite", "cpython"): 1}
"""Items of each script, by store and tier; scripts that need full Python run there alone."""
LEAST = 5_000  # crashes
_IN_PYTHON = ("chains in parallel", "caught tool errors", "clock", "mixed", "large values",
              "idempotent, parallel", "runtime helpers")  # fmt: skip


def _items(seed: int) -> Sequence[str]:
    """`store tier part script`."""
    return [
        f"{store} {tier} {part} {name}"
        for (store, tier), parts in PLACES.items()
        for name, script in SCRIPTS.items()
        for part in range(parts)
        if (tier == "cpython") == script.full_python or (tier == "cpython" and name in _IN_PYTHON)
    ]


def check(item: str, seed: int, runs: int = RUNS) -> Found:
    """Play one item; what was found, or why it could not be played."""
    store, tier, part, script = item.split(" ", 3)
    if store == "sqlite":
        return _play("", tier, script, part, seed, runs)
    if programs() is None:
        return {"missing": "there is no Postgres"}
    with postgres() as server:
        return _play(server.schema(), tier, script, part, seed, runs)


def _play(journal: str, tier: str, script: str, part: str, seed: int, runs: int) -> Found:
    done = subprocess.run(  # noqa: S603  ourselves
        [sys.executable, "-m", "proofs.crash_host", journal, tier, script, str(runs), str(seed), part],
        cwd=ROOT, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def _report(found: dict[str, Found]) -> Report:
    columns = ("runs", "crashes", "resumed", "effects", "in_doubt", "repeated")
    lines = [
        "| store | sandbox | scripts | runs | crashes | runs taken up again | effects | calls left in doubt "
        "| idempotent calls sent again |",
        f"|---|{'---|' * 8}",
    ]
    wrong: list[str] = []
    total = 0
    points: collections.Counter[str] = collections.Counter()
    for store, tier in PLACES:
        parts = {item: each for item, each in found.items() if item.startswith(f"{store} {tier} ")}
        if missing := [each["missing"] for each in parts.values() if "missing" in each]:
            wrong.append(f"- {store}: {missing[0]}")
            continue
        scripts = len({item.split(" ", 3)[3] for item in parts})
        sums = [sum(each[column] for each in parts.values()) for column in columns]
        total += sums[1]
        lines.append(f"| {store} | {tier} | {scripts} | " + " | ".join(f"{each:,}" for each in sums) + " |")
        for item, each in parts.items():
            points.update(each["points"])
            wrong += [f"- {item}: {problem}" for problem in each["wrong"]]
    if total < LEAST:
        wrong.append(f"- {total:,} crashes, and {LEAST:,} are claimed")
    lines += [
        "",
        f"{total:,} hosts were killed with SIGKILL. A separate process counted the effects and wrote them to "
        "its own file. A write that happened twice, one that is neither there nor told to be in doubt, one "
        "that no undisturbed run has, a call in doubt that was answered on record or was not sent, two keys "
        "for one call, another value, error, print or list of calls than undisturbed (but for calls in "
        "doubt), more or fewer calls that people were asked about, a host that hung, a process left behind, "
        "and a hash chain that does not fit is wrong.",
        "",
        "| killed | times |",
        "|---|---|",
        *[f"| {where} | {count:,} |" for where, count in sorted(points.items())],
    ]
    return Report(not wrong, [*lines, *(["", *wrong] if wrong else [])])


CRASHES = Proof(
    "crashes",
    "5,000 crashes of the host at every step of the journal repeat no effect and lose none",
    _items,
    check,
    _report,
)
