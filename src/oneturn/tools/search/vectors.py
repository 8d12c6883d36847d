"""What tools mean, as vectors: made in batches when the index is built, and kept on disk.

The file is a cache and nothing depends on it: it holds numbers only (never pickles), carries a checksum,
and whatever is wrong with it, it is made again.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ConfigError
from ...types import Tool
from .embedding import Embedder
from .texts import head

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]

_BATCH = 256  # texts given to the embedder at a time
_KEPT = 200_000  # vectors kept in one file; the oldest go first
_DESCRIPTION, _PARAMETERS = 1_000, 500  # characters of a tool's text
_KEY = 16  # bytes of a text's hash
_JOINT = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z])|[_.]+")


class Vectors:
    """A vector for each of some tools, of what says the most of it and of all its text, half and half.

    Args:
        tools: The tools, in the order in which they are numbered.
        embedder: What turns text into vectors.
        folder: Where vectors are kept between processes; None keeps nothing. It is made if need be.

    Raises:
        ConfigError: The embedder gives something else than a vector for each text.
    """

    def __init__(self, tools: Sequence[Tool], embedder: Embedder, folder: Path | None = None) -> None:
        self._embedder = embedder
        texts = [_text(tool) for tool in tools] + [_head(tool) for tool in tools]
        keys = [hashlib.sha256(text.encode("utf-8", "replace")).digest()[:_KEY] for text in texts]
        kept = _read(folder, embedder.name) if folder is not None else _NOTHING
        made = self._missing(dict(zip(keys, texts, strict=True)), kept)
        if len(kept.keys) and len(made.keys) and kept.matrix.shape[1] != made.matrix.shape[1]:
            # The model changed under its name.
            made = self._missing(dict(zip(keys, texts, strict=True)), _NOTHING)
            kept = _NOTHING
        if folder is not None and len(made.keys):
            _write(folder, embedder.name, kept, made)
        rows = {key: at for at, key in enumerate([*kept.keys, *made.keys])}
        parts = [part.matrix for part in (kept, made) if len(part.keys)]
        matrix = np.concatenate(parts) if parts else np.zeros((0, 0), np.float16)
        places = [rows[key] for key in keys]
        # In a long text a tool's name is one word among hundreds; as a text of its own it is half of all.
        self._matrix = matrix[places[: len(tools)]].astype(np.float32)
        self._matrix += matrix[places[len(tools) :]]
        lengths = np.sqrt(np.vecdot(self._matrix, self._matrix))
        self._matrix /= np.where(lengths > 0, lengths, 1)[:, np.newaxis]

    def similarities(self, query: str) -> Floats:
        """The cosine of each tool with a query, in [-1, 1]; 0 for a text that means nothing."""
        if not len(self._matrix):
            return np.zeros(0, np.float32)
        vector = self._embed([query])[0].astype(np.float32)
        if len(vector) != self._matrix.shape[1]:
            raise ConfigError(
                f"The embedder {self._embedder.name} gave {len(vector):,} numbers for a query and "
                f"{self._matrix.shape[1]:,} for a tool; one model gives one length."
            )
        # Row by row on this thread: a threaded product is slower when the cores are busy, and its last
        # digits depend on the number of rows.
        similarities: Floats = np.vecdot(self._matrix, vector)
        return similarities

    def _missing(self, texts: Mapping[bytes, str], kept: _Kept) -> _Kept:
        """Vectors for the texts that have none yet, in their order."""
        known = set(kept.keys)
        new = {key: text for key, text in texts.items() if key not in known}
        return _Kept(tuple(new), self._embed(list(new.values()))) if new else _NOTHING

    def _embed(self, texts: Sequence[str]) -> Halves:
        """A vector of length 1, or of zeros, for each text."""
        # Lone surrogates, which a hostile text may hold, are no text to a tokenizer.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        batches = [clean[start : start + _BATCH] for start in range(0, len(clean), _BATCH)]
        name = self._embedder.name
        vectors = [_unit(self._embedder.embed(batch), len(batch), name) for batch in batches]
        if len({batch.shape[1] for batch in vectors}) > 1:
            raise ConfigError(f"The embedder {name} gave vectors of several lengths; they must be of one.")
        return np.concatenate(vectors)


def _unit(given: ArrayLike, count: int, name: str) -> Halves:
    try:
        vectors = np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The embedder {name} gave something else than numbers: {error}.") from error
    if vectors.ndim != 2 or len(vectors) != count:
        raise ConfigError(
            f"The embedder {name} gave an array of shape {vectors.shape} for {count:,} texts; "
            "it must give one vector for each."
        )
    vectors = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0)
    # The largest number first: the square of a huge one would be infinite, that of a tiny one zero.
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = vectors / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: Halves = (scaled / np.where(lengths > 0, lengths, 1)).astype(np.float16)
    return unit


@dataclass(frozen=True, slots=True)
class _Kept:
    """Vectors by the hash of their text."""

    keys: tuple[bytes, ...]
    matrix: Halves


_NOTHING = _Kept((), np.zeros((0, 0), np.float16))


def _path(folder: Path, model: str) -> Path:
    return folder / f"vectors-{hashlib.sha256(model.encode()).hexdigest()[:16]}.npz"


def _read(folder: Path, model: str) -> _Kept:
    try:
        with np.load(_path(folder, model), allow_pickle=False) as file:
            keys, matrix, check = file["keys"], file["vectors"], file["check"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return _NOTHING
    sound = (
        keys.dtype == np.uint8
        and matrix.dtype == np.float16
        and matrix.ndim == 2
        and keys.shape == (len(matrix), _KEY)
        and check.tobytes() == _check(keys, matrix)
    )
    return _Kept(tuple(key.tobytes() for key in keys), matrix) if sound else _NOTHING


def _write(folder: Path, model: str, kept: _Kept, made: _Kept) -> None:
    """Replace the file at once, so that no reader sees half of one; a full disk is no error."""
    names = [*made.keys, *kept.keys][:_KEPT]
    keys = np.frombuffer(b"".join(names), np.uint8).reshape(-1, _KEY)
    matrix = np.concatenate([made.matrix, kept.matrix] if kept.keys else [made.matrix])[:_KEPT]
    check = np.frombuffer(_check(keys, matrix), np.uint8)
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as file:
            temporary = Path(file.name)
            np.savez(file, keys=keys, vectors=matrix, check=check)
        temporary.replace(_path(folder, model))
    except OSError:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _check(keys: NDArray[np.uint8], matrix: NDArray[np.float16]) -> bytes:
    return hashlib.sha256(repr(matrix.shape).encode() + keys.tobytes() + matrix.tobytes()).digest()


def _text(tool: Tool) -> str:
    """What is embedded of a tool: its name in words, its description and the names of its parameters."""
    name = _JOINT.sub(" ", tool.name)
    properties: Any = tool.input_schema.get("properties")
    some = islice(properties, _PARAMETERS) if isinstance(properties, Mapping) else ()
    parameters = " ".join(str(key)[:_PARAMETERS] for key in some)[:_PARAMETERS]
    return f"{name}: {tool.description[:_DESCRIPTION]} {_JOINT.sub(' ', parameters)}".strip().lower()


def _head(tool: Tool) -> str:
    """What says the most of a tool, written as `_text` is."""
    name, summary = head(tool)
    return f"{_JOINT.sub(' ', name)}: {summary} ".strip().lower()
