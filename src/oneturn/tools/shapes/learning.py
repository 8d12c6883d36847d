"""Shapes: watches results go by and knows what each tool's results look like."""

from __future__ import annotations

import heapq
import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...types import Tool
from .file import Damaged, Newer, ShapeFile
from .shape import MAX_DEPTH, Look, Shape
from .stored import dump, load

log = logging.getLogger("oneturn.shapes")

MAX_SCHEMA = 20_000
"""Characters of one tool's schema as JSON; deeper parts are left out beyond that."""

_MAX_TOOLS = 20_000
_STEADY = 50  # looks without news, after which only every so many calls are looked at
_EVERY = 16
_WRITE_AFTER = 60.0  # seconds from news to the file
_MAX_KEYS = 16_384


@dataclass(frozen=True, slots=True)
class Observed:
    """The shape of a tool's results, as JSON Schema, and in how many calls results were seen.

    As long as nothing new was seen, `schema` is the same object. It must not be changed.
    """

    schema: Mapping[str, Any]
    calls: int


@dataclass(slots=True)
class _Learned:
    """What is known of one definition of a tool. `unsaved` calls are not in the file yet."""

    key: str
    shape: Shape = field(default_factory=Shape)
    calls: int = 0
    unsaved: int = 0
    used: int = 0
    depth: int = MAX_DEPTH
    weight: int = 0
    looks: int = 0
    steady: int = 0
    schema: dict[str, Any] = field(default_factory=dict)
    stale: bool = True

    def observed(self) -> Observed:
        """What is known, with the same schema object as long as it says the same."""
        if self.stale:
            schema = _schema(self.shape, self.depth)
            if schema != self.schema:
                self.schema = schema
            self.stale = False
        return Observed(self.schema, self.calls + self.unsaved)

    def join(self, other: _Learned) -> None:
        """Take in what the file holds: its shape, and its calls in place of those we knew of."""
        self.shape.join(other.shape)
        self.depth = min(self.depth, other.depth)
        self.weight = self.shape.cut(self.depth)
        self.fit()
        self.stale = True
        self.calls = other.calls
        self.used = max(self.used, other.used)

    def fit(self) -> None:
        """Cut deeper parts until the schema is small enough."""
        while self.weight > MAX_SCHEMA and self.depth > 1:
            self.depth -= 1
            self.weight = self.shape.cut(self.depth)


class Shapes:
    """Learns the shape of results from results, for tools that declare no output schema.

    Only shapes are kept, never values: kinds, names of fields, which fields were in every object.
    Keys that look like data are not kept either; `shape` states the rule and what it cannot know.
    A shape belongs to a tool's definition and to its result rule, and is gone when either changes.

    **Shapes are shared by all callers of an app.** A caller can see that somebody's result had a field
    of some name, though not what was in it. Where field names themselves must not pass between
    callers, do without.

    Safe to use from any thread. Results are looked at for the first 50 calls that show nothing new,
    and at every 16th call from then on.

    Args:
        path: The folder that keeps `shapes.json`; processes may share it. None keeps nothing on disk.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = ShapeFile(path, _MAX_TOOLS) if path is not None else None
        self._lock = threading.Lock()  # for everything below; never held while a file is written
        self._writing = threading.Lock()  # one save at a time; taken before the other
        self._known: dict[str, _Learned] = {}
        self._stored: dict[str, Any] | None = None
        self._keys: dict[int, tuple[Tool, str]] = {}
        self._timer: threading.Timer | None = None
        self._closed = False

    @property
    def file(self) -> Path | None:
        """Where shapes are kept; None when they are not."""
        return self._file.path if self._file is not None else None

    def observe(self, tool: Tool, value: Any) -> None:
        """Learn from one result, plain data as a script gets it. Never raises on such a value.

        Takes some ten microseconds for a usual result, however large, and a few milliseconds for the
        worst that a hostile one can do.
        """
        with self._lock:
            learned = self._find(tool)
            if learned is None:
                learned = self._known[tool.name] = _Learned(self._key(tool))
                self._make_room()
            learned.unsaved += 1
            learned.used = int(time.time())
            if learned.steady >= _STEADY and learned.unsaved % _EVERY:
                return
            learned.looks += 1
            look = Look(learned.looks, learned.depth)
            look.at(learned.shape, value)
            if not look.changed:
                learned.steady += 1
                return
            learned.steady = 0
            learned.weight += look.grown
            learned.fit()
            learned.stale = True
            self._write_soon()

    def get(self, tool: Tool) -> Observed | None:
        """What is known of a tool as it is defined now; None when no result of it was seen."""
        with self._lock:
            learned = self._find(tool)
            return learned.observed() if learned is not None else None

    def save(self) -> None:
        """Write what is new, merged with what other processes wrote. Failures are logged, not raised."""
        if self._file is None:
            return
        with self._writing:
            with self._lock:
                self._timer = None
                news = [
                    (name, learned, learned.unsaved)
                    for name, learned in self._known.items()
                    if learned.unsaved
                ]
            if not news:
                return
            try:
                stored = self._file.update(lambda tools: self._merge(tools, news))
            except (OSError, Newer) as error:
                log.warning("Learned shapes cannot be kept: %s", error)
                return
            with self._lock:
                self._stored = stored
                for _, learned, count in news:
                    learned.unsaved -= count
                    learned.calls += count

    def close(self) -> None:
        """Save, and write nothing by itself from then on. Idempotent."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        self.save()

    def _key(self, tool: Tool) -> str:
        """What a shape is bound to; hashed once per tool object, since a definition can be large."""
        kept = self._keys.get(id(tool))
        if kept is not None and kept[0] is tool:
            return kept[1]
        key = f"{tool.pin}:{tool.results}"
        if len(self._keys) >= _MAX_KEYS:
            self._keys.clear()
        self._keys[id(tool)] = (tool, key)
        return key

    def _find(self, tool: Tool) -> _Learned | None:
        if self._stored is None:
            self._stored = self._read()
        learned = self._known.get(tool.name)
        if learned is None:
            learned = _restored(self._stored.pop(tool.name, None))
            if learned is not None:
                self._known[tool.name] = learned
        return learned if learned is not None and learned.key == self._key(tool) else None

    def _read(self) -> dict[str, Any]:
        try:
            return self._file.read() if self._file is not None else {}
        except Damaged as error:
            log.warning("%s is damaged (%s); learning begins anew.", self.file, error)
        except (OSError, Newer) as error:
            log.warning("Learned shapes cannot be read: %s", error)
        return {}

    def _make_room(self) -> None:
        if len(self._known) <= _MAX_TOOLS:
            return
        for name in heapq.nsmallest(_MAX_TOOLS // 20, self._known, key=lambda name: self._known[name].used):
            del self._known[name]

    def _write_soon(self) -> None:
        if self._file is None or self._timer is not None or self._closed:
            return
        self._timer = threading.Timer(_WRITE_AFTER, self.save)
        self._timer.daemon = True
        self._timer.start()

    def _merge(self, tools: dict[str, Any], news: Sequence[tuple[str, _Learned, int]]) -> None:
        """Lay our news over `tools`, and what others learned over ours."""
        with self._lock:
            for name, learned, count in news:
                theirs = _restored(tools.get(name))
                if theirs is not None and theirs.key == learned.key:
                    learned.join(theirs)
                elif theirs is not None and theirs.used > learned.used:
                    continue  # another process has a later definition of this tool
                tools[name] = {
                    "key": learned.key,
                    "calls": learned.calls + count,
                    "used": learned.used,
                    "depth": learned.depth,
                    "shape": dump(learned.shape),
                }


def _restored(data: Any) -> _Learned | None:
    """One tool of the file; None when there is none, or nothing that can be used."""
    if data is None:
        return None
    try:
        key, calls, used, depth = data["key"], data["calls"], data["used"], data["depth"]
        if type(key) is not str or not all(type(number) is int for number in (calls, used, depth)):
            raise ValueError("a count is no number")
        learned = _Learned(key, load(data["shape"]), calls, used=used, depth=max(1, min(depth, MAX_DEPTH)))
    except (KeyError, TypeError, ValueError) as error:
        log.warning("The learned shape of a tool cannot be used and is forgotten: %s", error)
        return None
    learned.weight = learned.shape.cut(learned.depth)
    learned.fit()
    return learned


def _schema(shape: Shape, depth: int) -> dict[str, Any]:
    schema = shape.schema(depth)
    while len(json.dumps(schema)) > MAX_SCHEMA and depth > 1:
        depth -= 1
        schema = shape.schema(depth)
    return schema
