"""The end of a run that nobody drives: it waits for a person, was interrupted, or cannot go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneturn.errors import RunBusy, RunNotFound

from .past import Past

if TYPE_CHECKING:
    from .writer import Journal, Recording


def note_end(recording: Recording, past: Past, kind: str, why: str) -> None:
    """Note that a run is over without having gone on. Raises as `Recording.note`."""
    body = {"status": "cancelled", "error": [kind, why, None, ""], "prints": "", "cut_prints": 0}
    recording.note(
        "ended",
        {**body, "seconds": past.used, "calls": []},
        stands=("cancelled", {"error": f"{kind}: {why}"}),
    )


def cancel(journal: Journal, run: str) -> None:
    """End a run that waits or was interrupted; nobody is asked about its calls any more.

    Args:
        journal: Where it is.
        run: Its id.

    Raises:
        RunNotFound: There is no such run.
        RunBusy: It is under way, or over.
        JournalError: What is recorded cannot be read, or nothing can be written.
    """
    recording, events = journal.take(run)
    try:
        note_end(recording, Past.of(events), "Cancelled", "the run was cancelled")
        recording.sync()
    finally:
        recording.close()
    journal.approvals.close(run)


def forget(journal: Journal, run: str) -> bool:
    """Have what a run did be gone for good.

    An encrypted run that is over loses its key: nobody can read it any more, and its chain still verifies.
    Any other is removed, whatever its state, also when it cannot be read.

    Returns:
        Whether the key was dropped; False when the run was removed.

    Raises:
        RunNotFound: There is no such run.
        RunBusy: It is under way.
    """
    journal.flush()
    row = journal.store.run(run)
    if row is None:
        raise RunNotFound(f"There is no run {run} on record; it may have been pruned.")
    if row.ended is None and not journal.is_left(row):
        raise RunBusy(f"{run} is under way in {row.owner}; stop it first.")
    if row.ended is not None and journal.store.drop_key(run):
        return True
    journal.store.forget(run)
    return False
