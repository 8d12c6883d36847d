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

MAX_BESIDE = 50_000
"""Characters of labels, notes and examples together."""

_MAX_DIGITS = 4_000  # of one number; Python itself refuses to write out much longer ones
_SHARED = ("$defs", "definitions")  # words whose parts the schemas of a source often have in common
_CONTAINERS = (dict, list, tuple, Mapping)


def check_definition(tool: Tool) -> None:
    """Refuse one tool that cannot be offered. Raises as `Checker.check` does."""
    Checker().check(tool)


class Checker:
    """Refuses what cannot be offered. Made for one listing: parts its schemas share are measured once.

    Sizes of shared parts are known by identity, so the tools must stay alive as long as it does.
    """

    def __init__(self) -> None:
        self._shared: dict[int, tuple[int, int]] = {}

    def check(self, tool: Tool) -> None:
        """Refuse a tool that cannot be offered.

        Raises:
            ToolDefinitionError: A schema is too large, too deep or no object, the parameters are
                too many, have unusable names, or collide, or there is too much beside them.
        """
        for what, schema in (("input", tool.input_schema), ("output", tool.output_schema)):
            if schema is None and what == "output":
                continue
            if not isinstance(schema, Mapping):
                raise ToolDefinitionError(f"Its {what} schema is no JSON object; mend the schema.")
            self._check_schema(schema, f"{what} schema")
        beside = sum(map(len, (*tool.labels, *tool.notes, *tool.examples)))
        if beside > MAX_BESIDE:
            raise ToolDefinitionError(
                f"Its labels, notes and examples have {beside:,} characters, and {MAX_BESIDE:,} is the most; "
                "make them shorter."
            )
        count = len(properties(tool.input_schema))
        if count > MAX_PARAMETERS:
            raise ToolDefinitionError(
                f"It has {count:,} parameters, and {MAX_PARAMETERS} is the most; group them in objects."
            )
        parameter_names(tool.input_schema)

    def _check_schema(self, schema: Mapping[str, Any], what: str) -> None:
        shared = [part for key in _SHARED if isinstance(part := schema.get(key), Mapping)]
        if not shared:
            _measure(schema, what, 0)
            return
        size, _ = _measure({key: part for key, part in schema.items() if key not in _SHARED}, what, 0)
        for parts in shared:
            for name, part in parts.items():
                known = self._shared.get(id(part))
                if known is None:
                    known = self._shared[id(part)] = _measure([part], what, 1)
                elif known[1] + 1 > MAX_DEPTH:
                    raise _too_deep(what)
                size += known[0] + _length(name)
                if size > MAX_SCHEMA:
                    raise _too_large(what)


def _measure(value: Mapping[str, Any] | list[Any], what: str, depth: int) -> tuple[int, int]:
    """Size in characters and levels of nesting, worked out level by level; raises when either is too much.

    Every level is as wide as if shared parts stood there in full, and is counted before it is looked
    at, so that neither a cycle nor a part that is shared a billion times takes long.
    """
    size, height = 0, 0
    level: list[Any] = [value]
    while level:
        height += 1
        size += 2 * len(level) + 4 * sum(map(len, level))
        if size > MAX_SCHEMA:
            raise _too_large(what)
        if depth + height > MAX_DEPTH:
            raise _too_deep(what)
        parts: list[Any] = []
        for each in level:
            if isinstance(each, Mapping):
                parts += each
                parts += each.values()
            else:
                parts += each
        size += sum([len(part) for part in parts if type(part) is str])
        others = [part for part in parts if type(part) is not str]
        level = [part for part in others if isinstance(part, _CONTAINERS)]
        size += sum(map(_length, others))
    if size > MAX_SCHEMA:
        raise _too_large(what)
    return size, height


def _length(value: Any) -> int:
    """Characters of a key or a value that is no container; what is in those is counted level by level."""
    if isinstance(value, int):
        return 2 if value.bit_length() < 3 * _MAX_DIGITS else MAX_SCHEMA
    return len(value) if isinstance(value, str | bytes) else 2


def _too_large(what: str) -> ToolDefinitionError:
    return ToolDefinitionError(f"Its {what} is larger than {MAX_SCHEMA:,} characters; make it smaller.")


def _too_deep(what: str) -> ToolDefinitionError:
    return ToolDefinitionError(
        f"Its {what} is nested deeper than {MAX_DEPTH} levels, or contains itself; make it flatter."
    )
