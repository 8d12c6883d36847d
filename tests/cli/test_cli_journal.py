"""`oneturn journal`: what was changed behind its back is named, and a signed line shows what was cut off."""

import shutil
import sqlite3
from contextlib import closing

import pytest

TOML = 'app = "shop:app"\nallow = ["*"]\nsandbox = "monty"\n'


@pytest.fixture
def shop(project):
    project.write("oneturn.toml", TOML)
    return project


def ran(project, script="(await crm.find('Ann'))['name']"):
    return project.run("run", "-", "--json", stdin=script).data["run_id"]


def tamper(project, statement, *values):
    with closing(sqlite3.connect(project.folder / ".oneturn" / "journal.db")) as connection:
        assert connection.execute(statement, values).rowcount > 0
        connection.commit()


def test_a_journal_that_is_whole(shop):
    ran(shop)
    with closing(sqlite3.connect(shop.folder / ".oneturn" / "journal.db")) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM oneturn_rows").fetchone()
    done = shop.run("journal", "verify")
    assert done.code == 0, done.err
    assert done.out == f"1 run, {rows} rows, 0 checkpoints: all as they were written.\n"
    assert f"{rows} rows are newer than the last checkpoint" in done.err
    data = shop.run("journal", "verify", "--json").data
    assert data == {
        "problems": [],
        "runs": 1,
        "rows": rows,
        "checkpoints": 0,
        "signatures_checked": False,
        "unsigned_rows": rows,
        "removed_since": [],
        "unread_runs": 0,
    }


def test_the_first_bad_row_of_each_bad_run_is_named(shop):
    runs = [ran(shop) for _ in range(3)]
    tamper(
        shop,
        "UPDATE oneturn_rows SET body = CAST(replace(body, 'Ann', 'Eve') AS BLOB) WHERE run = ? AND n = 2",
        runs[0],
    )
    tamper(shop, "DELETE FROM oneturn_rows WHERE run = ? AND n = 4", runs[2])
    done = shop.run("journal", "verify")
    assert done.code == 1
    assert f"Row 2 of run {runs[0]} is not what was written: its hash does not fit.\n" in done.out
    assert f"Row 4 of run {runs[2]} is missing: row 5 stands in its place.\n" in done.out
    assert runs[1] not in done.out
    assert "2 problems found.\n" in done.out
    found = shop.run("journal", "verify", "--json")
    assert found.code == 1
    assert {(each["run"], each["row"]) for each in found.data["problems"]} == {(runs[0], 2), (runs[2], 4)}
    shown = shop.run("runs", "show", runs[0])
    assert shown.code == 1
    assert "Nothing of this run is used" in shown.err


def test_a_checkpoint_shows_what_was_cut_off(shop):
    ran(shop)
    shutil.copy(shop.folder / ".oneturn" / "journal.db", shop.folder / "old.db")
    ran(shop)
    made = shop.run("journal", "checkpoint", "-o", "kept.txt", "--json").data
    assert made["new"]
    assert (shop.folder / "kept.txt").read_text() == f"{made['checkpoint']}\n"
    assert (shop.folder / ".oneturn" / "journal.key").stat().st_mode & 0o077 == 0
    good = shop.run("journal", "verify", "--checkpoint", "kept.txt", "--public-key", made["public_key"])
    assert (good.code, good.err) == (0, ""), good.out
    again = shop.run("journal", "checkpoint")
    assert again.out == f"{made['checkpoint']}\n"
    assert "Nothing has changed since this checkpoint" in again.err
    for name in ("journal.db-wal", "journal.db-shm"):
        (shop.folder / ".oneturn" / name).unlink(missing_ok=True)
    shutil.copy(shop.folder / "old.db", shop.folder / ".oneturn" / "journal.db")
    assert shop.run("journal", "verify").code == 0
    bad = shop.run("journal", "verify", "--checkpoint", "kept.txt")
    assert bad.code == 1
    assert "Checkpoint 1, which was exported, is missing: the end of the journal was cut off.\n" in bad.out


def test_a_run_removed_by_another_s_hand_is_missed_and_a_pruned_one_is_not(shop):
    first, second = ran(shop), ran(shop, "1")
    assert shop.run("journal", "checkpoint").code == 0
    assert shop.run("runs", "prune", "--older-than", "0s", "--status", "succeeded", "--yes").code == 0
    done = shop.run("journal", "verify")
    assert done.code == 0
    assert first in done.err
    assert second in done.err
    third = ran(shop)
    assert shop.run("journal", "checkpoint").code == 0
    tamper(shop, "DELETE FROM oneturn_runs WHERE id = ?", third)
    bad = shop.run("journal", "verify")
    assert bad.code == 1
    assert f"Run {third} is missing" in bad.out


def test_another_s_signature_does_not_count(shop):
    ran(shop)
    assert shop.run("journal", "checkpoint").code == 0
    other = shop.run("journal", "checkpoint", "--key", "other.key", "--json").data["public_key"]
    bad = shop.run("journal", "verify", "--public-key", other)
    assert bad.code == 1
    assert "The signature of checkpoint 1 is not this key's" in bad.out


def test_what_is_no_key_and_no_checkpoint_is_refused(shop):
    ran(shop)
    assert shop.run("journal", "verify", "--public-key", "abc").code == 2
    assert shop.run("journal", "verify", "--key", "none.key").code == 2
    assert not (shop.folder / "none.key").exists()
    assert shop.run("journal", "verify", "--checkpoint", "none.txt").code == 2
    shop.write("kept.txt", "hello\n")
    assert shop.run("journal", "checkpoint").code == 0
    wrong = shop.run("journal", "verify", "--checkpoint", "kept.txt")
    assert wrong.code == 2
    assert "That is no checkpoint" in wrong.err


def test_without_a_journal_there_is_nothing_to_verify(shop):
    none = shop.run("journal", "verify")
    assert none.code == 1
    assert "Nothing is recorded yet" in none.err


def test_what_was_changed_beside_the_rows_is_named(shop):
    first, second = ran(shop), ran(shop, "(await crm.find('Bob'))['name']")
    tamper(shop, "UPDATE oneturn_runs SET caller='eve' WHERE id=?", first)
    tamper(shop, "UPDATE oneturn_runs SET status='failed' WHERE id=?", second)
    done = shop.run("journal", "verify")
    assert done.code == 1
    assert f"The caller of {first} was changed" in done.out
    assert f"The row of run {second} was changed: it is succeeded, and the row says failed.\n" in done.out


def test_encrypted_runs_are_compared_only_where_their_key_is(shop):
    shop.write("oneturn.toml", TOML + f'journal_key = "{"1" * 64}"\n')
    run = ran(shop)
    assert shop.run("journal", "verify", "--json").data["unread_runs"] == 0
    shop.write("oneturn.toml", TOML)
    keyless = shop.run("journal", "verify")
    assert keyless.code == 0
    assert "1 encrypted runs cannot be read without their keys" in keyless.err
    tamper(shop, "UPDATE oneturn_runs SET status='failed' WHERE id=?", run)
    shop.write("oneturn.toml", TOML + f'journal_key = "{"1" * 64}"\n')
    assert shop.run("journal", "verify").code == 1


def test_a_run_is_cancelled_and_forgotten(shop):
    shop.write("oneturn.toml", TOML + 'approve = "always"\n')
    waits = shop.run("run", "-", "--json", stdin="await crm.find('Ann')")
    assert waits.code == 5
    run, [asked] = waits.data["run_id"], waits.data["pending"]
    assert shop.run("runs", "cancel", run).err == f"{run} is cancelled\n"
    assert shop.run("runs", "cancel", run).code == 1
    assert "has ended" in shop.run("approvals", "approve", asked["id"]).err
    assert shop.run("approvals", "list", "--json").data == {"approvals": []}
    unasked = shop.run("runs", "forget", run)
    assert unasked.code == 2
    assert "give --yes to remove" in unasked.err
    assert shop.run("runs", "forget", run, "--yes", "--json").data == {"run": run, "key_dropped": False}
    assert shop.run("runs", "list", "--json").data == {"runs": []}
    assert shop.run("runs", "forget", run, "--yes").code == 1


def test_an_encrypted_run_that_is_forgotten_still_verifies(shop):
    shop.write("oneturn.toml", TOML + f'journal_key = "{"1" * 64}"\n')
    run = ran(shop)
    assert "rows still verify" in shop.run("runs", "forget", run, "--yes").err
    assert shop.run("runs", "show", run).code == 1
    verified = shop.run("journal", "verify", "--json")
    assert (verified.code, verified.data["runs"], verified.data["unread_runs"]) == (0, 1, 1)
