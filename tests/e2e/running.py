"""`oneturn serve` as a process, and the Node.js programs that `make node` installs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[1] / "node" / "node_modules"
SERVE = [sys.executable, "-m", "oneturn.cli", "serve"]


@contextlib.contextmanager
def serving_http(*options: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """The URL of an `oneturn serve --http` process."""
    with subprocess.Popen(
        [*SERVE, "--http", "127.0.0.1:0", *options],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        told = []
        try:
            for line in process.stderr:
                told.append(line)
                if line.startswith("serving http"):
                    yield line.split()[1]
                    break
            else:
                pytest.fail(f"oneturn serve ended without serving:\n{''.join(told)}")
        finally:
            process.terminate()
            process.stderr.read()


class Node:
    """Node.js and the packages of tests/node."""

    def __init__(self, program: str) -> None:
        self.program = program

    def command(self, package: str, file: str = "dist/index.js") -> list[str]:
        """How to run one file of an installed package."""
        return [self.program, str(MODULES / package / file)]

    def run(self, command: list[str], home: Path) -> str:
        """What a command prints; its settings and caches go to `home`."""
        env = {**os.environ, "HOME": str(home), "PATH": f"{Path(self.program).parent}:{os.environ['PATH']}"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        return done.stdout
