"""The real command in a real process, in a folder of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

APP = '''
import asyncio
import time
from pathlib import Path

from oneturn import CodeMode

app = CodeMode(allow=["*"])
open_app = CodeMode()
strict_app = CodeMode(allow=["pong"])


@app.tool(effect="read", namespace="crm")
def find(name: str) -> dict:
    """Find a customer. By name only."""
    return {"name": name, "orders": [1, 2]}


@app.tool(effect="write", namespace="crm")
def rename(name: str, to: str) -> str:
    """Rename a customer."""
    return to


@app.tool(effect="write")
async def stall(marker: str) -> None:
    """Say that it started, then take very long."""
    Path(marker).write_text("started")
    await asyncio.sleep(600)


@app.tool(effect="read")
def data() -> bytes:
    return b"\\x00\\xff"


@strict_app.tool(effect="read")
@open_app.tool(effect="read")
def ping() -> str:
    """Answer."""
    return "pong"


@strict_app.tool
def pong() -> str:
    return "ping"
'''

TIME = {
    "command": sys.executable,
    "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"],
}
BROKEN = {"command": sys.executable, "args": ["-c", "raise SystemExit('no licence')"]}


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Project:
    """A folder to run `oneturn` in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def servers(self, name: str = "servers.json", **servers: Any) -> Path:
        return self.write(name, json.dumps({"mcpServers": servers}))

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "oneturn.cli", *args]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if key != "NO_COLOR" and not key.startswith("ONETURN_")
        }
        return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **more}

    def run(self, *args: str, stdin: str = "", **env: str) -> Ran:
        done = subprocess.run(
            self.command(*args),
            cwd=self.folder,
            env=self.environment(**env),
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def terminal(self, *args: str, columns: int = 200, **env: str) -> str:
        """What a person at a terminal sees on stdout."""
        ours, theirs = os.openpty()
        environment = self.environment(TERM="xterm-256color", COLUMNS=str(columns), **env)
        process = subprocess.Popen(
            self.command(*args),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65_536):
                shown += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
        finally:
            os.close(ours)
        process.wait()
        return shown.decode()


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    made.write("shop.py", APP)
    return made


@pytest.fixture
def time_server():
    return TIME


@pytest.fixture
def broken_server():
    return BROKEN


@pytest.fixture
def lab_server():
    lab = Path(__file__).parent.parent / "servers" / "lab.py"
    return {"command": sys.executable, "args": [str(lab), "stdio"]}
