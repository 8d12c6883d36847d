"""`oneturn serve`: a real MCP client meets the real process."""

import asyncio
import re
import signal
import sys

import httpx2
import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


def stdio(project, *args, **env):
    return StdioTransport(
        sys.executable,
        ["-m", "oneturn.cli", "serve", *args],
        cwd=str(project.folder),
        env=project.environment(**env),
        keep_alive=False,
        log_file=project.folder / "stderr.txt",
    )


async def test_a_client_runs_a_script_over_stdio(project, time_server, broken_server):
    path = project.servers(time=time_server, broken=broken_server)
    approved = "time.get_current_time"  # nobody says that it only reads
    options = ("--config", str(path), "--allow", "time.*")
    async with Client(stdio(project, *options, ONETURN_AUTO_APPROVE=approved)) as client:
        assert {tool.name for tool in await client.list_tools()} == {
            "search_tools",
            "get_tool_info",
            "execute_code",
            "resume_run",
        }
        code = "(await tools.time.get_current_time(timezone='UTC'))['timezone']"
        result = await client.call_tool("execute_code", {"code": code})
        assert "UTC" in result.content[0].text
    told = (project.folder / "stderr.txt").read_text()
    assert "time is ready" in told
    assert "no licence" in told


async def test_a_pattern_that_matches_no_tool_is_told(project):
    project.write("oneturn.toml", 'app = "shop:app"\nallow = ["crm.*", "crm.fnd"]')
    async with Client(stdio(project, "--direct", "crm.renam")) as client:
        await client.list_tools()
    told = (project.folder / "stderr.txt").read_text()
    assert "warning: allow: 'crm.fnd' matches no tool; did you mean crm.find?" in told
    assert "warning: server.direct: 'crm.renam' matches no tool; did you mean crm.rename?" in told


async def test_mode_and_direct_come_from_the_settings_and_options_win(project):
    project.write("oneturn.toml", 'app = "shop:app"\n[server]\nmode = "search"\ndirect = ["crm.find"]')
    async with Client(stdio(project)) as client:
        names = {tool.name for tool in await client.list_tools()}
    assert "execute_code" not in names
    assert {"search_tools", "crm_find"} <= names
    async with Client(stdio(project, "--mode", "plain")) as client:
        names = {tool.name for tool in await client.list_tools()}
    assert "search_tools" not in names
    assert {"crm_find", "crm_rename"} <= names


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
async def test_http_asks_for_the_token_and_stops_on_an_interrupt(project):
    secret = "s3cret-" * 4
    process = await asyncio.create_subprocess_exec(
        *project.command("serve", "--app", "shop:app", "--http", "127.0.0.1:0", "--token-env", "LAB_TOKEN"),
        cwd=project.folder,
        env=project.environment(LAB_TOKEN=secret),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    url = None
    while url is None:
        line = (await process.stderr.readline()).decode()
        assert line, "the server ended"
        found = re.search(r"serving (http://\S+)", line)
        url = found and found[1]
    async with Client(StreamableHttpTransport(url, auth=secret)) as client:
        result = await client.call_tool("execute_code", {"code": "(await crm.find('Ann'))['name']"})
        assert "Ann" in result.content[0].text
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with httpx2.AsyncClient() as stranger:
        assert (await stranger.post(url, json=request)).status_code == 401
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert out == b""
    assert secret.encode() not in err
    assert b"Traceback" not in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--http", "0.0.0.0:0"), "token"),
        (("--http", "8000"), "HOST:PORT"),
        (("--http", "127.0.0.1:0", "--token-env", "LAB_UNSET_TOKEN"), "LAB_UNSET_TOKEN"),
        (("--mode", "fast"), "fast"),
    ],
)
def test_what_cannot_be_served_ends_with_2(project, args, says):
    ran = project.run("serve", "--app", "shop:app", *args)
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert says in ran.err
    assert "Traceback" not in ran.err
