"""A fixed sample of the proof about crashes; and random programs, taken up again from every event."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import pytest
from proofs.crash_host import Ended, judged
from proofs.crashes import check
from proofs.effects import Effect
from tests.journal.hosts import Host
from tests.postgres import programs

from oneturn import CodeMode, Outcome
from oneturn.errors import SandboxUnavailable
from oneturn.sandbox.cpython import CPythonSandbox
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
    if tier != "cpython":
        return
    sandbox = CPythonSandbox()
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

_HELPERS = """
import asyncio, random, time
async def chain(*makers):
    return [await make() for make in makers]
async def together(*makers):
    return await asyncio.gather(*[make() for make in makers])
async def first(*makers):
    order = []
    async def one(make):
        got = await make()
        order.append([len(order), got])
    await asyncio.gather(*[one(make) for make in makers])
    return order
async def drawn():
    return [random.random(), random.randint(0, 10**9), time.time(), time.monotonic()]
async def saved(n):
    try:
        return await save(n)
    except RuntimeError:  # nobody knows whether it was done
        return "unknown"
async def printed(n):
    got = await look(n)
    print("got", got, random.random())
    await asyncio.sleep(0.001)
    return got
"""
_PYTHON_HELPERS = """
import uuid
async def tasks(*makers):
    started = [asyncio.create_task(make()) for make in makers]
    return [await each for each in reversed(started)]
async def grouped(*makers):
    async with asyncio.TaskGroup() as group:
        started = [group.create_task(make()) for make in makers]
    return [str(uuid.uuid4()), *[each.result() for each in started]]
"""


def _program(chance: random.Random, tier: str) -> str:
    """A script of nested gathers and tasks whose value shows in which order everything came."""
    numbers = itertools.count()
    python = tier == "cpython"
    kinds = ("chain", "together", "first", *(("tasks", "grouped") if python else ()))

    def part(depth: int) -> str:
        if depth == 0 or chance.random() < 0.2:
            leaf = chance.choice(("look({n})", "saved({n})", "drawn()", "printed({n})"))
            return f"lambda: {leaf.format(n=next(numbers))}"
        inside = ", ".join(part(depth - 1) for _ in range(chance.randint(2, 3)))
        return f"lambda: {chance.choice(kinds)}({inside})"

    return f"{_HELPERS}{_PYTHON_HELPERS * python}\nmake = {part(3)}\nreturn [await make(), await drawn()]"


def _app(journal: Path, chance: random.Random, live: list[str]) -> CodeMode:
    app = CodeMode(allow="*", journal=journal, check=False)

    @app.tool(effect="read")
    async def look(n: int) -> str:
        live.append(f"look {n}")
        await asyncio.sleep(chance.choice((0, 0.001, 0.003)))
        return f"looked {n}"

    @app.tool(effect="write")
    async def save(n: int) -> str:
        live.append(f"save {n}")
        await asyncio.sleep(chance.choice((0, 0.001, 0.003)))
        return f"saved {n}"

    return app


def _calls(outcome: Outcome) -> list[tuple[int, str]]:
    return [(call.id, call.tool) for call in outcome.calls]


@pytest.mark.parametrize(
    ("tier", "seed"), [*(("monty", seed) for seed in range(4)), *(("cpython", seed) for seed in range(2))]
)
async def test_a_program_comes_to_the_same_from_every_event_of_its_record(
    tmp_path: Path, tier: str, seed: int
) -> None:
    _needs(tier)
    chance, live = random.Random(seed), []
    async with _app(tmp_path / "journal.db", chance, live) as app:
        outcome = await app.execute(_program(chance, tier), sandbox=tier)
    assert outcome.ok, outcome.error
    host = Host(tmp_path)
    rows = host.rows()
    rows = chance.sample(rows, min(len(rows), {"monty": 8, "cpython": 2}[tier]))  # each costs an app or two
    last = max(n for n, kind, _ in host.rows() if kind == "resumed")
    for n, _, _ in rows:
        copy = host.cut(n)
        written = sum(kind == "called" and body["effect"] != "read" for _, kind, body in copy.rows())
        live.clear()
        async with _app(copy.journal, chance, live) as app:
            again = await app.resume(outcome.run_id)
        assert sum(line.startswith("save") for line in live) + written == sum(
            call.tool == "save" for call in outcome.calls
        ), f"after row {n}"
        if n >= last:
            assert (again.value, again.prints, _calls(again)) == (
                outcome.value,
                outcome.prints,
                _calls(outcome),
            )
            assert live == []
        # What happened after the cut may come in another order; once it has ended, it stays as it is.
        whole = copy.after("resumed")
        live.clear()
        async with _app(whole.journal, chance, live) as app:
            once_more = await app.resume(outcome.run_id)
        assert live == []
        assert (once_more.value, once_more.prints, _calls(once_more)) == (
            again.value,
            again.prints,
            _calls(again),
        )
