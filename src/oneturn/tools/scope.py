"""What one caller may reach: deny by default, explicit allow.

A scope is worked out once from a catalog's tools and holds no way back to the rest: names,
nearest names and counts speak of the tools in scope only. All it keeps of the others is which
names exist, so that "not allowed" can be told from "no such tool".
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ..errors import ConfigError
from ..types import Tool
from .names import RESERVED

Status = Literal["allowed", "forbidden", "unknown"]

_SEPARATORS = re.compile(r"[,\s]+")
_GLOB = re.compile(r"[*?\[]")
_ALL = 400  # up to so many names, each is compared with a mistyped one
_NEIGHBOURS = 50  # in a larger scope: names looked at on each side of its place in sorted order


@dataclass(frozen=True, slots=True)
class Allow:
    """A parsed allow-list: exact dotted names, and globs such as `github.*` or `*`."""

    names: frozenset[str] = frozenset()
    globs: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, patterns: str | Iterable[str] | None) -> Allow:
        """Parse an allow-list. None and an empty list allow nothing.

        Args:
            patterns: Names and globs; a text holds several, separated by commas or blanks. A
                leading `tools.` is dropped.

        Raises:
            ConfigError: An entry is not text, or names `tools` or `runtime` themselves.
        """
        if patterns is None:
            return cls()
        entries = _SEPARATORS.split(patterns) if isinstance(patterns, str) else list(patterns)
        cleaned = [entry for entry in map(_clean, entries) if entry]
        globs = sorted({entry for entry in cleaned if _GLOB.search(entry)})
        return cls(
            frozenset(entry for entry in cleaned if not _GLOB.search(entry)),
            tuple(re.compile(fnmatch.translate(glob)) for glob in globs),
        )

    def matches(self, name: str) -> bool:
        """Whether this list allows the tool of this dotted name."""
        return name in self.names or any(glob.match(name) for glob in self.globs)


def _clean(entry: object) -> str:
    if not isinstance(entry, str):
        raise ConfigError(f"An allow-list holds tool names and globs as text, not {type(entry).__name__}.")
    pattern = entry.strip().removeprefix("tools.")
    if pattern.partition(".")[0] in RESERVED:
        raise ConfigError(
            f"The allow-list entry {entry.strip()!r} names no tool; "
            "name tools such as 'github.create_issue' or 'github.*'."
        )
    return pattern


def allow_from_env(environ: Mapping[str, str]) -> Allow | None:
    """The allow-list in `ONETURN_ALLOW`: None when it is not set, one that allows nothing when empty.

    Raises:
        ConfigError: An entry names `tools` or `runtime` themselves.
    """
    text = environ.get("ONETURN_ALLOW")
    return None if text is None else Allow.of(text)


class Scope:
    """The tools one caller may reach: those that every one of `allows` matches; with none, no tool."""

    def __init__(self, catalog_tools: Sequence[Tool], allows: Sequence[Allow]) -> None:
        inside = [
            tool for tool in catalog_tools if allows and all(allow.matches(tool.name) for allow in allows)
        ]
        self.tools: tuple[Tool, ...] = tuple(sorted(inside, key=lambda tool: tool.name))
        self._by_name = {tool.name: tool for tool in self.tools}
        self._by_short: dict[str, list[Tool]] = {}
        for tool in self.tools:
            self._by_short.setdefault(tool.short_name, []).append(tool)
        outside = [tool for tool in catalog_tools if tool.name not in self._by_name]
        self._outside = frozenset(name for tool in outside for name in (tool.name, tool.short_name))

    def get(self, name: str) -> Tool | None:
        """The tool in scope of this dotted name, or of this short name when only one has it."""
        name = name.removeprefix("tools.")
        tool = self._by_name.get(name)
        if tool is None:
            sharing = self._by_short.get(name, [])
            tool = sharing[0] if len(sharing) == 1 else None
        return tool

    def status(self, name: str) -> Status:
        """Whether `name` is a tool in scope, a tool outside it, or no tool (or not exactly one)."""
        if self.get(name) is not None:
            return "allowed"
        name = name.removeprefix("tools.")
        return "forbidden" if name in self._outside and name not in self._by_short else "unknown"

    def nearest(self, name: str, n: int = 3) -> list[str]:
        """Up to `n` full names in scope that look like `name`, the likeliest first.

        In a scope of many tools only the alphabetical neighbours are compared, from both ends of
        the name, so that a mistyped name costs the same however many tools there are.
        """
        wanted = name.removeprefix("tools.")[:200]
        full = self._full_spelling.close(wanted, n)
        short = self._short_spelling.close(wanted.rpartition(".")[2], n)
        by_short = [tool.name for each in short for tool in self._by_short[each][:n]]
        order = full + by_short if "." in wanted else by_short + full
        return list(dict.fromkeys(order))[:n]

    @cached_property
    def _full_spelling(self) -> _Spelling:
        return _Spelling(self._by_name)

    @cached_property
    def _short_spelling(self) -> _Spelling:
        return _Spelling(self._by_short)

    def namespaces(self) -> dict[str, int]:
        """Each namespace in scope with the number of tools directly in it, sorted by name."""
        return dict(sorted(Counter(tool.namespace for tool in self.tools if tool.namespace).items()))

    @cached_property
    def top_level(self) -> frozenset[str]:
        """The names directly under `tools`: tools without a namespace, and outermost namespaces."""
        return frozenset(tool.name.partition(".")[0] for tool in self.tools)

    def mentioned(self, identifiers: frozenset[str]) -> frozenset[str]:
        """Full names of the tools in scope whose short name is among `identifiers`."""
        return frozenset(tool.name for word in identifiers for tool in self._by_short.get(word, ()))


class _Spelling:
    """Names in two sorted orders, so that the likely targets of a typo are found without a full scan."""

    def __init__(self, names: Iterable[str]) -> None:
        self.forwards = sorted(names)
        self.backwards = sorted(name[::-1] for name in self.forwards)

    def close(self, wanted: str, n: int) -> list[str]:
        if len(self.forwards) <= _ALL:
            candidates = self.forwards
        else:
            by_end = [name[::-1] for name in _around(self.backwards, wanted[::-1])]
            candidates = list(dict.fromkeys(_around(self.forwards, wanted) + by_end))
        return difflib.get_close_matches(wanted, candidates, n)


def _around(ordered: list[str], wanted: str) -> list[str]:
    place = bisect_left(ordered, wanted)
    return ordered[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
