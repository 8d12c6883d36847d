"""Checkpoints: signed statements of how far each run went, and verifying the whole journal by them.

A hash chain alone does not show that its end was cut off or written anew by somebody who can write the
journal. So now and then a key that is not in the journal signs the heads of all runs that changed since
the checkpoint before, with the runs that were removed since; each statement names the hash of the one
before. Exported as a line of text and kept elsewhere, a checkpoint also shows when checkpoints go.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, JournalError
from .beside import Beside, beside
from .chain import Problem, first_bad
from .rows import CheckpointRow, Row
from .store import Store

if TYPE_CHECKING:
    from .keys import PublicKey, SigningKey, Vault

_WORD = "oneturn-checkpoint"
_TRIES = 3  # a run that is being written may be ahead of what was read of it


@dataclass(frozen=True, slots=True)
class Progress:
    """How far verifying is; the last one has the totals.

    `unsigned` counts the rows no checkpoint covers yet: there it would not show that the end of a run was
    cut off. `removed` names runs that were pruned or forgotten since the last checkpoint. `unread` counts the
    runs whose events cannot be read: they and their values are as written, and what stands beside them was
    not compared with them.
    """

    runs: int = 0
    rows: int = 0
    checkpoints: int = 0
    unsigned: int = 0
    removed: tuple[str, ...] = ()
    unread: int = 0


@dataclass(slots=True)
class _Signed:
    """What the checkpoints say."""

    digests: dict[int, bytes] = field(default_factory=dict)
    heads: dict[str, dict[int, tuple[bytes, int]]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def read(self, row: CheckpointRow) -> dict[str, Any]:
        """Take in one. Raises ValueError, KeyError or TypeError when it is no statement."""
        said: dict[str, Any] = json.loads(row.statement)
        for run, (n, head) in said["runs"].items():
            self.heads.setdefault(run, {})[int(n)] = (bytes.fromhex(head), row.n)
        self.gone.update(said["gone"])
        self.digests[row.n] = hashlib.sha256(row.statement).digest()
        return said

    def last(self, run: str) -> tuple[int, bytes] | None:
        """The newest head of a run."""
        heads = self.heads.get(run)
        return (max(heads), heads[max(heads)][0]) if heads else None


def make(store: Store, key: SigningKey, *, now: float) -> CheckpointRow | None:
    """Sign for everything that changed since the last checkpoint, and keep it; None when nothing did.

    Raises:
        JournalError: Another process made one at the same time, or the checkpoints before it cannot be read.
    """
    signed, n = _Signed(), 0
    for row in store.checkpoints():
        try:
            signed.read(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise JournalError(
                f"Checkpoint {row.n} cannot be read. Verify the journal before it is signed again."
            ) from error
        n = row.n
    gone = store.gone()
    heads = {run: (n, head) for run, n, head in store.heads() if signed.last(run) != (n, head)}
    if not heads and not gone:
        return None
    said = {
        "n": n + 1,
        "at": now,
        "previous": signed.digests[n].hex() if n else "",
        "key": str(key.public),
        "runs": {run: [number, head.hex()] for run, (number, head) in heads.items()},
        "gone": gone,
    }
    statement = json.dumps(said, separators=(",", ":")).encode()
    row = CheckpointRow(n + 1, statement, key.sign(_message(n + 1, hashlib.sha256(statement).digest())))
    store.add_checkpoint(row, gone=gone)
    return row


def line(checkpoint: CheckpointRow) -> str:
    """A checkpoint as one line of text, about 170 characters, to be kept away from the journal."""
    digest = hashlib.sha256(checkpoint.statement).hexdigest()
    return f"{_WORD} {checkpoint.n} {digest} {base64.b64encode(checkpoint.signature).decode()}"


def verify(
    store: Store,
    public: PublicKey | None = None,
    lines: Sequence[str] = (),
    *,
    vault: Vault | None = None,
) -> Iterator[Progress | Problem]:
    """Read everything; yields progress after each run, and every problem where it is found.

    Of a run only the first bad row is named. Runs may be written and removed meanwhile.

    Args:
        store: The journal.
        public: Whose signatures the checkpoints must bear; they are not checked when not given.
        lines: Checkpoints exported before, from `line`; these need `public`.
        vault: Reads encrypted runs; without it what stands beside them is not compared with them.

    Raises:
        ConfigError: A line is no checkpoint, or `public` is missing.
        JournalError: The store cannot be read.
    """
    exported = [_parse(text, public) for text in lines]
    signed = _Signed()
    yield from _checkpoints(store, signed, public)
    for n, digest, fits in exported:
        if not fits:
            yield Problem(f"The signature of the exported checkpoint {n} is not this key's")
        elif n not in signed.digests:
            yield Problem(
                f"Checkpoint {n}, which was exported, is missing: the end of the journal was cut off"
            )
        elif signed.digests[n] != digest:
            yield Problem(f"Checkpoint {n} is not the one that was exported")
    done = Progress(checkpoints=len(signed.digests))
    seen: set[str] = set()
    for run, _, _ in store.heads():
        seen.add(run)
        rows, problem, read = _run(store, run, signed.heads.get(run, {}), vault)
        if problem is not None:
            yield problem
        covered = signed.last(run)
        unsigned = max(0, rows - (covered[0] if covered else 0))
        done = Progress(
            done.runs + 1,
            done.rows + rows,
            done.checkpoints,
            done.unsigned + unsigned,
            unread=done.unread + (not read),
        )
        yield done
    removed = set(store.gone())
    for run, heads in signed.heads.items():
        if run not in seen and run not in signed.gone | removed and store.run(run) is None:
            yield Problem(f"Run {run} is missing, and checkpoint {heads[max(heads)][1]} signed for it", run)
    for run in store.strays():
        yield Problem(f"Run {run} is missing, and rows of it are left", run)
    yield replace(done, removed=tuple(sorted(removed)))


def _checkpoints(store: Store, signed: _Signed, public: PublicKey | None) -> Iterator[Problem]:
    n, previous = 0, ""
    for row in store.checkpoints():
        n += 1
        if row.n != n:
            yield Problem(f"Checkpoint {n} is missing: {row.n} stands in its place")
            n, previous = row.n, ""
        try:
            said = signed.read(row)
        except (ValueError, KeyError, TypeError, AttributeError):
            yield Problem(f"Checkpoint {n} cannot be read")
            previous = ""
            continue
        digest = signed.digests[row.n]
        if public is not None and not public.signed(_message(row.n, digest), row.signature):
            yield Problem(
                f"The signature of checkpoint {n} is not this key's: it was changed or made by another"
            )
        elif said.get("n") != row.n or (said.get("previous") != previous and (previous or n == 1)):
            yield Problem(f"Checkpoint {n} does not follow on from the one before")
        previous = digest.hex()


def _run(
    store: Store, run: str, signed: dict[int, tuple[bytes, int]], vault: Vault | None
) -> tuple[int, Problem | None, bool]:
    """The number of rows of a run, the first thing wrong with it, and whether its events could be read."""
    number, problem, others = 0, None, None
    for _ in range(_TRIES):
        row = store.run(run)
        if row is None:
            return 0, None, True
        number, found = row.n, dict[int, bytes]()
        try:
            others = beside(store, row, vault)
            problem = first_bad(row, _noting(store.rows(run), signed, found, others))
            problem = problem or _against(run, number, signed, found)
            if problem is None:
                problem = _values(store, run) if others is None else others.problem()
        except JournalError as error:
            problem = Problem(f"Run {run} cannot be read: {str(error).rstrip('.')}", run)
        again = store.run(run)
        if problem is None or (again is not None and (again.n, again.head) == (row.n, row.head)):
            break
    return number, problem, others is not None


def _noting(
    rows: Iterator[Row],
    signed: dict[int, tuple[bytes, int]],
    found: dict[int, bytes],
    others: Beside | None,
) -> Iterator[Row]:
    for row in rows:
        if row.n in signed:
            found[row.n] = row.hash
        yield row
        if others is not None:  # whoever asks for the next one found this one good
            others.read(row)


def _against(
    run: str, number: int, signed: dict[int, tuple[bytes, int]], found: dict[int, bytes]
) -> Problem | None:
    """A run whose chain is whole, against what was signed of it."""
    for n, (head, checkpoint) in sorted(signed.items()):
        if n > number:
            text = f"Row {number + 1} of run {run} is missing: checkpoint {checkpoint} signed for {n} rows"
            return Problem(text, run, number + 1)
        if n and found.get(n) != head:
            text = (
                f"Row {n} of run {run} is not the one checkpoint {checkpoint} signed for: "
                "it or one before it was written anew"
            )
            return Problem(text, run, n)
    return None


def _values(store: Store, run: str) -> Problem | None:
    for digest, data in store.blobs(run):
        if hashlib.sha256(data).digest() != digest:
            return Problem(
                f"A value that run {run} keeps beside its rows was changed: {digest.hex()[:16]}", run
            )
    return None


def _message(n: int, digest: bytes) -> bytes:
    return b"oneturn checkpoint 1\0" + n.to_bytes(8, "big", signed=True) + digest


def _parse(text: str, public: PublicKey | None) -> tuple[int, bytes, bool]:
    """Number and digest of an exported checkpoint, and whether its signature is good."""
    if public is None:
        raise ConfigError("An exported checkpoint can only be checked with the public key. Give it too.")
    try:
        word, number, spelled, signature = text.split()
        n, digest = int(number), bytes.fromhex(spelled)
        fits = public.signed(_message(n, digest), base64.b64decode(signature, validate=True))
    except (ValueError, OverflowError):
        word, n, digest, fits = "", 0, b"", False
    if word != _WORD:
        raise ConfigError(f"That is no checkpoint: a line of one begins with {_WORD}.")
    return n, digest, fits
