"""Fields that must not be on record, by their names: their values are masked before anything is written."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "[redacted]"


class Fields:
    """Names of fields, as globs such as `password` or `*_token`, whatever their case.

    Args:
        names: Fields of arguments and results, at any depth.
    """

    def __init__(self, names: Sequence[str]) -> None:
        spelled = "|".join(fnmatch.translate(name) for name in names) or r"(?!)"
        self._named = re.compile(spelled, re.IGNORECASE)

    def hidden(self, value: Any) -> Any:
        """`value` with the masks in place; the very same object when there was nothing to mask."""
        if isinstance(value, Mapping):
            parts = {
                key: MASK if self._named.match(key) else self.hidden(part) for key, part in value.items()
            }
            return parts if any(parts[key] is not part for key, part in value.items()) else value
        if isinstance(value, list | tuple):
            items = [self.hidden(part) for part in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        return value
