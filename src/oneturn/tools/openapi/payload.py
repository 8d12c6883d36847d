"""The body of a request: JSON, form, multipart, text or bytes, as the operation declares it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ...errors import ToolError
from .operations import Body, BodyPart, Operation
from .styles import pairs, percent, text_of

_MEDIA_TYPE = re.compile(
    r"[\w!#$&^.+*-]+/[\w!#$&^.+*-]+(?: *; *[\w-]+=(?:[\w./+:-]+|\"[\w ./+:-]*\"))*", re.ASCII
)
_FORM = "application/x-www-form-urlencoded"


def media_type(text: str) -> str:
    """A media type that can stand in a header, or an empty text when this is none."""
    return text if len(text) <= 200 and _MEDIA_TYPE.fullmatch(text) else ""


def essence(kind: str) -> str:
    """A media type without its parameters, in lower case."""
    return kind.partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Whether a media type is JSON, or a language written in it."""
    plain = essence(kind)
    return plain in ("application/json", "text/json") or plain.endswith("+json")


def encode_body(operation: Operation, body: Body, arguments: Mapping[str, Any]) -> tuple[bytes | None, str]:
    """The body and its content type; no body at all when nothing was given for an optional one.

    Raises:
        ToolError: What was given cannot be written in the declared media type.
    """
    given, value = _value(operation, body, arguments)
    if not given:
        return None, ""
    declared = media_type(body.media_type)
    kind = declared if declared and "*" not in declared else "application/octet-stream"
    plain = essence(kind)
    if is_json(kind):
        return _json(value), kind
    if plain == _FORM:
        return _form(value, body), kind
    if plain == "multipart/form-data":
        return _multipart(value, body)
    if isinstance(value, bytes):
        return value, kind
    if plain.startswith("text/") and "charset" not in kind:
        kind = f"{kind}; charset=utf-8"
    return text_of(value).encode(), kind


def _value(operation: Operation, body: Body, arguments: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether there is a body, and its value."""
    if body.argument is not None:
        value = arguments.get(body.argument)
        return body.argument in arguments and (value is not None or is_json(body.media_type)), value
    value = {name: arguments[argument] for argument, name in body.flattened.items() if argument in arguments}
    if body.open:
        known = {parameter.argument for parameter in operation.parameters} | set(body.flattened)
        value |= {name: part for name, part in arguments.items() if name not in known}
    return bool(value) or body.required, value


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except TypeError:
        raise ToolError("Bytes cannot go into JSON; pass text, such as base64. Nothing was sent.") from None
    except ValueError:
        raise ToolError("JSON has no numbers that are not finite, and no lone surrogates.") from None


def _properties(value: Any, kind: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ToolError(f"A body of type {kind} is made of named fields; pass an object.")
    return value


def _form(value: Any, body: Body) -> bytes:
    fields: list[str] = []
    for name, part in _properties(value, _FORM).items():
        if part is None:
            continue
        how = body.parts.get(name, BodyPart())
        if how.content_type and is_json(how.content_type):
            fields.append(f"{percent(name)}={quote(_json(part), safe='')}")
        else:
            fields += pairs(name, part, how.style, how.explode, percent)
    return "&".join(fields).encode()


def _multipart(value: Any, body: Body) -> tuple[bytes, str]:
    """A multipart form, written by httpx2, which keeps names and types from breaking out of their lines."""
    import httpx2

    files: list[tuple[str, tuple[str | None, bytes, str | None]]] = []
    for name, part in _properties(value, "multipart/form-data").items():
        if part is None:
            continue
        how = body.parts.get(name, BodyPart())
        items = part if isinstance(part, list) and how.is_list else [part]
        files += [(name, _part(name, item, how)) for item in items]
    if not files:
        raise ToolError("A multipart body needs at least one field; nothing was sent.")
    request = httpx2.Request("POST", "http://localhost", files=files)
    return request.read(), request.headers["content-type"]


def _part(name: str, value: Any, how: BodyPart) -> tuple[str | None, bytes, str | None]:
    """File name, content and type of one part; only bytes get a file name."""
    kind = media_type((how.content_type or "").partition(",")[0].strip())
    kind = "" if "*" in kind else kind
    if how.binary or isinstance(value, bytes):
        data = value if isinstance(value, bytes) else text_of(value).encode()
        return name, data, kind or "application/octet-stream"
    if isinstance(value, Mapping | list):
        return None, _json(value), kind or "application/json"
    return None, text_of(value).encode(), kind or None
