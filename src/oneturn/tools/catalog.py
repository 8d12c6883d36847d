"""All tools there are, under names that are valid Python and unique.

A catalog changes by whole sources: `replace` works out every name first and swaps one snapshot
for the next, so a reader never sees half a change and a refused change leaves all as it was.
A tool that is unusable in itself is left out, with the reason in `dropped`; the rest of its source
is offered. A name that two tools want is nobody's to give, and refuses the change.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar, get_args

from ..errors import ConfigError, ToolDefinitionError
from ..types import Effect, ResultRule, Tool
from .definition import check_definition
from .names import RESERVED, dotted
from .text import one_line

log = logging.getLogger("oneturn.tools")

_MAX_DESCRIPTION = 20_000  # characters kept of a description; nobody is shown more than a part of it
_LOGGED = 5  # tools left out of one source that are named in the log

Setting = TypeVar("Setting", bound=str)


class Overrides(Generic[Setting]):
    """An operator's settings by tool name: globs, of which the most specific one decides.

    An exact name goes before any glob, and a longer glob before a shorter one.
    """

    def __init__(self, what: str, choices: Iterable[str], settings: Mapping[str, Setting]) -> None:
        """Raises ConfigError when a setting is not one of `choices`."""
        known = tuple(choices)
        for pattern, setting in settings.items():
            if setting not in known:
                raise ConfigError(f"{what}[{pattern!r}] is {setting!r}; use one of {', '.join(known)}.")
        patterns = {pattern.removeprefix("tools."): setting for pattern, setting in settings.items()}
        self._exact = patterns
        self._globs = [
            (re.compile(fnmatch.translate(pattern)), patterns[pattern])
            for pattern in sorted(patterns, key=lambda each: (-len(each), each))
        ]

    def find(self, name: str) -> Setting | None:
        """The setting for a dotted tool name, or None."""
        if name in self._exact:
            return self._exact[name]
        return next((setting for glob, setting in self._globs if glob.match(name)), None)


@dataclasses.dataclass(frozen=True, slots=True)
class _Snapshot:
    version: int
    sources: Mapping[str, tuple[Tool, ...]]
    dropped: Mapping[str, Mapping[str, str]]
    by_name: Mapping[str, Tool]
    tools: tuple[Tool, ...]


class Catalog:
    """Every tool of every source.

    Args:
        effects: Effects an operator sets, by name or glob (`github.*`); they win over what the
            source says.
        results: Result rules an operator sets, by name or glob.

    Raises:
        ConfigError: An effect or result rule does not exist.
    """

    def __init__(
        self,
        *,
        effects: Mapping[str, Effect] | None = None,
        results: Mapping[str, ResultRule] | None = None,
    ) -> None:
        self._effects: Overrides[Effect] = Overrides("effects", get_args(Effect), effects or {})
        self._results: Overrides[ResultRule] = Overrides("results", get_args(ResultRule), results or {})
        self._now = _Snapshot(0, {}, {}, {}, ())

    @property
    def version(self) -> int:
        """Grows by one with every change."""
        return self._now.version

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Every tool, sorted by name."""
        return self._now.tools

    @property
    def dropped(self) -> Mapping[str, str]:
        """Tools that are not offered, as `source.original`, each with the reason."""
        return {name: reason for found in self._now.dropped.values() for name, reason in found.items()}

    def get(self, name: str) -> Tool | None:
        """The tool of this dotted name."""
        return self._now.by_name.get(name)

    def replace(self, source: str, tools: Sequence[Tool], namespace: str = "") -> None:
        """Make `tools` all that `source` offers.

        With a namespace, each tool's own name becomes one identifier in it. Without one, the dots
        of a tool's own name are its namespaces. `Tool.original` keeps the source's spelling, and
        `Tool.source` becomes `source`, whatever the tool says itself. A tool whose own name or
        schema cannot be used is left out, see `dropped`.

        Raises:
            ToolDefinitionError: Two tools want one name, or the source or the namespace cannot be
                called so. Nothing was changed.
        """
        if source in RESERVED:
            raise ToolDefinitionError(
                f"A source cannot be called {source!r}: scripts already have that name."
            )
        if namespace:
            dotted(namespace, "tool")
        placed: list[Tool] = []
        dropped: dict[str, str] = {}
        for tool in tools:
            try:
                placed.append(self._place(tool, source, namespace))
            except ToolDefinitionError as error:
                dropped[f"{source}.{one_line(tool.original or tool.name, 100)}"] = str(error)
        before = self._now
        if dropped != before.dropped.get(source, {}) or tuple(placed) != before.sources.get(source, ()):
            self._swap({**before.sources, source: tuple(placed)}, {**before.dropped, source: dropped})
            _log(source, dropped)

    def remove(self, source: str) -> None:
        """Forget every tool of `source`; nothing happens when it has none."""
        if source in self._now.sources:
            kept = {name: tools for name, tools in self._now.sources.items() if name != source}
            self._swap(kept, {name: self._now.dropped[name] for name in kept})

    def _place(self, tool: Tool, source: str, namespace: str) -> Tool:
        if namespace:
            name = dotted(namespace, tool.name)
        else:
            own, _, short = tool.name.rpartition(".")
            name = dotted(own, short)
        check_definition(tool)
        effect = self._effects.find(name)
        return dataclasses.replace(
            tool,
            name=name,
            description=_cut(tool.description),
            original=tool.original or tool.name,
            source=source,
            effect=effect or tool.effect,
            effect_from="configuration" if effect else tool.effect_from,
            results=self._results.find(name) or tool.results,
        )

    def _swap(
        self, sources: Mapping[str, tuple[Tool, ...]], dropped: Mapping[str, Mapping[str, str]]
    ) -> None:
        by_name = _unique(sources)
        self._now = _Snapshot(
            self._now.version + 1,
            MappingProxyType(dict(sources)),
            MappingProxyType(dict(dropped)),
            MappingProxyType(by_name),
            tuple(by_name[name] for name in sorted(by_name)),
        )


def _cut(description: str) -> str:
    if len(description) <= _MAX_DESCRIPTION:
        return description
    return f"{description[:_MAX_DESCRIPTION]}… ({len(description) - _MAX_DESCRIPTION:,} more characters)"


def _log(source: str, dropped: Mapping[str, str]) -> None:
    if dropped:
        named = [f"{name}: {reason}" for name, reason in list(dropped.items())[:_LOGGED]]
        log.warning("Left out of source %s, %d in all: %s", source, len(dropped), " ".join(named))


def _unique(sources: Mapping[str, tuple[Tool, ...]]) -> dict[str, Tool]:
    by_name: dict[str, Tool] = {}
    owners: dict[str, str] = {}
    for source, tools in sources.items():
        for tool in tools:
            other = by_name.get(tool.name)
            if other is not None:
                raise ToolDefinitionError(
                    f"{other.original!r} of source {owners[tool.name]!r} and {tool.original!r} of source "
                    f"{source!r} would both be called {tool.name!r}; rename one, or give one source "
                    "another namespace."
                )
            by_name[tool.name] = tool
            owners[tool.name] = source
    for name, tool in by_name.items():
        outer = tool.namespace
        while outer:
            if outer in by_name:
                raise ToolDefinitionError(
                    f"{by_name[outer].original!r} of source {owners[outer]!r} would be called {outer!r}, "
                    f"which is also the namespace of {name!r} of source {owners[name]!r}; "
                    "rename the tool, or give one source another namespace."
                )
            outer = outer.rpartition(".")[0]
    return by_name
