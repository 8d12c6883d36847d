"""`oneturn serve`: offer the app to MCP clients, over stdio or HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .common import AllowOption, AppOption, ConfigOption, Verbose, exits, note, opened, prepare, unmatched

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..server import Webhook
    from ..settings import ServerSettings
    from .common import Patterns

Mode = Literal["code", "search", "plain"]


def serve(
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="HOST:PORT", help="Serve streamable HTTP here; stdio when not given."),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            "--mode",
            help="code: clients see search, info and execute (the default); search: clients find tools and "
            "call them one at a time; plain: clients see every tool itself.",
        ),
    ] = None,
    direct: Annotated[
        list[str] | None,
        typer.Option(
            "--direct", metavar="GLOB", help="Tools that clients also see themselves; may be repeated."
        ),
    ] = None,
    token_env: Annotated[
        str | None,
        typer.Option(
            "--token-env", metavar="NAME", help="Environment variable with the bearer token for HTTP."
        ),
    ] = None,
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    verbose: Verbose = False,
) -> None:
    """Serve the app over MCP. Options win over the `[server]` section of the settings."""
    with exits():
        from .. import config as configuration
        from ..settings import address

        prepared = prepare(app, config, allow)
        settings = prepared.settings.server
        options: dict[str, Any] = {
            "mode": mode or settings.mode,
            "direct": direct or settings.direct,
            "max_tokens": settings.max_tokens,
            "sessions": settings.sessions,
            "elicit": settings.elicitation,
            "webhook": _webhook(settings),
        }
        where = http or settings.http
        if where is not None:
            host, port = address(where)
            token = configuration.token(token_env or settings.token_env)
            options |= {
                "host": host,
                "port": port,
                "token": token,
                "approver_token": configuration.token(settings.approver_token_env, "approver_token_env"),
                "started": lambda url: note(f"serving {url}"),
            }
        patterns = prepared.patterns(direct=options["direct"])
        asyncio.run(_serve(prepared.app, options, patterns, http=where is not None))


def _webhook(settings: ServerSettings) -> Webhook | None:
    if settings.webhook is None:
        return None
    from .. import config as configuration
    from ..server import Webhook

    url = configuration.expanded(settings.webhook, "server.webhook")
    secret = configuration.token(settings.webhook_secret_env, "webhook_secret_env")
    assert secret is not None, "the settings want both"
    return Webhook(url, secret)


async def _serve(app: CodeMode, options: dict[str, Any], patterns: Patterns, *, http: bool) -> None:
    from ..server import serve_http, serve_stdio

    async with opened(app, tolerate=True, lines=True):
        for text in unmatched(app, patterns):
            note(f"warning: {text}")
        if not app.tools():
            note("warning: no tool is allowed, so clients can call none; see `oneturn tools list --all`")
        await (serve_http if http else serve_stdio)(app, **options)
