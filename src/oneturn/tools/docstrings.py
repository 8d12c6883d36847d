"""What the docstring of a Python function says: description, parameters, notes and examples.

Google, NumPy and reST styles are read. Beside the usual sections there are `Note(s)`, `Warning(s)`
and `Rate limit`; each is also understood as a paragraph that begins with the word and a colon.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import docstring_parser
from docstring_parser.google import DEFAULT_SECTIONS, GoogleParser, Section, SectionType

from .parameters import underlying, without_partials

_NOTES = ("Note", "Notes", "Warning", "Warnings", "Rate limit", "Rate limits")
_GOOGLE = GoogleParser(
    [*DEFAULT_SECTIONS, *(Section(title, title.lower(), SectionType.SINGULAR) for title in _NOTES)]
)
_NOTE_PARAGRAPH = re.compile(rf"\s*({'|'.join(reversed(_NOTES))}):\s+\S", re.IGNORECASE)
_FENCE = re.compile(r"^\s*```.*$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Docs:
    """A docstring, taken apart. `parsed` knows the parameters."""

    description: str
    notes: tuple[str, ...]
    examples: tuple[str, ...]
    parsed: docstring_parser.Docstring


def docs_of(fn: Callable[..., Any]) -> Docs:
    """What the docstring of a function, or of the callable behind it, says."""
    found = without_partials(fn)
    if inspect.isroutine(found):
        text = inspect.getdoc(found)
    else:
        text = underlying(fn).__doc__ or inspect.getdoc(type(found))
    told: list[str] = []
    kept: list[str] = []
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):  # before the parser, which drops some
        noted = _NOTE_PARAGRAPH.match(paragraph) is not None
        (told if noted else kept).append(_line(paragraph) if noted else paragraph)
    parsed = _parsed("\n\n".join(kept))
    told += _notes(parsed)
    return Docs((parsed.description or "").strip(), tuple(told), tuple(_examples(parsed)), parsed)


def _parsed(text: str) -> docstring_parser.Docstring:
    usual = docstring_parser.parse(text)
    try:
        ours = _GOOGLE.parse(text)
    except docstring_parser.ParseError:
        return usual
    return ours if ours.meta and len(ours.meta) >= len(usual.meta) else usual


def _notes(parsed: docstring_parser.Docstring) -> Iterable[str]:
    """One line for each section; a warning and a rate limit say that they are one."""
    for meta in parsed.meta:
        kind = meta.args[0] if meta.args else ""
        for word in ("note", "warning", "rate limit"):
            if kind in (word, f"{word}s") and meta.description:
                line = _line(meta.description)
                yield line if word == "note" else f"{word.capitalize()}: {line}"


def _examples(parsed: docstring_parser.Docstring) -> Iterable[str]:
    for example in parsed.examples:
        parts = (example.snippet, example.description)
        code = _FENCE.sub("", "\n".join(part for part in parts if part)).strip("\n")
        if code.strip():
            yield code


def _line(text: str) -> str:
    return " ".join(text.split())
