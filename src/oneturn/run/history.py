"""One run's side of the journal: what it notes, and what it takes from the record when it is run again.

A run that is taken up again is the same script from its start. Until the record ends, every call must be
the one on record and every answer comes from there, in the same batches; after that it is live. Only the
run's worker thread uses this, but for `ended`, which comes after it.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import Diverged, JournalError, RunBusy
from ..gate import Allowed, Asked, Cached, Refused, Reply
from ..journal.events import answer_body, decision_body, digest, failure_body, place_body
from ..journal.owners import LEASE
from ..journal.past import Past, PastCall
from ..program import Program
from ..sandbox.base import Script
from ..sandbox.router import Route
from ..types import Answer, Approval, Call, CallRecord, Decision, Finished, Limits, Outcome, ScriptError, Tool
from .order import Order

if TYPE_CHECKING:
    from ..journal.writer import Recording

log = logging.getLogger("oneturn.run")


class History:
    """What a run did and does.

    Args:
        recording: Where it is noted; nothing is, without one.
        past: What is on record already, when the run is taken up again.
        order: What is run.
        pin: The pin of a tool's definition.
    """

    def __init__(
        self, recording: Recording | None, past: Past | None, order: Order, pin: Callable[[Tool], str]
    ) -> None:
        self._recording = recording
        self._past = past
        self._limits = order.limits
        self._salt = order.salt
        if recording is not None:
            recording.salt = order.salt
        self._pin = pin
        self._batch = 0
        self._asked: dict[int, Call] = {}
        self._open: dict[int, tuple[Call, PastCall]] = {}
        self._settled: set[int] = set()  # calls whose end is on record
        self._has_begun = past is not None
        self._met: set[int] = set()  # calls on record that were made again
        self._digests: dict[int, str] = {}  # of calls that go through the gate again, perhaps edited
        self._unsynced = False
        self.is_live = past is None
        self.is_over = False

    @property
    def is_masked(self) -> bool:
        """Whether something the script needs is not on record as it was."""
        return self._recording is not None and self._recording.is_masked

    @property
    def has_begun(self) -> bool:
        """Whether the script was about to start, or never will: the run has a record then."""
        return self._has_begun

    @property
    def is_recorded(self) -> bool:
        """Whether the run is noted anywhere."""
        return self._recording is not None

    # --- from the record

    def known(self, call: Call, tool: Callable[[str], Tool | None]) -> PastCall | None:
        """The record of a tool call; None when it is a new one.

        Args:
            call: What the script calls.
            tool: Finds a tool in scope.

        Raises:
            Diverged: Another call is on record here, or its tool is defined in another way now.
        """
        if self._past is None:
            return None
        past = self._past.match(call, self._limits)
        if past is None:
            self._only_after_the_record(call)
            return None
        self._met.add(call.id)
        if past.pin:
            now = tool(past.tool)
            if now is None or self._pin(now) != past.pin:
                change = "changed its definition" if now is not None else "cannot be called any more"
                raise Diverged(
                    f"{past.tool} {change} since this run called it; start a new run with retry_of instead."
                )
        hidden = past.is_masked and not self.was_given(call.id)  # the answer is not what it was
        if past.answer is None or hidden:
            self._open[call.id] = (call, past)
            self._digests[call.id] = past.digest
        else:
            self._settled.add(call.id)
        return past

    def known_other(self, call: Call) -> bool:
        """Whether a clock, sleep or `runtime` call is on record with its answer. Raises Diverged."""
        return self._past is not None and self._past.match_other(call, self._limits)

    def was_given(self, call_id: int) -> bool:
        """Whether the record has the script go on with the answer to this call."""
        return self._past is not None and call_id in self._past.given

    def next_batch(self) -> tuple[Answer, ...] | None:
        """What the script was given at this point; None when the record ends here."""
        if self._past is None or self._batch == len(self._past.batches):
            return None
        self._batch += 1
        return self._past.batches[self._batch - 1]

    def dropped(self, call_id: int) -> None:
        """The script no longer waits for this call."""
        self._open.pop(call_id, None)

    def catch_up(self) -> list[tuple[Call, PastCall]]:
        """The record has ended: the calls it leaves open, whose fate is unknown."""
        self.is_live = True
        left, self._open = list(self._open.values()), {}
        return left

    @property
    def names(self) -> Mapping[str, Any] | None:
        """What the script's names meant, by the record."""
        return self._past.began["names"] if self._past is not None else None

    @property
    def calls(self) -> Collection[PastCall]:
        """The calls on record."""
        return self._past.calls.values() if self._past is not None else ()

    @property
    def decisions(self) -> Mapping[int, Decision]:
        """What people said about calls, by the record."""
        return self._past.decided if self._past is not None else {}

    @property
    def used(self) -> float:
        """Seconds of its timeout that the run had used, by the record."""
        return self._past.used if self._past is not None else 0.0

    def must_be_over(self) -> None:
        """The script has ended. Raises Diverged when by the record it went on."""
        past = self._past
        if past is not None and (self._batch < len(past.batches) or not past.calls.keys() <= self._met):
            raise Diverged(
                "The record says the script went on, and now it ended sooner; nothing more was called."
            )

    def _only_after_the_record(self, call: Call) -> None:
        assert self._past is not None
        if self._batch < len(self._past.batches):
            raise Diverged(
                f"The script called {call.name} where the record has no call; it was stopped before that."
            )

    # --- to the record

    def began(
        self, order: Order, seed: int, route: Route | None, script: Script | None, tools: Sequence[Tool]
    ) -> None:
        """The script is about to start, or never will."""
        if self._recording is None or self._past is not None:
            return
        self._has_begun = True
        self._recording.note(
            "began",
            {
                "code": order.shown or order.code,
                "caller": order.caller,
                "allow": order.allow,
                "limits": _limits_body(order.limits),
                "seed": seed,
                "salt": self._salt,
                "session": order.session,
                "retry_of": order.retry_of,
                "sandbox": route.sandbox.name if route else None,
                "isolation": route.sandbox.isolation if route else None,
                "routed": route.why if route else "",
                "names": _names(script),
                "plan": [[tool.name, tool.effect, self._pin(tool)] for tool in tools],
                **({"redacted": True} if order.shown else {}),
            },
            large="code",
        )

    def refused(self, verdict: Refused) -> None:
        """The gate refused a call."""
        if self._recording is None:
            return
        body = self._call_body(verdict.call, verdict.tool, "refused")
        body |= {"guard": verdict.guard, "failure": failure_body(verdict.failure)}
        self._settled.add(verdict.call.id)
        self._recording.note("called", body)

    def allowed(self, verdict: Allowed) -> None:
        """The gate let a call pass; it leaves after `sync`."""
        if self._recording is None:
            return
        body = self._call_body(verdict.call, verdict.tool, "allowed")
        body["arguments"] = verdict.arguments
        if verdict.granted:
            body["granted"] = True
        if verdict.key:
            body["key"] = verdict.key
        self._recording.note("called", body, large="arguments")
        self._unsynced = self._unsynced or verdict.tool.effect != "read"

    def asked(self, verdict: Asked) -> None:
        """A call waits for a person's word."""
        if self._recording is None:
            return
        body = self._call_body(verdict.call, verdict.tool, "asked")
        self._digests[verdict.call.id] = body["digest"]
        body["arguments"] = verdict.arguments
        self._recording.note("called", body, large="arguments")
        self._unsynced = True

    def decided(self, call_id: int, decision: Decision, used: float) -> None:
        """Somebody decided about a call; `used` is the run's own time until now, in seconds."""
        if self._recording is not None:
            body = {"id": call_id, **decision_body(decision), "used": used}
            self._recording.note("decided", body, large="arguments")
            self._unsynced = True

    def waiting(self, approvals: Sequence[Approval]) -> None:
        """The run is put aside until somebody decides; durable when this returns. Raises JournalError."""
        if self._recording is None:
            return
        now = time.time()  # those that wait together were asked for together
        for approval in approvals:
            self._recording.ask(approval, now)
        self._recording.note(
            "waiting",
            {"calls": [approval.call_id for approval in approvals]},
            stands=("waiting", {"waits": len(approvals)}),
        )
        self._recording.sync()

    def cached(self, verdict: Cached, answer: Answer, size: int) -> None:
        """A call was answered from the cache, or from the record of the run that is retried."""
        if self._recording is None:
            return
        how = "reused" if verdict.reused else "cached"
        body = self._call_body(verdict.allowed.call, verdict.allowed.tool, how)
        body["arguments"] = verdict.allowed.arguments
        self._recording.note("called", body, large="arguments")
        self._settled.add(answer.call_id)
        said = {"id": answer.call_id, **answer_body(answer), "bytes": size}
        self._recording.note("answered", said, large="value" if answer.failure is None else "")
        self._unsynced = self._unsynced or verdict.reused

    def answered(self, reply: Reply, answer: Answer, size: int) -> None:
        """A tool answered; `size` is what the answer counts for in the run's budget."""
        if self._recording is None:
            return
        body = {
            "id": answer.call_id,
            **answer_body(answer),
            "seconds": round(reply.seconds, 6),
            "bytes": size,
        }
        if reply.in_doubt:
            body["in_doubt"] = True
        if reply.failure is None and answer.failure is not None:
            body["took_effect"] = True  # the tool answered, and its result could not be taken
        self._settled.add(answer.call_id)
        self._recording.note("answered", body, large="value" if answer.failure is None else "")
        self._unsynced = self._unsynced or reply.allowed.tool.effect != "read"

    def told(self, answer: Answer, *, in_doubt: bool = False) -> None:
        """The script is told of a denial, or that the fate of a call is unknown."""
        if self._recording is not None:
            self._settled.add(answer.call_id)
            body = {"id": answer.call_id, **answer_body(answer), "in_doubt": in_doubt}
            self._recording.note("answered", body)
            self._unsynced = True

    def taken_up(self) -> None:
        """The run is where its record ends, and goes on from here."""
        if self._recording is not None:
            self._recording.note("taken", {"used": self.used})

    def asks(self, call: Call) -> None:
        """The script asked for the time, a pause or a `runtime` helper."""
        if self._recording is not None:
            self._asked[call.id] = call

    def given(self, answers: Sequence[Answer], prints: str, used: float) -> None:
        """The script goes on with these answers, in this order, once they are durable."""
        if self._recording is None:
            return
        body: dict[str, Any] = {
            "answers": [self._entry(answer) for answer in answers],
            "used": used,
        }
        if prints:
            body["prints"] = prints
        self._recording.note("resumed", body, large="answers")
        self.sync()

    def returned(self, finished: Finished) -> None:
        """The script ended by itself."""
        if self._recording is None:
            return
        body = {"value": finished.value, "error": error_body(finished.error), "prints": finished.prints}
        self._recording.note("returned", body, large="value")

    @property
    def must_sync(self) -> bool:
        """Whether something has to be durable before anything else leaves."""
        return self._unsynced and self._recording is not None

    def sync(self) -> None:
        """Wait until what may change the world, and what came of it, is durable. Raises JournalError."""
        if self._unsynced and self._recording is not None:
            self._recording.sync()
            self._unsynced = False

    def sync_end(self) -> None:
        """As `sync`, but the outcome is not lost with it, unless another process has the run and ends it."""
        try:
            self.sync()
        except RunBusy:
            raise
        except JournalError as error:
            log.error("The end of a run is not on record: %s", error)

    def ended(self, outcome: Outcome, prints: str = "") -> None:
        """The run is over. What the script did not wait for, or printed last, is told with it.

        One that never had a place to begin in leaves nothing on record.
        """
        if self._recording is None or not self._has_begun:
            return
        late = [_call_state(call) for call in outcome.calls if call.id not in self._settled]
        body = {
            "status": outcome.status,
            "error": error_body(outcome.error),
            "prints": prints,
            "cut_prints": outcome.cut_prints,
            "seconds": outcome.seconds,
            "calls": late,
        }
        # Whoever is told of a run that changed something is told the same whenever they ask again.
        # One that was so slow may have been taken for dead, and is told otherwise elsewhere.
        changes = any(call.effect != "read" for call in outcome.calls)
        self._unsynced = self._unsynced or changes or outcome.seconds > LEASE
        self.is_over = True
        about = _about(outcome, is_plain=self._recording.key is None)
        try:
            self._recording.note("ended", body, stands=(outcome.status, about))
        except JournalError as error:  # the outcome is not lost with it
            log.error("The end of %s is not on record: %s", outcome.run_id, error)

    def close(self) -> None:
        """Nothing more will be noted."""
        if self._recording is not None:
            self._recording.close()

    def _entry(self, answer: Answer) -> Any:
        asked = self._asked.pop(answer.call_id, None)
        if asked is None:
            return answer.call_id
        return [
            asked.id,
            asked.kind,
            asked.name,
            digest(asked, self._limits, self._salt),
            answer_body(answer),
        ]

    def _call_body(self, call: Call, tool: Tool | None, verdict: str) -> dict[str, Any]:
        return {
            "id": call.id,
            "name": call.name,
            "digest": self._digests.pop(call.id, "") or digest(call, self._limits, self._salt),
            "verdict": verdict,
            "tool": tool.name if tool else call.name,
            "effect": tool.effect if tool else "destructive",
            "pin": self._pin(tool) if tool else "",
            "place": place_body(call.position),
        }


def error_body(error: ScriptError | None) -> list[Any] | None:
    """What ended a script, in a body."""
    if error is None:
        return None
    return [error.kind, error.message, place_body(error.position), error.hint]


@functools.lru_cache(maxsize=64)
def _limits_body(limits: Limits) -> dict[str, Any]:
    """The same few limits hold for most runs, and copying them is most of what noting a small run costs."""
    return asdict(limits)


def _names(script: Script | None) -> Mapping[str, Any] | None:
    """What the script's names meant: enough to run it again without a catalog."""
    if script is None:
        return None
    return {
        "tools": sorted(script.tools),
        "namespaces": sorted(script.namespaces),
        "globals": sorted(script.globals),
        "called": sorted(script.called),
        "tool_error": script.uses_tool_error,
    }


def script_of(program: Program, names: Mapping[str, Any]) -> Script:
    """The script of a run that is on record, with the names it had then."""
    return Script(
        source=program.source,
        tools=frozenset(names["tools"]),
        namespaces=frozenset(names["namespaces"]),
        globals=frozenset(names["globals"]),
        awaited=program.awaited,
        uses_tool_error=names["tool_error"],
        called=frozenset(names["called"]),
    )


def _call_state(call: CallRecord) -> list[Any]:
    return [call.id, call.status, round(call.seconds, 6), call.error]


def _about(outcome: Outcome, *, is_plain: bool) -> dict[str, Any]:
    """A run in one line of a list, which is never encrypted."""
    about: dict[str, Any] = {"calls": len(outcome.calls), "seconds": round(outcome.seconds, 3)}
    if outcome.sandbox:
        about["sandbox"] = outcome.sandbox
    if outcome.error is not None:
        error = outcome.error
        about["error"] = f"{error.kind}: {error.message}"[:200] if is_plain else error.kind
    return about
