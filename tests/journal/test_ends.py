"""What may not happen to a run that is retried, taken up elsewhere, or cut off before its end is known."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

import pytest

from oneturn import CodeMode, DecisionRefused, JournalError, Limits, RunBusy, SandboxUnavailable
from oneturn.journal.owners import this_process
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.writer import Journal
from oneturn.types import Decision

DONE: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    DONE.clear()


def app(folder: Path, **options: object) -> CodeMode:
    made = CodeMode(allow="*", journal=folder / "journal.db", sandbox="monty", **options)  # type: ignore[arg-type]

    @made.tool(effect="write")
    def charge(amount: int) -> str:
        DONE.append(f"charge {amount}")
        return "x" * amount

    @made.tool(effect="destructive")
    def wipe() -> str:
        DONE.append("wipe")
        return "wiped"

    return made


async def test_a_call_whose_result_could_not_be_taken_is_not_made_again_unasked(tmp_path: Path) -> None:
    limits = Limits(value_bytes=1_000)
    async with app(tmp_path, limits=limits) as bank:
        failed = await bank.execute("await charge(5_000)")
        assert failed.error is not None
        again = await bank.execute("await charge(5_000)", retry_of=failed.run_id)
    assert again.status == "waiting"
    assert "its answer is not on record" in again.pending[0].why
    assert DONE == ["charge 5000"]


async def test_a_run_that_is_retried_is_over_and_cannot_be_decided_about(tmp_path: Path) -> None:
    async with app(tmp_path) as bank:
        waiting = await bank.execute("await wipe()\nawait charge(7)")
        again = await bank.execute("await charge(7)", retry_of=waiting.run_id)
        assert again.ok
        with pytest.raises(DecisionRefused):
            await bank.decide(waiting.pending[0].id, Decision(True, "alice"))
        over = await bank.resume(waiting.run_id)
    assert over.status == "cancelled"
    assert over.error is not None
    assert again.run_id in over.error.message
    assert DONE == ["charge 7"]


async def test_a_run_is_retried_once_and_then_its_retry_is(tmp_path: Path) -> None:
    async with app(tmp_path) as bank:
        failed = await bank.execute("await charge(1)\nawait charge(2)\n1 / 0")
        broken = await bank.execute("await charge(1)\n1 / 0", retry_of=failed.run_id)
        with pytest.raises(JournalError, match=broken.run_id):
            await bank.execute("await charge(1)", retry_of=failed.run_id)
        # What the first one did is not done again, though the second one never came so far.
        third = await bank.execute("await charge(1)\nawait charge(2)\n'ok'", retry_of=broken.run_id)
    assert third.value == "ok"
    assert [call.reused for call in third.calls] == [True, True]
    assert DONE == ["charge 1", "charge 2"]


async def test_a_chain_of_retries_that_is_too_long_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oneturn.runtime._RETRIES", 2)
    async with app(tmp_path) as bank:
        last = await bank.execute("await charge(1)\n1 / 0")
        for _ in range(2):  # neither comes as far as the call
            last = await bank.execute("1 / 0", retry_of=last.run_id)
        with pytest.raises(JournalError, match="start a new run"):
            await bank.execute("await charge(1)", retry_of=last.run_id)
    assert DONE == ["charge 1"]


async def test_a_retry_that_could_not_begin_is_no_retry(tmp_path: Path) -> None:
    async with app(tmp_path) as bank:
        failed = await bank.execute("await charge(1)\n1 / 0")
    async with app(tmp_path, isolation="container") as elsewhere:
        with pytest.raises(SandboxUnavailable):
            await elsewhere.execute("await charge(1)", retry_of=failed.run_id)
    async with app(tmp_path) as bank:
        assert (await bank.execute("await charge(1)", retry_of=failed.run_id)).calls[0].reused
    assert DONE == ["charge 1"]


@pytest.mark.parametrize("is_dead", [True, False])
async def test_a_retry_whose_host_died_before_it_began_is_no_retry(tmp_path: Path, is_dead: bool) -> None:
    async with app(tmp_path) as bank:
        failed = await bank.execute("await charge(1)\n1 / 0")
    journal = Journal(SqliteStore(tmp_path / "journal.db"))
    recording, _ = journal.take(failed.run_id, over=True)
    host = this_process()
    recording.note("retried", {"by": "run_0", "from": f"{host[:-1]}x" if is_dead else host})
    recording.close()
    journal.close()
    async with app(tmp_path) as bank:
        if is_dead:
            assert (await bank.execute("await charge(1)", retry_of=failed.run_id)).calls[0].reused
        else:
            with pytest.raises(RunBusy, match="run_0"):
                await bank.execute("await charge(1)", retry_of=failed.run_id)
    assert DONE == ["charge 1"]


async def test_what_is_told_of_a_run_that_changed_something_is_on_record_by_then(tmp_path: Path) -> None:
    async with app(tmp_path) as bank:
        for _ in range(5):
            outcome = await bank.execute("await charge(1)")
            with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as rows:
                kinds = rows.execute("select kind from oneturn_rows where run=?", (outcome.run_id,))
                assert "ended" in {kind for (kind,) in kinds}


async def test_what_a_run_retries_is_kept_as_long_as_it(tmp_path: Path) -> None:
    async with app(tmp_path) as bank:
        first = await bank.execute("await charge(1)\n1 / 0")
        second = await bank.execute("await charge(1)\nawait wipe()\n1 / 0", retry_of=first.run_id)
        other = await bank.execute("await charge(2)\n1 / 0")
        journal = Journal(SqliteStore(tmp_path / "journal.db"))
        assert journal.store.prune(time.time() + 1) == [other.run_id]
        await bank.decide(second.pending[0].id, Decision(True, "alice"))
        assert [call.reused for call in (await bank.resume(second.run_id)).calls] == [True, False]
        assert set(journal.store.prune(time.time() + 1)) == {first.run_id, second.run_id}
        journal.close()
    assert DONE == ["charge 1", "charge 2", "wipe"]


async def test_a_retry_goes_on_only_while_what_it_retries_is_known(tmp_path: Path) -> None:
    async with app(tmp_path) as bank:
        first = await bank.execute("await charge(1)\n1 / 0")
        second = await bank.execute("await wipe()\nawait charge(1)", retry_of=first.run_id)
        journal = Journal(SqliteStore(tmp_path / "journal.db"))
        journal.store.forget(first.run_id)
        journal.close()
        await bank.decide(second.pending[0].id, Decision(True, "alice"))
        with pytest.raises(JournalError, match="not on record any more"):
            await bank.resume(second.run_id)
    assert DONE == ["charge 1"]


async def test_a_run_that_could_not_begin_leaves_nothing_on_record(tmp_path: Path) -> None:
    async with app(tmp_path, isolation="container") as elsewhere:
        with pytest.raises(SandboxUnavailable):
            await elsewhere.execute("await charge(1)")
    journal = Journal(SqliteStore(tmp_path / "journal.db"))
    assert journal.runs() == []
    journal.close()


async def test_a_run_that_could_not_be_taken_up_here_goes_on_elsewhere(tmp_path: Path) -> None:
    async with app(tmp_path) as bank:
        waiting = await bank.execute("await wipe()")
        await bank.decide(waiting.pending[0].id, Decision(True, "alice"))
    async with app(tmp_path, isolation="container") as elsewhere:
        with pytest.raises(SandboxUnavailable):
            await elsewhere.resume(waiting.run_id)
    async with app(tmp_path) as bank:
        assert (await bank.resume(waiting.run_id)).value == "wiped"
    assert DONE == ["wipe"]


async def test_a_word_that_was_filed_stands_against_a_later_one(tmp_path: Path) -> None:
    async def late_yes(approvals: object) -> list[Decision]:
        await bank.decide(waiting.pending[0].id, Decision(False, "carol"))
        return [Decision(True, "alice")]

    async with app(tmp_path) as bank:
        waiting = await bank.execute("await wipe()")
        outcome = await bank.resume(waiting.run_id, approver=late_yes)
    assert outcome.error is not None
    assert "denied by carol" in outcome.error.message
    assert DONE == []


async def test_a_masked_argument_of_a_direct_call_is_on_record_nowhere(tmp_path: Path) -> None:
    async with app(tmp_path, redact=["amount"]) as bank:
        assert (await bank.call("charge", {"amount": 31_337})).ok
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("journal.db*"))  # noqa: ASYNC240
    assert b"31337" not in kept
