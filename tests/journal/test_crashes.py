"""A fixed sample of the proof about crashes; and random programs, taken up again from every event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from proofs.crash_host import Ended, judged
from proofs.crashes import check
from proofs.effects import Effect
from tests.journal.programs import comes_to_the_same
from tests.postgres import programs

from oneturn.errors import SandboxUnavailable
from oneturn.sandbox.base import Sandbox
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.monty import MontySandbox
from oneturn.testing.steps import script
from oneturn.types import Limits

SAMPLE = {
    "sqlite monty 0 nested gathers": 8,
    "sqlite monty 0 chains in parallel": 8,
    "sqlite monty 0 clock": 8,
    "sqlite monty 0 large values": 6,
    "sqlite monty 0 waiting together": 6,
    "sqlite monty 0 granted": 4,
    "sqlite monty 0 retried": 6,
    "sqlite monty 0 retried, waiting": 4,
    "sqlite cpython 0 mixed": 2,
    "postgres monty 0 mixed": 6,
}


def _needs(tier: str) -> None:
    if tier == "monty":
        return
    if tier == "jailed":
        sandbox: Sandbox = MontySandbox(jailed=True)
    else:
        sandbox = CPythonSandbox(way="bubblewrap" if tier == "bubblewrap" else None)
    try:
        sandbox.open(Limits(), 1).start(script("1"))
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    finally:
        sandbox.close()


@pytest.mark.parametrize("item", SAMPLE)
def test_hosts_that_are_killed_repeat_nothing_and_lose_nothing(item: str) -> None:
    store, tier, *_ = item.split(" ")
    if store == "postgres" and programs() is None:
        pytest.skip("there is no Postgres")
    _needs(tier)
    found = check(item, 7, SAMPLE[item])
    assert found["wrong"] == []
    assert found["crashes"] >= SAMPLE[item] // 2  # a run may be over before the step it was to die at
    assert found["resumed"] > 0


def _ended(**changes: object) -> Ended:
    calls = [(0, "save", "ok"), (1, "again.put", "ok")]
    return Ended(
        **{"status": "succeeded", "value": ["saved 0", 1], "error": "", "prints": "", "calls": calls}
        | changes
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("done", "changes", "problem"),
    [
        ("s0k s0k p1q", {}, "save(0) was done 2 times"),
        ("s0k p1q p1q", {}, ""),
        ("s0k p1q p1r", {}, "put(1) was done under several keys"),
        ("p1q", {}, "effects are lost: [('save', 0)]"),
        ("s0k p1q s2k", {}, "save(2) was done, and not in the undisturbed run"),
        ("s0k p1q", {"value": ["saved 0", 2]}, "its value is"),
        ("s0k p1q", {"prints": "x"}, "it printed"),
        ("s0k p1q", {"calls": [(0, "save", "ok")]}, "its calls are"),
        ("s0k p1q", {"status": "failed", "error": "ValueError: x"}, "it failed"),
        ("p1q", {"calls": [(0, "save", "unknown"), (1, "again.put", "ok")], "value": ["unknown", 1]}, ""),
        ("s0k", {"calls": [(0, "save", "ok"), (1, "again.put", "unknown")]}, "is in doubt for no reason"),
    ],
)
def test_what_is_wrong_is_seen(done: str, changes: dict[str, object], problem: str) -> None:
    def effects(text: str) -> list[Effect]:
        tools = {"s": "save", "p": "put"}
        return [Effect("run", tools[word[0]], int(word[1]), word[2]) for word in text.split()]

    found = judged([_ended(**changes)], _ended(), effects(done), effects("s0k p1q"), {0})
    assert any(problem in each for each in found) if problem else found == [], found


# --- random programs

TIERS: dict[str, tuple[int, int]] = {
    "monty": (4, 8),
    "jailed": (1, 3),
    "cpython": (2, 2),
    "bubblewrap": (1, 2),
}
"""Programs, and rows of each record from which it goes on: each costs an app or two."""


def _place(tier: str) -> dict[str, Any]:
    """Where the scripts of a tier run, as options of an app, which closes it."""
    if tier == "bubblewrap":
        return {"sandbox": CPythonSandbox(way="bubblewrap")}
    return {"sandbox": "monty", "isolation": "jailed"} if tier == "jailed" else {"sandbox": tier}


@pytest.mark.parametrize(("tier", "seed"), [(tier, seed) for tier in TIERS for seed in range(TIERS[tier][0])])
async def test_a_program_comes_to_the_same_from_every_event_of_its_record(
    tmp_path: Path, tier: str, seed: int
) -> None:
    _needs(tier)
    python = tier in ("cpython", "bubblewrap")
    await comes_to_the_same(tmp_path, lambda: _place(tier), seed=seed, most=TIERS[tier][1], python=python)
