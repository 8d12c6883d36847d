"""What stands beside the chain: changed behind the journal's back it is named, and not gone by."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.journal.shop import Shop

from oneturn import CodeMode, Decision, Outcome
from oneturn.errors import JournalCorrupt, JournalError, RunBusy, RunNotFound
from oneturn.journal import checkpoints, ending
from oneturn.journal.chain import Problem
from oneturn.journal.keys import Vault
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.writer import Journal
from oneturn.tools.base import Blob

SCRIPT = """
long = await text(100_000)
shown = await picture()
await wipe(1, note='first')
await wipe(2)
shown
"""


class Studio(Shop):
    """A run here has a large value, an artifact, and calls that wait."""

    def app(self, **options: Any) -> CodeMode:
        app = super().app(**options)

        @app.tool(effect="read")
        async def picture() -> Blob:
            return Blob(b"\x89PNG", "image/png", "plot.png")

        return app

    def tamper(self, statement: str, *values: Any) -> None:
        """What somebody does who may write the file."""
        with contextlib.closing(sqlite3.connect(self.journal)) as connection, connection:
            assert connection.execute(statement, values).rowcount > 0

    def problems(self, vault: Vault | None = None) -> list[str]:
        with contextlib.closing(SqliteStore(self.journal)) as store:
            found = list(checkpoints.verify(store, vault=vault))
        return [each.text for each in found if isinstance(each, Problem)]

    def unread(self, vault: Vault | None = None) -> int:
        with contextlib.closing(SqliteStore(self.journal)) as store:
            *_, last = checkpoints.verify(store, vault=vault)
        assert isinstance(last, checkpoints.Progress)
        return last.unread

    async def one_decided(self, **options: Any) -> Outcome:
        """A run that waits for its second call, after somebody agreed to its first."""
        outcome = await self.run(SCRIPT, **options)
        async with self.app(**options) as app:
            await app.decide(outcome.pending[0].id, Decision(True, "alice"))
            return await app.resume(outcome.run_id)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


SHOWS_4 = (
    "UPDATE oneturn_approvals SET request=CAST(replace(request, '\"n\":2', '\"n\":4') AS BLOB) WHERE call=3"
)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM oneturn_blobs", "is missing or was changed"),
        ("UPDATE oneturn_blobs SET data=x'7b7d'", "is missing or was changed"),
        ("UPDATE oneturn_artifacts SET data=x'00'", "is not what was kept"),
        ("UPDATE oneturn_artifacts SET mime='text/html'", "is not what was kept"),
        ("UPDATE oneturn_artifacts SET caller='eve'", "is not what was kept"),
        ("UPDATE oneturn_runs SET caller='eve'", "The caller of run_"),
        ("UPDATE oneturn_runs SET status='succeeded'", "it is waiting, and the row says succeeded"),
        ("UPDATE oneturn_runs SET ended=1.0", "it did not end then"),
        (SHOWS_4, "does not show the call that its run asked for"),
        ("UPDATE oneturn_approvals SET tool='look' WHERE call=3", "does not show the call"),
        ("UPDATE oneturn_approvals SET expires=9e9 WHERE call=3", "does not show the call"),
        ("UPDATE oneturn_approvals SET request=x'7b7d' WHERE call=3", "it cannot be read"),
        ("UPDATE oneturn_approvals SET request=x'5b5d' WHERE call=3", "it cannot be read"),
        ("UPDATE oneturn_approvals SET call=99 WHERE call=3", "asked for no such call"),
        ("DELETE FROM oneturn_approvals WHERE call=3", "is missing, and its run waits for it"),
        ("UPDATE oneturn_approvals SET decider='eve' WHERE call=2", "was told another word"),
        ("UPDATE oneturn_approvals SET status='denied' WHERE call=2", "was told another word"),
        ("UPDATE oneturn_approvals SET decision=x'' WHERE call=2", "was told another word"),
        (
            "UPDATE oneturn_approvals SET decision=CAST(replace(decision, 'alice', '') AS BLOB) WHERE call=2",
            "was told another word",
        ),
    ],
)
async def test_whatever_is_changed_beside_the_rows_is_named(
    studio: Studio, statement: str, said: str
) -> None:
    outcome = await studio.one_decided()
    assert [each.call_id for each in outcome.pending] == [3]
    assert studio.problems() == []
    assert studio.unread() == 0
    studio.tamper(statement)
    [problem] = studio.problems()
    assert said in problem


async def test_runs_of_every_kind_that_nobody_touched_are_good(studio: Studio) -> None:
    outcome = await studio.one_decided()
    studio.decide(outcome, 0, False, "bob", "no")
    assert (await studio.resume(outcome.run_id)).status == "failed"
    parted = await studio.run("await wipe(3)\nawait look(1)")
    studio.decide(parted, 0, True, "bob", "", {"n": 7})
    await studio.resume(parted.run_id)
    failed = await studio.run("await save(1)\n1/0")
    await studio.run("await save(1)", execute={"retry_of": failed.run_id})
    async with studio.app() as app:
        await app.call("look", {"n": 1})
        expired = await app.execute("await wipe(5)")
    with studio.people() as journal:
        ending.cancel(journal, expired.run_id)
    assert studio.wiped() == [1, 7]
    assert studio.problems() == []


async def test_what_a_person_was_not_shown_is_not_sent(studio: Studio, caplog: Any) -> None:
    outcome = await studio.run("await wipe(3)")
    studio.tamper("UPDATE oneturn_approvals SET request=CAST(replace(request, '\"n\":3', '\"n\":4') AS BLOB)")
    studio.decide(outcome, 0, True, "alice")
    outcome = await studio.resume(outcome.run_id)
    assert (outcome.status, studio.wiped()) == ("waiting", [])
    assert "what was decided about it does not count" in caplog.text
    with studio.people() as journal:
        [filed] = journal.approvals.list()
    assert (filed.status, filed.approval.arguments) == ("pending", {"n": 3})
    assert studio.problems() == []
    studio.decide(outcome, 0, True, "alice")
    assert (await studio.resume(outcome.run_id)).value == "wiped 3"
    assert studio.wiped() == [3]


async def test_an_approver_is_asked_about_what_is_sent(studio: Studio) -> None:
    outcome = await studio.run("await wipe(3)")
    studio.tamper("UPDATE oneturn_approvals SET request=CAST(replace(request, '\"n\":3', '\"n\":4') AS BLOB)")
    studio.decide(outcome, 0, False, "alice")
    asked = []

    async def approver(approvals: Any) -> Any:
        asked.extend(each.arguments for each in approvals)
        return [Decision(True, "bob")] * len(approvals)

    assert (await studio.resume(outcome.run_id, approver=approver)).value == "wiped 3"
    assert asked == [{"n": 3}]


async def test_masked_arguments_are_compared_as_they_were_shown(studio: Studio) -> None:
    options = {"redact": ["note"]}
    outcome = await studio.run("await wipe(3, note='secret')", **options)
    assert outcome.pending[0].arguments == {"n": 3, "note": "secret"}
    assert studio.problems() == []
    studio.decide(outcome, 0, True, "alice")
    assert (await studio.resume(outcome.run_id, **options)).value == "wiped 3secret"
    assert studio.problems() == []


async def test_nobody_becomes_the_caller_of_a_run_by_its_row(studio: Studio) -> None:
    outcome = await studio.run("await wipe(3)")
    studio.tamper("UPDATE oneturn_runs SET caller='eve'")
    async with studio.app() as app:
        with pytest.raises(JournalCorrupt, match="caller"):
            await app.resume(outcome.run_id, caller="eve")
        with pytest.raises(RunNotFound):
            await app.resume(outcome.run_id)
    with studio.people() as journal, pytest.raises(JournalCorrupt, match="caller"):
        journal.take(outcome.run_id)


async def test_a_changed_artifact_is_not_handed_out(studio: Studio) -> None:
    handle = (await studio.run("await picture()")).value
    studio.tamper("UPDATE oneturn_artifacts SET data=x'00'")
    async with studio.app() as app:
        with pytest.raises(JournalCorrupt, match=handle["artifact"]):
            await app.artifact(handle["artifact"])


async def test_encrypted_runs_are_looked_into_with_their_key(studio: Studio) -> None:
    master = secrets.token_hex(32)
    await studio.one_decided(journal_key=master)
    vault = Vault.from_text(master)
    assert (studio.problems(), studio.unread()) == ([], 1)
    assert (studio.problems(vault), studio.unread(vault)) == ([], 0)
    assert all("does not fit the master key" in each for each in studio.problems(Vault(b"k" * 32)))
    studio.tamper("UPDATE oneturn_approvals SET request=decision WHERE call=2")
    assert "it cannot be read" in studio.problems(vault)[0]
    studio.tamper("DELETE FROM oneturn_approvals WHERE call=2")
    studio.tamper("DELETE FROM oneturn_blobs")
    assert "is missing or was changed" in studio.problems(vault)[0]


async def test_what_cannot_be_read_is_not_decided(studio: Studio, caplog: Any) -> None:
    outcome = await studio.run("await wipe(3)", journal_key=secrets.token_hex(32))
    other = Vault(b"k" * 32)
    with contextlib.closing(Journal(SqliteStore(studio.journal), vault=other)) as journal:
        assert [each.id for each in journal.approvals.undecided(outcome.run_id)] == [outcome.pending[0].id]
        assert journal.approvals.list() == []
        with pytest.raises(JournalError):
            journal.approvals.decide(outcome.pending[0].id, Decision(True, "alice"))
    assert "What waits is not all listed" in caplog.text


async def test_a_run_that_waits_is_cancelled_and_nobody_is_asked_any_more(studio: Studio) -> None:
    outcome = await studio.one_decided()
    with studio.people() as journal:
        ending.cancel(journal, outcome.run_id)
        with pytest.raises(RunBusy, match="has ended"):
            ending.cancel(journal, outcome.run_id)
    assert studio.statuses() == ["used", "denied"]
    again = await studio.resume(outcome.run_id)
    assert again.status == "cancelled"
    assert again.error is not None
    assert (again.error.kind, studio.wiped()) == ("Cancelled", [1])
    assert studio.problems() == []


async def test_a_run_that_was_interrupted_is_cancelled_and_closes_what_it_asked(studio: Studio) -> None:
    outcome = await studio.one_decided()
    studio.tamper("UPDATE oneturn_runs SET owner='', until=0")
    with studio.people() as journal:
        recording, _ = journal.take(outcome.run_id)  # a host that dies over it
        recording.note("taken", {"used": 0.0})
        recording.sync()
        with pytest.raises(RunBusy):
            ending.cancel(journal, outcome.run_id)
        with pytest.raises(RunBusy):
            ending.forget(journal, outcome.run_id)
    with studio.people() as journal:
        ending.cancel(journal, outcome.run_id)
    assert studio.statuses() == ["used", "denied"]


async def test_a_forgotten_run_cannot_be_read_and_its_chain_still_verifies(studio: Studio) -> None:
    master = secrets.token_hex(32)
    options = {"journal_key": master}
    outcome = await studio.run("await picture()\nawait save(4)", **options)
    waits = await studio.run("await wipe(3)", **options)
    with contextlib.closing(Journal(SqliteStore(studio.journal), vault=Vault.from_text(master))) as journal:
        assert ending.forget(journal, outcome.run_id)
        assert not ending.forget(journal, waits.run_id)
        with pytest.raises(JournalError, match="was dropped"):
            journal.read(outcome.run_id)
        with pytest.raises(RunNotFound):
            ending.forget(journal, waits.run_id)
        assert [row.id for row in journal.runs()] == [outcome.run_id]
    assert (studio.problems(Vault.from_text(master)), studio.unread(Vault.from_text(master))) == ([], 1)
