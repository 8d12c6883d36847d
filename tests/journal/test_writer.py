"""The journal of an app: what is durable when, who writes it, and what happens when nobody can."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oneturn.errors import JournalCorrupt, JournalError, RunBusy, RunNotFound
from oneturn.journal import checkpoints, writer
from oneturn.journal.keys import Vault
from oneturn.journal.rows import Append
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.writer import Journal


class Counting(SqliteStore):
    """A store that counts its transactions, can be made to wait, and can refuse."""

    commits = 0
    refuses = False

    def __init__(self, path: Path) -> None:
        super().__init__(path, wait=0.2)
        self.may_write = threading.Event()
        self.may_write.set()

    def append(self, appends: Sequence[Append]) -> frozenset[str]:
        self.may_write.wait()
        if self.refuses:
            raise JournalError("There is no space.")
        self.commits += 1
        return super().append(appends)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def store(place: Path) -> Counting:
    return Counting(place)


@pytest.fixture
def journal(store: Counting) -> Iterator[Journal]:
    journal = Journal(store)
    yield journal
    store.refuses = False
    journal.close()


def durable(place: Path, run: str) -> list[str]:
    """What another process would find of a run."""
    other = SqliteStore(place)
    kinds = [row.kind for row in other.rows(run)]
    other.close()
    return kinds


def test_what_is_durable_has_everything_before_it(journal: Journal, place: Path) -> None:
    recording = journal.begin("run_a", "ann")
    recording.note("began", {"code": ""})
    recording.note("called", {"id": 0})
    recording.sync()
    recording.note("answered", {"id": 0})
    assert durable(place, "run_a")[:2] == ["began", "called"]
    recording.sync()
    assert durable(place, "run_a") == ["began", "called", "answered"]


def test_what_nobody_waits_for_is_written_soon(journal: Journal, place: Path) -> None:
    journal.begin("run_a", "ann").note("began", {"code": ""})
    while durable(place, "run_a") != ["began"]:
        time.sleep(0.01)


def test_closing_writes_what_is_left_and_gives_runs_up(store: Counting, place: Path) -> None:
    journal = Journal(store)
    recording = journal.begin("run_a", "ann")
    recording.note("began", {"code": ""})
    journal.close()
    journal.close()
    assert durable(place, "run_a") == ["began"]
    with pytest.raises(JournalError, match="closed"):
        recording.note("called", {"id": 0})
        recording.sync()
    other = Journal(SqliteStore(place))
    _, events = other.take("run_a")
    assert [event.kind for event in events] == ["began"]
    other.close()


def test_who_waits_at_once_shares_a_commit(journal: Journal, store: Counting) -> None:
    runs = [journal.begin(f"run_{number}", "ann") for number in range(20)]
    store.may_write.clear()
    for run in runs:
        run.note("began", {"code": ""})
    with ThreadPoolExecutor(len(runs)) as threads:
        waiting = [threads.submit(run.sync) for run in runs]
        store.may_write.set()
        for each in waiting:
            each.result()
    assert store.commits <= 2
    assert {row.id for row in journal.runs()} == {run.run for run in runs}


def test_nothing_is_lost_or_mixed_up_between_threads(journal: Journal, store: Counting) -> None:
    def work(number: int) -> None:
        recording = journal.begin(f"run_{number}", "ann")
        recording.note("began", {"code": ""})
        for n in range(50):
            recording.note("called", {"id": n, "run": number})
            if n % 7 == 0:
                recording.sync()
        recording.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    for number in range(8):
        _, events = journal.read(f"run_{number}")
        assert [event.body.get("id") for event in events] == [None, *range(50)]
        assert {event.body["run"] for event in events[1:]} == {number}
    assert not [each for each in checkpoints.verify(store) if isinstance(each, checkpoints.Problem)]


def test_a_store_that_refuses_is_told_and_loses_nothing(journal: Journal, store: Counting) -> None:
    one, other = journal.begin("run_a", "ann"), journal.begin("run_b", "bob")
    store.refuses = True
    for recording in (one, other):
        recording.note("began", {"code": ""})
        with pytest.raises(JournalError, match="no space"):
            recording.sync()
    one.note("called", {"id": 0})
    store.refuses = False
    one.sync()
    other.sync()
    assert [[event.kind for event in journal.read(run)[1]] for run in ("run_a", "run_b")] == [
        ["began", "called"],
        ["began"],
    ]


def test_what_waits_is_bounded(journal: Journal, store: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_MOST_BUFFERED", 50_000)
    recording = journal.begin("run_a", "ann")
    store.refuses = True
    with pytest.raises(JournalError, match="too much waits"):
        for number in itertools.count():
            recording.note("called", {"id": number, "text": "x" * 1_000})
    store.refuses = False
    journal.flush()
    recording.note("called", {"id": -1})
    recording.sync()
    assert not [each for each in checkpoints.verify(store) if isinstance(each, checkpoints.Problem)]


def test_a_run_another_has_taken_is_lost(journal: Journal, store: Counting, place: Path) -> None:
    recording = journal.begin("run_a", "ann")
    recording.note("began", {"code": ""})
    recording.sync()
    other = SqliteStore(place)
    taken = other.lease("run_a", "somebody", 4e9, now=time.time(), dead=lambda owner: True)
    recording.note("called", {"id": 0})
    with pytest.raises(RunBusy, match="Another process has taken run_a"):
        recording.sync()
    with pytest.raises(RunBusy):
        recording.note("called", {"id": 1})
    recording.close()
    journal.flush()
    now = other.run("run_a")
    assert now is not None
    assert (now.owner, now.fence, now.n) == ("somebody", taken.fence, 1)
    other.close()


def test_a_run_is_taken_by_one_at_a_time(journal: Journal, place: Path) -> None:
    recording = journal.begin("run_a", "ann")
    recording.note("began", {"code": ""})
    recording.sync()
    other = Journal(SqliteStore(place))
    for each in (journal, other):
        with pytest.raises(RunBusy):
            each.take("run_a")
    for caller in ("bob", ""):
        with pytest.raises(RunNotFound):
            journal.take("run_a", caller=caller)
    recording.close()
    journal.flush()
    taken, events = other.take("run_a", caller="ann")
    assert [event.kind for event in events] == ["began"]
    with pytest.raises(RunBusy):
        journal.take("run_a")
    taken.note("ended", {"status": "succeeded"}, stands=("succeeded", {}))
    taken.close()
    other.close()
    with pytest.raises(RunBusy, match="has ended"):
        journal.take("run_a")


def test_large_values_are_beside_the_events_once(journal: Journal, place: Path) -> None:
    recording = journal.begin("run_a", "ann")
    recording.note("began", {"code": ""})
    value = {"text": "ä" * writer.LARGE, "bytes": b"\0\1", "$odd": [1, 2.5, None]}
    for number in range(3):
        recording.note("answered", {"id": number, "value": value}, large="value")
    recording.sync()
    _, events = journal.read("run_a")
    assert [event.body for event in events[1:]] == [{"id": number, "value": value} for number in range(3)]
    with sqlite3.connect(place) as rows:
        assert rows.execute("select count(*) from oneturn_blobs").fetchone() == (1,)
        rows.execute("update oneturn_blobs set data=?", (b'{"value":1}',))
    with pytest.raises(JournalCorrupt):
        journal.read("run_a")


def test_only_the_newest_ended_runs_are_kept_within_a_size(store: Counting) -> None:
    journal = Journal(store, most=5_000)
    waiting = journal.begin("run_waiting", "ann")
    waiting.note("began", {"code": "x" * 5_000})
    for number in range(10):
        recording = journal.begin(f"run_{number}", "ann")
        recording.note("began", {"code": "x" * 1_000}, stands=("succeeded", {}))
        recording.close()
        journal.flush()
    kept = {row.id for row in journal.runs()}
    assert {"run_waiting", "run_9"} <= kept
    assert "run_0" not in kept
    journal.close()


def test_bodies_and_large_values_are_encrypted_with_a_key_of_the_run(place: Path, tmp_path: Path) -> None:
    vault = Vault(b"k" * 32)
    journal = Journal(SqliteStore(place), vault=vault)
    recording = journal.begin("run_a", "ann")
    recording.note("began", {"code": "the script"})
    recording.note("answered", {"id": 0, "value": "plain text" * 20_000}, large="value")
    recording.sync()
    _, events = journal.read("run_a")
    assert events[1].body["value"] == "plain text" * 20_000
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("journal.db*"))
    assert b"the script" not in kept
    assert b"plain text" not in kept
    without = Journal(SqliteStore(place))
    with pytest.raises(JournalError, match="encrypted"):
        without.read("run_a")
    journal.store.drop_key("run_a")
    with pytest.raises(JournalError):
        journal.read("run_a")
    without.close()
    journal.close()
