"""The MCP door: an app's tools offered to MCP clients, over stdio or streamable HTTP.

FastMCP is loaded when one of these functions is first called, and none of its types leave this
folder. Every call a client makes goes through `CodeMode.execute` or `CodeMode.call`, so through the
one gate, under the identity of that client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..app import CodeMode

Mode = Literal["code", "search", "plain"]
"""What clients are given: `code` (search_tools, get_tool_info, execute_code), `search` (search_tools,
get_tool_info, call_tool) or `plain` (every tool in scope, each under its own name)."""


@dataclass(frozen=True, slots=True)
class Offer:
    """How an app is offered; `build_server` says what each of these means."""

    mode: Mode = "code"
    direct: str | Iterable[str] = ()
    max_tokens: int = 4_000
    sessions: bool = False


__all__ = ["Mode", "build_server", "serve_http", "serve_stdio"]


def build_server(
    app: CodeMode,
    *,
    mode: Mode = "code",
    direct: str | Iterable[str] = (),
    max_tokens: int = 4_000,
    sessions: bool = False,
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
        auth: A FastMCP auth provider that says who may connect over HTTP.

    Raises:
        ConfigError: There is no such mode, or `direct` names `tools` or `runtime` themselves.
    """
    from .door import build

    return build(app, Offer(mode, direct, max_tokens, sessions), auth=auth)


async def serve_stdio(
    app: CodeMode,
    *,
    mode: Mode = "code",
    direct: str | Iterable[str] = (),
    max_tokens: int = 4_000,
    sessions: bool = False,
) -> None:
    """Serve `app` over this process's stdin and stdout until the client hangs up, then close it.

    Nothing but the protocol reaches stdout: what anything else prints there goes to stderr. SIGINT
    and SIGTERM close the app before they end the process. Arguments and errors as in
    `build_server`.

    Raises:
        SourceError: A source of tools could not be started.
    """
    from .stdio import serve

    await serve(app, Offer(mode, direct, max_tokens, sessions))


async def serve_http(
    app: CodeMode,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    mode: Mode = "code",
    direct: str | Iterable[str] = (),
    max_tokens: int = 4_000,
    sessions: bool = False,
    token: str | None = None,
    auth: Any = None,
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
        token: A secret of at least 16 characters that clients send as a bearer token.
        auth: A FastMCP auth provider, instead of `token`.
        started: Told the server's URL once it accepts connections.

    Raises:
        ConfigError: The address is not loopback and there is neither `token` nor `auth`, or there
            are both, or the token is too short, or the address cannot be listened on.
        SourceError: A source of tools could not be started.
    """
    from .http import serve

    await serve(
        app,
        Offer(mode, direct, max_tokens, sessions),
        host=host,
        port=port,
        token=token,
        auth=auth,
        started=started,
    )
