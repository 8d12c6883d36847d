"""Which cases are played by every `make test`; `make prove` plays all of them on every tier."""

from __future__ import annotations

from collections.abc import Sequence

from .case import Case
from .cases import CASES

# Every one of so many cases of a class, and of those that go on until a limit ends them.
_EVERY = {
    "monty": (2, 12),
    "jailed": (12, 60),
    "cpython": (3, 12),
    "unprivileged": (12, 60),
    "bubblewrap": (20, 60),
    "container": (40, 60),
    "unconfined": (8, 60),
}


def sample(tier: str) -> Sequence[Case]:
    """A part of every class. What one tier leaves out another plays: where the sample begins differs."""
    quick, slow = _EVERY[tier]
    cases = [case for case in CASES.values() if tier != "unconfined" or case.fires]
    first = list(_EVERY).index(tier)
    chosen: list[Case] = []
    for kind in sorted({(case.cls, case.slow) for case in cases}):
        alike = [case for case in cases if (case.cls, case.slow) == kind]
        step = slow if kind[1] else quick
        chosen += alike[first % min(step, len(alike)) :: step]
    return chosen
