"""What is read of a tool to find it: its texts by field, each up to a limit, so stuffing one gains little.

The last part of the namespace belongs to the name, since `issues.create` says "create an issue" as much
as `create_issue` does, and the first sentence of a description is a field of its own: it says what the
tool is for, and what follows are details.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from itertools import islice
from typing import Any

from ...types import Tool
from .words import spelling


class Field(IntEnum):
    """The searched fields of a tool. PLACE is where an HTTP API has it, such as `GET /repos/{repo}`."""

    NAME = 0
    KIN = 1  # the last part of the namespace
    SUMMARY = 2
    NAMESPACE = 3  # the rest of it
    DESCRIPTION = 4
    PLACE = 5
    PARAMETERS = 6
    ABOUT_PARAMETERS = 7
    VALUES = 8
    LABELS = 9


CHARS = (500, 500, 300, 500, 8_000, 500, 4_000, 8_000, 2_000, 500)  # read of each field
_PROPERTIES = 1_000  # parameters of one tool that are read
_ENUM = 50  # values of one parameter that are read

_MARKUP = re.compile(
    r"</?(?:a|b|blockquote|br|code|div|em|h[1-6]|hr|i|img|li|[ou]l|p|pre|span|strong|su[bp]|table|tbody|t[dhr]|thead)"
    r"\b[^<>]{0,500}>"
)
_SENTENCE_END = re.compile(r"\n\s*\n|[.!?](?=\s|$)|[。！？]")  # a line may be wrapped, so it is no end
_PLACE = re.compile(r"[A-Za-z]+ /")


def fields(tool: Tool) -> Iterator[tuple[Field, str]]:
    """The searched texts of a tool, each with its field."""
    outer, _, kin = tool.namespace.rpartition(".")
    own = tool.original
    if _PLACE.match(own):
        yield Field.PLACE, own[: CHARS[Field.PLACE]]
        own = ""
    elif spelling(own) in (spelling(tool.name), spelling(tool.short_name)):
        own = ""
    yield Field.NAME, f"{tool.short_name} {own}"[: CHARS[Field.NAME]]
    yield Field.KIN, kin[: CHARS[Field.KIN]]
    yield Field.NAMESPACE, outer[: CHARS[Field.NAMESPACE]]
    first, rest = _sentences(tool.description[: CHARS[Field.DESCRIPTION]])
    yield Field.SUMMARY, first
    yield Field.DESCRIPTION, rest
    yield Field.LABELS, _joined(tool.labels, Field.LABELS)
    properties: Any = tool.input_schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    some = list(islice(properties.items(), _PROPERTIES))
    schemas = [schema for _, schema in some if isinstance(schema, Mapping)]
    about = (schema.get("description") for schema in schemas)
    listed = (schema.get("enum") for schema in schemas)
    values = (value for each in listed if isinstance(each, list) for value in each[:_ENUM])
    yield Field.PARAMETERS, _joined((name for name, _ in some), Field.PARAMETERS)
    yield Field.ABOUT_PARAMETERS, _joined(about, Field.ABOUT_PARAMETERS)
    yield Field.VALUES, _joined(values, Field.VALUES)


def head(tool: Tool) -> tuple[str, str]:
    """What says the most of a tool: its name with the last part of its namespace, and its first sentence."""
    name = ".".join(tool.name.split(".")[-2:])
    return name, _sentences(tool.description[: CHARS[Field.DESCRIPTION]])[0]


def _sentences(text: str) -> tuple[str, str]:
    """The first sentence or paragraph of a text without its markup, and the rest."""
    plain = _MARKUP.sub(" ", text).strip()
    end = _SENTENCE_END.search(plain, 0, CHARS[Field.SUMMARY])
    at = end.end() if end else CHARS[Field.SUMMARY]
    return plain[:at].strip(), plain[at:]


def _joined(texts: Iterable[object], field: Field) -> str:
    """The texts among these in one, none read further than the field's limit."""
    parts, room = [], CHARS[field]
    for text in texts:
        if isinstance(text, str) and room > 0:
            parts.append(text[:room])
            room -= len(text) + 1
    return " ".join(parts)
