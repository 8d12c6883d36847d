"""What a store holds, as frozen values: rows of runs, the runs themselves, approvals, artifacts, checkpoints.

Times are seconds since 1970. Bodies are bytes a store never looks into; they may be encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..types import RunStatus

ApprovalStatus = Literal["pending", "approved", "denied", "expired", "used"]


@dataclass(frozen=True, slots=True)
class Row:
    """One event of a run. `n` counts from 1 without gaps; `hash` chains it to the row before."""

    run: str
    n: int
    kind: str
    at: float
    body: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class RunRow:
    """What is known of a run without reading its rows.

    `owner` holds it until the time `until` (empty: nobody does), and `fence` grows by one with every
    new holder. `n` and `head` are the number and hash of the last row. `key` is the run's wrapped data
    key, empty when it is not encrypted or the key was dropped. `about` is JSON, for lists. `retries` is the
    run whose work it does again, empty when there is none.

    Only the rows are protected by the chain. `caller`, `status` and `about` are copies for lists:
    whoever acts on them reads the rows.
    """

    id: str
    caller: str
    status: RunStatus
    began: float
    ended: float | None
    fence: int
    owner: str
    until: float
    n: int
    head: bytes
    key: bytes
    about: str
    retries: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """One call that waits, or waited, for a person. `by` is who decided, `decided` when."""

    id: str
    run: str
    call: int
    caller: str
    tool: str
    status: ApprovalStatus
    asked: float
    expires: float | None
    request: bytes
    decision: bytes = b""
    decided: float | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """A large value of a caller, made by one of the caller's runs and removed with it."""

    id: str
    caller: str
    run: str
    mime: str
    name: str
    data: bytes
    at: float


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A signed statement about the journal, see `oneturn.journal.checkpoints`. `n` counts from 1."""

    n: int
    statement: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """What one run adds in one transaction, held by whoever has `fence`.

    `rows` go on where the run's last row ended. `blobs` are pairs of a SHA-256 and the bytes it is of,
    exactly as they are stored. `new` makes the run with its first append; its `n` and `head` are those
    of a run without rows (0, `chain.start_of(run)`) and its `fence` is this one.
    """

    run: str
    fence: int
    status: RunStatus
    ended: float | None
    about: str
    until: float
    rows: tuple[Row, ...] = ()
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    asks: tuple[ApprovalRow, ...] = ()
    new: RunRow | None = None
