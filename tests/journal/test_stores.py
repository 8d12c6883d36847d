"""The stores of the journal: the contract on each, and what only real files, servers and processes show."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.postgres import PostgresServer, postgres

from oneturn.errors import ConfigError, JournalCorrupt, JournalError
from oneturn.journal import checkpoints
from oneturn.journal.chain import first_bad
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.store import Store
from oneturn.testing.store_contract import (
    FAR,
    StoreContract,
    append_of,
    approval,
    ask,
    known,
    new_run,
    record,
    rows_after,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres() as running:
        yield running


@contextlib.contextmanager
def process(what: str, where: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the journal, once it has opened it."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.journal.writing", what, where, name],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()[1]
        yield child
    finally:
        child.kill()
        child.communicate()


class Processes:
    """What holds when several processes use one journal, wherever it is."""

    where: str

    def open_store(self) -> Store:
        raise NotImplementedError

    def test_of_two_processes_that_take_the_same_runs_each_gets_others(self) -> None:
        store = self.open_store()
        for n in range(40):
            record(store, f"r{n}", b"1")
        with process("take", self.where, "p") as one, process("take", self.where, "q") as two:
            for child in (one, two):
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
            taken = [child.communicate(timeout=60)[0].split() for child in (one, two)]
        assert sorted(taken[0] + taken[1]) == sorted(f"r{n}" for n in range(40))
        owners = [{run.id for run in store.runs() if run.owner == name} for name in ("p", "q")]
        assert owners == [set(each) for each in taken]
        store.close()

    def test_two_processes_append_at_once(self) -> None:
        with (
            process("append_some", self.where, "p") as one,
            process("append_some", self.where, "q") as two,
        ):
            for child in (one, two):
                assert child.wait(60) == 0, child.communicate()[1]
        store = self.open_store()
        found = [(run.id, run.n, first_bad(run, store.rows(run.id))) for run in store.runs()]
        assert found == [("q", 200, None), ("p", 200, None)]
        store.close()

    @pytest.mark.parametrize("rows", [2, 40, 100])
    def test_a_process_killed_while_it_appends_leaves_whole_appends(self, rows: int) -> None:
        with process("append", self.where, "p") as child:
            assert child.stdout is not None
            said = next(n for line in child.stdout if (n := int(line)) >= rows)
            child.kill()
            said = max([said, *map(int, child.stdout.read().split())])
        store = self.open_store()
        run = known(store, "p")
        assert run.n >= said
        assert run.n % 2 == 0
        assert first_bad(run, store.rows("p")) is None
        taken = store.lease("p", "here", FAR, now=FAR, dead=lambda _: False)
        assert store.append([append_of("p", rows_after(run, b"on"), fence=taken.fence)]) == frozenset()
        store.close()


class TestSqlite(StoreContract, Processes):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "folder" / "journal.db"
        self.where = str(self.path)

    def open_store(self) -> Store:
        return SqliteStore(self.path)


class TestPostgres(StoreContract, Processes):
    @pytest.fixture(autouse=True)
    def _place(self, server: PostgresServer) -> None:
        self.where = server.schema()

    def open_store(self) -> Store:
        from oneturn.journal.postgres import PostgresStore

        return PostgresStore(self.where)


class TestAFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "folder" / "journal.db"

    def test_only_its_owner_may_read_it(self, path: Path) -> None:
        store = SqliteStore(path)
        record(store, "r", b"1")
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["journal.db", "journal.db-shm", "journal.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        store.close()

    def test_one_in_memory_goes_with_its_store(self) -> None:
        store = SqliteStore(":memory:")
        record(store, "r", b"1")
        assert first_bad(known(store, "r"), store.rows("r")) is None
        store.close()
        assert SqliteStore(":memory:").runs() == []
        assert not Path(":memory:").exists()

    def test_a_locked_one_is_an_error_that_says_so_and_passes(self, path: Path) -> None:
        store = SqliteStore(path, wait=0.1)
        run = record(store, "r", b"1")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        append = append_of("r", rows_after(run, b"2"))
        with pytest.raises(JournalError, match="another process kept it locked"):
            store.append([append])
        assert store.run("r") == run
        holder.execute("ROLLBACK")
        assert store.append([append]) == frozenset()
        holder.close()
        store.close()

    def test_one_of_another_oneturn_is_refused_and_left_alone(self, path: Path) -> None:
        SqliteStore(path).close()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version=99")
        before = path.read_bytes()
        with pytest.raises(JournalError, match="another version"):
            SqliteStore(path)
        assert path.read_bytes() == before

    def test_another_programs_database_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "cookies.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE cookies (name TEXT)")
        before = path.read_bytes()
        with pytest.raises(JournalError, match="another program"):
            SqliteStore(path)
        assert path.read_bytes() == before

    def test_what_is_no_database_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("dear diary\n" * 200)
        with pytest.raises(JournalError, match="not a journal"):
            SqliteStore(path)
        assert path.read_text() == "dear diary\n" * 200

    def test_a_place_that_cannot_be_written_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(JournalError, match="cannot be made or written"):
            SqliteStore(tmp_path / "file" / "journal.db")
        with pytest.raises(JournalError, match="cannot be made or written"):
            SqliteStore(tmp_path)

    def test_a_damaged_one_is_corrupt(self, path: Path) -> None:
        store = SqliteStore(path)
        for n in range(300):
            record(store, f"r{n}", b"x" * 300)
        store.close()
        with path.open("r+b") as file:
            file.seek(3 * 4096)
            file.write(os.urandom(path.stat().st_size - 3 * 4096))
        with pytest.raises(JournalCorrupt, match="damaged"):
            store = SqliteStore(path)
            for run in store.runs(limit=1000):
                list(store.rows(run.id))

    def test_bits_flipped_on_disk_are_found(self, path: Path) -> None:
        store = SqliteStore(path)
        record(store, "r", b"transfer 100 euros", b"and then")
        store.close()
        content = path.read_bytes()
        assert content.count(b"transfer 100") == 1
        path.write_bytes(content.replace(b"transfer 100", b"transfer 900"))
        store = SqliteStore(path)
        problem = first_bad(known(store, "r"), store.rows("r"))
        assert problem is not None
        assert (problem.run, problem.n) == ("r", 1)
        found = [each for each in checkpoints.verify(store) if not isinstance(each, checkpoints.Progress)]
        assert found == [problem]
        store.close()

    def test_a_dropped_key_is_gone_from_the_file(self, path: Path) -> None:
        store = SqliteStore(path)
        record(store, "r", b"ciphertext", key=b"the wrapped key of r")
        record(store, "s", b"1")
        held = path.with_name(path.name + "-wal").read_bytes() + path.read_bytes()
        assert b"the wrapped key of r" in held
        store.drop_key("r")
        left = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert b"the wrapped key of r" not in left
        store.close()

    def test_a_full_disk_loses_nothing_and_is_an_error_until_there_is_room(self, tmp_path: Path) -> None:
        with small_disk(tmp_path) as folder:
            store = SqliteStore(folder / "journal.db")
            last = record(store, "r", b"0")
            filler = folder / "filler"
            filler.write_bytes(b"x" * 1_300_000)
            with pytest.raises(JournalError, match=r"full|disk"):
                for _ in range(100):
                    append = append_of("r", rows_after(last, b"x" * 50_000, b"y"))
                    store.append([append])
                    last = known(store, "r")
            assert store.run("r") == last
            assert first_bad(last, store.rows("r")) is None
            filler.unlink()
            assert store.append([append]) == frozenset()
            assert known(store, "r").n == last.n + 2
            store.close()
            store = SqliteStore(folder / "journal.db")
            assert first_bad(known(store, "r"), store.rows("r")) is None
            store.close()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Lossy:
    """A way to the server on which, when armed, the answer to a COMMIT and the connection are lost."""

    def __init__(self, server: Path, folder: Path) -> None:
        self.folder = folder
        self.armed = self.closes = False
        self.lost = 0
        self._server = str(server / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as upstream, contextlib.suppress(OSError):
            upstream.connect(self._server)
            while True:
                for source in select.select([client, upstream], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    (upstream if source is client else client).sendall(data)
                    if source is client and self.armed and b"COMMIT" in data:
                        self.armed = False
                        self.lost += 1
                        if self.closes:
                            self.close()
                        upstream.recv(65536)
                        return

    def close(self) -> None:
        (self.folder / ".s.PGSQL.5432").unlink(missing_ok=True)
        self._listener.close()


@contextlib.contextmanager
def lossy(server: Path) -> Iterator[Lossy]:
    with tempfile.TemporaryDirectory(prefix="ot-") as folder:
        line = Lossy(server, Path(folder))
        yield line
        line.close()


class TestAServer:
    """Postgres going away, which its backends are told to do at the worst moments."""

    @pytest.fixture
    def dsn(self, server: PostgresServer) -> str:
        return server.schema()

    @pytest.fixture
    def store(self, dsn: str) -> Iterator[Store]:
        from oneturn.journal.postgres import PostgresStore

        store = PostgresStore(dsn)
        yield store
        store.close()

    def cut(self, server: PostgresServer) -> None:
        """End every other connection."""
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )

    def test_a_connection_that_broke_is_made_again(self, server: PostgresServer, store: Store) -> None:
        run = record(store, "r", b"1")
        self.cut(server)
        assert store.run("r") == run
        self.cut(server)
        assert store.append([append_of("r", rows_after(run, b"2"))]) == frozenset()
        self.cut(server)
        assert len(list(store.rows("r"))) == 2

    def test_what_was_committed_when_it_broke_is_done_once(self, server: PostgresServer, dsn: str) -> None:
        from oneturn.journal.postgres import PostgresStore

        with lossy(server.folder) as line:
            store = PostgresStore(dsn.replace(f"host={server.folder}", f"host={line.folder}"))
            run = record(store, "r", b"1")
            rows = rows_after(run, b"2", b"3")
            line.armed = True
            assert store.append([append_of("r", rows)]) == frozenset()
            assert [row.n for row in store.rows("r")] == [1, 2, 3]
            line.armed = True
            new = new_run("s")
            assert store.append([append_of("s", rows_after(new, b"1"), new=new)]) == frozenset()
            line.armed = True
            taken = store.lease("r", "there", 2 * FAR, now=FAR, dead=lambda _: False)
            assert (taken.owner, taken.fence) == ("there", 2)
            store.append([replace(append_of("r", fence=2), asks=(approval("a"),))])
            line.armed = True
            assert store.decide("a", "approved", by="bob", decision=b"", now=8.0)
            line.armed = True
            assert not store.use("a")
            line.armed = True
            assert store.forget("r")
            assert store.run("r") is None
            assert line.lost == 6
            store.close()

    def test_an_append_whose_answer_is_lost_for_good_may_be_repeated_with_more(
        self, server: PostgresServer, dsn: str, store: Store
    ) -> None:
        from oneturn.journal.postgres import PostgresStore

        run = record(store, "r", b"1")
        rows = rows_after(run, b"2", b"3", b"4")
        with lossy(server.folder) as line:
            cut_off = PostgresStore(dsn.replace(f"host={server.folder}", f"host={line.folder}"), wait=0.3)
            line.armed = line.closes = True
            with pytest.raises(JournalError, match="may or may not be there"):
                cut_off.append([append_of("r", rows[:2])])
            cut_off.close()
        assert store.append([append_of("r", rows)]) == frozenset()
        assert tuple(store.rows("r"))[1:] == rows

    def test_a_lost_answer_does_not_make_anothers_decision_ours(
        self, server: PostgresServer, store: Store, dsn: str
    ) -> None:
        from oneturn.journal.postgres import PostgresStore

        record(store, "r", b"1")
        ask(store, "r", approval("a"))
        other = PostgresStore(dsn)
        assert other.decide("a", "denied", by="eve", decision=b"", now=8.0)
        self.cut(server)
        assert not store.decide("a", "approved", by="bob", decision=b"", now=8.0)
        assert not store.use("a")
        other.close()

    def test_a_lock_held_by_another_is_an_error_that_says_so(self, dsn: str) -> None:
        import psycopg

        from oneturn.journal.postgres import PostgresStore

        store = PostgresStore(dsn, wait=0.2)
        run = record(store, "r", b"1")
        append = append_of("r", rows_after(run, b"2"))
        with psycopg.connect(dsn) as holder:
            holder.execute("SELECT 1 FROM oneturn_runs FOR UPDATE")
            with pytest.raises(JournalError, match="kept a part of it locked"):
                store.append([append])
        assert store.append([append]) == frozenset()
        store.close()

    def test_tables_of_another_oneturn_are_refused(self, dsn: str, store: Store) -> None:
        import psycopg

        from oneturn.journal.postgres import PostgresStore

        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE oneturn_schema SET version = 99")
        with pytest.raises(JournalError, match="another version"):
            PostgresStore(dsn)

    def test_commits_are_durable_even_where_the_server_is_set_otherwise(self, dsn: str) -> None:
        from oneturn.journal.postgres import PostgresStore

        store = PostgresStore(dsn.replace("options=", "options=-csynchronous_commit%3Doff%20"))
        assert store._read("SHOW synchronous_commit") == [("on",)]
        store.close()

    def test_a_server_that_is_not_there_is_an_error_that_hides_the_password(self, tmp_path: Path) -> None:
        from oneturn.journal.postgres import PostgresStore

        with pytest.raises(JournalError, match="cannot be reached") as caught:
            PostgresStore(f"postgresql://u:hunter2@/name?host={tmp_path}")
        assert "hunter2" not in str(caught.value)
        with pytest.raises(ConfigError) as refused:
            PostgresStore("postgresql://u:hunter2@host/name?nonsense=1")
        assert "hunter2" not in str(refused.value)
