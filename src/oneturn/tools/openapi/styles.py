"""OpenAPI's ways to write a value as text: form, spaceDelimited, pipeDelimited, deepObject, simple.

What encodes a single text is passed in, because it depends on where the text goes. Delimiters that
are part of a style are written as such, those inside of values are always encoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ...errors import ToolError

Encode = Callable[[str], str]

_DELIMITERS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}
_DEEPEST = 20  # levels of a deepObject


def percent(text: str) -> str:
    """A text with everything encoded that could mean something in a URL or a form."""
    return quote(text, safe="")


def text_of(value: Any) -> str:
    """A single value as text: text as it is, `true`, `false`, numbers and deeper values as in JSON.

    Raises:
        ToolError: It is bytes, or holds what JSON cannot.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        raise ToolError("Bytes and numbers that are not finite cannot be sent as text.") from None


def joined(value: Any, explode: bool, encode: Encode, delimiter: str = ",") -> str:
    """The style `simple`: `a,b` for lists, `k,v,k,v` for objects or, exploded, `k=v,k=v`."""
    if isinstance(value, Mapping):
        between = "=" if explode else ","
        return delimiter.join(f"{encode(key)}{between}{encode(text_of(part))}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return delimiter.join(encode(text_of(part)) for part in value)
    return encode(text_of(value))


def pairs(name: str, value: Any, style: str, explode: bool, encode: Encode) -> Iterator[str]:
    """The `name=value` pairs of a query or form, in one of OpenAPI's styles for them."""
    key = percent(name)
    if style == "deepObject" and isinstance(value, Mapping | list | tuple):
        yield from _deep(name, value, encode, 0)
    elif isinstance(value, Mapping):
        if explode:
            for part, inner in value.items():
                yield from pairs(part, inner, "form", True, encode)
        else:
            yield f"{key}={joined(value, False, encode, _DELIMITERS.get(style, ','))}"
    elif isinstance(value, list | tuple):
        if explode:
            for item in value:
                yield f"{key}={encode(text_of(item))}"
        elif value:
            yield f"{key}={joined(value, False, encode, _DELIMITERS.get(style, ','))}"
    else:
        yield f"{key}={encode(text_of(value))}"


def _deep(name: str, value: Any, encode: Encode, depth: int) -> Iterator[str]:
    """`name[key]=value`, as PHP, Rails, Stripe and most parsers read it; lists are `name[]` or `name[0]`."""
    if depth > _DEEPEST:
        raise ToolError(f"An argument is nested deeper than the {_DEEPEST} levels a query can hold.")
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _deep(f"{name}[{key}]", part, encode, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            nested = isinstance(item, Mapping | list | tuple)
            yield from _deep(f"{name}[{index if nested else ''}]", item, encode, depth + 1)
    else:
        yield f"{percent(name)}={encode(text_of(value))}"
