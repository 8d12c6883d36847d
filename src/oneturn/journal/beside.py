"""What stands beside the chain of a run, against what the chain says: its row, values, approvals, artifacts.

Lists, people and later scripts read these, and whoever can write the journal can change them without
breaking a hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from oneturn.errors import JournalCorrupt
from oneturn.types import Approval

from .approvals import approval_body, approval_data, approval_id
from .chain import Problem
from .events import Event, canonical, decode, place_of
from .kept import artifact_of
from .reading import must_be_whose, read_event
from .rows import ApprovalRow, Row, RunRow
from .store import Store

if TYPE_CHECKING:
    from .keys import RunKey, Vault

_ALL = 1_000_000  # approvals of one run
_DECIDED = {True: ("approved", "used"), False: ("denied", "expired")}


@dataclass(slots=True)
class Beside:
    """Checks one run. Its rows are given to `read` in their order; then `problem` says what does not fit.

    Args:
        store: Where it is.
        row: Its row, as it was before its events were read.
        key: What it is encrypted with.
    """

    store: Store
    row: RunRow
    key: RunKey | None
    _first: Event | None = None
    _last: Event | None = None
    _ended: Event | None = None
    _asked: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _decided: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def read(self, row: Row) -> None:
        """Take in the next row. Raises JournalCorrupt when it, or a value kept beside it, is not readable."""
        event = read_event(self.store, row, self.key)
        body = event.body
        self._first, self._last = self._first or event, event
        if event.kind == "called" and body.get("verdict") == "asked":
            self._asked[body["id"]] = body
        elif event.kind == "decided" and "redacted" not in body:  # else it did not count
            self._decided[body["id"]] = body
        elif event.kind == "ended":
            self._ended = event

    def problem(self) -> Problem | None:
        """The first thing that does not fit. Raises JournalError."""
        text = next(self._problems(), "")
        return Problem(text, self.row.id) if text else None

    def _problems(self) -> Iterator[str]:
        row, first, last, ended = self.row, self._first, self._last, self._ended
        if first is None or last is None:
            return
        must_be_whose(row, [first])
        status = "waiting" if last.kind == "waiting" else "running"
        if ended is not None:
            status = ended.body.get("status", status)
        if row.status != status:
            yield f"The row of run {row.id} was changed: it is {status}, and the row says {row.status}"
        if row.ended != (ended.at if ended is not None else None):
            yield f"The row of run {row.id} was changed: it did not end then"
        lines = str(first.body.get("code", "")).split("\n")
        filed = self.store.approvals(run=row.id, limit=_ALL)
        for ask in filed:
            if wrong := self._wrong_with(ask, lines):
                yield f"Approval {ask.id} was changed: {wrong}"
        for call in last.body["calls"] if last.kind == "waiting" else ():
            if all(ask.call != call for ask in filed):
                yield f"Approval {approval_id(row.id, call)} is missing, and its run waits for it"
        for artifact_id in self.store.artifacts(row.id):
            artifact = self.store.artifact(artifact_id)
            if artifact is not None:  # it may have been dropped for newer ones meanwhile
                artifact_of(artifact, self.key)

    def _wrong_with(self, ask: ApprovalRow, lines: Sequence[str]) -> str:
        asked, said = self._asked.get(ask.call), self._decided.get(ask.call)
        if asked is None or ask.id != approval_id(self.row.id, ask.call):
            return "its run asked for no such call"
        try:
            shown = self._opened(ask, ask.request)
            place = place_of(asked.get("place"), lines)
            source = str(shown["place"][2]) if place is not None else ""
            if place is not None and source.endswith("…") and place.source.startswith(source[:-1]):
                place = replace(place, source=source)  # a long line is shown cut
            was = Approval(
                ask.id, self.row.id, ask.call, self.row.caller, asked["tool"], asked["effect"],
                asked["arguments"], place, ask.expires, shown["why"],
            )  # fmt: skip
            is_shown = canonical(approval_body(was)) == canonical(shown)
            if not is_shown or (ask.tool, ask.caller) != (was.tool, was.caller):
                return "it does not show the call that its run asked for"
            if said is None:
                return ""
            decision = self._opened(ask, ask.decision) if ask.decision else {}
        except (JournalCorrupt, LookupError, TypeError, ValueError, AttributeError):
            return "it cannot be read"
        taken = {name: part for name, part in said.items() if name in decision}
        fits = ask.status in _DECIDED[said["approved"]] and ask.by == said["by"]
        return (
            ""
            if fits and decision and canonical(taken) == canonical(decision)
            else "its run was told another word"
        )

    def _opened(self, ask: ApprovalRow, data: bytes) -> Any:
        return decode(data if self.key is None else self.key.open(data, approval_data(ask.id)))


def beside(store: Store, row: RunRow, vault: Vault | None) -> Beside | None:
    """What checks a run; None when its events cannot be read, without the master key or with its own dropped.

    Raises:
        JournalCorrupt: It is encrypted with a key that does not fit the master key.
    """
    key = vault.unwrap(row.key) if row.key and vault is not None else None
    first = next(store.rows(row.id), None)
    readable = (
        first is not None and first.kind == "began" and (key is not None or first.body.startswith(b'{"'))
    )
    return Beside(store, row, key) if readable else None
