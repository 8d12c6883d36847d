"""Calls that wait for a person: what waits, what their word does, and that nothing is sent without it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.journal.shop import GATHERED, Shop, crashes, in_an_hour, needs_python

from oneturn import Approval, Decision, Limits
from oneturn.errors import DecisionRefused, Diverged
from oneturn.types import Grant

CAUGHT = "try:\n    got = await wipe(1)\nexcept PermissionError as error:\n    got = str(error)\ngot"
TIERS = ["monty", "cpython"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


# --- put aside, decided, taken up again


@pytest.mark.parametrize("tier", TIERS)
async def test_a_run_waits_for_days_and_goes_on_where_it_was(
    shop: Shop, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tier == "cpython":
        needs_python()
    code = "print('before')\na = await look(4)\nb = await wipe(a)\nprint('after')\nreturn [a, b]"
    waiting = await shop.run(code, execute={"sandbox": tier})
    (asked,) = waiting.pending
    assert (waiting.status, waiting.value, waiting.prints) == ("waiting", None, "before\n")
    assert (asked.tool, asked.effect, asked.arguments) == ("wipe", "destructive", {"n": 8})
    assert asked.position is not None
    assert asked.position.line == 3
    in_an_hour(monkeypatch, 72)
    shop.decide(waiting, 0, True, "alice")
    outcome = await shop.resume(waiting.run_id)
    assert (outcome.value, outcome.prints) == ([8, "wiped 8"], "before\nafter\n")
    assert shop.done() == ["look 4", "wipe 8"]
    assert outcome.seconds < 60
    assert shop.statuses() == ["used"]
    assert (await shop.resume(waiting.run_id)).value == outcome.value
    assert shop.wiped() == [8]


async def test_a_run_put_aside_holds_no_place_thread_or_process(shop: Shop) -> None:
    def children() -> set[str]:
        return {
            pid for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()
        }

    async with shop.app(runs=1) as app:
        await app.execute("await look(1)")
        threads, processes = threading.active_count(), children()
        for _ in range(5):  # there is one place only
            assert (await app.execute("await wipe(1)")).status == "waiting"
        assert app.running == ()
        assert threading.active_count() <= threads
        assert children() <= processes
        assert (await app.execute("await look(2)")).value == 4


async def test_nothing_runs_while_nobody_has_decided(shop: Shop) -> None:
    waiting = await shop.run("await look(1)\nawait wipe(1)")
    async with shop.app() as app:
        again = await app.resume(waiting.run_id)
    assert (again.status, again.pending) == ("waiting", waiting.pending)
    assert shop.done() == ["look 1"]
    assert [kind for _, kind, _ in shop.rows()].count("taken") == 0


async def test_another_process_decides_with_the_journal_alone(shop: Shop) -> None:
    waiting = await shop.run("await wipe(1)")
    decide = (
        "import sys\nfrom oneturn.journal.sqlite import SqliteStore\n"
        "from oneturn.journal.writer import Journal\nfrom oneturn.types import Decision\n"
        "journal = Journal(SqliteStore(sys.argv[1]))\n"
        "(filed,) = journal.approvals.list(status='pending')\n"
        "journal.approvals.decide(filed.approval.id, Decision(True, 'alice'))\njournal.close()"
    )
    async with shop.app() as app:  # which is open meanwhile
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", decide, shop.journal], check=True)
        assert (await app.resume(waiting.run_id)).value == "wiped 1"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_several_that_wait_are_decided_one_by_one(shop: Shop, order: Sequence[int]) -> None:
    waiting = await shop.run(GATHERED)
    expected: list[int] = []
    outcome = waiting
    for which in order:
        assert [each.arguments["n"] for each in outcome.pending] == sorted({1, 2, 3} - set(expected))
        shop.decide(waiting, which, True, "alice")
        expected.append(which + 1)
        outcome = await shop.resume(waiting.run_id)
        assert shop.wiped() == expected
    assert outcome.value == ["wiped 1", "wiped 2", "wiped 3"]


async def test_a_word_is_good_for_one_of_many_equal_calls(shop: Shop) -> None:
    waiting = await shop.run("import asyncio\nawait asyncio.gather(*[wipe(7) for _ in range(50)])")
    assert len(waiting.pending) == 50
    shop.decide(waiting, 17, True, "alice")
    again = await shop.resume(waiting.run_id)
    assert (shop.wiped(), again.status, len(again.pending)) == ([7], "waiting", 49)
    assert [call.status for call in again.calls].count("ok") == 1
    await shop.resume(waiting.run_id)
    assert shop.wiped() == [7]


# --- denial


@pytest.mark.parametrize("tier", TIERS)
async def test_a_denial_is_an_error_the_script_can_catch(shop: Shop, tier: str) -> None:
    if tier == "cpython":
        needs_python()
    waiting = await shop.run(CAUGHT, execute={"sandbox": tier})
    shop.decide(waiting, 0, False, "alice", "not on a Friday")
    outcome = await shop.resume(waiting.run_id)
    assert outcome.value == "wipe: denied by alice: not on a Friday"
    assert [call.status for call in outcome.calls] == ["refused"]
    assert shop.wiped() == []


async def test_after_three_denials_nobody_is_asked_again(shop: Shop) -> None:
    code = "got = []\nfor n in range(5):\n    try:\n        await wipe(n)\n"
    code += "    except PermissionError as error:\n        got.append(str(error))\ngot"
    outcome = await shop.run(code)
    for _ in range(3):
        assert outcome.status == "waiting"
        shop.decide(outcome, 0, False, "alice")
        outcome = await shop.resume(outcome.run_id)
    assert len(outcome.value) == 5
    assert "3 calls of this run were denied already" in outcome.value[4]
    assert len(shop.statuses()) == 3
    assert shop.wiped() == []


async def test_what_was_asked_before_three_denials_is_still_decided(shop: Shop) -> None:
    waiting = await shop.run(GATHERED.replace("wipe(3)", "wipe(3), wipe(4), wipe(5)"))
    for which in range(3):
        shop.decide(waiting, which, False, "alice")
    shop.decide(waiting, 4, True, "alice")
    again = await shop.resume(waiting.run_id)
    assert (again.status, [each.arguments["n"] for each in again.pending]) == ("waiting", [4])
    assert shop.wiped() == [5]
    shop.decide(again, 0, True, "alice")
    assert (await shop.resume(waiting.run_id)).value[3:] == ["wiped 4", "wiped 5"]


async def test_a_denial_stands_whatever_else_would_let_the_call_pass(shop: Shop) -> None:
    waiting = await shop.run(GATHERED)
    shop.decide(waiting, 0, True, "alice", grant=Grant(5))
    shop.decide(waiting, 1, False, "alice", "this one not")
    outcome = await shop.resume(waiting.run_id)
    assert outcome.value == ["wiped 1", "wipe: denied by alice: this one not", "wiped 3"]
    other = Shop(shop.folder / "other")
    other.folder.mkdir()
    waiting = await other.run(CAUGHT)
    other.decide(waiting, 0, False, "alice")
    assert (await other.resume(waiting.run_id, approve="never")).value == "wipe: denied by alice"
    assert other.wiped() == []


# --- edits


async def test_what_was_edited_is_sent_and_nothing_else(shop: Shop) -> None:
    waiting = await shop.run("await wipe(1, note='!')")
    shop.decide(waiting, 0, True, "alice", arguments={"n": 33})
    outcome = await shop.resume(waiting.run_id)
    assert outcome.value == "wiped 33"
    assert shop.wiped() == [33]
    (sent,) = [body for _, kind, body in shop.rows() if kind == "called" and body["verdict"] == "allowed"]
    assert sent["arguments"] == {"n": 33}


async def test_an_edit_stands_whatever_else_would_let_the_call_pass(shop: Shop) -> None:
    waiting = await shop.run(GATHERED)
    shop.decide(waiting, 0, True, "alice", grant=Grant(5))
    shop.decide(waiting, 1, True, "alice", arguments={"n": 22})
    outcome = await shop.resume(waiting.run_id)
    assert sorted(shop.wiped()) == [1, 3, 22]
    assert outcome.value == ["wiped 1", "wiped 22", "wiped 3"]


@pytest.mark.parametrize("edited", [{"n": "all"}, {}, {"n": 1, "force": True}])
async def test_an_edit_passes_the_guards_or_is_not_sent(shop: Shop, edited: dict[str, Any]) -> None:
    waiting = await shop.run("try:\n    got = await wipe(1)\nexcept Exception as e:\n    got = str(e)\ngot")
    shop.decide(waiting, 0, True, "alice", arguments=edited)
    outcome = await shop.resume(waiting.run_id)
    assert (outcome.status, shop.wiped()) == ("succeeded", [])
    assert "wipe" in outcome.value
    assert [call.status for call in outcome.calls] == ["refused"]


# --- grants


async def test_a_grant_covers_so_many_calls_within_its_bounds(shop: Shop) -> None:
    waiting = await shop.run("for n in [1, 2, 50, 3, 4, 5]:\n    await wipe(n)")
    bounds = {"properties": {"n": {"maximum": 10}}}
    shop.decide(waiting, 0, True, "alice", grant=Grant(3, bounds))
    outside = await shop.resume(waiting.run_id)
    assert [each.arguments for each in outside.pending] == [{"n": 50}]
    assert shop.wiped() == [1, 2]
    shop.decide(outside, 0, True, "bob")
    used_up = await shop.resume(waiting.run_id)  # one was used before it was put aside
    assert [each.arguments for each in used_up.pending] == [{"n": 5}]
    assert shop.wiped() == [1, 2, 50, 3, 4]


async def test_a_grant_covers_calls_that_were_asked_about_with_it(shop: Shop) -> None:
    waiting = await shop.run(GATHERED)
    shop.decide(waiting, 1, True, "alice", grant=Grant(1))
    again = await shop.resume(waiting.run_id)
    assert sorted(shop.wiped()) == [1, 2]
    assert [each.arguments for each in again.pending] == [{"n": 3}]


async def test_a_grant_is_for_its_tool_and_its_run(shop: Shop) -> None:
    options = {"approve": "writes"}
    waiting = await shop.run("await wipe(1)\nawait save(2)", **options)
    shop.decide(waiting, 0, True, "alice", grant=Grant(9))
    again = await shop.resume(waiting.run_id, **options)
    assert [each.tool for each in again.pending] == ["save"]
    assert (await shop.run("await wipe(3)", **options)).status == "waiting"
    assert shop.wiped() == [1]


async def test_a_grant_with_unusable_bounds_allows_nothing_more(shop: Shop) -> None:
    waiting = await shop.run(GATHERED)
    shop.decide(waiting, 0, True, "alice", grant=Grant(5, {"type": "no such type"}))
    again = await shop.resume(waiting.run_id)
    assert (again.status, len(again.pending), shop.wiped()) == ("waiting", 2, [1])


async def test_a_grant_whose_use_is_not_on_record_is_over(shop: Shop) -> None:
    """What was sent was masked, so whether it used the grant up cannot be told."""
    options = {"redact": ["n"]}
    waiting = await shop.run("for n in range(4):\n    await wipe(n)", **options)
    shop.decide(waiting, 0, True, "alice", grant=Grant(2, {"properties": {"n": {"type": "integer"}}}))
    again = await shop.resume(waiting.run_id, **options)
    assert shop.wiped() == [0, 1, 2]
    shop.decide(again, 0, True, "alice")
    assert (await shop.resume(waiting.run_id, **options)).status == "succeeded"
    assert shop.wiped() == [0, 1, 2, 3]


# --- who may decide, when, and about what


async def test_whoever_made_the_run_does_not_decide(shop: Shop) -> None:
    waiting = await shop.run("await wipe(1)", execute={"caller": "model"})
    with pytest.raises(DecisionRefused, match="somebody else"):
        shop.decide(waiting, 0, True, "model")
    assert shop.statuses() == ["pending"]


async def test_a_decision_stands(shop: Shop) -> None:
    waiting = await shop.run(CAUGHT)
    shop.decide(waiting, 0, False, "alice")
    with pytest.raises(DecisionRefused, match="denied already"):
        shop.decide(waiting, 0, True, "bob")
    assert (await shop.resume(waiting.run_id)).value == "wipe: denied by alice"
    with pytest.raises(DecisionRefused):
        shop.decide(waiting, 0, True, "bob")


async def test_there_is_nothing_to_decide(shop: Shop) -> None:
    await shop.run("await look(1)")
    with shop.people() as journal, pytest.raises(DecisionRefused, match="no approval run_1-1"):
        journal.approvals.decide("run_1-1", Decision(True, "alice"))


async def test_what_nobody_decides_in_time_is_denied(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = await shop.run(CAUGHT, approval_timeout=60.0)
    (asked,) = waiting.pending
    assert asked.expires is not None
    in_an_hour(monkeypatch)
    with pytest.raises(DecisionRefused, match="expired"):
        shop.decide(waiting, 0, True, "alice")
    outcome = await shop.resume(waiting.run_id)
    assert outcome.value == "wipe: denied by oneturn: nobody decided in time"
    assert (shop.statuses(), shop.wiped()) == (["expired"], [])


async def test_a_word_given_in_time_stands_when_it_is_heard_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await shop.run("await wipe(1)", approval_timeout=60.0)
    shop.decide(waiting, 0, True, "alice")
    in_an_hour(monkeypatch)
    assert (await shop.resume(waiting.run_id)).value == "wiped 1"


async def test_a_tool_that_was_changed_meanwhile_is_not_called(shop: Shop) -> None:
    waiting = await shop.run("await wipe(1)")
    shop.decide(waiting, 0, True, "alice")

    class Changed(Shop):
        def app(self, **options: Any) -> Any:
            app = super(Shop, self).app(**options)

            @app.tool
            async def wipe(n: int, note: str = "", everywhere: bool = True) -> str:
                self.do(f"wipe {n}")
                return "wiped it all"

            return app

    with pytest.raises(Diverged, match="wipe changed its definition"):
        await Changed(shop.folder).resume(waiting.run_id)
    assert shop.wiped() == []
    assert (await shop.resume(waiting.run_id)).value == "wiped 1"


@pytest.mark.parametrize(
    "attempt",
    [
        "runtime.decide('run_1-1', True)",
        "runtime.approvals()",
        "tools.approvals.decide('run_1-1', True)",
        "await wipe(1, approved=True)",
        "await wipe(1, by='alice', decision={'approved': True})",
    ],
)
async def test_a_script_cannot_approve_itself(shop: Shop, attempt: str) -> None:
    outcome = await shop.run(attempt)
    assert (outcome.status, shop.wiped()) == ("failed", [])


async def test_a_script_does_not_learn_who_approved(shop: Shop) -> None:
    waiting = await shop.run("got = await wipe(1)\n[got, [each['name'] for each in runtime.list_tools()]]")
    shop.decide(waiting, 0, True, "alice", "go ahead")
    outcome = await shop.resume(waiting.run_id)
    assert outcome.value[0] == "wiped 1"
    assert not [name for name in outcome.value[1] if "appro" in name]
    (batch,) = [body["answers"] for _, kind, body in shop.rows() if kind == "resumed"][:1]
    assert "alice" not in str(batch)


# --- who is asked while the run waits


async def test_an_approver_is_asked_about_all_at_once(shop: Shop) -> None:
    seen: list[list[dict[str, Any]]] = []

    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        seen.append([dict(each.arguments) for each in approvals])
        await asyncio.sleep(0.01)
        assert shop.wiped() == []
        return [Decision(each.arguments["n"] != 2, "alice") for each in approvals]

    outcome = await shop.run(GATHERED, approver=approver)
    assert outcome.value == ["wiped 1", "wipe: denied by alice", "wiped 3"]
    assert seen == [[{"n": 1}, {"n": 2}, {"n": 3}]]


async def _raises(approvals: Sequence[Approval]) -> Any:
    raise RuntimeError("no line to the office")


async def _nothing(approvals: Sequence[Approval]) -> Any:
    return None


async def _strange(approvals: Sequence[Approval]) -> Any:
    return [True] * len(approvals)


def _blocking(approvals: Sequence[Approval]) -> Any:
    return [Decision(True, "alice")]


async def _times_out(approvals: Sequence[Approval]) -> Any:
    raise TimeoutError


@pytest.mark.parametrize("approver", [_raises, _nothing, _strange, _blocking, _times_out])
async def test_an_approver_that_decides_nothing_leaves_the_run_waiting(shop: Shop, approver: Any) -> None:
    outcome = await shop.run("await wipe(1)", approver=approver, approval_timeout=60.0)
    assert (outcome.status, shop.wiped(), shop.statuses()) == ("waiting", [], ["pending"])
    shop.decide(outcome, 0, True, "alice")
    assert (await shop.resume(outcome.run_id)).value == "wiped 1"


@pytest.mark.parametrize(("said", "left"), [(1, [2, 3]), (5, [])])
async def test_an_approver_that_says_too_little_or_too_much(shop: Shop, said: int, left: list[int]) -> None:
    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        return [Decision(True, "alice")] * said

    outcome = await shop.run(GATHERED, approver=approver)
    assert [each.arguments["n"] for each in outcome.pending] == left
    assert shop.wiped() == [n for n in (1, 2, 3) if n not in left]


async def test_an_approver_that_is_silent_denies_when_the_time_is_up(shop: Shop) -> None:
    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        await asyncio.sleep(3600)
        return [Decision(True, "alice")]

    outcome = await shop.run(CAUGHT, approver=approver, approval_timeout=0.2)
    assert outcome.value == "wipe: denied by oneturn: nobody decided in time"


async def test_time_spent_waiting_for_people_is_not_the_scripts(shop: Shop) -> None:
    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        await asyncio.sleep(1.5)
        return [Decision(True, "alice")]

    outcome = await shop.run("await wipe(1)", approver=approver, limits=Limits(timeout=1.0))
    assert outcome.value == "wiped 1"
    assert outcome.seconds < 1.0


async def test_time_put_aside_is_not_the_scripts_however_often(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await shop.run(GATHERED, limits=Limits(timeout=5.0))
    for which, approved in enumerate((False, True, False)):
        with monkeypatch.context() as later:
            in_an_hour(later, which + 1)
            shop.decide(waiting, which, approved, "alice")
            outcome = await shop.resume(waiting.run_id)
    assert outcome.value == ["wipe: denied by alice", "wiped 2", "wipe: denied by alice"]
    assert outcome.seconds < 5.0


async def test_a_call_that_is_sent_runs_out_of_time_while_another_waits(shop: Shop) -> None:
    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        await asyncio.sleep(3600)
        return []

    code = "import asyncio\nawait asyncio.gather(wipe(1), wait(seconds=60.0))"
    outcome = await shop.run(code, approver=approver, limits=Limits(timeout=0.5))
    assert outcome.error is not None
    assert outcome.error.kind == "TimeoutError"
    assert {call.tool: call.status for call in outcome.calls}["wipe"] == "cancelled"
    assert shop.wiped() == []


async def test_other_calls_go_on_while_one_waits(shop: Shop) -> None:
    code = "import asyncio\nasync def chain():\n    return [await look(n) for n in range(3)]\n"
    waiting = await shop.run(f"{code}await asyncio.gather(wipe(9), chain(), save(5))")
    assert [line.split(" by ")[0] for line in sorted(shop.done())] == ["look 0", "look 1", "look 2", "save 5"]
    shop.decide(waiting, 0, True, "alice")
    assert (await shop.resume(waiting.run_id)).value == ["wiped 9", [0, 2, 4], "saved 5"]
    assert len(shop.done()) == 5


async def test_a_run_is_cancelled_while_somebody_is_asked(shop: Shop) -> None:
    asked, heard = asyncio.Event(), asyncio.Event()

    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        asked.set()
        try:
            await asyncio.sleep(3600)
        finally:
            heard.set()
        return [Decision(True, "alice")]

    async with shop.app(approver=approver) as app:
        run = asyncio.create_task(app.execute("await wipe(1)"))
        await asked.wait()
        assert app.cancel(app.running[0])
        outcome = await run
        await heard.wait()
    assert (outcome.status, [call.status for call in outcome.calls]) == ("cancelled", ["cancelled"])
    assert shop.wiped() == []


async def test_what_a_script_gave_up_is_not_sent_however_late_somebody_agrees(shop: Shop) -> None:
    needs_python()

    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        await shop.seen("given up")
        return [Decision(True, "alice")]

    code = (
        "import asyncio\ntry:\n    got = await asyncio.wait_for(wipe(1), 0.05)\n"
        "except TimeoutError:\n    got = 'given up'\nawait give_up()\nawait wait(seconds=0.3)\ngot"
    )
    app = shop.app(approver=approver)

    @app.tool(effect="read")
    async def give_up() -> int:
        (shop.folder / "given up").touch()
        return 1

    async with app:
        outcome = await app.execute(code)
    assert (outcome.value, shop.wiped()) == ("given up", [])
    assert next(call.status for call in outcome.calls if call.tool == "wipe") == "cancelled"


async def test_what_a_script_gave_up_is_not_asked_when_it_is_put_aside(shop: Shop) -> None:
    needs_python()
    code = (
        "import asyncio\ntry:\n    await asyncio.wait_for(wipe(1), 0.05)\n"
        "except TimeoutError:\n    pass\nawait wipe(2)"
    )
    waiting = await shop.run(code)
    assert [each.arguments for each in waiting.pending] == [{"n": 2}]
    assert {call.status for call in waiting.calls} == {"cancelled", "waiting"}
    shop.decide(waiting, 0, True, "alice")
    outcome = await shop.resume(waiting.run_id)
    assert (outcome.value, shop.wiped()) == ("wiped 2", [2])
    assert [call.status for call in outcome.calls] == ["cancelled", "ok"]


async def test_what_a_script_never_awaits_is_not_left_waiting(shop: Shop) -> None:
    code = "import asyncio\nasync def bad():\n    await look(1)\n    raise ValueError('x')\n"
    outcome = await shop.run(f"{code}await asyncio.gather(wipe(1), bad())")
    assert outcome.status == "failed"
    assert next(call.status for call in outcome.calls if call.tool == "wipe") == "cancelled"
    again = await shop.resume(outcome.run_id)
    assert [call.status for call in again.calls] == [call.status for call in outcome.calls]
    assert shop.wiped() == []


# --- where nobody is asked, or can be, and other doors


@pytest.mark.parametrize(("named", "status"), [("wipe", "succeeded"), ("*", "waiting"), ("wip?", "waiting")])
async def test_an_operator_approves_tools_by_name_beforehand(
    shop: Shop, named: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONETURN_AUTO_APPROVE", named)
    assert (await shop.run("await wipe(1)")).status == status
    assert len(shop.wiped()) == (status == "succeeded")
    write = await shop.run("await save(1)", approvals={"save": True})  # a pattern is enough for those
    assert write.status == ("succeeded" if named == "*" else "waiting")


@pytest.mark.parametrize("how", ["session", "no journal"])
async def test_where_nobody_can_be_asked_it_is_denied(shop: Shop, how: str) -> None:
    if how == "session":
        outcome = await shop.run(CAUGHT, execute={"session": "s"})
    else:
        shop.journal = False  # type: ignore[assignment]
        outcome = await shop.run(CAUGHT)
    assert "there is nobody to ask" in outcome.value
    assert shop.wiped() == []


async def test_a_session_asks_an_approver(shop: Shop) -> None:
    async def approver(approvals: Sequence[Approval]) -> list[Decision | None]:
        return [Decision(True, "alice") if each.arguments["n"] == 1 else None for each in approvals]

    outcome = await shop.run(GATHERED, execute={"session": "s"}, approver=approver)
    assert outcome.value[0] == "wiped 1"
    assert "there is nobody to ask" in outcome.value[1]


async def test_a_direct_call_waits_too(shop: Shop) -> None:
    async with shop.app() as app:
        waiting = await app.call("wipe", {"n": 4, "note": "'\"\n\\"})
    assert (waiting.status, shop.wiped()) == ("waiting", [])
    shop.decide(waiting, 0, True, "alice")
    assert (await shop.resume(waiting.run_id)).value == "wiped 4'\"\n\\"


async def test_a_direct_call_asks_an_approver(shop: Shop) -> None:
    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        return [Decision(True, "alice", arguments={"n": 6})]

    async with shop.app() as app:
        assert (await app.call("wipe", {"n": 4}, approver=approver)).value == "wiped 6"
    assert shop.wiped() == [6]


# --- crashes


@pytest.mark.parametrize("code", [GATHERED, "[await wipe(1), await wipe(2), await wipe(3)]"])
async def test_wherever_a_host_dies_nothing_is_sent_twice_or_without_a_decision(
    shop: Shop, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = {2: 22}
    with crashes(shop, monkeypatch) as left:
        outcome = await shop.run(code)
        while outcome.status == "waiting":
            (asked, *_) = outcome.pending
            n = asked.arguments["n"]
            edited = {"n": edits[n]} if n in edits else None
            shop.decide(outcome, 0, True, "alice", arguments=edited)
            outcome = await shop.resume(outcome.run_id)
    assert shop.wiped() == [1, 22, 3]
    assert len(left) > 10
    for one in left[:: len(left) // 10]:
        decided, before = _decided(one), one.wiped()
        await one.resume(outcome.run_id)
        wiped = one.wiped()
        assert len(set(wiped)) == len(wiped), one.folder
        assert len(wiped) <= decided, one.folder
        assert wiped[: len(before)] == before
        ended = await one.to_end(outcome.run_id)
        unknown = sum(call.status == "unknown" for call in ended.calls)
        assert len(set(one.wiped())) == len(one.wiped()), one.folder
        assert ended.status == "succeeded" or unknown, (one.folder, ended.error)
        # Whoever decides again where the edit was not decided yet approves it as it is.
        if ended.status == "succeeded":
            assert len(one.wiped()) + unknown >= 3
            assert {n if n != 22 else 2 for n in one.wiped()} <= {1, 2, 3}


def _decided(shop: Shop) -> int:
    with shop.people() as journal:
        return sum(each.decision is not None for each in journal.approvals.list())


async def test_a_decision_with_a_grant_is_taken_up_once_after_a_crash(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await shop.run("got = [await wipe(n) for n in range(4)]\nlen(got)")
    shop.decide(waiting, 0, True, "alice", arguments={"n": 10}, grant=Grant(2))
    with crashes(shop, monkeypatch) as left:
        again = await shop.resume(waiting.run_id)
    assert (again.status, shop.wiped()) == ("waiting", [10, 1, 2])
    for one in left:
        outcome = await one.resume(waiting.run_id)
        wiped = one.wiped()
        assert len(wiped) == len(set(wiped))
        assert set(wiped) <= {10, 1, 2}, one.folder
        assert outcome.status == "waiting" or "may have taken effect" in str(outcome.error)
