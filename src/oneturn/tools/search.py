"""Finding tools by what they do: BM25 over names, descriptions and parameters.

An index covers the tools it was given and nothing else, so an index over a caller's scope cannot
show more than the scope. Tool texts are only ever split into words and counted; nothing in them
can act. The invariants: the same tools and query give the same answer, a tool named exactly comes
first, and a tool that shares no word with the query is not returned. The index is built at the
first search, and so are its imports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..types import Effect, Tool

if TYPE_CHECKING:
    from bm25s import BM25

_WORD = re.compile(r"\w+")
_PART = re.compile(
    r"[A-Z]{2,}s(?![^\W\d_A-Z])"  # a plural acronym: the `IDs` of `listIDs`
    r"|[A-Z]+(?=[A-Z][^\W\d_A-Z])"  # an acronym before a word: the `HTTP` of `getHTTPResponse`
    r"|[A-Z]?[^\W\d_A-Z]+"  # a word of any script
    r"|[A-Z]+|\d+"
)
_NAME_WEIGHT = 3
_NAMESPACE_WEIGHT = 2
_INDEXED_CHARS = 8_000  # of one tool: what a description stuffed with words can gain is bounded
_QUERY_CHARS = 1_000
_MAX_QUERIES = 20
_MAX_MATCHES = 100
_FULL_NAME, _OTHER_NAME = 3.0, 2.0  # above any relevance, which ends at 1
_STOP_TEXT = """a about all also am an and any are as at be been but by can could do does for from had has
have how i if in into is it its me my of on or our please should so some such than that the their them
then there these they this to us want was we were what when where which who will with would you
your"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())


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

    Args:
        tools: The tools that may be found, usually the tools of one scope.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tuple(sorted(tools, key=lambda tool: tool.name))
        self._namespaces = dict(sorted(Counter(tool.namespace for tool in self._tools).items()))

    def search(
        self,
        queries: str | Sequence[str],
        limit: int = 10,
        *,
        effect: Effect | None = None,
        namespace: str | None = None,
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

        Raises:
            ValueError: There are more than 20 queries.
        """
        asked = [queries] if isinstance(queries, str) else list(queries)
        if len(asked) > _MAX_QUERIES:
            raise ValueError(
                f"A search takes at most {_MAX_QUERIES} queries and got {len(asked):,}; "
                "search again for the rest."
            )
        asked = [query for query in (each[:_QUERY_CHARS] for each in asked) if query.strip()]
        ranked = self._ranked(asked) if asked else dict.fromkeys(range(len(self._tools)), (1.0, 1.0))
        found = [place for place in ranked if _wanted(self._tools[place], effect, namespace)]
        # Tools are kept in name order, so a lower place is the tie-break by name.
        found.sort(key=lambda place: (-ranked[place][0], -ranked[place][1], place))
        best = tuple(
            Match(self._tools[place], ranked[place][0]) for place in found[: min(max(limit, 0), _MAX_MATCHES)]
        )
        return SearchResult(best, len(found), self._namespaces)

    def _ranked(self, queries: Iterable[str]) -> dict[int, tuple[float, float]]:
        """For each tool that any query hits: its best score among the queries, and the sum of them."""
        ranked: dict[int, tuple[float, float]] = {}
        for query in queries:
            for place, score in self._scores(query).items():
                best, together = ranked.get(place, (0.0, 0.0))
                ranked[place] = (max(best, score), together + score)
        return ranked

    def _scores(self, query: str) -> dict[int, float]:
        """Relevance to one query relative to its best hit, by the tool's place."""
        scores = self._relevance(query)
        highest = max(scores.values(), default=1.0)
        relative = {place: score / highest for place, score in scores.items()}
        return relative | self._exact.get(_exact_key(query), {})

    def _relevance(self, query: str) -> dict[int, float]:
        if self._bm25 is None:
            return {}
        known = self._bm25.get_tokens_ids(_Terms().of(query))
        if not known:
            return {}
        scores = self._bm25.get_scores_from_ids(known)
        return {int(place): float(scores[place]) for place in scores.nonzero()[0]}

    @cached_property
    def _exact(self) -> dict[str, dict[int, float]]:
        """Scores of the tools called by a spelling: their full name, short name or source's own."""
        places: dict[str, dict[int, float]] = {}
        for place, tool in enumerate(self._tools):
            for name in (tool.short_name, tool.original, tool.name):
                score = _FULL_NAME if name == tool.name else _OTHER_NAME
                places.setdefault(_exact_key(name), {})[place] = score
        places.pop("", None)
        return places

    @cached_property
    def _bm25(self) -> BM25 | None:
        """The index, or None when there is not one word to index."""
        from bm25s import BM25

        # Lucene's idf stays above zero for words that every tool has, so tiny catalogs work.
        # Length counts for less than in prose: a tool is not worse for documenting its parameters.
        terms = _Terms()
        documents = [_document(tool, terms) for tool in self._tools]
        if not any(documents):
            return None
        index = BM25(method="lucene", k1=1.2, b=0.5)
        index.index(documents, show_progress=False)
        return index


def _wanted(tool: Tool, effect: Effect | None, namespace: str | None) -> bool:
    if effect is not None and tool.effect != effect:
        return False
    if not namespace:
        return namespace is None or not tool.namespace
    return tool.namespace == namespace or tool.namespace.startswith(f"{namespace}.")


def _document(tool: Tool, terms: _Terms) -> list[str]:
    text = " ".join(_texts(tool))[:_INDEXED_CHARS]
    return [
        *terms.of(tool.short_name) * _NAME_WEIGHT,
        *terms.of(tool.namespace) * _NAMESPACE_WEIGHT,
        *terms.of(text),
    ]


def _texts(tool: Tool) -> Iterator[str]:
    yield tool.original
    yield tool.description[:_INDEXED_CHARS]
    properties: Any = tool.input_schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    for name, schema in properties.items():
        yield str(name)
        description = schema.get("description") if isinstance(schema, Mapping) else None
        if isinstance(description, str):
            yield description[:_INDEXED_CHARS]


def _parts(word: str) -> Iterator[str]:
    """Lower-case parts of a word of prose or code; `GitHub` gives `github` twice, `git` and `hub`.

    The whole counts double, so that a query for GitHub prefers it to git and to GitLab.
    """
    for piece in word.split("_"):
        parts = _PART.findall(piece)
        if len(parts) > 1:
            yield from (piece.lower(), piece.lower())
        yield from (part.lower() for part in parts if len(parts) == 1 or len(part) > 1)


class _Terms(dict[str, tuple[str, ...]]):
    """What each written word is indexed as, worked out once per distinct word.

    Made anew for each use: the stemmer inside must not be shared by threads.
    """

    def __init__(self) -> None:
        from Stemmer import Stemmer

        self._stem = Stemmer("english").stemWord

    def __missing__(self, word: str) -> tuple[str, ...]:
        terms = self[word] = tuple(self._stem(part) for part in _parts(word) if part not in _STOP_WORDS)
        return terms

    def of(self, text: str) -> list[str]:
        return [term for word in _WORD.findall(text) for term in self[word]]


def _exact_key(name: str) -> str:
    """What two spellings of one name have in common: `createIssue`, `create_issue`, `Create issue`."""
    return "".join(_WORD.findall(name)).replace("_", "").lower()
