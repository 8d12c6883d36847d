"""What is claimed of the stubs of any schema: tests hold it on a sample, `proofs` on very many."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema_rs
import pydantic_monty as monty
from hypothesis import strategies as st
from pydantic import TypeAdapter

from oneturn.tokens import count
from oneturn.tools.stubs import checker_stub, stub_text
from oneturn.tools.stubs.schema_types import value_type
from oneturn.tools.stubs.writing import PLAIN, Declarations, typed_dict
from oneturn.types import Tool

Ty = Callable[[str, str], str]
NOT_IN_STUBS = ("invalid-parameter-default", "empty-body", "invalid-declaration")  # a stub is no script


def inputs(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


@contextmanager
def type_checker() -> Iterator[Ty]:
    """Checks a script against a stub with the sandbox's type checker; gives its complaints."""
    with monty.Monty(min_processes=1, max_processes=1) as pool:

        def check(stub: str, script: str) -> str:
            with pool.checkout(
                type_check=True, type_check_stubs=stub, type_check_format="concise"
            ) as session:
                try:
                    session.feed_start(script)
                except monty.MontyTypingError as error:
                    return str(error)
                except monty.MontyError:
                    pass  # the types are right, the rest is not looked at
                return ""

        yield check


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether the schema does; one that cannot be used accepts nothing."""
    try:
        return jsonschema_rs.is_valid(schema, value)
    except ValueError:
        return False


def adapter(schema: dict[str, Any]) -> TypeAdapter[Any]:
    """The type of a schema's values, executed: something the product itself never does."""
    typed, declarations = value_type(schema, "XResult"), Declarations()
    names, _ = declarations.add(typed.shapes, "X")
    module = types.ModuleType("stubs_made_by_a_test")
    sys.modules[module.__name__] = module
    lines = ["from __future__ import annotations"]
    lines += ["from typing_extensions import Any, Literal, NotRequired, Required, TypedDict"]
    lines += [typed_dict(placed, PLAIN, str) for placed in declarations.placed]
    exec("\n".join(lines), module.__dict__)
    return TypeAdapter(eval(PLAIN.write(typed.type, names.__getitem__), module.__dict__))


def the_type_accepts(schema: dict[str, Any], value: Any) -> None:
    """A value the schema accepts is a value of the stub's type."""
    adapter(schema).validate_python(value, strict=True)


def the_checker_accepts(ty: Ty, schema: dict[str, Any], value: Any) -> None:
    """The checker accepts the stub itself, and the call with a value the schema accepts."""
    defs = schema.get("$defs", {})
    tool = Tool("lab.list", input_schema=inputs({"x": schema}, "x", **{"$defs": defs}), output_schema=schema)
    stub = checker_stub([tool])
    assert ty(stub.text, f"await tools.lab.list(x={value!r})") == ""
    complaints = [line for line in ty("", stub.text).splitlines() if line]
    assert [line for line in complaints if not any(rule in line for rule in NOT_IN_STUBS)] == []
    ast.parse(stub_text(tool))


def the_stub_is_bounded(given: dict[str, Any], result: dict[str, Any]) -> None:
    """Whatever the two schemas are, the stub is Python and of a bounded length."""
    tool = Tool("lab.x", input_schema=given, output_schema=result, source="lab")
    text = stub_text(tool)
    ast.parse(text)
    assert count(text) < 1_600
    ast.parse(checker_stub([tool]).text)


# Things that are hardly schemas, of the words of schemas

WORDS = ["type", "properties", "required", "items", "anyOf", "oneOf", "allOf", "enum", "const", "default"]
WORDS += ["$ref", "additionalProperties", "prefixItems", "description", "minimum", "pattern", "format"]
WORDS += ["$defs", "title", "maxItems", "nullable", "patternProperties", "contentEncoding", "deprecated"]
ODD = st.sampled_from(["object", "array", "string", "#", "#/$defs/a", "#/properties/a", "a", "b-c", "", "\n"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | ODD, inner, max_size=5)
    ),
    max_leaves=40,
)
JUNK_GIVEN = st.dictionaries(st.sampled_from(WORDS), JUNK, max_size=6)
JUNK_RESULT = st.dictionaries(st.sampled_from(WORDS), JUNK)
