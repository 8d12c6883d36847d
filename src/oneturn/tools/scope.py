"""What one caller may reach: deny by default, explicit allow.

A scope is worked out once from a catalog's tools and holds no way back to the rest: names,
nearest names and counts speak of the tools in scope only. All it keeps of the others is which
names exist, so that "not allowed" can be told from "no such tool". One thing is asked anew at every
look: whether a tool is held, because its definition changed after the scope was made.
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
from typing import Literal, Protocol

from ..errors import ConfigError
from ..types import Tool
from .names import RESERVED
from .pins import Held

Status = Literal["allowed", "forbidden", "unknown", "held", "new", "outdated"]
"""How a name stands: `held` is in scope and changed its definition, `new` is in scope and was never
accepted, `outdated` was accepted with another definition after the scope was made."""

_SEPARATORS = re.compile(r"[,\s]+")
_GLOB = re.compile(r"[*?\[]")
_ALL = 400  # up to so many names, each is compared with a mistyped one
_NEIGHBOURS = 50  # in a larger scope: names looked at on each side of its place in sorted order


AllowLike = str | Iterable[str] | None
"""An allow-list as users write it."""


@dataclass(frozen=True, slots=True)
class Allow:
    """A parsed allow-list: exact dotted names, and globs such as `github.*` or `*`."""

    names: frozenset[str] = frozenset()
    globs: tuple[re.Pattern[str], ...] = ()
    patterns: tuple[str, ...] = ()
    """As they were given: what `of` makes the same list of."""

    @classmethod
    def of(cls, patterns: AllowLike) -> Allow:
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
            tuple(sorted(set(cleaned))),
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


class Watch(Protocol):
    """Says at any time how tools stand now. A catalog does."""

    @property
    def version(self) -> int:
        """Grows with every change."""
        ...

    @property
    def held(self) -> Mapping[str, Held]:
        """The tools that are held, by name."""
        ...

    def outdated(self, name: str, version: int) -> bool:
        """Whether this tool was something else at an earlier version."""
        ...


class Scope:
    """The tools one caller may reach: those that every one of `allows` matches; with none, no tool.

    Args:
        catalog_tools: Every tool that is offered.
        allows: The allow-lists.
        watch: What to ask which tools are held; without it, none ever is.
    """

    def __init__(
        self, catalog_tools: Sequence[Tool], allows: Sequence[Allow], watch: Watch | None = None
    ) -> None:
        self._allows = tuple(allows)
        self._watch = watch
        self._version = watch.version if watch is not None else 0
        held = [each.tool for each in watch.held.values()] if watch is not None else []
        inside = [tool for tool in catalog_tools if self._permits(tool.name)]
        self.tools: tuple[Tool, ...] = tuple(sorted(inside, key=lambda tool: tool.name))
        self._by_name = {tool.name: tool for tool in self.tools}
        self._by_short: dict[str, list[Tool]] = {}
        for tool in self.tools:
            self._by_short.setdefault(tool.short_name, []).append(tool)
        # A held tool keeps its short name: the same word must not come to mean another tool meanwhile.
        self._held_short: dict[str, list[str]] = {}
        for tool in held:
            if self._permits(tool.name):
                self._held_short.setdefault(tool.short_name, []).append(tool.name)
        outside = [tool for tool in (*catalog_tools, *held) if not self._permits(tool.name)]
        self._outside = frozenset(name for tool in outside for name in (tool.name, tool.short_name))

    def _permits(self, name: str) -> bool:
        return bool(self._allows) and all(allow.matches(name) for allow in self._allows)

    def _means(self, name: str) -> str | None:
        """The full name in scope, held or not, that this dotted or short name stands for."""
        if name in self._by_name:
            return name
        sharing = [tool.name for tool in self._by_short.get(name, ())[:2]] + self._held_short.get(name, [])
        if len(sharing) == 1:
            return sharing[0]
        watch = self._watch
        return name if watch is not None and name in watch.held and self._permits(name) else None

    def _standing(self, name: str) -> Status:
        """How a tool stands that is or was in scope, by its full name."""
        watch = self._watch
        if watch is not None:
            held = watch.held.get(name)
            if held is not None:
                return "held" if held.reason == "changed" else "new"
            if watch.outdated(name, self._version):
                return "outdated"
        return "allowed" if name in self._by_name else "unknown"

    def get(self, name: str) -> Tool | None:
        """The tool in scope of this dotted name, or of this short name when only one has it.

        None for a tool that is held now, also when it was not when this scope was made.
        """
        full = self._means(name.removeprefix("tools."))
        return self._by_name[full] if full is not None and self._standing(full) == "allowed" else None

    def status(self, name: str) -> Status:
        """Whether `name` is a tool in scope, a tool outside it, or no tool (or not exactly one)."""
        name = name.removeprefix("tools.")
        full = self._means(name)
        if full is not None:
            return self._standing(full)
        ours = name in self._by_short or name in self._held_short
        return "forbidden" if name in self._outside and not ours else "unknown"

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
        return [name for name in dict.fromkeys(order) if self._standing(name) == "allowed"][:n]

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
