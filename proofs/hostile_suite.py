"""Every attack of the hostile suite on every tier; and the oracles where nothing is confined."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from .base import ROOT, Found, Proof, Report

sys.path.append(str(ROOT))
from tests.hostile.suite.cases import CASES
from tests.hostile.suite.table import VERDICTS, results
from tests.hostile.suite.tiers import TIERS

_CHUNK = 60
_OPEN = "unconfined"


def _chosen(tier: str) -> Sequence[str]:
    """What is played on a tier; where nothing is confined, only what is meant to do harm there."""
    return [case.id for case in CASES.values() if tier != _OPEN or case.fires]


def _items(seed: int) -> Sequence[str]:
    return [f"{tier}: {first}" for tier in TIERS for first in range(0, len(_chosen(tier)), _CHUNK)]


def _check(item: str, seed: int) -> Found:
    """One chunk of cases on one tier: how each ended, or why the tier is not to be had here."""
    tier, _, first = item.partition(": ")
    if why := TIERS[tier].missing():
        return {"missing": why}
    chosen = _chosen(tier)[int(first) : int(first) + _CHUNK]
    found = results(tier, [CASES[name] for name in chosen])
    ended = {
        name: [result.case.cls, result.verdict, sorted(result.fired), str(result)]
        for name, result in found.items()
    }
    return {"ended": ended}


def _report(found: dict[str, Found]) -> Report:
    lines = ["| tier | class | " + " | ".join(VERDICTS) + " |", "|---|---|" + "---|" * len(VERDICTS)]
    wrong: list[str] = []
    for tier in TIERS:
        if tier == _OPEN:
            continue
        parts = [each for item, each in found.items() if item.partition(":")[0] == tier]
        if missing := [each["missing"] for each in parts if "missing" in each]:
            lines.append(f"| {tier} | not to be had: {missing[0]} |" + " |" * len(VERDICTS))
            continue
        ended = [one for each in parts for one in each["ended"].values()]
        by_class: dict[str, Counter[str]] = {}
        for cls, verdict, _, _ in ended:
            by_class.setdefault(cls, Counter())[verdict] += 1
        for cls, counted in sorted(by_class.items()):
            row = " | ".join(f"{counted[verdict]:,}" for verdict in VERDICTS)
            lines.append(f"| {tier} | {cls} | {row} |")
        wrong += [f"- {text}" for _, verdict, _, text in ended if verdict == "BROKEN"]
    seen, silent, why = _fired(found)
    lines += [
        "",
        f"Without any confinement the oracles fired for {seen:,} of the {seen + len(silent):,} cases "
        f"that are meant to do harm there{f' (not played: {why})' if why else ''}.",
        *([""] if wrong or silent else []),
        *wrong,
        *(f"- no oracle fired for {name} where nothing is confined" for name in silent),
    ]
    return Report(not wrong and not silent, lines)


def _fired(found: dict[str, Found]) -> tuple[int, list[str], str]:
    """Where nothing is confined: cases an oracle fired for, those it did not, and why none was played."""
    parts = [each for item, each in found.items() if item.partition(":")[0] == _OPEN]
    if missing := [each["missing"] for each in parts if "missing" in each]:
        return 0, [], missing[0]
    fired = {name: set(one[2]) for each in parts for name, one in each["ended"].items()}
    silent = [name for name, oracles in fired.items() if not CASES[name].fires & oracles]
    return len(fired) - len(silent), silent, ""


HOSTILE_SUITE = Proof(
    "hostile-suite",
    "No attack of the hostile suite works on any tier",
    _items,
    _check,
    _report,
)
