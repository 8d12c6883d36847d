from typing import Any

import pytest

from oneturn.errors import ToolError
from oneturn.tools.base import Blob, Link, Result, Text
from oneturn.tools.results import value_of
from oneturn.types import Tool

AUTO = Tool("lab.read")
TYPED = Tool("lab.read", output_schema={"type": "object"})
TEXT = Tool("lab.read", results="text")
JSON = Tool("lab.read", results="json")


def keep(blob: Blob) -> dict[str, Any]:
    return {"artifact": "a1", "mime": blob.mime, "bytes": len(blob.data)}


def value(tool: Tool, *blocks: Any, **structured: Any) -> Any:
    return value_of(tool, Result(blocks=blocks, **structured), keep)


def test_structured_content_wins_also_when_it_is_none() -> None:
    assert value(AUTO, Text("{}"), structured={"a": 1}, has_structured=True) == {"a": 1}
    assert value(AUTO, Text("x"), structured=None, has_structured=True) is None


def test_a_tool_set_to_text_prefers_its_text() -> None:
    assert value(TEXT, Text('{"a": 1}'), structured={"a": 1}, has_structured=True) == '{"a": 1}'
    assert value(TEXT, structured={"a": 1}, has_structured=True) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "parsed"), [(' {"a": [1]}\n', {"a": [1]}), ("[]", []), ("[1.5, null]", [1.5, None])]
)
def test_a_whole_object_or_array_is_parsed(text: str, parsed: Any) -> None:
    assert value(AUTO, Text(text)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "3",
        "true",
        "null",
        '"x"',
        "",
        "  ",
        'Result: {"a": 1}',
        '{"a": 1} done',
        '{"a": 1}{"b": 2}',
        "[NaN]",
        "[Infinity]",
        "[1e999]",
        "[" + "9" * 5_000 + "]",
        "[" * 200_000 + "]" * 200_000,
        "{not json}",
    ],
    ids=lambda text: text[:12],
)
def test_any_other_text_stays_exactly_as_it_is(text: str) -> None:
    assert value(AUTO, Text(text)) == text


def test_a_declared_output_schema_keeps_text_as_text() -> None:
    assert value(TYPED, Text('{"a": 1}')) == '{"a": 1}'


def test_json_is_demanded_where_it_is_configured() -> None:
    assert value(JSON, Text(" 3 ")) == 3
    with pytest.raises(ToolError, match=r"lab\.read .*results = 'json'"):
        value(JSON, Text("three"))


def test_several_blocks_are_a_list_under_the_same_rule() -> None:
    blocks = (
        Text("note"),
        Text("7"),
        Text('{"a": 1}'),
        Blob(b"\x89PNG", "image/png"),
        Link("file:///a", "a", "x/y"),
    )
    assert value(AUTO, *blocks) == [
        "note",
        "7",
        {"a": 1},
        {"artifact": "a1", "mime": "image/png", "bytes": 4},
        {"uri": "file:///a", "name": "a", "mime": "x/y"},
    ]


def test_one_block_of_bytes_is_its_handle_and_no_block_is_none() -> None:
    assert value(JSON, Blob(b"ab")) == {"artifact": "a1", "mime": "application/octet-stream", "bytes": 2}
    assert value(AUTO) is None
