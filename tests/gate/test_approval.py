"""The approval guard: which calls wait for a person, and what one word lets pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from oneturn.errors import ConfigError, DecisionRefused
from oneturn.gate import Allowed, Asked, Context, Gate, Refused
from oneturn.gate.approval import DENIALS, MOST, ApprovalGuard
from oneturn.gate.base import Budget
from oneturn.gate.consent import Consent
from oneturn.tools.scope import Allow, Scope
from oneturn.types import ApprovalMode, Call, Grant, Limits, Tool

ANY: Mapping[str, Any] = {"type": "object", "properties": {"n": {}}, "additionalProperties": True}
READ = Tool("lab.read", effect="read", input_schema=ANY)
WRITE = Tool("lab.write", effect="write", input_schema=ANY)
DESTROY = Tool("lab.destroy", input_schema=ANY)
CAREFUL = Tool("web.careful", effect="read", input_schema=ANY, approval=True)
FREE = Tool("web.free", input_schema=ANY, approval=False)
TOOLS = (READ, WRITE, DESTROY, CAREFUL, FREE)


def asked_about(guard: ApprovalGuard) -> set[str]:
    """The tools whose calls wait."""
    context = context_of()
    return {
        tool.name
        for number, tool in enumerate(TOOLS)
        if isinstance(Gate(None, guard).decide(Call(number, "tool", tool.name), context), Asked)
    }


def context_of() -> Context:
    return Context(Scope(TOOLS, [Allow.of("*")]), Limits(), Budget())


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("never", {"web.careful"}),
        ("destructive", {"web.careful", "lab.destroy"}),
        ("writes", {"web.careful", "lab.destroy", "lab.write"}),
        ("always", {"web.careful", "lab.destroy", "lab.write", "lab.read"}),
    ],
)
def test_the_effect_decides_unless_the_tool_says_so(mode: ApprovalMode, names: set[str]) -> None:
    assert asked_about(ApprovalGuard(mode)) == names


def test_calls_that_may_destroy_something_wait_by_default() -> None:
    assert asked_about(ApprovalGuard()) == {"web.careful", "lab.destroy"}


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ({"*": False}, set()),
        ({"*": True}, {tool.name for tool in TOOLS}),
        ({"lab.*": True, "lab.read": False}, {"web.careful", "lab.destroy", "lab.write"}),
        ({"*": True, "lab.*": False}, {"web.careful", "web.free"}),
        ({"lab.destroy": False, "lab.*": True}, {"web.careful", "lab.read", "lab.write"}),
        ({"web.*": True}, {"web.careful", "web.free", "lab.destroy"}),
    ],
)
def test_the_most_specific_rule_decides_over_effect_and_tool(rules: dict[str, bool], names: set[str]) -> None:
    assert asked_about(ApprovalGuard(rules=rules)) == names
    assert asked_about(ApprovalGuard(rules=dict(reversed(rules.items())))) == names


@pytest.mark.parametrize(
    ("auto", "names"),
    [
        ("", {"web.careful", "lab.destroy", "lab.write"}),
        ("*", {"lab.destroy"}),
        ("lab.*", {"web.careful", "lab.destroy"}),
        ("lab.destro?", {"web.careful", "lab.destroy", "lab.write"}),
        ("lab.destroy", {"web.careful", "lab.write"}),
        ("lab.destroy, web.*", {"lab.write"}),
        ("lab", {"web.careful", "lab.destroy", "lab.write"}),
        ("LAB.DESTROY", {"web.careful", "lab.destroy", "lab.write"}),
    ],
)
def test_what_is_approved_beforehand(auto: str, names: set[str]) -> None:
    assert asked_about(ApprovalGuard("writes", auto=Allow.of(auto))) == names


def test_a_rule_does_not_hide_a_tool_from_what_is_approved_beforehand() -> None:
    assert asked_about(ApprovalGuard(rules={"*": True}, auto=Allow.of("*"))) == {"lab.destroy", "web.free"}


@pytest.mark.parametrize(
    "wrong", [{"mode": "sometimes"}, {"rules": {"lab.*": "yes"}}, {"rules": {"lab.*": 1}}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="approv"):
        ApprovalGuard(**wrong)


@pytest.fixture
def gate() -> Gate:
    return Gate(None, ApprovalGuard())


def test_a_call_that_could_not_be_sent_is_refused_and_nobody_is_asked(gate: Gate) -> None:
    strict = Tool("lab.strict", input_schema={"type": "object", "properties": {"n": {"type": "integer"}}})
    context = Context(Scope([strict], [Allow.of("*")]), Limits(), Budget())
    for call in (Call(1, "tool", "lab.strict", (), {"n": "x"}), Call(2, "tool", "lab.other", (), {})):
        assert isinstance(gate.decide(call, context), Refused)
    assert context.consent.waiting == 0


def test_a_word_is_for_one_call(gate: Gate) -> None:
    context = context_of()
    context.consent.approved.add(1)
    assert isinstance(gate.decide(Call(1, "tool", "lab.destroy"), context), Allowed)
    assert isinstance(gate.decide(Call(2, "tool", "lab.destroy"), context), Asked)


def test_only_so_many_wait_at_once(gate: Gate) -> None:
    context = context_of()
    verdicts = [gate.decide(Call(number, "tool", "lab.destroy"), context) for number in range(MOST + 5)]
    assert [isinstance(each, Asked) for each in verdicts] == [True] * MOST + [False] * 5
    last = verdicts[-1]
    assert isinstance(last, Refused)
    assert (last.failure.kind, last.guard) == ("PermissionError", "approval")


def test_after_some_denials_people_are_left_alone(gate: Gate) -> None:
    context = context_of()
    context.consent.denials = DENIALS
    assert isinstance(gate.decide(Call(1, "tool", "lab.destroy"), context), Refused)
    assert isinstance(gate.decide(Call(2, "tool", "lab.read"), context), Allowed)


BOUNDS = {
    "properties": {"n": {"type": "integer", "maximum": 10}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "covered"),
    [
        ({"n": 10}, True),
        ({"n": 11}, False),
        ({"n": "10"}, False),
        ({}, False),
        ({"n": 1, "m": 2}, False),
        ({"n": b"1"}, False),
        ({"n": None}, False),
    ],
)
def test_a_grant_covers_what_fits_its_bounds(arguments: dict[str, Any], covered: bool) -> None:
    consent = Consent()
    consent.add(DESTROY, Grant(1, BOUNDS))
    assert consent.take_grant(DESTROY, arguments) is covered


def test_a_grant_is_used_up_by_calls_of_its_own_tool(gate: Gate) -> None:
    context = context_of()
    context.consent.add(DESTROY, Grant(2))
    assert not context.consent.take_grant(WRITE, {})
    verdicts = [gate.decide(Call(number, "tool", "lab.destroy"), context) for number in range(3)]
    assert [isinstance(each, Allowed) for each in verdicts] == [True, True, False]
    assert [each.granted for each in verdicts if isinstance(each, Allowed)] == [True, True]


@pytest.mark.parametrize("calls", [0, -1])
def test_a_grant_of_nothing_grants_nothing(calls: int) -> None:
    consent = Consent()
    consent.add(DESTROY, Grant(calls))
    assert not consent.take_grant(DESTROY, {})


def test_bounds_that_are_no_schema_are_refused() -> None:
    with pytest.raises(DecisionRefused, match="no usable JSON Schema"):
        Consent().add(DESTROY, Grant(1, {"type": "no such type"}))
