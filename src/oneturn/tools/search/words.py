"""Words as the index counts them: the parts of identifiers, without endings and accents.

The same rules hold for tools and for queries, so whatever they do to a word, they do on both sides.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

_WORD = re.compile(r"\w+")
_PART = re.compile(
    r"[A-Z]{2,}s(?![^\W\d_A-Z])"  # a plural acronym: the `IDs` of `listIDs`
    r"|[A-Z]+(?=[A-Z][^\W\d_A-Z])"  # an acronym before a word: the `HTTP` of `getHTTPResponse`
    r"|[A-Z]?[^\W\d_A-Z]+"  # a word of any script
    r"|[A-Z]+|\d+"
)
# Scripts without blanks between words, and Korean, whose words take endings: Thai and Lao, kana, Han, Hangul.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_LONGEST = 100  # characters of one word that count; a longer one is a blob nobody searches for
_REMEMBERED = 200_000  # distinct words whose terms are kept while an index is built
_STOP_TEXT = """a about all also am an and any are as at be been but by can could do does for from had has
have how i if in into is it its me my of on or our please should so some such than that the their them
then there these they this to us want was we were what when where which who will with would you
your"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())


class Words:
    """Turns text into terms, worked out once per distinct word.

    Made anew for each use: the stemmer inside must not be shared by threads.
    """

    def __init__(self) -> None:
        from Stemmer import Stemmer

        self._stem = Stemmer("english").stemWord
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, text: str) -> list[str]:
        """The terms of a text, in its order and as often as they appear."""
        return [term for word in _WORD.findall(text) for term in self._known.get(word) or self._terms(word)]

    def _terms(self, word: str) -> tuple[str, ...]:
        terms = tuple(self._stem(part) for part in _parts(word) if part not in _STOP_WORDS)
        if len(self._known) < _REMEMBERED:
            self._known[word] = terms
        return terms


def _parts(word: str) -> Iterator[str]:
    """Lower-case parts of a word of prose or code; `GitHub` gives `github` twice, `git` and `hub`.

    The whole counts double, so that a query for GitHub prefers it to git and to GitLab.
    """
    if not word.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
        word = unicodedata.normalize("NFC", plain)
    for piece in word[:_LONGEST].split("_"):
        if not piece.isascii() and _UNSPACED.search(piece):
            yield from _pairs(piece)
            continue
        parts = _PART.findall(piece)
        if len(parts) > 1:
            yield from (piece.lower(), piece.lower())
        if len(parts) > 2:  # the `s3` of `listS3Buckets`
            yield from ((a + b).lower() for a, b in pairwise(parts) if b.isdigit())
        yield from (part.lower() for part in parts if len(parts) == 1 or len(part) > 1)


def _pairs(piece: str) -> Iterator[str]:
    """Neighbouring characters of a script without blanks; what stands beside it as it is."""
    at = 0
    for run in _UNSPACED.finditer(piece):
        yield from (part.lower() for part in _PART.findall(piece[at : run.start()]))
        text, at = run.group(), run.end()
        yield from (text[i : i + 2] for i in range(len(text) - 1)) if len(text) > 1 else (text,)
    yield from (part.lower() for part in _PART.findall(piece[at:]))


def spelling(name: str) -> str:
    """What two spellings of one name have in common: `createIssue`, `create_issue`, `Create issue`."""
    return "".join(_WORD.findall(name)).replace("_", "").lower()
