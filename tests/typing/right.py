"""Checked, never run: what users write."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, assert_type

from oneturn import (
    Approval,
    Approver,
    Blob,
    CallInfo,
    CallRecord,
    CodeMode,
    Decision,
    Effect,
    Grant,
    Limits,
    Outcome,
    ScriptError,
    Tool,
    ToolError,
    current_call,
)

app = CodeMode(
    "shop",
    allow=["shop.*"],
    limits=Limits(timeout=10, calls=50),
    effects={"shop.refund": "destructive"},
    results={"shop.*": "text"},
)


@app.tool
def bare(a: int, b: str = "") -> float:
    return a + len(b)


@app.tool(namespace="shop", effect="write", timeout=5)
async def with_options(item: str) -> Blob:
    raise ToolError("sold out")


@app.tool(effect="write", idempotent=True, approval=True)
def asks_for_its_key() -> str:
    assert_type(current_call(), CallInfo)
    return current_call().idempotency_key


async def agrees(approvals: Sequence[Approval]) -> list[Decision | None]:
    bounds = {"properties": {"to": {"const": "ada"}}}
    return [
        Decision(True, "ada", grant=Grant(3, bounds)) if each.effect == "write" else None
        for each in approvals
    ]


async def approvals() -> None:
    asked: Approver = agrees
    careful = CodeMode(approve="writes", approvals={"shop.*": True}, approver=asked, journal="runs.db")
    outcome = await careful.execute("1", approver=agrees)
    assert_type(outcome.pending, tuple[Approval, ...])
    assert_type(await careful.resume(outcome.run_id), Outcome)


def keeps_the_type_of_functions() -> Callable[[str], Coroutine[Any, Any, Blob]]:
    assert_type(bare(1, b="x"), float)
    return with_options


async def outcomes() -> None:
    async with app as same:
        assert_type(same, CodeMode)
        outcome = await same.execute("1", timeout=3, allow="shop.*", caller="ada")
    assert_type(outcome, Outcome)
    assert_type(outcome.ok, bool)
    assert_type(outcome.prints, str)
    assert_type(outcome.calls, tuple[CallRecord, ...])
    assert_type(outcome.error, ScriptError | None)
    assert_type([call.effect for call in outcome.calls], list[Effect])
    if outcome.error is not None and outcome.error.position is not None:
        assert_type(outcome.error.position.line, int)
    assert_type((await app.artifact("id")).data, bytes)
    assert_type(app.tools(), Sequence[Tool])
    assert_type([match.tool for match in app.search("x").matches], list[Tool])


def without_a_loop() -> None:
    with app:
        assert_type(app.execute_sync("1"), Outcome)
