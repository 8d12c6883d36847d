"""The types of one tool, worked out once and kept for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ...types import Tool
from .schema_types import ANY, Arguments, Typed, argument_types, camel, value_type

_MAX_KEPT = 512  # tools


class Observed(Protocol):
    """What was seen of a tool's results: their shape as JSON Schema, and in how many calls."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """A JSON Schema that every result seen so far fits."""
        ...

    @property
    def calls(self) -> int:
        """How many results were seen."""
        ...


@dataclass(frozen=True, slots=True)
class ToolTypes:
    """What a tool takes, and what its source declares that it gives (`Any` when nothing)."""

    arguments: Arguments
    result: Typed


UNKNOWN = Typed(ANY, {})


def types_of(tool: Tool) -> ToolTypes:
    """The types of a tool; the last few hundred are kept."""
    kept = _kept.get(id(tool))
    if kept is not None and kept[0] is tool:
        return kept[1]
    made = read_types(tool)
    if len(_kept) >= _MAX_KEPT:
        _kept.clear()
    _kept[id(tool)] = (tool, made)
    return made


_kept: dict[int, tuple[Tool, ToolTypes]] = {}  # by identity, since a tool cannot be hashed


def read_types(tool: Tool) -> ToolTypes:
    """The types of a tool, worked out anew."""
    output = tool.output_schema
    result = UNKNOWN if output is None or tool.results == "text" else result_type(tool, output)
    return ToolTypes(argument_types(tool.input_schema), result)


def result_type(tool: Tool, schema: Mapping[str, Any]) -> Typed:
    """The type of results of this schema."""
    return value_type(schema, f"{camel(tool.short_name)}Result")
