"""Frames from a guest are hostile: bounded before they are decoded, and one error whatever is wrong."""

from __future__ import annotations

import datetime as dt
import json
import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneturn.errors import ValueRefused
from oneturn.sandbox.base import Script
from oneturn.sandbox.frames import BadFrame, Told, read, resume, start
from oneturn.sandbox.inside import values
from oneturn.types import Answer, Failure, Limits
from oneturn.values import plain

LIMITS = Limits()
WAIT: dict[str, Any] = {
    "op": "wait", "n": 3, "calls": [], "pending": [], "dropped": [], "prints": "", "cut": 0,
}  # fmt: skip
CALL = [4, "tool", "crm.find", [1], {"a": 2}, 5, 6]


def told(**changes: Any) -> Told:
    return read(json.dumps(WAIT | changes).encode(), LIMITS)


def done(value: str) -> Any:
    frame = f'{{"op":"done","n":1,"value":{value},"error":null,"prints":"","cut":0}}'
    return read(frame.encode(), LIMITS).value


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    | st.binary() | st.dates() | st.datetimes() | st.times(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$"), inner),
    max_leaves=20,
)  # fmt: skip
BOUNDS = {"depth": 100, "nodes": 1_000_000, "value_bytes": 1 << 24}


@given(PLAIN)
def test_a_value_goes_out_and_comes_back(value: Any) -> None:
    frame = resume(1, [Answer(1, value)])
    (answer,) = values.read(frame)["answers"]
    text, _ = values.Packer(BOUNDS).text(answer[1], "the value")
    assert plain(done(text), LIMITS) == plain(value, LIMITS)


@given(PLAIN)
def test_a_guest_measures_as_the_host_does(value: Any) -> None:
    for bounds in (Limits(depth=2), Limits(nodes=3), Limits(value_bytes=30)):
        small = {"depth": bounds.depth, "nodes": bounds.nodes, "value_bytes": bounds.value_bytes}
        found = []
        for attempt in (
            lambda small=small: values.Packer(small).text(value, "the value"),
            lambda bounds=bounds: plain(value, bounds),
        ):
            try:
                attempt()
            except ValueError as error:
                found.append(str(error).rstrip("."))
        assert len(found) in (0, 2)
        assert len(set(found)) <= 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"$":["bytes","AP8="]}', b"\x00\xff"),
        ('{"$":["datetime","2020-01-02T03:04:05+00:00"]}', dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        ('{"$":["timedelta",-1,2,3]}', dt.timedelta(days=-1, seconds=2, microseconds=3)),
        ('{"$":["set",[2,1]]}', [1, 2]),
        ('{"$":["dict",[["$",1]]]}', {"$": 1}),
        ('{"$":["float","-inf"]}', -math.inf),
        ('{"$":1,"b":2}', {"$": 1, "b": 2}),
        ('"\\ud83d\\ude00"', "😀"),
    ],
)
def test_tags(text: str, value: Any) -> None:
    assert done(text) == value


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("coroutine", "holds a coroutine, and only plain data may cross; write await"),
        ("function", "holds a function"),
        ("Decimal", "holds an object of type Decimal"),
        ("\x00\ud800", "holds an object of type"),
        ("", "holds an object of type"),
    ],
)
def test_what_is_no_data_is_refused_in_the_words_for_every_sandbox(name: str, words: str) -> None:
    value = done(json.dumps({"$": ["object", name]}))
    with pytest.raises(ValueRefused, match=words):
        plain(value, LIMITS, from_script=True)


def test_objects_of_very_many_kinds_are_no_values() -> None:
    few = [{"$": ["object", f"Kind{number % 10}"]} for number in range(5_000)]
    assert len(done(json.dumps(few))) == 5_000
    many = [{"$": ["object", f"Kind{number}"]} for number in range(5_000)]
    with pytest.raises(BadFrame, match="more kinds than a script has"):
        done(json.dumps(many))


def test_a_tag_counts_as_the_one_node_it_is() -> None:
    limits = Limits(nodes=150_000)
    value = json.dumps([{"$": ["date", "2020-01-01"]}] * 149_000, separators=(",", ":"))
    frame = f'{{"op":"done","n":1,"value":{value},"error":null,"prints":"","cut":0}}'
    assert read(frame.encode(), limits).value == [dt.date(2020, 1, 1)] * 149_000


def test_large_frames_read_as_small_ones_do() -> None:
    value = {"n": [1, -2, 1.5, 10**40, True, None], "keys": {str(n): n for n in range(20_000)}}
    assert done(json.dumps(value)) == value


def test_a_wait_frame() -> None:
    frame = told(calls=[CALL], pending=[4, 2], dropped=[1], prints="p", cut=7)
    (call,) = frame.calls
    assert (call.id, call.kind, call.name, call.args, call.kwargs) == (4, "tool", "crm.find", (1,), {"a": 2})
    assert (call.line, call.column) == (5, 6)
    assert (frame.number, frame.pending, frame.dropped, frame.prints, frame.cut) == (3, (2, 4), (1,), "p", 7)


@pytest.mark.parametrize(
    "changes",
    [
        {"op": "start"},
        {"op": ["wait"]},
        {"n": -1},
        {"n": True},
        {"n": 1.0},
        {"n": 10**30},
        {"calls": {}},
        {"calls": [[1]]},
        {"calls": [[*CALL, 1]]},
        {"calls": [["1", *CALL[1:]]]},
        {"calls": [[1, "exec", *CALL[2:]]]},
        {"calls": [[1, ["tool"], *CALL[2:]]]},
        {"calls": [[1, "tool", "x" * 5_000, *CALL[3:]]]},
        {"calls": [[1, "tool", "x", {}, {}, 1, 1]]},
        {"calls": [[1, "tool", "x", [], [], 1, 1]]},
        {"calls": [[1, "tool", "x", [], {}, None, 1]]},
        {"calls": [[1, "clock", "cpu", [], {}, 1, 1]]},
        {"calls": [[1, "clock", "wall", [1], {}, 1, 1]]},
        {"calls": [[1, "sleep", "asyncio.sleep", [], {}, 1, 1]]},
        {"calls": [[1, "sleep", "asyncio.sleep", ["1"], {}, 1, 1]]},
        {"calls": [[1, "sleep", "asyncio.sleep", [-1], {}, 1, 1]]},
        {"calls": [[1, "sleep", "asyncio.sleep", [1e300], {}, 1, 1]]},
        {"pending": [1, 1]},
        {"pending": ["1"]},
        {"pending": 1},
        {"prints": None},
        {"cut": "many"},
    ],
)
def test_what_is_no_wait_frame_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        told(**changes)


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        '{"a":1,"a":2}',
        '{"$":["bytes","*"]}',
        '{"$":["bytes",1]}',
        '{"$":["pickle","x"]}',
        '{"$":[["bytes"],"x"]}',
        '{"$":[]}',
        '{"$":1}',
        '{"$":["datetime","yesterday"]}',
        '{"$":["timedelta",1e9,0,0]}',
        '{"$":["timedelta",999999999999,0,0]}',
        '{"$":["set",1]}',
        '{"$":["dict",[[[],1]]]}',
        '{"$":["dict",[["a"]]]}',
        '{"$":["float","1"]}',
        '{"$":["object",1]}',
        '{"$":["object","' + "x" * 5_000 + '"]}',
        "[" * 100_000 + "]" * 100_000,
        "9" * 5_000,
        "1,",
        "",
        "\x00",
    ],
)
def test_a_value_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadFrame):
        done(value)


@pytest.mark.parametrize(
    "frame",
    [b"", b"\xff\xfe", "é".encode(), b"[]", b"1", b"{}", b'{"op":"wait"}', b'{"op":"ready","n":0}{}'],
)
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        read(frame, LIMITS)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("ValueError", "ValueError"),
        ("A\nerror: B", "Aerror: B"),
        ("\x1b[2JA\u202e", "[2JA"),
        ("\n", "Exception"),
    ],
)
def test_the_name_of_an_error_is_one_line_of_plain_text(kind: str, told: str) -> None:
    error = json.dumps([kind, "x", 1, 1])
    frame = f'{{"op":"done","n":1,"value":null,"error":{error},"prints":"","cut":0}}'
    assert read(frame.encode(), LIMITS).error == (told, "x", 1, 1)


@given(st.binary() | st.text().map(str.encode))
def test_nothing_else_comes_of_bytes_than_a_refusal(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        read(frame, LIMITS)


@pytest.mark.parametrize(
    "value",
    [
        b"[" + b"[]," * 5_000_000 + b"1]",
        b"[" + b"{}," * 5_000_000 + b"1]",
        b'["' + b'","' * 5_000_000 + b'"]',
        b"{" + b'"a":[],' * 2_000_000 + b'"b":1}',
        b'["' + b'\\",[[[[' * 3_000_000 + b'",' + b"[]," * 2_500_000 + b"1]",
    ],
    ids=["lists", "dicts", "texts", "keys", "brackets behind escapes"],
)
def test_a_bomb_is_refused_before_it_is_decoded(value: bytes) -> None:
    frame = b'{"op":"done","n":1,"value":' + value + b',"error":null,"prints":"","cut":0}'
    tracemalloc.start()
    with pytest.raises(BadFrame, match="more than values may hold"):
        read(frame, LIMITS)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5 * len(frame)


def test_text_that_only_looks_like_a_bomb_is_not_one() -> None:
    text = '\\",[{' * 600_000
    assert done(json.dumps(text)) == text


def test_what_a_guest_is_sent() -> None:
    script = Script("1", tools=frozenset({"b", "a"}), called=frozenset({"c"}), uses_tool_error=True)
    frame = json.loads(start(script, Limits(memory=5), 7, ["math"], {"os": "no files"}))
    assert (frame["op"], frame["n"], frame["seed"], frame["tools"]) == ("start", 0, 7, ["a", "b"])
    assert (frame["called"], frame["tool_error"], frame["limits"]["memory"]) == (["c"], True, 5)
    answers = [Answer(1, {"a": b"x"}), Answer(2, failure=Failure("KeyError", "k")), Answer(3, math.inf)]
    assert values.read(resume(4, answers)) == {
        "op": "resume",
        "n": 4,
        "answers": [[1, {"a": b"x"}], [2, None, "KeyError", "k"], [3, math.inf]],
    }
