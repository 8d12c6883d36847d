"""The hash chain of a run: what a row's hash is, and whether a run is still what was written.

Each hash is over the one before and everything the row says, in a spelling in which no two rows look
alike: lengths stand in front of what has no fixed one, and a time is its eight IEEE bytes. The first
row follows on from the run's id, so rows cannot be moved to another run.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from .rows import Row, RunRow

_HEADER = struct.Struct(">QQdQQ")  # length of run, n, at, length of kind, length of body


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a journal, as one sentence without its full stop: the first bad row of a run.

    `n` is 0 when it is the run itself, and `run` empty when it is no single run.
    """

    text: str
    run: str = ""
    n: int = 0

    def __str__(self) -> str:
        return self.text


def start_of(run: str) -> bytes:
    """The hash a run's first row follows on from."""
    return hashlib.sha256(b"oneturn run 1\0" + run.encode()).digest()


def seal(previous: bytes, run: str, n: int, kind: str, at: float, body: bytes) -> Row:
    """The row that follows on from the hash `previous`."""
    return Row(run, n, kind, at, body, _hash(previous, run, n, kind, at, body))


def first_bad(run: RunRow, rows: Iterable[Row]) -> Problem | None:
    """The first thing wrong with a run, reading its rows once; None when it is as it was written.

    Rows cut off at the end together with the run's own row do not show here: checkpoints tell.
    """
    head, n = start_of(run.id), 0
    for row in rows:
        n += 1
        if row.n != n:
            return Problem(f"Row {n} of run {run.id} is missing: row {row.n} stands in its place", run.id, n)
        if row.run != run.id or row.hash != _hash(head, run.id, n, row.kind, row.at, row.body):
            return Problem(
                f"Row {n} of run {run.id} is not what was written: its hash does not fit", run.id, n
            )
        head = row.hash
    if n < run.n:
        return Problem(f"Row {n + 1} of run {run.id} is missing: {run.n} were written", run.id, n + 1)
    if n > run.n:
        return Problem(
            f"Row {run.n + 1} of run {run.id} is not the journal's: {run.n} were written", run.id, run.n + 1
        )
    if head != run.head:
        return Problem(f"Row {n} of run {run.id} is not the one the run ended with", run.id, n)
    return None


def _hash(previous: bytes, run: str, n: int, kind: str, at: float, body: bytes) -> bytes:
    run_bytes, kind_bytes = run.encode(), kind.encode()
    header = _HEADER.pack(len(run_bytes), n, at, len(kind_bytes), len(body))
    digest = hashlib.sha256(b"".join((previous, header, run_bytes, kind_bytes)))
    digest.update(body)
    return digest.digest()
