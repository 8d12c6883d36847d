"""What a schema says beside its type, as a short comment; and text of strangers inside docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...types import Tool
from ..text import neutral, one_line, quoted

_MAX_BRANCHES = 20
_SHOWN = 60  # characters of one value
_NOTES = 6
_EXAMPLES = 2
_CHOICES = 12  # of many allowed values, so many are named
_LIMITING = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"}
    | {"pattern", "format", "minItems", "maxItems", "uniqueItems", "enum", "default", "deprecated", "anyOf"}
)
_PLAIN_FORMATS = frozenset({"binary", "int32", "int64", "float", "double", "password", "uri", "url"})


def own_name(tool: Tool) -> str | None:
    """Whose tools the texts of `tool` may name, for `neutral`; the host's own functions may name any."""
    return None if tool.source == "python" else tool.name.partition(".")[0]


def comment(schema: Mapping[str, Any], limit: int, own: str | None, *, default: bool = True) -> str:
    """Limits, default and the first sentence of the description, in one line.

    Args:
        schema: The schema of a parameter or key, resolved.
        limit: The most characters of the sentence; with 0, nothing is said at all.
        own: See `oneturn.tools.text.neutral`.
        default: Whether to name the default.
    """
    if limit <= 0:
        return ""
    said = "" if _LIMITING.isdisjoint(schema) else ", ".join(_limits(schema, default=default))
    description = schema.get("description")
    if isinstance(description, str) and description.strip():
        sentence = first_sentence(description, limit, own)
        said = f"{said}; {sentence}" if said else sentence
    return one_line(said, len(said), own) if "tools." in said else said


def first_sentence(text: str, limit: int, own: str | None) -> str:
    """The first sentence of a text as one line, cut with `…`."""
    line = re.split(r"(?<=[.!?])\s", one_line(text[: 10 * limit], 10 * limit, own), maxsplit=1)[0]
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def in_docstring(text: str) -> str:
    """Text as it may stand between triple quotes: it can neither end them nor escape anything."""
    safe = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'{safe[:-1]}\\"' if safe.endswith('"') else safe


def indented(text: str, indent: str) -> str:
    """Every line but the first and empty ones with `indent` before it."""
    return "\n".join(f"{indent}{line}" if line and n else line for n, line in enumerate(text.split("\n")))


def value_text(value: object) -> str:
    """A scalar as Python writes it, or `...` when it is long, no scalar, or names a tool."""
    if isinstance(value, str):
        return quoted(value, _SHOWN) if len(value) <= _SHOWN and "tools." not in value else "..."
    if isinstance(value, int) and value.bit_length() > 128:
        return "..."
    if value is None or isinstance(value, int | float) or value in ([], {}):
        return repr(value)
    return "..."


def _limits(schema: Mapping[str, Any], *, default: bool) -> Iterable[str]:
    for branch in _branches(schema):  # an optional value carries its bounds in its one real branch
        if branch.get("type") != "null":
            schema = {**branch, **schema}
    if schema.get("deprecated") is True:
        yield "deprecated"
    yield from _range(schema, "minimum", "maximum", "")
    for word, sign in (("exclusiveMinimum", ">"), ("exclusiveMaximum", "<")):
        if _is_number(schema.get(word)):
            yield f"{sign} {value_text(schema[word])}"
    if _is_number(schema.get("multipleOf")):
        yield f"multiple of {value_text(schema['multipleOf'])}"
    yield from _range(schema, "minLength", "maxLength", " characters")
    for word in ("pattern", "format"):
        said = schema.get(word)
        if isinstance(said, str) and said not in _PLAIN_FORMATS:
            text = one_line(said, _SHOWN)
            yield f"pattern {text}" if word == "pattern" else text
    yield from _range(schema, "minItems", "maxItems", " items")
    if schema.get("uniqueItems") is True:
        yield "no duplicates"
    choices = schema.get("enum")
    if isinstance(choices, list) and len(choices) > 80:
        yield f"one of {', '.join(map(value_text, choices[:_CHOICES]))}, … {len(choices) - _CHOICES:,} more"
    if default and "default" in schema and value_text(schema["default"]) != "...":
        yield f"default {value_text(schema['default'])}"


def _range(schema: Mapping[str, Any], low: str, high: str, unit: str) -> Iterable[str]:
    least, most = schema.get(low), schema.get(high)
    if low != "minimum" and least == 0:
        least = None
    if _is_number(least) and _is_number(most):
        yield f"{value_text(least)}..{value_text(most)}{unit}"
    elif _is_number(least):
        yield f">= {value_text(least)}{unit}"
    elif _is_number(most):
        yield f"<= {value_text(most)}{unit}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value_text(value) != "..."


def _branches(schema: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    found = schema.get("anyOf")
    if not isinstance(found, list) or len(found) > _MAX_BRANCHES:
        return []
    branches = [each for each in found if isinstance(each, Mapping)]
    return branches if sum(each.get("type") != "null" for each in branches) == 1 else []


def docstring_parts(tool: Tool, limit: int) -> list[str]:
    """Description, effect, notes, examples and result rule, each safe between triple quotes."""
    own = own_name(tool)
    parts = [neutral(tool.description, limit, own)] if tool.description.strip() else []
    facts = [f"Effect: {tool.effect}"]
    if tool.original and tool.original not in (tool.name, tool.short_name):
        facts.append(f"Original name: {one_line(tool.original, 200, own)}")
    facts += [one_line(note, 200, own) for note in tool.notes[:_NOTES] if note.strip()]
    if rule := result_rule(tool):
        facts.append(f"Result: {rule}")
    parts.append("\n".join(facts))
    for example in tool.examples[:_EXAMPLES]:
        if example.strip():
            code = neutral(example, 400, own)
            parts.append("Example:\n" + "\n".join(f"    {line}".rstrip() for line in code.split("\n")))
    return [in_docstring(part) for part in parts if part]


def result_rule(tool: Tool) -> str:
    """How a result becomes a value, where its type does not tell."""
    if tool.results == "text":
        return "text, never parsed (results=text)"
    if tool.results == "json":
        return "parsed from JSON text (results=json)"
    if tool.output_schema is not None:
        return "" if tool.holds_output else "may differ from its declared shape"
    if tool.source == "python":
        return "not declared; what the function returns, as plain data"
    return "not declared; parsed JSON if the whole text is an object or array, else text"
