"""What a type checker tells a user of oneturn: right use passes, wrong use is pointed at."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy knows of everything that is imported; the second run needs not look again."""
    return tmp_path_factory.mktemp("mypy")


def mypy(name: str, cache: Path) -> list[str]:
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary",
            f"--cache-dir={cache}", str(HERE / name),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if "error:" in line]


def test_right_use_passes(cache: Path) -> None:
    assert mypy("right.py", cache) == []


def test_wrong_use_is_pointed_at(cache: Path) -> None:
    source = (HERE / "wrong.py").read_text(encoding="utf-8").splitlines()
    expected = {
        (number, found[1])
        for number, line in enumerate(source, 1)
        if (found := re.search(r"# wrong: ([\w-]+)$", line))
    }
    told = set()
    for line in mypy("wrong.py", cache):
        found = re.search(r":(\d+): error: .*\[([\w-]+)\]$", line)
        assert found is not None, line
        told.add((int(found[1]), found[2]))
    assert told == expected
