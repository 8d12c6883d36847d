"""Times every tier that this machine has: cold, warm, calls, many at once, and memory.

Machines are noisy, so the tiers take turns in one process and every figure is a median unless it says
otherwise; quote the ratios. `python -m benchmarks.sandboxes --json` prints the same for machines.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
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
WAVES = 6  # of runs at once, with and without a stuck one each
NOBODY = 65_534
TRIVIAL = "1 + 1"
SERIAL = f"for i in range({CALLS}):\n    last = await ping(i)\nlast"
WAITING = "await ping(1)"
STUCK = "while True:\n    pass"
LIMITS = Limits(calls=10 * CALLS)


@dataclass
class Row:
    """One tier; the names of its fields are the columns of the table."""

    isolation: str = ""
    cold_ms: float = float("nan")
    warm_ms: float = float("nan")
    warm_p95_ms: float = float("nan")
    call_us: float = float("nan")
    execute_ms: float = float("nan")
    gated_call_us: float = float("nan")
    at_once_p95_ms: float = float("nan")
    beside_stuck_p95_ms: float = float("nan")
    memory_mib: float = float("nan")
    missing: str = ""
    """Why it cannot be had here; then there is nothing else."""


@dataclass
class Times:
    """What was measured of one tier so far: milliseconds, and microseconds for calls."""

    warm: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    executed: list[float] = field(default_factory=list)
    gated: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)


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


def bubblewrap() -> Sandbox:
    """Full CPython in a jail that is built for each run."""
    from oneturn.sandbox.cpython import CPythonSandbox

    return CPythonSandbox(way="bubblewrap")


def container() -> Sandbox:
    """A container of the engine that DOCKER_HOST names."""
    from oneturn.sandbox.container import ContainerSandbox

    return ContainerSandbox()


TIERS: dict[str, Callable[[], Sandbox]] = {
    "monty": monty,
    "monty, jailed": monty_jailed,
    "cpython": cpython,
    "cpython, pandas": cpython_pandas,
    "cpython, bubblewrap": bubblewrap,
    "container": container,
}
SLOW = {"cpython, bubblewrap": 0.2, "container": 1.0}
"""Tiers that start something for each run, and the seconds they are given to make the next one."""


def serial(sandbox: Sandbox) -> list[float]:
    """Microseconds from each call of a script to its next, each answered at once."""
    run = sandbox.open(LIMITS, 1)
    moments = []
    try:
        step: Step = run.start(script(SERIAL))
        while not isinstance(step, Finished):
            if step.calls:
                moments.append(time.perf_counter())
            step = run.resume([Answer(call.id, call.args[0]) for call in step.calls])
        assert step.error is None, step.error
        return between(moments)
    finally:
        run.close()


def between(moments: list[float]) -> list[float]:
    """Microseconds from each moment to the next."""
    return [(after - before) * 1e6 for before, after in itertools.pairwise(moments)]


def script(source: str) -> Script:
    """A script that may call `ping`."""
    return Script(source, tools=frozenset({"ping"}), called=frozenset({"ping"}))


def until_result(sandbox: Sandbox) -> float:
    """Milliseconds to open, run and have the result. An app closes the run before it hands that on."""
    began = time.perf_counter()
    run = sandbox.open(LIMITS, 1)
    try:
        step = run.start(script(TRIVIAL))
        ended = time.perf_counter()
        assert isinstance(step, Finished), step
        assert step.error is None, step.error
        return (ended - began) * 1e3
    finally:
        run.close()


def p95(times: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(times, n=20)[-1]


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
    """MiB for each run that waits for a call; NaN where the kernel tells this user nothing."""
    before, runs = proportional(), []
    try:
        for _ in range(10):
            run = sandbox.open(Limits(), 1)
            runs.append(run)
            step = run.start(script(WAITING))
            while not isinstance(step, Finished) and not step.pending:
                step = run.resume([])
        grown = proportional() - before
    finally:
        for run in runs:
            run.close()
    return grown / len(runs) if grown > 0 else float("nan")


class Bench:
    """The tiers of this machine, side by side."""

    def __init__(self, names: list[str]) -> None:
        self.rows = {name: Row() for name in names}
        self.sandboxes: dict[str, Sandbox] = {}
        self.times: dict[str, Times] = {}

    def start(self) -> None:
        """Start each of them; one that cannot be had says why in its row."""
        for name, row in self.rows.items():
            sandbox = TIERS[name]()
            try:
                row.cold_ms = until_result(sandbox)
                row.isolation = sandbox.isolation
            except (OneturnError, ImportError) as error:
                row.missing = str(error)
                sandbox.close()
            else:
                self.sandboxes[name], self.times[name] = sandbox, Times()

    def direct(self) -> None:
        """Runs and calls of the sandboxes themselves."""
        for _ in range(ROUNDS):
            for name, sandbox in self.sandboxes.items():
                time.sleep(SLOW.get(name, 0.02))  # a spare one is made between two runs, as in life
                self.times[name].warm.append(until_result(sandbox))
        for _ in range(3):
            for name, sandbox in self.sandboxes.items():
                self.times[name].calls += serial(sandbox)
        for name, sandbox in self.sandboxes.items():
            if name not in SLOW:
                self.rows[name].memory_mib = memory_of_one(sandbox)

    async def whole(self) -> None:
        """The same as an app has it, and many runs at once."""
        apps = {
            name: CodeMode(allow=["*"], sandbox=sandbox, runs=AT_ONCE + 2, limits=LIMITS)
            for name, sandbox in self.sandboxes.items()
        }
        moments: list[float] = []

        async def ping(i: int) -> int:
            """Give the number back."""
            moments.append(time.perf_counter())
            return i

        for app in apps.values():
            app.tool(effect="read")(ping)
        try:
            for _ in range(ROUNDS):
                for name, app in apps.items():
                    await asyncio.sleep(SLOW.get(name, 0.02))
                    self.times[name].executed.append(await executed(app, TRIVIAL))
            for _ in range(3):
                for name, app in apps.items():
                    moments.clear()
                    await executed(app, SERIAL)
                    self.times[name].gated += between(moments)
            for name, app in apps.items():
                if name not in SLOW:
                    await crowd(app, self.times[name])
        finally:
            for app in apps.values():
                await app.close()

    def close(self) -> None:
        """End every sandbox."""
        for sandbox in self.sandboxes.values():
            sandbox.close()

    def tell(self) -> None:
        """Put the figures into the rows."""
        for name, times in self.times.items():
            row = self.rows[name]
            row.warm_ms, row.warm_p95_ms = statistics.median(times.warm), p95(times.warm)
            row.call_us, row.execute_ms = statistics.median(times.calls), statistics.median(times.executed)
            row.gated_call_us = statistics.median(times.gated)
            if times.alone:
                row.at_once_p95_ms, row.beside_stuck_p95_ms = p95(times.alone), p95(times.beside)


async def executed(app: CodeMode, code: str) -> float:
    """Milliseconds of a whole run."""
    began = time.perf_counter()
    outcome = await app.execute(code)
    assert outcome.ok, outcome.error
    return (time.perf_counter() - began) * 1e3


async def crowd(app: CodeMode, times: Times) -> None:
    """Waves of runs at once, in turn with and without one that never ends."""
    await asyncio.gather(*[executed(app, TRIVIAL) for _ in range(AT_ONCE)])  # starts what they need
    for _ in range(WAVES):
        times.alone += await asyncio.gather(*[executed(app, TRIVIAL) for _ in range(AT_ONCE)])
        stuck = asyncio.create_task(app.execute(STUCK))
        await asyncio.sleep(0.3)
        times.beside += await asyncio.gather(*[executed(app, TRIVIAL) for _ in range(AT_ONCE)])
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)


def measured(names: list[str]) -> dict[str, Row]:
    """Every tier, in this process."""
    bench = Bench(names)
    try:
        bench.start()
        bench.direct()
        asyncio.run(bench.whole())
    finally:
        bench.close()
    bench.tell()
    return bench.rows


def show(rows: dict[str, Row]) -> None:
    """Print a table."""
    names = [name for name in Row.__dataclass_fields__ if name != "missing"]
    table = Table("tier", *(name.replace("_", " ") for name in names))
    for tier, row in rows.items():
        figures = [value for value in asdict(row).values() if isinstance(value, float)]
        table.add_row(tier, row.isolation or "-", *(f"{each:,.1f}" for each in figures))
    console = Console()
    console.print(table)
    for tier, row in rows.items():
        if row.missing:
            console.print(f"{tier}: {row.missing}")


def main() -> None:
    """Measure the tiers and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiers", nargs="*", metavar="tier", help=f"among {'; '.join(TIERS)}; all by default")
    parser.add_argument("--unprivileged", action="store_true", help="as nobody; needs root to change to it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if unknown := sorted({*given.tiers} - {*TIERS}):
        parser.error(f"no such tier: {', '.join(unknown)}")
    if given.unprivileged:
        rest = [each for each in sys.argv[1:] if each != "--unprivileged"]
        command = [sys.executable, "-m", "benchmarks.sandboxes", *rest]
        done = subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=(), check=False)
        raise SystemExit(done.returncode)
    rows = measured(given.tiers or list(TIERS))
    if given.json:
        print(json.dumps({tier: asdict(row) for tier, row in rows.items()}, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
