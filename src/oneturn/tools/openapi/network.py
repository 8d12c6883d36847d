"""The one way out to an API: HTTP that cannot be led to where it must not go.

Every connection goes to an address that was looked up and judged here (`addresses.py`), so a name
cannot change its meaning between the check and the use. There is no proxy, no cookie jar and no
credential but those of the request. Redirects are followed here, each checked as a new request.
Bodies are read with a limit that counts what they decode to.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore2

from ...errors import SourceError, ToolError
from .addresses import Reach
from .request import Request, ascii_url

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 10.0
_CONNECTIONS = 32
_ERROR_BODY = 64 * 1024  # bytes read of a body that only explains an error
_PIECE = 256 * 1024  # bytes decoded at a time
_MOST_MEMBERS = 64  # of one gzip body; each costs a copy of what follows it


class AddressRefused(SourceError):
    """A name leads to an address that may not be reached. Nothing was sent."""


class Unreachable(SourceError):
    """No connection could be made. Nothing was sent."""


class ConnectionBroke(SourceError):
    """The request was sent, and no whole answer came."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read and decoded. Header names are in lower case; `url` is where it came from."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str = field(repr=False)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system's resolver gives them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def permitted(reach: Reach, host: str, port: int) -> list[str]:
    """Those addresses of a host that may be connected to.

    Raises:
        AddressRefused: It has addresses, and none may be used.
        Unreachable: The name cannot be resolved.
    """
    try:
        addresses = await resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"The host {host!r} cannot be found; nothing was sent.") from error
    objections = {address: reach.objection(host, address) for address in addresses}
    allowed = [address for address, objection in objections.items() if not objection]
    if not allowed:
        kinds = " and ".join(sorted(set(objections.values())))
        raise AddressRefused(
            f"The host {host!r} leads to a {kinds} address, which is not reached by default; nothing was "
            "sent. If this is intended, add the address or its network to allow_private."
        )
    return allowed


class _Guard(httpcore2.AsyncNetworkBackend):
    """Opens connections to judged addresses only. TLS and `Host` keep the name: they come later."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                return await self._connect(host, port, timeout)
        except TimeoutError:
            raise httpcore2.ConnectTimeout("no connection in time") from None

    async def _connect(self, host: str, port: int, timeout: float | None) -> httpcore2.AsyncNetworkStream:
        failure: Exception | None = None
        addresses = await permitted(self._reach, host, port)
        share = None if timeout is None else timeout / len(addresses)
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout=share)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.ConnectError("only TCP connections are made")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Client:
    """Sends requests, one at a time or many at once.

    Args:
        reach: Which addresses may be connected to.
        timeout: Seconds to wait for each read and write; None leaves it to whoever waits.
    """

    def __init__(self, reach: Reach, timeout: float | None = None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpcore2.default_ssl_context(),
            max_connections=_CONNECTIONS,
            keepalive_expiry=5.0,
            network_backend=_Guard(reach),
        )
        self._timeouts = {"connect": _CONNECT_SECONDS, "read": timeout, "write": timeout, "pool": timeout}

    async def send(self, request: Request, limit: int) -> Response:
        """Send a request and read its answer; GET and HEAD follow at most 5 redirects.

        Args:
            request: What to send.
            limit: Bytes the decoded body may have; of an error's body only the first 64 KiB are read.

        Raises:
            AddressRefused, Unreachable: Nothing was sent.
            ConnectionBroke: It was sent, and no whole answer came.
            ToolError: A redirect may not be followed, or the body is too large or not decodable.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            response = await self._exchange(request, limit)
            if response.status not in _REDIRECTS or "location" not in response.headers:
                return response
            request = redirected(request, response)
        raise ToolError(f"The API redirected more than {_MOST_REDIRECTS} times; the call was given up.")

    async def close(self) -> None:
        """Close every connection. Idempotent."""
        await self._pool.aclose()

    async def _exchange(self, request: Request, limit: int) -> Response:
        host, url = _target(request.url)
        headers = [
            (name.encode(), value.encode()) for name, value in (*request.headers, *request.credentials)
        ]
        headers += [(b"Host", urlsplit(request.url).netloc.encode()), (b"Accept-Encoding", b"gzip")]
        try:
            async with self._pool.stream(
                request.method,
                url,
                headers=headers,
                content=request.content,
                extensions={"timeout": self._timeouts},
            ) as answer:
                fields = _fields(answer.headers)
                reason = bytes(answer.extensions.get("reason_phrase", b"")).decode("latin-1")
                body = await _body(answer, fields, limit)
                return Response(answer.status, reason, fields, body, request.url)
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout) as error:
            raise Unreachable(f"No connection to {host} could be made; nothing was sent.") from error
        except (httpcore2.LocalProtocolError, httpcore2.UnsupportedProtocol):
            # Its cause quotes the header that is wrong, and that may be a credential.
            raise ToolError("The request is not valid HTTP; nothing was sent.") from None
        except httpcore2.TimeoutException as error:
            raise ConnectionBroke(f"{host} did not answer in time.") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise ConnectionBroke(f"The connection to {host} broke before a whole answer came.") from error


def redirected(request: Request, response: Response) -> Request:
    """The request that a redirect asks for. Raises ToolError when it may not be followed."""
    old = urlsplit(request.url)
    try:
        new = urlsplit(urljoin(request.url, response.headers["location"]))
        origin = (new.scheme, new.hostname, _port(new.scheme, new.port))
    except ValueError:
        raise ToolError("The API redirected to an address that cannot be read.") from None
    shown = f"{new.scheme}://{new.netloc.rpartition('@')[2]}{new.path}"[:300]
    if request.method not in ("GET", "HEAD"):
        raise ToolError(
            f"The API answered with a redirect ({response.status}) to {shown}, and only GET and HEAD follow "
            "one; it may be that base_url should name that address."
        )
    if new.scheme not in ("http", "https") or not new.hostname:
        raise ToolError(f"The API redirected to {shown}, which is no http or https address.")
    if old.scheme == "https" and new.scheme == "http":
        raise ToolError(f"The API redirected from https to {shown}, which is not encrypted; not followed.")
    host = f"[{new.hostname}]" if ":" in new.hostname else new.hostname
    port = "" if new.port is None else f":{new.port}"
    url = new._replace(netloc=f"{host}{port}", fragment="").geturl()  # whatever user it named is dropped
    url = ascii_url(url)
    is_home = request.base is None or request.base.holds(url)
    if is_home and origin == (old.scheme, old.hostname, _port(old.scheme, old.port)):
        return replace(request, url=url)
    # Elsewhere, nothing goes along: headers of the call may be as private as credentials.
    kept = tuple((name, value) for name, value in request.headers if name in ("Accept", "User-Agent"))
    return Request(request.method, url, kept)


def _target(url: str) -> tuple[str, httpcore2.URL]:
    """The host of a URL, and the URL in parts: given whole, httpcore2 drops what follows a `;`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return host, httpcore2.URL(scheme=parts.scheme, host=host, port=parts.port, target=target)


def _port(scheme: str, port: int | None) -> int:
    return port if port is not None else 443 if scheme == "https" else 80


def _fields(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return fields


async def _body(answer: httpcore2.Response, fields: Mapping[str, str], limit: int) -> bytes:
    """The decoded body. Of an error or a redirect only the beginning, as far as it can be read."""
    whole = answer.status < 300
    limit = limit if whole else min(limit, _ERROR_BODY)
    body = bytearray()
    async for piece in _decoded(answer, fields.get("content-encoding", ""), limit):
        body += piece
        if len(body) > limit:
            if not whole:
                return bytes(body[:limit])
            raise _too_large(limit)
    return bytes(body)


async def _decoded(answer: httpcore2.Response, coding: str, limit: int) -> AsyncIterator[bytes]:
    coding = coding.strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise ToolError(f"The API answered in the encoding {coding[:40]!r}, which was not asked for.")
    unpacker = zlib.decompressobj(wbits=31) if "gzip" in coding else None
    received, members = 0, 1
    async for chunk in answer.aiter_stream():
        await asyncio.sleep(0)  # thousands of tiny chunks come in one read, and others have work to do
        received += len(chunk)
        if received > limit + _PIECE:  # also stops what decodes to nothing
            raise _too_large(limit)
        if unpacker is None:
            yield chunk
            continue
        data = chunk
        while data:
            if unpacker.eof:
                unpacker, members = zlib.decompressobj(wbits=31), members + 1
            try:
                piece = unpacker.decompress(data, _PIECE)
            except zlib.error:
                members = _MOST_MEMBERS + 1
            if members > _MOST_MEMBERS:
                raise ToolError("The API's answer is not the gzip data it claims to be.")
            yield piece
            data = unpacker.unconsumed_tail or unpacker.unused_data
    if unpacker is not None and received:
        yield unpacker.flush()
        if not unpacker.eof:
            raise ToolError("The API's answer ended in the middle of its gzip data.")


def _too_large(limit: int) -> ToolError:
    return ToolError(
        f"The call was made, but the answer is larger than {limit:,} bytes; ask for less (a smaller page, "
        "fewer fields), or raise max_response_bytes."
    )
