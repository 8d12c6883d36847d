"""Artifacts: large or binary values kept out of the context and read back by handle.

The store is bounded and lives in memory. Each artifact belongs to the caller whose run made it, and
nobody else can read it, not even with its id. What has to go for a new one is the caller's own first:
one caller holds at most half of the store, and past that loses its own oldest. Only when all callers
together fill the store does the oldest of whoever holds most go.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from oneturn.errors import ArtifactNotFound, ToolError

_MAX_LABEL = 200  # characters of a type or a name
_NONCE = 12  # characters of an id that are random; the others say what it is the id of
_OVERHEAD = 256  # bytes an artifact takes besides its contents


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes with a type, and whose they are."""

    id: str
    data: bytes
    mime: str
    name: str
    caller: str

    @classmethod
    def new(cls, data: bytes, mime: str, name: str, caller: str) -> Artifact:
        """One with an id that nobody can guess, and that nothing else fits."""
        nonce = secrets.token_hex(_NONCE // 2)
        return cls(_id(nonce, data, mime, name, caller), data, mime, name, caller)

    @property
    def is_whole(self) -> bool:
        """Whether it is what its id was made for."""
        return self.id == _id(self.id[:_NONCE], self.data, self.mime, self.name, self.caller)

    @property
    def size(self) -> int:
        """Bytes it counts for in the store."""
        return len(self.data) + len(self.mime) + len(self.name) + _OVERHEAD

    def handle(self) -> dict[str, Any]:
        """What a script and a model see in place of the bytes."""
        shown: dict[str, Any] = {"artifact": self.id, "mime": self.mime, "bytes": len(self.data)}
        if self.name:
            shown["name"] = self.name
        return shown


@dataclass(slots=True)
class _Held:
    """What one caller holds, oldest first."""

    held: int = 0
    artifacts: dict[str, Artifact] = field(default_factory=dict)

    def add(self, artifact: Artifact) -> None:
        self.artifacts[artifact.id] = artifact
        self.held += artifact.size

    def drop_oldest(self) -> int:
        size = self.artifacts.pop(next(iter(self.artifacts))).size
        self.held -= size
        return size


class Shelf(Protocol):
    """Where artifacts are kept for longer than the process that made them."""

    def keep(self, artifact: Artifact, run: str) -> None:
        """Keep one, durably."""
        ...

    def find(self, artifact_id: str) -> Artifact | None:
        """One that was kept, whoever's it is."""
        ...


class ArtifactStore:
    """Holds artifacts up to a total size. Safe to use from any thread.

    Args:
        capacity: Bytes kept in memory in all, 64 MiB by default. The data of one artifact may take at
            most a quarter of it, and all artifacts of one caller half.
        shelf: Where they are kept beside that; nowhere when not given.
    """

    def __init__(self, capacity: int = 64 * 1024 * 1024, shelf: Shelf | None = None) -> None:
        self._capacity = capacity
        self._shelf = shelf
        self._held = 0
        self._lock = threading.Lock()
        self._shelves: dict[str, _Held] = {}

    def put(self, data: bytes, *, mime: str, name: str, caller: str, run: str = "") -> Artifact:
        """Keep `data` for `caller`; of `mime` and `name` the first 200 characters.

        Raises:
            ToolError: The data alone is too large.
            JournalError: It cannot be kept on the shelf.
        """
        mime, name = mime[:_MAX_LABEL], name[:_MAX_LABEL]
        largest = self._capacity // 4
        if len(data) > largest:
            raise ToolError(
                f"the result holds {len(data):,} bytes of {mime}; at most {largest:,} can be kept"
            )
        artifact = Artifact.new(data, mime, name, caller)
        with self._lock:
            self._make_room(artifact)
            self._shelves.setdefault(caller, _Held()).add(artifact)
            self._held += artifact.size
        if self._shelf is not None:
            self._shelf.keep(artifact, run)
        return artifact

    def _make_room(self, new: Artifact) -> None:
        own = self._shelves.get(new.caller)
        while own is not None and own.artifacts and own.held + new.size > self._capacity // 2:
            self._held -= own.drop_oldest()
        while self._held and self._held + new.size > self._capacity:
            largest = max(self._shelves, key=lambda caller: self._shelves[caller].held)
            self._held -= self._shelves[largest].drop_oldest()
            if not self._shelves[largest].artifacts:
                del self._shelves[largest]

    def get(self, artifact_id: str, *, caller: str) -> Artifact:
        """The artifact, if it is there and `caller`'s own.

        Raises:
            ArtifactNotFound: It is not.
            JournalCorrupt: It was changed since it was kept.
        """
        with self._lock:
            shelf = self._shelves.get(caller)
            artifact = shelf.artifacts.get(artifact_id) if shelf is not None else None
        if artifact is None and self._shelf is not None:
            artifact = self._shelf.find(artifact_id)
        if artifact is None or artifact.caller != caller:
            raise ArtifactNotFound(
                f"There is no artifact {artifact_id!r}; it may have been dropped for newer ones."
            )
        return artifact


def _id(nonce: str, data: bytes, mime: str, name: str, caller: str) -> str:
    """Handles are on record with their run, so what an id is made from cannot be changed unseen."""
    digest = hashlib.blake2b(nonce.encode(), digest_size=16)
    for part in (*(text.encode(errors="backslashreplace") for text in (mime, name, caller)), data):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return nonce + digest.hexdigest()


def artifact_ids(value: Any) -> list[str]:
    """The ids of all artifact handles in a plain value, in order, without repeats."""
    found: dict[str, None] = {}
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if isinstance(item.get("artifact"), str) and isinstance(item.get("mime"), str):
                found[item["artifact"]] = None
            stack.extend(reversed(list(item.values())))
        elif isinstance(item, list):
            stack.extend(reversed(item))
    return list(found)
