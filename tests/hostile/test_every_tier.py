"""The hostile suite on every tier there is here; and its oracles, where nothing holds anything back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.hostile.suite.cases import CASES
from tests.hostile.suite.sample import sample
from tests.hostile.suite.table import Result, results
from tests.hostile.suite.tiers import TIERS

pytestmark = pytest.mark.timeout(600)

CONFINED = [name for name in TIERS if name != "unconfined"]
CLASSES = sorted({case.cls for case in CASES.values()})
FULL_PYTHON = ("cpython", "unprivileged", "bubblewrap", "container")


PLAYED: dict[str, Mapping[str, Result] | str] = {}
"""By tier: how each case of the sample ended, or why none was played."""


def there(tier: str) -> Mapping[str, Result]:
    """The results of a tier that this machine has."""
    if tier not in PLAYED:
        PLAYED[tier] = play(tier)
    found = PLAYED[tier]
    if isinstance(found, str):
        pytest.skip(f"{tier}: {found}")
    return found


def play(tier: str) -> Mapping[str, Result] | str:
    return TIERS[tier].missing() or results(tier, sample(tier))


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("tier", CONFINED)
def test_no_attack_of_this_class_works(tier: str, cls: str) -> None:
    found = [result for result in there(tier).values() if result.case.cls == cls]
    broken = [str(result) for result in found if result.verdict == "BROKEN"]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("tier", FULL_PYTHON)
def test_in_full_python_an_attack_is_held_by_the_walls_and_not_by_the_language(tier: str) -> None:
    stopped = [
        str(result)
        for result in there(tier).values()
        if result.case.fires and result.verdict == "not expressible"
    ]
    assert not stopped, "\n".join(stopped)


def test_where_nothing_is_confined_the_oracles_fire() -> None:
    silent = [
        str(result) for result in there("unconfined").values() if not result.case.fires & result.fired.keys()
    ]
    assert not silent, "\n".join(silent)


def test_together_the_samples_leave_no_class_out() -> None:
    for tier in TIERS:
        assert {case.cls for case in sample(tier)} >= {
            case.cls for case in CASES.values() if tier != "unconfined" or case.fires
        }
