"""The servers a document names: for people to read, and for the path that goes before its operations' own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_MAX_URL = 500
_MAX_SERVERS = 20
_VARIABLE = re.compile(r"\{([^{}]{1,100})\}")


def server_urls(servers: Any) -> tuple[str, ...]:
    """Their URLs, with variables at their defaults."""
    listed = servers[:_MAX_SERVERS] if isinstance(servers, list) else []
    urls = [_url(server) for server in listed if isinstance(server, Mapping)]
    return tuple(url for url in urls if url)


def first_server(servers: Any) -> str:
    """The URL of the first one; empty when there is none."""
    return next(iter(server_urls(servers)), "")


def host_of(url: str) -> str:
    """The host of a server's URL, with its port; empty for a relative one."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def path_of(url: str) -> str:
    """The path of a server's URL, without a slash at its end: `/v1` of `https://api.example.com/v1/`."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return path.rstrip("/") if path.startswith("/") else ""


def _url(server: Mapping[str, Any]) -> str:
    url, variables = server.get("url"), server.get("variables")
    if not isinstance(url, str) or len(url) > _MAX_URL:
        return ""
    known = variables if isinstance(variables, Mapping) else {}

    def default(part: re.Match[str]) -> str:
        variable = known.get(part[1])
        value = variable.get("default") if isinstance(variable, Mapping) else None
        return str(value)[:_MAX_URL] if isinstance(value, str | int | float) else part[0]

    return _VARIABLE.sub(default, url)[: 2 * _MAX_URL]
