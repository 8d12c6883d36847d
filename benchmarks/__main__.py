"""Times the hot paths beside bare Monty and beside FastMCP's CodeMode.

Machines differ and are noisy, so the contenders take turns and every figure is a median; quote the
ratios. `python -m benchmarks --json` prints the same for machines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import pydantic_monty
from fastmcp import Client, FastMCP
from fastmcp.experimental.transforms.code_mode import CodeMode as PeerCodeMode
from fastmcp.experimental.transforms.code_mode import MontySandboxProvider
from rich.console import Console
from rich.table import Table

from oneturn import CodeMode, Limits

CALLS = 1_000
TRIVIAL = "1 + 1"
SERIAL = f"for i in range({CALLS}):\n    last = await %s\nlast"
GATHER = f"import asyncio\nlen(await asyncio.gather(*[%s for i in range({CALLS})]))"


@dataclass(frozen=True)
class Row:
    """One contender in one discipline; times in microseconds, best and median of all rounds."""

    discipline: str
    contender: str
    best: float
    median: float
    ratio: float


Contender = Callable[[], Awaitable[object]]


async def ping(i: int) -> int:
    """Give the number back."""
    return i


async def race(
    discipline: str, rounds: int, turn: int, per: int, contenders: dict[str, Contender]
) -> list[Row]:
    """Let the contenders take turns of `turn` executions; ratios are to the first one, by median.

    The first execution of a turn is not counted: it pays for what the one before did to the caches.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            await contender()
            for _ in range(turn):
                began = time.perf_counter()
                await contender()
                times[name].append((time.perf_counter() - began) / per * 1e6)
    base = statistics.median(next(iter(times.values())))
    return [
        Row(discipline, name, min(taken), statistics.median(taken), statistics.median(taken) / base)
        for name, taken in times.items()
    ]


async def scripts(rounds: int) -> list[Row]:
    """Trivial execute and tool calls."""
    app = CodeMode(allow=["*"], limits=Limits(calls=10 * CALLS))
    app.tool(effect="read")(ping)
    peer = FastMCP("peer")
    peer.tool(ping)
    peer.add_transform(
        PeerCodeMode(
            sandbox_provider=MontySandboxProvider(limits={"max_suspensions": 1_000_000}), max_tool_calls=None
        )
    )
    limits: pydantic_monty.ResourceLimits = {"max_suspensions": 1_000_000}
    lookup = {"ping": ping}
    with pydantic_monty.Monty() as pool:
        async with pydantic_monty.AsyncMonty() as async_pool, app, Client(peer) as client:

            def bare_sync() -> object:
                with pool.checkout() as session:
                    return session.feed_run(TRIVIAL)

            async def bare_in_thread() -> object:
                return await asyncio.to_thread(bare_sync)

            async def bare() -> object:
                return bare_sync()

            def bare_async(code: str) -> Contender:
                async def run() -> object:
                    async with async_pool.checkout(limits=limits) as session:
                        return await session.feed_run(code, external_lookup=lookup)

                return run

            def ours(code: str) -> Contender:
                async def run() -> object:
                    outcome = await app.execute(code)
                    assert outcome.ok, outcome.error
                    return outcome.value

                return run

            def theirs(code: str) -> Contender:
                async def run() -> object:
                    return await client.call_tool("execute", {"code": code})

                return run

            rows = await race(
                "trivial execute",
                rounds,
                30,
                1,
                {
                    "bare Monty, blocking the event loop": bare,
                    "bare Monty in a thread": bare_in_thread,
                    "bare AsyncMonty": bare_async(TRIVIAL),
                    "oneturn": ours(TRIVIAL),
                    "FastMCP CodeMode": theirs(f"return {TRIVIAL}"),
                },
            )
            for discipline, code in (("a call, one after another", SERIAL), ("a call, gathered", GATHER)):
                rows += await race(
                    discipline,
                    rounds,
                    1,
                    CALLS,
                    {
                        "bare AsyncMonty callback": bare_async(code % "ping(i)"),
                        "oneturn, whole gate": ours(code % "ping(i)"),
                        "FastMCP CodeMode": theirs(code % "call_tool('ping', {'i': i})"),
                    },
                )
    return rows


def processes(rounds: int) -> list[Row]:
    """Whole processes: importing, and the first answer of a cold command line."""
    cold = [sys.executable, "-m", "oneturn.cli", "run", "-"]
    commands: dict[str, tuple[list[str], str]] = {
        "python -c pass": ([sys.executable, "-c", "pass"], ""),
        "import oneturn": ([sys.executable, "-c", "import oneturn"], ""),
        "from oneturn import CodeMode": ([sys.executable, "-c", "from oneturn import CodeMode"], ""),
        "oneturn run, cold": (cold, TRIVIAL),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, (command, text) in commands.items():
            began = time.perf_counter()
            subprocess.run(command, input=text, text=True, check=True, capture_output=True)
            times[name].append((time.perf_counter() - began) * 1e6)
    base = statistics.median(times["python -c pass"])
    return [
        Row("a whole process", name, min(taken), statistics.median(taken), statistics.median(taken) / base)
        for name, taken in times.items()
    ]


def show(rows: list[Row]) -> None:
    """A table per discipline."""
    console = Console()
    console.print(
        f"Python {platform.python_version()}, {platform.machine()}; ratios to the first of each group"
    )
    for discipline in dict.fromkeys(row.discipline for row in rows):
        table = Table(title=discipline, title_justify="left")
        for heading in ("", "best", "median", "ratio"):
            table.add_column(heading, justify="left" if not heading else "right")
        for row in rows:
            if row.discipline == discipline:
                table.add_row(
                    row.contender, f"{row.best:,.0f} µs", f"{row.median:,.0f} µs", f"{row.ratio:.2f} ×"
                )
        console.print(table)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="turns each contender takes (default 10)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    rows = asyncio.run(scripts(options.rounds)) + processes(max(3, options.rounds // 2))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
