"""The request body of an operation: in which media type it is sent, and what it looks like to a script.

An object whose properties are all that matters becomes parameters of the tool itself, so that a script
writes `create(title="x")` and not `create(body={"title": "x"})`. Where a name would then mean
two things, or the body is a choice between shapes, it stays one parameter called `body`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .conversion import BINARY_MEDIA
from .definitions import Converted, Definitions
from .inputs import INPUT, Input, argument_schema, described, usable
from .operations import Body, BodyPart
from .payload import essence
from .references import References

_MAX_FLATTENED = 200  # properties
_MAX_PARTS = 100  # schemas joined by references and `allOf` into one object
_FORM = "application/x-www-form-urlencoded"
_PREFERRED = ("application/json", "text/json", "*/*", "application/*", "application/*+json")
_WRITTEN = {  # instead of a wildcard
    "*/*": "application/json",
    "application/*": "application/json",
    "application/*+json": "application/json",
    "text/*": "text/plain",
    "multipart/*": "multipart/form-data",
}
_TEXT_ENDS = ("xml", "yaml", "javascript", "graphql", "json-seq", "ndjson", "jsonl", "csv", "sql")


@dataclass(slots=True)
class _Object:
    """The properties of a body that is plainly an object; `others` is the schema of further ones."""

    properties: dict[str, Any] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    others: Any = False
    parts: int = 0
    lists_none: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it says that there are no properties, and not just nothing about them."""
        return self.lists_none and not self.properties and self.others is False


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A body, the arguments it takes, and the schema of further ones under names a script chooses."""

    body: Body
    inputs: tuple[Input, ...]
    others: Converted | None = None


def media_kind(media: str) -> str:
    """How a body of this media type is written: `json`, `form`, `multipart`, `text` or `binary`."""
    base = essence(media)
    if base in _PREFERRED or base.endswith("+json"):
        return "json"
    if base == _FORM:
        return "form"
    if base.startswith("multipart/"):
        return "multipart"
    return "text" if base.startswith("text/") or base.endswith(_TEXT_ENDS) else "binary"


def media_rank(media: str) -> tuple[int, int]:
    """For sorting media types, the one to use first."""
    base = essence(media)
    kind = ("json", "form", "multipart", "text", "binary").index(media_kind(media))
    if base in _PREFERRED:
        return kind, _PREFERRED.index(base)
    # Of patches, a merge is the one that can be written from the schema of the object alone.
    return kind, {"application/merge-patch+json": 10, "multipart/form-data": 0, "text/plain": 0}.get(
        base, 30 if base == "application/json-patch+json" else 20
    )


def read_body(
    raw: Mapping[str, Any], references: References, definitions: Definitions, taken: Container[str]
) -> ReadBody | None:
    """The body of a `requestBody`; None when it declares no media type, or an optional empty object.

    Args:
        raw: The resolved `requestBody`.
        references: Of the document.
        definitions: Of the document.
        taken: Python names of the operation's parameters.
    """
    content = raw.get("content")
    declared = [key for key in content if isinstance(key, str)] if isinstance(content, Mapping) else []
    if not isinstance(content, Mapping) or not declared:
        return None
    media = min(declared, key=media_rank)
    kind = media_kind(media)
    described_by = references.resolve(content[media]) or {}
    schema = described_by.get("schema", {})
    required = raw.get("required") is True
    if kind == "json" and "*" in media and _is_binary(references.resolve(schema)):
        kind, media = "binary", "application/octet-stream"
    written = _WRITTEN.get(essence(media), media)
    if "*" in written:
        written = "application/json" if kind == "json" else "application/octet-stream"
    if kind in ("text", "binary"):
        made = {"type": "string", "format": "binary"} if kind == "binary" else {"type": "string"}
        return _whole(Body(written, required), Converted(made), raw.get("description"), taken)
    shape = _object(schema, references, definitions)
    if shape is not None and shape.is_empty and not required:
        return None
    parts = _parts(shape, described_by.get("encoding"), references) if kind in ("form", "multipart") else {}
    if (
        shape is None
        or not 0 < len(shape.properties) <= _MAX_FLATTENED
        or not usable(shape.properties, taken)
    ):
        whole = Body(written, required, parts=parts)
        return _whole(whole, argument_schema(schema, definitions), raw.get("description"), taken)
    inputs = [
        Input(name, _property(part, parts.get(name), definitions), required and name in shape.required)
        for name, part in shape.properties.items()
    ]
    body = Body(
        written,
        required,
        flattened={name: name for name in shape.properties},
        parts=parts,
        open=shape.others is not False,
    )
    return ReadBody(body, tuple(inputs), _others(shape, definitions))


def _whole(body: Body, schema: Converted, description: Any, taken: Container[str]) -> ReadBody:
    argument = next(name for name in _body_names() if usable([name], taken))
    whole = replace(body, argument=argument)
    return ReadBody(whole, (Input(argument, described(schema, description), body.required),))


def _body_names() -> Iterator[str]:
    yield from ("body", "request_body")
    for count in range(2, 10_000):
        yield f"request_body_{count}"


def _others(shape: _Object, definitions: Definitions) -> Converted | None:
    if shape.others is False:
        return None
    return definitions.convert(shape.others if shape.parts == 1 else True, INPUT)


def _property(raw: Any, part: BodyPart | None, definitions: Definitions) -> Converted:
    if part is None or not part.binary:
        return argument_schema(raw, definitions)
    text = raw.get("description") if isinstance(raw, Mapping) else None
    return described(Converted({"type": "string", "format": "binary"}), text)


def _object(raw: Any, references: References, definitions: Definitions) -> _Object | None:
    """The object a schema describes when its properties say it all; None when there is more to it."""
    shape = _Object()
    waiting = [raw]
    hidden: set[str] = set()
    while waiting:
        part = references.resolve(waiting.pop(0))
        shape.parts += 1
        if part is None or shape.parts > _MAX_PARTS or not _is_plain(part):
            return None
        found = part.get("properties")
        shape.lists_none = shape.lists_none or found == {}
        for name, schema in found.items() if isinstance(found, Mapping) else ():
            if isinstance(name, str):
                (
                    hidden.add(name)
                    if definitions.hidden(schema, INPUT)
                    else shape.properties.update({name: schema})
                )
        needed = part.get("required")
        shape.required |= (
            {name for name in needed if isinstance(name, str)} if isinstance(needed, list) else set()
        )
        others = part.get("additionalProperties", False)
        if isinstance(others, Mapping) or others is True:
            shape.others = others
        every = part.get("allOf")
        waiting += every[:_MAX_PARTS] if isinstance(every, list) else []
    for name in hidden:
        shape.properties.pop(name, None)
    return shape


def _is_plain(part: Mapping[str, Any]) -> bool:
    declared = part.get("type", "object")
    kinds = declared if isinstance(declared, list) else [declared]
    if "object" not in kinds or {"patternProperties", "enum", "const"} & part.keys():
        return False
    # A choice that only says which properties go together leaves the properties as they are.
    return all(
        isinstance(branch, Mapping) and branch.keys() <= {"required", "type", "title", "description"}
        for word in ("anyOf", "oneOf")
        if isinstance(part.get(word), list)
        for branch in part[word]
    )


def _parts(shape: _Object | None, encoding: Any, references: References) -> dict[str, BodyPart]:
    if shape is None:
        return {}
    written = encoding if isinstance(encoding, Mapping) else {}
    parts: dict[str, BodyPart] = {}
    for name, schema in shape.properties.items():
        how = written.get(name)
        how = how if isinstance(how, Mapping) else {}
        found = references.resolve(schema) or {}
        listed = found.get("type") == "array"
        binary = _is_binary(references.resolve(found.get("items")) if listed else found)
        media, style, explode = how.get("contentType"), how.get("style"), how.get("explode")
        if found.get("type") == "string" and isinstance(media, str) and media.startswith(BINARY_MEDIA):
            binary = True
        known = style in ("form", "spaceDelimited", "pipeDelimited", "deepObject")
        parts[name] = BodyPart(
            content_type=media if isinstance(media, str) and len(media) <= 200 else None,
            style=str(style) if known else "form",
            explode=explode if isinstance(explode, bool) else not known or style in ("form", "deepObject"),
            binary=binary,
            # Bytes cross only as a whole argument: of a list of files, a script gives one.
            is_list=listed and not binary,
        )
    return parts


def _is_binary(schema: Mapping[str, Any] | None) -> bool:
    if schema is None:
        return False
    media = schema.get("contentMediaType")
    return (
        schema.get("format") == "binary"
        or schema.get("type") == "file"
        or (media == "application/octet-stream" and "contentEncoding" not in schema)
    )
