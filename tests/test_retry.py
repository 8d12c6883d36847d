"""A corrected script does the work of an earlier run again: what succeeded is not repeated."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.journal.shop import Shop, crashes, needs_python

from oneturn import CodeMode, Limits, Outcome, current_call
from oneturn.errors import RunBusy, RunNotFound


class Bank(Shop):
    """Every call has a number of its own, so that what is reused can be told from what is done again."""

    pin = ""
    fails = True

    def __init__(self, *where: Path) -> None:
        super().__init__(*where)
        self.keys: list[str] = []
        """The idempotency keys of the charges."""

    def app(self, **options: Any) -> CodeMode:
        app = super().app(**options)

        @app.tool(effect="read")
        async def rate(n: int) -> int:
            self.do(f"rate {n}")
            return len(self.done())

        @app.tool(effect="write", description=f"Charge. {self.pin}")
        async def charge(n: int) -> int:
            self.do(f"charge {n}")
            self.keys.append(current_call().idempotency_key)
            return len(self.done())

        @app.tool(effect="write")
        async def flaky(n: int) -> int:
            self.do(f"flaky {n}")
            if self.fails:
                raise ValueError("not now")
            return len(self.done())

        return app

    async def retry(self, code: str, outcome: Outcome, **options: Any) -> Outcome:
        """Run a corrected script."""
        return await self.run(code, execute={"retry_of": outcome.run_id}, **options)


def reused(outcome: Outcome) -> list[tuple[str, bool]]:
    return [(call.tool, call.reused) for call in outcome.calls]


def forget(bank: Bank) -> None:
    (bank.folder / "done").unlink(missing_ok=True)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


WORK = "a = await rate(1)\nb = await charge(5)\nc = await charge(5)\nd = await rate(2)\n"


@pytest.mark.parametrize("tier", ["monty", "cpython"])
async def test_the_same_calls_in_the_same_order_are_all_answered_from_the_record(
    bank: Bank, tier: str
) -> None:
    if tier == "cpython":
        needs_python()
    first = await bank.run(f"{WORK}1 / 0", execute={"sandbox": tier})
    done = bank.done()
    again = await bank.run(f"{WORK}[a, b, c, d]", execute={"sandbox": tier, "retry_of": first.run_id})
    assert (again.value, bank.done(), again.retry_of) == ([1, 2, 3, 4], done, first.run_id)
    assert reused(again) == [("rate", True), ("charge", True), ("charge", True), ("rate", True)]
    kept = await bank.resume(again.run_id)
    assert (reused(kept), kept.retry_of) == (reused(again), first.run_id)


async def test_from_the_first_difference_on_reads_are_live_and_writes_are_not_repeated(bank: Bank) -> None:
    first = await bank.run(f"{WORK}1 / 0")
    forget(bank)
    again = await bank.retry(
        "a = await rate(1)\nx = await rate(9)\nb = await charge(5)\nc = await charge(5)\nd = await rate(2)\n"
        "e = await charge(5)\nf = await charge(6)\n[a, x, b, c, d, e, f]",
        first,
    )
    assert bank.done() == ["rate 9", "rate 2", "charge 5", "charge 6"]
    assert again.value == [1, 1, 2, 3, 2, 3, 4]
    assert [each for _, each in reused(again)] == [True, False, True, True, False, False, False]


async def test_other_arguments_are_another_call(bank: Bank) -> None:
    first = await bank.run("await charge(1)\n1 / 0")
    forget(bank)
    again = await bank.retry("await charge(2)\nawait charge(1)\nawait charge(n=1)", first)
    assert reused(again) == [("charge", False), ("charge", True), ("charge", False)]
    assert bank.done() == ["charge 2", "charge 1"]


async def test_a_call_that_failed_is_made_again(bank: Bank) -> None:
    first = await bank.run("await charge(1)\nawait flaky(2)\nawait charge(3)")
    assert bank.done() == ["charge 1", "flaky 2"]
    forget(bank)
    bank.fails = False
    again = await bank.retry("await charge(1)\nawait flaky(2)\nawait charge(3)", first)
    assert (again.ok, bank.done()) == (True, ["flaky 2", "charge 3"])


async def test_parallel_calls_are_not_repeated(bank: Bank) -> None:
    code = "import asyncio\ngot = await asyncio.gather(*[charge(n % 3) for n in range(9)])\n"
    first = await bank.run(f"{code}1 / 0")
    forget(bank)
    again = await bank.retry(f"await rate(1)\n{code}sorted(got)", first)
    assert (again.value, bank.done()) == ([1, 2, 3, 4, 5, 6, 7, 8, 9], ["rate 1"])


# --- in doubt


@pytest.mark.parametrize("approved", [True, False])
async def test_a_write_whose_fate_is_unknown_is_repeated_only_by_a_persons_word(
    bank: Bank, approved: bool
) -> None:
    first = await bank.run("await save(1)\nawait save(2)")
    crashed = Bank(bank.folder, bank.after("called").journal)
    interrupted = await crashed.resume(first.run_id)
    assert [call.status for call in interrupted.calls] == ["ok", "unknown"]
    forget(crashed)
    code = "got = []\nfor n in (1, 2):\n    try:\n        got.append(await save(n))\n"
    code += "    except PermissionError as error:\n        got.append(str(error))\ngot"
    waiting = await crashed.retry(code, first)
    (asked,) = waiting.pending
    assert (asked.arguments, asked.why) == (
        {"n": 2},
        f"it was sent in {first.run_id} already, and whether it took effect is unknown",
    )
    assert crashed.done() == []
    crashed.decide(waiting, 0, approved, "alice")
    outcome = await crashed.resume(waiting.run_id)
    assert outcome.value == ["saved 1", "saved 2" if approved else "save: denied by alice"]
    assert len(crashed.done()) == approved


async def test_a_tool_that_may_be_called_again_is(bank: Bank) -> None:
    first = await bank.run("await save(1)\nawait again.put(2)")
    crashed = Bank(bank.folder, bank.after("called").journal)
    forget(crashed)
    again = await crashed.retry("await save(1)\nawait again.put(2)", first)
    assert again.value == "put 2"
    assert crashed.done() == [f"put 2 {first.run_id}-1"]  # under the key that it had then


async def test_the_key_it_had_stays_through_crashes_and_retries(bank: Bank) -> None:
    first = await bank.run("await save(1)\nawait again.put(2)")
    crashed = Bank(bank.folder, bank.after("called").journal)
    again = await crashed.retry("await again.put(2)", first)
    last = Bank(bank.folder, _without_the_answer(crashed, again.run_id, "again.put"))
    forget(last)
    assert (await last.resume(again.run_id)).ok
    assert last.done() == [f"put 2 {first.run_id}-1"]
    last = Bank(bank.folder, _without_the_answer(crashed, again.run_id, "again.put"))
    forget(last)
    third = await last.retry("await again.put(2)\nawait again.put(2)", again)
    assert third.ok
    assert last.done() == [f"put 2 {first.run_id}-1", f"put 2 {third.run_id}-1"]


async def test_a_call_a_person_lets_repeat_has_the_key_it_had(bank: Bank) -> None:
    first = await bank.run("await charge(1)")
    crashed = Bank(bank.folder, bank.after("called").journal)
    waiting = await crashed.retry("await charge(1)", first)
    crashed.decide(waiting, 0, True, "alice")
    forget(crashed)
    assert (await crashed.resume(waiting.run_id)).ok
    assert [*bank.keys, *crashed.keys] == [f"{first.run_id}-0"] * 2


async def test_a_run_that_crashed_is_retried_without_taking_it_up(bank: Bank) -> None:
    first = await bank.run("await charge(1)\nawait charge(2)\nawait charge(3)")
    for which, live in ((0, 2), (1, 1), (2, 0)):
        crashed = Bank(bank.folder, bank.after("answered", which).journal)
        forget(crashed)
        again = await crashed.retry("[await charge(1), await charge(2), await charge(3)]", first)
        assert again.ok
        assert len(crashed.done()) == live


# --- what is not reused


async def test_another_callers_run_is_not_there(bank: Bank) -> None:
    first = await bank.run("await charge(1)", execute={"caller": "ann"})
    with pytest.raises(RunNotFound):
        await bank.run("await charge(1)", execute={"caller": "bob", "retry_of": first.run_id})
    with pytest.raises(RunNotFound):
        await bank.run("await charge(1)", execute={"caller": "ann", "retry_of": "run_0"})
    assert bank.done() == ["charge 1"]


async def test_a_run_under_way_is_not_retried(bank: Bank) -> None:
    async with bank.app() as app:
        run = asyncio.create_task(app.execute("await charge(1)\nawait gate()"))
        await bank.seen("done")
        with pytest.raises(RunBusy, match="under way"):
            await app.execute("await charge(1)", retry_of=app.running[0])
        (bank.folder / "open").touch()
        await run
    assert bank.done() == ["charge 1"]


async def test_answers_of_a_tool_that_was_changed_are_not_reused(bank: Bank) -> None:
    first = await bank.run("await charge(1)\nawait save(2)\n1 / 0")
    forget(bank)
    bank.pin = "In euros now."
    again = await bank.retry("await charge(1)\nawait save(2)", first)
    assert reused(again) == [("charge", False), ("save", True)]
    assert bank.done() == ["charge 1"]


async def test_what_was_denied_or_refused_is_asked_or_refused_anew(bank: Bank) -> None:
    code = "got = []\nfor n in (1, 'x'):\n    try:\n        got.append(await wipe(n))\n"
    code += "    except Exception as error:\n        got.append(type(error).__name__)\ngot"
    waiting = await bank.run(code)
    bank.decide(waiting, 0, False, "alice")
    first = await bank.resume(waiting.run_id)
    assert first.value[0] == "PermissionError"
    waiting = await bank.retry(code, first)
    assert [each.arguments for each in waiting.pending] == [{"n": 1}]
    bank.decide(waiting, 0, True, "alice")
    again = await bank.resume(waiting.run_id)
    assert again.value[0] == "wiped 1"
    assert not any(call.reused for call in again.calls)


async def test_what_waits_in_the_earlier_run_is_not_done(bank: Bank) -> None:
    waiting = await bank.run("await charge(1)\nawait wipe(1)")
    again = await bank.retry("await charge(1)\nawait wipe(1)", waiting)
    assert (again.status, bank.done()) == ("waiting", ["charge 1"])
    assert reused(again)[0] == ("charge", True)


# --- approvals, budgets, and retries of retries


async def test_what_was_approved_and_done_needs_no_word_again(bank: Bank) -> None:
    waiting = await bank.run("await wipe(1)\nawait wipe(2)\n1 / 0")
    for _ in range(2):
        bank.decide(waiting, 0, True, "alice")
        waiting = await bank.resume(waiting.run_id)
    assert waiting.status == "failed"
    again = await bank.retry("[await wipe(2), await wipe(1)]", waiting)
    assert (again.value, bank.wiped()) == (["wiped 2", "wiped 1"], [1, 2])


async def test_a_retry_of_a_retry(bank: Bank) -> None:
    first = await bank.run("await charge(1)\n1 / 0")
    second = await bank.retry("await charge(1)\nawait charge(2)\n1 / 0", first)
    third = await bank.retry("await charge(1)\nawait charge(2)\nawait charge(3)", second)
    assert bank.done() == ["charge 1", "charge 2", "charge 3"]
    assert reused(third) == [("charge", True), ("charge", True), ("charge", False)]


async def test_reused_calls_count(bank: Bank) -> None:
    first = await bank.run("for n in range(3):\n    await charge(n)\n1 / 0")
    again = await bank.retry("for n in range(5):\n    await charge(n)", first, limits=Limits(calls=4))
    assert again.status == "failed"
    assert bank.done() == ["charge 0", "charge 1", "charge 2", "charge 3"]


@pytest.mark.parametrize("code", [
    "[await rate(9), await charge(5), await charge(5), await charge(5), await charge(6)]",
    "import asyncio\nawait asyncio.gather(charge(5), wipe(1), charge(5), charge(5), charge(6))",
])  # fmt: skip
async def test_wherever_the_host_of_a_retry_dies_nothing_is_repeated(
    bank: Bank, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await bank.run(f"{WORK}1 / 0")
    forget(bank)
    with crashes(bank, monkeypatch) as left:
        waiting = await bank.retry(code, first)
        if waiting.status == "waiting":
            bank.decide(waiting, 0, True, "alice")
            waiting = await bank.resume(waiting.run_id)
    assert waiting.ok
    wanted = sorted(line for line in bank.done() if not line.startswith("rate"))
    for shop in left:
        one = Bank(shop.folder)
        try:
            ended = await one.to_end(waiting.run_id)
        except RunNotFound:
            continue  # it died before the run was on record
        done = sorted(line for line in one.done() if not line.startswith("rate"))
        unknown = sum(call.status == "unknown" for call in ended.calls)
        assert all(done.count(line) <= wanted.count(line) for line in done), one.folder
        assert ended.ok or unknown, (one.folder, ended.error)
        if ended.ok:
            assert len(done) + unknown >= len(wanted), one.folder
            assert sorted(call.reused for call in ended.calls) == sorted(
                call.reused for call in waiting.calls
            )


async def test_reads_after_the_difference_stay_live_when_the_retry_is_taken_up_again(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await bank.run("await rate(1)\n1 / 0")
    code = "import asyncio\nawait asyncio.gather(wipe(1), rate(1))"
    waiting = await bank.retry(code, first)
    assert reused(waiting) == [("wipe", False), ("rate", False)]
    crashed = Bank(bank.folder, _without_the_answer(bank, waiting.run_id, "rate"))
    again = await crashed.to_end(waiting.run_id)
    assert not any(call.reused for call in again.calls)


def _without_the_answer(bank: Bank, run: str, tool: str) -> Path:
    """The journal of a host that died before a call of a run was answered."""
    copy = bank.folder / "copy.db"
    with (
        contextlib.closing(sqlite3.connect(bank.journal)) as here,
        contextlib.closing(sqlite3.connect(copy)) as there,
    ):
        here.backup(there)
        n, head = there.execute(
            "select n, hash from oneturn_rows where run=? and kind='called' and instr(body, ?)",
            (run, f'"{tool}"'),
        ).fetchone()
        there.execute("delete from oneturn_rows where run=? and n>?", (run, n))
        there.execute(
            "update oneturn_runs set n=?, head=?, status='running', owner='', until=0 where id=?",
            (n, head, run),
        )
        there.execute("delete from oneturn_approvals")
        there.commit()
    return copy


async def test_a_call_that_was_edited_is_reused_as_it_was_sent(bank: Bank) -> None:
    waiting = await bank.run("await wipe(1)\n1 / 0")
    bank.decide(waiting, 0, True, "alice", arguments={"n": 7})
    first = await bank.resume(waiting.run_id)
    again = await bank.retry("[await wipe(7)]", first)
    assert (again.value, bank.wiped()) == (["wiped 7"], [7])


async def test_a_journal_that_cannot_be_written_is_one_line_in_the_log(
    bank: Bank, caplog: pytest.LogCaptureFixture
) -> None:
    async with bank.app() as app:

        @app.tool(effect="read")
        def damage() -> str:
            with contextlib.closing(sqlite3.connect(bank.journal, isolation_level=None)) as other:
                other.execute("drop table oneturn_rows")
            return "done"

        outcome = await app.execute("await charge(1)\nawait damage()\nawait charge(2)")
    assert outcome.error is not None
    assert outcome.error.kind == "JournalError"
    assert bank.done() == ["charge 1"]
    told = [record for record in caplog.records if outcome.run_id in record.getMessage()]
    assert told
    assert not any(record.exc_info for record in told)
