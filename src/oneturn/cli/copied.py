"""The servers of `mcpServers` files, as the `[mcp.NAME]` tables of an `oneturn.toml`.

Entries are copied as they are written, with every `${VAR}` left for the environment to fill in.
Two things are not copied: oneturn itself, which would start itself without end, and secrets, in
whose place stands a variable for the user to set.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..tools.lockfile import quoted
from ..tools.mcp import McpServer, read_mcp_servers

_REFERENCE = re.compile(r"\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_]*(?::-([^}]*))?\}")  # and its default


@dataclass(frozen=True)
class Entry:
    """One server: as it is to be started, and as its file spells it."""

    server: McpServer
    raw: Mapping[str, Any]
    path: Path


def read_entries(path: Path) -> list[Entry]:
    """The servers of a file that are not disabled. Raises ConfigError."""
    servers = read_mcp_servers(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    raw = content.get("mcpServers", content.get("servers"))
    return [Entry(server, raw[server.name], path) for server in servers]


def is_oneturn(server: McpServer) -> bool:
    """Whether this server is oneturn itself: `oneturn`, `python -m oneturn`, `uvx oneturn serve`."""
    words = [server.command or "", *server.args]
    stems = [re.split(r"[/\\]", word)[-1].removesuffix(".exe") for word in words]
    pairs = list(zip(words, stems[1:], strict=False))
    return stems[0] == "oneturn" or any(
        (word == "-m" and after.partition(".")[0] == "oneturn") or (stem == "oneturn" and after == "serve")
        for (word, after), stem in zip(pairs, stems, strict=False)
    )


@dataclass
class Tables:
    """Writes entries as TOML.

    Attributes:
        variables: The variables that stand for secrets, each with the secret.
        notes: What to tell the user about them.
    """

    variables: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lines(self, entry: Entry) -> list[str]:
        """The table of one server."""
        server, raw = entry.server, entry.raw
        texts = [key for key in ("command", "cwd", "url", "auth") if raw.get(key) is not None]
        lines = [f"[mcp.{quoted(server.name)}]"]
        lines += [f"{key} = {quoted(self._text(entry, key))}" for key in texts]
        if server.url is not None and server.uses_sse != replace(server, transport=None).uses_sse:
            lines.append(f'transport = "{server.transport}"')
        if raw.get("args"):
            lines.append(f"args = {_list(raw['args'])}")
        for key in ("env", "headers"):
            if raw.get(key):
                pairs = [f"{quoted(name)} = {quoted(self._pair(entry, key, name))}" for name in raw[key]]
                lines.append(f"{key} = {{ {', '.join(pairs)} }}")
        if server.timeout is not None:
            lines.append(f"timeout = {server.timeout:g}")
        return lines

    def _text(self, entry: Entry, key: str) -> str:
        text: str = entry.raw[key]
        secret = (key == "auth" and _is_secret("auth", text)) or (key == "url" and _has_secret(text))
        return self._variable(entry, key, f"{entry.server.name}_{key}", text) if secret else text

    def _pair(self, entry: Entry, key: str, name: str) -> str:
        value = entry.raw[key][name]
        text = value if isinstance(value, str) else json.dumps(value)
        if not _is_secret(name, text):
            return text
        wanted = name if key == "env" else f"{entry.server.name}_{name}"
        return self._variable(entry, f"{key}.{name}", wanted, text)

    def _variable(self, entry: Entry, key: str, wanted: str, text: str) -> str:
        name = _identifier(wanted)
        if self.variables.get(name, os.environ.get(name, text)) != text:  # means something else already
            name = _identifier(f"{entry.server.name}_{wanted}")
        self.variables[name] = text
        self.notes.append(
            f"Set the environment variable {name} to what {entry.path} has as {key} of {entry.server.name}; "
            "secrets are not copied."
        )
        return f"${{{name}}}"


def _is_secret(name: str, text: str) -> bool:
    """Whether a literal part of the text may be a secret, by its name or by its length."""
    literal = _REFERENCE.sub(lambda found: found[1] or "", text)
    if literal == text or any(_REFERENCE.findall(text)):
        return _judged(name, literal) and not os.path.exists(os.path.expanduser(literal))
    return any(_judged("", word) for word in literal.split())  # such as `Bearer ${TOKEN}`


def _judged(name: str, value: str) -> bool:
    return value != "oauth" and bool(McpServer("x", command="x", env={name: value}).secrets())


def _has_secret(url: str) -> bool:
    literal = _REFERENCE.sub(lambda found: found[1] or "", url)
    if not literal.startswith(("http://", "https://")):
        literal = f"http://host/{literal}"
    return bool(McpServer("x", url=literal).secrets())


def _identifier(text: str) -> str:
    name = re.sub(r"\W", "_", text, flags=re.ASCII).upper()
    return f"_{name}" if name[:1].isdigit() else name


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, texts))}]"
