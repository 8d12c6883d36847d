"""Keys and checkpoints: what they let the journal's own writer not get away with, and what they hide."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oneturn.errors import ConfigError, JournalCorrupt, JournalError
from oneturn.journal import checkpoints
from oneturn.journal.chain import Problem, first_bad, seal, start_of
from oneturn.journal.checkpoints import Progress
from oneturn.journal.keys import PublicKey, SigningKey, Vault
from oneturn.journal.rows import CheckpointRow, Row, RunRow
from oneturn.journal.sqlite import SqliteStore
from oneturn.testing.store_contract import append_of, end, known, record, rows_after


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.at(tmp_path / "keys" / "journal.pem")


def problems(store: SqliteStore, key: SigningKey | None = None, *lines: str) -> list[Problem]:
    public = PublicKey.parse(f" {key.public}\n") if key is not None else None
    found = checkpoints.verify(store, public, lines)
    return [each for each in found if isinstance(each, Problem)]


def totals(store: SqliteStore, key: SigningKey) -> Progress:
    last = list(checkpoints.verify(store, key.public))[-1]
    assert isinstance(last, Progress)
    return last


def tamper(path: Path, *statements: str) -> None:
    """What somebody does who may write the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
        connection.commit()


def cut(path: Path, store: SqliteStore, run: str, n: int) -> None:
    """Cut a run off after row `n` and make everything else fit."""
    row = next(row for row in store.rows(run) if row.n == n)
    tamper(
        path,
        f"DELETE FROM oneturn_rows WHERE run='{run}' AND n>{n}",
        f"UPDATE oneturn_runs SET n={n}, head=x'{row.hash.hex()}' WHERE id='{run}'",
    )


def rewrite(path: Path, store: SqliteStore, run: str, n: int) -> None:
    """Change row `n` and make everything else fit."""
    head, rows = start_of(run), list(store.rows(run))
    for row in rows:
        row = seal(head, run, row.n, row.kind, row.at, b"forged" if row.n == n else row.body)
        head = row.hash
        tamper(
            path,
            f"UPDATE oneturn_rows SET body=x'{row.body.hex()}', hash=x'{head.hex()}'"
            f" WHERE run='{run}' AND n={row.n}",
        )
    tamper(path, f"UPDATE oneturn_runs SET head=x'{head.hex()}' WHERE id='{run}'")
    assert first_bad(known(store, run), store.rows(run)) is None


class TestVerify:
    def test_a_journal_nobody_touched_is_good(self, store: SqliteStore, key: SigningKey) -> None:
        assert problems(store, key) == []
        run: RunRow | Row = record(store, "r", b"1", b"2")
        record(store, "s", b"1")
        assert totals(store, key) == Progress(2, 3, 0, unsigned=3, unread=2)
        assert checkpoints.make(store, key, now=5.0) is not None
        assert checkpoints.make(store, key, now=6.0) is None
        store.append([append_of("r", rows_after(run, b"3"))])
        assert totals(store, key) == Progress(2, 4, 1, unsigned=1, unread=2)
        assert checkpoints.make(store, key, now=7.0) is not None
        assert totals(store, key) == Progress(2, 4, 2, unsigned=0, unread=2)
        assert problems(store, key) == problems(store) == []

    def test_a_checkpoint_says_only_what_changed(self, store: SqliteStore, key: SigningKey) -> None:
        for name in ("r", "s", "t"):
            record(store, name, b"1")
        checkpoints.make(store, key, now=5.0)
        store.forget("s")
        store.append([append_of("r", rows_after(known(store, "r"), b"2"))])
        row = checkpoints.make(store, key, now=6.0)
        assert row is not None
        said = json.loads(row.statement)
        assert (said["n"], said["at"], said["gone"]) == (2, 6.0, ["s"])
        assert said["runs"] == {"r": [2, known(store, "r").head.hex()]}
        assert store.gone() == []

    @pytest.mark.parametrize(
        ("statement", "n"),
        [
            ("UPDATE oneturn_rows SET body=x'00' WHERE run='s' AND n=2", 2),
            ("UPDATE oneturn_rows SET at=at+1 WHERE run='s' AND n=3", 3),
            ("DELETE FROM oneturn_rows WHERE run='s' AND n=2", 2),
            ("DELETE FROM oneturn_rows WHERE run='s' AND n>2", 3),
            ("UPDATE oneturn_rows SET n=-n WHERE run='s' AND n=3", 1),
            ("UPDATE oneturn_rows SET n=9 WHERE run='s' AND n=1", 1),
            ("UPDATE oneturn_runs SET n=3 WHERE id='s'", 4),
            ("UPDATE oneturn_runs SET head=x'00' WHERE id='s'", 4),
        ],
    )
    def test_the_first_bad_row_of_the_one_bad_run_is_named(
        self, store: SqliteStore, path: Path, statement: str, n: int
    ) -> None:
        for name in ("r", "s", "t"):
            record(store, name, b"1", b"2", b"3", b"4")
        tamper(path, statement)
        assert [(each.run, each.n) for each in problems(store)] == [("s", n)]

    def test_a_value_beside_the_rows_that_was_changed_is_found(self, store: SqliteStore, path: Path) -> None:
        record(store, "r", b"1")
        blob = (hashlib.sha256(b"large").digest(), b"large")
        store.append([replace(append_of("r"), blobs=(blob,))])
        assert problems(store) == []
        tamper(path, "UPDATE oneturn_blobs SET data=x'00'")
        assert [(each.run, each.n) for each in problems(store)] == [("r", 0)]

    def test_a_run_that_goes_on_while_it_is_read_is_no_problem(self, store: SqliteStore, path: Path) -> None:
        class GoesOn(SqliteStore):
            """Somebody writes one row more just before the rows are read for the first time."""

            more = (b"3",)

            def rows(self, run: str) -> Iterator[Row]:
                more, self.more = self.more, ()
                if more:
                    store.append([append_of(run, rows_after(known(store, run), *more))])
                return super().rows(run)

        record(store, "r", b"1", b"2")
        reader = GoesOn(path)
        assert problems(reader) == []
        assert known(store, "r").n == 3
        reader.close()

    def test_rows_left_of_a_run_that_was_removed_are_found(self, store: SqliteStore, path: Path) -> None:
        record(store, "r", b"1")
        tamper(path, "DELETE FROM oneturn_runs")
        assert [each.run for each in problems(store)] == ["r"]

    def test_text_that_is_none_is_a_problem_of_its_run(self, store: SqliteStore, path: Path) -> None:
        for name in ("r", "s"):
            record(store, name, b"1")
        tamper(path, "UPDATE oneturn_rows SET kind=CAST(x'ff' AS TEXT) WHERE run='r'")
        assert [each.run for each in problems(store)] == ["r"]


class TestCheckpoints:
    @pytest.fixture(autouse=True)
    def _journal(self, store: SqliteStore, key: SigningKey) -> None:
        """Three runs, and three checkpoints made while they were written."""
        for name in ("r", "s", "t"):
            record(store, name, b"1", b"2")
        self.lines = []
        for now in (1.0, 2.0, 3.0):
            row = checkpoints.make(store, key, now=now)
            assert row is not None
            self.lines.append(checkpoints.line(row))
            store.append([append_of("s", rows_after(known(store, "s"), b"x", b"y"))])

    def test_exported_ones_verify(self, store: SqliteStore, key: SigningKey) -> None:
        assert problems(store, key, *self.lines) == []
        assert all("\n" not in line and len(line) < 200 for line in self.lines)

    def test_a_run_cut_off_so_that_its_chain_fits_is_found(
        self, store: SqliteStore, key: SigningKey, path: Path
    ) -> None:
        cut(path, store, "s", 5)
        assert first_bad(known(store, "s"), store.rows("s")) is None
        found = problems(store, key)
        assert [(each.run, each.n) for each in found] == [("s", 6)]
        assert "checkpoint 3" in str(found[0])

    def test_rows_no_checkpoint_covers_yet_are_counted(self, store: SqliteStore, key: SigningKey) -> None:
        assert totals(store, key).unsigned == 2

    @pytest.mark.parametrize(("n", "first"), [(1, 2), (2, 2), (3, 4), (5, 6)])
    def test_a_run_written_anew_so_that_its_chain_fits_is_found(
        self, store: SqliteStore, key: SigningKey, path: Path, n: int, first: int
    ) -> None:
        rewrite(path, store, "s", n)
        assert [(each.run, each.n) for each in problems(store, key)] == [("s", first)]

    def test_signing_again_does_not_cover_it_up(
        self, store: SqliteStore, key: SigningKey, path: Path
    ) -> None:
        cut(path, store, "s", 5)
        store.append([append_of("s", rows_after(known(store, "s"), b"forged", b"forged"))])
        assert checkpoints.make(store, key, now=9.0) is not None
        assert [(each.run, each.n) for each in problems(store, key)] == [("s", 6)]

    def test_a_run_removed_without_a_trace_is_found(
        self, store: SqliteStore, key: SigningKey, path: Path
    ) -> None:
        tamper(path, "DELETE FROM oneturn_rows WHERE run='s'", "DELETE FROM oneturn_runs WHERE id='s'")
        assert [str(each) for each in problems(store, key)] == [
            "Run s is missing, and checkpoint 3 signed for it"
        ]

    def test_a_run_that_was_pruned_is_none(self, store: SqliteStore, key: SigningKey) -> None:
        end(store, "s", "failed", 5.0)
        store.prune(10.0)
        assert problems(store, key) == []
        assert totals(store, key).removed == ("s",)
        checkpoints.make(store, key, now=9.0)
        assert problems(store, key) == []
        assert totals(store, key).removed == ()

    @pytest.mark.parametrize(
        ("statement", "words"),
        [
            ("DELETE FROM oneturn_checkpoints WHERE n=2", "Checkpoint 2 is missing"),
            ("UPDATE oneturn_checkpoints SET n=-n WHERE n=2", "Checkpoint 1 is missing"),
            ("UPDATE oneturn_checkpoints SET signature=x'00' WHERE n=2", "signature of checkpoint 2"),
            (
                "UPDATE oneturn_checkpoints SET statement="
                "CAST(replace(CAST(statement AS TEXT),'2.0','2.5') AS BLOB) WHERE n=2",
                "signature of checkpoint 2",
            ),
            ("UPDATE oneturn_checkpoints SET statement=x'5b5d' WHERE n=2", "Checkpoint 2 cannot be read"),
        ],
    )
    def test_checkpoints_that_were_touched_are_found(
        self, store: SqliteStore, key: SigningKey, path: Path, statement: str, words: str
    ) -> None:
        tamper(path, statement)
        assert words in str(problems(store, key)[0])

    def test_a_first_one_that_was_removed_and_numbers_that_were_mended_are_found(
        self, store: SqliteStore, key: SigningKey, path: Path
    ) -> None:
        tamper(
            path,
            "DELETE FROM oneturn_checkpoints WHERE n=1",
            *(f"UPDATE oneturn_checkpoints SET n={n} WHERE n={n + 1}" for n in (1, 2)),
        )
        assert "checkpoint 1" in str(problems(store, key)[0])
        assert "Checkpoint 1 does not follow" in str(problems(store)[0])

    def test_rows_and_checkpoints_cut_off_together_show_by_what_was_exported(
        self, store: SqliteStore, key: SigningKey, path: Path
    ) -> None:
        cut(path, store, "s", 4)
        tamper(path, "DELETE FROM oneturn_checkpoints WHERE n=3")
        assert problems(store, key, self.lines[1]) == []
        assert [str(each) for each in problems(store, key, self.lines[2])] == [
            "Checkpoint 3, which was exported, is missing: the end of the journal was cut off"
        ]

    def test_a_journal_made_up_with_another_key_is_found(
        self, store: SqliteStore, key: SigningKey, path: Path, tmp_path: Path
    ) -> None:
        forger = SigningKey.at(tmp_path / "forger.pem")
        tamper(path, "DELETE FROM oneturn_checkpoints")
        assert checkpoints.make(store, forger, now=1.0) is not None
        assert problems(store, forger) == []
        assert "signature of checkpoint 1" in str(problems(store, key)[0])
        found = [str(each) for each in problems(store, forger, self.lines[0])]
        assert found == [
            "The signature of the exported checkpoint 1 is not this key's",
        ]
        assert "Checkpoint 1 is not the one that was exported" in [
            str(each) for each in problems(store, key, self.lines[0])
        ]

    @pytest.mark.parametrize(
        "change",
        [
            lambda line: "",
            lambda line: line + " x",
            lambda line: line.replace("1", "l", 1),
            lambda line: "x" + line,
        ],
    )
    def test_what_is_no_checkpoint_is_refused(
        self, store: SqliteStore, key: SigningKey, change: Callable[[str], str]
    ) -> None:
        with pytest.raises(ConfigError, match="no checkpoint"):
            problems(store, key, change(self.lines[0]))

    def test_an_exported_one_needs_the_public_key(self, store: SqliteStore) -> None:
        with pytest.raises(ConfigError, match="public key"):
            problems(store, None, self.lines[0])

    def test_nothing_is_signed_over_checkpoints_that_cannot_be_read(
        self, store: SqliteStore, key: SigningKey
    ) -> None:
        store.add_checkpoint(CheckpointRow(4, b"?", b"?"))
        with pytest.raises(JournalError, match="Checkpoint 4"):
            checkpoints.make(store, key, now=9.0)


class TestSigningKey:
    def test_it_is_made_once_and_only_its_owner_may_read_it(self, tmp_path: Path) -> None:
        path = tmp_path / "keys" / "journal.pem"
        made: list[SigningKey] = []
        threads = [threading.Thread(target=lambda: made.append(SigningKey.at(path))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({str(key.public) for key in made}) == 1
        assert len(made) == 8
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [each.name for each in path.parent.iterdir()] == ["journal.pem"]

    def test_one_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.pem"
        SigningKey.at(path)
        path.chmod(0o640)
        with pytest.raises(ConfigError, match="Others may read"):
            SigningKey.at(path)

    def test_a_file_that_is_none_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.pem"
        path.touch(0o600)
        path.write_text("my notes")
        with pytest.raises(ConfigError, match="no signing key"):
            SigningKey.at(path)
        assert path.read_text() == "my notes"

    @pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:!"])
    def test_what_is_no_public_key_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="not a public key"):
            PublicKey.parse(text)


class TestVault:
    def test_what_was_sealed_opens_in_its_place_only(self) -> None:
        vault = Vault.from_text("ab" * 32)
        key = vault.new_key()
        sealed = key.seal(b"secret", b"r 1 called")
        assert b"secret" not in sealed
        assert sealed != key.seal(b"secret", b"r 1 called")
        again = Vault(bytes.fromhex("ab" * 32)).unwrap(key.wrapped)
        assert again.open(sealed, b"r 1 called") == b"secret"
        assert again.wrapped == key.wrapped
        for place in (b"r 2 called", b"s 1 called", b""):
            with pytest.raises(JournalCorrupt):
                again.open(sealed, place)
        with pytest.raises(JournalCorrupt):
            vault.new_key().open(sealed, b"r 1 called")

    @pytest.mark.parametrize("position", [0, 11, 12, 17, -1])
    def test_a_flipped_bit_does_not_open(self, position: int) -> None:
        key = Vault(b"k" * 32).new_key()
        sealed = bytearray(key.seal(b"secret", b""))
        sealed[position] ^= 1
        with pytest.raises(JournalCorrupt):
            key.open(bytes(sealed), b"")

    @pytest.mark.parametrize("data", [b"", b"short", b"x" * 12, b"x" * 27])
    def test_what_was_cut_off_does_not_open(self, data: bytes) -> None:
        with pytest.raises(JournalCorrupt):
            Vault(b"k" * 32).new_key().open(data, b"")
        with pytest.raises(JournalCorrupt):
            Vault(b"k" * 32).unwrap(data)

    def test_another_master_key_unwraps_nothing(self) -> None:
        with pytest.raises(JournalCorrupt, match="master key"):
            Vault(b"l" * 32).unwrap(Vault(b"k" * 32).new_key().wrapped)

    @pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "zz" * 32, "é" * 64])
    def test_what_is_no_master_key_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="master key") as caught:
            Vault.from_text(text)
        assert not text or text not in str(caught.value)
        with pytest.raises(ConfigError, match="16 bytes"):
            Vault(b"k" * 16)

    def test_an_encrypted_run_whose_key_was_dropped_still_verifies(
        self, store: SqliteStore, key: SigningKey
    ) -> None:
        run_key = Vault(b"k" * 32).new_key()
        record(store, "r", run_key.seal(b"secret", b"r 1 called"), key=run_key.wrapped)
        checkpoints.make(store, key, now=1.0)
        assert store.drop_key("r")
        assert known(store, "r").key == b""
        assert problems(store, key) == []
