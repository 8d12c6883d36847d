"""What single words of JSON Schema become in a stub."""

from __future__ import annotations

from typing import Any

import pytest

from oneturn.tools.stubs import stub_text
from oneturn.tools.stubs.schema_types import argument_types, value_type
from oneturn.tools.stubs.writing import PLAIN
from oneturn.types import Tool

NODE = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
A, B = ({"type": "object", "properties": {key: {"type": "integer"}}} for key in "ab")
LOOP = {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/J"}}]}


def written(schema: dict[str, Any]) -> str:
    return PLAIN.write(value_type(schema, "Result").type)


def keys(schema: dict[str, Any]) -> dict[str, dict[str, tuple[str, bool]]]:
    """The shapes of a schema: for each key its type, and whether it must be there."""
    shapes = value_type(schema, "Result").shapes
    return {
        name: {key.name: (PLAIN.write(key.type), key.required) for key in shape.keys}
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "format": "date-time"}, "str"),
        ({"type": "string", "format": "binary"}, "bytes"),
        ({"type": "string", "contentEncoding": "base64"}, "str"),
        ({"type": "number"}, "float"),
        ({"type": "string", "nullable": True}, "str | None"),
        ({"type": ["null", "integer"]}, "int | None"),
        ({"enum": ["a", None, 1, True, 1.5, [], {}]},
         "Literal['a', 1, True] | float | list[Any] | dict[str, Any] | None"),
        ({"const": "x"}, "Literal['x']"),
        ({"enum": [f"value {n}" for n in range(200)]}, "str"),
        ({"enum": ["x" * 300, "y"]}, "Literal['y'] | str"),
        ({"const": 2**70}, "int"),
        ({"type": "array"}, "list[Any]"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}}, "list[list[bool]]"),
        ({"prefixItems": [{"type": "string"}, {"type": "integer"}], "maxItems": 2}, "list[str | int]"),
        ({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}, "list[str | None]"),
        ({"prefixItems": [{"type": "string"}]}, "list[Any]"),
        ({"items": [{"type": "string"}], "additionalItems": False}, "list[str]"),
        ({"prefixItems": [{"type": "string"}] * 99, "maxItems": 99}, "list[Any]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}, "patternProperties": {"x": {}}},
         "dict[str, Any]"),
        ({"type": "object", "properties": {f"k{n}": {} for n in range(1_500)}}, "dict[str, Any]"),
        ({"oneOf": [{"type": "string"}, {"type": "null"}, {"type": "string"}]}, "str | None"),
        ({"anyOf": [{"type": "string"}, {}]}, "Any"),
        ({"anyOf": [{"const": n} for n in range(99)]}, "Any"),
        ({"type": "string", "anyOf": [{"minLength": 1}, {"pattern": "x"}]}, "str"),
        ({"allOf": [{"type": ["string", "number", "null"]}, {"type": ["integer", "null"]}]}, "int | None"),
        ({"$ref": "#/$defs/N", "$defs": {"N": NODE}}, "N"),
        ({"$ref": "#/$defs/N", "nullable": True, "$defs": {"N": {"type": "string"}}}, "str | None"),
        ({"$ref": "#/$defs/J", "$defs": {"J": LOOP}}, "list[Any] | None"),
        ({"$ref": "https://example.com/x"}, "Any"),
        ({"$ref": "#"}, "Any"),
        ({"not": {"type": "string"}}, "Any"),
        ({"type": "mystery"}, "Any"),
        ({**NODE, "title": "list"}, "List"),
        ({**NODE, "title": "Any"}, "AnyShape"),
        ({**NODE, "title": "9 lives!"}, "N9Lives"),
    ],
)  # fmt: skip
def test_json_schema_becomes_a_type(schema: dict[str, Any], text: str) -> None:
    assert written(schema) == text


def test_all_of_is_merged_and_names_come_from_where_things_stand() -> None:
    schema = {
        "allOf": [{"$ref": "#/$defs/simple-node"}, {"properties": {"labels": {"type": "array", "items": A}}}],
        "required": ["labels", "unlisted"],
        "properties": {"name": {"enum": ["x"]}, "owner": {"properties": {"labels": {"items": B}}}},
        "$defs": {"simple-node": NODE},
    }
    assert keys(schema) == {
        "Result": {
            "name": ("Literal['x']", True),
            "owner": ("Owner", False),
            "labels": ("list[Label]", True),
            "unlisted": ("Any", True),
        },
        "Owner": {"labels": ("list[OwnerLabel]", False)},
        "Label": {"a": ("int", False)},
        "OwnerLabel": {"b": ("int", False)},
    }


def test_what_merges_itself_is_one_shape() -> None:
    again = {"$ref": "#/$defs/nodes"}
    some = {"properties": {"in": {"minItems": 1}}}
    merged = {"allOf": [{"type": "object", "properties": {"in": again}}, some]}
    schema = {"$defs": {"nodes": {"type": "array", "items": merged}}, **again}
    assert written(schema) == "list[Node]"
    assert keys(schema) == {"Node": {"in": ("list[Node]", False)}}

    schema = {"$defs": {"nodes": {**merged, "title": "Node"}}, **again}
    assert written(schema) == "Nodes"
    assert keys(schema) == {"Nodes": {"in": ("In", False)}, "In": {"in": ("In", False)}}


def test_conditions_beside_properties_do_not_hide_them() -> None:
    schema = {**NODE, "anyOf": [{"required": ["name"]}, {"properties": {"more": {"type": "null"}}}]}
    assert written(schema) == "Result | Result2"
    assert keys(schema) == {
        "Result": {"name": ("str", True)},
        "Result2": {"name": ("str", True), "more": ("None", False)},
    }


def test_arguments_take_what_the_gate_takes() -> None:
    texts = [{"format": "binary"}, {"format": "byte"}, {"contentEncoding": "base64"}, {}]
    properties = {f"p-{n}": {"type": "string", **text} for n, text in enumerate(texts)}
    found = argument_types({"properties": properties, "patternProperties": {"^x": {}}, "required": ["p-3"]})
    assert [(each.name, PLAIN.write(each.type), each.required) for each in found.parameters] == [
        ("p_0", "bytes | str", False),
        ("p_1", "str | bytes", False),
        ("p_2", "str | bytes", False),
        ("p_3", "str", True),
    ]
    assert PLAIN.write(found.others or "") == "Any"


@pytest.mark.parametrize(
    ("schema", "comment"),
    [
        ({"minimum": 1, "maximum": 100}, "1..100"),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1.5}, "> 0, < 1.5"),
        ({"minimum": 10**5_000, "multipleOf": 5}, "multiple of 5"),
        ({"minimum": True}, ""),
        ({"type": "string", "minLength": 0, "maxLength": 80}, "<= 80 characters"),
        ({"type": "string", "minLength": 2, "maxLength": 80}, "2..80 characters"),
        ({"type": "string", "pattern": "^a\n\u202eb$", "format": "uuid"}, "pattern ^a b$, uuid"),
        ({"type": "integer", "format": "int64"}, ""),
        ({"type": "array", "minItems": 1, "uniqueItems": True}, ">= 1 items, no duplicates"),
        ({"deprecated": True, "description": "Use other. Or not."}, "deprecated; Use other."),
        ({"enum": list(range(100))}, "one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … 88 more"),
        ({"anyOf": [{"type": "null"}, {"maximum": 5, "type": "integer"}]}, "<= 5"),
        ({"default": {"a": 1}}, ""),
        ({"default": None}, "default None"),
        ({"description": "x" * 200}, "x" * 59 + "…"),
        ({"description": 5, "pattern": 5, "minItems": "x"}, ""),
    ],
)
def test_what_a_type_cannot_say_is_a_comment(schema: dict[str, Any], comment: str) -> None:
    text = stub_text(Tool("m.x", output_schema={"properties": {"key": schema, "other": {}}}))
    (line,) = [line for line in text.splitlines() if line.startswith("    key: ")]
    assert line.partition("  # ")[2] == comment


def test_a_shape_that_takes_other_keys_says_so() -> None:
    text = stub_text(Tool("m.x", output_schema={**NODE, "additionalProperties": True}))
    assert "    name: str\n    # and other keys are allowed\n" in text
