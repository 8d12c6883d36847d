"""Where the cache guard keeps results: as bytes, by key, each until its time is up.

So every answer is a fresh copy, and what is kept has an exact size.
"""

from __future__ import annotations

import marshal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachetools import TLRUCache

LARGEST = 1024 * 1024
"""Bytes of a result beyond which it is not kept."""

_LEAST = 1024  # what the smallest entry counts: bounds the number of entries as well


class Store:
    """Results as bytes, by key. The least recently used go first. Thread-safe.

    Args:
        size: Bytes in all; each entry counts at least 1 KiB.
        clock: Seconds that never go back.
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._entries: TLRUCache[bytes, _Entry, float] = TLRUCache(size, _expiry, clock, _weight)
        self._lock = threading.Lock()

    def get(self, key: bytes) -> bytes | None:
        """What was put there and has not expired."""
        with self._lock:
            entry = self._entries.get(key)
        return entry.data if entry is not None else None

    def put(self, key: bytes, ttl: float, value: Any, size: int) -> None:
        """Keep a plain value of about `size` bytes for `ttl` seconds; nothing when it is too large."""
        if size > LARGEST:
            return
        entry = _Entry(marshal.dumps(value), ttl)
        with self._lock:
            self._entries[key] = entry


@dataclass(frozen=True, slots=True)
class _Entry:
    data: bytes
    ttl: float


def _expiry(_key: bytes, entry: _Entry, now: float) -> float:
    return now + entry.ttl


def _weight(entry: _Entry) -> int:
    return max(_LEAST, len(entry.data))
