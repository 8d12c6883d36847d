"""Which MCP server to reach and how, as a value, and reading the `mcpServers` JSON as it is.

Owns the judgement of which configured strings of a server are secrets.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from ...errors import ConfigError
from ...types import ResultRule
from ..variables import expand, is_secret, worth_hiding

Transport = Literal["stdio", "http", "sse"]

_TRANSPORTS: dict[str, Transport] = {
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamablehttp": "http",
    "sse": "sse",
}


@dataclass(frozen=True)
class McpServer:
    """One MCP server: a command to run, a URL to reach, or a FastMCP server in this process.

    Attributes:
        name: How scripts and people know it, and the source of its tools.
        command: Program to start and speak to over stdio.
        args: Its arguments.
        env: Added to a minimal environment (PATH, HOME and the like); the host's is not passed.
        cwd: Its working directory; default the host's.
        url: Endpoint of a remote server.
        transport: "http" (streamable) or "sse"; None picks "sse" for a path ending in `/sse`.
        headers: Sent with every HTTP request.
        auth: "oauth" for a browser login, or a bearer token.
        timeout: Seconds one call may take; None leaves it to the run's limits.
        trust_annotations: Believe the server's own word on which tools are read-only.
        results: How text results become values.
        server: A FastMCP server object.
        hidden: Further strings to keep secret, such as expanded variables.

    Raises:
        ConfigError: Not exactly one of `command`, `url` and `server` is set.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str | None = field(default=None, repr=False)
    transport: Transport | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: str | None = field(default=None, repr=False)
    timeout: float | None = None
    trust_annotations: bool = False
    results: ResultRule = "auto"
    server: object | None = field(default=None, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        ways = [self.command is not None, self.url is not None, self.server is not None]
        if sum(ways) != 1:
            raise ConfigError(
                f"MCP server '{self.name}' needs exactly one of a command, a url and a server object."
            )
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigError(f"MCP server '{self.name}': the url must start with http:// or https://.")

    @classmethod
    def at(
        cls,
        name: str,
        target: object,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: str | None = None,
        timeout: float | None = None,
        trust_annotations: bool = False,
        results: ResultRule = "auto",
    ) -> McpServer:
        """The server a target means: a URL, a command line or its words, or a FastMCP server object.

        Raises:
            ConfigError: The target is empty, or an option does not go with it.
        """
        common: dict[str, Any] = {
            "timeout": timeout,
            "trust_annotations": trust_annotations,
            "results": results,
        }
        remote = isinstance(target, str) and target.startswith(("http://", "https://"))
        if (headers or auth) and not remote:
            raise ConfigError(f"MCP server '{name}': headers and auth go with a URL; give a command env.")
        if isinstance(target, str) and remote:
            return cls(name, url=target, headers=dict(headers or {}), auth=auth, **common)
        if isinstance(target, str | list | tuple):
            words = shlex.split(target) if isinstance(target, str) else [str(word) for word in target]
            if not words:
                raise ConfigError(f"MCP server '{name}' has an empty command.")
            return cls(name, words[0], tuple(words[1:]), dict(env or {}), cwd, **common)
        return cls(name, server=target, **common)

    @property
    def uses_sse(self) -> bool:
        """Whether the older SSE transport is meant."""
        if self.url is None or self.transport is not None:
            return self.transport == "sse"
        return urlsplit(self.url).path.rstrip("/").endswith("/sse")

    @property
    def address(self) -> str:
        """Where it is, for messages: the command line, or the URL without its query."""
        if self.command is not None:
            return " ".join((self.command, *self.args))
        if self.url is not None:
            return self.url.partition("?")[0]
        return "in this process"

    def secrets(self) -> tuple[str, ...]:
        """The configured strings that must never be shown, longest first."""
        found = {*self.hidden, *self.headers.values()}
        found.update(value.partition(" ")[2] for value in self.headers.values())
        found.update(value for key, value in self.env.items() if is_secret(key, value))
        if self.auth is not None and self.auth != "oauth":
            found.add(self.auth)
        if self.url is not None:
            parts = urlsplit(self.url)
            found.add(parts.password or "")
            found.update(value for key, value in parse_qsl(parts.query) if is_secret(key, value))
        return worth_hiding(found)


def read_mcp_servers(config: Mapping[str, Any] | Path) -> tuple[McpServer, ...]:
    """The servers of an `mcpServers` JSON (or VS Code's `servers`), read as it is.

    `${VAR}`, `${env:VAR}` and `${VAR:-default}` are filled in from the environment in command,
    args, cwd, env, url, headers and auth. Servers with `"disabled": true` are left out, unknown
    keys are ignored, and `timeout` is in milliseconds as in other clients.

    Args:
        config: The parsed JSON, or the path of the file.

    Raises:
        ConfigError: The file cannot be read, is not JSON, has a wrong shape, or names a variable
            that is not set. The message names the server and the key.
    """
    if isinstance(config, Path):
        config = _load(config)
    servers = config.get("mcpServers", config.get("servers"))
    if not isinstance(servers, Mapping):
        raise ConfigError("An MCP config needs a top-level 'mcpServers' object of name to server.")
    found = []
    for name, entry in servers.items():
        if not isinstance(entry, Mapping):
            raise ConfigError(f"MCP server '{name}' must be an object with a 'command' or a 'url'.")
        if entry.get("disabled") is not True:
            found.append(_Entry(str(name), entry).server())
    return tuple(found)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The MCP config {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"The MCP config {path} is not valid JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise ConfigError(f"The MCP config {path} must be a JSON object with 'mcpServers'.")
    return parsed


class _Entry:
    """Reads one server's object; remembers which expanded variables are secrets."""

    def __init__(self, name: str, entry: Mapping[str, Any]) -> None:
        self.name = name
        self.entry = entry
        self.hidden: list[str] = []

    def server(self) -> McpServer:
        transport = self.transport()
        command, url = self.text("command"), self.text("url")
        if (command is None) == (url is None):
            raise self.wrong("command", "or 'url' must be given, and not both")
        if (transport == "stdio") != (command is not None) and transport is not None:
            raise self.wrong("type", f"is '{transport}', which does not fit the rest of the entry")
        return McpServer(
            self.name,
            command=command,
            args=self.args(),
            env=self.texts("env"),
            cwd=self.text("cwd"),
            url=url,
            transport=transport,
            headers=self.texts("headers"),
            auth=self.text("auth"),
            timeout=self.timeout(),
            hidden=tuple(self.hidden),
        )

    def wrong(self, key: str, why: str) -> ConfigError:
        return ConfigError(f"MCP server '{self.name}': '{key}' {why}.")

    def transport(self) -> Transport | None:
        for key in ("transport", "type"):
            value = self.entry.get(key)
            if value is not None:
                known = _TRANSPORTS.get(str(value).lower())
                if known is None:
                    raise self.wrong(key, "must be one of stdio, http, streamable-http, sse")
                return known
        return None

    def timeout(self) -> float | None:
        value = self.entry.get("timeout")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise self.wrong("timeout", "must be a positive number of milliseconds")
        return value / 1000

    def text(self, key: str) -> str | None:
        value = self.entry.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "must be text")
        return self.expand(key, value)

    def args(self) -> tuple[str, ...]:
        value = self.entry.get("args", [])
        if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
            raise self.wrong("args", "must be a list of text")
        return tuple(self.expand("args", part) for part in value)

    def texts(self, key: str) -> dict[str, str]:
        value = self.entry.get(key) or {}
        if not isinstance(value, Mapping):
            raise self.wrong(key, "must be an object of name to text")
        texts = {}
        for name, part in value.items():
            if not isinstance(part, str | int | float):
                raise self.wrong(f"{key}.{name}", "must be text")
            spelled = part if isinstance(part, str) else json.dumps(part)
            texts[str(name)] = self.expand(f"{key}.{name}", spelled)
        return texts

    def expand(self, key: str, text: str) -> str:
        return expand(text, self.hidden, lambda why: self.wrong(key, why))
