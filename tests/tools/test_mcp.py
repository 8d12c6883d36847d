"""Listing and calling through real MCP servers: what tools and results look like."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from oneturn import CodeMode
from oneturn.errors import SourceError, ToolError
from oneturn.tools.base import Blob, Link, Text
from oneturn.tools.mcp import McpServer, McpSource

SERVERS = Path(__file__).parents[1] / "servers"
LAB = McpServer("lab", command=sys.executable, args=(str(SERVERS / "lab.py"), "stdio"))
RAW = McpServer("raw", command=sys.executable, args=(str(SERVERS / "raw.py"),))


def trusted(server):
    return McpServer(server.name, command=server.command, args=server.args, trust_annotations=True)


@asynccontextmanager
async def opened(server, **options):
    source = McpSource(server, **options)
    await source.open()
    try:
        tools = {tool.name: tool for tool in await source.list_tools()}

        async def call(name, /, **arguments):
            return await source.call(tools[name], arguments)

        yield source, tools, call
    finally:
        await source.close()


async def test_tools_carry_the_servers_names_schemas_and_where_they_come_from():
    async with opened(LAB) as (_, tools, _call):
        add = tools["add"]
    assert (add.original, add.source, add.description) == ("add", "lab", "Add two numbers.")
    assert list(add.input_schema["properties"]) == ["a", "b"]
    assert (add.effect, add.effect_from) == ("destructive", "default")


async def test_annotations_count_only_when_trusted():
    async with opened(RAW) as (_, tools, _call):
        assert {tool.effect for tool in tools.values()} == {"destructive"}
    async with opened(trusted(RAW)) as (_, tools, _call):
        assert (tools["pid"].effect, tools["pid"].effect_from) == ("read", "annotations")
        assert (tools["add"].effect, tools["add"].effect_from) == ("write", "annotations")
        assert (tools["die"].effect, tools["die"].effect_from) == ("destructive", "default")


async def test_what_may_be_repeated_counts_only_when_trusted_and_for_no_read():
    async with opened(RAW) as (_, tools, _call):
        assert not any(tool.idempotent for tool in tools.values())
    async with opened(trusted(RAW)) as (_, tools, _call):
        assert [tool.name for tool in tools.values() if tool.idempotent] == ["meta"]


async def test_the_server_is_told_the_key_of_the_call():
    app = CodeMode(allow=["*"], approve="never")
    app.add_mcp_server(RAW)
    async with app:
        outcome = await app.execute("[await raw.meta(), await raw.meta()]")
    keys = [meta["oneturn/idempotency-key"] for meta in outcome.value]
    assert keys == [f"{outcome.run_id}-{call.id}" for call in outcome.calls]


async def test_every_page_of_a_listing_is_read():
    async with opened(RAW) as (_, tools, _call):
        assert len(tools) == 14


async def test_an_endless_listing_is_refused():
    endless = McpServer("raw", command=sys.executable, args=(*RAW.args, "endless"))
    with pytest.raises(SourceError, match="10,000"):
        await McpSource(endless).open()


async def test_wrapped_values_and_their_schemas_are_unwrapped():
    async with opened(LAB) as (_, tools, call):
        assert (await call("add", a=1, b=2)).structured == 3
        assert tools["add"].output_schema == {"type": "integer"}
        assert (await call("points")).structured == [{"x": 1, "y": 2}]
        schema = tools["points"].output_schema
        assert schema["type"] == "array"
        assert schema.get("$defs") or schema["items"]["properties"]
        result = await call("point")
        assert (result.structured, result.has_structured) == ({"x": 3, "y": 4}, True)
        assert set(tools["point"].output_schema["properties"]) == {"x", "y"}
    async with opened(RAW) as (_, tools, call):
        assert (await call("add", a=1, b=2)).structured == 3
        assert tools["add"].output_schema["type"] == "integer"


async def test_a_result_without_structure_says_so():
    async with opened(RAW) as (_, _tools, call):
        result = await call("sleep", seconds=0)
    assert (result.has_structured, result.blocks) == (False, (Text("woke"),))


async def test_media_become_blobs_and_links():
    async with opened(LAB) as (_, _tools, call):
        blocks = (await call("media")).blocks
    assert blocks[:3] == (Text("look"), Blob(b"png bytes", "image/png"), Blob(b"wav bytes", "audio/wav"))
    assert (blocks[3].data, blocks[3].mime) == (b"%PDF", "application/pdf")
    assert blocks[3].name.endswith("report.pdf")
    assert blocks[4:] == (Link("lab://more", "more", "text/csv"), Text("a note"))


async def test_failures_are_tool_errors_with_capped_text():
    async with opened(LAB) as (_, _tools, call):
        with pytest.raises(ToolError, match="the lab is closed") as caught:
            await call("fail")
        assert len(str(caught.value)) == 4_000
    async with opened(RAW) as (_, _tools, call):
        with pytest.raises(ToolError, match="quota used up"):
            await call("refuse")
        with pytest.raises(ToolError, match="not valid MCP"):
            await call("garbage")
        with pytest.raises(ToolError, match="not valid base64"):
            await call("bad_base64")
        assert (await call("add", a=1, b=1)).structured == 2


async def test_a_result_that_breaks_its_own_schema_is_passed_on():
    async with opened(RAW) as (_, _tools, call):
        assert (await call("lie")).structured == {"n": "not a number"}


async def test_calls_run_in_parallel_on_one_connection():
    async with opened(RAW) as (_, _tools, call):
        sleeper = asyncio.create_task(call("hang"))
        pids = await asyncio.gather(*(call("pid") for _ in range(20)))
        assert len({result.blocks for result in pids}) == 1
        assert not sleeper.done()
        sleeper.cancel()
        await asyncio.wait({sleeper})


async def test_cancelling_a_call_cancels_the_request():
    async with opened(RAW) as (_, _tools, call):
        task = asyncio.create_task(call("hang"))
        await call("pid")  # by its answer, the request before it has been read too
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len((await call("cancelled")).structured["ids"]) == 1


async def test_the_host_environment_is_not_handed_on(monkeypatch):
    monkeypatch.setenv("HOST_SECRET", "do not pass on")
    server = McpServer("raw", command=RAW.command, args=RAW.args, env={"GIVEN": "yes"})
    async with opened(server) as (_, _tools, call):
        env = (await call("env")).structured
    assert env["GIVEN"] == "yes"
    assert "PATH" in env
    assert "HOST_SECRET" not in env


@pytest.mark.parametrize("later", [False, True])
async def test_a_changed_list_is_read_again_and_told(later):
    async with opened(LAB) as (source, _tools, call):
        changed = asyncio.Event()
        source.on_change(changed.set)
        await call("grow", later=later)
        await asyncio.wait_for(changed.wait(), 20)
        tools = {tool.name: tool for tool in await source.list_tools()}
        assert (await source.call(tools["grown"], {})).structured == "I am new"


async def test_a_server_object_in_this_process():
    from fastmcp import FastMCP

    app = FastMCP("here")

    @app.tool
    def greet(name: str) -> str:
        return f"Hello {name}"

    async with opened(McpServer("here", server=app)) as (_, tools, call):
        assert tools["greet"].source == "here"
        assert (await call("greet", name="you")).structured == "Hello you"


async def test_something_else_than_a_server_object_is_refused():
    with pytest.raises(SourceError, match="'odd' did not start"):
        await McpSource(McpServer("odd", server=object())).open()


async def test_the_published_time_server():
    server = McpServer("time", command=sys.executable, args=("-m", "mcp_server_time"))
    async with opened(server) as (_, tools, call):
        assert {"get_current_time", "convert_time"} <= set(tools)
        arguments = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        result = await call("convert_time", **arguments)
        assert "21:00" in str(result)
        with pytest.raises(ToolError, match=r"(?i)timezone"):
            await call("convert_time", **{**arguments, "source_timezone": "Moon/Crater"})


@pytest.fixture
def repository(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


async def test_the_published_git_server(repository):
    (repository / "new.txt").write_text("new")
    server = McpServer(
        "git", command=sys.executable, args=("-m", "mcp_server_git", "--repository", str(repository))
    )
    async with opened(server) as (_, _tools, call):
        result = await call("git_status", repo_path=str(repository))
    assert "new.txt" in str(result)


def test_importing_the_module_does_not_load_fastmcp():
    code = "import sys, oneturn.tools.mcp; sys.exit('fastmcp' in sys.modules or 'mcp' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
