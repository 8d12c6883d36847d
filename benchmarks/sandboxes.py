"""Times every tier that this machine has: cold, warm, calls, many at once, and memory.

Each tier runs in a process of its own. Times are medians unless a column says otherwise; compare the
tiers of one run with one another. `python -m benchmarks.sandboxes --json` prints the same for machines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from oneturn import CodeMode, Limits
from oneturn.errors import OneturnError
from oneturn.sandbox.base import Sandbox, Script
from oneturn.types import Answer, Finished, Step

CALLS = 1_000
AT_ONCE = 50
ROUNDS = 30
NOBODY = 65_534
TRIVIAL = "1 + 1"
SERIAL = f"for i in range({CALLS}):\n    last = await ping(i)\nlast"
WAITING = "await ping(1)"
STUCK = "while True:\n    pass"


@dataclass(frozen=True)
class Row:
    """One tier. Times in milliseconds, but `call` in microseconds; memory in MiB; NaN where not measured."""

    tier: str
    isolation: str
    cold: float
    warm: float
    warm_p95: float
    call: float
    gated_call: float
    at_once_p95: float
    beside_a_stuck_one_p95: float
    memory: float


def monty() -> Sandbox:
    """Monty workers."""
    from oneturn.sandbox.monty import MontySandbox

    return MontySandbox(workers=AT_ONCE + 4)


def monty_jailed() -> Sandbox:
    """The same in the jail."""
    from oneturn.sandbox.monty import MontySandbox

    return MontySandbox(workers=AT_ONCE + 4, jailed=True)


def cpython() -> Sandbox:
    """Full CPython, standard library only."""
    from oneturn.sandbox.cpython import CPythonSandbox

    return CPythonSandbox(processes=AT_ONCE + 4)


def cpython_pandas() -> Sandbox:
    """Full CPython with pandas imported."""
    from oneturn.sandbox.cpython import CPythonSandbox

    return CPythonSandbox(imports=("pandas",), processes=AT_ONCE + 4)


def container() -> Sandbox:
    """A container of the engine that DOCKER_HOST names."""
    from oneturn.sandbox.container import ContainerSandbox

    return ContainerSandbox()


TIERS: dict[str, Callable[[], Sandbox]] = {
    "monty": monty,
    "monty, jailed": monty_jailed,
    "cpython": cpython,
    "cpython, pandas": cpython_pandas,
    "container": container,
}


def play(sandbox: Sandbox, script: Script) -> object:
    """Run a script to its end, answering each call with its first argument."""
    run = sandbox.open(Limits(calls=10 * CALLS), 1)
    try:
        step: Step = run.start(script)
        while not isinstance(step, Finished):
            asked = {call.id: Answer(call.id, call.args[0]) for call in step.calls}
            step = run.resume(list(asked.values()))
        assert step.error is None, step.error
        return step.value
    finally:
        run.close()


def script(source: str) -> Script:
    """A script that may call `ping`."""
    return Script(source, tools=frozenset({"ping"}), called=frozenset({"ping"}))


def took(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def p95(times: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(times, n=20)[-1]


async def through_the_gate(sandbox: Sandbox, wide: bool) -> tuple[float, float, float]:
    """Microseconds for a call, and the 95th percentiles of many runs, alone and beside a stuck one."""
    app = CodeMode(allow=["*"], sandbox=sandbox, runs=AT_ONCE + 2, limits=Limits(calls=10 * CALLS))

    @app.tool(effect="read")
    async def ping(i: int) -> int:
        """Give the number back."""
        return i

    async def timed() -> float:
        began = time.perf_counter()
        outcome = await app.execute(TRIVIAL)
        assert outcome.ok, outcome.error
        return (time.perf_counter() - began) * 1e3

    async with app:
        calls = []
        for _ in range(3):
            began = time.perf_counter()
            outcome = await app.execute(SERIAL)
            assert outcome.ok, outcome.error
            calls.append((time.perf_counter() - began) / CALLS * 1e6)
        if not wide:
            return statistics.median(calls), float("nan"), float("nan")
        at_once: list[list[float]] = [[], []]
        for stuck in (False, True, False, True):
            loop = asyncio.create_task(app.execute(STUCK, timeout=60.0)) if stuck else None
            await asyncio.sleep(0.5 if stuck else 0)
            for _ in range(3):
                at_once[stuck] += await asyncio.gather(*[timed() for _ in range(AT_ONCE)])
            if loop is not None:
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
        return statistics.median(calls), p95(at_once[0]), p95(at_once[1])


def descendants(pid: int) -> Iterator[int]:
    """Every process below one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    waiting = list(children.get(pid, []))
    while waiting:
        found = waiting.pop()
        yield found
        waiting += children.get(found, [])


def proportional() -> float:
    """MiB that the processes below this one take, shared pages divided among their users."""
    total = 0
    for pid in descendants(os.getpid()):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def memory_of_one(sandbox: Sandbox) -> float:
    """MiB for each run that waits for a call."""
    before, runs = proportional(), []
    for _ in range(10):
        run = sandbox.open(Limits(), 1)
        step = run.start(script(WAITING))
        while not isinstance(step, Finished) and not step.pending:
            step = run.resume([])
        runs.append(run)
    grown = proportional() - before
    for run in runs:
        run.close()
    return grown / len(runs)


def measure(tier: str) -> Row:
    """One tier, in this process."""
    wide = tier != "container"
    sandbox = TIERS[tier]()
    try:
        cold = took(lambda: play(sandbox, script(TRIVIAL)))
        warm = []
        for _ in range(ROUNDS):
            time.sleep(0.02 if wide else 0.5)  # a spare one is made between two runs, as in life
            warm.append(took(lambda: play(sandbox, script(TRIVIAL))))
        empty = min(
            took(lambda: play(sandbox, script("for i in range(1000):\n    last = i\nlast"))) for _ in "abc"
        )
        calls = [took(lambda: play(sandbox, script(SERIAL))) - empty for _ in range(3)]
        memory = memory_of_one(sandbox) if wide else float("nan")
        isolation = sandbox.isolation
    finally:
        sandbox.close()
    gated, alone, beside = asyncio.run(through_the_gate(TIERS[tier](), wide))
    per_call = statistics.median(calls) / CALLS * 1e3
    return Row(
        tier, isolation, cold, statistics.median(warm), p95(warm), per_call, gated, alone, beside, memory
    )


def measured(tier: str, unprivileged: bool) -> Row | str:
    """One tier, in a process of its own; what is missing when it cannot be had."""
    command = [sys.executable, "-m", "benchmarks.sandboxes", "--one", tier]
    user = NOBODY if unprivileged else None
    done = subprocess.run(command, capture_output=True, text=True, user=user, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it failed"])[-1]
    return Row(**json.loads(done.stdout))


def main() -> None:
    """Measure every tier and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", choices=TIERS, help="only this tier, in this process, as JSON")
    parser.add_argument("--unprivileged", action="store_true", help="as nobody; needs root to change to it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.one:
        try:
            print(json.dumps(asdict(measure(given.one))))
        except OneturnError as error:
            raise SystemExit(str(error)) from None
        return
    rows = {tier: measured(tier, given.unprivileged) for tier in TIERS}
    if given.json:
        found = {tier: asdict(row) if isinstance(row, Row) else row for tier, row in rows.items()}
        print(json.dumps(found, indent=2))
        return
    names = ("tier", "isolation", "cold ms", "warm ms", "p95", "call µs", "through the gate µs")
    table = Table(*names, f"{AT_ONCE} at once, p95 ms", "beside a stuck one", "MiB each")
    for tier, row in rows.items():
        if isinstance(row, str):
            table.add_row(tier, row)
        else:
            figures = list(asdict(row).values())[2:]
            table.add_row(tier, row.isolation, *(f"{figure:,.1f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
