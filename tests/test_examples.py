"""The examples do what they say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILESYSTEM = ROOT / "tests/node/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"


def output(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_map_reduce() -> None:
    value, calls = output("map_reduce.py").splitlines()
    pages = len(list((ROOT / "docs").glob("*.md")))
    assert f"'pages': {pages}" in value
    assert calls.startswith(f"{pages + 1} calls, one turn")


def test_fetch_filter_summarise() -> None:
    prints, value, calls = output("fetch_filter_summarise.py").splitlines()
    assert prints == "looked at all pages, 166 orders are overdue"
    assert "'worst'" in value
    assert calls.startswith("10 calls, one turn")


def test_batch() -> None:
    value, *calls = output("batch.py").splitlines()
    assert "'done': ['ada@example.com', 'bob@example.com']" in value
    assert "no contact has the address nobody@example.com" in value
    assert "'on team now': 3" in value
    assert [line.rpartition(" ")[2] for line in calls] == ["ok", "ok", "ok", "failed", "ok"]


@pytest.mark.node
@pytest.mark.skipif(
    shutil.which("node") is None or not FILESYSTEM.exists(), reason="needs Node.js and `make node`"
)
def test_demo() -> None:
    text = output("demo.py")
    assert "succeeded" in text
    assert "files.write_file" in text
    assert "# History" in text
    assert "one call per turn" in text
