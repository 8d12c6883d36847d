"""What an app can be told beside its tools and its allow-list, and how one telling goes over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import ConfigError
from .types import CacheRule, Effect, ResultRule

if TYPE_CHECKING:
    from .tools.search import Embedder

SearchMode = Literal["lexical", "hybrid"]
"""`lexical` ranks by words; `hybrid` also by meaning, and needs the extra `oneturn[embed]`."""


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of one app. `CodeMode` says what each of them means."""

    tool_timeout: float = 30.0
    runs: int = 32
    effects: Mapping[str, Effect] = field(default_factory=dict)
    results: Mapping[str, ResultRule] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cache: Mapping[str, CacheRule] = field(default_factory=dict)
    check: bool = True
    learn: bool = True
    search: SearchMode | Embedder = "lexical"
    state: Path | None = None
    lock: Path | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError when there is no such way to search."""
        if isinstance(self.search, str) and self.search not in get_args(SearchMode):
            modes = ", ".join(get_args(SearchMode))
            raise ConfigError(f"search is {self.search!r}; use one of {modes}, or an Embedder.")

    def over(self, given: Mapping[str, Any]) -> Options:
        """These options with those that are given, and not None, laid over them.

        Of mappings only the patterns that are given change. A place that is False is taken away.

        Raises:
            TypeError: There is no such option.
        """
        unknown = sorted(given.keys() - {each.name for each in fields(self)})
        if unknown:
            raise TypeError(f"there is no option {', '.join(unknown)}")
        changes: dict[str, Any] = {
            name: {**getattr(self, name), **value} if isinstance(value, Mapping) else value
            for name, value in given.items()
            if value is not None
        }
        changes |= {name: None for name in ("state", "lock") if changes.get(name) is False}
        return replace(self, **changes)
