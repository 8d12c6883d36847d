"""Artifacts in the journal: read back by handle from a later script, in another process perhaps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from oneturn.errors import JournalCorrupt

from .artifacts import Artifact
from .rows import ArtifactRow

if TYPE_CHECKING:
    from .keys import RunKey
    from .writer import Journal

_MOST = 256 * 1024 * 1024  # bytes of one caller; the oldest go


class KeptArtifacts:
    """The shelf of one journal. Encrypted as the run that made them is, and removed with it.

    Args:
        journal: Whose they are.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def keep(self, artifact: Artifact, run: str) -> None:
        """Keep one, durably. Raises JournalError."""
        store, key = self._journal.store, self._journal.key_of(run)
        data = artifact.data if key is None else key.seal(artifact.data, _bound_to(artifact.id))
        sizes = store.artifact_sizes(artifact.caller)
        held = sum(size for _, size in sizes) + len(data)
        for old, size in sizes:
            if held <= _MOST:
                break
            store.drop_artifact(old)
            held -= size
        row = ArtifactRow(artifact.id, artifact.caller, run, artifact.mime, artifact.name, data, time.time())
        store.put_artifact(row)

    def find(self, artifact_id: str) -> Artifact | None:
        """One that was kept, whoever's it is. Raises JournalError, JournalCorrupt when it was changed."""
        row = self._journal.store.artifact(artifact_id)
        return None if row is None else artifact_of(row, self._journal.key_of(row.run))


def artifact_of(row: ArtifactRow, key: RunKey | None) -> Artifact:
    """The artifact of a row. Raises JournalCorrupt when it is not what was kept."""
    data = row.data if key is None else key.open(row.data, _bound_to(row.id))
    artifact = Artifact(row.id, data, row.mime, row.name, row.caller)
    if not artifact.is_whole:
        raise JournalCorrupt(f"Artifact {row.id} is not what was kept; nothing of it is used.")
    return artifact


def _bound_to(artifact_id: str) -> bytes:
    return f"artifact {artifact_id}".encode()
