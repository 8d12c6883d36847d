"""Text from strangers, made safe to lay before a model or a person.

Descriptions, results and errors of tools are data, not instructions. What cannot be seen must
not be readable either: hidden characters can carry orders a reviewer never sees, and direction
marks can show one thing and mean another.
"""

from __future__ import annotations

import re

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")

# Control characters but \n and \t, surrogates, and all that Unicode calls "default ignorable":
# zero-width and direction marks, fillers, variation selectors, tag characters.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_WINDOW = 8  # times the limit: as much is read of a text that is going to be cut
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_REFERENCE = re.compile(r"(?<![\w./:@-])tools\.([^\W\d]\w{0,255})((?:\.\w{1,256}){0,20})")


def neutral(text: str, limit: int, own: str | None = None) -> str:
    """`text` without hidden characters, without long gaps, and no longer than `limit` characters.

    Newlines and tabs stay. When text is cut, a note says how many characters are missing; the
    note comes on top of `limit`. Of a very long text only the beginning is read.

    Args:
        text: Anything.
        limit: The most characters of it.
        own: The first part of the names of the tools that `text` may name. `tools.<other>.<name>`
            of any other becomes `[another tool: other/name]`, so that no source can put calls of
            another's tools into its own descriptions. None, the default, leaves all as it is.
    """
    head = text[: _WINDOW * (limit + 100)]
    clean = _BLANK_LINES.sub("\n\n", visible(head)).strip()
    return _cut(_within(clean, own), limit, len(text) - len(head))


def one_line(text: str, limit: int, own: str | None = None) -> str:
    """Like `neutral`, with every run of blanks and newlines made one space."""
    head = text[: _WINDOW * (limit + 100)]
    return _cut(_within(" ".join(visible(head).split()), own), limit, len(text) - len(head))


def quoted(text: str, limit: int) -> str:
    """A Python string literal for `text` in one line, with everything hidden written as an escape.

    Of a text longer than `limit` only the beginning is in it, followed by `…`.
    """
    literal = repr(text if len(text) <= limit else f"{text[:limit]}…")
    return _HIDDEN.sub(lambda match: _escape(match[0]), literal)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _within(text: str, own: str | None) -> str:
    if own is None or "tools" not in text:
        return text

    def replaced(match: re.Match[str]) -> str:
        if match[1] == own:
            return match[0]
        return f"[another tool: {(match[1] + match[2]).replace('.', '/')}]"

    return _REFERENCE.sub(replaced, text)


def visible(text: str) -> str:
    """`text` without hidden characters, and with one kind of line end."""
    return _HIDDEN.sub("", _LINE_ENDS.sub("\n", text))


def _cut(clean: str, limit: int, unread: int) -> str:
    missing = max(len(clean) - limit, 0) + unread
    return f"{clean[:limit]}… ({missing:,} more characters)" if missing else clean
