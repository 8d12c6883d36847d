"""An HTTP API as a source of tools: `OpenApi` says which API, `OpenApiSource` reads and calls it.

The document says what can be called; where calls go and what proves who calls come from the settings
alone. A call that may change something is sent once: only when no connection could be made at all is
it tried again. Reads are tried again when the API is busy or the connection breaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urljoin, urlsplit

from ...errors import ConfigError, EffectUnknown, OneturnError, SourceError, ToolError
from ...types import Tool
from ..base import CURRENT, Result
from ..variables import worth_hiding
from .addresses import Reach
from .auth import Auth, Keys, known_secrets
from .operations import ApiDocument, Operation
from .request import Base, Proof, Request, ascii_url, build, prove, settable

if TYPE_CHECKING:
    from .network import Client, Response
    from .pages import Paging

_OPEN_SECONDS = 60.0
_DOCUMENT_BYTES = 64 * 1024 * 1024
_LARGE = 256 * 1024  # bytes of an answer that is read on a thread, not on the event loop

Make = Callable[[Proof], Request]


@dataclass(frozen=True)
class OpenApi:
    """One HTTP API.

    Attributes:
        name: How scripts and people know it, and the namespace of its tools.
        document: Path or http(s) URL of the OpenAPI 3 document, or the parsed document.
        base_url: Where requests go, with the path that the document's server URL has, such as
            `https://api.example.com/v1`. Never taken from the document.
        auth: One credential for every call, or credentials by the document's names of its schemes.
        headers: Sent with every request to the API, and kept secret.
        timeout: Seconds one call may take, with its retries and pages; None leaves it to the run's limits.
        retries: How often a request is sent again at most, where that is safe.
        allow_private: Hosts, addresses and networks that may be reached although they are not
            public: `"127.0.0.1"`, `"10.0.0.0/8"`, `"api.internal"`.
        max_response_bytes: Decoded size of one answer, all its pages together.
        idempotency_header: A header that gets a key with every call that is no read: the same one however
            often that call is sent. A value that the script gives for it stays.

    Raises:
        ConfigError: A setting is wrong. A missing base_url is told when the source opens, with the
            servers that the document names.
    """

    name: str
    document: str | Path | Mapping[str, Any] = field(repr=False)
    base_url: str = ""
    auth: Auth | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float | None = None
    retries: int = 2
    allow_private: tuple[str, ...] = ()
    max_response_bytes: int = 16 * 1024 * 1024
    idempotency_header: str | None = None

    def __post_init__(self) -> None:
        try:
            if self.base_url:
                Base.of(self.base_url)
            Reach.of(self.allow_private)
            self._check()
        except ConfigError as error:
            raise ConfigError(f"OpenAPI source {self.name!r}: {error}") from None

    def _check(self) -> None:
        place = self.document if isinstance(self.document, str) else ""
        if "://" in place and "@" in urlsplit(place).netloc:
            raise ConfigError("the document's URL holds a user name or password; it is fetched without any.")
        if not 0 <= self.retries <= 10:
            raise ConfigError("retries must be 0 to 10.")
        if self.max_response_bytes < 1 or (self.timeout is not None and self.timeout <= 0):
            raise ConfigError("timeout and max_response_bytes must be more than 0.")
        if self.idempotency_header is not None and not settable(self.idempotency_header):
            raise ConfigError("idempotency_header must be the name of a header, such as Idempotency-Key.")


class OpenApiSource:
    """Tools of one HTTP API. Opening reads the document; connections are made as calls need them."""

    def __init__(self, api: OpenApi) -> None:
        self.name = api.name
        self.skipped: Mapping[str, str] = {}
        """Operations that cannot be offered, and why; known once the source is open."""
        self._api = api
        self._client: Client | None = None
        self._keys: Keys | None = None
        self._base = Base("", "", 0, "")
        self._operations: dict[str, tuple[Operation, Paging | None]] = {}
        self._tools: tuple[Tool, ...] = ()

    async def open(self) -> None:
        """Read the document. Opening an open source does nothing.

        Raises:
            SourceError: The document cannot be read, or base_url leads to an address that is not public.
            ConfigError: base_url is missing, or a credential does not fit the document.
        """
        if self._client is not None:
            return
        from .network import Client

        reach = Reach.of(self._api.allow_private)
        client = await asyncio.to_thread(
            Client, reach, self._api.timeout
        )  # it reads all trusted certificates
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                document = await self._read(client)
                await self._settle(document, client, reach)
        except TimeoutError:
            await client.close()
            raise SourceError(
                f"OpenAPI source {self.name!r}: the document was not there within {_OPEN_SECONDS:g} s."
            ) from None
        except OneturnError as error:
            await client.close()
            raise self._safe(error, f"OpenAPI source {self.name!r}: ") from error
        except BaseException:
            await client.close()
            raise
        self._client = client

    async def list_tools(self) -> Sequence[Tool]:
        """The tools, under their complete names; those of paged lists take `max_pages`."""
        return self._tools

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        """Perform one call.

        Raises:
            ToolError: The API refused it, the arguments cannot be sent, or the answer cannot be used.
            SourceError: The API cannot be reached.
            EffectUnknown: The connection broke during a call that is not a read.
        """
        known = self._operations.get(tool.name) or self._operations.get(tool.original)
        if self._client is None or known is None:
            raise SourceError(f"OpenAPI source {self.name!r} is not open, or has no tool {tool.name!r}.")
        operation, paging = known
        try:
            if paging is None:
                make = self._maker(operation, arguments, self._key(tool))
                response = await self._fetch(operation, tool, make)
                return await _result(response, self._without_secrets)
            return await self._pages(operation, tool, paging, arguments)
        except (ToolError, SourceError) as error:
            safe = self._safe(error)
            if str(safe) == str(error):
                raise
            raise safe from None  # the text it had must not reach a log either

    def on_change(self, notify: Callable[[], None]) -> None:
        """A document does not change while it is open, so nobody is ever told."""

    def secrets(self) -> Sequence[str]:
        """Every credential, in each form it is sent in, and the OAuth tokens fetched so far."""
        fetched = self._keys.secrets() if self._keys is not None else []
        return [*known_secrets(self._api.auth, self._api.headers), *fetched]

    async def close(self) -> None:
        """Close every connection. Idempotent; calls under way fail."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _read(self, client: Client) -> ApiDocument:
        from .document import load_document
        from .reading import read_operations

        place = self._api.document
        text: bytes | Path | Mapping[str, Any]
        if isinstance(place, str) and place.startswith(("http://", "https://")):
            request = Request("GET", ascii_url(place), (("Accept", "*/*"), ("User-Agent", "oneturn")))
            response = await client.send(request, _DOCUMENT_BYTES)
            if response.status != 200:
                raise SourceError(f"The document cannot be fetched: {response.status} {response.reason}.")
            text = response.body
        else:
            text = Path(place) if isinstance(place, str) else place

        def read() -> ApiDocument:
            return read_operations(text if isinstance(text, Mapping) else load_document(text), self.name)

        return await asyncio.to_thread(read)

    async def _settle(self, document: ApiDocument, client: Client, reach: Reach) -> None:
        from .network import Unreachable, permitted

        if not self._api.base_url:
            named = ", ".join(server[:200] for server in document.servers[:5]) or "none"
            raise ConfigError(f"base_url is missing; the document names these servers: {named}.")
        self._base = Base.of(self._api.base_url)
        with contextlib.suppress(Unreachable):  # it may come up later; a forbidden address will not
            await permitted(reach, self._base.host, self._base.port)
        self._keys = Keys(self._api.auth, self._api.headers, document.security_schemes, client)
        await asyncio.to_thread(self._offer, document)

    def _offer(self, document: ApiDocument) -> None:
        """Take over the operations that can be reached, with pages where they show them."""
        from .pages import paging_of, with_pages

        tools, skipped = [], dict(document.skipped)
        for operation in document.operations:
            if elsewhere := _elsewhere(operation, document, self._base):
                skipped[operation.tool.original] = elsewhere
                continue
            paging = paging_of(operation)
            tool = with_pages(operation.tool, paging) if paging is not None else operation.tool
            self._operations[tool.name] = self._operations[tool.original] = (operation, paging)
            tools.append(replace(tool, timeout=self._api.timeout))
        self._tools, self.skipped = tuple(tools), skipped

    def _maker(
        self, operation: Operation, arguments: Mapping[str, Any], more: Sequence[tuple[str, str]] = ()
    ) -> Make:
        return lambda proof: build(operation, arguments, self._base, proof, more)

    def _key(self, tool: Tool) -> Sequence[tuple[str, str]]:
        """The header by which the API knows a call that is sent once more."""
        name, info = self._api.idempotency_header, CURRENT.get()
        return [(name, info.idempotency_key)] if name and info is not None and tool.effect != "read" else []

    def _follower(self, first: Make, url: str, earlier: Response) -> Make:
        """The request for a page that an answer pointed to: the first one's headers, another URL."""
        there = urlsplit(ascii_url(urljoin(earlier.url, url)))

        def make(proof: Proof) -> Request:
            own = {name for name, _ in proof.query}  # an API may repeat the key in its links
            query = [
                pair for pair in there.query.split("&") if unquote_plus(pair.partition("=")[0]) not in own
            ]
            target = there._replace(query="&".join(query), fragment="").geturl()
            like = first(proof)
            request = Request(like.method, target, like.headers)
            return prove(request, self._base, Proof(like.credentials, proof.query))

        return make

    async def _fetch(
        self, operation: Operation, tool: Tool, make: Make, limit: int | None = None
    ) -> Response:
        """Send, renewing OAuth tokens once; raises for every answer that is not a success."""
        from .replies import error_of

        assert self._keys is not None
        limit = self._api.max_response_bytes if limit is None else limit
        proof = await self._keys.proof(operation)
        # Writing a large argument out takes a while, and nothing of a script may hold up the event loop.
        response = await self._send(tool, await asyncio.to_thread(make, proof), limit)
        if response.status == 401 and self._keys.renew(proof):
            proof = await self._keys.proof(operation)
            response = await self._send(tool, await asyncio.to_thread(make, proof), limit)
        if response.status < 300:
            return response
        error = error_of(response, self._without_secrets)
        if response.status == 404 and operation.server_path and not self._base.path:
            hint = f" (the document has this API under {operation.server_path!r}, and base_url has no path)"
            error = ToolError(f"{error}{hint}")
        raise error

    async def _send(self, tool: Tool, request: Request, limit: int) -> Response:
        from .network import ConnectionBroke
        from .retry import with_retries

        client = self._client
        if client is None:
            raise SourceError(f"OpenAPI source {self.name!r} was closed; nothing was sent.")
        reads = tool.effect == "read"
        try:
            return await with_retries(
                lambda: client.send(request, limit),
                repeatable=reads,
                retries=self._api.retries,
                patience=self._api.timeout,
            )
        except ConnectionBroke as error:
            if reads:
                raise
            raise EffectUnknown(
                f"{error} '{tool.name}' may have taken effect; check before calling it again."
            ) from error

    async def _pages(
        self, operation: Operation, tool: Tool, paging: Paging, arguments: Mapping[str, Any]
    ) -> Result:
        """One page, or as many as asked for, joined."""
        from .pages import PARAMETER, check_start, items_of, joined_pages, next_step

        most = arguments.get(PARAMETER, 1)
        arguments = {name: value for name, value in arguments.items() if name != PARAMETER}
        if most > 1:
            check_start(paging, arguments)
        first = make = self._maker(operation, arguments)
        pages: list[Any] = []
        left = self._api.max_response_bytes
        asked: set[str] = set()
        while True:
            try:
                response = await self._fetch(operation, tool, make, left)
                result = await _result(response, self._without_secrets)
            except (ToolError, SourceError) as error:
                if not pages:
                    raise
                raise ToolError(_after(len(pages), error)) from error
            found = items_of(paging, result.structured)
            if found is None:
                if not pages:
                    return result
                raise ToolError(_after(len(pages), "it has no list where the first one has it."))
            if pages and found == items_of(paging, pages[-1]):
                break  # the last page once more
            pages.append(result.structured)
            left -= len(response.body)
            if len(pages) >= most:
                break
            step = next_step(paging, response, result.structured, arguments)
            mark = json.dumps(step, sort_keys=True, default=str)
            if step is None or mark in asked:  # the last page, or one that leads in a circle
                break
            asked.add(mark)
            if isinstance(step, str):
                make = self._follower(first, step, response)
            else:
                arguments = step
                make = self._maker(operation, arguments)
        return Result(joined_pages(paging, pages), has_structured=True)

    def _safe(self, error: OneturnError, start: str = "") -> OneturnError:
        """The same error without any credential in its text."""
        return type(error)(self._without_secrets(f"{start}{error}"))

    def _without_secrets(self, text: str) -> str:
        for secret in worth_hiding(self.secrets()):
            text = text.replace(secret, "[secret]")
        return text


def _elsewhere(operation: Operation, document: ApiDocument, base: Base) -> str:
    """Why an operation cannot be reached at the base URL: it has a server of its own."""
    own = operation.own_server
    if (
        not own
        or own in document.servers
        or _place(own) in {_place(base.url), *map(_place, document.servers)}
    ):
        return ""
    return f"It has a server of its own, {own[:200]}; add that as another source, with that as base_url."


def _place(url: str) -> tuple[str | None, str]:
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.path.rstrip("/")
    except ValueError:
        return None, url


def _after(pages: int, error: Exception | str) -> str:
    came = "1 page" if pages == 1 else f"{pages} pages"
    return f"Page {pages + 1} failed after {came} came: {error} Call it with max_pages={pages} to get those."


async def _result(response: Response, clean: Callable[[str], str]) -> Result:
    from .replies import result_of

    if len(response.body) > _LARGE:
        return await asyncio.to_thread(result_of, response, clean)
    return result_of(response, clean)
