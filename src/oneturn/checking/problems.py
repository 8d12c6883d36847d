"""What a check found, and how it is told: short, with the way to mend it, several in one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..types import Diagnostic, Position, ScriptError

MOST = 5
"""Problems told in one answer."""
_SHOWN = 600  # characters of one message
_NOTHING_RAN = "Nothing of the script has run."


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `blocks` when the script would fail here for certain."""

    kind: str
    message: str
    position: Position
    hint: str
    blocks: bool

    def diagnostic(self) -> Diagnostic:
        """As a warning, or one of several errors."""
        return Diagnostic(self.kind, _cut(self.message), self.position, self.hint, self.blocks)


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Each problem once, in the order of the script."""
    once = {(each.kind, each.message, each.position.line): each for each in problems}
    return sorted(once.values(), key=lambda each: (each.position.line, each.position.column))


def error(first: ScriptError | None, problems: Sequence[Problem]) -> ScriptError | None:
    """The error that stops a script, with the further ones in its hint; None when nothing does.

    Args:
        first: What is wrong with the syntax tree; it leads.
        problems: What blocks beside it, in order.
    """
    if first is None and not problems:
        return None
    told = [] if first is None else [first.hint]
    others = list(problems)
    if first is None:
        leading = others.pop(0)
        first = ScriptError(leading.kind, _cut(leading.message), leading.position)
        told.append(leading.hint)
    room = MOST - 1
    told += [f"Line {each.position.line}: {_sentence(each.message)} {each.hint}" for each in others[:room]]
    if len(others) > room:
        told.append(f"And {len(others) - room} more.")
    told.append(_NOTHING_RAN)
    return ScriptError(first.kind, first.message, first.position, "\n".join(filter(None, told)))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _sentence(text: str) -> str:
    text = _cut(text)
    return text if text.endswith(("?", ".")) else f"{text}."
