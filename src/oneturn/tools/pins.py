"""Which definitions are accepted, and which tools are held until somebody accepts theirs.

A definition is trusted as it was first seen in a session, or as the lock file says it. A source
that later offers another one under the same name has that tool held: not listed, not found, not
called. Names count across sources, so no source can take over a name another one has had. The
app's own Python functions are the operator's code and never held.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..types import Tool
from . import lockfile
from .definition_store import DefinitionStore
from .lockfile import Lock

log = logging.getLogger("oneturn.tools")

OWN = "python"
"""The source of the app's own functions."""

MOST_GONE = 10_000
"""Tools a source may have withdrawn in one session; after that, names not seen before are held."""


@dataclass(frozen=True, slots=True)
class Held:
    """A tool that is not offered until somebody accepts its definition.

    Attributes:
        tool: The tool as its source defines it now, without an operator's settings.
        reason: `changed`: another definition was accepted. `new`: none was, and its source is locked
            or has withdrawn very many tools.
        pin: Hash of the definition it has now.
        old_pin: Hash of the accepted definition; empty when there is none.
        old_source: The source the accepted definition came from; empty when there is none.
        old: The accepted definition, as `Tool.definition`; None when there is none, or when it is
            not on this machine.
        since: When it was first held in this process, in UTC.
    """

    tool: Tool
    reason: Literal["changed", "new"]
    pin: str
    old_pin: str = ""
    old_source: str = ""
    old: str | None = field(default=None, repr=False)
    since: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)


@dataclass(frozen=True, slots=True)
class Pinned:
    """What pinning found: names that are pinned now and were not, that are unchanged, that are
    defined otherwise than their pin says (and keep it), and pinned ones that no source offers."""

    new: tuple[str, ...]
    same: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A definition in force. Its pin is worked out when it is first needed, and always outlives the tool."""

    source: str
    tool: Tool | None
    known_pin: str = ""

    @property
    def pin(self) -> str:
        return self.known_pin or (self.tool.pin if self.tool is not None else "")


class Pins:
    """The accepted definitions of one app.

    Args:
        lock: The lock file; it need not exist. None locks nothing.
        state: A folder where accepted definitions are kept for diffs; made when needed. None keeps
            them in memory only.

    Attributes:
        path: The lock file, or None.

    Raises:
        ConfigError: The lock file is damaged.
    """

    def __init__(self, lock: Path | None = None, state: Path | None = None) -> None:
        self.path = lock
        self._store = DefinitionStore(state)
        self._mark = self._stamp()
        self._lock = (lockfile.read(lock) if lock is not None else None) or Lock()
        self._accepted: dict[str, _Accepted] = {}
        self._names: dict[str, set[str]] = {}  # of each source, those accepted in this session
        self._held: dict[str, Held] = {}
        self._unsaved: dict[str, Tool] = {}

    @property
    def locked(self) -> frozenset[str]:
        """The sources that the lock file names."""
        return frozenset(self._lock.sources)

    def begin(self) -> None:
        """Start a session: what sources list from now on is trusted as first seen."""
        self._accepted.clear()
        self._names.clear()
        self._held.clear()

    def reread(self) -> bool:
        """Take up the lock file when it has changed on disk. Whether it had.

        A file that cannot be used changes nothing: what was accepted before stays in force.
        """
        if self.path is None or (mark := self._stamp()) == self._mark:
            return False
        self._mark = mark
        try:
            self._lock = self._fresh()
        except ConfigError as error:
            log.warning("%s What was accepted before stays in force.", error)
            return False
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        if self.path is None:
            return None
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    # --- judging

    def check(self, source: str, tools: Sequence[Tool]) -> Mapping[str, Held]:
        """Those of `tools`, all that `source` defines now, that are to be held, by name."""
        if source == OWN:
            return {}
        gone = self._names.setdefault(source, set()) - {tool.name for tool in tools}
        for name in gone:
            self._outlive(name)
        full = len(gone) >= MOST_GONE
        found = {tool.name: held for tool in tools if (held := self._judge(tool, full)) is not None}
        for name in [name for name, held in self._held.items() if held.tool.source == source]:
            del self._held[name]
        self._held |= found
        return found

    def _judge(self, tool: Tool, full: bool) -> Held | None:
        accepted = self._accepted.get(tool.name)
        locked = self._lock.owners.get(tool.name)
        is_same = accepted is not None and accepted.tool is tool and accepted.source == tool.source
        if locked is not None:
            source, pin = locked
            new = accepted.pin if accepted is not None and is_same else tool.pin
            if (source, pin) != (tool.source, new):
                return self._hold(tool, "changed", new, pin, source)
            if not is_same or (accepted is not None and not accepted.known_pin):
                self._unsaved[pin] = tool
                self._accept(tool, pin)
        elif tool.source in self._lock.sources:
            return self._hold(tool, "new", tool.pin)
        elif accepted is None:
            if full:
                return self._hold(tool, "new", tool.pin)
            self._accept(tool)
        elif not is_same:
            old, new = accepted.pin, tool.pin
            if (accepted.source, old) != (tool.source, new):
                return self._hold(tool, "changed", new, old, accepted.source)
            self._accept(tool, new)
        return None

    def _hold(
        self, tool: Tool, reason: Literal["changed", "new"], pin: str, old_pin: str = "", old_source: str = ""
    ) -> Held:
        before = self._held.get(tool.name)
        if before is not None and (before.pin, before.old_pin, before.tool.source) == (
            pin,
            old_pin,
            tool.source,
        ):
            return before
        accepted = self._accepted.get(tool.name)
        old = self._store.get(old_pin) if old_pin else None
        if old is None and accepted is not None and accepted.tool is not None and accepted.pin == old_pin:
            old = accepted.tool.definition
        return Held(tool, reason, pin, old_pin, old_source, old)

    def _accept(self, tool: Tool, pin: str = "") -> None:
        before = self._accepted.get(tool.name)
        if before is not None and before.source != tool.source:
            self._names[before.source].discard(tool.name)
        self._accepted[tool.name] = _Accepted(tool.source, tool, pin)
        self._names.setdefault(tool.source, set()).add(tool.name)

    def _outlive(self, name: str) -> None:
        """Keep of a tool that was withdrawn what is needed to know it again."""
        accepted = self._accepted[name]
        if accepted.tool is not None:
            pin = accepted.pin
            self._store.keep(pin, accepted.tool.definition)
            self._accepted[name] = _Accepted(accepted.source, None, pin)

    # --- accepting

    def accept(self, held: Iterable[Held]) -> None:
        """Put the definitions of held tools in force: in the lock file for sources that it names.

        Raises:
            ConfigError: The lock file cannot be read or written; nothing was accepted.
        """
        chosen = list(held)
        if self.path is not None:
            lock = self._fresh()
            after = lock
            for each in chosen:
                if each.tool.source in after.sources:
                    after = after.changed(each.tool.source, {each.tool.name: each.pin})
                elif each.tool.name in after.owners:  # of a source that is not locked: no pin any more
                    owner = after.owners[each.tool.name][0]
                    after = after.changed(owner, {each.tool.name: None})
            self._put(after, lock)
        for each in chosen:
            self._accept(each.tool, each.pin)
            if each.tool.source in self._lock.sources:
                self._unsaved[each.pin] = each.tool
        self.save()

    def pin(self, tools: Mapping[str, Sequence[Tool]], held: Mapping[str, Held]) -> Pinned:
        """Lock these sources: pin every tool that has no pin, and leave those that differ as they are.

        Args:
            tools: All tools of each source, as the sources define them.
            held: Tools that are held now. One whose definition changed is not pinned.

        Raises:
            ConfigError: There is no place for a lock file, or it cannot be read or written.
        """
        if self.path is None:
            raise ConfigError("There is no oneturn.toml, and so no place for oneturn.lock; write one first.")
        lock = self._fresh()
        after = lock
        new, same, changed, gone = [], [], [], []
        for source in sorted(set(tools) - {OWN}):
            added: dict[str, str | None] = {}
            offered = {tool.name: tool for tool in tools[source]}
            for name, tool in sorted(offered.items()):
                pin = tool.pin
                known = lock.owners.get(name)
                if known == (source, pin):
                    same.append(name)
                elif known is not None or (name in held and held[name].reason == "changed"):
                    changed.append(name)
                    continue
                else:
                    new.append(name)
                    added[name] = pin
                self._unsaved[pin] = tool
            gone += [name for name in lock.sources.get(source, {}) if name not in offered]
            after = after.changed(source, added)
        self._put(after, lock)
        self.save()
        return Pinned(tuple(new), tuple(same), tuple(changed), tuple(sorted(gone)))

    def save(self) -> None:
        """Keep definitions that the lock file pins, for later diffs. May take a while, never fails."""
        unsaved, self._unsaved = self._unsaved, {}
        self._store.save(unsaved)

    def _fresh(self) -> Lock:
        """The lock as it is on disk now, so that what another process accepted is not lost.

        Raises:
            ConfigError: It cannot be read, or is gone: its sources would be trusted anew without a word.
        """
        assert self.path is not None
        found = lockfile.read(self.path)
        if found is None and self._lock.sources:
            raise ConfigError(f"{self.path} is gone; bring it back, or start again without it.")
        return found or Lock()

    def _put(self, after: Lock, before: Lock) -> None:
        assert self.path is not None
        if after != before:
            lockfile.write(self.path, after)
        self._lock = after
        self._mark = self._stamp()
