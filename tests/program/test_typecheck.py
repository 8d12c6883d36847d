"""The type checker as a program part: it finds, it runs nothing, and it never fails a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oneturn.errors import SandboxBusy
from oneturn.program import Finding, Program, TypeChecker, parse
from oneturn.program.typecheck import without_tool_imports

STUBS = """
from typing import Any, TypedDict
class Issue(TypedDict):
    title: str
class _lab:
    async def issue(self, number: int) -> Issue: ...
class _tools:
    lab: _lab
tools: _tools
lab: _lab
"""


@pytest.fixture(scope="module")
def checker() -> Iterator[TypeChecker]:
    made = TypeChecker()
    yield made
    made.close()


def program(source: str) -> Program:
    parsed = parse(source)
    assert isinstance(parsed, Program), parsed
    return parsed


def rules(checker: TypeChecker, source: str) -> list[str]:
    found = checker.findings(program(source), STUBS)
    assert found is not None
    return [each.rule for each in found]


def test_a_finding_says_where(checker: TypeChecker) -> None:
    source = "note = 'é😀'; x = await lab.issue(number='a')"
    assert checker.findings(program(source), STUBS) == (
        Finding(
            "invalid-argument-type",
            'Argument to bound method `_lab.issue` is incorrect: Expected `int`, found `Literal["a"]`',
            1,
            source.index("number") + 1,
            1,
            len(source),
        ),
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("await tools.lab.issue(1)", []),
        ("x = await lab.issue(1)\nx['titel']", ["invalid-key"]),
        ("import tools\nx = await tools.lab.issue('1')", ["invalid-argument-type"]),
        ("from tools import lab as l\nawait l.issue('1')", ["invalid-argument-type"]),
        ("from tools.lab import issue\nawait issue('1')", ["invalid-argument-type"]),
        ("import nowhere\nawait lab.issue('1')", ["unresolved-import", "invalid-argument-type"]),
        ("final_answer(1)\nruntime.list_tools()[0]['name']\nraise ToolError('x')", []),
    ],
)
def test_findings(checker: TypeChecker, source: str, expected: list[str]) -> None:
    assert [rule for rule in rules(checker, source) if not rule.startswith("unused")] == expected


def test_nothing_of_a_script_runs(checker: TypeChecker) -> None:
    # It would take for ever, and end in an error.
    assert rules(checker, "n = 0\nwhile n >= 0:\n    n += 1\nraise ValueError(n)") == []


def test_a_comment_that_silences_everything_starts_nothing(checker: TypeChecker) -> None:
    found = checker.findings(
        program("# type: ignore\n# ty: ignore\nwhile 1 < 2: pass  # type: ignore"), STUBS
    )
    assert found is None or all("type" in each.rule or "ignore" in each.rule for each in found)


def test_a_script_that_knows_the_name_starts_nothing(checker: TypeChecker) -> None:
    source = "def oneturn_begin(): pass\noneturn_begin_ = print\nwhile 1 < 2: pass"
    assert checker.findings(program(source), STUBS) is not None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import tools", "pass"),
        ("import tools as t", "t = tools"),
        ("import tools.lab as l, tools", "l = tools.lab; pass"),
        ("from tools import lab", "lab = tools.lab"),
        ("x = 1; from tools.lab import a as b; y = 2", "x = 1; b = tools.lab.a; y = 2"),
        (
            "if x:\n    from tools import (\n        a,\n        b,\n    )\nz",
            "if x:\n    a = tools.a; b = tools.b\n\n\n\nz",
        ),
        ("from runtime import list_tools", "list_tools = runtime.list_tools"),
        ("import json, tools", "import json, tools"),
        ("'é'; import tools as t; 'ü'", "'é'; t = tools; 'ü'"),
    ],
)
def test_imports_of_tools_become_assignments_on_the_same_lines(source: str, expected: str) -> None:
    assert without_tool_imports(program(source)) == expected


def test_a_worker_that_takes_too_long_is_killed_and_replaced() -> None:
    checker = TypeChecker(seconds=0.5, workers=1)
    slow = "x = " + "[" * 100 + "]" * 100
    assert checker.findings(program(slow), STUBS) is None
    assert rules(checker, "await lab.issue('1')") == ["invalid-argument-type"]
    checker.close()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the memory of a process is limited on Linux only")
def test_a_worker_that_takes_too_much_memory_is_replaced() -> None:
    checker = TypeChecker(memory=1 << 20)  # less than it has already
    assert checker.findings(program("x = 1\n" + "x = (x, x)\n" * 20 + "await lab.issue(x)"), STUBS) is None
    checker.close()


def test_when_every_worker_is_busy_it_says_so() -> None:
    checker = TypeChecker(workers=1, wait=0.05)
    pool = checker._started()
    with pool.checkout(), pytest.raises(SandboxBusy):
        checker.findings(program("await lab.issue(1)"), STUBS)
    checker.close()


def test_closing_twice_is_fine() -> None:
    checker = TypeChecker()
    checker.close()
    assert rules(checker, "await lab.issue('1')") == ["invalid-argument-type"]
    checker.close()
    checker.close()
