"""The arguments guard: binding, conversion, checking, and errors that show the signature."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

from oneturn.gate import Allowed, Context, Gate, Refused
from oneturn.gate.base import Budget
from oneturn.journal.redaction import Fields
from oneturn.tools.scope import Allow, Scope
from oneturn.types import Call, Failure, Limits, Tool


def tool(required: tuple[str, ...] = (), *, extra: dict[str, Any] | None = None, **properties: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required), **(extra or {})}
    return Tool("ns.do", "Do it.", input_schema=schema)


def decide(tool: Tool, *args: Any, limits: Limits | None = None, **kwargs: Any) -> Allowed | Refused:
    where = Context(Scope([tool], [Allow.of("*")]), limits or Limits(), Budget())
    return Gate().decide(Call(1, "tool", tool.name, args, kwargs), where)


def sent(tool: Tool, *args: Any, **kwargs: Any) -> dict[str, Any]:
    verdict = decide(tool, *args, **kwargs)
    assert isinstance(verdict, Allowed), verdict
    return dict(verdict.arguments)


def refusal(tool: Tool, *args: Any, limits: Limits | None = None, **kwargs: Any) -> tuple[str, str]:
    verdict = decide(tool, *args, limits=limits, **kwargs)
    assert isinstance(verdict, Refused), verdict
    assert verdict.guard == "arguments"
    assert verdict.tool is tool
    return verdict.failure.kind, verdict.failure.message


ISSUE = tool(
    ("title",),
    title={"type": "string"},
    body={"type": "string"},
    labels={"type": "array", "items": {"type": "string"}},
    count={"type": "integer"},
    ratio={"type": "number"},
)


def test_positional_and_keyword_arguments_bind_in_schema_order() -> None:
    assert sent(ISSUE, "t", "b", count=1) == {"title": "t", "body": "b", "count": 1}
    assert sent(ISSUE, title="t") == {"title": "t"}
    assert sent(ISSUE, count=2, title="t") == {"title": "t", "count": 2}


def test_a_tool_without_parameters_takes_none() -> None:
    bare = tool()
    assert sent(bare) == {}
    kind, message = refusal(bare, 1)
    assert kind == "TypeError"
    assert "at most 0" in message


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, "needs 'title'"),
        (("t", "b", [], 1, 1.0, "six"), {}, "takes at most 5 positional arguments, got 6"),
        (("t",), {"title": "u"}, "two values for argument 'title'"),
        (("t",), {"bdy": "x"}, "no argument 'bdy'; did you mean 'body'?"),
        (("t",), {"zzz": "x"}, "no argument 'zzz'"),
        ((5,), {}, "'title'"),
        (("t",), {"count": "5"}, "'count'"),
        (("t",), {"count": 1.5}, "'count'"),
        (("t",), {"count": True}, "'count'"),
        (("t",), {"ratio": "0.5"}, "'ratio'"),
        (("t",), {"labels": "bug"}, "'labels'"),
        (("t",), {"labels": [1]}, "a wrong 'labels[0]': 1 is not"),
        ((None,), {}, "'title'"),
        (("t",), {"self": 1}, "'self'"),
        (("t",), {"__class__": 1}, "'__class__'"),
        (("t",), {"**": 1}, "'**'"),
        (("t",), {"": 1}, "no argument ''"),
    ],
)
def test_wrong_arguments_show_the_signature(args: Any, kwargs: Any, says: str) -> None:
    kind, message = refusal(ISSUE, *args, **kwargs)
    assert kind == "TypeError"
    assert message.startswith("ns.do() ")
    assert says in message
    assert "Signature: await tools.ns.do(title: str" in message


def test_a_name_that_is_not_python_goes_by_both_spellings() -> None:
    odd = tool(
        ("from",), **{"from": {"type": "string"}, "X-Trace": {"type": "string"}, "2fa": {"type": "boolean"}}
    )
    assert sent(odd, from_="a") == {"from": "a"}
    assert sent(odd, **{"from": "a"}) == {"from": "a"}
    assert sent(odd, "a", X_Trace="t", _2fa=True) == {"from": "a", "X-Trace": "t", "2fa": True}
    assert sent(odd, "a", **{"X-Trace": "t"}) == {"from": "a", "X-Trace": "t"}
    _, message = refusal(odd, from_="a", **{"from": "b"})
    assert "two values" in message


def test_values_arrive_as_plain_data() -> None:
    any_tool = tool(value={})
    assert sent(any_tool, (1, (2,))) == {"value": [1, [2]]}
    assert sent(any_tool, {3, 1, 2}) == {"value": [1, 2, 3]}
    assert sent(any_tool, dt.datetime(2020, 1, 2)) == {"value": "2020-01-02T00:00:00"}
    assert sent(any_tool, dt.timedelta(seconds=3)) == {"value": 3.0}
    assert sent(ISSUE, "t", labels=("a", "b"))["labels"] == ["a", "b"]


def test_none_for_an_optional_parameter_is_leaving_it_out() -> None:
    assert sent(ISSUE, "t", None, labels=None, count=None) == {"title": "t"}


def test_none_is_kept_where_null_is_a_value() -> None:
    nullable = tool(
        ("needed",),
        needed={"type": ["string", "null"]},
        maybe={"anyOf": [{"type": "string"}, {"type": "null"}]},
    )
    assert sent(nullable, None, None) == {"needed": None, "maybe": None}
    assert sent(tool(anything={}), None) == {"anything": None}


def test_none_inside_a_value_is_not_dropped() -> None:
    assert refusal(ISSUE, "t", labels=[None])[0] == "TypeError"


def test_an_integral_float_becomes_an_integer() -> None:
    arrived = sent(ISSUE, "t", count=3.0, ratio=3)
    assert arrived["count"] == 3
    assert type(arrived["count"]) is int
    assert type(arrived["ratio"]) is int


def test_bytes_go_as_they_are_to_binary_and_as_text_to_base64() -> None:
    upload = tool(
        raw={"type": "string", "format": "binary"},
        text={"type": "string", "contentEncoding": "base64"},
        maybe={"anyOf": [{"type": "string", "format": "byte"}, {"type": "null"}]},
    )
    data = b"\x00\xffhi"
    assert sent(upload, data, data, data) == {"raw": data, "text": "AP9oaQ==", "maybe": "AP9oaQ=="}


@pytest.mark.parametrize("value", [b"x", [b"x"], {"a": b"x"}])
def test_bytes_go_nowhere_else(value: Any) -> None:
    for schema in ({"type": "string"}, {}, {"type": "array"}, {"type": "object"}):
        kind, message = refusal(tool(x=schema), value)
        assert kind == "TypeError"
        assert "Signature" in message


def test_extra_arguments_pass_only_where_the_schema_opens_the_door() -> None:
    assert sent(tool(extra={"additionalProperties": True}, a={}), 1, b=2) == {"a": 1, "b": 2}
    assert sent(tool(extra={"patternProperties": {"^x_": {}}, "additionalProperties": False}), x_b=2) == {
        "x_b": 2
    }
    refusal(tool(extra={"patternProperties": {"^x_": {}}, "additionalProperties": False}), y=2)
    refusal(tool(extra={"additionalProperties": False}, a={}), b=2)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "JSON"),
        ([1 << 20_000], "4,000 digits"),
        (object(), "plain data"),
        ("<coroutine external_future(3)>", "await"),
        ("<function '<lambda>' at 0xc>", "function"),
        (["[...]"], "contains itself"),
        ("x" * 2_000, "larger than 1,000 bytes"),
    ],
)
def test_what_may_not_cross_is_a_value_error_that_names_the_argument(value: Any, says: str) -> None:
    kind, message = refusal(tool(x={}), value, limits=Limits(value_bytes=1_000))
    assert kind == "ValueError"
    assert message.startswith("ns.do(): argument 'x' ")
    assert says in message


def test_what_is_sent_is_a_copy() -> None:
    value = {"a": [1]}
    verdict = decide(tool(x={}, y={}), value, value)
    assert isinstance(verdict, Allowed)
    value["a"].append(2)
    assert verdict.arguments == {"x": {"a": [1]}, "y": {"a": [1]}}
    verdict.arguments["x"]["a"].append(3)
    assert verdict.arguments["y"] == {"a": [1]}


def test_all_keywords_of_json_schema_count() -> None:
    strict = tool(
        n={"type": "integer", "minimum": 1, "maximum": 5},
        mode={"enum": ["a", "b"]},
        who={"$ref": "#/$defs/who"},
        extra={
            "$defs": {
                "who": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
            }
        },
    )
    assert sent(strict, 5, "a", {"id": 1}) == {"n": 5, "mode": "a", "who": {"id": 1}}
    for kwargs in ({"n": 6}, {"mode": "c"}, {"who": {}}, {"who": {"id": "x"}}):
        assert refusal(strict, **kwargs)[0] == "TypeError"


def test_complaints_are_bounded() -> None:
    wide = tool(**{f"parameter_{number}": {"type": "string"} for number in range(500)})
    _, message = refusal(wide, parameter_1=["x" * 100_000])
    assert len(message) < 2_000


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/x.json"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": {"a": {"pattern": "(a{0,200}){0,200}$"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
        {"type": "nonsense", "properties": {}},
    ],
)
def test_a_schema_nobody_can_use_refuses_the_call(schema: dict[str, Any]) -> None:
    broken = Tool("ns.broken", input_schema=schema)
    kind, message = refusal(broken, a="x") if schema["properties"] else refusal(broken)
    assert kind == "RuntimeError"
    assert "schema" in message
    assert len(message) < 600


def test_a_changed_tool_is_checked_by_its_new_schema() -> None:
    gate = Gate()
    for declared, fits in (({"type": "string"}, "x"), ({"type": "integer"}, 1)):
        now = tool(a=declared)
        where = Context(Scope([now], [Allow.of("*")]), Limits(), Budget())
        for value in ("x", 1):
            verdict = gate.decide(Call(1, "tool", "ns.do", (value,)), where)
            assert isinstance(verdict, Allowed) is (value == fits)


def test_text_a_pattern_would_read_for_long_is_refused() -> None:
    kind, message = refusal(tool(a={"type": "string", "pattern": "^a+$"}), "a" * 100_001)
    assert kind == "TypeError"
    assert "100,000 characters" in message


def test_many_nulls_are_dropped_together() -> None:
    names = [f"p{number}" for number in range(1_000)]
    wide = tool(**{name: {"type": "string"} for name in names})
    assert sent(wide, **{**dict.fromkeys(names), "p7": "x"}) == {"p7": "x"}


def test_names_a_script_makes_up_do_not_swell_messages() -> None:
    long = "x" * 1_000_000
    anything = tool(extra={"additionalProperties": {"type": "string"}}, a={}, b={"type": "object"})
    for where, kwargs in [
        (tool(a={}), {long: 1}),
        (anything, {long: 1}),
        (anything, {long: object()}),
        (anything, {long: b"x"}),
        (anything, {long: [b"x"]}),
        (tool(a={"additionalProperties": {"type": "string"}}), {"a": {long: 1}}),
    ]:
        _, message = refusal(where, **kwargs)
        assert len(message) < 1_000
        assert "x" * 100 in message
        assert "x" * 400 not in message


def test_no_message_leaves_the_gate_longer_than_its_cap() -> None:
    gate = Gate()
    gate.guards = (("test", lambda _request, _context: Failure("ValueError", "x" * 1_000_000)),)
    verdict = gate.decide(Call(1, "tool", "ns.do"), Context(Scope([], []), Limits(), Budget()))
    assert isinstance(verdict, Refused)
    assert len(verdict.failure.message) <= 2_001
    assert len(verdict.record().error) <= 2_001


PRIVATE = Fields(["pin", "*password"])
_VALUE = "S3CRET-VALUE"


def hidden(schema: dict[str, Any], value: Any, name: str = "pin") -> str:
    """What the gate says of a wrong value, which must not be in it."""
    made = tool(**{name: schema})
    where = Context(Scope([made], [Allow.of("*")]), Limits(), Budget())
    verdict = Gate(fields=PRIVATE).decide(Call(1, "tool", made.name, (), {name: value}), where)
    assert isinstance(verdict, Refused), verdict
    assert _VALUE not in verdict.failure.message
    return verdict.failure.message


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "integer"}, """got a wrong 'pin': its value is not of type "integer"."""),
        ({"enum": ["a", "b"]}, "its value is not one of"),
        ({"const": "a"}, "was expected"),
        ({"pattern": "^[0-9]+$"}, "its value does not match"),
        ({"maxLength": 3}, "its value is longer than 3 characters"),
        ({"minLength": 30}, "its value is shorter than 30 characters"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "its value is not valid under any"),
        ({"not": {"type": "string"}}, "its value"),
        ({"$ref": "#/properties/pin/$defs/x", "$defs": {"x": {"type": "integer"}}}, "its value is not of"),
    ],
)
def test_the_value_of_a_hidden_field_is_in_no_message(schema: dict[str, Any], says: str) -> None:
    assert says in hidden(schema, _VALUE)


@pytest.mark.parametrize(("schema", "number"), [({"maximum": 9}, 731_904), ({"multipleOf": 7}, 731_905)])
def test_a_hidden_number_is_not_told_either(schema: dict[str, Any], number: int) -> None:
    assert str(number) not in hidden(schema, number)


def test_what_holds_a_hidden_field_and_what_is_in_one_is_not_quoted() -> None:
    inner = {"type": "object", "properties": {"password": {"type": "integer"}}}
    assert "wrong \"user['password']\": its value is not of type" in hidden(
        inner, {"password": _VALUE}, "user"
    )
    message = hidden({"type": "array", "maxItems": 1}, [{"New_Password": _VALUE}, 2], "users")
    assert "wrong 'users': its value has more than 1 item" in message
    whole = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert "wrong 'deep': its value is not valid" in hidden(whole, {"a": [{"password": _VALUE}]}, "deep")
    # Keys inside a hidden field are a part of its value.
    strict = {"type": "object", "additionalProperties": False}
    assert "wrong 'pin': its value does not fit the schema" in hidden(strict, {_VALUE: 1})
    names = {"type": "object", "propertyNames": {"maxLength": 3}}
    assert "wrong 'pin': its value does not fit the schema" in hidden(names, {_VALUE: 1})
    numbers = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert "wrong 'pin': its value does not fit the schema" in hidden(numbers, {_VALUE: "x"})


def test_the_values_of_other_fields_are_told_as_ever() -> None:
    made = tool(pin={"type": "string"}, count={"type": "integer"})
    where = Context(Scope([made], [Allow.of("*")]), Limits(), Budget())
    call = Call(1, "tool", made.name, (), {"pin": _VALUE, "count": "many"})
    verdict = Gate(fields=PRIVATE).decide(call, where)
    assert isinstance(verdict, Refused)
    assert """wrong 'count': "many" is not of type""" in verdict.failure.message
