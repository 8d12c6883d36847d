"""Serving over HTTP: who gets in, who is told apart, and how it ends."""

import asyncio
import base64
import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from fastmcp import Client
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from served import make_app

from oneturn import ConfigError
from oneturn.server import serve_http

SERVERS = Path(__file__).parents[1] / "servers"

TOKEN = "a-token-that-is-long-enough"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
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
ACCEPT = {"Accept": "application/json, text/event-stream"}


@contextlib.asynccontextmanager
async def serving(app=None, **options):
    """The URL of a server in this process."""
    url = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve_http(app or make_app(), port=0, started=url.set_result, **options))
    await asyncio.wait([server, url], return_when=asyncio.FIRST_COMPLETED)
    if server.done():
        server.result()
    try:
        yield url.result()
    finally:
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server


async def post(url: str, body=HELLO, **headers) -> httpx2.Response:
    async with httpx2.AsyncClient() as http:
        return await http.post(url, json=body, headers={**ACCEPT, **headers})


async def test_a_client_runs_a_script():
    async with serving() as url, Client(url) as client:
        result = await client.call_tool("execute_code", {"code": "await add(1, 2)"})
    assert url.startswith("http://127.0.0.1:")
    assert result.structured_content["value"] == 3


async def test_pages_of_other_sites_do_not_get_in():
    async with serving() as url:
        port = httpx2.URL(url).port
        assert (await post(url)).status_code == 200
        assert (await post(url, Origin=f"http://localhost:{port}")).status_code == 200
        assert (await post(url, Host=f"localhost:{port}")).status_code == 200
        assert (await post(url, Host=f"evil.example:{port}")).status_code == 421
        assert (await post(url, Host="localhost:1")).status_code == 421
        assert (await post(url, Origin="http://evil.example")).status_code == 403
        assert (await post(url, Origin="http://localhost:1")).status_code == 403
        assert (await post(url, Origin="null")).status_code == 403


async def test_every_loopback_address_accepts_its_own_name():
    for host in ("127.0.0.2", "localhost"):
        async with serving(host=host) as url:
            assert (await post(url)).status_code == 200


async def test_large_requests_are_refused():
    async with serving() as url:
        body = {**HELLO, "padding": "x" * (4 * 1024 * 1024)}
        assert (await post(url, body)).status_code == 413


async def test_the_token_is_asked_for():
    async with serving(token=TOKEN) as url:
        assert (await post(url)).status_code == 401
        assert (await post(url, Authorization="Bearer wrong")).status_code == 401
        assert (await post(url, Authorization="Bearer \u00e9".encode())).status_code == 401
        assert (await post(url, Authorization=f"Bearer {TOKEN}")).status_code == 200
        async with Client(url, auth=TOKEN) as client:
            assert (await client.call_tool("execute_code", {"code": "1"})).structured_content["value"] == 1


async def test_callers_cannot_read_each_others_artifacts():
    people = {
        "alices-token": {"client_id": "alice", "scopes": []},
        "bobs-token": {"client_id": "bob", "scopes": []},
    }
    async with (
        serving(auth=StaticTokenVerifier(people)) as url,
        Client(url, auth="alices-token") as alice,
        Client(url, auth="bobs-token") as bob,
    ):
        made = await alice.call_tool("execute_code", {"code": "await report()"})
        handle = made.structured_content["value"]["artifact"]
        [content] = await alice.read_resource(f"artifact://{handle}")
        assert base64.b64decode(content.blob) == b"%PDF"
        with pytest.raises(Exception, match="no artifact"):
            await bob.read_resource(f"artifact://{handle}")
        stolen = await bob.call_tool(
            "execute_code", {"code": f"runtime.artifact({handle!r})"}, raise_on_error=False
        )
        assert stolen.is_error


async def test_an_open_address_needs_to_know_who_connects():
    for host in ("0.0.0.0", "::", "", "192.0.2.1", "example.com"):
        with pytest.raises(ConfigError, match="token"):
            await serve_http(make_app(), host=host, port=0)


async def test_an_open_address_with_a_token_is_served():
    async with serving(host="0.0.0.0", token=TOKEN) as url:
        local = url.replace("0.0.0.0", "127.0.0.1")
        assert (await post(local, Host="oneturn.example")).status_code == 401
        response = await post(local, Host="oneturn.example", Authorization=f"Bearer {TOKEN}")
        assert response.status_code == 200


async def test_unusable_settings_are_refused():
    with pytest.raises(ConfigError, match="16"):
        await serve_http(make_app(), token="short")
    with pytest.raises(ConfigError, match="both"):
        await serve_http(make_app(), token=TOKEN, auth=StaticTokenVerifier({}))
    async with serving() as url:
        with pytest.raises(ConfigError, match="Cannot listen"):
            await serve_http(make_app(), port=httpx2.URL(url).port)


async def test_stopping_ends_runs_and_closes_the_app():
    app = make_app()
    began, ended = asyncio.Event(), asyncio.Event()

    @app.tool(effect="read")
    async def hang() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(app) as url:
        client = Client(url)
        async with client:
            request = asyncio.create_task(client.call_tool("execute_code", {"code": "await hang()"}))
            await began.wait()
            request.cancel()
        await ended.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(number):
    with subprocess.Popen(
        [sys.executable, str(SERVERS / "served.py"), "http", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        url = process.stdout.readline().strip()
        assert httpx2.post(url, json=HELLO, headers=ACCEPT).status_code == 200
        process.send_signal(number)
        assert process.wait() == 0
