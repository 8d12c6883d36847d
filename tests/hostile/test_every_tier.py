"""The hostile suite on every tier there is here; and its oracles, where nothing holds anything back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.hostile.suite.cases import CASES
from tests.hostile.suite.sample import sample
from tests.hostile.suite.table import Result, counts, results
from tests.hostile.suite.tiers import TIERS

pytestmark = pytest.mark.timeout(600)

CONFINED = [name for name in TIERS if name != "unconfined"]
CLASSES = sorted({case.cls for case in CASES.values()})
FULL_PYTHON = ("cpython", "unprivileged", "bubblewrap", "container")

There = Callable[[str], Mapping[str, Result]]


@pytest.fixture
def there(record_property: Callable[[str, Any], None]) -> There:
    """The results of a tier that this machine has. They are told to the table at the end of the run, too."""

    def of(tier: str) -> Mapping[str, Result]:
        found = play(tier)
        if isinstance(found, str):
            record_property("hostile", {tier: found})
            pytest.skip(f"{tier}: {found}")
        record_property(
            "hostile", {tier: {cls: dict(ended) for cls, ended in counts(found.values()).items()}}
        )
        return found

    return of


@functools.cache
def play(tier: str) -> Mapping[str, Result] | str:
    """How each case of the sample ended, or why none was played."""
    return TIERS[tier].missing() or results(tier, sample(tier))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("tier", CONFINED)
def test_no_attack_of_this_class_works(there: There, tier: str, cls: str) -> None:
    found = [result for result in there(tier).values() if result.case.cls == cls]
    broken = [str(result) for result in found if result.verdict == "BROKEN"]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("tier", FULL_PYTHON)
def test_in_full_python_an_attack_is_held_by_the_walls_and_not_by_the_language(
    there: There, tier: str
) -> None:
    stopped = [
        str(result)
        for result in there(tier).values()
        if result.case.fires and result.verdict == "not expressible"
    ]
    assert not stopped, "\n".join(stopped)


def test_where_nothing_is_confined_the_oracles_fire(there: There) -> None:
    silent = [
        str(result) for result in there("unconfined").values() if not result.case.fires & result.fired.keys()
    ]
    assert not silent, "\n".join(silent)


def test_together_the_samples_leave_no_class_out() -> None:
    for tier in TIERS:
        assert {case.cls for case in sample(tier)} >= {
            case.cls for case in CASES.values() if tier != "unconfined" or case.fires
        }
