"""Each oracle of the hostile suite fires for what it is there to see, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.hostile.suite.case import PWNED, Oracle
from tests.hostile.suite.oracles import GUEST_MEMORY, HOST_MEMORY, LIMITS, ORACLES, Evidence, allowance, fired

from oneturn import CallRecord, Outcome, ScriptError

CANARY = "canary_of_this_test"


def outcome(**parts: Any) -> Outcome:
    return Outcome("run_1", "succeeded", **parts)


def call(status: str = "ok", **parts: Any) -> CallRecord:
    return CallRecord(1, "echo", "read", status, 0.1, **parts)  # type: ignore[arg-type]


LONG = "x" * 20_000
SIGHTS: list[tuple[Oracle, dict[str, Any]]] = [
    ("secret", {"outcomes": [outcome(value={"a": [CANARY]})]}),
    ("secret", {"outcomes": [outcome(prints=CANARY)]}),
    ("secret", {"outcomes": [outcome(error=ScriptError("ValueError", f"no {CANARY}"))]}),
    ("secret", {"arrived": [("echo", CANARY)], "outcomes": [outcome(calls=(call(),))]}),
    ("said so", {"outcomes": [outcome(value=f"{PWNED}: root")]}),
    ("connection", {"touched": ["abstract"]}),
    ("file", {"made": ["/tmp/x"]}),
    ("process", {"left": "3 processes more"}),
    ("victim", {"victim": False}),
    ("host memory", {"host_memory": HOST_MEMORY + 1_000_000}),
    ("guest memory", {"guest_memory": GUEST_MEMORY + 1_000_000}),
    ("event loop", {"gap": allowance() + 60}),
    ("deadline", {"overrun": allowance() + 60}),
    ("hidden tool", {"hidden": 1}),
    ("record", {"arrived": [("echo", 1)]}),
    ("record", {"outcomes": [outcome(calls=(call(),))]}),
    ("record", {"arrived": [("echo", 1)], "outcomes": [outcome(calls=(call("refused"),))]}),
    ("next run", {"after": "it came to None"}),
    ("exception", {"problem": "KeyError: 1"}),
    ("exception", {"outcomes": [outcome(error=ScriptError("InternalError", "x"))]}),
    ("outcome size", {"outcomes": [outcome(prints=LONG)]}),
    ("outcome size", {"outcomes": [outcome(error=ScriptError("ValueError", LONG))]}),
    (
        "outcome size",
        {"outcomes": [outcome(calls=(call("refused"),) * 3 * LIMITS.calls + (call("refused"),))]},
    ),
    ("outcome size", {"outcomes": [outcome(calls=(call("refused", error=LONG),))]}),
    ("descriptors", {"descriptors": 20}),
]


@pytest.mark.parametrize(("oracle", "sight"), SIGHTS, ids=lambda part: part if isinstance(part, str) else "")
def test_an_oracle_sees_what_it_is_there_for_and_only_that(oracle: Oracle, sight: dict[str, Any]) -> None:
    assert list(fired(Evidence(CANARY, **sight))) == [oracle]


def test_every_oracle_is_shown_to_see() -> None:
    assert {oracle for oracle, _ in SIGHTS} == set(ORACLES)


def test_nothing_fires_for_a_run_that_is_well() -> None:
    well = outcome(value=[1], prints="hello\n", calls=(call(), call("refused", error="not allowed")))
    assert fired(Evidence(CANARY, ["await echo(1)"], [well], arrived=[("echo", 1)])) == {}
