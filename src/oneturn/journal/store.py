"""What a journal needs of a store.

A store knows nothing of events: it keeps rows, hands out leases, and makes each decision once. Every
write is one durable transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from .rows import Append, ApprovalRow, ArtifactRow, CheckpointRow, Row, RunRow

FINISHED = ("succeeded", "failed", "cancelled")
"""The statuses of runs that are over, which is what `prune` removes unless told otherwise."""


class Store(Protocol):
    """Where a journal is kept. Synchronous; every method may be called from any thread.

    All of them raise JournalError when the store cannot be read or written.
    """

    def append(self, appends: Sequence[Append]) -> frozenset[str]:
        """Write everything in one durable transaction.

        Rows that are there already are not written again: an append that failed may be repeated, as it
        was or with more rows after it.

        Returns:
            The runs that are gone, or whose fence or last row is another by now. Nothing of theirs was
            written.

        Raises:
            JournalError: Nothing was written, or (Postgres, when the server went away for good while
                it committed) it is not known whether it was; repeat the same appends to find out.
        """
        ...

    def run(self, run: str) -> RunRow | None:
        """One run."""
        ...

    def runs(
        self,
        *,
        caller: str | None = None,
        status: str | None = None,
        before: float | None = None,
        limit: int = 50,
    ) -> list[RunRow]:
        """At most `limit` runs that began before `before`, newest first."""
        ...

    def rows(self, run: str) -> Iterator[Row]:
        """The rows of a run in order of `n`, read a page at a time."""
        ...

    def blob(self, run: str, digest: bytes) -> bytes | None:
        """A blob of a run. Blobs are addressed by their SHA-256 and removed with their run."""
        ...

    def blobs(self, run: str) -> Iterator[tuple[bytes, bytes]]:
        """All blobs of a run with their digests, one at a time."""
        ...

    def lease(self, run: str, owner: str, until: float, *, now: float, dead: Callable[[str], bool]) -> RunRow:
        """Take a run nobody holds: its owner is empty or dead, or its time is up.

        The fence grows by one, so whoever held it before can write nothing more. Of several that try
        at once, in any process on any host, one gets it.

        Raises:
            RunBusy: Somebody holds it.
            RunNotFound: There is no such run.
        """
        ...

    def renew(self, held: Mapping[str, int], until: float) -> None:
        """Hold runs (id to fence) longer; those with another fence by now are left alone."""
        ...

    def release(self, run: str, fence: int) -> None:
        """Let go of a run; nothing happens when the fence is another by now."""
        ...

    def approvals(
        self,
        *,
        run: str | None = None,
        caller: str | None = None,
        status: str | None = None,
        limit: int = 200,
    ) -> list[ApprovalRow]:
        """At most `limit` approvals, the newest first; those asked at once in the order of their calls."""
        ...

    def approval(self, id: str) -> ApprovalRow | None:
        """One approval."""
        ...

    def decide(self, id: str, status: str, *, by: str, decision: bytes, now: float) -> bool:
        """Make a pending approval `approved`, `denied` or `expired`; the first decision stands.

        An approval whose time is up can only become `expired`, and only such a one can.
        """
        ...

    def use(self, id: str) -> bool:
        """Make an approved one used: True for exactly one of all who ever ask.

        When the connection broke during it, it may be False for all of them: ask a person again.
        """
        ...

    def drop_approval(self, id: str) -> bool:
        """Remove an approval; False when there is none."""
        ...

    def put_artifact(self, artifact: ArtifactRow) -> None:
        """Keep an artifact."""
        ...

    def artifact(self, id: str) -> ArtifactRow | None:
        """One artifact."""
        ...

    def artifacts(self, run: str) -> list[str]:
        """Ids of the artifacts of a run."""
        ...

    def artifact_sizes(self, caller: str) -> list[tuple[str, int]]:
        """Ids and sizes in bytes of a caller's artifacts, oldest first."""
        ...

    def drop_artifact(self, id: str) -> bool:
        """Remove an artifact; False when there is none."""
        ...

    def add_checkpoint(self, checkpoint: CheckpointRow, *, gone: Sequence[str] = ()) -> None:
        """Keep a checkpoint that signs for the removal of the runs `gone`.

        Raises:
            JournalError: Another one has this number.
        """
        ...

    def checkpoints(self) -> Iterator[CheckpointRow]:
        """All checkpoints in order."""
        ...

    def heads(self) -> Iterator[tuple[str, int, bytes]]:
        """Id, number of rows and hash of the last one of every run, in order of ids."""
        ...

    def strays(self) -> list[str]:
        """Ids that have rows but no run: what is left when a run was removed by another's hand."""
        ...

    def gone(self) -> list[str]:
        """Runs removed by `prune` or `forget` for which no checkpoint has signed yet."""
        ...

    def prune(self, before: float, *, statuses: Sequence[str] = FINISHED) -> list[str]:
        """Remove all runs of these statuses that ended before `before`; returns their ids."""
        ...

    def forget(self, run: str) -> bool:
        """Remove a run and all that belongs to it, whatever its state; False when there is none."""
        ...

    def drop_key(self, run: str) -> bool:
        """Drop a run's data key, what lists show of it, its requests and its artifacts, for good.

        Its rows and blobs stay and cannot be read; its chain still verifies. False when it has no key.
        """
        ...

    def close(self) -> None:
        """Let go of the file or connection. May be called twice."""
        ...
