"""The gold answers of the Berkeley Function Calling Leaderboard as scripts: the check stops no right one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing

from benchmarks.check import Count, cases_of, categories, judge_case
from benchmarks.data import bfcl

from oneturn.checking import Checker

from .base import Found, Proof, Report

_SLICE = 50  # cases


def _items(seed: int) -> Sequence[str]:
    """`category first-case`, for every slice of every category."""
    return [
        f"{category} {first}"
        for category in categories()
        for first in range(0, sum(1 for _ in cases_of(bfcl(), category)), _SLICE)
    ]


def _check(item: str, seed: int) -> Found:
    category, first = item.split()
    count, cases = Count(), 0
    with closing(Checker()) as checker:
        for case in itertools.islice(cases_of(bfcl(), category), int(first), int(first) + _SLICE):
            judge_case(checker, case, count)
            cases += 1
    return {
        "cases": cases,
        "scripts": count.scripts,
        "stopped": count.blocked,
        "refused_too": count.refused_too,
        "missed": count.missed,
        "false": count.false,
    }


def _report(found: dict[str, Found]) -> Report:
    columns = ("cases", "scripts", "passed", "stopped", "refused_too", "false", "missed")
    total = dict.fromkeys(columns, 0)
    lines = [
        "| category | gold answers | scripts | passed | stopped | stopped, and the gate refuses them too "
        "| stopped, and the gate accepts them | passed, and the gate refuses them |",
        f"|---|{'---|' * len(columns)}",
    ]
    for category in categories():
        sums = dict.fromkeys(columns, 0)
        for item, each in found.items():
            if item.split()[0] == category:
                each = {**each, "false": len(each["false"]), "passed": each["scripts"] - each["stopped"]}
                sums = {column: sums[column] + each[column] for column in columns}
        total = {column: total[column] + sums[column] for column in columns}
        lines.append(f"| {category} | " + " | ".join(f"{sums[column]:,}" for column in columns) + " |")
    lines.append("| **all** | " + " | ".join(f"**{total[column]:,}**" for column in columns) + " |")
    lines += [
        "",
        "Each gold answer is one script for its calls in turn, and where it is of one turn also one that "
        "gathers them and one that passes every argument in a variable. An answer the gate refuses breaks "
        "its own function's document.",
    ]
    wrong = [f"- {alarm}" for each in found.values() for alarm in each["false"]]
    return Report(not wrong, [*lines, *(["", *wrong] if wrong else [])])


GOLD_SCRIPTS = Proof(
    "gold-scripts", "No gold script is stopped that the gate would accept", _items, _check, _report
)
