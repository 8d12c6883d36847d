"""What both SQL stores share: the tables, the statements and their meaning.

A transaction may be run a second time when the connection broke while it was committed, so each is
written such that running it again after it took effect changes nothing.
"""

# ruff: noqa: S608  (what is put into a statement is a constant of this module; values are parameters)

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any, Protocol, TypeVar

from ..errors import JournalError, RunBusy, RunNotFound
from .rows import Append, ApprovalRow, ArtifactRow, CheckpointRow, Row, RunRow
from .store import FINISHED

T = TypeVar("T")

PAGE = 200  # rows read at a time: a long run never stands in memory, and no lock is held between pages

_RUN = "id, caller, status, began, ended, fence, owner, until, n, head, key, about, retries"
_ROW = "run, n, kind, at, body, hash"
_APPROVAL = "id, run, call, caller, tool, status, asked, expires, request, decision, decided, decider"
_ARTIFACT = "id, caller, run, mime, name, data, at"

_TABLES = """
CREATE TABLE oneturn_runs (id TEXT NOT NULL PRIMARY KEY, caller TEXT NOT NULL, status TEXT NOT NULL,
    began {real} NOT NULL, ended {real}, fence {integer} NOT NULL, owner TEXT NOT NULL,
    until {real} NOT NULL, n {integer} NOT NULL, head {blob} NOT NULL, key {blob} NOT NULL,
    about TEXT NOT NULL, retries TEXT NOT NULL){tree};
CREATE INDEX oneturn_runs_by_age ON oneturn_runs (began, id);
CREATE INDEX oneturn_runs_by_caller ON oneturn_runs (caller, began, id);
CREATE TABLE oneturn_rows (run TEXT NOT NULL, n {integer} NOT NULL, kind TEXT NOT NULL,
    at {real} NOT NULL, body {blob} NOT NULL, hash {blob} NOT NULL, PRIMARY KEY (run, n)){tree};
CREATE TABLE oneturn_blobs (run TEXT NOT NULL, digest {blob} NOT NULL, data {blob} NOT NULL,
    PRIMARY KEY (run, digest)){heap};
CREATE TABLE oneturn_approvals (id TEXT NOT NULL PRIMARY KEY, run TEXT NOT NULL, call {integer} NOT NULL,
    caller TEXT NOT NULL, tool TEXT NOT NULL, status TEXT NOT NULL, asked {real} NOT NULL, expires {real},
    request {blob} NOT NULL, decision {blob} NOT NULL, decided {real}, decider TEXT NOT NULL){heap};
CREATE INDEX oneturn_approvals_by_run ON oneturn_approvals (run);
CREATE INDEX oneturn_approvals_by_status ON oneturn_approvals (status, asked);
CREATE TABLE oneturn_artifacts (id TEXT NOT NULL PRIMARY KEY, caller TEXT NOT NULL, run TEXT NOT NULL,
    mime TEXT NOT NULL, name TEXT NOT NULL, data {blob} NOT NULL, at {real} NOT NULL){heap};
CREATE INDEX oneturn_artifacts_by_caller ON oneturn_artifacts (caller, at);
CREATE INDEX oneturn_artifacts_by_run ON oneturn_artifacts (run);
CREATE TABLE oneturn_checkpoints (n {integer} NOT NULL PRIMARY KEY, statement {blob} NOT NULL,
    signature {blob} NOT NULL){heap};
CREATE TABLE oneturn_gone (run TEXT NOT NULL PRIMARY KEY){tree};
"""
"""The schema, for a dialect to put its types in; `tree` and `heap` say how a table is stored."""

SCHEMA = 2
"""Version of the tables above."""


def tables(**types: str) -> list[str]:
    """The statements that make the schema, in a dialect's types."""
    return [statement for statement in _TABLES.format(**types).split(";") if statement.strip()]


_ADD_RUN = f"INSERT INTO oneturn_runs ({_RUN}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
_ADVANCE = (
    "UPDATE oneturn_runs SET status=?, ended=?, about=?, until=?, n=?, head=? WHERE id=? AND fence=? AND n=?"
)
_TOUCH = "UPDATE oneturn_runs SET status=?, ended=?, about=?, until=? WHERE id=? AND fence=?"
_ADD_ROW = f"INSERT INTO oneturn_rows ({_ROW}) VALUES (?,?,?,?,?,?)"
_ADD_BLOB = "INSERT INTO oneturn_blobs (run, digest, data) VALUES (?,?,?) ON CONFLICT DO NOTHING"
_ADD_APPROVAL = (
    f"INSERT INTO oneturn_approvals ({_APPROVAL}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
)
_TAKE = "UPDATE oneturn_runs SET owner=?, until=?, fence=? WHERE id=? AND owner=? AND until=? AND fence=?"
_TOMBSTONE = (
    "INSERT INTO oneturn_gone (run) SELECT id FROM oneturn_runs WHERE id=?"
    " AND EXISTS (SELECT 1 FROM oneturn_checkpoints) ON CONFLICT DO NOTHING"
)
_BELONGING = ("oneturn_rows", "oneturn_blobs", "oneturn_approvals", "oneturn_artifacts")


class Cursor(Protocol):
    """What the statements need of a database cursor; parameters are question marks."""

    @property
    def rowcount(self) -> int: ...
    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any: ...
    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class SqlStore:
    """Every method of `Store`, over what a database gives: a transaction, and a read."""

    def _transact(self, work: Callable[[Cursor], T]) -> T:
        """Run `work` in a durable transaction: all of it or nothing. May run it again, see above."""
        raise NotImplementedError

    def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows a SELECT gives."""
        raise NotImplementedError

    def _scrub(self) -> None:
        """Something was removed for good: leave no copy of it where the database can help it."""

    # --- runs

    def append(self, appends: Sequence[Append]) -> frozenset[str]:
        return self._transact(lambda cursor: _append(cursor, appends))

    def run(self, run: str) -> RunRow | None:
        found = self._read(f"SELECT {_RUN} FROM oneturn_runs WHERE id=?", (run,))
        return RunRow(*found[0]) if found else None

    def runs(
        self,
        *,
        caller: str | None = None,
        status: str | None = None,
        before: float | None = None,
        limit: int = 50,
    ) -> list[RunRow]:
        where, parameters = _where({"caller=?": caller, "status=?": status, "began<?": before})
        sql = f"SELECT {_RUN} FROM oneturn_runs{where} ORDER BY began DESC, id DESC LIMIT ?"
        return [RunRow(*each) for each in self._read(sql, (*parameters, limit))]

    def rows(self, run: str) -> Iterator[Row]:
        sql = f"SELECT {_ROW} FROM oneturn_rows WHERE run=? AND n>? ORDER BY n LIMIT {PAGE}"
        last = -(2**63)  # below every number, so that rows which no writer of ours made are seen too
        while page := self._read(sql, (run, last)):
            for each in page:
                yield Row(*each)
            last = page[-1][1]

    def blob(self, run: str, digest: bytes) -> bytes | None:
        found = self._read("SELECT data FROM oneturn_blobs WHERE run=? AND digest=?", (run, digest))
        return found[0][0] if found else None

    def blobs(self, run: str) -> Iterator[tuple[bytes, bytes]]:
        for (digest,) in self._read("SELECT digest FROM oneturn_blobs WHERE run=? ORDER BY digest", (run,)):
            data = self.blob(run, digest)
            if data is not None:
                yield digest, data

    def heads(self) -> Iterator[tuple[str, int, bytes]]:
        sql = f"SELECT id, n, head FROM oneturn_runs WHERE id>? ORDER BY id LIMIT {PAGE}"
        last = ""
        while page := self._read(sql, (last,)):
            yield from page
            last = page[-1][0]

    def strays(self) -> list[str]:
        sql = (
            "SELECT DISTINCT run FROM oneturn_rows"
            " WHERE NOT EXISTS (SELECT 1 FROM oneturn_runs WHERE id=run) ORDER BY run"
        )
        return [run for (run,) in self._read(sql)]

    # --- leases

    def lease(self, run: str, owner: str, until: float, *, now: float, dead: Callable[[str], bool]) -> RunRow:
        held = self.run(run)
        if held is None:
            raise _missing(run)
        if held.owner and held.until > now and not dead(held.owner):
            raise _busy(held)
        fence = held.fence + 1
        taken = False

        def take(cursor: Cursor) -> RunRow:
            nonlocal taken
            cursor.execute(_TAKE, (owner, until, fence, run, held.owner, held.until, held.fence))
            taken = taken or bool(cursor.rowcount)
            cursor.execute(f"SELECT {_RUN} FROM oneturn_runs WHERE id=?", (run,))
            found = cursor.fetchone()
            if found is None:
                raise _missing(run)
            row = RunRow(*found)
            if taken and (row.owner, row.until, row.fence) == (owner, until, fence):
                return row
            raise _busy(row)

        return self._transact(take)

    def renew(self, held: Mapping[str, int], until: float) -> None:
        values = [(until, run, fence) for run, fence in sorted(held.items())]
        if values:
            sql = "UPDATE oneturn_runs SET until=? WHERE id=? AND fence=?"
            self._transact(lambda cursor: cursor.executemany(sql, values))

    def release(self, run: str, fence: int) -> None:
        sql = "UPDATE oneturn_runs SET owner='', until=0 WHERE id=? AND fence=?"
        self._transact(lambda cursor: cursor.execute(sql, (run, fence)))

    # --- approvals

    def approvals(
        self,
        *,
        run: str | None = None,
        caller: str | None = None,
        status: str | None = None,
        limit: int = 200,
    ) -> list[ApprovalRow]:
        where, parameters = _where({"run=?": run, "caller=?": caller, "status=?": status})
        sql = f"SELECT {_APPROVAL} FROM oneturn_approvals{where} ORDER BY asked DESC, call, id LIMIT ?"
        return [ApprovalRow(*each) for each in self._read(sql, (*parameters, limit))]

    def approval(self, id: str) -> ApprovalRow | None:
        found = self._read(f"SELECT {_APPROVAL} FROM oneturn_approvals WHERE id=?", (id,))
        return ApprovalRow(*found[0]) if found else None

    def decide(self, id: str, status: str, *, by: str, decision: bytes, now: float) -> bool:
        if status not in ("approved", "denied", "expired"):
            raise ValueError(f"An approval cannot become {status!r}: say approved, denied or expired.")
        in_time = "expires<=?" if status == "expired" else "(expires IS NULL OR expires>?)"
        decided = False

        def work(cursor: Cursor) -> bool:
            nonlocal decided
            cursor.execute(
                "UPDATE oneturn_approvals SET status=?, decider=?, decision=?, decided=?"
                f" WHERE id=? AND status='pending' AND {in_time}",
                (status, by, decision, now, id, now),
            )
            if cursor.rowcount:
                decided = True
            elif decided:  # ours took effect, or another's came before it after all
                cursor.execute(
                    "SELECT status, decider, decision, decided FROM oneturn_approvals WHERE id=?", (id,)
                )
                decided = cursor.fetchone() == (status, by, decision, now)
            return decided

        return self._transact(work)

    def use(self, id: str) -> bool:
        def work(cursor: Cursor) -> bool:
            cursor.execute(
                "UPDATE oneturn_approvals SET status='used' WHERE id=? AND status='approved'", (id,)
            )
            return bool(cursor.rowcount)

        return self._transact(work)

    def drop_approval(self, id: str) -> bool:
        return bool(self._delete("DELETE FROM oneturn_approvals WHERE id=?", (id,)))

    # --- artifacts

    def put_artifact(self, artifact: ArtifactRow) -> None:
        values = (artifact.id, artifact.caller, artifact.run, artifact.mime, artifact.name, artifact.data)

        def work(cursor: Cursor) -> None:
            cursor.execute(
                f"INSERT INTO oneturn_artifacts ({_ARTIFACT}) VALUES (?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                (*values, artifact.at),
            )
            if not cursor.rowcount:
                cursor.execute(f"SELECT {_ARTIFACT} FROM oneturn_artifacts WHERE id=?", (artifact.id,))
                if cursor.fetchone() != (*values, artifact.at):
                    raise JournalError(
                        f"There is another artifact {artifact.id!r}. Give this one another id."
                    )

        self._transact(work)

    def artifact(self, id: str) -> ArtifactRow | None:
        found = self._read(f"SELECT {_ARTIFACT} FROM oneturn_artifacts WHERE id=?", (id,))
        return ArtifactRow(*found[0]) if found else None

    def artifacts(self, run: str) -> list[str]:
        return [
            id for (id,) in self._read("SELECT id FROM oneturn_artifacts WHERE run=? ORDER BY id", (run,))
        ]

    def artifact_sizes(self, caller: str) -> list[tuple[str, int]]:
        sql = "SELECT id, length(data) FROM oneturn_artifacts WHERE caller=? ORDER BY at, id"
        return self._read(sql, (caller,))

    def drop_artifact(self, id: str) -> bool:
        return bool(self._delete("DELETE FROM oneturn_artifacts WHERE id=?", (id,)))

    # --- checkpoints

    def add_checkpoint(self, checkpoint: CheckpointRow, *, gone: Sequence[str] = ()) -> None:
        values = (checkpoint.n, checkpoint.statement, checkpoint.signature)

        def work(cursor: Cursor) -> None:
            cursor.execute(
                "INSERT INTO oneturn_checkpoints (n, statement, signature) VALUES (?,?,?)"
                " ON CONFLICT DO NOTHING",
                values,
            )
            if not cursor.rowcount:
                cursor.execute(
                    "SELECT n, statement, signature FROM oneturn_checkpoints WHERE n=?", (checkpoint.n,)
                )
                if cursor.fetchone() != values:
                    raise JournalError(
                        f"Checkpoint {checkpoint.n} was made by another process at the same time. "
                        "Nothing was written; make the next one."
                    )
            if gone:
                cursor.executemany("DELETE FROM oneturn_gone WHERE run=?", [(run,) for run in gone])

        self._transact(work)

    def checkpoints(self) -> Iterator[CheckpointRow]:
        sql = "SELECT n, statement, signature FROM oneturn_checkpoints WHERE n>? ORDER BY n LIMIT 1"
        last = -(2**63)
        while page := self._read(sql, (last,)):
            yield CheckpointRow(*page[0])
            last = page[0][0]

    def gone(self) -> list[str]:
        return [run for (run,) in self._read("SELECT run FROM oneturn_gone ORDER BY run")]

    # --- removing

    def prune(self, before: float, *, statuses: Sequence[str] = FINISHED) -> list[str]:
        old = f"status IN ({','.join('?' * len(statuses))}) AND COALESCE(ended, began)<?"
        # What a run did is known from those that it retries, and theirs: they stay as long as it does.
        sql = (
            f"WITH RECURSIVE kept (id) AS (SELECT retries FROM oneturn_runs WHERE NOT ({old})"
            " UNION SELECT retries FROM oneturn_runs JOIN kept ON oneturn_runs.id=kept.id)"
            f" SELECT id FROM oneturn_runs WHERE {old} AND id NOT IN (SELECT id FROM kept)"
            f" ORDER BY began, id LIMIT {PAGE}"
        )
        removed: list[str] = []

        def work(cursor: Cursor) -> list[str]:
            cursor.execute(sql, (*statuses, before, *statuses, before))
            found = [run for (run,) in cursor.fetchall()]
            for run in found:
                _remove(cursor, run)
            return found

        while statuses and (found := self._transact(work)):
            removed += found
        if removed:
            self._scrub()
        return removed

    def forget(self, run: str) -> bool:
        removed = False

        def work(cursor: Cursor) -> None:
            nonlocal removed
            removed = _remove(cursor, run) or removed

        self._transact(work)
        if removed:
            self._scrub()
        return removed

    def drop_key(self, run: str) -> bool:
        dropped = False

        def work(cursor: Cursor) -> None:
            nonlocal dropped
            cursor.execute("UPDATE oneturn_runs SET key=?, about='{}' WHERE id=? AND key<>?", (b"", run, b""))
            if not cursor.rowcount:
                return
            dropped = True
            cursor.execute("UPDATE oneturn_approvals SET request=?, decision=? WHERE run=?", (b"", b"", run))
            cursor.execute("DELETE FROM oneturn_artifacts WHERE run=?", (run,))

        self._transact(work)
        if dropped:
            self._scrub()
        return dropped

    def _delete(self, sql: str, parameters: Sequence[Any]) -> int:
        removed = 0

        def work(cursor: Cursor) -> None:
            nonlocal removed
            cursor.execute(sql, parameters)
            removed += cursor.rowcount

        self._transact(work)
        return removed


def _append(cursor: Cursor, appends: Sequence[Append]) -> frozenset[str]:
    lost: set[str] = set()
    added: list[tuple[Any, ...]] = []
    for each in appends:
        rows = each.rows if each.run not in lost and _claim(cursor, each) else None
        if rows is not None and not _advance(cursor, each, rows):
            rows = _unwritten(cursor, each)
            if rows and not _advance(cursor, each, rows):
                rows = None
        if rows is None:
            lost.add(each.run)
            continue
        added += [(row.run, row.n, row.kind, row.at, row.body, row.hash) for row in rows]
        _add_rest(cursor, each)
    if added:
        cursor.executemany(_ADD_ROW, added)
    return frozenset(lost)


def _claim(cursor: Cursor, append: Append) -> bool:
    """Make the run if it is new; False when another has the id."""
    new = append.new
    if new is None:
        return True
    if (new.id, new.fence, new.n) != (append.run, append.fence, 0):
        raise ValueError("A new run must have the id and fence of its first append, and no rows yet.")
    cursor.execute(_ADD_RUN, astuple(new))
    if cursor.rowcount:
        return True
    cursor.execute("SELECT owner FROM oneturn_runs WHERE id=?", (new.id,))
    return bool(cursor.fetchone() == (new.owner,))


def _advance(cursor: Cursor, append: Append, rows: Sequence[Row]) -> bool:
    """Move the run's own row on; False when its fence is another or its last row is not the one before."""
    state = (append.status, append.ended, append.about, append.until)
    if rows:
        last = rows[-1]
        cursor.execute(_ADVANCE, (*state, last.n, last.hash, append.run, append.fence, rows[0].n - 1))
    else:
        cursor.execute(_TOUCH, (*state, append.run, append.fence))
    return bool(cursor.rowcount)


def _unwritten(cursor: Cursor, append: Append) -> tuple[Row, ...] | None:
    """The rows that an earlier attempt did not write; None when another had the run since.

    A hash stands for all rows before it, so the run's last one tells.
    """
    cursor.execute("SELECT fence, n, head FROM oneturn_runs WHERE id=?", (append.run,))
    found = cursor.fetchone()
    if found is None or found[0] != append.fence:
        return None
    for index, row in enumerate(append.rows):
        if (row.n, row.hash) == found[1:]:
            return append.rows[index + 1 :]
    return None


def _add_rest(cursor: Cursor, append: Append) -> None:
    if append.blobs:
        cursor.executemany(_ADD_BLOB, [(append.run, digest, data) for digest, data in append.blobs])
    for ask in append.asks:
        cursor.execute(
            _ADD_APPROVAL,
            (
                ask.id,
                ask.run,
                ask.call,
                ask.caller,
                ask.tool,
                ask.status,
                ask.asked,
                ask.expires,
                ask.request,
                ask.decision,
                ask.decided,
                ask.by,
            ),
        )


def _remove(cursor: Cursor, run: str) -> bool:
    cursor.execute(_TOMBSTONE, (run,))
    for table in _BELONGING:
        cursor.execute(f"DELETE FROM {table} WHERE run=?", (run,))
    cursor.execute("DELETE FROM oneturn_runs WHERE id=?", (run,))
    return bool(cursor.rowcount)


def _where(conditions: Mapping[str, Any]) -> tuple[str, list[Any]]:
    used = {condition: value for condition, value in conditions.items() if value is not None}
    return (" WHERE " + " AND ".join(used) if used else ""), list(used.values())


def _busy(held: RunRow) -> RunBusy:
    return RunBusy(f"Run {held.id} is held by {held.owner!r} and goes on there. Look at its outcome later.")


def _missing(run: str) -> RunNotFound:
    return RunNotFound(f"There is no run {run!r}; it may have been pruned.")
