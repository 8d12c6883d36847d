"""What must not be on record is not: fields by name, secrets the host knows, all of it when encrypted."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.journal.shop import Shop, plain

from oneturn import Approval, CodeMode, Decision
from oneturn.errors import DecisionRefused, JournalError
from oneturn.journal.redaction import MASK, Fields
from oneturn.tools.function import FunctionSource
from oneturn.types import Grant

FIELDS = ["password", "*_token"]
SECRET = "hunter-22-hunter"  # what must not be found
OTHER = "correct-horse-battery"


class Vault(Shop):
    """Tools whose arguments and results have fields that must not be on record."""

    options: dict[str, Any] = {"redact": FIELDS}  # noqa: RUF012

    def app(self, **options: Any) -> CodeMode:
        app = super().app(**(self.options | options))

        @app.tool(effect="write")
        async def login(user: str, password: str) -> dict[str, Any]:
            self.do(f"login {user} {password == SECRET}")
            return {"user": user, "sessions": [{"Refresh_Token": OTHER, "n": 1}]}

        @app.tool(effect="write")
        async def store(deep: dict[str, Any]) -> str:
            self.do("store")
            return "stored"

        @app.tool
        async def drop(user: str, password: str) -> str:
            self.do(f"drop {user} {password}")
            return f"dropped {user}"

        return app

    def found(self) -> list[str]:
        """What of the two is in the journal, its write-ahead log or beside it."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "done").rename(self.folder.parent / f"done-{secrets.token_hex(4)}")
        return plain(self.folder, SECRET, OTHER)

    def calls(self, tool: str) -> list[str]:
        return [line for line in self.done() if line.startswith(tool)]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    (tmp_path / "vault").mkdir()
    return Vault(tmp_path / "vault")


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"password": 1, "user": "x"}, {"password": MASK, "user": "x"}),
        ({"PassWord": {"a": 1}}, {"PassWord": MASK}),
        ([{"a": ({"api_token": 5},)}], [{"a": [{"api_token": MASK}]}]),
        ({"my password": 1, "token": 2, "passwords": 3}, {"my password": 1, "token": 2, "passwords": 3}),
        ({"password": None}, {"password": MASK}),
        ("password", "password"),
    ],
)
def test_fields_are_masked_at_any_depth_by_their_whole_name(value: Any, masked: Any) -> None:
    assert Fields(FIELDS).hidden(value) == masked


def test_without_names_nothing_is_masked() -> None:
    value = {"password": 1, "": 2}
    assert Fields([]).hidden(value) is value


# --- fields


async def test_fields_of_arguments_and_results_are_not_written(vault: Vault) -> None:
    # The values are made by the script, or its own text would hold them.
    outcome = await vault.run(
        "p = '-'.join(['hunter', '22', 'hunter'])\ngot = await login('ann', p)\n"
        "await store({'a': [{'password': p, 'n': 7}]})\ngot"
    )
    assert outcome.value["sessions"][0]["Refresh_Token"] == OTHER  # its caller gets what it returned
    assert vault.done() == ["login ann True", "store"]
    called = [body["arguments"] for _, kind, body in vault.rows() if kind == "called"]
    assert called == [{"user": "ann", "password": MASK}, {"deep": {"a": [{"password": MASK, "n": 7}]}}]
    assert vault.found() == []
    kept = await vault.resume(outcome.run_id)
    assert kept.value["sessions"] == [{"Refresh_Token": MASK, "n": 1}]


LOGIN = "p = '-'.join(['hunter', '22', 'hunter'])\n"


async def test_fields_of_calls_that_wait_are_not_written_and_are_sent(vault: Vault) -> None:
    waiting = await vault.run(f"{LOGIN}await drop('ann', p)")
    with vault.people() as journal:
        (filed,) = journal.approvals.list()
    assert filed.approval.arguments == {"user": "ann", "password": MASK}
    assert vault.found() == []
    vault.decide(waiting, 0, True, "alice")
    assert (await vault.resume(waiting.run_id)).value == "dropped ann"
    assert vault.done() == [f"drop ann {SECRET}"]
    assert vault.found() == []


async def test_edits_that_hold_such_fields_are_not_taken(vault: Vault) -> None:
    waiting = await vault.run(f"{LOGIN}await drop('ann', p)")
    async with vault.app() as app:
        for password in (OTHER, MASK):  # the mask would be sent as if it were the password
            edited = {"user": "bob", "password": password}
            with pytest.raises(DecisionRefused, match="redacted"):
                await app.decide(waiting.pending[0].id, Decision(True, "alice", arguments=edited))
    assert vault.statuses() == ["pending"]
    assert vault.done() == []
    assert vault.found() == []


async def test_edits_made_while_the_run_waits_are_sent_and_not_written(vault: Vault) -> None:
    async def approver(approvals: Sequence[Approval]) -> list[Decision]:
        assert approvals[0].arguments["password"] == SECRET
        return [Decision(True, "alice", arguments={"user": "bob", "password": OTHER}, grant=Grant(1))]

    outcome = await vault.run(f"{LOGIN}await drop('ann', p)\nawait drop('eve', p)", approver=approver)
    assert (outcome.value, vault.done()) == ("dropped eve", [f"drop bob {OTHER}", f"drop eve {SECRET}"])
    assert vault.found() == []


async def test_what_is_kept_to_tell_calls_apart_tells_nothing_about_other_runs(vault: Vault) -> None:
    for _ in range(2):
        assert (await vault.run(f"{LOGIN}await store({{'password': p}})")).ok
    called = [body for _, kind, body in vault.rows() if kind == "called"]
    assert len(called) == 2
    assert all(len({body[name] for body in called}) == 2 for name in ("digest", "sent"))


async def test_a_retry_still_knows_what_was_sent(vault: Vault) -> None:
    code = f"{LOGIN}await store({{'password': p}})\nawait store({{'password': p}})\n"
    first = await vault.run(f"{code}1 / 0")
    again = await vault.run(
        f"{code}await store({{'password': 'x'}})\n'done'", execute={"retry_of": first.run_id}
    )
    assert [call.reused for call in again.calls] == [True, True, False]
    assert again.value == "done"
    assert len(vault.done()) == 3


async def test_a_retry_taken_up_again_still_knows_what_was_sent(vault: Vault) -> None:
    code = f"{LOGIN}await store({{'password': p}})\n"
    first = await vault.run(f"{code}1 / 0")
    waiting = await vault.run(f"{code}await wipe(1)\n{code}'done'", execute={"retry_of": first.run_id})
    vault.decide(waiting, 0, True, "alice")
    again = await vault.resume(waiting.run_id)
    assert [(call.tool, call.reused) for call in again.calls] == [
        ("store", True), ("wipe", False), ("store", False),
    ]  # fmt: skip
    assert vault.calls("store") == ["store", "store"]


async def test_a_retry_never_repeats_a_write_whose_answer_is_masked(vault: Vault) -> None:
    code = f"{LOGIN}got = await login('ann', p)\n"
    first = await vault.run(f"{code}1 / 0")
    waiting = await vault.run(f"{code}got['user']", execute={"retry_of": first.run_id})
    (asked,) = waiting.pending
    assert asked.why == f"it was made in {first.run_id} already, and its answer is not on record"
    assert vault.done() == ["login ann True"]


async def test_a_script_is_never_given_a_mask_for_an_answer(vault: Vault) -> None:
    code = f"{LOGIN}got = await login('ann', p)\nawait wipe(1)\ngot"
    outcome = await vault.run(code)  # it cannot be put aside: it could never go on
    assert outcome.error is not None
    assert outcome.error.kind == "PermissionError"
    assert vault.done() == ["login ann True"]
    assert vault.wiped() == []


# --- secrets the host knows


class Server(FunctionSource):
    """A source with a token."""

    name = "server"

    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)


class Knowing(Vault):
    """An app that was told a secret."""

    options: dict[str, Any] = {}  # noqa: RUF012

    def app(self, **options: Any) -> CodeMode:
        app = super().app(**options)
        app.add_source(Server(), namespace="server")
        return app


@pytest.fixture
def knowing(tmp_path: Path) -> Knowing:
    (tmp_path / "knowing").mkdir()
    return Knowing(tmp_path / "knowing")


async def test_a_secret_in_a_script_is_not_written_and_its_mask_is_not_sent(knowing: Knowing) -> None:
    outcome = await knowing.run(f"await drop('ann', '{SECRET}')")  # it could never go on
    assert outcome.error is not None
    assert outcome.error.kind == "PermissionError"
    assert knowing.found() == []
    assert knowing.done() == []


async def test_a_secret_in_a_decision_is_not_taken(knowing: Knowing) -> None:
    waiting = await knowing.run("await drop('ann', 'x')")
    async with knowing.app() as app:
        for decision in (
            Decision(True, "alice", arguments={"user": "ann", "password": SECRET}),
            Decision(False, "alice", f"use {SECRET} instead"),
        ):
            with pytest.raises(DecisionRefused, match="secret"):
                await app.decide(waiting.pending[0].id, decision)
    assert knowing.statuses() == ["pending"]
    assert knowing.found() == []


# --- encryption

KEY = "ab" * 32


class Sealed(Vault):
    options: dict[str, Any] = {"journal_key": KEY}  # noqa: RUF012

    def app(self, **options: Any) -> CodeMode:
        app = super().app(**options)

        @app.tool(effect="read")
        async def picture() -> bytes:
            return SECRET.encode() * 10_000

        return app


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    (tmp_path / "sealed").mkdir()
    return Sealed(tmp_path / "sealed")


async def test_nothing_of_an_encrypted_run_is_in_the_file(sealed: Sealed) -> None:
    code = (
        f"print('{SECRET}')\nawait picture()\ngot = await login('{OTHER}', '{SECRET}')\n"
        f"await text(100_000)\ngot = await drop('{SECRET}', '{OTHER}')\nraise ValueError('{SECRET}')"
    )
    async with sealed.app() as app:  # open, so that the write-ahead log is there
        waiting = await app.execute(code)
        assert waiting.status == "waiting"
        before = sealed.folder / "done"
        before.rename(sealed.folder.parent / "done-before")
        assert plain(sealed.folder, SECRET, OTHER, "x" * 1000) == []
        decided = Decision(True, "alice", OTHER, {"user": "bob", "password": SECRET})
        await app.decide(waiting.pending[0].id, decided)
        outcome = await app.resume(waiting.run_id)
        assert outcome.error is not None
        assert outcome.error.message == SECRET
        assert sealed.done() == [f"drop bob {SECRET}"]
        assert sealed.found() == []
    assert sealed.found() == []
    again = await sealed.resume(waiting.run_id)
    assert (again.error, again.prints) == (outcome.error, f"{SECRET}\n")


async def test_a_dropped_key_is_the_end_of_what_it_encrypted(sealed: Sealed) -> None:
    ended = await sealed.run("await picture()\nawait login('ann', 'x')")
    waiting = await sealed.run("await drop('ann', 'x')")
    other = await sealed.run("await drop('bob', 'x')")
    artifacts = [row[0] for row in _rows(sealed, "select id from oneturn_artifacts")]
    async with sealed.app() as app:
        journal = (await app._opened()).journal
        for run in (ended.run_id, waiting.run_id):
            assert journal.store.drop_key(run)
        for run in (ended.run_id, waiting.run_id):
            with pytest.raises(JournalError, match="dropped"):
                await app.resume(run)
        with pytest.raises(JournalError):
            await app.decide(waiting.pending[0].id, Decision(True, "alice"))
        for artifact in artifacts:
            with pytest.raises((JournalError, LookupError)):
                await app.artifact(artifact)
        await app.decide(other.pending[0].id, Decision(True, "alice"))
        assert (await app.resume(other.run_id)).value == "dropped bob"
    assert sealed.calls("drop") == ["drop bob x"]


async def test_without_the_key_or_with_another_nothing_is_read(sealed: Sealed) -> None:
    waiting = await sealed.run("await drop('ann', 'x')")
    for options in ({"journal_key": None}, {"journal_key": "cd" * 32}):
        with pytest.raises(JournalError):
            await sealed.resume(waiting.run_id, **options)
    assert sealed.calls("drop") == []


def _rows(vault: Vault, query: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(vault.journal)) as journal:
        return journal.execute(query).fetchall()
