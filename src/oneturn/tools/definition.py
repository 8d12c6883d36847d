"""Whether a tool is defined well enough to be offered: bounded, and with parameters a script can name.

Definitions come from strangers, and later parts walk, compare, compile and show them. So what is
too much is refused here, once, before anything else looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ToolDefinitionError
from ..types import Tool
from .names import parameter_names
from .schema import properties

MAX_SCHEMA = 200_000
"""Characters of one schema as JSON, shared parts counted as often as they appear."""

MAX_DEPTH = 100
"""Lists and objects inside one another in one schema."""

MAX_PARAMETERS = 500


def check_definition(tool: Tool) -> None:
    """Refuse what cannot be offered.

    Raises:
        ToolDefinitionError: A schema is too large, too deep or no object, or the parameters are
            too many, have unusable names, or collide.
    """
    for what, schema in (("input", tool.input_schema), ("output", tool.output_schema)):
        if schema is None and what == "output":
            continue
        if not isinstance(schema, Mapping):
            raise ToolDefinitionError(f"Its {what} schema is no JSON object; mend the schema.")
        _Meter(f"{what} schema").measure(schema, 0)
    count = len(properties(tool.input_schema))
    if count > MAX_PARAMETERS:
        raise ToolDefinitionError(
            f"It has {count:,} parameters, and {MAX_PARAMETERS} is the most; group them in objects."
        )
    parameter_names(tool.input_schema)


class _Meter:
    """Measures a schema without copying it; each part is looked at once, however often it is shared."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.seen: dict[int, tuple[int, int]] = {}  # size and height by identity

    def measure(self, value: Any, depth: int) -> tuple[int, int]:
        """Size in characters and levels of nesting; raises as soon as either is too much."""
        if isinstance(value, str | bytes):
            return len(value) + 2, 0
        if not isinstance(value, Mapping | list | tuple):
            return (value.bit_length() // 3 if isinstance(value, int) else 0) + 5, 0
        known = self.seen.get(id(value))
        if known is None:
            if depth >= MAX_DEPTH:
                raise self.too_deep()
            known = self.seen[id(value)] = self.expand(value, depth + 1)
        if depth + known[1] > MAX_DEPTH:
            raise self.too_deep()
        return known

    def expand(self, value: Any, depth: int) -> tuple[int, int]:
        size, height = 2, 0
        keyed = isinstance(value, Mapping)
        for part in value:
            inner, inside = self.measure(value[part] if keyed else part, depth)
            size += inner + 2 + (len(str(part)) + 4 if keyed else 0)
            height = max(height, inside)
            if size > MAX_SCHEMA:
                raise ToolDefinitionError(
                    f"Its {self.what} is larger than {MAX_SCHEMA:,} characters; make it smaller."
                )
        return size, height + 1

    def too_deep(self) -> ToolDefinitionError:
        return ToolDefinitionError(
            f"Its {self.what} is nested deeper than {MAX_DEPTH} levels, or contains itself; make it flatter."
        )
