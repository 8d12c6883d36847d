"""Turning texts into vectors by meaning: the protocol, and the small model of the `embed` extra."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_MISSING = "Search by meaning needs the extra: pip install 'oneturn[embed]'."
_WEIGHTS, _TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"


class Embedder(Protocol):
    """Gives texts vectors that are near when the texts mean the same. Called from worker threads."""

    name: str
    """The model and its version: vectors kept on disk under another name are not used."""

    floor: float
    """The cosine below which a tool has nothing to do with a query, in [0, 1); models differ in it."""

    def embed(self, texts: Sequence[str]) -> ArrayLike:
        """One vector for each text, all of the same length; they need not be normalized."""
        ...


class StaticEmbedder:
    """Vectors of the words of a text, averaged: WordLlama's 256 dimensions, carried by its package.

    Offline, deterministic, and about a tenth of a millisecond for a text; English only.

    Raises:
        ConfigError: The extra `embed` is not installed.
    """

    name = "wordllama-l2_supercat_256"
    floor = 0.1

    def __init__(self) -> None:
        # Its files are read directly: its own loader would look in the home directory and on the network.
        found = [find_spec(package) for package in ("wordllama", "tokenizers", "safetensors")]
        home = found[0].submodule_search_locations if found[0] else None
        if not home or None in found:
            raise ConfigError(_MISSING)
        self._home = Path(home[0])
        if not (self._home / _WEIGHTS).is_file() or not (self._home / _TOKENIZER).is_file():
            raise ConfigError(f"The installed wordllama has another model than expected. {_MISSING}")

    def embed(self, texts: Sequence[str]) -> ArrayLike:
        """One vector of 256 numbers for each text; zeros for a text without a word."""
        import numpy as np

        tokenizer, vectors = self._model
        averages = np.zeros((len(texts), vectors.shape[1]), np.float32)
        # One by one: a batch would start a thread for each core, which warn whenever a process is forked.
        for at, text in enumerate(texts):
            words = tokenizer.encode(text, add_special_tokens=False).ids
            if words:
                averages[at] = vectors[words].mean(axis=0)
        return averages

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        import numpy as np
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._home / _TOKENIZER))
        tokenizer.no_padding()
        return tokenizer, load_file(self._home / _WEIGHTS)["embedding.weight"].astype(np.float32)
