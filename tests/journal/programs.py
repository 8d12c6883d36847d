"""Random programs that are taken up again from events of their record, wherever scripts run."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.journal.hosts import Host

from oneturn import CodeMode, Outcome

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


def _program(chance: random.Random, *, python: bool) -> str:
    """A script of nested gathers and tasks whose value shows in which order everything came."""
    numbers = itertools.count()
    kinds = ("chain", "together", "first", *(("tasks", "grouped") if python else ()))

    def part(depth: int) -> str:
        if depth == 0 or chance.random() < 0.2:
            leaf = chance.choice(("look({n})", "saved({n})", "drawn()", "printed({n})"))
            return f"lambda: {leaf.format(n=next(numbers))}"
        inside = ", ".join(part(depth - 1) for _ in range(chance.randint(2, 3)))
        return f"lambda: {chance.choice(kinds)}({inside})"

    return f"{_HELPERS}{_PYTHON_HELPERS * python}\nmake = {part(3)}\nreturn [await make(), await drawn()]"


def _app(journal: Path, chance: random.Random, live: list[str], place: dict[str, Any]) -> CodeMode:
    app = CodeMode(allow="*", journal=journal, check=False, **place)

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


async def comes_to_the_same(
    folder: Path, place: Callable[[], dict[str, Any]], *, seed: int, most: int, python: bool
) -> None:
    """Hold one program to the same value, prints and calls from each of some events of its record.

    Args:
        folder: For the journals.
        place: Where its script runs, as options of an app, which closes it.
        seed: What the program and its tools' haste are made from.
        most: Events.
        python: Whether the program needs full Python.
    """
    chance, live = random.Random(seed), []
    async with _app(folder / "journal.db", chance, live, place()) as app:
        outcome = await app.execute(_program(chance, python=python))
    assert outcome.ok, outcome.error
    host = Host(folder)
    rows = host.rows()
    rows = chance.sample(rows, min(len(rows), most))
    last = max(n for n, kind, _ in host.rows() if kind == "resumed")
    for n, _, _ in rows:
        copy = host.cut(n)
        written = sum(kind == "called" and body["effect"] != "read" for _, kind, body in copy.rows())
        live.clear()
        async with _app(copy.journal, chance, live, place()) as app:
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
        async with _app(whole.journal, chance, live, place()) as app:
            once_more = await app.resume(outcome.run_id)
        assert live == []
        assert (once_more.value, once_more.prints, _calls(once_more)) == (
            again.value,
            again.prints,
            _calls(again),
        )
