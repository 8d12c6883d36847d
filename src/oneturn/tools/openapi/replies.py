"""What an API answered, as a result or as an error a script can read.

Statuses below 300 are results, all others are errors. An error says the status and what the API
itself gives as the reason; never the address of the request, which may hold a key.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from ...errors import ToolError
from ..base import Blob, Result, Text
from ..text import visible
from .network import Response
from .payload import essence, is_json
from .retry import BUSY, retry_after

_CAP = 1_000  # characters of an error's own words
_TEXT = ("text/", "application/xml", "application/x-ndjson", "application/jsonl", "application/yaml")
_TEXT_ENDINGS = ("+xml", "+yaml", "/x-yaml", "/javascript", "/x-www-form-urlencoded", "json-seq")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_NAME = re.compile(r"filename\s*=\s*(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_WORDS = (
    "detail",
    "message",
    "error_description",
    "error",
    "title",
    "msg",
    "reason",
    "description",
    "errors",
)
# Codecs that are not encodings of text on the web; some take quadratic time.
_ODD = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf-7"})


Clean = Callable[[str], str]
"""Takes credentials out of a text. An API may repeat them, and half a credential is not found any more:
so this comes before anything is cut."""


def result_of(response: Response, clean: Clean) -> Result:
    """The result of an answer below 300. `clean` is for what an error quotes of it.

    Raises:
        ToolError: It says it is JSON and is not.
    """
    kind = essence(response.headers.get("content-type", ""))
    if response.status in (204, 205) or not response.body:
        return Result(structured=None, has_structured=True)
    if is_json(kind):
        return Result(structured=parsed(response, clean), has_structured=True)
    if kind.startswith(_TEXT) or kind.endswith(_TEXT_ENDINGS):
        return Result(blocks=(Text(_text(response)),))
    if not kind and (text := _plain_text(response.body)) is not None:
        return Result(blocks=(Text(text),))
    return Result(blocks=(Blob(response.body, kind or "application/octet-stream", _filename(response)),))


def parsed(response: Response, clean: Clean) -> Any:
    """The JSON of an answer. Raises ToolError when it is none."""
    try:
        charset = _charset(response)
        text: str | bytes = response.body if charset == "utf-8" else response.body.decode(charset)
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        start = " ".join(clean(visible(_text(response)))[:200].split())
        raise ToolError(
            f"The call was made ({response.status}), but the answer is not the JSON it claims to be: {start}"
        ) from None


def error_of(response: Response, clean: Clean) -> ToolError:
    """Why an answer of 300 or above is an error."""
    words = f"{response.status} {_reason(response)}"
    said = _said(response, clean)
    text = f"{words}: {said}" if said and said.lower() != _reason(response).lower() else words
    wait = retry_after(response)
    if response.status in BUSY and wait is not None:
        text += f" (the API asks to wait {wait:.0f} s before trying again)"
    return ToolError(text)


def _reason(response: Response) -> str:
    try:
        return HTTPStatus(response.status).phrase
    except ValueError:
        return response.reason[:60] or "unknown status"


def _said(response: Response, clean: Clean) -> str:
    kind = essence(response.headers.get("content-type", ""))
    if not response.body:
        return ""
    if is_json(kind) or response.body[:1] == b"{":
        try:
            value = json.loads(response.body)
            said = ". ".join(dict.fromkeys(_messages(value, 0))) or json.dumps(value, ensure_ascii=False)
            return _capped(clean(visible(said)))
        except (ValueError, RecursionError):
            pass  # cut, or not JSON after all: the text as it is
    text = clean(visible(_text(response)))
    if kind == "text/html" or text.lstrip()[:1] == "<":
        title = _TITLE.search(text)
        return _capped(title[1]) if title else ""
    return _capped(text) if text.isprintable() or kind.startswith("text/") or is_json(kind) else ""


def _messages(value: Any, depth: int) -> Iterator[str]:
    """What an error object says in words: RFC 9457's title and detail, `message`, `error` and their like."""
    if isinstance(value, str):
        yield value.rstrip(".")
    elif isinstance(value, list) and depth < 3:
        for part in value[:5]:
            yield from _messages(part, depth + 1)
    elif isinstance(value, Mapping) and depth < 3:
        if isinstance(value.get("title"), str) and isinstance(value.get("detail"), str):
            yield f"{value['title']}: {value['detail'].rstrip('.')}"
        else:
            found = next((value[word] for word in _WORDS if value.get(word)), None)
            where = value.get("loc") or value.get("field")
            for text in _messages(found, depth + 1):
                yield f"{_place(where)}: {text}" if where else text
        if depth == 0 and isinstance(value.get("errors"), list):
            yield from _messages(value["errors"], 1)


def _place(where: Any) -> str:
    parts = where if isinstance(where, list) else [where]
    return ".".join(str(part) for part in parts if isinstance(part, str | int))[:100]


def _capped(text: str) -> str:
    text = " ".join(text[: 20 * _CAP].split())
    return text if len(text) <= _CAP else f"{text[:_CAP]}…"


def _charset(response: Response) -> str:
    found = _CHARSET.search(response.headers.get("content-type", ""))
    if found is None:
        return "utf-8"
    try:
        name = codecs.lookup(found[1]).name
        bytes(4).decode(name)  # refuses codecs that are not between bytes and text
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name in _ODD else name


def _text(response: Response) -> str:
    return response.body.decode(_charset(response), errors="replace").removeprefix("\ufeff")


def _plain_text(body: bytes) -> str | None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _filename(response: Response) -> str:
    """The name the API gives a file, without any folders."""
    found = _NAME.search(response.headers.get("content-disposition", ""))
    if found is None:
        return ""
    name = re.split(r"[/\\]", found[1] or found[2])[-1]
    return "" if name.strip(".") == "" else "".join(char for char in name if char.isprintable())


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
