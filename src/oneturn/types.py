"""The nouns: what every other part passes to its neighbours.

All of them are frozen values, and this module imports nothing of ours, so any part may use
any noun. What goes wrong in a *script* is one of these values (`Failure`, `ScriptError`); what
goes wrong in *our machinery* is an exception from `oneturn.errors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Literal

Effect = Literal["read", "write", "destructive"]
"""What a call may do to the world. Unannotated means `destructive` until someone says otherwise."""

ResultRule = Literal["auto", "text", "json"]
"""How a text result becomes a value, see `oneturn.tools.results`."""

CallKind = Literal["tool", "runtime", "clock", "sleep"]
"""What a suspended script asks for: a tool, a `runtime.*` helper, the time, or a pause."""

RunStatus = Literal["running", "waiting", "succeeded", "failed", "cancelled"]

CallStatus = Literal["ok", "failed", "refused", "cancelled", "unknown", "waiting"]
"""How one call ended. `unknown`: it was sent and we stopped waiting, so its effect is in doubt. `waiting`: it
was not sent, and waits for a person's word."""

ApprovalMode = Literal["never", "destructive", "writes", "always"]
"""Calls of which effects need a person's word: none, destructive ones, all that change anything, all."""

CacheScope = Literal["run", "session", "shared"]
"""Who shares a cached result: one run, one caller's runs, or every caller."""

Detail = Literal["names", "signatures", "full"]
"""How much a search tells of each tool it found."""

IsolationLevel = Literal["interpreter", "jailed", "container", "gvisor", "remote"]
"""What stands between a script and the machine, weakest first.

`interpreter`: a language sandbox in a process of its own. `jailed`: the same or full CPython, in an
operating-system jail. `container`: a container of an engine. `gvisor`: one with a kernel of its own.
`remote`: a machine of someone else, whose word is all there is; only used when it is named.
"""

TierName = Literal["monty", "cpython", "container", "remote"]
"""Where a script can run; the tiers differ in isolation and in how much Python they offer."""

SandboxChoice = Literal["auto", "monty", "cpython", "container", "remote"]
"""A tier by name, or `auto`: for each script the fastest one that runs it exactly right."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something a script can call.

    `name` is dotted, valid Python and unique in its catalog; `original` is the source's own
    spelling. `input_schema` is a JSON Schema object whose property order is the positional
    order; `output_schema` is None when the source declares none. `examples` are short pieces of
    script that call it, `notes` one-line warnings and rate limits for whoever writes a script.
    `holds_output` says whether a result that is not of the declared shape is refused; a source whose
    declarations are known to be loose says no. `idempotent` says that sending the same call again has
    no further effect, so that one whose answer was lost may be repeated. `approval` says whether a call
    needs a person's word; None leaves it to its effect.
    """

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    output_schema: Mapping[str, Any] | None = None
    effect: Effect = "destructive"
    effect_from: str = "default"
    labels: tuple[str, ...] = ()
    source: str = "python"
    original: str = ""
    results: ResultRule = "auto"
    timeout: float | None = None
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    holds_output: bool = True
    idempotent: bool = False
    approval: bool | None = None

    @property
    def namespace(self) -> str:
        """The part before the last dot; empty for a top-level tool."""
        return self.name.rpartition(".")[0]

    @property
    def short_name(self) -> str:
        """The part after the last dot."""
        return self.name.rpartition(".")[2]

    @property
    def definition(self) -> str:
        """What a model or an operator relies on, as canonical JSON; what is empty is left out.

        The order of keys has no meaning but that of the parameters, which is the positional order
        and stands on its own. The effect counts when the source says it; what an operator
        configures is no part of a source's definition.
        """
        said = self.effect_from not in ("default", "configuration")
        content = {
            "name": self.original or self.name,
            "description": self.description,
            "effect": self.effect if said else "",
            "idempotent": "yes" if self.idempotent else "",
            "labels": self.labels,
            "notes": self.notes,
            "examples": self.examples,
            "parameters": _parameters(self.input_schema),
            "input": self.input_schema,
            "output": self.output_schema,
        }
        return _canonical({key: value for key, value in content.items() if value not in ("", (), None)})

    @property
    def pin(self) -> str:
        """Hash of the definition: SHA-256, hex, the same in every process. Worked out anew each time."""
        return hashlib.sha256(self.definition.encode()).hexdigest()


def _parameters(schema: Mapping[str, Any]) -> Any:
    """The parameters in their order; behind a reference they may be anywhere, so there all order counts."""
    if "$ref" in schema:
        return json.dumps(_plain(schema))
    found = schema.get("properties")
    return [str(name) for name in found] if isinstance(found, Mapping) else []


def _canonical(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_unusual)
    except TypeError:  # keys that are no text, as YAML has them
        return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _unusual(value: Any) -> Any:
    """What JSON has no form for, in one that is the same in every process."""
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(map(str, value)) if isinstance(value, Set) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | None) else _unusual(value)


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the script something happened. Lines and columns count from 1."""

    line: int
    column: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A suspended script asking the host for something.

    `id` is unique in its run and grows in the order the calls were made. `name` is as the
    script reached it, without `tools.`: `github.create_issue`, or a bare `create_issue`.
    """

    id: int
    kind: CallKind
    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call has no value: the builtin exception the script sees, and its one-sentence text."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The host's reply to one call: a value, or a failure that is raised inside the script."""

    call_id: int
    value: Any = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ScriptError:
    """What ended a script: an exception it raised, or a limit it hit, with one hint."""

    kind: str
    message: str
    position: Position | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What a check before the run found in one place. `blocks` when the script must not run with it."""

    kind: str
    message: str
    position: Position
    hint: str = ""
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Approval:
    """A call that waits for a person's word, with exactly the arguments that will be sent.

    `expires` is in seconds since 1970; None when it never does. `why` says what is special about it, such as
    that it may have happened already.
    """

    id: str
    run_id: str
    call_id: int
    caller: str
    tool: str
    effect: Effect
    arguments: Mapping[str, Any]
    position: Position | None = None
    expires: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave for further calls of the same tool in the same run, and nothing beyond that.

    `arguments` is a JSON Schema that the arguments of each must fit; `calls` is how many there may be.
    """

    calls: int
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's word on one approval.

    `by` is who they are. `arguments` are sent in place of those that were asked for, after passing all
    guards; `grant` gives leave for more calls like this one.
    """

    approved: bool
    by: str
    reason: str = ""
    arguments: Mapping[str, Any] | None = None
    grant: Grant | None = None


@dataclass(frozen=True, slots=True)
class CacheRule:
    """How long results of a read tool are kept, in seconds, and who shares them."""

    ttl: float
    per: CacheScope = "session"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step: the script is suspended.

    `calls` are new since the last step. `pending` names the calls it cannot go on without (any
    of them will do); when it is empty the script can go on with no answer at all. `prints` is what
    was printed since the last step, and `cut_prints` how many characters more were dropped.
    """

    calls: tuple[Call, ...]
    pending: tuple[int, ...]
    prints: str = ""
    cut_prints: int = 0
    dropped: tuple[int, ...] = ()
    """Open calls whose answer the script no longer wants, because it cancelled what waited for them."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A step: the script ended, with a value or an error."""

    value: Any = None
    error: ScriptError | None = None
    prints: str = ""
    cut_prints: int = 0


Step = Waiting | Finished


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. Times are seconds, sizes are bytes unless the name says otherwise."""

    timeout: float = 30.0
    """Wall clock for the whole run, tool time included."""
    max_timeout: float = 300.0
    """The most a caller may ask for as `timeout`."""
    cpu_seconds: float = 30.0
    """Time the script itself may compute, tool time excluded."""
    memory: int = 128 * 1024 * 1024
    recursion: int = 500
    calls: int = 1_000
    """Tool calls in one run."""
    concurrent_calls: int = 32
    """Tool calls of one run in flight at once; more of them queue."""
    printed_chars: int = 100_000
    depth: int = 100
    """Nesting of one value, either way."""
    nodes: int = 1_000_000
    """Logical nodes of one value, shared parts counted as often as they appear."""
    value_bytes: int = 16 * 1024 * 1024
    """Size of one value, either way."""
    run_bytes: int = 128 * 1024 * 1024
    """All tool results of one run together."""


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that keeps a script confined, and whether trying the forbidden act showed it.

    `proved` is None when this machine does not have it. A control that is `required` and not proved
    makes the level unavailable.
    """

    name: str
    proved: bool | None
    why: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call of a run, as the outcome and the audit trail show it."""

    id: int
    tool: str
    effect: Effect
    status: CallStatus
    seconds: float
    position: Position | None = None
    error: str = ""
    cached: bool = False
    """Answered from the cache: nothing was sent."""
    reused: bool = False
    """Answered from the record of the run that was retried: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the caller of a run gets back. `cut_prints` counts the printed characters dropped.

    `warnings` is what the check before the run found that did not stop it.
    """

    run_id: str
    status: RunStatus
    value: Any = None
    prints: str = ""
    cut_prints: int = 0
    error: ScriptError | None = None
    calls: tuple[CallRecord, ...] = ()
    seconds: float = 0.0
    caller: str = "local"
    isolation: IsolationLevel | None = None
    """What the script was confined by; None when none ran, as in a direct call."""
    warnings: tuple[Diagnostic, ...] = ()
    sandbox: TierName | None = None
    """Where the script ran; None when nothing of it did."""
    routed: str = ""
    """Why it ran there."""
    seed: int | None = None
    """What its randomness came from: the same script, seed and answers give the same run."""
    session: str = ""
    """The session whose variables it saw."""
    pending: tuple[Approval, ...] = ()
    """What a run that is `waiting` waits for."""
    retry_of: str = ""
    """The run it retried."""
    recorded: bool = False
    """Whether the journal knows it, so that it can be resumed, replayed and retried."""

    @property
    def ok(self) -> bool:
        """Whether the script reached its end."""
        return self.status == "succeeded"
