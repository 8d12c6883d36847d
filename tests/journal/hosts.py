"""Hosts of runs for tests: an app whose tools write down what they did, records that end early, and
`python -m tests.journal.hosts FOLDER JOURNAL execute|resume WHAT`, which is a host in another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from oneturn import CodeMode, Outcome
from oneturn.errors import OneturnError
from oneturn.journal import writer
from oneturn.journal.chain import seal, start_of
from oneturn.journal.events import decode, encode
from oneturn.tools.base import current_call
from oneturn.tools.function import FunctionSource


class Idempotent(FunctionSource):
    """Functions that may be called again with the same idempotency key."""

    name = "again"

    async def list_tools(self) -> list[Any]:
        return [replace(tool, idempotent=True) for tool in self.tools]


class Host:
    """A folder with a journal, and with what tools did, one line each.

    Args:
        folder: Where both are.
        journal: Another journal than `journal.db` there.
    """

    def __init__(self, folder: Path, journal: Path | None = None) -> None:
        self.folder = folder
        self.journal = journal or folder / "journal.db"

    def done(self) -> list[str]:
        """What tools did so far, in order."""
        log = self.folder / "done"
        return log.read_text().splitlines() if log.exists() else []

    def do(self, what: str) -> None:
        with (self.folder / "done").open("a") as log:
            log.write(f"{what}\n")

    async def seen(self, name: str) -> None:
        """Wait until there is a file of this name."""
        while not (self.folder / name).exists():  # noqa: ASYNC110  another process makes it
            await asyncio.sleep(0.01)

    def app(self, **options: Any) -> CodeMode:
        """An app on this journal."""
        app = CodeMode(allow="*", journal=self.journal, **options)

        @app.tool(effect="read")
        async def look(n: int) -> int:
            self.do(f"look {n}")
            return n * 2

        @app.tool(effect="read")
        async def wait(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        @app.tool(effect="read")
        async def text(size: int) -> str:
            return "x" * size

        @app.tool(effect="read")
        async def gate() -> str:
            await self.seen("open")
            return "open"

        @app.tool(effect="read")
        async def stall() -> int:
            if not (self.folder / "stalled").exists():
                await asyncio.sleep(0.2)  # whoever is stopped while it writes locks the others out
                (self.folder / "stalled").touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            return 1

        @app.tool(effect="write")
        async def save(n: int) -> str:
            self.do(f"save {n} by {os.getpid()}")
            return f"saved {n}"

        async def put(n: int) -> str:
            self.do(f"put {n} {current_call().idempotency_key}")
            return f"put {n}"

        again = Idempotent()
        again.add(put, effect="write")
        app.add_source(again, namespace="again")
        return app

    async def run(self, code: str, *, execute: Mapping[str, Any] | None = None, **options: Any) -> Outcome:
        """Run a script in an app of its own."""
        async with self.app(**options) as app:
            return await app.execute(code, **(execute or {}))

    async def resume(self, run: str, **options: Any) -> Outcome:
        """Go on with a run in an app of its own."""
        async with self.app(**options) as app:
            return await app.resume(run)

    def rows(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Number, kind and body of every row."""
        with _opened(self.journal) as journal:
            rows = journal.execute("select n, kind, body from oneturn_rows order by n").fetchall()
        return [(n, kind, decode(body)) for n, kind, body in rows]

    def cut(self, after: int) -> Host:
        """A copy whose one run has only this many rows, as a crash would have left it."""
        copy = Host(self.folder, self.journal.with_name(f"{self.journal.stem}-{after}.db"))
        copy.journal.unlink(missing_ok=True)
        with _opened(self.journal) as here, _opened(copy.journal) as there:
            here.backup(there)
            (head,) = there.execute("select hash from oneturn_rows where n=?", (after,)).fetchone()
            there.execute("delete from oneturn_rows where n>?", (after,))
            there.execute(
                "update oneturn_runs set n=?, head=?, status='running', ended=null, owner='', until=0",
                (after, head),
            )
        return copy

    def after(self, kind: str, which: int = -1) -> Host:
        """A copy that ends with the first, second, … or last event of this kind."""
        return self.cut([n for n, each, _ in self.rows() if each == kind][which])

    def alter(self, n: int, old: bytes, new: bytes) -> None:
        """Write something else into the body of a row."""
        with _opened(self.journal) as journal:
            (body,) = journal.execute("select body from oneturn_rows where n=?", (n,)).fetchone()
            assert old in body
            journal.execute("update oneturn_rows set body=? where n=?", (body.replace(old, new), n))

    def forge(self, n: int, **changes: Any) -> None:
        """Change the body of a row and seal everything anew, as whoever can write the journal could."""
        with _opened(self.journal) as journal:
            rows = journal.execute("select run, n, kind, at, body from oneturn_rows order by n").fetchall()
            head = start_of(rows[0][0])
            for run, number, kind, at, body in rows:
                if number == n:
                    body = encode(decode(body) | changes)
                head = seal(head, run, number, kind, at, body).hash
                journal.execute("update oneturn_rows set body=?, hash=? where n=?", (body, head, number))
            journal.execute("update oneturn_runs set head=?", (head,))


@contextlib.contextmanager
def _opened(journal: Path) -> Iterator[sqlite3.Connection]:
    """The file itself, in one transaction."""
    with contextlib.closing(sqlite3.connect(journal)) as connection, connection:
        yield connection


async def _main(folder: str, journal: str, what: str, given: str) -> None:
    host = Host(Path(folder), Path(journal))
    async with host.app() as app:
        print("ready", flush=True)
        await asyncio.to_thread(input)
        try:
            outcome = await (app.execute(given) if what == "execute" else app.resume(given))
        except OneturnError as error:
            print(type(error).__name__, error, flush=True)
        else:
            print(outcome.status, outcome.value, flush=True)


if __name__ == "__main__":
    writer.LEASE = 1.0
    asyncio.run(_main(*sys.argv[1:]))
