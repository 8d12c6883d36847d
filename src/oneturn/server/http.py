"""Serving over streamable HTTP: who may connect, from where, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastmcp.server.auth import AccessToken, TokenVerifier
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ..app import CodeMode
from ..errors import ConfigError
from . import Offer
from .approvals import Desk
from .door import build, messenger_of
from .signals import on_stop

_PATH = "/mcp"
_SHORTEST_TOKEN = 16  # characters
_GRACE = 2  # seconds for answers under way at the end


class SharedToken(TokenVerifier):
    """Accepts one secret that the operator chose, compared in constant time."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        if not hmac.compare_digest(token.encode(), self._secret):
            return None
        return AccessToken(token=token, client_id="bearer", scopes=[])


class LoopbackOnly:
    """Refuses requests that a web page could have been tricked into sending to this machine.

    A page can make its own host name point at 127.0.0.1, but it cannot change the Host and Origin
    headers a browser then sends.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        names = ["localhost", "127.0.0.1", "[::1]", host]
        hosts = [f"{name}:{port}" for name in names] + (names if port == 80 else [])
        self._app = app
        self._security = TransportSecurityMiddleware(
            TransportSecuritySettings(
                allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
            )
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = await self._security.validate_request(Request(scope))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Uvicorn(uvicorn.Server):
    """Says when it is ready, and leaves signals to us.

    Uvicorn itself raises a signal again at the end, which would be before the app is closed.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: CodeMode,
    offer: Offer,
    *,
    host: str,
    port: int,
    token: str | None,
    auth: Any,
    approver_token: str | None,
    started: Callable[[str], None] | None,
) -> None:
    """See `oneturn.server.serve_http`."""
    loopback = _is_loopback(host)
    auth = _auth_of(token, auth)
    if approver_token is not None:
        _check_token(approver_token, "approver's token")
        if approver_token == token:
            raise ConfigError("The approver's token must not be the one that clients have.")
    if auth is None and not loopback:
        raise ConfigError(
            f"{host!r} can be reached from other machines, and anyone there could run scripts; "
            "set a token (at least 16 characters) or an auth provider, or listen on 127.0.0.1."
        )
    messenger = messenger_of(offer)
    server = build(app, offer, auth=auth, messenger=messenger)
    Desk(app, auth, approver_token, messenger).add_to(server)
    with _listen(host, port) as listener:
        port = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        guards = [Middleware(LoopbackOnly, host=shown, port=port)] if loopback else []
        # Our guard takes the place of FastMCP's, which lets any port and any local page through.
        asgi = server.http_app(path=_PATH, middleware=guards, host_origin_protection=False)
        config = uvicorn.Config(
            asgi, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=_GRACE
        )
        try:
            await app.open()
            url = f"http://{shown}:{port}{_PATH}"
            await _run(_Uvicorn(config, lambda: started and started(url)), listener)
        finally:
            await app.close()


async def _run(uvicorn_server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until a signal or a cancellation, either of which ends in an orderly shutdown."""

    def stop(number: int) -> None:
        uvicorn_server.handle_exit(number, None)

    with on_stop(stop):
        serving = asyncio.create_task(uvicorn_server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            uvicorn_server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)
            raise


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _auth_of(token: str | None, auth: Any) -> Any:
    if token is None:
        return auth
    if auth is not None:
        raise ConfigError("There are both a token and an auth provider; choose one.")
    _check_token(token, "token")
    return SharedToken(token)


def _check_token(token: str, what: str) -> None:
    if len(token) < _SHORTEST_TOKEN:
        raise ConfigError(
            f"The {what} has {len(token)} characters; use at least {_SHORTEST_TOKEN} random ones."
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"Cannot listen on {host} port {port}: {error}. Choose another one.") from error
