"""What an app can be told beside its tools and its allow-list, and how one telling goes over another."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import ConfigError
from .tools.scope import Allow, AllowLike
from .types import ApprovalMode, CacheRule, Effect, IsolationLevel, Limits, ResultRule, SandboxChoice

if TYPE_CHECKING:
    from .gate.approval import ApprovalGuard
    from .journal.redaction import Fields
    from .journal.writer import Cleaner, Journal
    from .run.order import Approver
    from .sandbox.base import Sandbox
    from .telemetry import Telemetry
    from .tools.search import Embedder

log = logging.getLogger("oneturn.app")

_IN_MEMORY = 64 * 1024 * 1024  # bytes of runs kept where there is no file

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
    idempotent: Mapping[str, bool] = field(default_factory=dict)
    check: bool = True
    learn: bool = True
    search: SearchMode | Embedder = "lexical"
    state: Path | None = None
    lock: Path | None = None
    journal: Path | str | bool = field(default=True, repr=False)  # a URL may hold a password
    journal_key: str | None = field(default=None, repr=False)
    redact: tuple[str, ...] = ()
    approve: ApprovalMode = "destructive"
    approvals: Mapping[str, bool] = field(default_factory=dict)
    approver: Approver | None = None
    approval_timeout: float | None = None
    sandbox: SandboxChoice | Sandbox = "auto"
    isolation: IsolationLevel = "interpreter"
    imports: tuple[str, ...] = ()
    python: Path | None = None
    telemetry: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError when there is no such way to search or approve, no such sandbox or level."""
        named = (("sandbox", SandboxChoice), ("isolation", IsolationLevel), ("approve", ApprovalMode))
        for name, kinds in named:
            given = getattr(self, name)
            if isinstance(given, str) and given not in get_args(kinds):
                raise ConfigError(f"{name} is {given!r}; use one of {', '.join(get_args(kinds))}.")
        if isinstance(self.search, str) and self.search not in get_args(SearchMode):
            modes = ", ".join(get_args(SearchMode))
            raise ConfigError(f"search is {self.search!r}; use one of {modes}, or an Embedder.")

    @property
    def full_python(self) -> bool:
        """Whether scripts can count on all of Python, as far as can be told without trying."""
        if not isinstance(self.sandbox, str):
            return self.sandbox.name != "monty"
        return self.sandbox != "monty" and (sys.platform == "linux" or self.sandbox != "auto")

    @property
    def importable(self) -> Callable[[str], bool] | None:
        """Which modules scripts may import, where they can count on all of Python."""
        from .sandbox.modules import allowed, importable

        return partial(importable, allowed=allowed(self.imports)) if self.full_python else None

    def embedder(self) -> Embedder | None:
        """What search by meaning needs; None when it goes by words alone."""
        from .tools.search import StaticEmbedder

        if isinstance(self.search, str):
            return StaticEmbedder() if self.search == "hybrid" else None
        return self.search

    def approval_guard(self, auto: AllowLike) -> ApprovalGuard:
        """The guard of these options. Raises ConfigError when a rule is none.

        Args:
            auto: Tools approved beforehand.
        """
        from .gate.approval import ApprovalGuard

        return ApprovalGuard(self.approve, self.approvals, Allow.of(auto))

    @property
    def hidden_fields(self) -> Fields | None:
        """The fields that are kept from the record, and from messages; None when there are none."""
        from .journal.redaction import Fields

        return Fields(self.redact) if self.redact else None

    def open_journal(self, clean: Cleaner | None) -> Journal | None:
        """The journal of these options; None when there is to be none.

        Raises:
            JournalError: It cannot be opened.
        """
        if self.journal is False:
            return None
        from .journal.sqlite import SqliteStore
        from .journal.writer import Journal

        fields = self.hidden_fields
        place = self.journal
        if place is True:
            if self.state is None:
                return Journal(SqliteStore(":memory:"), clean=clean, fields=fields, most=_IN_MEMORY)
            place = self.state / "journal.db"
        vault = None
        if self.journal_key is not None:
            from .journal.keys import Vault

            vault = Vault.from_text(self.journal_key)
        if str(place).startswith(("postgresql://", "postgres://")):
            from .journal.postgres import PostgresStore

            return Journal(PostgresStore(str(place)), vault=vault, clean=clean, fields=fields)
        return Journal(SqliteStore(place), vault=vault, clean=clean, fields=fields)

    def open_telemetry(self) -> Telemetry | None:
        """What runs and calls are told to; None when nothing is to be told."""
        if not self.telemetry:
            return None
        from .telemetry import Telemetry

        return Telemetry()

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

    def make_state_folder(self) -> None:
        """A folder that version control leaves alone. Where none can be made, nothing is kept."""
        folder = self.state
        if folder is None:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("# Made by oneturn.\n*\n", encoding="utf-8")
        except OSError as error:
            log.warning("Nothing can be kept in %s: %s", folder, error)


def limits_for(limits: Limits, timeout: float | None) -> Limits:
    """The limits of one run, for what its caller asked for. Raises ConfigError for no positive number."""
    seconds = limits.timeout if timeout is None else timeout
    if not seconds > 0:
        raise ConfigError(f"A timeout of {seconds!r} s is not positive.")
    seconds = min(seconds, limits.max_timeout)
    return replace(limits, timeout=seconds, cpu_seconds=min(limits.cpu_seconds, seconds))


def cache_rules(cache: Mapping[str, CacheRule | float] | None) -> dict[str, CacheRule]:
    """Rules by pattern, where seconds alone may stand for one. Raises ConfigError for anything else."""
    rules: dict[str, CacheRule] = {}
    for pattern, rule in (cache or {}).items():
        if not isinstance(rule, CacheRule | int | float) or isinstance(rule, bool):
            raise ConfigError(f"cache[{pattern!r}] is {rule!r}; give a CacheRule, or seconds as a number.")
        rules[pattern] = rule if isinstance(rule, CacheRule) else CacheRule(rule)
    return rules
