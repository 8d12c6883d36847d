"""The MCP door: an app's tools offered to MCP clients, over stdio or streamable HTTP.

FastMCP is loaded when one of these functions is first called, and none of its types leave this
folder. Every call a client makes goes through `CodeMode.execute` or `CodeMode.call`, so through the
one gate, under the identity of that client.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..app import CodeMode

Mode = Literal["code", "search", "plain"]
"""What clients are given: `code` (search_tools, get_tool_info, execute_code), `search` (search_tools,
get_tool_info, call_tool) or `plain` (every tool in scope, each under its own name)."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where word of calls that wait for approval is sent, signed after the Standard Webhooks scheme.

    Args:
        url: An `https` URL; plain `http` only on this machine.
        secret: At least 24 random bytes in base64, with or without `whsec_` before it.

    Raises:
        ConfigError: One of them cannot be used, or the package `standardwebhooks` is not installed.
    """

    url: str = field(repr=False)
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
            raise ConfigError("The webhook's URL must start with https://, or be one of this machine.")
        try:
            size = len(base64.b64decode(self.secret.removeprefix("whsec_") + "==", validate=False))
        except ValueError:
            raise ConfigError("The webhook's secret is no base64, see `openssl rand -base64 32`.") from None
        if size < _SHORTEST_SECRET:
            raise ConfigError(
                f"The webhook's secret has {size} bytes; use {_SHORTEST_SECRET} random ones or more."
            )
        if find_spec("standardwebhooks") is None:
            raise ConfigError("Webhooks need the package standardwebhooks; install oneturn[webhooks].")


@dataclass(frozen=True, slots=True)
class Offer:
    """How an app is offered; `build_server` and `serve_http` say what each of these means."""

    mode: Mode = "code"
    direct: str | Iterable[str] = ()
    max_tokens: int = 4_000
    sessions: bool = False
    elicit: bool = True
    webhook: Webhook | None = None


__all__ = ["Mode", "Webhook", "build_server", "serve_http", "serve_stdio"]

_SHORTEST_SECRET = 24  # bytes


def build_server(
    app: CodeMode,
    *,
    mode: Mode = "code",
    direct: str | Iterable[str] = (),
    max_tokens: int = 4_000,
    sessions: bool = False,
    elicit: bool = True,
    auth: Any = None,
) -> Any:
    """A FastMCP server that offers the tools of `app`.

    Starting the server opens the app; closing the app is up to whoever made it. Use this to mount
    oneturn in a FastMCP or Starlette application of your own; `serve_stdio` and `serve_http` are
    the whole thing, with the checks that go with each.

    Args:
        app: The app to serve.
        mode: What clients are given, see `Mode`.
        direct: Names or globs of tools that are also offered under their own names, beside the
            meta-tools. Dots become `_`: `github.create_issue` is `github_create_issue`.
        max_tokens: The most one answer may count.
        sessions: Let clients keep variables from one script to the next, under names they choose.
        elicit: Let clients that can ask their user do so for calls that need approval.
        auth: A FastMCP auth provider that says who may connect over HTTP.

    Raises:
        ConfigError: There is no such mode, or `direct` names `tools` or `runtime` themselves.
    """
    from .door import build

    return build(app, Offer(mode, direct, max_tokens, sessions, elicit), auth=auth)


async def serve_stdio(
    app: CodeMode,
    *,
    mode: Mode = "code",
    direct: str | Iterable[str] = (),
    max_tokens: int = 4_000,
    sessions: bool = False,
    elicit: bool = True,
    webhook: Webhook | None = None,
) -> None:
    """Serve `app` over this process's stdin and stdout until the client hangs up, then close it.

    Nothing but the protocol reaches stdout: what anything else prints there goes to stderr. SIGINT
    and SIGTERM close the app before they end the process. Arguments and errors as in
    `build_server`; a `webhook` is sent word of calls that wait for approval.

    Raises:
        SourceError: A source of tools could not be started.
    """
    from .stdio import serve

    await serve(app, Offer(mode, direct, max_tokens, sessions, elicit, webhook))


async def serve_http(
    app: CodeMode,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    mode: Mode = "code",
    direct: str | Iterable[str] = (),
    max_tokens: int = 4_000,
    sessions: bool = False,
    elicit: bool = True,
    token: str | None = None,
    auth: Any = None,
    approver_token: str | None = None,
    webhook: Webhook | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve `app` over streamable HTTP at `http://host:port/mcp` until stopped, then close it.

    On a loopback address, requests whose Host or Origin header is not that address are refused, so
    web pages cannot reach the server through DNS tricks. Any other address needs `token` or `auth`.
    Request bodies are limited to 4 MiB. SIGINT and SIGTERM, or cancelling this coroutine, stop it:
    answers under way have 2 seconds to finish.

    Args:
        app: The app to serve.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        mode: As in `build_server`.
        direct: As in `build_server`.
        max_tokens: As in `build_server`.
        sessions: As in `build_server`.
        elicit: As in `build_server`.
        token: A secret of at least 16 characters that clients send as a bearer token.
        auth: A FastMCP auth provider, instead of `token`.
        approver_token: A secret of at least 16 characters with which calls that wait can be decided about at
            `/approvals`; without it, a login of `auth` with the scope `oneturn.approve` can.
        webhook: Sent word of calls that wait; signed answers come in at `/approvals/callback`.
        started: Told the server's URL once it accepts connections.

    Raises:
        ConfigError: The address is not loopback and there is neither `token` nor `auth`, or there
            are both, or a token is too short, or the approver's is the clients', or the address cannot be
            listened on.
        SourceError: A source of tools could not be started.
    """
    from .http import serve

    await serve(
        app,
        Offer(mode, direct, max_tokens, sessions, elicit, webhook),
        host=host,
        port=port,
        token=token,
        auth=auth,
        approver_token=approver_token,
        started=started,
    )
