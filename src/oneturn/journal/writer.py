"""Writing the journal: one for all runs of an app, with one recording for each.

What a run notes is sealed into its hash chain at once and written with what other runs noted meanwhile:
whoever needs something to be durable writes for everybody, and a thread of our own writes what nobody
waits for. So an event that is durable implies that all events of its run before it are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from oneturn.errors import JournalCorrupt, JournalError, RunBusy, RunNotFound
from oneturn.types import Approval, RunStatus

from . import owners
from .approvals import Approvals, approval_data
from .chain import first_bad, seal, start_of
from .events import Event, EventKind, encode, fingerprint
from .kept import KeptArtifacts
from .owners import LEASE
from .reading import blob_data, must_be_whose, read_event, row_data
from .redaction import Fields
from .rows import Append, ApprovalRow, Row, RunRow
from .store import Store

if TYPE_CHECKING:
    from .keys import RunKey, Vault

log = logging.getLogger("oneturn.journal")

LARGE = 64 * 1024
"""Bytes of a value from which it is kept beside the events, once for each content."""
_LAZY = 0.02  # seconds that events nobody waits for are gathered
_MOST_BUFFERED = 64 * 1024 * 1024  # bytes that may wait for a store that takes nothing
_ROW = 200  # bytes a row takes besides its body


class Cleaner(Protocol):
    """Knows strings that must not be on record."""

    def is_in(self, text: str) -> bool:
        """Whether one of them is in this JSON."""
        ...

    def cleaned(self, value: Any) -> Any:
        """A plain value without them."""
        ...


class Journal:
    """The journal of one app. Thread-safe.

    Args:
        store: Where it is kept.
        vault: Encrypts bodies, each run with a key of its own; they are plain when not given.
        clean: Takes secrets out of bodies.
        fields: Arguments and parts of results that are masked, by name.
        most: Bytes of ended runs that are kept; the oldest go. All of them when not given.
    """

    def __init__(
        self,
        store: Store,
        *,
        vault: Vault | None = None,
        clean: Cleaner | None = None,
        fields: Fields | None = None,
        most: int | None = None,
    ) -> None:
        self.store = store
        self.vault = vault
        self.clean = clean
        self.fields = fields
        self.approvals = Approvals(self)
        """What waits, or waited, for a person's word."""
        self.artifacts = None if most is not None else KeptArtifacts(self)
        """What results left behind; kept where the journal outlives the process."""
        self._owner = owners.this_process()
        self._most = most
        self._kept: dict[str, int] = {}  # runs and their bytes, oldest first
        self._kept_bytes = 0
        self._lock = threading.Lock()  # guards the two below
        self._dirty: dict[str, Recording] = {}
        self._buffered = 0
        self._writing = threading.Lock()  # held by whoever writes for all
        self._open: dict[str, Recording] = {}
        self._closed = False
        self._work = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, run: str, caller: str, *, retries: str = "") -> Recording:
        """Record a run that is new, and does the work of the run `retries` again."""
        key = self.vault.new_key() if self.vault is not None else None
        now = time.time()
        row = RunRow(
            run, caller, "running", now, None, 1, self._owner, now + LEASE, 0, start_of(run),
            key.wrapped if key is not None else b"", "{}", retries,
        )  # fmt: skip
        return self._opened(Recording(self, row, key, is_new=True))

    def take(
        self, run: str, *, caller: str | None = None, over: bool = False
    ) -> tuple[Recording, list[Event]]:
        """Take up a run that no other process has, with what is recorded of it.

        Args:
            run: Its id.
            caller: Whose it must be; anybody's when not given.
            over: Also one that has ended, to add a word to its record.

        Raises:
            RunNotFound: There is no such run.
            RunBusy: Another process has it.
            JournalCorrupt: What is recorded was changed, or cannot be read.
        """
        self.flush()  # a run that was driven here a moment ago may still be ours
        known = self._row(run, caller)
        if known.status not in ("running", "waiting") and not over:
            raise RunBusy(f"{run} has ended: it {known.status}. Its outcome is recorded; start a new run.")
        with self._lock:
            if run in self._open:
                raise RunBusy(f"{run} is under way in this process.")
        now = time.time()
        with self._writing:
            row = self.store.lease(run, self._owner, now + LEASE, now=now, dead=owners.is_dead)
            try:
                events, key = self._events(row)
            except BaseException:
                self.store.release(run, row.fence)
                raise
        return self._opened(Recording(self, row, key, is_new=False)), events

    def read(self, run: str, *, caller: str | None = None) -> tuple[RunRow, list[Event]]:
        """What is recorded of a run, whoever has it. Raises as `take` does, but for RunBusy."""
        self.flush()
        row = self._row(run, caller)
        with self._writing:
            events, _ = self._events(row, grows=True)
        return row, events

    def is_left(self, row: RunRow) -> bool:
        """Whether no process has a run."""
        return not row.owner or row.until <= time.time() or owners.is_dead(row.owner)

    def runs(
        self, *, caller: str | None = None, status: RunStatus | None = None, limit: int = 50
    ) -> list[RunRow]:
        """The newest runs first."""
        self.flush()
        with self._writing:
            return self.store.runs(caller=caller, status=status, limit=limit)

    def key_of(self, run: str) -> RunKey | None:
        """The key a run is encrypted with; None when it is not. Raises JournalError when it is not known."""
        recording = self._open.get(run)
        if recording is not None:
            return recording.key
        row = self.store.run(run)
        return self._key(row) if row is not None else None

    def script(self, row: RunRow) -> str:
        """The script of a run, from its first event alone, for lists; empty when that cannot be read."""
        try:
            with self._writing:
                first = next(self.store.rows(row.id), None)
                return str(read_event(self.store, first, self._key(row)).body["code"]) if first else ""
        except (JournalError, KeyError):
            return ""

    def flush(self) -> None:
        """Make everything noted so far durable. Raises JournalError."""
        with self._writing:
            self._write()

    def close(self) -> None:
        """Write what is left and give up the runs this process has. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._work.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.flush()
        except JournalError as error:
            log.error("The journal was closed with events that could not be written: %s", error)
        with self._writing:
            for recording in list(self._open.values()):
                self._release(recording)
            self.store.close()

    # --- for recordings

    def noted(self, recording: Recording, size: int) -> None:
        """A recording has something to write. Raises JournalError when too much waits already."""
        with self._lock:
            if self._buffered > _MOST_BUFFERED:
                raise JournalError(
                    "The journal takes nothing any more and too much waits for it; see why, then go on."
                )
            self._buffered += size
            was_idle = not self._dirty
            self._dirty[recording.run] = recording
        if was_idle:
            if self._thread is None:
                self._start_thread()
            self._work.set()

    def sync(self, recording: Recording) -> None:
        """Make what this recording noted durable, and what others noted meanwhile with it."""
        wanted = recording.n
        with self._writing:
            if recording.durable < wanted:
                self._write()

    def over(self, recording: Recording) -> None:
        """The run is not driven any more; what it noted last is written without anybody waiting."""
        recording.is_over = True
        with self._lock:
            self._dirty[recording.run] = recording
        if self._thread is None:
            self._start_thread()
        self._work.set()

    # --- writing

    def _write(self) -> None:
        with self._lock:
            dirty, self._dirty = self._dirty, {}
            self._buffered = 0
        appends = {run: append for run, recording in dirty.items() if (append := recording.taken())}
        try:
            lost = self.store.append(list(appends.values())) if appends else frozenset()
        except BaseException:
            with self._lock:
                for run, append in appends.items():
                    self._buffered += dirty[run].put_back(append)
                self._dirty = {**dirty, **self._dirty}
            self._work.set()
            raise
        for run, recording in dirty.items():
            if run in lost:
                recording.lost = True
            elif run in appends:
                recording.written(appends[run])
            if recording.is_over:
                with contextlib.suppress(JournalError):  # its time runs out by itself
                    self._release(recording)

    def _release(self, recording: Recording) -> None:
        if self._open.pop(recording.run, None) is None:
            return
        over = recording.status not in ("running", "waiting")
        if not recording.lost and (not over or recording.was_over):
            self.store.release(recording.run, recording.fence)
        if not recording.lost and over and recording.has_asked:
            self.approvals.close(recording.run)
        if self._most is not None and recording.status != "running":
            self._kept_bytes += recording.size - self._kept.pop(recording.run, 0)
            self._kept[recording.run] = recording.size
            while self._kept_bytes > self._most:
                run = next(iter(self._kept))
                self._kept_bytes -= self._kept.pop(run)
                self.store.forget(run)

    def _start_thread(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._keep_writing, name="oneturn-journal", daemon=True
                )
                self._thread.start()

    def _keep_writing(self) -> None:
        renewed = time.monotonic()
        while not self._closed:
            self._work.wait(LEASE / 3)
            self._work.clear()
            if not self._closed:
                time.sleep(_LAZY)
            try:
                with self._writing:
                    self._write()
                    if time.monotonic() - renewed > LEASE / 3:
                        held = {each.run: each.fence for each in self._open.values() if not each.is_new}
                        self.store.renew(held, time.time() + LEASE)
                        renewed = time.monotonic()
            except JournalError as error:  # whoever needs it to be durable is told; this is for operators
                log.error("The journal could not be written: %s", error)
                time.sleep(1.0 if not self._closed else 0.0)

    # --- reading

    def _opened(self, recording: Recording) -> Recording:
        self._open[recording.run] = recording
        return recording

    def _key(self, row: RunRow) -> RunKey | None:
        if not row.key:
            return None
        if self.vault is None:
            raise JournalError(f"{row.id} is encrypted; give the journal its key to read it.")
        return self.vault.unwrap(row.key)

    def _row(self, run: str, caller: str | None) -> RunRow:
        with self._writing:
            row = self.store.run(run)
        if row is None or (caller is not None and row.caller != caller):
            raise RunNotFound(f"There is no run {run} on record; it may have been pruned.")
        return row

    def _events(self, row: RunRow, *, grows: bool = False) -> tuple[list[Event], RunKey | None]:
        # Another process may add to it while we read; what came after its row is another time's.
        rows = [each for each in self.store.rows(row.id) if not grows or each.n <= row.n]
        bad = first_bad(row, rows)
        if bad is not None:
            raise JournalCorrupt(f"{bad}. Nothing of this run is used.")
        key = self._key(row)
        if key is None and rows and not rows[0].body.startswith(b'{"'):
            raise JournalError(f"The key of {row.id} was dropped; what it did cannot be read any more.")
        events = [read_event(self.store, each, key) for each in rows]
        must_be_whose(row, events)
        return events, key


class Recording:
    """The record of one run, while this process drives it. One thread at a time notes; any may sync.

    Raises JournalError, from every method that writes, when the store takes nothing; and RunBusy when
    another process has taken the run meanwhile.
    """

    def __init__(self, journal: Journal, row: RunRow, key: RunKey | None, *, is_new: bool) -> None:
        self.run = row.id
        self.fence = row.fence
        self.status: RunStatus = "running" if row.status == "waiting" else row.status
        self.n = self.durable = row.n
        self.lost = self.is_over = False
        self.is_new = is_new
        self.size = 0
        self._journal = journal
        self._row = row
        self.key = key
        self._head = row.head
        self._about = row.about
        self._ended = row.ended
        self.was_over = row.ended is not None
        self.salt = ""  # of the run's digests
        self.has_asked = row.status == "waiting"
        self.is_masked = False
        self._lock = threading.Lock()
        self._noted: list[tuple[str, float, bytes]] = []
        self._rows: list[Row] = []  # that could not be written yet
        self._blobs: dict[bytes, bytes] = {}
        self._asks: list[ApprovalRow] = []

    def note(
        self,
        kind: EventKind,
        body: Mapping[str, Any],
        *,
        large: str = "",
        stands: tuple[RunStatus, Mapping[str, Any]] | None = None,
    ) -> None:
        """Add an event.

        Args:
            kind: What happened.
            body: Plain data, as `events.encode` takes it.
            large: The key of a value that may be large; it is kept beside the events then.
            stands: How the run stands from here on and more about that, for lists; written with the event.
        """
        if self.lost:
            raise RunBusy(_TAKEN.format(run=self.run))
        with self._lock:
            at = time.time()
            data, masked = self._spelled(body, large)
            self.is_masked = self.is_masked or (masked and kind in _NEEDED)
            self._noted.append((kind, at, data))
            if stands is not None:
                self.status, about = stands
                self._about = json.dumps(about)
                self._ended = None if self.status in ("running", "waiting") else at
            self.n += 1
            size = len(data) + _ROW
            self.size += size
        self._journal.noted(self, size)

    def ask(self, approval: Approval, at: float) -> None:
        """Add an approval that is waited for since `at`; it becomes durable with what is noted so far."""
        request = self._journal.approvals.request(approval)
        if self.key is not None:
            request = self.key.seal(request, approval_data(approval.id))
        row = ApprovalRow(
            approval.id, self.run, approval.call_id, approval.caller, approval.tool, "pending",
            at, approval.expires, request,
        )  # fmt: skip
        with self._lock:
            self.has_asked = True
            self._asks.append(row)
        self._journal.noted(self, len(request))

    def sync(self) -> None:
        """Return when everything noted so far is durable."""
        self._journal.sync(self)
        if self.lost:
            raise RunBusy(_TAKEN.format(run=self.run))

    def close(self) -> None:
        """This process drives the run no more."""
        self._journal.over(self)

    def _spelled(self, body: Mapping[str, Any], large: str) -> tuple[bytes, bool]:
        """A body as it is written, and whether anything in it is masked."""
        body = self._masked(body, large)
        data = encode(body)
        clean = self._journal.clean
        if clean is not None and clean.is_in(data.decode()):
            # Said in the event: a script must not be given the mask for the value.
            body = {**clean.cleaned(body), "redacted": True}
            data = encode(body)
        masked = "redacted" in body
        if not large or len(data) <= LARGE:
            return data, masked
        value = encode({large: body[large]})
        sealed = value if self.key is None else self.key.seal(value, blob_data(self.run))
        digest = hashlib.sha256(sealed).digest()
        if digest not in self._blobs:
            self._blobs[digest] = sealed
            self.size += len(sealed)
        return encode({**body, large: None, "kept": [digest.hex(), len(value)]}), masked

    def _masked(self, body: Mapping[str, Any], large: str) -> Mapping[str, Any]:
        """A body without the fields that must not be on record."""
        fields = self._journal.fields
        if fields is None or large not in _SPOKEN:
            return body
        masked = fields.hidden(body[large])
        if masked is body[large]:
            return body
        # What was sent can still be told from what is sent next, without being on record.
        known = {"sent": fingerprint(body[large], self.salt)} if large == "arguments" else {}
        return {**body, large: masked, "redacted": True, **known}

    # --- for the journal

    def taken(self) -> Append | None:
        """What is to be written, or None; `written` or `put_back` says how that went."""
        with self._lock:
            noted, self._noted = self._noted, []
            rows, self._rows = self._rows, []
            if not (noted or rows or self._asks) or self.lost:
                self._blobs, self._asks = {}, []
                return None
            n = self.n - len(noted)
            for kind, at, data in noted:
                n += 1
                if self.key is not None:
                    data = self.key.seal(data, row_data(self.run, n, kind))
                row = seal(self._head, self.run, n, kind, at, data)
                self._head = row.hash
                rows.append(row)
            blobs, self._blobs = self._blobs, {}
            asks, self._asks = self._asks, []
            until = time.time() + LEASE if self._ended is None else 0.0  # nobody has to have it any more
            return Append(
                self.run, self.fence, self.status, self._ended, self._about, until,
                tuple(rows), tuple(blobs.items()), tuple(asks), self._row if self.is_new else None,
            )  # fmt: skip

    def put_back(self, append: Append) -> int:
        """It could not be written; the bytes that wait again."""
        with self._lock:
            self._rows[:0] = append.rows
            self._blobs = {**dict(append.blobs), **self._blobs}
            self._asks[:0] = append.asks
            return sum(len(row.body) + _ROW for row in self._rows)

    def written(self, append: Append) -> None:
        """It is durable."""
        self.is_new = False
        if append.rows:
            self.durable = append.rows[-1].n


_NEEDED = ("began", "answered", "resumed")  # what a script is run again from
_SPOKEN = ("arguments", "value", "answers")  # what tools are given and give, and what scripts return
_TAKEN = "Another process has taken {run}; it goes on there, and this one stopped before doing anything more."
