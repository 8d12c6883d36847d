"""The scope and budgets guards: who may call what, how often, and what a refusal gives away."""

from __future__ import annotations

import pytest

from oneturn.gate import Allowed, Context, Gate, Refused
from oneturn.gate.approval import ApprovalGuard
from oneturn.gate.base import Budget
from oneturn.tools.scope import Allow, Scope
from oneturn.types import Call, Limits, Tool

SECRET = {"type": "object", "properties": {"launch_code": {"type": "string"}}}
TOOLS = [
    Tool("github.create_issue", "Open an issue."),
    Tool("github.list_issues", "List issues."),
    Tool("github.delete_repo", "Gone for good.", input_schema=SECRET),
    Tool("crm.delete_customer", "Gone as well.", input_schema=SECRET),
    Tool("crm.notes.add", "Add a note."),
    Tool("echo", "Say it again."),
]


def context(*allow: str, calls: int = 1_000) -> Context:
    return Context(Scope(TOOLS, [Allow.of(allow)]), Limits(calls=calls), Budget())


def decide(name: str, where: Context) -> Allowed | Refused:
    return Gate().decide(Call(1, "tool", name), where)


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("github.create_issue", "github.create_issue"),
        ("create_issue", "github.create_issue"),
        ("add", "crm.notes.add"),
        ("crm.notes.add", "crm.notes.add"),
        ("echo", "echo"),
    ],
)
def test_a_tool_in_scope_is_found_by_its_full_and_its_short_name(name: str, tool: str) -> None:
    verdict = decide(name, context("*"))
    assert isinstance(verdict, Allowed)
    assert verdict.tool.name == tool


@pytest.mark.parametrize(
    "name", ["github.delete_repo", "delete_repo", "crm.delete_customer", "crm.notes.add"]
)
def test_registered_but_not_allowed_is_a_permission_error(name: str) -> None:
    verdict = decide(name, context("github.create_issue", "echo"))
    assert isinstance(verdict, Refused)
    assert verdict.guard == "scope"
    assert verdict.tool is None
    assert verdict.failure.kind == "PermissionError"
    assert verdict.failure.message == f"{name} is not allowed here"


@pytest.mark.parametrize(
    "name", ["github.nope", "nope", "github", "crm.notes", "github.create_issue.x", "", ".", "__class__"]
)
def test_an_unknown_name_is_a_name_error(name: str) -> None:
    verdict = decide(name, context("*"))
    assert isinstance(verdict, Refused)
    assert verdict.failure.kind == "NameError"
    assert "(" not in verdict.failure.message.replace("search_tools('…')", "")


def test_the_nearest_names_are_offered() -> None:
    verdict = decide("github.create_isue", context("*"))
    assert isinstance(verdict, Refused)
    assert "github.create_issue" in verdict.failure.message


@pytest.mark.parametrize(
    "name", ["github.delete_rep", "delete_repos", "crm.delete_customers", "crm.notes.ad", "crm.x"]
)
def test_nearest_names_never_leave_the_scope(name: str) -> None:
    verdict = decide(name, context("github.create_issue", "github.list_issues", "echo"))
    assert isinstance(verdict, Refused)
    assert verdict.failure.kind == "NameError"
    for hidden in ("delete_repo;", "delete_repo?", "delete_customer?", "notes.add", "launch_code"):
        assert hidden not in verdict.failure.message.replace(f"no tool {name}", "")


def test_an_empty_scope_says_so() -> None:
    for name in ("x", "github.x"):
        verdict = decide(name, context())
        assert isinstance(verdict, Refused)
        assert verdict.failure.message.endswith("no tool is allowed here")


def test_a_short_name_two_tools_share_is_not_guessed() -> None:
    where = Context(Scope([Tool("a.get"), Tool("b.get")], [Allow.of("*")]), Limits(), Budget())
    verdict = decide("get", where)
    assert isinstance(verdict, Refused)
    assert verdict.failure.kind == "NameError"
    assert "a.get" in verdict.failure.message
    assert "b.get" in verdict.failure.message


def test_calls_are_counted_over_all_names_of_a_tool() -> None:
    where = context("*", calls=3)
    for name in ("github.create_issue", "create_issue", "tools.create_issue"):
        assert isinstance(decide(name, where), Allowed)
    verdict = decide("echo", where)
    assert isinstance(verdict, Refused)
    assert verdict.guard == "budgets"
    assert verdict.failure.kind == "PermissionError"
    assert "3 tool calls" in verdict.failure.message


def test_refused_calls_are_not_counted() -> None:
    where = context("github.*", calls=1)
    for name in ("nope", "echo"):
        decide(name, where)
    Gate().decide(Call(1, "tool", "github.create_issue", (), {"bad": 1}), where)
    assert isinstance(decide("github.create_issue", where), Allowed)
    assert isinstance(decide("github.create_issue", where), Refused)


def test_the_order_of_the_guards_is_fixed() -> None:
    assert [name for name, _ in Gate().guards] == ["scope", "arguments", "reuse", "budgets"]
    asking = Gate(approval=ApprovalGuard())
    assert [name for name, _ in asking.guards] == ["scope", "arguments", "reuse", "approval", "budgets"]
