"""The cache guard: the last one, so that a cached answer has passed all the others.

Off until an operator gives rules. Only successful results of tools with effect `read` are kept, and
none that came with files: their handles belong to one caller. A result is found again by its tool
(source, name and definition: a tool that changed starts afresh) and its checked arguments, in any
order; `1`, `1.0` and `True` are three different arguments. Nobody tells us when the world changes:
a write through the same source leaves what was read before in place until its time is up.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from oneturn.errors import ConfigError
from oneturn.tools.catalog import Overrides
from oneturn.types import CacheRule, CacheScope, Failure, Tool

from .base import Allowed, Cached, Context, Request
from .store import Store

SIZE = 64 * 1024 * 1024
"""Bytes of results kept for sessions and for all together."""
RUN_SIZE = 8 * 1024 * 1024
"""Bytes of results kept for one run; they go when it ends."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How results of one tool are kept. `identity` is its name and definition, hashed."""

    rule: CacheRule
    identity: bytes


class ResultCache:
    """The guard, and what it keeps between runs.

    Args:
        rules: By tool name or glob; the most specific one decides, as everywhere.
        clock: Seconds that never go back; for tests.

    Raises:
        ConfigError: A rule keeps results for no time at all, or for an unknown circle.
    """

    def __init__(
        self, rules: Mapping[str, CacheRule], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        for pattern, rule in rules.items():
            _check(pattern, rule)
        self._rules = dict(rules)
        self._patterns = Overrides("cache", rules, {pattern: pattern for pattern in rules})
        self._clock = clock
        self._plans: dict[str, tuple[Tool, _Plan | None]] = {}
        self._store = Store(SIZE, clock)

    def __call__(self, request: Request, context: Context) -> Request | Failure | Cached:
        """Answer from the cache, or pass the call on with a note to keep its result."""
        tool, arguments = request.tool, request.arguments
        assert tool is not None, "the scope guard comes first"
        assert arguments is not None, "and the arguments guard second"
        plan = self._plan(tool)
        if plan is None:
            return request
        store = self._store
        if plan.rule.per == "run":
            if context.budget.kept is None:
                context.budget.kept = Store(RUN_SIZE, self._clock)
            store = context.budget.kept
        key = _key(plan, context.caller if plan.rule.per == "session" else None, arguments)
        data = store.get(key)
        if data is not None:
            # Only ever what `Store.put` made, in this process.
            return Cached(Allowed(request.call, tool, arguments), marshal.loads(data))  # noqa: S302
        remember = partial(store.put, key, plan.rule.ttl)
        return Request(request.call, tool, arguments, remember, request.granted)

    def clear(self) -> None:
        """Forget what is kept for sessions and for all; what is under way now is not kept either."""
        # A new store: a call that was sent before this still holds the old one.
        self._store = Store(SIZE, self._clock)

    def _plan(self, tool: Tool) -> _Plan | None:
        known = self._plans.get(tool.name)
        if known is None or known[0] is not tool:
            known = self._plans[tool.name] = (tool, self._planned(tool))
        return known[1]

    def _planned(self, tool: Tool) -> _Plan | None:
        pattern = self._patterns.find(tool.name)
        if pattern is None or tool.effect != "read":
            return None
        return _Plan(self._rules[pattern], _hash([tool.source, tool.name, tool.results, tool.pin]))


def _check(pattern: str, rule: CacheRule) -> None:
    if not 0 < rule.ttl < math.inf:
        raise ConfigError(f"cache[{pattern!r}] keeps results for {rule.ttl!r} s; give a number above 0.")
    circles = get_args(CacheScope)
    if rule.per not in circles:
        raise ConfigError(f"cache[{pattern!r}] is per {rule.per!r}; use one of {', '.join(circles)}.")


def _key(plan: _Plan, caller: str | None, arguments: Mapping[str, Any]) -> bytes:
    """Equal for equal arguments of equal types. The arguments guard leaves bytes only at the top."""
    spelled = {name: value for name, value in arguments.items() if type(value) is not bytes}
    raw = {
        name: hashlib.sha256(value).hexdigest() for name, value in arguments.items() if name not in spelled
    }
    return _hash([plan.identity.hex(), caller, spelled, raw])


def _hash(content: Any) -> bytes:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
