"""`oneturn serve` in front of real MCP servers: one script, one turn, several of them."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from running import SERVE, serving_http

TRANSPORTS = ["stdio", "http"]
LAB = str(Path(__file__).parents[1] / "servers" / "lab.py")


@contextlib.asynccontextmanager
async def client_of(transport: str, servers: dict[str, list[str]], folder):
    """A client of an `oneturn serve` that is set up for these servers."""
    entries = {
        name: {"command": command[0], "args": command[1:], "env": {"PATH": os.environ["PATH"]}}
        for name, command in servers.items()
    }
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": entries}))
    config = folder / "oneturn.toml"
    config.write_text('mcp_config = ["mcp.json"]\napprove = "never"\n')  # nobody says what these tools do
    options = ["--config", str(config), "--allow", "*"]
    if transport == "stdio":
        stdio = StdioTransport(SERVE[0], [*SERVE[1:], *options], env=dict(os.environ), keep_alive=False)
        async with Client(stdio) as client:
            yield client
    else:
        with serving_http(*options) as url:
            async with Client(url) as client:
                yield client


async def run(client, code: str):
    result = await client.call_tool("execute_code", {"code": code}, raise_on_error=False)
    assert not result.is_error, result.content[0].text
    return result


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "README").write_text("hello\n")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for words in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "First commit"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_python_servers_in_one_script(transport, tmp_path, repository):
    servers = {
        "clock": [sys.executable, "-m", "mcp_server_time"],
        "git": [sys.executable, "-m", "mcp_server_git", "--repository", str(repository)],
    }
    async with client_of(transport, servers, tmp_path) as client:
        found = await client.call_tool("search_tools", {"queries": ["commit log", "convert time zone"]})
        assert "git.git_log(" in found.content[0].text
        assert "clock.convert_time(" in found.content[0].text
        result = await run(
            client,
            f"""
import asyncio
log, time = await asyncio.gather(
    tools.git.git_log(repo_path={str(repository)!r}, max_count=1),
    tools.clock.convert_time(source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"),
)
{{"log": log, "tokyo": time["target"]["datetime"]}}
""",
        )
    value = result.structured_content["value"]
    assert "First commit" in json.dumps(value["log"])
    assert "T21:00" in value["tokyo"]
    assert {call["tool"] for call in result.structured_content["calls"]} == {
        "git.git_log",
        "clock.convert_time",
    }


@pytest.mark.node
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_node_servers_in_one_script(transport, node, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "numbers.txt").write_text("1\n2\n3\n")
    servers = {
        "fs": [*node.command("@modelcontextprotocol/server-filesystem"), str(files)],
        "memory": [
            "env",
            f"MEMORY_FILE_PATH={tmp_path / 'memory.json'}",
            *node.command("@modelcontextprotocol/server-memory"),
        ],
        "everything": node.command("@modelcontextprotocol/server-everything"),
    }
    async with client_of(transport, servers, tmp_path) as client:
        result = await run(
            client,
            f"""
read = await tools.fs.read_text_file(path={str(files / "numbers.txt")!r})
numbers = [int(line) for line in read["content"].split()]
total = await tools.everything.get_sum(numbers[0], numbers[2])
await tools.fs.write_file(path={str(files / "total.txt")!r}, content=str(total))
await tools.memory.create_entities(entities=[
    {{"name": "total", "entityType": "note", "observations": [str(n) for n in numbers]}}
])
graph = await tools.memory.read_graph()
weather = await tools.everything.get_structured_content(location="New York")
image = await tools.everything.get_tiny_image()
{{
    "total": total,
    "kept": graph["entities"][0]["observations"],
    "weather": sorted(weather),
    "image": image,
}}
""",
        )
    value = result.structured_content["value"]
    assert "4" in value["total"]
    assert (files / "total.txt").read_text() == value["total"]
    assert value["kept"] == ["1", "2", "3"]
    assert value["weather"] == ["conditions", "humidity", "temperature"]
    assert [block.type for block in result.content] == ["text", "image"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_that_cannot_start_does_not_stop_the_others(transport, tmp_path):
    servers = {
        "clock": [sys.executable, "-m", "mcp_server_time"],
        "broken": [sys.executable, "-c", "raise SystemExit('no')"],
    }
    async with client_of(transport, servers, tmp_path) as client:
        result = await run(client, 'runtime.list_tools("clock")')
    assert len(result.structured_content["value"]) == 2


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nothing_is_left_running(transport, tmp_path):
    async with client_of(transport, {"lab": [sys.executable, LAB, "stdio"]}, tmp_path) as client:
        result = await run(client, "await tools.lab.pid()")
        pid = result.structured_content["value"]
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
