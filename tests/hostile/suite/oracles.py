"""What was seen while a case was played, and what each oracle makes of it.

An oracle is a function from the evidence to a sentence, which is empty when it saw nothing. It knows
nothing of the case: every oracle judges every case.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oneturn import Limits, Outcome

from .case import PWNED, Oracle

LIMITS = Limits(
    timeout=1.5,
    cpu_seconds=0.6,
    memory=64 * 1024 * 1024,
    recursion=200,
    calls=200,
    printed_chars=10_000,
    value_bytes=1_000_000,
    run_bytes=5_000_000,
)
HOST_MEMORY = 96 * 1024 * 1024
GUEST_MEMORY = LIMITS.memory + 128 * 1024 * 1024  # its scratch, and the interpreter itself
RECORD_CHARS = 5_000
HINT_CHARS = 5_000


def allowance() -> float:
    """How late the end of a run may be, in seconds: one, and more on a machine that has too much to do."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass(frozen=True)
class Evidence:
    """What was seen from outside.

    Attributes:
        canary: What no script may ever hold.
        sources: The scripts that were run.
        outcomes: What each came to.
        problem: An exception that came out of the front door, as text.
        arrived: Each call that reached a tool: its name and arguments.
        hidden: How often the tool outside the scope was called.
        touched: Listeners that heard something.
        made: Files on the host.
        left: Processes of the guest that were alive after the end, or what they still did.
        victim: Whether the other process of this user is as it was.
        overrun: Seconds each run took beyond its deadline.
        gap: The longest time the event loop stood still, in seconds.
        host_memory: How much the host grew, in bytes.
        guest_memory: How much everything below the host grew.
        descriptors: How many more of them the host has open afterwards.
        after: What the well-meant script that came next came to.
    """

    canary: str
    sources: Sequence[str] = ()
    outcomes: Sequence[Outcome] = ()
    problem: str = ""
    arrived: Sequence[tuple[str, Any]] = ()
    hidden: int = 0
    touched: Sequence[str] = ()
    made: Sequence[str] = ()
    left: str = ""
    victim: bool = True
    overrun: float = 0.0
    gap: float = 0.0
    host_memory: int = 0
    guest_memory: int = 0
    descriptors: int = 0
    after: str = ""

    def said(self) -> str:
        """Everything a script could put a secret into."""
        seen = [
            (each.value, each.prints, each.error and (each.error.kind, each.error.message, each.error.hint))
            for each in self.outcomes
        ]
        return f"{seen!r}{self.arrived!r}{self.problem}"


def secret(seen: Evidence) -> str:
    """A canary came out."""
    return "a canary of the host came out" if seen.canary in seen.said() else ""


def said_so(seen: Evidence) -> str:
    """The script says that it did what should have been refused."""
    said = seen.said()
    at = said.find(PWNED)
    return said[at : at + 200] if at >= 0 else ""


def record(seen: Evidence) -> str:
    """Every call that reached a tool is in the outcome, and none is there that did not."""
    records = [call for outcome in seen.outcomes for call in outcome.calls if not call.cached]
    arrived = Counter(name for name, _ in seen.arrived)
    sent = Counter(call.tool for call in records if call.status != "refused")
    answered = Counter(call.tool for call in records if call.status == "ok")
    for name, times in arrived.items():
        if times > sent[name]:
            return f"{name} was called {times} times, and the outcome knows of {sent[name]}"
    for name, times in answered.items():
        if times > arrived[name]:
            return f"the outcome says that {name} was called {times} times; it was {arrived[name]} times"
    return ""


def outcome_size(seen: Evidence) -> str:
    """What the caller gets is bounded."""
    for outcome in seen.outcomes:
        if len(outcome.prints) > LIMITS.printed_chars:
            return f"{len(outcome.prints):,} characters were printed"
        if outcome.error and len(outcome.error.message) + len(outcome.error.hint) > 2 * RECORD_CHARS:
            return f"an error of {len(outcome.error.message):,} characters"
        if outcome.error and len(outcome.error.kind) > 200:
            return f"a kind of error of {len(outcome.error.kind):,} characters"
        if len(outcome.calls) > 3 * LIMITS.calls:
            return f"{len(outcome.calls):,} calls in the record"
        if any(len(repr(call)) > RECORD_CHARS for call in outcome.calls):
            return "a call in the record is too large"
    return ""


def _exception(seen: Evidence) -> str:
    internal = [each.error for each in seen.outcomes if each.error and each.error.kind == "InternalError"]
    return seen.problem or (f"an error of the host: {internal[0]}" if internal else "")


def _over(value: float, bound: float, what: str) -> str:
    return f"{what}: {value:,.1f}, and {bound:,.1f} is the most" if value > bound else ""


_MB = 1024 * 1024
ORACLES: Mapping[Oracle, Callable[[Evidence], str]] = {
    "secret": secret,
    "connection": lambda seen: ", ".join(seen.touched),
    "file": lambda seen: ", ".join(seen.made),
    "process": lambda seen: seen.left,
    "victim": lambda seen: "" if seen.victim else "a process of the host was stopped, traced or killed",
    "host memory": lambda seen: _over(seen.host_memory / _MB, HOST_MEMORY / _MB, "MB more in the host"),
    "guest memory": lambda seen: _over(seen.guest_memory / _MB, GUEST_MEMORY / _MB, "MB more in guests"),
    "event loop": lambda seen: _over(seen.gap, allowance(), "seconds in which the event loop stood still"),
    "deadline": lambda seen: _over(seen.overrun, allowance(), "seconds over the deadline"),
    "hidden tool": lambda seen: "a tool outside the scope was called" if seen.hidden else "",
    "record": record,
    "next run": lambda seen: seen.after,
    "said so": said_so,
    "exception": _exception,
    "outcome size": outcome_size,
    "descriptors": lambda seen: _over(seen.descriptors, 4, "descriptors more are open"),
}
"""All but `host`, which is fired by whoever sees that the process that should judge is gone."""


def fired(seen: Evidence) -> dict[str, str]:
    """The oracles that saw the attack work, and what each says."""
    return {name: why for name, oracle in ORACLES.items() if (why := oracle(seen))}
