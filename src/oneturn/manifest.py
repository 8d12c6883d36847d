"""What there is to call, told in a fixed number of tokens however much that is.

The tiers, of which the first that fits is used:

1. the name of every tool: `crm.find, time.now`;
2. every namespace with its number of tools, grouped by the outermost:
   `github (1,223: actions 184, issues 60), time (2), top level: add`;
3. the outermost namespaces with their numbers of tools and of namespaces, and the largest of the
   latter while there is room: `github (1,223 in 40: actions 184, …), time (2)`;
4. those of them that fit, the largest first: `github (1,223 in 40), and 2,000 more`.

A name that alone would fill the space is counted among the rest and not cut: half a name finds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import nsmallest

from .tokens import count

_SPARE = 16  # tokens kept back because parts count a little more once joined
_TOKEN_CHARS = 8  # a text with more characters per token than this is not even counted
_TRIED = 400  # namespaces looked at for the last tier: many times what fits


def names_text(names: Iterable[str], max_tokens: int) -> str:
    """The first tier: every name in the given order; empty when they do not fit."""
    return _joined(names, max_tokens)


def namespaces_text(namespaces: Mapping[str, int], max_tokens: int, top_level: Iterable[str] = ()) -> str:
    """The other tiers.

    Args:
        namespaces: Each namespace with the number of tools directly in it; "" for the top level.
        max_tokens: The most the text may count.
        top_level: The names of the tools without a namespace, which are told when they are few.
    """
    groups: dict[str, Counter[str]] = {}
    for name in sorted(namespaces):
        outer, _, inner = name.partition(".")
        groups.setdefault(outer, Counter())[inner] += namespaces[name]
    alone = groups.pop("", Counter()).total()
    named = _joined(top_level, max_tokens // 3)
    last = [f"top level: {named}" if named else f"top level ({alone:,})"] if alone else []
    every = _joined([*map(_grouped, groups, groups.values()), *last], max_tokens)
    return every or _outermost(groups, last, max_tokens) or _largest(groups, last, max_tokens)


def _grouped(outer: str, group: Counter[str]) -> str:
    inner = ", ".join(f"{name} {tools:,}" for name, tools in group.items() if name)
    return f"{outer} ({group.total():,}{': ' if inner else ''}{inner})"


def _counted(outer: str, group: Counter[str]) -> str:
    inner = len(group) - ("" in group)
    return f"{outer} ({group.total():,}{f' in {inner:,}' if inner else ''})"


def _outermost(groups: Mapping[str, Counter[str]], last: list[str], max_tokens: int) -> str:
    counted = {outer: _counted(outer, group) for outer, group in groups.items()}
    short = _joined([*counted.values(), *last], max_tokens)
    if not short:
        return ""
    room = max_tokens - count(short) - _SPARE
    inner = ((tools, outer, name) for outer, group in groups.items() for name, tools in group.items() if name)
    named: dict[str, list[str]] = {}
    for tools, outer, name in nsmallest(_TRIED, inner, key=lambda each: (-each[0], *each[1:])):
        if len(name) > room * _TOKEN_CHARS:
            continue
        entry = f"{name} {tools:,}"
        room -= count(entry) + (2 if outer in named else 5)
        if room < 0:
            break
        named.setdefault(outer, []).append(entry)
    for outer, entries in named.items():
        counted[outer] = f"{counted[outer][:-1]}: {', '.join(entries)}, …)"
    return _joined([*counted.values(), *last], max_tokens) or short


def _largest(groups: Mapping[str, Counter[str]], last: list[str], max_tokens: int) -> str:
    order = sorted(groups, key=lambda outer: (-groups[outer].total(), outer))
    shown: list[str] = []
    room = max_tokens - _SPARE - sum(map(count, last))
    for outer in order[:_TRIED]:
        if len(outer) > max_tokens * _TOKEN_CHARS:
            continue
        entry = _counted(outer, groups[outer])
        cost = count(entry) + 1
        if cost <= room:
            room -= cost
            shown.append(entry)
    rest = len(groups) - len(shown)
    more = f"and {rest:,} more" if shown else f"{rest:,} with long names"
    return ", ".join([*shown, *last, more])


def _joined(parts: Iterable[str], max_tokens: int) -> str:
    """The parts in a row, or nothing when they count more than `max_tokens`."""
    taken: list[str] = []
    room = max_tokens * _TOKEN_CHARS
    for part in parts:
        room -= len(part) + 2
        if room < 0:
            return ""
        taken.append(part)
    text = ", ".join(taken)
    return text if count(text) <= max_tokens else ""
