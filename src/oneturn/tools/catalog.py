"""All tools there are, under names that are valid Python and unique.

A catalog changes by whole sources: `replace` works out every name first and swaps one snapshot
for the next, so a reader never sees half a change and a refused change leaves all as it was.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar, get_args

from ..errors import ConfigError, ToolDefinitionError
from ..types import Effect, ResultRule, Tool
from .names import RESERVED, dotted, parameter_names

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
        self._now = _Snapshot(0, MappingProxyType({}), MappingProxyType({}), ())

    @property
    def version(self) -> int:
        """Grows by one with every change."""
        return self._now.version

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Every tool, sorted by name."""
        return self._now.tools

    def get(self, name: str) -> Tool | None:
        """The tool of this dotted name."""
        return self._now.by_name.get(name)

    def replace(self, source: str, tools: Sequence[Tool], namespace: str = "") -> None:
        """Make `tools` all that `source` offers.

        With a namespace, each tool's own name becomes one identifier in it. Without one, the dots
        of a tool's own name are its namespaces. `Tool.original` keeps the source's spelling.

        Raises:
            ToolDefinitionError: A name is empty, reserved or taken. Nothing was changed.
        """
        if source in RESERVED:
            raise ToolDefinitionError(
                f"A source cannot be called {source!r}: scripts already have that name."
            )
        placed = tuple(self._place(tool, namespace) for tool in tools)
        if placed != self._now.sources.get(source, ()):
            self._swap({**self._now.sources, source: placed})

    def remove(self, source: str) -> None:
        """Forget every tool of `source`; nothing happens when it has none."""
        if source in self._now.sources:
            self._swap({name: tools for name, tools in self._now.sources.items() if name != source})

    def _place(self, tool: Tool, namespace: str) -> Tool:
        if namespace:
            name = dotted(namespace, tool.name)
        else:
            own, _, short = tool.name.rpartition(".")
            name = dotted(own, short)
        try:
            parameter_names(tool.input_schema)
        except ToolDefinitionError as error:
            raise ToolDefinitionError(f"{name} cannot be offered. {error}") from None
        effect = self._effects.find(name)
        return dataclasses.replace(
            tool,
            name=name,
            original=tool.original or tool.name,
            effect=effect or tool.effect,
            effect_from="configuration" if effect else tool.effect_from,
            results=self._results.find(name) or tool.results,
        )

    def _swap(self, sources: Mapping[str, tuple[Tool, ...]]) -> None:
        by_name = _unique(sources)
        self._now = _Snapshot(
            self._now.version + 1,
            MappingProxyType(dict(sources)),
            MappingProxyType(by_name),
            tuple(by_name[name] for name in sorted(by_name)),
        )


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
