"""`oneturn artifacts get`: the bytes a result left behind, from another process."""

import hashlib

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
    journal.artifacts.keep(Artifact("a1b2c3d4e5f6", DATA, "image/png", "plot", "local"), run)
    journal.close()
    return project


def test_its_bytes_go_to_a_file(shop):
    done = shop.run("artifacts", "get", "a1b2c3d4e5f6", "-o", "plot.png")
    assert done.code == 0, done.err
    assert hashlib.sha256((shop.folder / "plot.png").read_bytes()).digest() == hashlib.sha256(DATA).digest()
    assert "10,240 bytes of image/png, left by local" in done.err


def test_one_that_is_not_there(shop):
    done = shop.run("artifacts", "get", "nothing")
    assert done.code == 1
    assert "There is no artifact nothing in this journal." in done.err
