"""The leaderboard's multi-turn tasks, each as one script: its services end up as after direct calls.

The Berkeley Function Calling Leaderboard comes with the services its tasks are about, such as a file
system or a trading desk, and with the right calls for each task. Here the methods of those services are
the tools, and the right calls of all turns one script.
"""

from __future__ import annotations

import ast
import asyncio
import copy
import datetime as dt
import functools
import importlib
import inspect
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.check import DOCUMENTS
from benchmarks.data import bfcl, folder

from oneturn import CodeMode, Outcome
from oneturn.sandbox.base import Sandbox
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.monty import MontySandbox

from .base import Found, Proof, Report

CATEGORY = "multi_turn_base"
SANDBOXES: Mapping[str, Callable[[], Sandbox]] = {
    "monty": lambda: MontySandbox(workers=1),
    "cpython": CPythonSandbox,
}
_SLICE = 20  # tasks that share one app
_SOURCE = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
_CLOCK = "_last_modified"  # of a file: the time of day, which no two runs share


@dataclass(frozen=True)
class Task:
    """One task: the services in it, how they start, and the right calls as source."""

    id: str
    services: tuple[str, ...]
    start: Mapping[str, Any]
    calls: tuple[str, ...]


@functools.cache
def tasks() -> Mapping[str, Task]:
    """Every task of the category, by its id."""
    name = f"BFCL_v4_{CATEGORY}.json"
    answers = map(json.loads, (bfcl() / "possible_answer" / name).read_text().splitlines())
    right = {each["id"]: tuple(call for turn in each["ground_truth"] for call in turn) for each in answers}
    return {
        each["id"]: Task(
            each["id"], tuple(each["involved_classes"]), each["initial_config"], right[each["id"]]
        )
        for each in map(json.loads, (bfcl() / name).read_text().splitlines())
    }


def services(task: Task) -> dict[str, Any]:
    """The task's services as it starts."""
    apis = str(folder("bfcl-apis"))
    if apis not in sys.path:
        sys.path.append(apis)
    made: dict[str, Any] = {}
    for name in task.services:
        service = getattr(importlib.import_module(f"{_SOURCE}.{DOCUMENTS[name]}"), name)()
        if hasattr(service, "_load_scenario"):
            service._load_scenario(copy.deepcopy(task.start.get(name, {})))
        made[name.lower()] = service
    return made


def offered(made: Mapping[str, Any]) -> dict[str, tuple[str, Callable[..., Any]]]:
    """What scripts may call: each public method with its service, by its name."""
    found = {}
    for service, each in made.items():
        for name, method in inspect.getmembers(each, inspect.ismethod):
            if not name.startswith("_"):
                found[name] = (service, _MENDED.get(name, lambda same: same)(method))
    return found


def _logarithm(method: Callable[..., Any]) -> Callable[..., Any]:
    """Its result is a number of a mathematics library, which is no data; a tool gives a float."""

    @functools.wraps(method)
    def logarithm(value: float, base: float, precision: int) -> dict[str, Any]:
        got = method(value, base, precision)
        return {key: each if key == "error" else float(each) for key, each in got.items()}

    return logarithm


def _close_ticket(method: Callable[..., Any]) -> Callable[..., Any]:
    """It says that ids are whole numbers, and one task's tickets have ids that are text."""

    def close_ticket(ticket_id: int | str) -> dict[str, str]:
        return method(ticket_id)

    return close_ticket


_MENDED = {"logarithm": _logarithm, "close_ticket": _close_ticket}


def directly(task: Task) -> tuple[dict[str, Any], list[Any]]:
    """The services after the right calls, made as Python calls; and what each call gave."""
    made = services(task)
    names = {name: method for name, (_, method) in offered(made).items()}
    return made, [copy.deepcopy(eval(call, dict(names))) for call in task.calls]  # noqa: S307  our own data


def script(task: Task) -> str:
    """All right calls of a task as one script, whose value is what each of them gave."""
    own = offered(services(task))
    lines = ["got = []"]
    for source in task.calls:
        call = ast.parse(source, mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        lines.append(f"got.append(await {task.id}.{own[call.func.id][0]}.{source})")
    return "\n".join([*lines, "got"])


def through(some: Sequence[Task], sandbox: Sandbox) -> list[tuple[dict[str, Any], Outcome]]:
    """For each task its services after its script called them as tools, and the script's outcome."""
    app = CodeMode(allow=["*"], sandbox=sandbox)
    made = [services(task) for task in some]
    for task, each in zip(some, made, strict=True):
        for service, method in offered(each).values():
            app.tool(namespace=f"{task.id}.{service}", effect="write")(method)

    async def execute() -> list[Outcome]:
        async with app:
            return [await app.execute(script(task)) for task in some]

    return list(zip(made, asyncio.run(execute()), strict=True))


def state(value: Any, seen: dict[int, int] | None = None) -> Any:
    """Everything a service holds, as data: also its random numbers to come, but not when a file changed."""
    seen = {} if seen is None else seen
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, random.Random):
        return repr(value.getstate())
    if id(value) in seen:
        return {"again": seen[id(value)]}
    seen[id(value)] = len(seen)
    if isinstance(value, dict):
        return {f"{type(key).__name__} {key}": state(each, seen) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [type(value).__name__, *(state(each, seen) for each in value)]
    held = {key: state(each, seen) for key, each in vars(value).items() if key != _CLOCK}
    return {"is": type(value).__name__, **held}


def _items(seed: int) -> Sequence[str]:
    """`sandbox first-task`, for every slice of the tasks in each sandbox."""
    return [f"{tier} {first}" for tier in SANDBOXES for first in range(0, len(tasks()), _SLICE)]


def check(tier: str, some: Sequence[Task]) -> list[Found]:
    """Some tasks in one sandbox: whether their services and results are those of direct calls."""
    found = []
    for task, (made, outcome) in zip(some, through(some, SANDBOXES[tier]()), strict=True):
        expected, results = directly(task)
        found.append(
            {
                "task": task.id,
                "calls": len(task.calls),
                "made": sum(record.status == "ok" for record in outcome.calls),
                "state": state(made) == state(expected),
                "results": outcome.value == results,
                "error": "" if outcome.error is None else f"{outcome.error.kind}: {outcome.error.message}",
            }
        )
    return found


def _check(item: str, seed: int) -> Found:
    tier, first = item.split()
    return {"found": check(tier, list(tasks().values())[int(first) : int(first) + _SLICE])}


def _report(found: dict[str, Found]) -> Report:
    columns = ("tasks", "calls", "made", "state", "results")
    lines = [
        "| sandbox | tasks | right calls | calls made | tasks whose services end as after direct calls "
        "| tasks whose every result is that of the direct call |",
        f"|---|{'---|' * len(columns)}",
    ]
    for tier in SANDBOXES:
        ours = [each for item, one in found.items() if item.split()[0] == tier for each in one["found"]]
        sums = {"tasks": len(ours), **{each: sum(one[each] for one in ours) for each in columns[1:]}}
        lines.append(f"| {tier} | " + " | ".join(f"{sums[column]:,}" for column in columns) + " |")
    lines += [
        "",
        "All the right calls of a task, of all its turns, are one script; the tools are the methods of the "
        "leaderboard's own services. Compared is everything the services hold, the state of their random "
        "numbers too, but the time a file was changed. Two methods are offered with a better signature than "
        "their own: `logarithm` gives a float, and `close_ticket` takes the text that is an id in one task.",
    ]
    wrong = [
        f"- {item.split()[0]}, {each['task']}: {each['error'] or 'it ends in another state'}"
        for item, one in found.items()
        for each in one["found"]
        if not (each["state"] and each["results"] and each["made"] == each["calls"])
    ]
    return Report(not wrong, [*lines, *(["", *wrong] if wrong else [])])


END_STATES = Proof(
    "end-states",
    "Scripts leave the leaderboard's services as direct calls do, in Monty and in CPython",
    _items,
    _check,
    _report,
)
