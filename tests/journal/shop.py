"""A host whose tools need approval, and what people do about the calls that wait there."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.journal.hosts import Host

from oneturn import CodeMode, Decision, Outcome
from oneturn.errors import SandboxUnavailable
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.writer import Journal
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.testing.steps import script
from oneturn.types import Limits

GATHERED = """
import asyncio
got = await asyncio.gather(wipe(1), wipe(2), wipe(3), return_exceptions=True)
[str(each) for each in got]
"""


class Shop(Host):
    """Its tool `wipe` is destructive."""

    def app(self, **options: Any) -> CodeMode:
        app = super().app(**options)

        @app.tool
        async def wipe(n: int, note: str = "") -> str:
            self.do(f"wipe {n}")
            return f"wiped {n}{note}"

        return app

    def wiped(self) -> list[int]:
        """What was wiped, in order."""
        return [int(line.split()[1]) for line in self.done() if line.startswith("wipe")]

    def people(self) -> contextlib.closing[Journal]:
        """The journal as an approver has it: no app, no tools."""
        return contextlib.closing(Journal(SqliteStore(self.journal)))

    def decide(self, outcome: Outcome, which: int, *args: Any, **kwargs: Any) -> None:
        """Decide about one of the calls an outcome waits for; `Decision(*args, **kwargs)`."""
        with self.people() as journal:
            journal.approvals.decide(outcome.pending[which].id, Decision(*args, **kwargs))

    def statuses(self) -> list[str]:
        """How the approvals stand, in the order of the calls."""
        with self.people() as journal:
            filed = sorted(journal.approvals.list(), key=lambda each: each.approval.call_id)
        return [each.status for each in filed]

    async def to_end(self, run: str, **options: Any) -> Outcome:
        """Go on with a run, approving everything it asks for."""
        outcome = await self.resume(run, **options)
        while outcome.status == "waiting":
            for which in range(len(outcome.pending)):
                self.decide(outcome, which, True, "alice")
            outcome = await self.resume(run, **options)
        return outcome


@contextlib.contextmanager
def crashes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Shop]]:
    """Shops as they would be, had the host died right after each change of the journal."""
    left: list[Shop] = []
    one_at_a_time = threading.Lock()

    def copy() -> None:
        with one_at_a_time:
            copy_now()

    def copy_now() -> None:
        folder = shop.folder / f"crash-{len(left)}"
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(shop.folder / "done", folder / "done")
        one = Shop(folder)
        with (
            contextlib.closing(sqlite3.connect(shop.journal)) as here,
            contextlib.closing(sqlite3.connect(one.journal)) as there,
        ):
            here.backup(there)
            there.execute("update oneturn_runs set owner='', until=0")
            there.commit()
        left.append(one)

    with monkeypatch.context() as patched:
        for name in ("append", "decide", "use"):
            patched.setattr(SqliteStore, name, _and_then(getattr(SqliteStore, name), copy))
        yield left


def _and_then(done: Callable[..., Any], also: Callable[[], None]) -> Callable[..., Any]:
    def both(*args: Any, **kwargs: Any) -> Any:
        result = done(*args, **kwargs)
        also()
        return result

    return both


def needs_python() -> None:
    """Skip where full Python cannot be confined."""
    sandbox = CPythonSandbox()
    try:
        sandbox.open(Limits(), 1).start(script("1"))
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    finally:
        sandbox.close()


def plain(folder: Path, *words: str) -> list[str]:
    """Those of the words that are found in a file of the folder, whatever file it is."""
    data = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    return [word for word in words if word.encode() in data]


def in_an_hour(monkeypatch: pytest.MonkeyPatch, hours: float = 1.0) -> None:
    """Let the wall clock be later."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + hours * 3600)
