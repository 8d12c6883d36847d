"""Definitions that were accepted, kept so that a later change can be shown as a diff.

Kept by their hash, so what comes back is what was accepted or nothing at all: a file that is
damaged, missing or tampered with costs a diff and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from ..types import Tool

log = logging.getLogger("oneturn.tools")

FILE_NAME = "definitions.sqlite"

_MEMORY_BYTES = 16 * 1024 * 1024  # compressed definitions kept in this process
_DISK_BYTES = 256 * 1024 * 1024  # compressed definitions kept on disk
_MAX_BYTES = 16 * 1024 * 1024  # of one definition; the catalog's own bounds keep far below it
_PATIENCE = 5.0  # seconds to wait for another process that is writing
_TABLE = "CREATE TABLE IF NOT EXISTS definitions (pin TEXT UNIQUE, body BLOB, place INTEGER PRIMARY KEY)"


class DefinitionStore:
    """Definitions by pin: some in memory, and more in a file when there is a folder for it.

    Args:
        folder: Where the file goes; made when needed. None keeps nothing on disk.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / FILE_NAME if folder is not None else None
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, pin: str) -> str | None:
        """The definition with this pin; None when it is not here any more."""
        body = self._memory.get(pin)
        if body is None and self._path is not None and self._path.is_file():
            try:
                with closing(self._open(self._path)) as file:
                    row = file.execute("SELECT body FROM definitions WHERE pin = ?", (pin,)).fetchone()
            except (sqlite3.Error, OSError) as error:
                log.debug("%s cannot be read: %s", self._path, error)
                return None
            body = row[0] if row is not None and isinstance(row[0], bytes) else None
        return _unpacked(body, pin) if body is not None else None

    def keep(self, pin: str, definition: str) -> None:
        """Remember a definition in this process; the oldest are forgotten for it when room is short."""
        body = zlib.compress(definition.encode(), 1)
        self._size += len(body) - len(self._memory.pop(pin, b""))
        self._memory[pin] = body
        while self._size > _MEMORY_BYTES:
            _, dropped = self._memory.popitem(last=False)
            self._size -= len(dropped)

    def save(self, tools: Mapping[str, Tool]) -> None:
        """Write to disk what is not there yet. May take a while, and never fails."""
        if self._path is None or not tools:
            return
        try:
            self._write(self._path, tools)
        except sqlite3.DatabaseError as error:
            log.debug("%s is damaged and is written anew: %s", self._path, error)
            try:
                if not isinstance(error, sqlite3.OperationalError):  # busy, or the disk is full
                    self._path.unlink(missing_ok=True)
                    self._write(self._path, tools)
            except (sqlite3.Error, OSError) as again:
                log.debug("%s cannot be written: %s", self._path, again)
        except OSError as error:
            log.debug("%s cannot be written: %s", self._path, error)

    def _write(self, path: Path, tools: Mapping[str, Tool]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open(path)) as file, file:
            file.execute(_TABLE)
            there = {pin for (pin,) in file.execute("SELECT pin FROM definitions")}
            file.executemany(
                "INSERT OR IGNORE INTO definitions (pin, body) VALUES (?, ?)",
                (
                    (pin, zlib.compress(tool.definition.encode(), 1))
                    for pin, tool in tools.items()
                    if pin not in there
                ),
            )
            (size,) = file.execute("SELECT coalesce(sum(length(body)), 0) FROM definitions").fetchone()
            while size > _DISK_BYTES:
                place, length = file.execute(
                    "SELECT place, length(body) FROM definitions ORDER BY place LIMIT 1"
                ).fetchone()
                file.execute("DELETE FROM definitions WHERE place = ?", (place,))
                size -= length

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=_PATIENCE)


def _unpacked(body: bytes, pin: str) -> str | None:
    try:
        found = zlib.decompressobj().decompress(body, _MAX_BYTES)
    except zlib.error:
        return None
    return found.decode() if hashlib.sha256(found).hexdigest() == pin else None
