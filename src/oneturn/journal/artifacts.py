"""Artifacts: large or binary values kept out of the context and read back by handle.

The store is bounded and lives in memory; the oldest artifacts go first. Each belongs to the caller
whose run made it, and nobody else can read it, not even with its id.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oneturn.errors import ArtifactNotFound, ToolError


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes with a type, and whose they are."""

    id: str
    data: bytes
    mime: str
    name: str
    caller: str

    def handle(self) -> dict[str, Any]:
        """What a script and a model see in place of the bytes."""
        shown: dict[str, Any] = {"artifact": self.id, "mime": self.mime, "bytes": len(self.data)}
        if self.name:
            shown["name"] = self.name
        return shown


class ArtifactStore:
    """Holds artifacts up to a total size, oldest out first. Safe to use from any thread.

    Args:
        capacity: Bytes kept in all; one artifact may take at most a quarter of it.
    """

    def __init__(self, capacity: int = 64 * 1024 * 1024) -> None:
        self._capacity = capacity
        self._held = 0
        self._lock = threading.Lock()
        self._artifacts: OrderedDict[str, Artifact] = OrderedDict()

    def put(self, data: bytes, *, mime: str, name: str, caller: str) -> Artifact:
        """Keep `data` for `caller`. Raises ToolError when it alone is too large."""
        largest = self._capacity // 4
        if len(data) > largest:
            raise ToolError(
                f"the result holds {len(data):,} bytes of {mime}; at most {largest:,} can be kept"
            )
        artifact = Artifact(secrets.token_hex(6), data, mime, name, caller)
        with self._lock:
            self._artifacts[artifact.id] = artifact
            self._held += len(data)
            while self._held > self._capacity:
                _, oldest = self._artifacts.popitem(last=False)
                self._held -= len(oldest.data)
        return artifact

    def get(self, artifact_id: str, *, caller: str) -> Artifact:
        """The artifact, if it is there and `caller`'s own. Raises ArtifactNotFound otherwise."""
        with self._lock:
            artifact = self._artifacts.get(artifact_id)
        if artifact is None or artifact.caller != caller:
            raise ArtifactNotFound(
                f"There is no artifact {artifact_id!r}; it may have been dropped for newer ones."
            )
        return artifact


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
