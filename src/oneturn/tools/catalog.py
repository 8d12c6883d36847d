"""All tools there are, under names that are valid Python and unique.

A catalog changes by whole sources: `replace` works out every name first and swaps one snapshot
for the next, so a reader never sees half a change and a refused change leaves all as it was.
A tool that is unusable in itself is left out, with the reason in `dropped`; the rest of its source
is offered. A tool whose definition is not the accepted one is `held`: it keeps its name, and is
offered only once somebody accepts it. A name that two tools want is nobody's to give, and refuses
the change.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import Generic, TypeVar, get_args

from ..errors import ConfigError, ToolDefinitionError
from ..types import Effect, ResultRule, Tool
from .definition import Checker
from .names import RESERVED, dotted
from .pins import Held, Pinned, Pins
from .schema import properties
from .text import one_line

log = logging.getLogger("oneturn.tools")

_MAX_DESCRIPTION = 20_000  # characters kept of a description; nobody is shown more than a part of it
_LOGGED = 5  # tools left out of one source that are named in the log

Setting = TypeVar("Setting", bound=str | bool)


class Overrides(Generic[Setting]):
    """An operator's settings by tool name: globs, of which the most specific one decides.

    An exact name goes before any glob, and a longer glob before a shorter one.
    """

    def __init__(self, what: str, choices: Iterable[Setting], settings: Mapping[str, Setting]) -> None:
        """Raises ConfigError when a setting is not one of `choices`."""
        known = tuple(choices)
        for pattern, setting in settings.items():
            if not any(type(setting) is type(each) and setting == each for each in known):  # 1 is not True
                words = ", ".join(map(str, known))
                raise ConfigError(f"{what}[{pattern!r}] is {setting!r}; use one of {words}.")
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


class _Notes:
    """Notes an operator adds by tool name: those of every pattern that matches."""

    def __init__(self, settings: Mapping[str, Sequence[str]]) -> None:
        for pattern, notes in settings.items():
            if isinstance(notes, str) or not all(isinstance(note, str) for note in notes):
                raise ConfigError(f"notes[{pattern!r}] is {notes!r}; write a list of texts.")
        patterns = {pattern.removeprefix("tools."): tuple(notes) for pattern, notes in settings.items()}
        self._exact = patterns
        self._globs = [
            (pattern, re.compile(fnmatch.translate(pattern)), patterns[pattern])
            for pattern in sorted(patterns, key=lambda each: (len(each), each))
        ]

    def find(self, name: str) -> tuple[str, ...]:
        """The notes for a dotted tool name: of short globs, of longer ones, of the name itself."""
        by_glob = [notes for pattern, glob, notes in self._globs if pattern != name and glob.match(name)]
        return tuple(note for notes in [*by_glob, self._exact.get(name, ())] for note in notes)


@dataclasses.dataclass(frozen=True, slots=True)
class _Placed:
    """A tool as its source gave it, as it is defined under its full name, and as it is offered."""

    given: Tool
    defined: Tool
    offered: Tool


@dataclasses.dataclass(frozen=True, slots=True)
class _Listing:
    """All that one source offers."""

    namespace: str = ""
    placed: tuple[_Placed, ...] = ()
    dropped: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def defined(self) -> tuple[Tool, ...]:
        return tuple(each.defined for each in self.placed)


@dataclasses.dataclass(frozen=True)
class _Snapshot:
    """`named` has every definition, held or not; `namespaces` how many tools are in each or below it;
    `changed` the version at which a tool that had been offered stopped being what it was."""

    version: int = 0
    listings: Mapping[str, _Listing] = dataclasses.field(default_factory=dict)
    named: Mapping[str, Tool] = dataclasses.field(default_factory=dict)
    namespaces: Mapping[str, int] = dataclasses.field(default_factory=dict)
    by_name: Mapping[str, Tool] = dataclasses.field(default_factory=dict)
    held: Mapping[str, Held] = dataclasses.field(default_factory=dict)
    changed: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        return tuple(self.by_name[name] for name in sorted(self.by_name))


class Catalog:
    """Every tool of every source.

    Args:
        effects: Effects an operator sets, by name or glob (`github.*`); they win over what the
            source says.
        results: Result rules an operator sets, by name or glob.
        idempotent: By name or glob: whether the same call sent again has no further effect; wins likewise.
        notes: Notes an operator adds to the tools' own, by name or glob; all that match are added.
        pins: What says which definitions are accepted; without it, they are trusted as first seen.

    Raises:
        ConfigError: An effect or result rule does not exist, a rule is neither true nor false, or notes are
            no list of texts.
    """

    def __init__(
        self,
        *,
        effects: Mapping[str, Effect] | None = None,
        results: Mapping[str, ResultRule] | None = None,
        notes: Mapping[str, Sequence[str]] | None = None,
        idempotent: Mapping[str, bool] | None = None,
        pins: Pins | None = None,
    ) -> None:
        self._effects: Overrides[Effect] = Overrides("effects", get_args(Effect), effects or {})
        self._results: Overrides[ResultRule] = Overrides("results", get_args(ResultRule), results or {})
        self._idempotent: Overrides[bool] = Overrides("idempotent", (True, False), idempotent or {})
        self._notes = _Notes(notes or {})
        self.pins = pins if pins is not None else Pins()
        self._now = _Snapshot()

    @property
    def version(self) -> int:
        """Grows by one with every change."""
        return self._now.version

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Every tool that is offered, sorted by name."""
        return self._now.tools

    @property
    def held(self) -> Mapping[str, Held]:
        """Tools that are not offered until somebody accepts their definitions, by name."""
        return self._now.held

    @property
    def dropped(self) -> Mapping[str, str]:
        """Tools that are not offered, as `source.original`, each with the reason."""
        listings = self._now.listings.values()
        return {name: reason for listing in listings for name, reason in listing.dropped.items()}

    def get(self, name: str) -> Tool | None:
        """The tool of this dotted name, when it is offered."""
        return self._now.by_name.get(name)

    def pin(self, name: str) -> str | None:
        """Hash of the definition of this tool, held or not, as its source gives it; None without one.

        `Tool.pin` of an offered tool differs from it where an operator set an effect or notes.
        """
        defined = self._now.named.get(name)
        return defined.pin if defined is not None else None

    def outdated(self, name: str, version: int) -> bool:
        """Whether this tool was something else at an earlier version of the catalog."""
        return self._now.changed.get(name, 0) > version

    # --- changes

    def begin(self) -> None:
        """Start a session: what sources list from now on is trusted as first seen, or as it is locked."""
        self.pins.begin()

    def replace(
        self,
        source: str,
        tools: Sequence[Tool],
        namespace: str = "",
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        """Make `tools` all that `source` offers.

        With a namespace, each tool's own name becomes one identifier in it. Without one, the dots
        of a tool's own name are its namespaces. `Tool.original` keeps the source's spelling, and
        `Tool.source` becomes `source`, whatever the tool says itself. A tool whose own name or
        schema cannot be used is left out, see `dropped`; one whose definition is not the accepted
        one is held, see `held`. `left_out` is what the source could not even make a tool of, with
        the reasons; it is in `dropped` too.

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
        before = self._now.listings.get(source)
        listing = self._listing(tools, source, namespace, before, left_out or {})
        self._swap(source, listing)
        if before is None or listing.dropped != before.dropped:
            # What a source left out by itself is no news at every start; `dropped` has it.
            _log(source, dict(islice(listing.dropped.items(), len(left_out or {}), None)))

    def remove(self, source: str) -> None:
        """Forget every tool of `source`; nothing happens when it has none."""
        if source in self._now.listings:
            self._swap(source, None)

    def recheck(self) -> None:
        """Judge every definition anew, after what is accepted has changed."""
        for source, listing in self._now.listings.items():
            self._swap(source, listing)

    def accept(self, names: Iterable[str], *, pins: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Put the definitions of held tools in force, at once; in the lock file if it names their source.

        Args:
            names: Held tools.
            pins: What was looked at, by name: a tool that is defined otherwise by now is refused.

        Returns:
            The names, each once and sorted.

        Raises:
            ConfigError: A name is not held, or the lock file cannot be written. Nothing was accepted.
        """
        chosen = sorted({name.removeprefix("tools.") for name in names})
        held = self._now.held
        for name in chosen:
            if name not in held:
                raise ConfigError(f"{name} is not held; `oneturn tools diff` shows what is.")
            if pins is not None and pins.get(name, held[name].pin) != held[name].pin:
                raise ConfigError(f"{name} has changed again since it was looked at; look at it once more.")
        self.pins.accept(held[name] for name in chosen)
        self.recheck()
        return tuple(chosen)

    def lock(self, sources: Iterable[str] | None = None) -> Pinned:
        """Pin every tool of these sources, or of all, that has no pin yet, in the lock file.

        Raises:
            ConfigError: A source offers nothing here, or there is no lock file or it cannot be written.
        """
        listings = self._now.listings
        chosen = list(listings) if sources is None else list(sources)
        for source in chosen:
            if source not in listings:
                raise ConfigError(f"There is no source {source!r}; there are: {', '.join(listings)}.")
        found = self.pins.pin({source: listings[source].defined for source in chosen}, self._now.held)
        self.recheck()
        return found

    # --- how

    def _listing(
        self,
        tools: Sequence[Tool],
        source: str,
        namespace: str,
        before: _Listing | None,
        left_out: Mapping[str, str],
    ) -> _Listing:
        known: dict[str, _Placed] = {}
        if before is not None and before.namespace == namespace:
            known = {each.given.name: each for each in before.placed}
        checker = Checker()
        placed: list[_Placed] = []
        dropped = {f"{source}.{one_line(name, 100)}": reason for name, reason in left_out.items()}
        for tool in tools:
            found = known.get(tool.name)
            if found is None or not _same(found.given, tool):
                try:
                    found = self._place(tool, source, namespace, checker)
                except ToolDefinitionError as error:
                    dropped[f"{source}.{one_line(tool.original or tool.name, 100)}"] = str(error)
                    continue
            placed.append(found)
        return _Listing(namespace, tuple(placed), dropped)

    def _place(self, tool: Tool, source: str, namespace: str, checker: Checker) -> _Placed:
        if namespace:
            name = dotted(namespace, tool.name)
        else:
            own, _, short = tool.name.rpartition(".")
            name = dotted(own, short)
        checker.check(tool)
        defined = dataclasses.replace(
            tool,
            name=name,
            description=_cut(tool.description),
            original=tool.original or tool.name,
            source=source,
        )
        effect, results, notes = self._effects.find(name), self._results.find(name), self._notes.find(name)
        idempotent = self._idempotent.find(name)
        if not (effect or results or notes or idempotent is not None):
            return _Placed(tool, defined, defined)
        offered = dataclasses.replace(
            defined,
            effect=effect or tool.effect,
            effect_from="configuration" if effect else tool.effect_from,
            results=results or tool.results,
            notes=tuple(dict.fromkeys(tool.notes + notes)),
            idempotent=tool.idempotent if idempotent is None else idempotent,
        )
        return _Placed(tool, defined, offered)

    def _swap(self, source: str, listing: _Listing | None) -> None:
        """Take over what one source offers; one snapshot takes the place of the other."""
        before = self._now
        old = before.listings.get(source)
        now = listing or _Listing()
        named, namespaces = _names(before, old or _Listing(), now.placed)
        found = self.pins.check(source, now.defined)
        if (
            old is not None
            and listing is not None
            and _equal(old, listing)
            and found == _held(before, source)
        ):
            return
        version = before.version + 1
        by_name, changed = dict(before.by_name), dict(before.changed)
        for each in old.placed if old else ():
            by_name.pop(each.defined.name, None)
        for each in now.placed:
            name = each.defined.name
            if name not in found:
                by_name[name] = each.offered
            elif found[name].reason == "changed" and name not in before.held:
                changed[name] = version
            if name in before.by_name and before.named[name] is not each.defined:
                changed[name] = version
        listings = {name: kept for name, kept in before.listings.items() if name != source}
        if listing is not None:
            listings[source] = listing
        others = {name: held for name, held in before.held.items() if held.tool.source != source}
        held = MappingProxyType({**others, **found})
        self._now = _Snapshot(version, listings, named, namespaces, by_name, held, changed)
        _log_held(source, [name for name, each in found.items() if before.held.get(name) != each])


def _same(given: Tool, tool: Tool) -> bool:
    """Whether a tool is listed again as it was, so that all that was worked out for it still holds.

    Python takes 1, 1.0 and True for the same; then the definition that is there stays in force.
    """
    first, second = given.input_schema, tool.input_schema
    if given is tool:
        return True
    return given == tool and "$ref" not in first and list(properties(first)) == list(properties(second))


def _equal(old: _Listing, new: _Listing) -> bool:
    return (
        len(old.placed) == len(new.placed)
        and old.dropped == new.dropped
        and all(first is second for first, second in zip(old.placed, new.placed, strict=True))
    )


def _held(snapshot: _Snapshot, source: str) -> dict[str, Held]:
    return {name: held for name, held in snapshot.held.items() if held.tool.source == source}


def _cut(description: str) -> str:
    if len(description) <= _MAX_DESCRIPTION:
        return description
    return f"{description[:_MAX_DESCRIPTION]}… ({len(description) - _MAX_DESCRIPTION:,} more characters)"


def _log(source: str, dropped: Mapping[str, str]) -> None:
    if dropped:
        named = [f"{name}: {reason}" for name, reason in list(dropped.items())[:_LOGGED]]
        log.warning("Left out of source %s, %d in all: %s", source, len(dropped), " ".join(named))


def _log_held(source: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _LOGGED:,} more" if len(names) > _LOGGED else ""
        log.warning(
            "Held until somebody accepts what source %s says of them: %s%s; `oneturn tools diff` shows it.",
            source,
            ", ".join(sorted(names)[:_LOGGED]),
            more,
        )


def _names(
    before: _Snapshot, old: _Listing, placed: Sequence[_Placed]
) -> tuple[Mapping[str, Tool], Mapping[str, int]]:
    """Every name there is and every namespace, when `placed` takes the place of `old`.

    Only what changes is looked at, so that many sources of many tools do not cost their product.
    Raises ToolDefinitionError when a name is wanted twice, or for a tool and a namespace.
    """
    named, spaces = dict(before.named), Counter(before.namespaces)
    for each in old.placed:
        del named[each.defined.name]
    spaces.subtract(_spaces(old.placed))
    for each in placed:
        tool = each.defined
        other = named.get(tool.name)
        if other is not None:
            raise ToolDefinitionError(
                f"{other.original!r} of source {other.source!r} and {tool.original!r} of source "
                f"{tool.source!r} would both be called {tool.name!r}; rename one, or give one source "
                "another namespace."
            )
        named[tool.name] = tool
    added = _spaces(placed)
    spaces.update(added)
    spaces = +spaces
    for name in [*(each.defined.name for each in placed if each.defined.name in spaces), *added]:
        if name in named:
            inner = next(tool for tool in named.values() if tool.name.startswith(f"{name}."))
            raise ToolDefinitionError(
                f"{named[name].original!r} of source {named[name].source!r} would be called {name!r}, "
                f"which is also the namespace of {inner.name!r} of source {inner.source!r}; "
                "rename the tool, or give one source another namespace."
            )
    return named, spaces


def _spaces(placed: Sequence[_Placed]) -> Counter[str]:
    """Each namespace with the number of tools in it or below it."""
    found: Counter[str] = Counter()
    for namespace, count in Counter(each.defined.namespace for each in placed).items():
        while namespace:
            found[namespace] += count
            namespace = namespace.rpartition(".")[0]
    return found
