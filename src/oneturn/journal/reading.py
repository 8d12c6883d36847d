"""Rows of a store as events again: decrypted, with the values that are kept beside them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from oneturn.errors import JournalCorrupt

from .events import Event, decode
from .rows import Row, RunRow
from .store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .keys import RunKey


def row_data(run: str, n: int, kind: str) -> bytes:
    """What an encrypted body is bound to: it cannot stand for another event."""
    return f"{run} {n} {kind}".encode()


def blob_data(run: str) -> bytes:
    """What an encrypted value beside the events is bound to."""
    return f"{run} blob".encode()


def must_be_whose(row: RunRow, events: Sequence[Event]) -> None:
    """Raises JournalCorrupt when a run's row names another caller, or another run, than its first event."""
    began = events[0].body if events else {}
    if began.get("caller", row.caller) != row.caller:
        raise JournalCorrupt(f"The caller of {row.id} was changed. Nothing of this run is used.")
    if began.get("retry_of", row.retries) != row.retries:
        raise JournalCorrupt(f"The run that {row.id} retries was changed. Nothing of this run is used.")


def read_event(store: Store, row: Row, key: RunKey | None) -> Event:
    """The event of a row. Raises JournalCorrupt when it cannot be what was written."""
    try:
        data = key.open(row.body, row_data(row.run, row.n, row.kind)) if key is not None else row.body
        body: dict[str, Any] = decode(data)
        if "kept" in body:
            body |= _kept(store, row.run, body.pop("kept"), key)
    except JournalCorrupt:
        raise
    except Exception as error:
        raise JournalCorrupt(
            f"Event {row.n} of {row.run} cannot be read ({type(error).__name__})."
        ) from error
    return Event(row.n, row.kind, row.at, body)


def _kept(store: Store, run: str, kept: list[Any], key: RunKey | None) -> dict[str, Any]:
    digest = bytes.fromhex(kept[0])
    data = store.blob(run, digest)
    if data is None or hashlib.sha256(data).digest() != digest:
        raise JournalCorrupt(f"A value of {run} is missing or was changed. Nothing of this run is used.")
    found: dict[str, Any] = decode(key.open(data, blob_data(run)) if key is not None else data)
    return found
