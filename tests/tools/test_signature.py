from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneturn.tools.signature import MAX_SIGNATURE, return_type, signature
from oneturn.types import Tool

NODE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
    },
    "required": ["name"],
}


def inputs(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def test_a_signature_can_be_copied_into_a_script() -> None:
    tool = Tool(
        "github.create_issue",
        input_schema=inputs({"title": {"type": "string"}, "body": {"type": "string"}}, "title"),
        output_schema=inputs({"number": {"type": "integer"}, "url": {"type": "string"}}, "number"),
    )
    assert signature(tool) == (
        "await tools.github.create_issue(title: str, body: str | None = None) -> {number: int, url?: str}"
    )


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "str"),
        ({"type": "string", "format": "date-time"}, "str"),
        ({"type": "string", "format": "binary"}, "bytes"),
        ({"type": "null"}, "None"),
        ({"type": ["integer", "null"]}, "int | None"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}, {"type": "string"}]}, "str | None"),
        ({"oneOf": [{"type": "number"}, {"type": "boolean"}]}, "float | bool"),
        ({"enum": ["a", "b\n"]}, r"Literal['a', 'b\n']"),
        ({"const": 5}, "Literal[5]"),
        ({"type": "array"}, "list"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "list[list[int]]"),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, "list[int | str]"),
        ({"type": "object"}, "dict"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"properties": {"a b": {}}}, "{'a b'?: Any}"),
        ({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, "{name: str, children?: list[Node]}"),
        ({"allOf": [{"$ref": "#/$defs/Node"}, {"properties": {"x": {}}}], "$defs": {"Node": NODE}},
         "{name: str, children?: list[{name: str, children?: list[Node]}], x?: Any}"),
        ({}, "Any"),
        (True, "Any"),
        ({"type": "object", "properties": {f"property_{n}": {} for n in range(500)}}, "dict"),
    ],
)  # fmt: skip
def test_json_schema_reads_as_python(schema: Any, text: str) -> None:
    tool = Tool(
        "x", output_schema={"type": "object", "properties": {"v": schema}, "required": ["v"], **_defs(schema)}
    )
    assert return_type(tool) == f"{{v: {text}}}"


def _defs(schema: Any) -> dict[str, Any]:
    return {"$defs": schema["$defs"]} if isinstance(schema, dict) and "$defs" in schema else {}


def test_deep_objects_end_in_dict() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(6):
        schema = inputs({"a": schema}, "a")
    assert return_type(Tool("x", output_schema=schema)) == "{a: {a: {a: dict}}}"


def test_defaults_are_shown_and_required_ones_after_them_are_by_name() -> None:
    tool = Tool(
        "x",
        input_schema=inputs(
            {
                "page-size": {"type": "integer", "default": 20},
                "tags": {"type": "array", "default": []},
                "q": {"type": "string"},
                "when": {"default": {"a": 1}},
            },
            "q",
        ),
    )
    assert (
        signature(tool)
        == "await tools.x(page_size: int = 20, tags: list = [], *, q: str, when: Any = ...) -> Any"
    )


def test_further_named_arguments_are_shown_when_declared() -> None:
    assert signature(Tool("x", input_schema=inputs({}, additionalProperties={"type": "integer"}))) == (
        "await tools.x(**others: int) -> Any"
    )
    assert (
        signature(Tool("x", input_schema=inputs({}, additionalProperties=False))) == "await tools.x() -> Any"
    )


def test_a_signature_of_very_many_parameters_is_cut_visibly() -> None:
    tool = Tool("x", input_schema=inputs({f"parameter_{n}": {"type": "string"} for n in range(1_000)}))
    line = signature(tool)
    assert line.endswith(", ...) -> Any")
    assert len(line) < MAX_SIGNATURE + 50


@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        (Tool("x", output_schema={"type": "integer"}), "int"),
        (Tool("x", results="text", output_schema={"type": "integer"}), "str"),
        (Tool("x", results="json"), "Any"),
        (Tool("x"), "Any"),
    ],
)
def test_the_type_of_a_result_follows_the_result_rule(tool: Tool, kind: str) -> None:
    assert return_type(tool) == kind
    assert signature(tool).endswith(f") -> {kind}")


def test_what_cannot_be_seen_in_a_name_or_value_is_written_as_an_escape() -> None:
    tool = Tool("x", output_schema={"properties": {"a\u202eb": {"enum": ["c\ufe0fd"]}}})
    assert return_type(tool) == r"{'a\u202eb'?: Literal['c\ufe0fd']}"


def test_a_schema_that_fans_out_without_end_costs_little() -> None:
    wide = {"anyOf": [{"$ref": f"#/$defs/D{n}"} for n in range(40)]}
    schema = {**wide, "$defs": {f"D{n}": {"type": "array", "items": wide} for n in range(40)}}
    assert len(return_type(Tool("x", output_schema=schema))) < 1_000


class Counted(dict[str, Any]):
    """A schema that counts how often it is looked into."""

    looks = 0

    def get(self, *args: Any) -> Any:
        Counted.looks += 1
        return super().get(*args)


def counted(schema: Any) -> Any:
    if isinstance(schema, dict):
        return Counted({key: counted(part) for key, part in schema.items()})
    return [counted(part) for part in schema] if isinstance(schema, list) else schema


FAN = {"anyOf": [{"$ref": f"#/$defs/D{n}"} for n in range(20)]}
WIDE = inputs({f"p{n}": {} for n in range(3_000)})
FANS = {f"D{n}": {"type": "array", "items": FAN} for n in range(20)}


@pytest.mark.parametrize(
    "schema",
    [
        inputs({f"p{n}": {"type": "string"} for n in range(3_000)}),
        inputs({f"p{n}": FAN for n in range(3_000)}, **{"$defs": FANS}),
        inputs({f"p{n}": {"$ref": "#"} for n in range(3_000)}),
        inputs({"p": {"allOf": [{"$ref": "#/$defs/W"}] * 5_000}}, **{"$defs": {"W": WIDE}}),
    ],
    ids=["many", "fan-out", "recursive", "merged"],
)  # fmt: skip
def test_the_work_for_one_tool_is_bounded_whatever_its_schema(schema: dict[str, Any]) -> None:
    tool = Tool("x", input_schema=counted(schema), output_schema=counted(schema))
    Counted.looks = 0
    assert len(signature(tool)) < 3_000
    return_type(tool)
    assert Counted.looks < 60_000


def test_a_signature_is_written_once_for_each_tool() -> None:
    tool = Tool("x", input_schema=counted(inputs({"a": {"type": "string"}})))
    first = signature(tool)
    Counted.looks = 0
    assert signature(tool) == first
    assert Counted.looks == 0
    assert (
        signature(Tool("y", input_schema=tool.input_schema)) == "await tools.y(a: str | None = None) -> Any"
    )


def test_scalars_too_long_to_show_are_not_written_out() -> None:
    huge = 10**5_000
    schema = inputs(
        {"a": {"enum": [huge, 1]}, "b": {"default": huge, "maximum": huge}, "c": {"const": "x" * 9_000}}
    )
    line = signature(Tool("x", input_schema=schema, output_schema={"const": huge}))
    assert "a: Literal[..., 1]" in line
    assert "b: Any = ..." in line


WORDS = [
    "type",
    "properties",
    "required",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "enum",
    "const",
    "default",
    "$ref",
]
WORDS += ["additionalProperties", "prefixItems", "description", "minimum", "pattern", "format", "$defs"]
VALUES = st.sampled_from(["object", "array", "string", "#", "#/$defs/a", "#/properties/a", "a", "b-c", ""])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | VALUES | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | VALUES, inner, max_size=5)
    ),
    max_leaves=40,
)


@settings(max_examples=150)
@given(
    st.dictionaries(st.sampled_from(WORDS), JUNK, max_size=6), st.dictionaries(st.sampled_from(WORDS), JUNK)
)
def test_no_schema_breaks_or_floods_a_signature(
    given_schema: dict[str, Any], result_schema: dict[str, Any]
) -> None:
    tool = Tool("lab.x", input_schema=given_schema, output_schema=result_schema)
    line = signature(tool)
    assert line.startswith("await tools.lab.x(")
    assert "\n" not in line
    assert len(line) < MAX_SIGNATURE + 200
