"""What may cross the boundary: every rule, and the bounds that are checked before a copy is made."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import time
import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneturn.errors import OneturnError, ValueRefused
from oneturn.types import Limits
from oneturn.values import measure, plain

LIMITS = Limits()


@dataclass
class Thing:
    x: int = 1


class Text(str):
    pass


class Number(int):
    pass


class Mapping2(dict[str, Any]):
    pass


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def doubled(times: int) -> list[Any]:
    value: list[Any] = [0]
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "crossed"),
    [
        (None, None),
        (True, True),
        (-7, -7),
        (2**200, 2**200),
        (1.5, 1.5),
        ("é😀\x00", "é😀\x00"),
        (b"\x00\xff", b"\x00\xff"),
        ([], []),
        ({}, {}),
        ((1, (2,)), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (dt.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05"),
        (dt.datetime(2020, 1, 2, tzinfo=dt.UTC), "2020-01-02T00:00:00+00:00"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(minutes=1, microseconds=500_000), 60.5),
        ({1: "a", 2.5: "b", None: "c"}, {"1": "a", "2.5": "b", "null": "c"}),
        ({False: 1, True: 2}, {"false": 1, "true": 2}),
        ({"a": [{"b": (None,)}]}, {"a": [{"b": [None]}]}),
    ],
)
def test_plain_values_cross(value: Any, crossed: Any) -> None:
    assert plain(value, LIMITS) == crossed
    assert type(plain(value, LIMITS)) is type(crossed)


def test_a_set_that_cannot_be_sorted_still_crosses_whole() -> None:
    crossed = plain({1, "a", None}, LIMITS)
    assert len(crossed) == 3
    assert set(crossed) == {1, "a", None}


@pytest.mark.parametrize(
    "value",
    [
        Thing(),
        Thing,
        print,
        lambda: 1,
        math,
        object(),
        iter([1]),
        (part for part in [1]),
        range(3),
        bytearray(b"x"),
        memoryview(b"x"),
        complex(1, 2),
        decimal.Decimal(1),
        ValueError("x"),
        Text("x"),
        Number(1),
        Mapping2(a=1),
        {"a": [Thing()]},
        {Thing: 1},
        {(1, 2): 1},
        {b"k": 1},
        {Text("k"): 1},
        ...,
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_do_not_cross_not_even_subclasses_of_plain_types(value: Any) -> None:
    with pytest.raises(ValueRefused) as caught:
        plain(value, LIMITS, what="argument 'x'")
    text = str(caught.value)
    assert text.startswith("argument 'x' ")
    assert "0x" not in text
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, OneturnError)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": (math.inf,)}])
def test_floats_json_cannot_carry_are_refused(value: Any) -> None:
    with pytest.raises(ValueRefused, match="JSON"):
        plain(value, LIMITS)


def test_integers_are_bounded_to_what_python_will_print() -> None:
    largest = 10**4_000
    assert plain(largest, LIMITS) == largest
    assert str(largest)
    for value in (10**5_000, -(10**5_000), [1 << 10_000_000]):
        with pytest.raises(ValueRefused, match="4,000 digits"):
            plain(value, LIMITS)


# --- bounds


def test_depth_is_bounded_exactly() -> None:
    assert plain(nested(100), LIMITS) == nested(100)
    with pytest.raises(ValueRefused, match="deeper than 100"):
        plain(nested(101), LIMITS)
    with pytest.raises(ValueRefused, match="deeper than 3"):
        plain({"a": {"b": {"c": {}}}}, Limits(depth=3))


def test_depth_counts_where_a_shared_part_is_deepest() -> None:
    shared = nested(60)
    deep: Any = shared
    for _ in range(50):
        deep = [deep]
    with pytest.raises(ValueRefused, match="deeper"):
        plain([shared, deep], LIMITS)
    with pytest.raises(ValueRefused, match="deeper"):
        plain([deep, shared], LIMITS)


def test_a_hundred_thousand_levels_are_refused_without_recursion_trouble() -> None:
    with pytest.raises(ValueRefused, match="deeper"):
        plain(nested(100_000), LIMITS)
    for limits in (Limits(depth=100), Limits(depth=20)):
        value: Any = {}
        for _ in range(100_000):
            value = {"k": value}
        with pytest.raises(ValueRefused, match="deeper"):
            plain(value, limits)


def test_cycles_are_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    mutual: dict[str, Any] = {}
    mutual["other"] = [mutual]
    for value in (cycle, mutual, {"a": [1, cycle]}):
        with pytest.raises(ValueRefused, match="contains itself"):
            plain(value, LIMITS)


def test_nodes_are_counted_as_often_as_they_appear() -> None:
    limits = Limits(nodes=100)
    assert plain([1] * 99, limits) == [1] * 99
    with pytest.raises(ValueRefused, match="more than 100 nodes"):
        plain([1] * 100, limits)
    shared = [0] * 9
    assert plain([shared] * 9, limits) == [shared] * 9
    with pytest.raises(ValueRefused, match="more than 100 nodes"):
        plain([shared] * 10, limits)


def test_size_is_bounded() -> None:
    limits = Limits(value_bytes=1_000)
    assert plain("x" * 990, limits)
    for value in ("x" * 1_001, b"x" * 1_001, ["x" * 600, "y" * 600], {"k" * 1_001: 1}):
        with pytest.raises(ValueRefused, match="larger than 1,000 bytes"):
            plain(value, limits)


def test_a_small_value_that_expands_to_billions_is_refused_fast_and_small() -> None:
    value = doubled(28)
    seconds = []
    tracemalloc.start()
    try:
        for _ in range(5):
            began = time.perf_counter()
            with pytest.raises(ValueRefused):
                plain(value, LIMITS)
            seconds.append(time.perf_counter() - began)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert min(seconds) < 0.05
    assert peak < 10 * 1024 * 1024


def test_measuring_shared_text_costs_its_parts_not_its_expansion() -> None:
    page = "x" * 1_000_000
    with pytest.raises(ValueRefused, match="larger"):
        measure([[page] * 1_000] * 1_000, LIMITS)


def test_measure_gives_a_size_that_grows_with_the_value() -> None:
    assert measure("x" * 500, LIMITS) > measure("x" * 5, LIMITS)
    shared = ["x" * 100]
    assert measure([shared, shared], LIMITS) > 200


# --- copies


def test_the_copy_shares_nothing_with_the_original() -> None:
    shared = [1]
    value = {"a": shared, "b": [shared, {"c": shared}]}
    crossed = plain(value, LIMITS)
    shared.append(2)
    assert crossed == {"a": [1], "b": [[1], {"c": [1]}]}
    crossed["a"].append(3)
    assert crossed["b"] == [[1], {"c": [1]}]
    assert value["a"] == [1, 2]


def test_nothing_is_copied_when_the_value_is_refused() -> None:
    value = [[1] * 1_000] * 100 + [Thing()]
    tracemalloc.start()
    try:
        with pytest.raises(ValueRefused):
            plain(value, LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize(
    ("text", "crossed"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("é😀", "é😀"),
    ],
)
def test_text_that_utf_8_cannot_carry_is_mended(text: str, crossed: str) -> None:
    assert plain(text, LIMITS) == crossed
    assert plain({text: [text]}, LIMITS) == {crossed: [crossed]}
    assert plain(text, LIMITS).encode()


# --- what interpreters send in place of objects

STAND_INS = [
    "<coroutine external_future(0)>",
    "<coroutine object f at 0x1>",
    "<function 'f' at 0xc>",
    "<function '<lambda>' at 0xc>",
    "<function f at 0x7f>",
    "<bound method A.f of <A object at 0x1>>",
    "<built-in function print>",
    "<module 'math'>",
    "<class 'int'>",
    "<generator object g at 0x1>",
    "<function 'a.b' external>",
]


@pytest.mark.parametrize("text", STAND_INS)
@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: [text], lambda text: {"k": (text,)}])
def test_text_in_place_of_an_object_is_refused_from_scripts_only(text: str, wrap: Any) -> None:
    with pytest.raises(ValueRefused):
        plain(wrap(text), LIMITS, from_script=True)
    assert plain(wrap(text), LIMITS) == plain(wrap(text), LIMITS)


def test_a_forgotten_await_is_named() -> None:
    with pytest.raises(ValueRefused, match="await"):
        plain({"issue": STAND_INS[0]}, LIMITS, from_script=True)


@pytest.mark.parametrize("text", ["[...]", "{...}", "(...)"])
def test_a_cycle_cut_by_the_interpreter_is_refused(text: str) -> None:
    with pytest.raises(ValueRefused, match="contains itself"):
        plain([1, text], LIMITS, from_script=True)
    assert plain(text, LIMITS, from_script=True) == text


@pytest.mark.parametrize(
    "text",
    [
        "<b>bold</b>",
        "<function",
        "<functional>",
        "<class 'int'> is a type",
        "<module>\n</module>",
        "<generator-id>7</generator-id>\ntext",
        "[1, 2]",
        "{}",
        "(...) and so on",
        "<",
    ],
)
def test_ordinary_text_crosses_from_scripts(text: str) -> None:
    assert plain([text], LIMITS, from_script=True) == [text]


# --- the same as JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


@given(json_values)
def test_what_json_can_say_crosses_unchanged(value: Any) -> None:
    assert plain(value, LIMITS) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner, inner)
            | st.dictionaries(
                st.text()
                | st.integers()
                | st.none()
                | st.booleans()
                | st.floats(allow_nan=False, allow_infinity=False),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_what_json_converts_is_converted_the_same_way(value: Any) -> None:
    assert plain(value, LIMITS) == json.loads(json.dumps(value))


# --- numbers take the room they take


def test_large_integers_count_with_their_digits() -> None:
    many = [10**4000] * 40_000
    with pytest.raises(ValueRefused, match="larger than"):
        plain(many, Limits())
    assert plain([10**4000], Limits()) == [10**4000]


@pytest.mark.parametrize("key", [10**5000, float("nan"), float("inf")], ids=["huge", "nan", "inf"])
def test_keys_obey_the_rules_of_values(key: object) -> None:
    with pytest.raises(ValueRefused):
        plain({key: 1}, Limits())
