"""Workers are killed at random moments under load, and nothing but their own runs is lost.

Several runs at once make calls through one app while a killer ends random processes of its sandbox with
SIGKILL: workers that start, compute, wait for a tool or are idle, and in full Python the process that
guests are forked from too. Every call names an id of its own, which the tool counts and gives back.
"""

from __future__ import annotations

import asyncio
import collections
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from oneturn import CodeMode, Limits, Outcome
from oneturn.sandbox.base import Sandbox
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.monty import MontySandbox

from .base import Found, Proof, Report
from .held import descendants, held, kill, leaked

KILLS = 250  # of one item
SHARES = {"monty": 5_000, "cpython": 3_000, "jailed monty": 2_000}
SANDBOXES: Mapping[str, Callable[[], Sandbox]] = {
    "monty": lambda: MontySandbox(workers=_RUNS + 2, warm=2),
    "cpython": CPythonSandbox,
    "jailed monty": lambda: MontySandbox(jailed=True, workers=_RUNS + 2, warm=2),
}
_RUNS = 6  # at once
_WARM_UP = 5  # kills before anything is counted
_PAUSE = 0.02  # seconds between kills, on average
_AT_ONCE = (1, 1, 1, 1, 2, 3)  # processes a killer may end in one go
_PATIENCE = 2.0  # seconds within which runs have to work again
_SCRIPTS = (
    "[await {tool}(id=f'{run}-{{i}}', wait={wait}) for i in range({calls})]",
    "import asyncio\nawait asyncio.gather(*[{tool}(id=f'{run}-{{i}}', wait={wait}) for i in range({calls})])",
    "got = []\nfor i in range({calls}):\n    spent = sum(range({work}))\n"
    "    got.append(await {tool}(id=f'{run}-{{i}}', wait={wait}))\ngot",
)


@dataclass
class _Load:
    """What happened: how often the tools saw each id, how runs ended, and all that is not as it should be."""

    chance: random.Random
    seen: collections.Counter[str] = field(default_factory=collections.Counter)
    ended: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    kills: int = 0
    roots: int = 0
    runs: int = 0
    slowest: float = 0.0
    over: bool = False


async def _run(app: CodeMode, load: _Load, *, after_a_kill: bool = False) -> bool:
    """One run, and whether it succeeded; an end that no run may have is remembered."""
    load.runs += 1
    run, calls = f"r{load.runs}", 1 if after_a_kill else load.chance.randint(1, 8)
    script = load.chance.choice(_SCRIPTS).format(
        tool=load.chance.choice(("load.look", "load.change")),
        run=run,
        calls=calls,
        wait=0 if after_a_kill else load.chance.choice((0, 0.001, 0.01)),
        work=load.chance.choice((10, 10_000, 100_000)),
    )
    try:
        outcome = await app.execute(script)
    except Exception as error:
        load.ended["no outcome"] += 1
        load.wrong.append(f"{run} raised {type(error).__name__}: {error}")
        return False
    kind = "succeeded" if outcome.error is None else outcome.error.kind
    load.ended[kind] += 1
    load.wrong += [f"{run}: {problem}" for problem in _problems(outcome, run, calls, load)]
    return outcome.ok


def _problems(outcome: Outcome, run: str, calls: int, load: _Load) -> list[str]:
    ids = [f"{run}-{index}" for index in range(calls)]
    seen = [load.seen.pop(each, 0) for each in ids]
    answered = sum(record.status == "ok" for record in outcome.calls)
    problems = []
    if max(seen) > 1:
        problems.append("a call reached its tool more than once")
    if not answered <= sum(seen) <= len(outcome.calls):
        problems.append(f"{sum(seen)} calls seen, {answered} of {len(outcome.calls)} recorded as answered")
    if outcome.ok:
        if outcome.value != ids:
            problems.append(f"gave {outcome.value}, not {ids}")
        if seen != [1] * calls or answered != calls:
            problems.append(f"{sum(seen)} calls seen and {answered} recorded as answered, not {calls}")
    elif outcome.error is None or outcome.error.kind != "SandboxCrashed":
        problems.append(f"ended in {outcome.error}")
    return problems


async def _keep_running(app: CodeMode, load: _Load) -> None:
    while not load.over:
        await _run(app, load)


async def _killer(app: CodeMode, load: _Load, kills: int) -> None:
    """End random processes at random moments; after each, runs have to work again soon."""
    while load.kills < kills:
        await asyncio.sleep(load.chance.expovariate(1 / _PAUSE))
        parents = descendants()
        count = min(load.chance.choice(_AT_ONCE), len(parents), kills - load.kills)
        killed = [pid for pid in load.chance.sample(sorted(parents), count) if kill(pid)]
        load.kills += len(killed)
        load.roots += sum(pid in parents.values() for pid in killed)
        began = time.monotonic()
        while not await _run(app, load, after_a_kill=True) and time.monotonic() - began < _PATIENCE:
            pass  # it took one of those that were dying
        load.slowest = max(load.slowest, time.monotonic() - began)
    load.over = True


async def _under_load(sandbox: Sandbox, load: _Load, kills: int) -> None:
    app = CodeMode(allow=["*"], sandbox=sandbox, limits=Limits(timeout=60))

    async def look(id: str, wait: float) -> str:
        load.seen[id] += 1
        await asyncio.sleep(wait)
        return id

    async def change(id: str, wait: float) -> str:
        return await look(id, wait)

    app.tool(namespace="load", effect="read")(look)
    app.tool(namespace="load", effect="write")(change)
    async with app:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_killer(app, load, kills))
            for _ in range(_RUNS):
                tasks.create_task(_keep_running(app, load))
        if load.seen:
            load.wrong.append(f"calls of no run that is known: {load.seen}")


def check(item: str, seed: int, kills: int = KILLS) -> Found:
    """Kill so many processes under load; what was lost beyond their own runs."""
    tier = item.rpartition(" ")[0]
    # What is made once for a process stays, and is no leak.
    asyncio.run(_under_load(SANDBOXES[tier](), _Load(random.Random(seed)), _WARM_UP))  # noqa: S311  to be repeated
    before = held()
    load = _Load(random.Random(f"{seed} {item}"))  # noqa: S311
    asyncio.run(_under_load(SANDBOXES[tier](), load, kills))
    return {
        "kills": load.kills,
        "roots": load.roots,
        "runs": load.runs,
        "succeeded": load.ended.pop("succeeded", 0),
        "crashed": load.ended.pop("SandboxCrashed", 0),
        "otherwise": sum(load.ended.values()),
        "wrong": load.wrong,
        "slowest": load.slowest,
        "leaked": leaked(before),
    }


def _items(seed: int) -> Sequence[str]:
    """`sandbox chunk`, with as many chunks as its share of the kills needs."""
    return [f"{tier} {chunk}" for tier, share in SHARES.items() for chunk in range(share // KILLS)]


def _report(found: dict[str, Found]) -> Report:
    columns = ("kills", "roots", "runs", "succeeded", "crashed", "otherwise")
    lines = [
        "| sandbox | kills | of processes that others came from | runs | succeeded "
        "| ended in SandboxCrashed | ended otherwise "
        f"| longest from a kill to a run that succeeded, the limit is {_PATIENCE:g} s | leaked |",
        f"|---|{'---|' * 8}",
    ]
    for tier in SHARES:
        ours = [each for item, each in found.items() if item.rpartition(" ")[0] == tier]
        sums = [sum(each[column] for each in ours) for column in columns]
        left = sum(len(each["leaked"]) for each in ours)
        slowest = max(each["slowest"] for each in ours)
        lines.append(
            f"| {tier} | " + " | ".join(f"{each:,}" for each in sums) + f" | {slowest:.2f} s | {left} |"
        )
    lines += [
        "",
        f"{_RUNS} runs at once made up to 8 calls each. A call that reached its tool twice, an answer that "
        "went to another call, a call recorded as answered that no tool saw, a run that raised, and any end "
        "but success and SandboxCrashed is wrong. Leaks are processes, descriptors, control groups, mounts "
        "and threads that were not there before the kills began. Killed was whatever process of the sandbox "
        "chance chose, also several at once.",
    ]
    wrong = [f"- {item}: {each}" for item, one in found.items() for each in (*one["wrong"], *one["leaked"])]
    late = [f"- {item}: {one['slowest']:.1f} s" for item, one in found.items() if one["slowest"] > _PATIENCE]
    return Report(not wrong and not late, [*lines, *(["", *wrong, *late] if wrong or late else [])])


WORKER_KILLS = Proof(
    "worker-kills",
    "10,000 random kills of workers under load lose nothing but their own runs, and leak nothing",
    _items,
    check,
    _report,
)
