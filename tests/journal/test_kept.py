"""Artifacts that outlive their run and their process, for their caller and nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.journal.hosts import Host

from oneturn import CodeMode
from oneturn.errors import ArtifactNotFound
from oneturn.journal import kept
from oneturn.journal.artifacts import Artifact
from oneturn.journal.kept import KeptArtifacts
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.writer import Journal
from oneturn.tools.base import Blob

SCRIPT = (
    "import asyncio, sys\nfrom pathlib import Path\nfrom tests.journal.test_kept import Studio\n"
    "folder, caller, code = sys.argv[1:]\n"
    "outcome = asyncio.run(Studio(Path(folder)).run(code, execute={'caller': caller}))\n"
    "print(outcome.status, outcome.value if outcome.error is None else outcome.error.kind)"
)


class Studio(Host):
    """Its tool `picture` answers with bytes."""

    def app(self, **options: Any) -> CodeMode:
        app = super().app(**options)

        @app.tool(effect="read")
        async def picture() -> Blob:
            return Blob(b"\x89PNG", "image/png", "plot.png")

        return app

    def elsewhere(self, caller: str, code: str) -> str:
        """What comes of a script in another process."""
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, self.folder, caller, code],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


async def test_a_later_script_in_another_process_reads_it_by_its_handle(studio: Studio) -> None:
    outcome = await studio.run("await picture()", execute={"caller": "ann"})
    handle = outcome.value
    read = f"data = runtime.artifact({handle['artifact']!r})\n[len(data), data == b'\\x89PNG']"
    assert studio.elsewhere("ann", read) == "succeeded [4, True]"
    assert studio.elsewhere("bob", read) == "failed LookupError"
    async with studio.app() as app:
        artifact = await app.artifact(handle["artifact"], caller="ann")
        assert (artifact.data, artifact.caller) == (b"\x89PNG", "ann")
        with pytest.raises(ArtifactNotFound):
            await app.artifact(handle["artifact"], caller="bob")


async def test_nobody_can_tell_anothers_from_none(studio: Studio) -> None:
    outcome = await studio.run("await picture()", execute={"caller": "ann"})
    theirs = outcome.value["artifact"]
    none = "0" * len(theirs)
    async with studio.app() as app:
        said = []
        for artifact_id in (theirs, none):
            with pytest.raises(ArtifactNotFound) as error:
                await app.artifact(artifact_id, caller="bob")
            said.append(str(error.value).replace(artifact_id, "ID"))
    assert said[0] == said[1]


async def test_it_goes_with_its_run(studio: Studio) -> None:
    outcome = await studio.run("await picture()")
    async with studio.app() as app:
        assert (await app._opened()).journal.store.forget(outcome.run_id)
    async with studio.app() as app:
        with pytest.raises(ArtifactNotFound):
            await app.artifact(outcome.value["artifact"])


def test_one_callers_are_bounded_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_MOST", 1_000)
    journal = Journal(SqliteStore(tmp_path / "journal.db"))
    recording = journal.begin("run_1", "ann")
    recording.note("began", {"code": ""})
    recording.sync()
    shelf = KeptArtifacts(journal)

    def keep(caller: str, size: int) -> str:
        artifact = Artifact.new(b"x" * size, "text/plain", "", caller)
        shelf.keep(artifact, "run_1")
        return artifact.id

    other = keep("bob", 900)
    kept_ids = [keep("ann", 400) for _ in range(5)]
    left = [number for number, artifact_id in enumerate(kept_ids) if shelf.find(artifact_id) is not None]
    assert left == [3, 4]
    assert shelf.find(other) is not None
    journal.close()
