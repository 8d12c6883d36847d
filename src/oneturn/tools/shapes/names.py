"""Whether the key of an object reads as the name of a field, or as a piece of data.

Only how a key is written is looked at here, so a user name such as `alice` passes; `shape` tells those
by the company they keep.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..text import one_line

MAX_NAME = 40
"""Characters of a key that may still be a field's name."""

_LONG_WORD = re.compile(r"[^\W\d_A-Z]{25,}|[A-Z]{25,}")
_NAME = re.compile(r"[$_]{0,2}[^\W\d_]\w*(?:-\w+)*")
_WORDS = re.compile(r"[^\W_]+")
_HEX = re.compile(r"[0-9a-fA-F]{8,}")
_DIGITS = re.compile(r"\d{5,}")
_DATE = re.compile(r"(?:19|20)\d\d[-_]\d\d")
_CODE = re.compile(r"(?=.*\d)[A-Z0-9]{12,}")
_TURN = re.compile(r"(?<=[a-z])[A-Z]|(?<=[A-Za-z])\d|(?<=\d)[A-Za-z]")


def is_field_name(key: object) -> bool:
    """Whether a key is written as field names are: words up to 40 characters, joined by `_` or `-`.

    Not such a name is what begins with a digit, holds blanks, `@`, dots or slashes, a date, a long
    number or long hexadecimal, or a word that turns between letters, digits and cases as random
    tokens do.
    """
    return type(key) is str and 0 < len(key) <= MAX_NAME and _reads_well(key)


@lru_cache(maxsize=4_096)
def _reads_well(key: str) -> bool:
    if not _NAME.fullmatch(key) or _DIGITS.search(key) or _DATE.search(key) or one_line(key, MAX_NAME) != key:
        return False
    return not any(_random(word) for word in _WORDS.findall(key))


def _random(word: str) -> bool:
    if _LONG_WORD.search(word) or _HEX.fullmatch(word) or _CODE.fullmatch(word):
        return True
    return 4 * len(_TURN.findall(word)) > len(word) + 4
