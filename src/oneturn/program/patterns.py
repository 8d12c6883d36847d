"""Which regular expressions and format strings mean the same to Monty as to CPython.

Monty's regular expressions come from another engine. It differs where a pattern can match nothing, at
`$` before a final line feed, in what `\\w`, `\\b` and `\\s` are beyond ASCII, when case is ignored, and in
rarer syntax. So a pattern is read here, and only plain syntax that always consumes something is trusted.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST = 300  # characters of a pattern that are looked at
_MOST = 1_000  # repetitions that a pattern may ask for
_TOKEN = re.compile(
    r"""
    (?P<escape>\\[dD]|\\[.\\+*?()\[\]{}|^$/\-'"!@\#%&=:;,<>~`\ _])
    | (?P<edge>\^)
    | (?P<control>\\[nrt])
    | (?P<set>\[\^?(?:
        \\[dDnrt.\\+*?()\[\]{}|^$/\-]|[^\\\[\]&~|\-]|(?<=[0-9A-Za-z])-(?=[0-9A-Za-z])|-(?=\]))+\])
    | (?P<open>\((?:\?:|\?P<[A-Za-z_][A-Za-z_0-9]*>)?(?!\?))
    | (?P<close>\))
    | (?P<repeat>(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??(?![*+?{]))
    | (?P<either>\|)
    | (?P<plain>[^\\\[\](){}|*+?^$])
    """,
    re.VERBOSE,
)
_RANGE = re.compile(r"([0-9A-Za-z])-([0-9A-Za-z])")
_SPEC = re.compile(r"(?:.?[<>^])?[+\- ]?#?0?[0-9]{0,3}[,_]?(?:\.[0-9]{1,2})?(?P<code>[bcdeEfFgGnosxX%]?)")
_ALIGNED = re.compile(r"(?:.?[<>^])?[+\- ]?0?[0-9]{0,3}(?:\.[0-9]{1,2})?")


@dataclass(slots=True)
class _Group:
    """A part of a pattern that is being read."""

    branches: bool = True
    """Whether every branch that was read to its end consumes something."""
    consumes: bool = False
    """Whether the branch that is being read does."""
    before: bool = False
    """Whether it did before its last part."""
    repeatable: bool = False
    """Whether its last part is one that a repeat may follow."""

    def take(self, consumes: bool, repeatable: bool) -> None:
        """Add a part to the branch."""
        self.before = self.consumes
        self.consumes |= consumes
        self.repeatable = repeatable


def pattern_is_plain(pattern: str) -> bool:
    """Whether Monty reads a regular expression as CPython does."""
    if not pattern or len(pattern) > _LONGEST or not pattern.isascii():
        return False
    stack = [_Group()]
    names: list[str] = []
    place = 0
    while place < len(pattern):
        found = _TOKEN.match(pattern, place)
        if found is None:
            return False
        place = found.end()
        kind, text = found.lastgroup, found.group()
        if kind == "open":
            names += [text[4:-1]] if text.startswith("(?P") else []
            stack.append(_Group())
        elif kind == "close":
            inner = stack.pop()
            if not stack:
                return False
            whole = inner.branches and inner.consumes
            stack[-1].take(whole, repeatable=whole)
        elif not _read(stack[-1], kind, text):
            return False
    whole_pattern = stack.pop()
    sound = not stack and whole_pattern.branches and whole_pattern.consumes
    return sound and len(set(names)) == len(names)


def _read(group: _Group, kind: str | None, text: str) -> bool:
    """Read what is neither the beginning nor the end of a group. Whether it is understood."""
    if kind == "either":
        group.branches &= group.consumes
        group.consumes = group.repeatable = False
    elif kind == "repeat":
        bounds = [int(bound) for bound in re.findall("[0-9]+", text)]
        if not group.repeatable or bounds != sorted(bounds) or max(bounds, default=0) > _MOST:
            return False
        if text[0] in "*?" or (bounds and bounds[0] == 0):
            group.consumes = group.before
        group.repeatable = False
    elif kind == "edge":
        group.take(consumes=False, repeatable=False)
    else:
        ranges = _RANGE.findall(text) if kind == "set" else []
        group.take(consumes=True, repeatable=True)
        return all(first <= last for first, last in ranges)
    return True


def spec_is_plain(spec: str) -> bool:
    """Whether a format specification is ordinary."""
    return _SPEC.fullmatch(spec) is not None


def spec_asks_nothing(spec: str) -> bool:
    """Whether a format specification only aligns, signs or cuts, so that Monty takes it for any value."""
    return _ALIGNED.fullmatch(spec) is not None and spec != ""


def times(spec: str, directives: frozenset[str]) -> bool:
    """Whether a specification is one for times, with no directives but these."""
    parts = spec.split("%")
    asked = "".join(parts[index][:1] or "%" for index in range(1, len(parts)))
    return len(parts) > 1 and spec.isascii() and "%%" not in spec and set(asked) <= directives


def fields(template: str) -> Iterator[tuple[str, str]] | None:
    """Each field of a template of `str.format` with its specification; None when it is not ordinary."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        return None
    return iter([(name, spec or "") for _, name, spec, _ in parts if name is not None])
