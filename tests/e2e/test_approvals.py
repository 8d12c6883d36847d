"""A run that waits for a person outlives the server that started it, through real clients and processes."""

import json
import os
import subprocess
import sys

import pytest
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport

APP = '''
from pathlib import Path

from oneturn import CodeMode

app = CodeMode("disk", allow=["*"])


@app.tool(effect="read")
def look(number: int) -> int:
    """Look."""
    with Path("looked").open("a") as file:
        file.write(f"{number}\\n")
    return number * 2


@app.tool
def wipe(number: int) -> str:
    """Wipe."""
    with Path("wiped").open("a") as file:
        file.write(f"{number}\\n")
    return f"wiped {number}"
'''
CODE = """
first = await look(4)
done = await wipe(first)
{"looked": first, "done": done}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "disk.py").write_text(APP)
    (tmp_path / "oneturn.toml").write_text('app = "disk.py:app"\n')
    return tmp_path


def server(folder) -> StdioTransport:
    """A server process that ends with its client."""
    return StdioTransport(
        sys.executable,
        ["-m", "oneturn.cli", "serve"],
        env=dict(os.environ),
        cwd=str(folder),
        keep_alive=False,
    )


def oneturn(folder, *arguments: str) -> dict:
    command = [sys.executable, "-m", "oneturn.cli", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def lines(path) -> list[str]:
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_run_waits_over_a_restart_is_approved_at_the_shell_and_finishes(folder, mode):
    async with Client(server(folder), mode=mode) as client:
        result = await client.call_tool("execute_code", {"code": CODE})
        assert result.structured_content["status"] == "waiting"
        run_id = result.structured_content["waiting"]["run_id"]
    assert lines(folder / "wiped") == []

    [waits] = oneturn(folder, "approvals", "list")["approvals"]
    assert (waits["tool"], waits["arguments"], waits["caller"]) == ("wipe", {"number": 8}, "stdio")
    oneturn(folder, "approvals", "approve", waits["id"])
    assert lines(folder / "wiped") == []

    async with Client(server(folder), mode=mode) as client:
        done = await client.call_tool("resume_run", {"run_id": run_id, "wait": 60})
        assert done.structured_content["value"] == {"looked": 8, "done": "wiped 8"}
        again = await client.call_tool("resume_run", {"run_id": run_id})
        assert again.structured_content["value"] == {"looked": 8, "done": "wiped 8"}
    assert lines(folder / "looked") == ["4"]
    assert lines(folder / "wiped") == ["8"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_user_of_a_client_is_asked_there(folder, mode):
    asked = []

    async def handler(message, response_type, params, context):
        asked.append(message)
        return ElicitResult(action="accept", content={"decision": "approve"})

    async with Client(server(folder), mode=mode, elicitation_handler=handler) as client:
        done = await client.call_tool("execute_code", {"code": CODE})
    assert done.structured_content["value"] == {"looked": 8, "done": "wiped 8"}
    [message] = asked
    assert '| "number": 8' in message
    assert lines(folder / "looked") == ["4"]
    assert lines(folder / "wiped") == ["8"]
