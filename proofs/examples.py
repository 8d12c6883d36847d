"""Random examples for proofs: how many make a chunk, and what is said of one that breaks a claim."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings

CHUNK = 100

calm = settings(
    max_examples=CHUNK,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
"""For a test of one chunk: it has no memory of earlier runs and no limit of time."""


def failure(test: Callable[[], None]) -> str:
    """The smallest example that breaks a claim, and how; empty when all examples keep it."""
    try:
        test()
    except Exception as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        return " ".join(f"{type(error).__name__}: {error} {notes}".split())[:2_000]
    return ""
