"""How much text a model reads, and cutting it to a budget.

Counts are exact for OpenAI's `o200k_base` encoding, worked out offline; other models' counts lie
close enough for a budget. The one invariant: `cut` never returns more than it was allowed, and
what it tokenises is bounded by the budget, however large the text is.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

_CHUNK = 40_000  # characters encoded at once: the encoder refuses inputs that give 200,000 tokens
_LONGEST_TOKEN = 128  # characters in the longest o200k token
_USUAL_TOKEN = 8  # characters looked at for each token wanted: twice what prose needs
_COUNTED = 200_000  # characters up to which the size of a text that is cut is counted, not estimated
_TAIL_SHARE = 5  # one part in five of what is kept comes from the end


class _Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...

    def decode_bytes(self, tokens: list[int]) -> bytes: ...


@cache
def _encoding() -> _Encoding:
    from bpe_openai import get_encoding  # type: ignore[import-untyped]

    encoding: _Encoding = get_encoding("o200k_base")
    return encoding


def _encode(text: str) -> list[int]:
    encode = _encoding().encode_ordinary
    if len(text) <= _CHUNK:
        return encode(text)
    return [token for start in range(0, len(text), _CHUNK) for token in encode(text[start : start + _CHUNK])]


def count(text: str) -> int:
    """The number of o200k tokens in `text`. Takes time in proportion to its length."""
    return len(_encode(text))


def cut(text: str, max_tokens: int, what: str, advice: str = "print or return less, or slice it") -> str:
    """`text` when it fits in `max_tokens`, otherwise its head and a short tail around a note.

    The note says how much is missing and what to do about it. Lone surrogates, which no encoding
    can carry, come back as question marks.

    Args:
        text: Anything, of any length.
        max_tokens: The most the result may count, note included. Where there is no room for a
            note, only a head is left.
        what: What the note calls the text, such as "value".
        advice: What the note says to do about it.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    if _fits(text, max_tokens):
        return text
    total = _size(text)
    room = max_tokens - count(_note(what, total, total, advice))
    while room > 0:
        tail_room = room // _TAIL_SHARE
        head = _take(text, room - tail_room)
        tail = _take(text[len(head) :], tail_room, from_end=True)
        missing = max(1, total - count(head) - count(tail))
        result = head + _note(what, missing, total, advice) + tail
        over = count(result) - max_tokens
        if over <= 0:
            return result
        room -= over
    return _take(text, max_tokens)


def _fits(text: str, max_tokens: int) -> bool:
    if len(text) > max_tokens * _LONGEST_TOKEN:
        return False
    counted = 0
    for start in range(0, len(text), _CHUNK):
        counted += count(text[start : start + _CHUNK])
        if counted > max_tokens:
            return False
    return True


def _size(text: str) -> int:
    """Tokens in `text`: exact for a text of ordinary size, in proportion to its head otherwise."""
    if len(text) <= _COUNTED:
        return count(text)
    return count(text[:_CHUNK]) * len(text) // _CHUNK


def _note(what: str, missing: int, total: int, advice: str) -> str:
    return f"\n… [{what} cut: {missing:,} of {total:,} tokens left out; {advice}] …\n"


def _take(text: str, tokens: int, *, from_end: bool = False) -> str:
    """The longest easily found part of `text`, at its start or end, that counts at most `tokens`."""
    if tokens <= 0:
        return ""
    window = tokens * _USUAL_TOKEN
    encoded = _encode(text[-window:] if from_end else text[:window])
    for keep in range(tokens, 0, -1):
        kept = encoded[-keep:] if from_end else encoded[:keep]
        # A token may end inside a character; that character is dropped, never broken.
        part = _encoding().decode_bytes(kept).decode("utf-8", "ignore")
        if count(part) <= tokens:
            return part
    return ""
