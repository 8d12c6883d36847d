"""The suite every store of the journal must pass. Subclass `StoreContract` and say how one is opened."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ..errors import JournalError, RunBusy
from ..journal.chain import first_bad, seal, start_of
from ..journal.rows import Append, ApprovalRow, ArtifactRow, CheckpointRow, Row, RunRow
from ..journal.store import Store
from ..types import RunStatus

FAR = 1e10
"""A time no test reaches."""


def new_run(run: str, *, caller: str = "ann", began: float = 1.0, key: bytes = b"") -> RunRow:
    """A run that has no rows yet, held by `here` with fence 1."""
    return RunRow(run, caller, "running", began, None, 1, "here", FAR, 0, start_of(run), key, "{}")


def rows_after(last: RunRow | Row, *bodies: bytes) -> tuple[Row, ...]:
    """Rows that follow on from a run's last one."""
    run, head = (last.id, last.head) if isinstance(last, RunRow) else (last.run, last.hash)
    found: list[Row] = []
    for n, body in enumerate(bodies, last.n + 1):
        found.append(seal(head, run, n, "called", 1700000000.1 + n / 3, body))
        head = found[-1].hash
    return tuple(found)


def append_of(run: str, rows: tuple[Row, ...] = (), *, fence: int = 1, new: RunRow | None = None) -> Append:
    """An append of these rows to a run that goes on."""
    return Append(run, fence, "running", None, "{}", FAR, rows, new=new)


def record(
    store: Store, run: str, *bodies: bytes, caller: str = "ann", began: float = 1.0, key: bytes = b""
) -> RunRow:
    """Write a new run with these rows, and give it as it is then."""
    new = new_run(run, caller=caller, began=began, key=key)
    assert store.append([append_of(run, rows_after(new, *bodies), new=new)]) == frozenset()
    return known(store, run)


def end(store: Store, run: str, status: RunStatus, ended: float) -> None:
    """End a run that has fence 1."""
    assert store.append([Append(run, 1, status, ended, "{}", 0.0)]) == frozenset()


def known(store: Store, run: str) -> RunRow:
    """A run that must be there."""
    row = store.run(run)
    assert row is not None
    return row


def approval(
    id: str, run: str = "r", *, call: int = 1, asked: float = 5.0, expires: float | None = None
) -> ApprovalRow:
    """A pending approval."""
    return ApprovalRow(
        id, run, call, "ann", "mail.send", "pending", asked, expires, b"request of " + id.encode()
    )


def ask(store: Store, run: str, *rows: ApprovalRow) -> None:
    """Write approvals of a run that has fence 1."""
    assert store.append([Append(run, 1, "waiting", None, "{}", FAR, asks=rows)]) == frozenset()


def _nobody_is_dead(_owner: str) -> bool:
    return False


class StoreContract:
    """What every store must do."""

    def open_store(self) -> Store:
        """A store of the kind under test; all of one test are of the same journal, empty at first."""
        raise NotImplementedError

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """The store under test; closed afterwards."""
        store = self.open_store()
        yield store
        store.close()

    @pytest.fixture
    def other(self) -> Iterator[Store]:
        """Another store of the same journal, as another process has it."""
        store = self.open_store()
        yield store
        store.close()

    # --- appending and reading

    def test_rows_come_back_exactly_and_in_order(self, store: Store, other: Store) -> None:
        bodies = [b"", b"\x00\xff'\"", "grüße 🐍".encode(), *(b"%d" % n for n in range(450))]
        new = new_run("r")
        rows = rows_after(new, *bodies)
        store.append([append_of("r", rows[:1], new=new)])
        store.append([append_of("r", rows[1:])])
        assert tuple(other.rows("r")) == rows
        run = known(other, "r")
        assert (run.n, run.head) == (len(rows), rows[-1].hash)
        assert first_bad(run, other.rows("r")) is None

    @pytest.mark.parametrize("at", [0.1 + 0.2, 1e-300, math.nextafter(1.7e9, 2e9), 1700000000])
    def test_a_time_comes_back_to_the_last_bit(self, store: Store, at: float) -> None:
        new = new_run("r")
        store.append([append_of("r", (seal(new.head, "r", 1, "began", at, b"x"),), new=new)])
        assert first_bad(known(store, "r"), store.rows("r")) is None

    def test_a_run_comes_back_as_it_was_last_said_to_be(self, store: Store) -> None:
        new = replace(new_run("r", key=b"wrapped"), caller="böb")
        rows = rows_after(new, b"1", b"2")
        store.append([append_of("r", rows[:1], new=new)])
        store.append([Append("r", 1, "failed", 9.5, '{"calls":2}', 3.5, rows[1:])])
        assert store.run("r") == replace(
            new, status="failed", ended=9.5, about='{"calls":2}', until=3.5, n=2, head=rows[1].hash
        )
        assert store.run("R") is None
        assert list(store.rows("nobody")) == []

    def test_runs_are_listed_newest_first(self, store: Store) -> None:
        for n in range(6):
            record(store, f"r{n}", b"x", caller=("ann", "bob")[n % 2], began=10.0 + n)
        end(store, "r4", "succeeded", 20.0)
        assert [run.id for run in store.runs()] == ["r5", "r4", "r3", "r2", "r1", "r0"]
        assert [run.id for run in store.runs(limit=2)] == ["r5", "r4"]
        assert [run.id for run in store.runs(caller="ann")] == ["r4", "r2", "r0"]
        assert [run.id for run in store.runs(caller="ann", status="running")] == ["r2", "r0"]
        assert [run.id for run in store.runs(before=12.0)] == ["r1", "r0"]
        assert store.runs(caller="' OR 1=1 --") == []

    def test_blobs_are_a_runs_own(self, store: Store) -> None:
        data = bytes(range(256)) * 1000
        digest = hashlib.sha256(data).digest()
        for run in ("r", "s"):
            record(store, run, b"x")
        store.append([Append("r", 1, "running", None, "{}", FAR, blobs=((digest, data), (digest, data)))])
        store.append([Append("r", 1, "running", None, "{}", FAR, blobs=((digest, data),))])
        assert store.blob("r", digest) == data
        assert store.blob("s", digest) is None
        assert list(store.blobs("r")) == [(digest, data)]

    # --- fences

    def test_another_fence_writes_nothing_of_its_run_and_all_of_the_others(self, store: Store) -> None:
        runs = {name: record(store, name, b"1") for name in ("a", "b", "c")}
        store.lease("b", "there", FAR, now=FAR + 1, dead=_nobody_is_dead)
        blob = (hashlib.sha256(b"v").digest(), b"v")
        appends = [
            replace(
                append_of(name, rows_after(run, b"2")), blobs=(blob,), asks=(approval(f"ask-{name}", name),)
            )
            for name, run in runs.items()
        ]
        assert store.append([*appends, append_of("none", rows_after(new_run("none"), b"1"))]) == {"b", "none"}
        assert [known(store, name).n for name in "abc"] == [2, 1, 2]
        assert [len(list(store.rows(name))) for name in "abc"] == [2, 1, 2]
        assert [store.blob(name, blob[0]) for name in "abc"] == [b"v", None, b"v"]
        assert {row.id for row in store.approvals()} == {"ask-a", "ask-c"}
        assert store.append([append_of("b", rows_after(known(store, "b"), b"2"), fence=2)]) == frozenset()

    def test_an_append_that_was_written_is_not_written_twice(self, store: Store) -> None:
        new = new_run("r")
        rows = rows_after(new, b"1", b"2", b"3", b"4")
        first = replace(append_of("r", rows[:2], new=new), asks=(approval("ask"),))
        store.append([first])
        assert store.append([first]) == frozenset()
        assert store.append([replace(first, rows=rows)]) == frozenset()
        assert tuple(store.rows("r")) == rows
        assert known(store, "r").n == 4
        assert len(store.approvals()) == 1

    def test_rows_that_do_not_follow_on_are_not_written(self, store: Store) -> None:
        run = record(store, "r", b"1", b"2")
        written = tuple(store.rows("r"))
        fork = rows_after(new_run("r"), b"1", b"other", b"3", b"4")
        assert store.append([append_of("r", fork)]) == {"r"}
        assert store.append([append_of("r", fork[1:])]) == {"r"}
        assert store.append([append_of("r", fork[3:])]) == {"r"}
        assert (store.run("r"), tuple(store.rows("r"))) == (run, written)

    def test_what_was_written_is_lost_all_the_same_once_another_has_the_run(self, store: Store) -> None:
        run = record(store, "r", b"1")
        append = append_of("r", rows_after(run, b"2"))
        store.append([append])
        store.lease("r", "there", FAR, now=FAR, dead=_nobody_is_dead)
        assert store.append([append]) == {"r"}

    @pytest.mark.parametrize("bodies", [(), (b"1",)])
    def test_a_new_run_does_not_take_anothers_id(self, store: Store, bodies: tuple[bytes, ...]) -> None:
        run = record(store, "r", *bodies)
        theirs = replace(new_run("r", caller="bob"), owner="there")
        assert store.append([append_of("r", rows_after(theirs, b"2"), new=theirs)]) == {"r"}
        assert store.run("r") == run

    # --- leases

    def test_a_run_is_taken_only_when_nobody_holds_it(self, store: Store) -> None:
        run = record(store, "r", b"1")
        for now, dead in ((5.0, ""), (FAR - 1, "there")):
            with pytest.raises(RunBusy, match="here"):
                store.lease("r", "there", FAR, now=now, dead=dead.__eq__)
        taken = store.lease("r", "there", 50.0, now=5.0, dead="here".__eq__)
        assert taken == replace(run, owner="there", until=50.0, fence=2) == store.run("r")
        with pytest.raises(RunBusy, match="there"):
            store.lease("r", "here", FAR, now=49.9, dead=_nobody_is_dead)
        assert store.lease("r", "here", FAR, now=50.0, dead=_nobody_is_dead).fence == 3
        store.release("r", 2)
        assert known(store, "r").owner == "here"
        store.release("r", 3)
        assert store.lease("r", "third", FAR, now=5.0, dead=_nobody_is_dead).fence == 4
        with pytest.raises(LookupError):
            store.lease("none", "there", FAR, now=5.0, dead=_nobody_is_dead)

    def test_renewing_holds_only_what_is_still_held(self, store: Store) -> None:
        for name in ("a", "b"):
            record(store, name, b"1")
        store.lease("b", "there", 50.0, now=FAR, dead=_nobody_is_dead)
        store.renew({"a": 1, "b": 1, "none": 1}, 70.0)
        store.renew({}, 90.0)
        assert (known(store, "a").until, known(store, "b").until) == (70.0, 50.0)

    def test_a_run_renewed_while_it_is_taken_stays_with_its_holder(self, store: Store, other: Store) -> None:
        record(store, "r", b"1")

        def wakes_up(_owner: str) -> bool:
            other.renew({"r": 1}, FAR + 5)
            return True

        with pytest.raises(RunBusy):
            store.lease("r", "there", FAR, now=5.0, dead=wakes_up)
        assert known(store, "r").owner == "here"

    def test_of_many_that_take_a_run_at_once_one_gets_it(self, store: Store, other: Store) -> None:
        for n in range(10):
            record(store, f"r{n}", b"1")
        together = threading.Barrier(8)

        def take(n: int) -> list[str]:
            got = []
            for run in (f"r{k}" for k in range(10)):
                together.wait(30)
                try:
                    (store, other)[n % 2].lease(run, f"p{n}", 2 * FAR, now=FAR, dead=_nobody_is_dead)
                except RunBusy:
                    continue
                got.append(run)
            return got

        with ThreadPoolExecutor(8) as pool:
            taken = [run for each in pool.map(take, range(8)) for run in each]
        assert sorted(taken) == [f"r{n}" for n in range(10)]

    # --- approvals

    def test_approvals_are_listed_newest_first_and_calls_in_order(self, store: Store) -> None:
        record(store, "r", b"1")
        record(store, "s", b"1", caller="bob")
        ask(store, "r", approval("b", call=2), approval("a", call=1), approval("c", asked=9.0))
        ask(store, "s", replace(approval("d", "s", asked=7.0), caller="bob"))
        assert [row.id for row in store.approvals()] == ["c", "d", "a", "b"]
        assert [row.id for row in store.approvals(run="r", limit=2)] == ["c", "a"]
        assert [row.id for row in store.approvals(caller="bob", status="pending")] == ["d"]
        assert store.approval("a") == approval("a", call=1)
        assert store.approval("none") is None

    def test_the_first_decision_stands(self, store: Store, other: Store) -> None:
        record(store, "r", b"1")
        ask(store, "r", approval("a"))
        assert store.decide("a", "denied", by="eve", decision=b"no", now=8.0)
        assert not other.decide("a", "approved", by="bob", decision=b"yes", now=8.0)
        assert not store.decide("a", "denied", by="eve", decision=b"no", now=8.0)
        assert not store.decide("none", "approved", by="bob", decision=b"", now=8.0)
        row = other.approval("a")
        assert row == replace(approval("a"), status="denied", by="eve", decision=b"no", decided=8.0)
        assert not store.use("a")
        with pytest.raises(ValueError, match="used"):
            store.decide("a", "used", by="eve", decision=b"", now=8.0)

    def test_an_approval_whose_time_is_up_can_only_expire(self, store: Store) -> None:
        record(store, "r", b"1")
        ask(store, "r", approval("a", expires=10.0), approval("b"))
        assert not store.decide("a", "expired", by="", decision=b"", now=9.9)
        assert not store.decide("a", "approved", by="bob", decision=b"", now=10.0)
        assert store.decide("a", "expired", by="", decision=b"", now=10.0)
        assert not store.decide("b", "expired", by="", decision=b"", now=FAR)

    def test_an_approval_is_used_once(self, store: Store, other: Store) -> None:
        record(store, "r", b"1")
        ask(store, "r", approval("a"))
        assert not store.use("a")
        assert store.decide("a", "approved", by="bob", decision=b"", now=6.0)
        with ThreadPoolExecutor(10) as pool:
            used = list(pool.map(lambda n: (store, other)[n % 2].use("a"), range(50)))
        assert used.count(True) == 1

    def test_an_approval_that_was_dropped_can_be_asked_for_anew(self, store: Store) -> None:
        record(store, "r", b"1")
        ask(store, "r", approval("a"), approval("b"))
        assert store.decide("a", "approved", by="bob", decision=b"yes", now=6.0)
        assert store.drop_approval("a")
        assert not store.drop_approval("a")
        assert [row.id for row in store.approvals()] == ["b"]
        ask(store, "r", approval("a"))
        assert store.approval("a") == approval("a")

    # --- artifacts and checkpoints

    def test_artifacts_are_kept_by_id_and_measured_by_caller(self, store: Store) -> None:
        one = ArtifactRow("a1", "ann", "r", "image/png", "x.png", b"\x00" * 10, 1.0)
        two = ArtifactRow("a2", "ann", "r", "text/plain", "", b"12345", 2.0)
        for each in (two, one, one):
            store.put_artifact(each)
        with pytest.raises(JournalError, match="a1"):
            store.put_artifact(replace(one, caller="eve"))
        assert store.artifact("a1") == one
        assert store.artifact_sizes("ann") == [("a1", 10), ("a2", 5)]
        assert store.artifact_sizes("eve") == []
        assert (store.artifacts("r"), store.artifacts("none")) == (["a1", "a2"], [])
        assert store.drop_artifact("a1")
        assert not store.drop_artifact("a1")
        assert store.artifact("a1") is None

    def test_checkpoints_are_numbered_once(self, store: Store, other: Store) -> None:
        rows = [CheckpointRow(n, b"said %d" % n, b"signature") for n in (1, 2)]
        for row in rows:
            store.add_checkpoint(row)
        with pytest.raises(JournalError, match="another process"):
            other.add_checkpoint(CheckpointRow(2, b"otherwise", b"signature"))
        assert list(other.checkpoints()) == rows

    # --- removing

    def test_pruning_removes_old_ended_runs_with_all_that_is_theirs(self, store: Store) -> None:
        blob = (hashlib.sha256(b"v").digest(), b"v")
        for n in range(230):
            record(store, f"old{n}", b"x")
            end(store, f"old{n}", "succeeded", 5.0)
        others: tuple[tuple[str, RunStatus, float | None], ...] = (
            ("new", "failed", 50.0),
            ("waits", "waiting", None),
            ("full", "failed", 5.0),
        )
        for name, status, ended in others:
            record(store, name, b"x")
            ask(store, name, approval(f"ask-{name}", name))
            store.put_artifact(ArtifactRow(f"art-{name}", "ann", name, "", "", b"x", 1.0))
            store.append([Append(name, 1, status, ended, "{}", 0.0, blobs=(blob,))])
        removed = store.prune(10.0)
        assert len(removed) == 231
        assert [run.id for run in store.runs()] == ["waits", "new"]
        assert list(store.rows("full")) == []
        assert store.blob("full", blob[0]) is None
        assert store.approval("ask-full") is None
        assert store.artifact("art-full") is None
        assert store.artifact("art-new") is not None
        assert store.prune(10.0, statuses=()) == []
        assert store.prune(10.0, statuses=("waiting",)) == ["waits"]

    def test_a_forgotten_run_takes_nothing_more(self, store: Store) -> None:
        run = record(store, "r", b"1")
        assert store.forget("r")
        assert not store.forget("r")
        assert store.append([append_of("r", rows_after(run, b"2"))]) == {"r"}
        assert (store.run("r"), list(store.rows("r")), store.strays()) == (None, [], [])

    def test_removals_are_remembered_until_a_checkpoint_signs_for_them(self, store: Store) -> None:
        for name in ("a", "b", "c"):
            record(store, name, b"1")
        store.forget("a")
        assert store.gone() == []
        store.add_checkpoint(CheckpointRow(1, b"said", b"signature"))
        store.forget("b")
        end(store, "c", "failed", 5.0)
        store.prune(10.0)
        assert store.gone() == ["b", "c"]
        store.add_checkpoint(CheckpointRow(2, b"said", b"signature"), gone=["b"])
        assert store.gone() == ["c"]

    def test_dropping_a_key_leaves_the_chain_and_nothing_readable(self, store: Store) -> None:
        run = record(store, "r", b"ciphertext", key=b"wrapped")
        ask(store, "r", approval("a"))
        store.put_artifact(ArtifactRow("art", "ann", "r", "", "", b"plain", 1.0))
        assert store.drop_key("r")
        assert not store.drop_key("r")
        assert not store.drop_key("none")
        now = known(store, "r")
        assert (now.key, now.about, now.n) == (b"", "{}", run.n)
        assert first_bad(now, store.rows("r")) is None
        assert store.artifact("art") is None
        assert [(row.request, row.decision) for row in store.approvals()] == [(b"", b"")]

    # --- all of it

    def test_heads_are_those_of_every_run(self, store: Store) -> None:
        runs = [record(store, f"r{n:04}", b"x") for n in range(450)]
        assert list(store.heads()) == [(run.id, run.n, run.head) for run in runs]

    def test_many_that_open_a_new_journal_at_once_open_one(self) -> None:
        together = threading.Barrier(8)

        def open_it(n: int) -> Store:
            together.wait(30)
            store = self.open_store()
            record(store, f"r{n}", b"1")
            return store

        with ThreadPoolExecutor(8) as pool:
            stores = list(pool.map(open_it, range(8)))
        assert [len(store.runs()) for store in stores] == [8] * 8
        for store in stores:
            store.close()

    def test_many_threads_append_at_once(self, store: Store, other: Store) -> None:
        def write(n: int) -> None:
            last: RunRow | Row = record(store, f"r{n}", b"0")
            for k in range(20):
                rows = rows_after(last, b"%d" % k, b"again")
                assert (store, other)[k % 2].append([append_of(f"r{n}", rows)]) == frozenset()
                last = rows[-1]

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(write, range(6)))
        assert [(run.n, first_bad(run, other.rows(run.id))) for run in other.runs()] == [(41, None)] * 6

    @pytest.mark.parametrize("caller", [None, "\ud800"])
    def test_what_failed_left_nothing_and_the_store_goes_on(self, store: Store, caller: str) -> None:
        run = record(store, "r", b"1")
        good = append_of("r", rows_after(run, b"2"))
        with pytest.raises(JournalError):
            store.append([good, append_of("s", new=new_run("s", caller=caller))])
        assert known(store, "r") == run
        assert store.append([good]) == frozenset()

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.close()
        store.close()
        with pytest.raises(JournalError, match="closed"):
            store.run("r")
        with pytest.raises(JournalError, match="closed"):
            store.append([])
