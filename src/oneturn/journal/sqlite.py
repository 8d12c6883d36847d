"""The store in a SQLite file, which several processes may use at once.

A commit is on disk when it returns (write-ahead log, `synchronous=FULL`). What SQLite says when it
fails becomes a JournalError that says what to do, and the store can be used again after it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import JournalCorrupt, JournalError
from .sql import SCHEMA, Cursor, SqlStore, tables

T = TypeVar("T")

_APPLICATION = 0x6F6E6554  # "oneT": how a file of ours is known from any other
_TYPES = {
    "real": "REAL",
    "integer": "INTEGER",
    "blob": "BLOB",
    "tree": " STRICT, WITHOUT ROWID",
    "heap": " STRICT",
}

_ADVICE = {
    sqlite3.SQLITE_FULL: "its disk is full. Free some space; the journal goes on by itself",
    sqlite3.SQLITE_BUSY: "another process kept it locked. Try again, and see which process holds it",
    sqlite3.SQLITE_LOCKED: "another part of this process kept it locked. Try again",
    sqlite3.SQLITE_READONLY: "it may only be read. Make the file and its folder writable for this user",
    sqlite3.SQLITE_PERM: "this user may not use it. Look at its owner and permissions",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened. See that its folder exists and is this user's",
    sqlite3.SQLITE_NOTADB: "it is not a journal. Name another file",
    sqlite3.SQLITE_IOERR: "its disk failed or is full. Look at the disk before you go on",
    sqlite3.SQLITE_TOOBIG: "a value is larger than SQLite takes. Lower the limit of one value",
    sqlite3.SQLITE_CONSTRAINT: "it holds something else in that place. Read the run again",
    sqlite3.SQLITE_CORRUPT: "it is damaged. Put back a copy; `oneturn journal verify` says what is lost",
}


class SqliteStore(SqlStore):
    """A journal in one file, made readable for its owner only, in a folder made likewise.

    Args:
        path: The file, or `:memory:` for one that goes with the store.
        wait: Seconds to wait for another process's transaction, 5 by default.

    Raises:
        JournalError: The file cannot be used: not a journal, made by a newer oneturn, locked, read-only.
    """

    def __init__(self, path: str | Path, *, wait: float = 5.0) -> None:
        self._path = str(path)
        self._wait = wait
        self._lock = threading.RLock()
        self._closed = False
        if self._path != ":memory:":
            _make_private(Path(self._path))
        with self._explained():
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        """Connect and prepare. Two that make the same file at once may meet: then once more."""
        deadline = time.monotonic() + self._wait
        while True:
            connection = sqlite3.connect(
                self._path, timeout=self._wait, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException as error:
                connection.close()
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._check_version(connection)
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode not in ("wal", "memory"):
            raise JournalError(
                f"The journal {self._path} is on a file system without the locks SQLite needs. "
                "Keep it on a local disk, or use Postgres."
            )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("BEGIN IMMEDIATE")
        if self._check_version(connection) == 0:
            for statement in tables(**_TYPES):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
            connection.execute(f"PRAGMA user_version={SCHEMA}")
        connection.execute("COMMIT")

    def _check_version(self, connection: sqlite3.Connection) -> int:
        """The version of the tables; 0 when there are none yet."""
        # Looked at first: another process may make the tables meanwhile, and says whose they are with them.
        empty = connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        application: int = connection.execute("PRAGMA application_id").fetchone()[0]
        if application != _APPLICATION and not empty:
            raise JournalError(
                f"{self._path} is a database of another program. Name another file for the journal."
            )
        if version not in (0, SCHEMA):
            raise JournalError(
                f"The journal {self._path} was made by another version of oneturn (tables {version}, "
                f"this one knows {SCHEMA}). Use that version, or name another file."
            )
        return version

    def _transact(self, work: Callable[[Cursor], T]) -> T:
        with self._lock, self._explained():
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                result = work(cursor)
                cursor.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, and cannot always say so.
                with contextlib.suppress(sqlite3.Error):
                    cursor.execute("ROLLBACK")
                raise
            return result

    def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._lock, self._explained():
            return self._connection.execute(sql, parameters).fetchall()

    def _scrub(self) -> None:
        """Fold in the write-ahead log, where old pages stand; another's read puts that off, so no waiting."""
        with self._lock, self._explained():
            self._connection.execute("PRAGMA busy_timeout=0")
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout={round(self._wait * 1000)}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        if self._closed:
            raise JournalError("The journal is closed. Open a new one.")
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
            code = _primary(error)
            advice = _ADVICE.get(code, f"SQLite says: {error}")
            kind = JournalCorrupt if code == sqlite3.SQLITE_CORRUPT else JournalError
            raise kind(f"The journal {self._path} could not be used: {advice}.") from error

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._connection.close()
                self._closed = True


def _primary(error: BaseException) -> int:
    """The error without its fine print, which is in the higher bytes; -1 when it is none of SQLite's."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalError(
            f"The journal {path} cannot be made or written: {error.strerror}. "
            "Look at the permissions of its folder, or name another file."
        ) from error
