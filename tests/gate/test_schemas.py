"""A schema made ready: what would take the validator too long is refused before it begins."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from oneturn.gate.schemas import Schema, SchemaRefused


def doubled(levels: int, word: str = "allOf") -> dict[str, Any]:
    steps = {f"n{i}": {word: [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(levels)}
    return {"$ref": "#/$defs/n0", "$defs": {**steps, f"n{levels}": {"type": "object"}}}


def nested(levels: int, key: str = "a") -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {key: value}
    return value


def unevaluated(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"properties": {"a": True}}
    for _ in range(levels):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        doubled(40),
        doubled(40, "anyOf"),
        {"properties": {"a": doubled(40)}, "$defs": doubled(40)["$defs"]},
        {"$ref": "#"},
        {"properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}, {"type": "null"}]}}},
        unevaluated(30),
        {"properties": {f"p{i}": {} for i in range(30_000)}},
        {"properties": {f"p{i}": {"pattern": "a"} for i in range(2_000)}},
        {"$ref": "https://example.com/x.json"},
        {"$ref": "other.json#/x"},
        {"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}},
        {"$dynamicRef": "#node"},
        {"$ref": "#/$defs/missing"},
    ],
)
def test_schemas_that_are_too_large_or_lead_elsewhere_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaRefused):
        Schema(schema)


@pytest.mark.parametrize("pattern", ["(a{0,200}){0,200}$", "(", r"\p{L}{1000}"])
def test_patterns_that_are_wrong_or_too_large_are_refused(pattern: str) -> None:
    for schema in ({"pattern": pattern}, {"patternProperties": {pattern: {}}}):
        with pytest.raises(jsonschema_rs.ValidationError):
            Schema(schema)


def test_patterns_of_every_day_work() -> None:
    email = (
        r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
    )
    for pattern, fits, not_so in [
        (email, "a.b@example.com", "a..b@example.com"),
        (r"^[A-Za-z0-9_-]{1,255}$", "a-b", "a b"),
        (r"^.{1,255}$", "é" * 255, "é" * 256),
        (r"^(?=.*\d).{8,}$", "secret-1", "secrets!"),
    ]:
        schema = Schema({"pattern": pattern})
        assert not schema.too_much(fits)
        assert schema.accepts(fits)
        assert not schema.accepts(not_so)


def test_a_schema_with_patterns_reads_so_much_text_and_no_more() -> None:
    one = Schema({"properties": {"id": {"pattern": "^a+$"}, "body": {"type": "string"}}})
    assert not one.too_much({"id": "a", "body": "x" * 99_000})
    assert "100,000 characters" in one.too_much({"id": "a", "body": "x" * 100_001})
    assert "characters" in one.too_much({"x" * 100_001: 1})
    many = Schema({"allOf": [{"pattern": "^a+$"}] * 100})
    assert not many.too_much("a" * 2_000)
    assert "2,000 characters" in many.too_much("a" * 2_001)
    assert "2,000 characters" in Schema({"pattern": "^.{1,255}$"}).too_much("a" * 2_001)
    assert not Schema({"type": "string"}).too_much("a" * 10_000_000)


TREE = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}}
JSON = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"$ref": "#"}},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": ["string", "number"]},
    ]
}


def test_recursive_schemas_work_at_any_depth() -> None:
    tree = Schema(TREE)
    assert not tree.too_much(nested(90, "left"))
    assert tree.accepts(nested(90, "left"))
    assert not tree.accepts({"left": {"right": {"n": "x"}}})
    json = Schema(JSON)
    value: Any = 1
    for _ in range(45):
        value = {"a": [value]}
    assert not json.too_much(value)
    assert json.accepts(value)
    assert not json.accepts({"a": [None]})


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2},
        {"properties": {"a": {"$ref": "#"}}, "patternProperties": {"a": {"$ref": "#"}}},
        {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}},
        {
            "$ref": "#/$defs/x",
            "$defs": {
                "x": {"oneOf": [{"$ref": "#/$defs/y"}, {"$ref": "#/$defs/z"}]},
                "y": {"properties": {"a": {"$ref": "#/$defs/x"}}},
                "z": {"properties": {"a": {"$ref": "#/$defs/x"}}},
            },
        },
        {"properties": {"a": {"$ref": "#"}}, "unevaluatedProperties": False},
    ],
)
def test_a_recursion_that_doubles_is_checked_while_it_is_cheap(schema: dict[str, Any]) -> None:
    ready = Schema(schema)
    assert not ready.too_much(nested(4))
    ready.accepts(nested(4))
    assert "too costly" in ready.too_much(nested(60))


def test_an_address_inside_a_schema_does_not_move_its_references() -> None:
    moved = {
        "$id": "https://example.com/root",
        "properties": {"a": {"$id": "urn:a", "$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}}},
        "$defs": {"n": {"type": "integer"}},
    }
    ready = Schema(moved)
    assert ready.accepts({"a": 1})
    assert not ready.accepts({"a": None})
    assert moved["$id"], "the schema of the tool itself stays as it is"


def test_data_that_looks_like_an_address_stays() -> None:
    ready = Schema({"properties": {"id": {"const": {"$id": "x", "id": "y"}}}})
    assert ready.accepts({"id": {"$id": "x", "id": "y"}})
    assert not ready.accepts({"id": {}})


def test_the_first_complaint_says_where() -> None:
    ready = Schema({"properties": {"a": {"items": {"type": "string"}}}})
    value = {"a": ["x"] * 100_000 + [1] * 100_000}
    assert not ready.accepts(value)
    assert ready.complaint(value) == (["a", 100_000], '1 is not of type "string"')


def test_a_complaint_about_choices_in_much_data_is_short() -> None:
    ready = Schema({"anyOf": [{"items": {"type": "string"}}, {"type": "string"}]})
    assert "anyOf" in ready.complaint([1])[1]
    assert ready.complaint([1] * 900_000) == (
        [],
        "the whole does not fit the schema, and is too large to say where",
    )


def test_nulls_are_asked_about_once_for_all() -> None:
    ready = Schema(
        {
            "properties": {
                "a": {"type": "string"},
                "b": {"$ref": "#/$defs/b"},
                "c": {},
                "d": {"$ref": "#/$defs/s"},
            },
            "required": ["z"],
            "$defs": {"b": {"type": ["string", "null"]}, "s": {"anyOf": [{"type": "string"}]}},
        }
    )
    assert ready.null_refused(["a", "b", "c", "d"]) == {"a", "d"}
