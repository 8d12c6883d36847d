"""What there is to call, by tiers: each says as much as fits, and none is ever over its budget."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneturn.manifest import names_text, namespaces_text
from oneturn.tokens import count

GITHUB = {f"github.area_{at}": 30 for at in range(40)}


def test_names_in_their_order_or_not_at_all() -> None:
    assert names_text(["a.b", "c"], 10) == "a.b, c"
    assert names_text((f"a.tool_{at}" for at in range(100)), 10) == ""
    assert names_text([], 10) == ""


def test_namespaces_are_grouped_by_the_outermost() -> None:
    told = namespaces_text({"github.issues": 3, "github": 1, "github.a.b": 2, "time": 1_200}, 100)
    assert told == "github (6: a.b 2, issues 3), time (1,200)"


def test_tools_without_a_namespace_are_named_when_they_are_few() -> None:
    assert namespaces_text({"": 2, "time": 1}, 100, ["add", "greet"]) == "time (1), top level: add, greet"
    many = [f"tool_number_{at}" for at in range(500)]
    assert namespaces_text({"": 500, "time": 1}, 100, many) == "time (1), top level (500)"


def test_what_does_not_fit_is_told_by_outermost_namespaces() -> None:
    assert namespaces_text({**GITHUB, "time": 2}, 30) == "github (1,200 in 40), time (2)"


def test_room_that_is_left_goes_to_the_largest_namespaces_inside() -> None:
    told = namespaces_text({**GITHUB, "github.zoo": 99, "time.zones": 40, "time": 2}, 80)
    assert told.startswith("github (1,299 in 41: zoo 99, area_0 30, area_1 30, ")
    assert told.endswith(", …), time (42 in 1: zones 40, …)")


def test_of_too_many_the_largest_are_told_and_the_rest_counted() -> None:
    many = {f"service_{at}": 1 for at in range(5_000)} | {"zoo.a": 7, "zoo.b": 7}
    told = namespaces_text(many, 100)
    assert told.startswith("zoo (14 in 2), service_0 (1), ")
    shown = told.count("(")
    assert told.endswith(f", and {5_001 - shown:,} more")
    assert shown > 10


def test_a_huge_name_is_counted_and_not_cut() -> None:
    told = namespaces_text({"x" * 5_000: 9, "y" * 400: 8, "time": 1}, 60)
    assert told == "time (1), and 2 more"
    assert namespaces_text({"x" * 5_000: 9}, 60) == "1 with long names"


_name = st.text("abcdé中_", min_size=1, max_size=30)
_names = st.lists(_name, min_size=1, max_size=3).map(".".join) | st.just("")


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(_names, st.integers(1, 99_999), min_size=1, max_size=200), st.sampled_from([40, 160]))
def test_no_catalog_is_told_in_more_than_the_budget(namespaces: dict[str, int], budget: int) -> None:
    told = namespaces_text(namespaces, budget, ["top"] * namespaces.get("", 0))
    assert told
    assert count(told) <= budget


@pytest.mark.parametrize("length", [1, 60, 100])
def test_the_work_for_a_hundred_thousand_namespaces_is_bounded(length: int) -> None:
    told = namespaces_text({f"{'n' * length}{at}.inner": 1 for at in range(100_000)}, 160)
    assert count(told) <= 160
    assert told.endswith("more")
