"""Proofs that are stopped go on where they were; nothing is said before everything was looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import proofs.base as base

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).with_name("toy.py")
DONE = "True 6 items, sum 55, seeds 7"


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, str(TOY), str(folder)], env=environment, stdout=subprocess.PIPE)


def prove(folder: Path) -> int:
    """Prove to the end; the exit code."""
    proof = start(folder)
    proof.communicate()
    return proof.returncode


def log(folder: Path) -> Path:
    (found,) = folder.glob("toy-7-*.jsonl")
    return found


def finished(folder: Path) -> int:
    logs = list(folder.glob("toy-7-*.jsonl"))
    return len(logs[0].read_text().split("\n")) - 1 if logs else 0


def checked(folder: Path) -> list[int]:
    """How often each item was checked."""
    marks = [folder / f"checked-{item}" for item in range(6)]
    return [len(mark.read_text()) if mark.exists() else 0 for mark in marks]


def killed_half_way(folder: Path) -> None:
    """Prove until three items are finished, kill that without a warning, and see its workers end too."""
    (folder / "wait").touch()
    proof = start(folder)
    while finished(folder) < 3:
        assert proof.poll() is None
        time.sleep(0.01)
    proof.send_signal(signal.SIGKILL)
    assert proof.stdout is not None
    proof.stdout.read()  # to its end, which comes when no process has it any more
    proof.wait()
    assert checked(folder) == [1, 1, 1, 0, 0, 0]


def test_a_killed_proof_goes_on_and_checks_nothing_twice(tmp_path: Path) -> None:
    killed_half_way(tmp_path)
    assert not (tmp_path / "report").exists()
    (tmp_path / "wait").unlink()
    assert prove(tmp_path) == 0
    assert (tmp_path / "report").read_text() == DONE
    assert checked(tmp_path) == [1, 1, 1, 1, 1, 1]


def test_a_line_that_was_not_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    assert prove(tmp_path) == 0
    path = log(tmp_path)
    path.write_text(path.read_text()[:-4])
    assert prove(tmp_path) == 0
    assert sorted(checked(tmp_path)) == [1, 1, 1, 1, 1, 2]
    assert prove(tmp_path) == 0
    assert sorted(checked(tmp_path)) == [1, 1, 1, 1, 1, 2]
    assert (tmp_path / "report").read_text() == DONE


def test_a_proof_that_breaks_says_nothing_and_keeps_what_was_finished(tmp_path: Path) -> None:
    (tmp_path / "break").touch()
    assert prove(tmp_path) == 1
    assert not (tmp_path / "report").exists()
    (tmp_path / "break").unlink()
    assert prove(tmp_path) == 0
    assert (tmp_path / "report").read_text() == DONE
    assert checked(tmp_path)[5] == 1


def test_after_a_change_of_the_source_or_with_another_seed_it_starts_anew(tmp_path: Path) -> None:
    assert prove(tmp_path) == 0
    path = log(tmp_path)
    assert base.tree() in path.name
    path.rename(path.with_name("toy-7-000000000000.jsonl"))
    assert prove(tmp_path) == 0
    assert checked(tmp_path) == [2, 2, 2, 2, 2, 2]
    assert len(list(tmp_path.glob("toy-7-*.jsonl"))) == 2
