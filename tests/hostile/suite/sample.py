"""Which cases are played by every `make test`; `make prove` plays all of them on every tier."""

from __future__ import annotations

from collections.abc import Sequence

from .case import Case
from .cases import CASES

# Every one of so many cases of a class; and of those that go on until a limit ends them, or none of these.
_EVERY: dict[str, tuple[int, int | None]] = {
    "monty": (3, 15),
    "jailed": (20, 60),
    "cpython": (5, 15),
    "unprivileged": (18, None),
    "bubblewrap": (30, None),
    "container": (100, None),
    "unconfined": (24, None),
}


def sample(tier: str) -> Sequence[Case]:
    """A part of every class. What one tier leaves out another plays: where the sample begins differs."""
    quick, slow = _EVERY[tier]
    cases = [
        case
        for case in CASES.values()
        if (tier != "unconfined" or case.fires) and not (case.slow and slow is None)
    ]
    first = list(_EVERY).index(tier)
    chosen: list[Case] = []
    for kind in sorted({(case.cls, case.slow) for case in cases}):
        alike = [case for case in cases if (case.cls, case.slow) == kind]
        step = slow if kind[1] and slow else quick
        chosen += alike[first % min(step, len(alike)) :: step]
    return chosen
