"""Which tool has which words, and how well a query's words fit each tool: BM25 over weighted fields.

What is kept of a tool depends on that tool alone. How rare a word is, is counted at each search among
the tools the caller may see, so one index serves every scope and answers as if it held that scope only.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...types import Tool
from .synonyms import alternatives
from .words import Words, spelling

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

# The fields of a tool: how much a word in it counts, the usual number of words (a longer text dilutes
# each of them), and how many characters are read, so what stuffing a definition can gain is bounded.
_NAME, _NAMESPACE, _DESCRIPTION, _PARAMETERS, _ABOUT_PARAMETERS, _VALUES, _LABELS = range(7)
_WEIGHTS = np.array([5.0, 1.0, 1.0, 0.5, 0.35, 1.0, 1.0])
_USUAL = np.array([4, 2, 30, 6, 40, 10, 2])
_CHARS = (500, 500, 8_000, 4_000, 8_000, 2_000, 500)
_DILUTION = 0.4  # 0: length does not matter; 1: twice the words, half the weight
_SATURATION = 3.0  # BM25's k1: how soon more of the same word stops helping
_REPEATED = 2.0  # a word said over and over in one field counts at most like so many

_PROPERTIES = 1_000  # parameters of one tool that are read
_ENUM = 50  # values of one parameter that are read
_TERMS = 100  # distinct words of one query that are looked up
_BATCH = 2_000  # tools turned into numbers at a time
_KNOWN, _UNKNOWN = 0.3, 0.5  # what a synonym is worth: of a word that some tool has, and that none has


class Postings:
    """For each word the tools that have it, and how much each has of it.

    Args:
        tools: The tools, in the order in which they are numbered.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._size = len(tools)
        self._ids: dict[str, int] = {}
        words = Words()
        docs, terms, impacts = [], [], []
        for start in range(0, len(tools), _BATCH):
            batch = self._batch(tools[start : start + _BATCH], words)
            docs.append(batch[0] + start)
            terms.append(batch[1])
            impacts.append(batch[2])
        every = np.concatenate([np.empty(0, np.int32), *terms])
        order = np.argsort(every, kind="stable")
        self._docs = np.concatenate([np.empty(0, np.int32), *docs])[order].astype(np.int32)
        self._impacts = np.concatenate([np.empty(0, np.float32), *impacts])[order]
        self._starts = np.searchsorted(every[order], np.arange(len(self._ids) + 1))

    def _batch(self, tools: Sequence[Tool], words: Words) -> tuple[NDArray[Any], NDArray[Any], Floats]:
        """Tool number within the batch, term and impact of every distinct word of every tool."""
        ids, tokens, fields = self._ids, array("i"), array("i")
        for at, tool in enumerate(tools):
            for field, text in _texts(tool):
                found = [ids.setdefault(term, len(ids)) for term in words.of(text)]
                tokens.extend(found)
                fields.extend([at * len(_WEIGHTS) + field] * len(found))
        place = np.frombuffer(fields, np.int32).astype(np.int64)
        lengths = np.bincount(place, minlength=len(tools) * len(_WEIGHTS))
        known = max(len(ids), 1)
        keys, counts = np.unique(place * known + np.frombuffer(tokens, np.int32), return_counts=True)
        place, term = np.divmod(keys, known)
        kind = place % len(_WEIGHTS)
        diluted = 1 - _DILUTION + _DILUTION * lengths[place] / _USUAL[kind]
        weight = _WEIGHTS[kind] * np.minimum(1 + np.log(counts), _REPEATED) / diluted
        # A word's weights in the fields of one tool are added before they saturate.
        pairs, which = np.unique(place // len(_WEIGHTS) * known + term, return_inverse=True)
        total = np.bincount(which, weight, len(pairs))
        doc, term = np.divmod(pairs, known)
        return doc.astype(np.int32), term.astype(np.int32), (total / (total + _SATURATION)).astype(np.float32)

    def scores(self, query: str, inside: Mask | None = None) -> Floats:
        """How well each tool fits a query; 0 where it shares no word with it, or is not `inside`.

        Args:
            query: The query in plain words.
            inside: The tools there are for this caller; all of them when None.
        """
        total = np.zeros(self._size, np.float32)
        own = list(dict.fromkeys(Words().of(query)))[:_TERMS]
        size = self._size if inside is None else int(np.count_nonzero(inside))
        for term in own:
            exact = self._posting(term, inside, size)
            worth = _UNKNOWN if exact is None else _KNOWN
            others = [other for other in self._alike.get(term, ()) if other not in own]
            near = [each for other in others if (each := self._posting(other, inside, size)) is not None]
            if not near:
                if exact is not None:
                    total[exact[0]] += exact[1]
                continue
            # A word and its synonyms count once: the best of them, not their sum.
            best = np.zeros(self._size, np.float32)
            for docs, gains in near:
                best[docs] = np.maximum(best[docs], worth * gains)
            if exact is not None:
                best[exact[0]] = np.maximum(best[exact[0]], exact[1])
            total += best
        return total

    def _posting(self, term: str, inside: Mask | None, size: int) -> tuple[NDArray[Any], Floats] | None:
        """The tools that have a term and what it adds to their score; None when no tool has it."""
        at = self._ids.get(term)
        if at is None:
            return None
        run = slice(self._starts[at], self._starts[at + 1])
        docs, impacts = self._docs[run], self._impacts[run]
        if inside is not None:
            seen = inside[docs]
            docs, impacts = docs[seen], impacts[seen]
        if not len(docs):
            return None
        # Lucene's form, which stays above zero for words that every tool has, so tiny catalogs work.
        rarity = math.log(1 + (size - len(docs) + 0.5) / (len(docs) + 0.5))
        return docs, impacts * np.float32(rarity)

    @cached_property
    def _alike(self) -> Mapping[str, tuple[str, ...]]:
        return alternatives(Words().of)


def _texts(tool: Tool) -> Iterator[tuple[int, str]]:
    """The searched texts of a tool, each with its field."""
    known = (spelling(tool.name), spelling(tool.short_name))
    own = "" if spelling(tool.original) in known else tool.original
    yield _NAME, f"{tool.short_name} {own}"[: _CHARS[_NAME]]
    yield _NAMESPACE, tool.namespace[: _CHARS[_NAMESPACE]]
    yield _DESCRIPTION, tool.description[: _CHARS[_DESCRIPTION]]
    yield _LABELS, _joined(tool.labels, _LABELS)
    properties: Any = tool.input_schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    some = list(islice(properties.items(), _PROPERTIES))
    schemas = [schema for _, schema in some if isinstance(schema, Mapping)]
    yield _PARAMETERS, _joined((name for name, _ in some), _PARAMETERS)
    yield _ABOUT_PARAMETERS, _joined((schema.get("description") for schema in schemas), _ABOUT_PARAMETERS)
    listed = (schema.get("enum") for schema in schemas)
    values = (value for each in listed if isinstance(each, list) for value in each[:_ENUM])
    yield _VALUES, _joined(values, _VALUES)


def _joined(texts: Iterable[object], field: int) -> str:
    """The texts among these in one, none read further than the field's limit."""
    parts, room = [], _CHARS[field]
    for text in texts:
        if isinstance(text, str) and room > 0:
            parts.append(text[:room])
            room -= len(text) + 1
    return " ".join(parts)
