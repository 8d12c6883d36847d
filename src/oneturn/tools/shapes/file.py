"""The one file learned shapes are kept in: read, changed under a lock, replaced in one step."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("oneturn.shapes")

_VERSION = 1
_MAX_FILE = 64 * 1024 * 1024  # bytes; the largest that is read
_MAX_KEPT = 32 * 1024 * 1024  # characters of all tools together that are written
_PATIENCE = 10.0  # seconds to wait for another process


class Damaged(ValueError):
    """The file is not what we write."""


class Newer(ValueError):
    """The file was written by a later version of this program, which must not lose it."""


class ShapeFile:
    """`shapes.json` in a folder, shared by every process that learns there.

    Args:
        folder: Made when the first shapes are written.
        tools: How many tools are kept; those used least recently go first.
    """

    def __init__(self, folder: Path, tools: int) -> None:
        self.path = folder / "shapes.json"
        self._tools = tools

    def read(self) -> dict[str, Any]:
        """What is kept, by tool name; nothing when there is no file.

        Raises:
            Damaged: It cannot be read as our file.
            Newer: It is of a later version.
            OSError: It cannot be read at all.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(_MAX_FILE + 1)
        except FileNotFoundError:
            return {}
        if len(text) > _MAX_FILE:
            raise Damaged(f"it is larger than {_MAX_FILE:,} bytes")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Damaged("it is not JSON") from error
        if not isinstance(data, dict) or type(version := data.get("version")) is not int or version < 1:
            raise Damaged("it states no version")
        if version > _VERSION:
            raise Newer(
                f"{self.path} was written by a newer oneturn (format {version}; this one knows {_VERSION}); "
                "it is left alone, and nothing learned now is kept. Update oneturn, or move the file away."
            )
        tools = data.get("tools")
        if not isinstance(tools, dict) or not all(map(_sound, tools.values())):
            raise Damaged("its list of tools is not one")
        return tools

    def update(self, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Let `change` work on what is kept and write the result; no other process can come between.

        A damaged file is moved to `shapes.json.damaged` and a new one begun.

        Raises:
            Newer: It is of a later version; nothing was changed.
            OSError: It cannot be written, or another process held the lock for 10 s.
        """
        from filelock import FileLock  # 60 ms, and only whoever writes needs it

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock", timeout=_PATIENCE, mode=0o600):
            try:
                tools = self.read()
            except Damaged as error:
                aside = self.path.with_name("shapes.json.damaged")
                os.replace(self.path, aside)
                log.warning("%s was damaged (%s) and is now %s; a new one is begun.", self.path, error, aside)
                tools = {}
            change(tools)
            tools = self._recent(tools)
            self._write(tools)
        return tools

    def _recent(self, tools: Mapping[str, Any]) -> dict[str, Any]:
        """As many tools as may be kept, the last used first."""
        kept: dict[str, Any] = {}
        room = _MAX_KEPT
        for name in sorted(tools, key=lambda name: tools[name]["used"], reverse=True)[: self._tools]:
            room -= len(name) + len(json.dumps(tools[name]))
            if room < 0:
                break
            kept[name] = tools[name]
        return kept

    def _write(self, tools: Mapping[str, Any]) -> None:
        fresh = self.path.with_name("shapes.json.new")  # one name will do, since we hold the lock
        text = json.dumps({"version": _VERSION, "tools": tools}, separators=(",", ":"))
        fresh.unlink(missing_ok=True)  # left by a crash; or a link, which must not be written through
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)


def _sound(tool: object) -> bool:
    return isinstance(tool, dict) and type(tool.get("used")) is int
