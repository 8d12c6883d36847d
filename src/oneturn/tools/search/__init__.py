"""Finding tools by what they do: by the words of their definitions and, with an embedder, by meaning.

An index covers the tools it was given. `within` narrows it to some of them, for one caller's scope,
without a copy: a narrowed index answers exactly as an index of those tools alone would, so it cannot
show, count or weigh a tool outside the scope. Tool texts are only ever split into words and counted;
nothing in them can act. The invariants: the same tools and query give the same answer, a tool named
exactly comes first, and a query that has nothing to do with any tool finds none. The index is built at
the first search, and so are its imports.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...types import Effect, Tool
from .embedding import Embedder, StaticEmbedder

if TYPE_CHECKING:
    from .postings import Mask
    from .ranking import Ranking

__all__ = ["Embedder", "Match", "SearchIndex", "SearchResult", "StaticEmbedder"]

_QUERY_CHARS = 1_000
_MAX_QUERIES = 20
_MAX_MATCHES = 100


@dataclass(frozen=True, slots=True)
class Match:
    """A tool that was found. `score` is in (0, 1], 1 being a query's best hit; an exact name is above 1."""

    tool: Tool
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found: the best `matches`, and how many tools matched in `total`.

    `namespaces` counts all tools of the index by namespace ("" for the top level), so that a search
    without a hit can say where to look.
    """

    matches: tuple[Match, ...]
    total: int
    namespaces: Mapping[str, int] = field(default_factory=dict)


class SearchIndex:
    """Ranks a fixed list of tools. Building is linear in their text; a search reads only its own words.

    Any thread may search. The first search builds the index; `prepare` does it beforehand.

    Args:
        tools: The tools that may be found: a whole catalog, or the tools of one scope.
        embedder: Finds tools by meaning too; None, the default, goes by words alone.
        folder: Where the vectors of tools are kept between processes; None keeps nothing on disk.
    """

    def __init__(
        self, tools: Iterable[Tool], embedder: Embedder | None = None, folder: Path | None = None
    ) -> None:
        self._whole = _Whole(tuple(sorted(tools, key=lambda tool: tool.name)), embedder, folder)
        self._inside: Mask | None = None
        self._namespaces = _namespaces(self._whole.tools)

    def within(self, tools: Iterable[Tool]) -> SearchIndex:
        """This index narrowed to some of its tools, sharing all it holds; it answers as one of its own.

        Args:
            tools: The tools that may be found. Any that are not in this index are not found.
        """
        names = {tool.name for tool in tools}
        narrowed = object.__new__(SearchIndex)
        narrowed._whole = self._whole
        narrowed._inside = self._whole.mask(names, self._inside)
        narrowed._namespaces = _namespaces(self._whole.chosen(narrowed._inside))
        return narrowed

    def prepare(self) -> None:
        """Build now what the first search would build; call it on a worker thread.

        Raises:
            ConfigError: The embedder gives something else than a vector for each text.
        """
        self._whole.ranking()

    def search(
        self,
        queries: str | Sequence[str],
        limit: int = 10,
        *,
        effect: Effect | None = None,
        namespace: str | None = None,
        source: str | None = None,
        label: str | None = None,
    ) -> SearchResult:
        """The tools that fit any of the queries, best first, ties by name.

        Several queries are searched on their own and each one's best tools come to the top, so a
        list of rephrasings or of separate tasks both work. A blank query lists the tools by name.

        Args:
            queries: One query or up to 20, in plain words or as a tool name; of each the first
                1,000 characters count.
            limit: The most matches to return; 10 by default, and never more than 100.
            effect: Only tools with this effect.
            namespace: Only tools in this namespace or below it; "" for the top level alone.
            source: Only tools of this source.
            label: Only tools with this label.

        Raises:
            ValueError: There are more than 20 queries.
            ConfigError: The embedder gives something else than a vector for a query.
        """
        asked = [queries] if isinstance(queries, str) else list(queries)
        if len(asked) > _MAX_QUERIES:
            raise ValueError(
                f"A search takes at most {_MAX_QUERIES} queries and got {len(asked):,}; "
                "search again for the rest."
            )
        cut = dict.fromkeys(query[:_QUERY_CHARS] for query in asked)
        ranking = self._whole.ranking()
        wanted = ranking.wanted(self._inside, effect, namespace, source, label)
        found, total = ranking.best(
            [query for query in cut if query.strip()], min(max(limit, 0), _MAX_MATCHES), self._inside, wanted
        )
        matches = tuple(Match(self._whole.tools[place], score) for place, score in found)
        return SearchResult(matches, total, self._namespaces)


class _Whole:
    """What an index and those narrowed from it share; whoever needs the ranking first builds it."""

    def __init__(self, tools: tuple[Tool, ...], embedder: Embedder | None, folder: Path | None) -> None:
        self.tools = tools
        self._embedder = embedder
        self._folder = folder
        self._ranking: Ranking | None = None
        self._building = threading.Lock()

    def ranking(self) -> Ranking:
        if self._ranking is None:
            with self._building:
                if self._ranking is None:
                    from .ranking import Ranking

                    self._ranking = Ranking(self.tools, self._embedder, self._folder)
        return self._ranking

    def mask(self, names: set[str], inside: Mask | None) -> Mask:
        from .ranking import mask

        chosen = mask(tool.name in names for tool in self.tools)
        return chosen if inside is None else chosen & inside

    def chosen(self, inside: Mask) -> list[Tool]:
        return [tool for tool, seen in zip(self.tools, inside.tolist(), strict=True) if seen]


def _namespaces(tools: Iterable[Tool]) -> dict[str, int]:
    return dict(sorted(Counter(tool.namespace for tool in tools).items()))
