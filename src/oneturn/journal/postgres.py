"""The store in Postgres, which processes on several hosts may use at once. Needs the extra `postgres`.

A connection that breaks is made again. Whether a transaction took effect that was under way is found out
by running it once more, see `oneturn.journal.sql`.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ..errors import ConfigError, JournalError
from .sql import SCHEMA, Cursor, SqlStore, tables

try:
    import psycopg
    from psycopg import errors
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
except ImportError:
    raise ConfigError("The journal in Postgres needs psycopg: pip install 'oneturn[postgres]'.") from None

T = TypeVar("T")

_TYPES = {"real": "DOUBLE PRECISION", "integer": "BIGINT", "blob": "BYTEA", "tree": "", "heap": ""}
_LOCK = 0x6F6E65547572  # the advisory lock that whoever makes the tables holds
_PAUSE = 0.05  # seconds before the first attempt to connect again; twice as many before each further one

_ADVICE: tuple[tuple[type[psycopg.Error] | tuple[type[psycopg.Error], ...], str], ...] = (
    (errors.DiskFull, "its disk is full. Free some space; the journal goes on by itself"),
    (
        (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled),
        "another process kept a part of it locked. Try again, and see which process holds it",
    ),
    (errors.ReadOnlySqlTransaction, "it may only be read. Name the primary server"),
    (
        errors.InsufficientPrivilege,
        "this user may not use it. Let the user make and write tables in its schema",
    ),
    (errors.UndefinedTable, "its tables are gone. Put back a copy, or name an empty database"),
    (errors.IntegrityError, "it holds something else in that place. Read the run again"),
)


class PostgresStore(SqlStore):
    """A journal in a Postgres database, in tables whose names begin with `oneturn_`.

    It keeps one connection, to the server or a pooler that pools sessions (not transactions).

    Args:
        dsn: The database, as libpq takes it: `postgresql://user@host/name`.
        wait: Seconds to wait for another's transaction, and for a server that went away, 5 by default.

    Raises:
        ConfigError: The DSN is none.
        JournalError: The database cannot be reached or used, or was made by a newer oneturn.
    """

    def __init__(self, dsn: str, *, wait: float = 5.0) -> None:
        self._wait = wait
        self._lock = threading.RLock()
        self._closed = self._was_there = False
        self._connection: psycopg.Connection[Any] | None = None
        try:
            given = conninfo_to_dict(dsn)
        except psycopg.Error:  # what it says may show the password
            raise ConfigError(
                "That is no address of a Postgres database: postgresql://user@host/name."
            ) from None
        # Without these a server that vanished would be waited for until the kernel gives up, much later.
        patience = {"connect_timeout": max(2, round(wait)), "tcp_user_timeout": round(wait * 1000)}
        self._dsn = make_conninfo(
            dsn, **{name: value for name, value in patience.items() if name not in given}
        )
        self._name = f"{given.get('dbname') or 'of this user'} on {given.get('host') or 'this host'}"
        self._transact(_make_tables)

    def _transact(self, work: Callable[[Cursor], T]) -> T:
        def attempt(connection: psycopg.Connection[Any]) -> T:
            with connection.transaction():
                return work(_Marked(connection.cursor(binary=True)))

        return self._persist(attempt)

    def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        def attempt(connection: psycopg.Connection[Any]) -> list[Any]:
            cursor = _Marked(connection.cursor(binary=True))
            cursor.execute(sql, parameters)
            return cursor.fetchall()

        return self._persist(attempt)

    def _persist(self, attempt: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Make the attempt, and make it again over a new connection while the old one was lost."""
        with self._lock, self._explained():
            deadline, pause = time.monotonic() + self._wait, _PAUSE
            while True:
                try:
                    if self._connection is None:
                        self._connection = self._connect()
                        self._was_there = True
                    return attempt(self._connection)
                except (psycopg.OperationalError, psycopg.InterfaceError):
                    if not self._is_lost():
                        raise
                    self._drop()
                    if time.monotonic() + pause > deadline:
                        raise
                time.sleep(pause)
                pause *= 2

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._dsn, autocommit=True)
        try:
            connection.execute(
                "SELECT set_config('lock_timeout', %s, false),"
                " set_config('default_transaction_isolation', 'read committed', false)",
                (f"{round(self._wait * 1000)}ms",),
            )
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_lost(self) -> bool:
        """Whether a server that was there went away, so that a new connection may help."""
        if self._connection is None:
            return self._was_there
        return self._connection.closed or self._connection.broken

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        if self._closed:
            raise JournalError("The journal is closed. Open a new one.")
        try:
            yield
        except (psycopg.Error, UnicodeEncodeError) as error:
            said = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
            if isinstance(error, errors.ReadOnlySqlTransaction):
                self._drop()  # after a failover the same address leads to another server
            if not said and self._connection is None:
                said = (
                    f"it cannot be reached ({_first_line(error)}). What was being written may or may not be "
                    "there; look at the server, then try again"
                )
            said = said or f"Postgres says: {_first_line(error)}"
            raise JournalError(f"The journal {self._name} could not be used: {said}.") from error

    def close(self) -> None:
        with self._lock:
            self._drop()
            self._closed = True


class _Marked:
    """A cursor that takes question marks, as the shared statements have them."""

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor
        self.fetchone = cursor.fetchone
        self.fetchall = cursor.fetchall

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> None:
        self._cursor.execute(_percent(sql), parameters)

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> None:
        self._cursor.executemany(_percent(sql), parameters)


@functools.cache
def _percent(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


def _make_tables(cursor: Cursor) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
    cursor.execute("SELECT to_regclass('oneturn_schema') IS NOT NULL")
    if not cursor.fetchone()[0]:
        for statement in tables(**_TYPES):
            cursor.execute(statement)
        cursor.execute("CREATE TABLE oneturn_schema (version BIGINT NOT NULL)")
        cursor.execute("INSERT INTO oneturn_schema (version) VALUES (?)", (SCHEMA,))
    cursor.execute("SELECT max(version) FROM oneturn_schema")
    version = cursor.fetchone()[0]
    if version != SCHEMA:
        raise JournalError(
            f"The journal in this database was made by another version of oneturn (tables {version}, "
            f"this one knows {SCHEMA}). Use that version, or name another database."
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
