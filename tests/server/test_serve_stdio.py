"""Serving over stdio, as a client starts it: in a process of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

SERVED = str(Path(__file__).parents[1] / "servers" / "served.py")
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.fixture
def process():
    process = subprocess.Popen(
        [sys.executable, SERVED, "stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()


def send(process, message) -> None:
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def receive(process) -> dict:
    return json.loads(process.stdout.readline())


def greet(process) -> None:
    send(process, HELLO)
    assert receive(process)["result"]["serverInfo"]["name"] == "lab"
    send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})


async def test_a_client_runs_a_script():
    async with Client(StdioTransport(sys.executable, [SERVED, "stdio"])) as client:
        result = await client.call_tool("execute_code", {"code": "[await add(1, 2), await picture()]"})
    assert result.structured_content["value"][0] == 3
    assert result.content[1].type == "image"


def test_only_the_protocol_reaches_stdout(process):
    greet(process)
    call = {"name": "execute_code", "arguments": {"code": "await noise()"}}
    send(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})
    assert receive(process)["result"]["content"][0]["text"] == "quiet"
    out, err = process.communicate()
    assert out == ""
    assert "not the protocol" in err
    assert "FastMCP" not in err


def test_it_ends_when_the_client_hangs_up(process):
    greet(process)
    process.stdin.close()
    assert process.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_a_signal_ends_it(process):
    greet(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
