"""A sample of the proof that scripts left to Monty come out as in CPython, and that it can tell when not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from proofs.differential import compared, difference, tables, told
from proofs.programs import program

from oneturn.errors import SandboxUnavailable
from oneturn.sandbox.base import Sandbox
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.monty import MontySandbox
from oneturn.types import Limits


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Sandbox, Sandbox]]:
    """Monty and confined CPython."""
    monty, python = MontySandbox(workers=1), CPythonSandbox(processes=2)
    try:
        python.open(Limits(), 1).close()
    except SandboxUnavailable as unavailable:
        pytest.skip(f"confined CPython is not to be had here: {unavailable}")
    yield monty, python
    monty.close()
    python.close()


def test_random_programs_come_out_the_same(both: tuple[Sandbox, Sandbox]) -> None:
    result = compared((program(f"sample-{index}") for index in range(400)), both)
    assert [each for each in result["found"] if each[0] != "kind"] == []
    assert result["counts"]["left to Monty"] > 100


def test_calls_of_the_tables_come_out_the_same(both: tuple[Sandbox, Sandbox]) -> None:
    result = compared(tables(0, 200, 1), both)
    assert result["found"] == []
    assert result["counts"]["programs"] > 5


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("list({3, 1, 2})", "value"),
        ("print({3, 1, 2})", "prints"),
        ("for x in {3, 1}:\n    await solo(x)", "calls"),
        ("x = [1]\nx += (2,)\nNone", "error"),
        ("f'{None:d}'", "kind"),
        ("[] // 0 if [] else 1 // 0", "words"),
        ("await crm.find([1, {'a': None}])", ""),
    ],
)
def test_each_difference_is_told(both: tuple[Sandbox, Sandbox], source: str, what: str) -> None:
    monty, python = both
    assert difference(told(monty, source), told(python, source)) == what
