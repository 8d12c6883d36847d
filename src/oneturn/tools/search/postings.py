"""Which tool has which words, and how well a query's words fit each tool: BM25 over weighted fields.

Beside how much of a word a tool has, it is kept how much of the tool's name or summary the word is. A tool
whose name or summary is said in full by a query that says little else gains by it: for "create an issue",
`issues.create` goes before `orgs.create_issue_type`.

What is kept of a tool depends on that tool alone. How rare a word is, is counted at each search among
the tools the caller may see, so one index serves every scope and answers as if it held that scope only.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...types import Tool
from .synonyms import alternatives
from .texts import Field, fields
from .words import Words

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
_FIELDS = len(Field)

# How much a word in a field counts, and the usual number of words (a longer text dilutes each of them).
# One of the name and the namespace's last part are as long as both: they are one name.
_WEIGHTS = np.array([5.0, 1.0, 1.5, 1.0, 1.0, 1.0, 0.5, 0.35, 1.0, 1.0])
_USUAL = np.array([4, 4, 8, 2, 30, 8, 6, 40, 10, 2])
# What a word is worth as a part of what a tool is called or says of itself, which counts less.
_SHARES = np.array([1.0, 0.5, 0.75, 0, 0, 0, 0, 0, 0, 0])
_DILUTION = 0.4  # 0: length does not matter; 1: twice the words, half the weight
_SATURATION = 2.0  # BM25's k1: how soon more of the same word stops helping
_REPEATED = 2.0  # a word said over and over in one field counts at most like so many
_SAID_IN_FULL = 4.0  # what it adds, times its score, to a tool that the query says and nothing but it
_WHOLE = 255  # the share of a name that is all of it, as it is kept

_TERMS = 100  # distinct words of one query that are looked up
_BATCH = 2_000  # tools turned into numbers at a time
_READ = 500_000  # tools that one query's words are looked up in, summed over the words
_KNOWN, _UNKNOWN = 0.3, 0.5  # what a synonym is worth: of a word that some tool has, and that none has
_MEANT = 0.5  # how far a synonym counts as having said a word of a name


@dataclass(frozen=True, slots=True)
class _Asked:
    """A word of a query and the synonyms of it that any tool has, with how many tools have them."""

    term: str
    alike: tuple[str, ...]
    rarity: float
    tools: int
    alike_tools: int


class _Sums(NamedTuple):
    """For each tool what the words of a query came to."""

    fits: Floats
    covered: Floats  # how much of its name or summary they are
    said: Floats  # how much of them its name and summary say, each word by its rarity

    @classmethod
    def zeros(cls, size: int) -> _Sums:
        """Nothing yet."""
        return cls(*(np.zeros(size, np.float32) for _ in range(3)))


class _Posting(NamedTuple):
    """The tools that have a term and what it adds to their score; those `named` by it, and for how much."""

    docs: NDArray[Any]
    gains: Floats
    named: NDArray[Any]
    shares: Floats


class Postings:
    """For each word the tools that have it, and how much each has of it.

    Args:
        tools: The tools, in the order in which they are numbered.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._size = len(tools)
        self._ids: dict[str, int] = {}
        words = Words()
        docs, terms, impacts, shares = [], [], [], []
        for start in range(0, len(tools), _BATCH):
            batch = self._batch(tools[start : start + _BATCH], words)
            docs.append(batch[0] + start)
            terms.append(batch[1])
            impacts.append(batch[2])
            shares.append(batch[3])
        every = np.concatenate([np.empty(0, np.int32), *terms])
        order = np.argsort(every, kind="stable")
        self._docs = np.concatenate([np.empty(0, np.int32), *docs])[order].astype(np.int32)
        self._impacts = np.concatenate([np.empty(0, np.float32), *impacts])[order]
        self._shares = np.concatenate([np.empty(0, np.uint8), *shares])[order]
        self._starts = np.searchsorted(every[order], np.arange(len(self._ids) + 1))

    def _batch(
        self, tools: Sequence[Tool], words: Words
    ) -> tuple[NDArray[Any], NDArray[Any], Floats, NDArray[np.uint8]]:
        """Tool number within the batch, term, impact and share of every distinct word of every tool."""
        ids, tokens, places = self._ids, array("i"), array("i")
        for at, tool in enumerate(tools):
            for field, text in fields(tool):
                found = [ids.setdefault(term, len(ids)) for term in words.of(text)]
                tokens.extend(found)
                places.extend([at * _FIELDS + field] * len(found))
        place = np.frombuffer(places, np.int32).astype(np.int64)
        lengths = np.bincount(place, minlength=len(tools) * _FIELDS).astype(np.float64)
        name, kin = lengths[Field.NAME :: _FIELDS], lengths[Field.KIN :: _FIELDS]
        name += _SHARES[Field.KIN] * kin
        kin[:] = name
        known = max(len(ids), 1)
        keys, counts = np.unique(place * known + np.frombuffer(tokens, np.int32), return_counts=True)
        place, term = np.divmod(keys, known)
        kind = place % _FIELDS
        diluted = 1 - _DILUTION + _DILUTION * lengths[place] / _USUAL[kind]
        weight = _WEIGHTS[kind] * np.minimum(1 + np.log(counts), _REPEATED) / diluted
        # Repeated in a name, a word says no more of it than once.
        part = _SHARES[kind] / np.maximum(lengths[place], 1)
        share = np.where(part > 0, np.clip(np.round(part * _WHOLE), 1, _WHOLE), 0)
        # A word's weights in the fields of one tool are added before they saturate.
        pairs, which = np.unique(place // _FIELDS * known + term, return_inverse=True)
        total = np.bincount(which, weight, len(pairs))
        largest = np.zeros(len(pairs), np.uint8)
        np.maximum.at(largest, which, share.astype(np.uint8))
        doc, term = np.divmod(pairs, known)
        impact = (total / (total + _SATURATION)).astype(np.float32)
        return doc.astype(np.int32), term.astype(np.int32), impact, largest

    def scores(self, query: str, inside: Mask | None = None) -> Floats:
        """How well each tool fits a query; 0 where it shares no word with it, or is not `inside`.

        The rarest words are looked up first, and common ones only until half a million tools have been read,
        so that no query in a large scope takes long.

        Args:
            query: The query in plain words.
            inside: The tools there are for this caller; all of them when None.
        """
        size = self._size if inside is None else int(np.count_nonzero(inside))
        terms = list(dict.fromkeys(Words().of(query)))[:_TERMS]
        asked = [self._asked(term, terms, inside, size) for term in terms]
        sums = _Sums.zeros(self._size)
        room = _READ
        for at, word in enumerate(sorted(asked, key=lambda word: word.tools)):
            room -= word.tools
            if room < 0 and at:
                break
            alike = word.alike if word.alike_tools <= room else ()
            room -= word.alike_tools if alike else 0
            self._add(word, alike, inside, size, sums)
        explained = sums.said / np.float32(max(sum(word.rarity for word in asked), 1e-9))
        whole = np.minimum(sums.covered, 1)
        total: Floats = sums.fits * (1 + np.float32(_SAID_IN_FULL) * whole * explained * explained)
        return total

    def _asked(self, term: str, terms: Sequence[str], inside: Mask | None, size: int) -> _Asked:
        """A word of a query, counted among the tools there are."""
        tools = self._tools(term, inside)
        near = {each: self._tools(each, inside) for each in self._alike.get(term, ()) if each not in terms}
        alike = tuple(each for each, count in near.items() if count)
        return _Asked(term, alike, _rarity(tools, size), tools, sum(near.values()))

    def _tools(self, term: str, inside: Mask | None) -> int:
        """How many tools have a term."""
        run = self._run(term)
        return run.stop - run.start if inside is None else int(np.count_nonzero(inside[self._docs[run]]))

    def _run(self, term: str) -> slice:
        at = self._ids.get(term)
        return slice(0, 0) if at is None else slice(int(self._starts[at]), int(self._starts[at + 1]))

    def _add(self, word: _Asked, alike: Sequence[str], inside: Mask | None, size: int, sums: _Sums) -> None:
        """Add what a word gives to each tool that has it or a synonym of it."""
        found = self._posting(word.term, inside, size)
        if not alike:
            sums.fits[found.docs] += found.gains
            sums.covered[found.named] += found.shares
            sums.said[found.named] += word.rarity
            return
        # A word and its synonyms count once: the best of them, not their sum.
        best = _Sums.zeros(self._size)
        worth = np.float32(_KNOWN if word.tools else _UNKNOWN)
        for other in alike:
            near = self._posting(other, inside, size)
            best.fits[near.docs] = np.maximum(best.fits[near.docs], worth * near.gains)
            best.covered[near.named] = np.maximum(best.covered[near.named], _MEANT * near.shares)
            best.said[near.named] = _MEANT * word.rarity
        best.fits[found.docs] = np.maximum(best.fits[found.docs], found.gains)
        best.covered[found.named] = np.maximum(best.covered[found.named], found.shares)
        best.said[found.named] = word.rarity
        for total, part in zip(sums, best, strict=True):
            total += part

    def _posting(self, term: str, inside: Mask | None, size: int) -> _Posting:
        """The tools that have a term."""
        run = self._run(term)
        docs, impacts, shares = self._docs[run], self._impacts[run], self._shares[run]
        if inside is not None:
            seen = inside[docs]
            docs, impacts, shares = docs[seen], impacts[seen], shares[seen]
        called = np.flatnonzero(shares)
        gains = impacts * np.float32(_rarity(len(docs), size))
        return _Posting(docs, gains, docs[called], shares[called].astype(np.float32) / np.float32(_WHOLE))

    @cached_property
    def _alike(self) -> Mapping[str, tuple[str, ...]]:
        return alternatives(Words().of)


def _rarity(tools: int, size: int) -> float:
    # Lucene's form, which stays above zero for words that every tool has, so tiny catalogs work.
    return math.log(1 + (size - tools + 0.5) / (tools + 0.5))
