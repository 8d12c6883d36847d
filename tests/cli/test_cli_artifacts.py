"""`oneturn artifacts get`: the bytes a result left behind, from another process."""

import hashlib
import sqlite3
from contextlib import closing

import pytest

from oneturn.journal.artifacts import Artifact
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.writer import Journal

TOML = 'app = "shop:app"\nallow = ["*"]\nsandbox = "monty"\n'
DATA = bytes(range(256)) * 40


@pytest.fixture
def shop(project):
    project.write("oneturn.toml", TOML)
    run = project.run("run", "-", "--json", stdin="1").data["run_id"]
    journal = Journal(SqliteStore(project.folder / ".oneturn" / "journal.db"))
    project.artifact = Artifact.new(DATA, "image/png", "plot", "local")
    journal.artifacts.keep(project.artifact, run)
    journal.close()
    return project


def test_its_bytes_go_to_a_file(shop):
    done = shop.run("artifacts", "get", shop.artifact.id, "-o", "plot.png")
    assert done.code == 0, done.err
    assert hashlib.sha256((shop.folder / "plot.png").read_bytes()).digest() == hashlib.sha256(DATA).digest()
    assert "10,240 bytes of image/png, left by local" in done.err


def test_changed_bytes_are_not_written(shop):
    with closing(sqlite3.connect(shop.folder / ".oneturn" / "journal.db")) as connection, connection:
        connection.execute("UPDATE oneturn_artifacts SET data=x'00'")
    done = shop.run("artifacts", "get", shop.artifact.id, "-o", "plot.png")
    assert done.code == 1
    assert "is not what was kept" in done.err
    assert not (shop.folder / "plot.png").exists()


def test_one_that_is_not_there(shop):
    done = shop.run("artifacts", "get", "nothing")
    assert done.code == 1
    assert "There is no artifact nothing in this journal." in done.err
