"""Following `$ref` inside one document, and only inside it.

A document is a stranger's: references may lead to other hosts or files, nowhere, or round in
circles. Nothing is ever fetched; what cannot be followed is None, and every walk has an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_MAX_HOPS = 16  # references that lead to references
_MAX_POINTER = 2_000  # characters


class References:
    """What the references of one document lead to, each looked up once."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._found: dict[str, Any] = {}

    def lookup(self, pointer: str) -> Any:
        """The value at `#/…`; None when there is none."""
        if pointer not in self._found:
            self._found[pointer] = self._walk(pointer)
        return self._found[pointer]

    def resolve(self, value: Any) -> Mapping[str, Any] | None:
        """`value`, or what its reference leads to in the end, if that is an object."""
        for _ in range(_MAX_HOPS):
            if not isinstance(value, Mapping):
                return None
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            value = self.lookup(reference)
        return None

    def target(self, reference: str) -> str | None:
        """The pointer of the schema a reference means, past mere aliases; None if it means none."""
        for _ in range(_MAX_HOPS):
            found = self.lookup(reference)
            if isinstance(found, bool):
                return reference
            if not isinstance(found, Mapping):
                return None
            if len(found) > 1 or not isinstance(found.get("$ref"), str):
                return reference
            reference = found["$ref"]
        return None

    def _walk(self, pointer: str) -> Any:
        if not pointer.startswith("#/") or len(pointer) > _MAX_POINTER:
            return None
        part: Any = self._document
        for step in tokens(pointer):
            if isinstance(part, Mapping):
                part = part.get(step)
            elif isinstance(part, list) and step.isdecimal() and len(step) < 6 and int(step) < len(part):
                part = part[int(step)]
            else:
                return None
        return part


def tokens(pointer: str) -> list[str]:
    """The steps of a pointer, as the document spells them."""
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
