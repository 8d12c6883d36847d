"""The HTTP request that an operation and its arguments mean.

Values are strangers' data: each is encoded so that it cannot leave its place (path segment, query
parameter, header, cookie, form field). What is built is held against the configured base URL once
more at the end, so nothing in a document or an argument can lead a request elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from ...errors import ConfigError, ToolError
from .operations import Operation, Parameter
from .payload import encode_body, media_type
from .styles import joined, pairs, percent

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOLE = re.compile(r"\{([^{}]+)\}")
# What means this or the upper level to anybody on the way: also to a proxy that decodes the path before it
# looks at it, however often, takes `\` for `/`, or cuts a part off at its `;`.
_DOTS = re.compile(
    r"(?:[/\\]|%(?:25)*(?:2f|5c))(?:\.|%(?:25)*2e)+(?=[/\\;]|%(?:25)*(?:2f|5c|3b)|$)", re.IGNORECASE
)
_LITERAL = "/%:@!$&'()*+,;=~"  # what a path template may hold as it is
_FORMS = ("application/x-www-form-urlencoded", "multipart/")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

CONNECTION_HEADERS = frozenset(
    {
        *("connection", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("accept-encoding", "content-encoding", "content-length"),
        *("proxy-authorization", "proxy-connection"),
    }
)
"""Headers, in lower case, that belong to HTTP itself; nothing and nobody else sets them."""

# A parameter cannot set these either: OpenAPI says so, and who calls is not the script's to say.
_NOT_FOR_PARAMETERS = CONNECTION_HEADERS | {"accept", "authorization", "content-type", "cookie"}
# With these some servers take another path than the one that was checked, or go out through a proxy.
_NOT_FOR_PARAMETERS |= {"x-original-url", "x-rewrite-url", "proxy"}
# With these a read could become a deletion, behind the back of whoever allowed the read.
_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override", "-method"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request ready to be sent.

    `credentials` are headers that never go to another origin, nor beyond `base` where there is one.
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    credentials: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    content: bytes | None = field(default=None, repr=False)
    base: Base | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows the API who calls: headers, query parameters and cookies, already checked."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cookies: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Base:
    """The configured root of an API: everything sent stays at or under it."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Base:
        """The root that a base URL names.

        Raises:
            ConfigError: It is not a plain http or https URL.
        """
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError:
            raise ConfigError("base_url cannot be read as a URL.") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                "base_url must be a full http or https URL, such as https://api.example.com/v1."
            )
        if "@" in parts.netloc:
            raise ConfigError("base_url holds a user name or password; put them into auth.")
        path = quote(parts.path.rstrip("/"), safe=_LITERAL)
        if parts.query or parts.fragment or _DOTS.search(path):
            raise ConfigError("base_url must not have a query, a fragment, or '.' or '..' in its path.")
        try:
            host = parts.hostname.encode("idna").decode() if ":" not in parts.hostname else parts.hostname
        except UnicodeError:
            raise ConfigError("base_url has a host name that cannot be read.") from None
        return cls(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)

    @property
    def url(self) -> str:
        """The root as text, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{host}{'' if self.port == usual else f':{self.port}'}{self.path}"

    def holds(self, url: str) -> bool:
        """Whether a URL is at or under this root."""
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return False
        same = (parts.scheme, parts.hostname, port) == (self.scheme, self.host, self.port)
        under = parts.path == self.path or parts.path.startswith(f"{self.path}/")
        return same and "@" not in parts.netloc and under and not _DOTS.search(parts.path)


def settable(name: str) -> bool:
    """Whether this is a header that somebody other than HTTP itself may set beside the proof."""
    kept = _NOT_FOR_PARAMETERS | _OVERRIDES
    return _HEADER_NAME.fullmatch(name) is not None and _plain(name) not in kept


def build(
    operation: Operation,
    arguments: Mapping[str, Any],
    base: Base,
    proof: Proof,
    more: Sequence[tuple[str, str]] = (),
) -> Request:
    """The request for one call. `more` are headers it has besides, unless the arguments set them.

    Raises:
        ToolError: An argument cannot be sent where it belongs.
    """
    path = _path(operation, arguments)
    query = [f"{percent(name)}={percent(value)}" for name, value in operation.query]
    headers = [("Accept", _accept(operation)), ("User-Agent", "oneturn")]
    cookies: list[str] = []
    for parameter in operation.parameters:
        value = arguments.get(parameter.argument)
        if value is None:
            continue
        _keep_method(parameter.name, value)
        if parameter.place == "query":
            query += _query(parameter, value)
        elif parameter.place == "header" and _plain(parameter.name) not in _NOT_FOR_PARAMETERS:
            headers.append(header(parameter.name, joined(value, parameter.explode, lambda text: text)))
        elif parameter.place == "cookie":
            text = joined(value, False, percent).replace(",", "%2C")
            cookies.append(f"{percent(parameter.name)}={text}")
    content = None
    if operation.body is not None:
        content, kind = encode_body(operation, operation.body, arguments)
        if content is not None:
            headers.append(header("Content-Type", kind))
        if kind.startswith(_FORMS):
            known = {parameter.argument for parameter in operation.parameters}
            for name in arguments.keys() - known:
                _keep_method(name, arguments[name])
    given = {name.lower() for name, _ in headers}
    headers += [header(name, value) for name, value in more if name.lower() not in given]
    if content is None and operation.method in _WITH_BODY:
        content = b""
    url = f"{base.url}{path}"
    return prove(Request(operation.method, url, tuple(headers), content=content), base, proof, query, cookies)


def prove(
    request: Request,
    base: Base,
    proof: Proof,
    query: list[str] | None = None,
    cookies: list[str] | None = None,
) -> Request:
    """A request with its query, cookies and proof, held against the base URL once more."""
    own = {name.lower() for name, _ in proof.headers}
    headers = tuple((name, value) for name, value in request.headers if name.lower() not in own)
    parts = [*(query or []), *(f"{percent(name)}={percent(value)}" for name, value in proof.query)]
    url = request.url
    if parts:
        url += ("&" if "?" in url else "?") + "&".join(parts)
    crumbs = [*(cookies or []), *(f"{name}={value}" for name, value in proof.cookies)]
    credentials = proof.headers
    if crumbs:
        credentials = (*credentials, ("Cookie", "; ".join(crumbs)))
    if not base.holds(url):
        raise ToolError("The request would leave the configured base_url; nothing was sent.")
    return Request(request.method, url, headers, credentials, request.content, base)


def ascii_url(url: str) -> str:
    """A URL from elsewhere as it can be sent: what it should have encoded is encoded now."""
    return quote(url, safe="%/:?=&+~!$,;'@()*[]")


def header(name: str, value: str) -> tuple[str, str]:
    """A header that cannot become two. Raises ToolError when it would."""
    if not _HEADER_NAME.fullmatch(name):
        raise ToolError(f"{name[:60]!r} is not a name a header can have; nothing was sent.")
    if _CONTROL.search(value):
        raise ToolError(f"The header {name!r} cannot hold a line break or control character.")
    return name, value.strip()


def _path(operation: Operation, arguments: Mapping[str, Any]) -> str:
    places = {parameter.name: parameter for parameter in operation.parameters if parameter.place == "path"}
    template = operation.path if operation.path.startswith("/") else f"/{operation.path}"
    pieces: list[str] = []
    position = 0
    for hole in _HOLE.finditer(template):
        pieces.append(quote(template[position : hole.start()], safe=_LITERAL))
        parameter = places.get(hole[1])
        if parameter is None:
            raise ToolError(
                f"The document does not declare the path parameter {hole[1]!r}; nothing was sent."
            )
        pieces.append(_segment(parameter, arguments.get(parameter.argument)))
        position = hole.end()
    pieces.append(quote(template[position:], safe=_LITERAL))
    path = "".join(pieces)
    if _DOTS.search(path):
        raise ToolError(
            "The path of the request would have '.' or '..' as a part, to a server or to a proxy before it; "
            "nothing was sent."
        )
    return path


def _segment(parameter: Parameter, value: Any) -> str:
    """A path parameter, encoded so that it is one segment or a part of one."""
    name, style = parameter.name, parameter.style
    if parameter.content_type is not None:
        text = percent(_json(value))
    else:
        text = joined(
            value, parameter.explode, percent, "." if style == "label" and parameter.explode else ","
        )
    if value is None or not text or not text.strip("."):
        raise ToolError(
            f"The path parameter {parameter.argument!r} is {text!r}, and it must be more than dots: "
            "an empty part or dots would make another path of it; nothing was sent."
        )
    if style == "label":
        return f".{text}"
    if style == "matrix":
        if parameter.explode and isinstance(value, list | Mapping):
            return "".join(f";{pair}" for pair in pairs(name, value, "form", True, percent))
        return f";{percent(name)}={text}"
    return text


def _plain(name: str) -> str:
    """A header's name as servers that make it a variable know it."""
    return name.lower().replace("_", "-")


def _keep_method(name: str, value: Any) -> None:
    """Refuse what makes another method of a request, also as a part that is sent under its own name."""
    if _plain(name) in _OVERRIDES and str(value).strip().upper() not in ("GET", "HEAD"):
        raise ToolError(f"{name!r} would make another method of this call; nothing was sent.")
    for part in value if isinstance(value, Mapping) else ():
        _keep_method(part, value[part])


def _query(parameter: Parameter, value: Any) -> Iterator[str]:
    encode = _reserved if parameter.allow_reserved else percent
    if parameter.content_type is not None:
        yield f"{percent(parameter.name)}={percent(_json(value))}"
    else:
        yield from pairs(parameter.name, value, parameter.style, parameter.explode, encode)


def _accept(operation: Operation) -> str:
    types = [kind for kind in operation.response_types if media_type(kind)][:6]
    if not types:
        return "application/json, */*;q=0.5"
    return ", ".join(types if "*/*" in types else [*types, "*/*;q=0.1"])


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        raise ToolError(
            "Bytes and numbers that are not finite cannot go into JSON; nothing was sent."
        ) from None


def _reserved(text: str) -> str:
    """With reserved characters as they are, but for those that would end the value."""
    return quote(text, safe=":/?@!$'()*,;")
