"""Which tools are best: word scores, meaning and exact names put together, filtered, and the top taken."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...types import Effect, Tool
from .embedding import Embedder
from .postings import Floats, Mask, Postings
from .vectors import Vectors
from .words import spelling

log = logging.getLogger("oneturn.search")

_FULL_NAME, _OTHER_NAME = 3.0, 2.0  # above any relevance, which ends at 1
_ALONE = 0.25  # how far between an embedder's floor and 1 a tool must be that shares no word with the query


def mask(values: Iterable[bool]) -> Mask:
    """Which tools, by number, something holds for."""
    return np.fromiter(values, np.bool_)


class Ranking:
    """Everything worked out from a list of tools, which must be in the order of their names."""

    def __init__(self, tools: Sequence[Tool], embedder: Embedder | None, folder: Path | None) -> None:
        self._tools = tools
        self._names = [tool.name for tool in tools]
        self._postings = Postings(tools)
        self._embedder = embedder
        self._folder = folder
        self._vectors: Vectors | None = None
        self._near("")  # makes the vectors
        self._effects = _by(tool.effect for tool in tools)
        self._sources = _by(tool.source for tool in tools)
        self._labels = _places((label, at) for at, tool in enumerate(tools) for label in tool.labels)
        # Hashes instead of a dictionary of spellings: three numbers for a tool instead of three texts.
        spellings = np.array([_spellings(tool) for tool in tools], np.int64).ravel()
        order = np.argsort(spellings, kind="stable")
        self._spelled = spellings[order]
        self._spellers = (order // 3).astype(np.int32)

    def wanted(
        self,
        inside: Mask | None,
        effect: Effect | None,
        namespace: str | None,
        source: str | None,
        label: str | None,
    ) -> Mask | None:
        """The tools that pass every filter; None when there is nothing to filter by."""
        parts = [] if inside is None else [inside]
        if effect is not None:
            parts.append(self._only(self._effects.get(effect)))
        if source is not None:
            parts.append(self._only(self._sources.get(source)))
        if label is not None:
            parts.append(self._only(self._labels.get(label)))
        if namespace is not None:
            parts.append(self._below(namespace) if namespace else self._top)
        return np.logical_and.reduce(parts) if parts else None

    def best(
        self, queries: Sequence[str], limit: int, inside: Mask | None, wanted: Mask | None
    ) -> tuple[list[tuple[int, float]], int]:
        """The best tools with their scores, and how many there are; all by name without a query."""
        together = best = None
        for query in queries:
            scores = self._scores(query, inside)
            best = scores if best is None else np.maximum(best, scores)
            together = scores if together is None else together + scores
        if best is None or together is None:
            best = together = np.ones(len(self._tools), np.float32)
        found = np.flatnonzero(best if wanted is None else best * wanted)
        if not len(found) or not limit:
            return [], len(found)
        if len(found) > limit:
            rank = best[found]
            least = np.partition(rank, len(rank) - limit)[len(rank) - limit]
            top = found[rank >= least]
        else:
            top = found
        # Tools are numbered in the order of their names, so a lower number is the tie-break by name.
        order = np.lexsort((top, -together[top], -best[top]))[:limit]
        return [(int(at), float(best[at])) for at in top[order]], len(found)

    def _scores(self, query: str, inside: Mask | None) -> Floats:
        """How well each tool fits one query, 1 being the best hit and an exact name above it."""
        scores = _relative(self._postings.scores(query, inside))
        near = self._near(query)
        if near is not None and self._embedder is not None:
            if inside is not None:
                near = np.where(inside, near, 0)
            # Everything is a little like everything: what is below the floor has nothing to do with the
            # query, and without a word in common the best must be well above it.
            floor = self._embedder.floor
            near = np.where(near >= floor, near, 0).astype(np.float32)
            if scores.any() or near.max(initial=0) >= floor + _ALONE * (1 - floor):
                scores = _relative(scores + _relative(near))
        for at, score in self._named(query, inside):
            scores[at] = score
        return scores

    def _near(self, query: str) -> Floats | None:
        """How close each tool is in meaning; None without an embedder, or when it fails this time.

        A model that is not to be reached, say, must end no run: words alone still find most tools.
        """
        if self._embedder is None:
            return None
        try:
            if self._vectors is None:
                self._vectors = Vectors(self._tools, self._embedder, self._folder)
            return self._vectors.similarities(query) if query else None
        except ConfigError:
            raise
        except Exception:
            name = self._embedder.name
            log.warning("The embedder %s failed; tools are searched by words alone.", name, exc_info=True)
            return None

    def _named(self, query: str, inside: Mask | None) -> list[tuple[int, float]]:
        """The tools called by a query: by their full name, short name or source's own."""
        key = spelling(query)
        if not key:
            return []
        wanted = hash(key)
        start, end = np.searchsorted(self._spelled, wanted), np.searchsorted(self._spelled, wanted, "right")
        named: dict[int, float] = {}
        for at in self._spellers[start:end].tolist():
            tool = self._tools[at]
            if inside is not None and not inside[at]:
                continue
            if spelling(tool.name) == key:
                named[at] = _FULL_NAME
            elif key in (spelling(tool.short_name), spelling(tool.original)):
                named[at] = _OTHER_NAME
        return sorted(named.items())

    def _only(self, places: NDArray[Any] | None) -> Mask:
        chosen = np.zeros(len(self._tools), np.bool_)
        if places is not None:
            chosen[places] = True
        return chosen

    def _below(self, namespace: str) -> Mask:
        # Names are sorted, so all that begin with `namespace.` are neighbours; `/` follows the dot.
        chosen = np.zeros(len(self._tools), np.bool_)
        chosen[bisect_left(self._names, f"{namespace}.") : bisect_left(self._names, f"{namespace}/")] = True
        return chosen

    @cached_property
    def _top(self) -> Mask:
        return mask("." not in name for name in self._names)


def _relative(scores: Floats) -> Floats:
    highest = scores.max(initial=0)
    return scores / highest if highest > 0 else scores


def _spellings(tool: Tool) -> tuple[int, int, int]:
    full, short, own = (spelling(name) for name in (tool.name, tool.short_name, tool.original))
    return hash(full), hash(short), hash(own)


def _by(values: Iterable[str]) -> dict[str, NDArray[Any]]:
    return _places((value, at) for at, value in enumerate(values))


def _places(pairs: Iterable[tuple[str, int]]) -> dict[str, NDArray[Any]]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for value, at in pairs:
        places[value].append(at)
    return {value: np.array(each, np.int32) for value, each in places.items()}
