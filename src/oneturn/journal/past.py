"""What a run did, as its journal tells it: for a run that is taken up again, replayed or retried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oneturn.errors import Diverged, JournalCorrupt
from oneturn.types import Answer, Call, Decision, Effect, Limits, Position

from .events import Event, answer_of, decision_of, digest, failure_of, place_of

_SHOWN = 500  # characters of a call in an error


@dataclass(frozen=True, slots=True)
class PastCall:
    """A tool call as it is on record, and how it was answered, if it was.

    `verdict` is the gate's last: `allowed`, `cached`, `refused` or `asked`. `arguments` are those that were
    sent, or are to be sent; `granted` says that they used up one call of a grant.
    """

    id: int
    name: str
    digest: str
    verdict: str
    tool: str
    effect: Effect
    pin: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    position: Position | None = None
    answer: Answer | None = None
    in_doubt: bool = False
    seconds: float = 0.0
    size: int = 0
    granted: bool = False
    sent: str = ""
    """The fingerprint of the arguments that were sent."""
    key: str = ""
    """The idempotency key it was sent under, when an earlier run had sent it before."""
    took_effect: bool = False
    """Whether the tool answered, and its result could not be taken."""
    is_masked: bool = False
    """Whether the answer on record is not what the tool answered: parts of it must not be on record."""

    @property
    def text(self) -> str:
        """The call as somebody would write it."""
        inside = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return _cut(f"{self.name}({inside})")


@dataclass(frozen=True, slots=True)
class Asked:
    """Something a script asked that is no tool call: the time, a pause, a `runtime` helper."""

    kind: str
    name: str
    digest: str


@dataclass(slots=True)
class Past:
    """The record of one run, in the order things happened."""

    began: Mapping[str, Any]
    calls: dict[int, PastCall] = field(default_factory=dict)
    asked: dict[int, Asked] = field(default_factory=dict)
    batches: list[tuple[Answer, ...]] = field(default_factory=list)
    prints: list[str] = field(default_factory=list)
    used: float = 0.0
    """Seconds of its timeout that it had used, waits for people aside."""
    returned: Mapping[str, Any] | None = None
    """The script's own end; None when it was stopped, or has not ended."""
    ended: Mapping[str, Any] | None = None
    """The end of the run."""
    retried_by: str = ""
    """The run that does its work again."""
    retried_at: float = 0.0
    """When it said so, in seconds since 1970."""
    retried_from: str = ""
    """The process that said so."""
    decided: dict[int, Decision] = field(default_factory=dict)
    """What people said about calls, by call."""
    waits: tuple[int, ...] = ()
    """The calls that wait for a person's word, while the run is put aside until somebody decides."""
    _masked: bool = False
    given: set[int] = field(default_factory=set)
    """The calls whose answers the script was given."""

    @property
    def is_masked(self) -> bool:
        """Whether the script, or answers that it was given, are not on record as they were."""
        return (
            self._masked
            or "redacted" in self.began
            or any(self.calls[each].is_masked for each in self.given if each in self.calls)
        )

    @property
    def salt(self) -> str:
        """What its digests are made with."""
        return str(self.began["salt"])

    @property
    def made(self) -> list[PastCall]:
        """The calls that left, or may have."""
        late = self.ended["calls"] if self.ended is not None else ()
        unsent = {entry[0] for entry in late if entry[1] == "cancelled"}
        return [call for call in self.calls.values() if call.id not in unsent]

    @classmethod
    def of(cls, events: Sequence[Event]) -> Past:
        """Read it. Raises JournalCorrupt when it has no beginning."""
        if not events or events[0].kind != "began":
            raise JournalCorrupt("The record of this run has no beginning. Nothing of it is used.")
        past = cls(events[0].body)
        lines = str(past.began.get("code", "")).split("\n")
        used, since = 0.0, events[0].at
        for event in events[1:]:
            past._add(event, lines)
            if "used" in event.body:
                past.used = used = event.body["used"]
                since = event.at
            elif event.kind != "waiting":  # time that had gone by when the host went away
                past.used = used + max(0.0, event.at - since)
        return past

    def _add(self, event: Event, lines: Sequence[str]) -> None:
        body = event.body
        self.waits = tuple(body["calls"]) if event.kind == "waiting" else ()
        if event.kind in ("taken", "resumed"):
            self.returned = None  # its end was not the run's: a host went away before that
        if event.kind == "retried":
            self.retried_by, self.retried_at, self.retried_from = body["by"], event.at, body["from"]
        if event.kind == "decided" and "redacted" not in body:  # else it has to be decided again
            self.decided[body["id"]] = decision_of(body)
        elif event.kind == "called":
            self._called(body, lines)
        elif event.kind == "answered":
            call = self.calls[body["id"]]
            self.calls[call.id] = replace(
                call,
                answer=answer_of(call.id, body),
                in_doubt=body.get("in_doubt", False),
                seconds=body.get("seconds", 0.0),
                size=body.get("bytes", 0),
                is_masked="redacted" in body,
                took_effect="took_effect" in body,
            )
        elif event.kind == "resumed":
            self.batches.append(tuple(self._batch(body["answers"])))
            self.prints.append(body.get("prints", ""))
            self._masked = self._masked or "redacted" in body
        elif event.kind == "returned":
            self.returned = body
        elif event.kind == "ended":
            self.ended = body

    def _called(self, body: Mapping[str, Any], lines: Sequence[str]) -> None:
        call_id = body["id"]
        answer = None
        if body["verdict"] == "refused":
            answer = Answer(call_id, failure=failure_of(body["failure"]))
        self.calls[call_id] = PastCall(
            id=call_id,
            name=body["name"],
            digest=body["digest"],
            verdict=body["verdict"],
            tool=body["tool"],
            effect=body["effect"],
            pin=body.get("pin", ""),
            arguments=body.get("arguments") or {},
            position=place_of(body.get("place"), lines),
            answer=answer,
            granted=body.get("granted", False),
            sent=body.get("sent", ""),
            key=body.get("key", ""),
        )

    def _batch(self, answers: Sequence[Any]) -> list[Answer]:
        batch = []
        for entry in answers:
            if isinstance(entry, int):
                answer = self.calls[entry].answer
                if answer is None:
                    raise JournalCorrupt(
                        f"The script was given an answer to call {entry} that is not recorded."
                    )
            else:
                call_id, kind, name, spelled, said = entry
                self.asked[call_id] = Asked(kind, name, spelled)
                answer = answer_of(call_id, said)
            self.given.add(answer.call_id)
            batch.append(answer)
        return batch

    def match(self, call: Call, limits: Limits) -> PastCall | None:
        """The record of this tool call, or None when it was made after the record ends.

        Raises:
            Diverged: The call on record under this number is another one.
        """
        known = self.calls.get(call.id)
        if known is None:
            other = self.asked.get(call.id)
            if other is not None:
                raise Diverged(_different(f"{other.kind} {other.name}", call_text(call)))
            return None
        if known.name != call.name or known.digest != digest(call, limits, self.salt):
            raise Diverged(_different(known.text, call_text(call)))
        return known

    def match_other(self, call: Call, limits: Limits) -> bool:
        """Whether this clock, sleep or `runtime` call is on record with its answer. Raises Diverged."""
        known = self.asked.get(call.id)
        if known is None:
            tool = self.calls.get(call.id)
            if tool is not None:
                raise Diverged(_different(tool.text, call_text(call)))
            return False
        if (known.kind, known.name) != (call.kind, call.name) or known.digest != digest(
            call, limits, self.salt
        ):
            raise Diverged(_different(f"{known.kind} {known.name}", call_text(call)))
        return True


def call_text(call: Call) -> str:
    """A call as the script made it."""
    inside = [_short(value) for value in call.args]
    inside += [f"{name}={_short(value)}" for name, value in call.kwargs.items()]
    what = call.name if call.kind == "tool" else f"{call.kind} {call.name}"
    return _cut(f"{what}({', '.join(inside)})")


def _short(value: Any) -> str:
    try:
        return repr(value)[:_SHOWN]
    except Exception:
        return f"<{type(value).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _different(recorded: str, made: str) -> str:
    return (
        f"The record says the script called {recorded}, and now it called {made}; it was stopped before that."
    )
