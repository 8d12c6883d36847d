"""What a script prints: its `sys.stdout` and `sys.stderr`, kept in order until the next frame.

Standard library only; runs with any Python from 3.11, on the script's side.
"""

from __future__ import annotations

import io
import json
from typing import Any

_quoted = json.encoder.encode_basestring_ascii


class Prints(io.TextIOBase):
    """What a script prints, kept until the next frame; what is over the limit is only counted."""

    encoding = "utf-8"

    def __init__(self, room: int) -> None:
        self._room = room
        self._parts: list[str] = []
        self._cut = 0
        self.buffer = _Bytes(self)

    def reconfigure(self, **_: Any) -> None:
        """There is nothing to configure."""

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Keep as much of it as there is room for."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        text = str.__str__(text)
        size = len(text)
        taken = min(size, self._room)
        if taken:
            self._parts.append(text[:taken])
            self._room -= taken
        self._cut += size - taken
        return size

    def json(self) -> str:
        """What came since the last time, as members of a frame."""
        if not self._parts and not self._cut:
            return ',"prints":"","cut":0'
        text, cut = "".join(self._parts), self._cut
        self._parts.clear()
        self._cut = 0
        return f',"prints":{_quoted(text)},"cut":{cut}'


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`, for scripts that encode what they print."""

    def __init__(self, prints: Prints) -> None:
        self._prints = prints

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Print the text that the bytes spell."""
        data = bytes(data)
        self._prints.write(data.decode("utf-8", "replace"))
        return len(data)
