"""Lists that come in pages: how an operation shows that it has them, and how one page leads to the next.

What is recognised, in this order of trust: a `Link` header with rel="next" (GitHub), a next URL or a
cursor in the answer (Google, Kubernetes, Slack, Django), `has_more` with the last item's id (Stripe),
and counting with an offset or a page number. Where a page leads is a stranger's word: whoever sends
the request holds a URL against the base URL first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...errors import ToolError
from ...types import Tool
from ..schema import properties
from .network import Response
from .operations import Operation

PARAMETER = "max_pages"
"""The argument a paged tool has in addition."""

MOST_PAGES = 100

How = Literal["link", "url", "cursor", "last_id", "offset", "page"]

# Parameter names, without case and separators, and the fields of an answer that hold their next value.
_CURSORS = {
    "pagetoken": ("nextpagetoken",),
    "nextpagetoken": ("nextpagetoken",),
    "nexttoken": ("nexttoken",),
    "cursor": ("nextcursor", "cursor", "next"),
    "nextcursor": ("nextcursor",),
    "pagecursor": ("nextcursor", "nextpagecursor"),
    "startcursor": ("nextcursor",),
    "continue": ("continue",),
    "continuationtoken": ("continuationtoken", "nextcontinuationtoken"),
    "marker": ("nextmarker",),
    "after": ("after", "nextcursor", "endcursor"),
    "page": ("nextpage",),
}
_URLS = ("next", "nexturl", "nextpageurl", "nextlink", "@odata.nextlink")
_OFFSETS = ("offset", "skip", "startat")
_PAGES = ("page", "pagenumber", "pageno")
_SIZES = ("limit", "perpage", "pagesize", "maxresults", "count", "size", "top")
_LISTS = ("items", "data", "results", "values", "value", "entries", "records", "objects", "list")
_NEXT = re.compile(r"<([^<>]{1,4000})>\s*;([^<]{0,1000})")
_REL_NEXT = re.compile(r"\brel\s*=\s*\"?(?:[^\";,]*\s)?next\b", re.IGNORECASE)
_REFERENCES = 20  # followed for one schema
_ALL_OF = 50  # parts of one schema looked at


@dataclass(frozen=True, slots=True)
class Paging:
    """How the pages of one operation follow each other.

    `items` is the property that holds the list; empty when the answer is the list. `argument` is
    the one that asks for a page, `size` the one that says how large pages are. `field` is the path
    to what leads on, and `first` the number of the first page; None when the document does not tell.
    """

    how: How
    items: str = ""
    argument: str = ""
    size: str = ""
    field: tuple[str, ...] = ()
    first: int | None = None


def paging_of(operation: Operation) -> Paging | None:
    """How an operation's pages follow each other, or None when it shows no sign of any."""
    tool = operation.tool
    if operation.method != "GET" or PARAMETER in properties(tool.input_schema):
        return None
    answer = _Answer(tool.output_schema)
    items = answer.items()
    if items is None:
        return None
    arguments = {
        _plain(parameter.name): parameter.argument
        for parameter in operation.parameters
        if parameter.place == "query"
    }
    size = next((arguments[name] for name in _SIZES if name in arguments), "")
    if "link" in operation.response_headers:
        return Paging("link", items)
    if items:
        for path in answer.fields(_URLS):
            if answer.is_text(path) and not any(name in arguments for name in _CURSORS if name != "page"):
                return Paging("url", items, field=path)
        for name in filter(arguments.__contains__, _CURSORS):
            for path in answer.fields(_CURSORS[name]):
                return Paging("cursor", items, arguments[name], size, path)
        if "startingafter" in arguments and (more := next(answer.fields(("hasmore",)), None)):
            return Paging("last_id", items, arguments["startingafter"], size, more)
    return _counted(tool, items, arguments, size)


def with_pages(tool: Tool, paging: Paging) -> Tool:
    """The tool with the argument that asks for more pages."""
    text = "Follow up to this many pages and return the items of all of them together."
    if paging.how == "page" and paging.first is None:
        text += f" Give {paging.argument} as well then."
    schema = dict(tool.input_schema)
    more = {"type": "integer", "minimum": 1, "maximum": MOST_PAGES, "default": 1, "description": text}
    schema["properties"] = {**properties(schema), PARAMETER: more}
    return replace(tool, input_schema=schema)


def check_start(paging: Paging, arguments: Mapping[str, Any]) -> None:
    """Refuse to count pages from a number nobody told. Raises ToolError."""
    if paging.how == "page" and paging.first is None and paging.argument not in arguments:
        raise ToolError(
            f"The document does not say whether pages count from 0 or 1; give {paging.argument!r} together "
            f"with {PARAMETER}. Nothing was sent."
        )


def items_of(paging: Paging, value: Any) -> list[Any] | None:
    """The items of one page; None when the answer is not of the expected shape."""
    found = value.get(paging.items) if paging.items and isinstance(value, Mapping) else value
    return found if isinstance(found, list) else None


def next_step(
    paging: Paging, response: Response, value: Any, arguments: Mapping[str, Any]
) -> str | dict[str, Any] | None:
    """What leads to the next page: its URL, or the arguments that ask for it; None after the last."""
    link = _link(response.headers.get("link", ""))
    if link or paging.how == "link":
        return link or None
    items = items_of(paging, value) or []
    found = _at(value, paging.field)
    if paging.how == "url":
        found = found.get("href") if isinstance(found, Mapping) else found
        return found if isinstance(found, str) and found else None
    if paging.how == "cursor":
        if isinstance(found, str) and found.startswith(("https://", "http://")):
            return found
        usable = isinstance(found, str | int) and not isinstance(found, bool) and found != ""
        return {**arguments, paging.argument: found} if usable else None
    if not items:
        return None
    if paging.how == "last_id":
        last = items[-1].get("id") if isinstance(items[-1], Mapping) else None
        return {**arguments, paging.argument: last} if found is True and last else None
    size = arguments.get(paging.size)
    if isinstance(size, int) and len(items) < size:
        return None
    now = arguments.get(paging.argument, paging.first)
    if not isinstance(now, int):
        return None
    return {**arguments, paging.argument: now + (len(items) if paging.how == "offset" else 1)}


def joined_pages(paging: Paging, pages: list[Any]) -> Any:
    """All pages as one value of a page's shape: all items, and the other fields of the last page."""
    if len(pages) == 1:
        return pages[0]
    items = [item for page in pages for item in items_of(paging, page) or []]
    return {**pages[0], **pages[-1], paging.items: items} if paging.items else items


def _counted(tool: Tool, items: str, arguments: Mapping[str, str], size: str) -> Paging | None:
    declared = properties(tool.input_schema)
    for name in filter(arguments.__contains__, (*_OFFSETS, *_PAGES)):
        schema = declared.get(arguments[name])
        if not isinstance(schema, Mapping) or "integer" not in str(schema.get("type")):
            continue
        if name in _OFFSETS:
            return Paging("offset", items, arguments[name], size, first=0)
        told = schema.get("default", schema.get("minimum"))
        first = int(told) if told in (0, 1) else None
        return Paging("page", items, arguments[name], size, first=first)
    return None


def _plain(name: str) -> str:
    return re.sub(r"[_.\-\s$\[\]]", "", name).lower()


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _link(value: str) -> str:
    """The URL of the next page in a Link header (RFC 8288), or an empty text."""
    for found in _NEXT.finditer(value[:16_000]):
        if _REL_NEXT.search(found[2]):
            return found[1]
    return ""


class _Answer:
    """The declared shape of an answer, as far as pages are concerned."""

    def __init__(self, schema: Mapping[str, Any] | None) -> None:
        self._root = schema or {}
        self._schema = self._resolved(self._root)

    def items(self) -> str | None:
        """Where the list of items is: a property, or the whole answer ("")."""
        if self._is(self._schema, "array"):
            return ""
        fields = [(name, inner) for name, inner in self._fields(self._schema) if _plain(name) != "links"]
        lists = [name for name, inner in fields if self._is(self._resolved(inner), "array")]
        if len(lists) == 1:
            return lists[0]
        return next((name for wanted in _LISTS for name in lists if name.lower() == wanted), None)

    def fields(self, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Paths to fields of these plain names: of the answer, or of an object directly in it."""
        top = list(self._fields(self._schema))
        for wanted in names:
            yield from ((name,) for name, _ in top if _plain(name) == wanted)
        for outer, inner in top:
            nested = self._resolved(inner)
            if not self._is(nested, "array"):
                for wanted in names:
                    yield from ((outer, name) for name, _ in self._fields(nested) if _plain(name) == wanted)

    def is_text(self, path: tuple[str, ...]) -> bool:
        """Whether a field can hold text, or an object with an `href`."""
        schema = self._schema
        for name in path:
            schema = self._resolved(dict(self._fields(schema)).get(name))
        return "string" in str(schema)[:2_000]

    def _fields(self, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        waiting, looked_at = [schema], 0
        while waiting and looked_at < _ALL_OF:
            part = waiting.pop()
            looked_at += 1
            yield from properties(part).items()
            more = part.get("allOf")
            waiting += [self._resolved(inner) for inner in more[:_ALL_OF]] if isinstance(more, list) else []

    def _is(self, schema: Mapping[str, Any], kind: str) -> bool:
        declared = schema.get("type")
        return declared == kind or (isinstance(declared, list) and kind in declared)

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        for _ in range(_REFERENCES):
            if not isinstance(schema, Mapping):
                return {}
            reference, choices = schema.get("$ref"), schema.get("anyOf", schema.get("oneOf"))
            if isinstance(reference, str):
                schema = self._root if reference.startswith("#/") else {}
                for part in reference[2:].split("/"):
                    key = part.replace("~1", "/").replace("~0", "~")
                    schema = schema.get(key) if isinstance(schema, Mapping) else None
            elif isinstance(choices, list) and "properties" not in schema:
                schema = next((one for one in choices if one != {"type": "null"}), {})
            else:
                return schema
        return {}
