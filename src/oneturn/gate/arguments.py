"""The arguments guard: what a script passes, bound to names and checked against the schema.

The rules, the same for every source:

- positional arguments bind in the order of the schema's properties;
- a parameter whose own name is not valid Python goes by its Python name, or by its own in `**{...}`;
- tuples and sets become lists, dates and times become ISO 8601 text, and so on (`oneturn.values`);
- `None` for an optional parameter that does not accept null is the same as leaving it out;
- an integral float (`3.0`) is accepted for an integer and arrives as one;
- bytes go to parameters declared binary as they are, to those declared base64 as base64 text;
- nothing else is converted: `"5"` is not a number.
"""

from __future__ import annotations

import base64
import difflib
from collections.abc import Mapping
from typing import Any

from oneturn.errors import ValueRefused
from oneturn.journal.redaction import Fields
from oneturn.tools.names import parameter_names
from oneturn.tools.signature import signature
from oneturn.types import Failure, Tool
from oneturn.values import plain

from .base import SHOWN, Context, Request, cut
from .schemas import Schema

_SHOWN = 300  # characters of a complaint or a signature in an error


class _Shape:
    """A tool's input schema made ready: names, what is optional, and the compiled schema."""

    def __init__(self, tool: Tool) -> None:
        schema = tool.input_schema
        self.tool = tool
        self.properties: Mapping[str, Any] = schema.get("properties") or {}
        self.required = frozenset(schema.get("required") or ())
        self.names = parameter_names(schema)
        # JSON Schema lets unnamed extras pass; a model's misspelt argument must not.
        self.open = bool(schema.get("additionalProperties")) or bool(schema.get("patternProperties"))
        self.schema = Schema(schema)


class Arguments:
    """The guard. Holds what it made of each tool's schema, by name, remade when the tool changes.

    Args:
        fields: Their values are in no message: it goes on record, and to whoever reads the script's prints.
    """

    def __init__(self, fields: Fields | None = None) -> None:
        self._fields = fields
        self._shapes: dict[str, tuple[Tool, _Shape | Failure]] = {}

    def __call__(self, request: Request, context: Context) -> Request | Failure:
        """Bind, copy and check the arguments."""
        tool = request.tool
        assert tool is not None, "the scope guard comes first"
        shape = self._shape(tool)
        if isinstance(shape, Failure):
            return shape
        bound = _bind(request, tool, shape)
        if isinstance(bound, Failure):
            return bound
        try:
            copies = {
                name: plain(value, context.limits, what=f"argument {cut(name)!r}", from_script=True)
                for name, value in bound.items()
            }
        except ValueRefused as error:
            return Failure("ValueError", f"{tool.name}(): {str(error).rstrip('.')}")
        checked = _check(copies, shape, self._fields)
        return checked if isinstance(checked, Failure) else Request(request.call, tool, checked)

    def _shape(self, tool: Tool) -> _Shape | Failure:
        known = self._shapes.get(tool.name)
        if known is None or known[0] is not tool:
            known = self._shapes[tool.name] = (tool, _made(tool))
        return known[1]


def _made(tool: Tool) -> _Shape | Failure:
    try:
        return _Shape(tool)
    except Exception as error:
        reason = str(error).partition("\n")[0][:_SHOWN]
        return Failure(
            "RuntimeError", f"{tool.name} cannot be called: its input schema is unusable ({reason})"
        )


def _bind(request: Request, tool: Tool, shape: _Shape) -> dict[str, Any] | Failure:
    """Positional and keyword arguments as one mapping by the source's own parameter names."""
    order = tuple(shape.names.values())
    args, kwargs = request.call.args, request.call.kwargs
    if len(args) > len(order):
        return _wrong(tool, f"takes at most {len(order)} positional arguments, got {len(args)}")
    bound = dict(zip(order, args, strict=False))
    for given, value in kwargs.items():
        name = shape.names.get(given, given)
        if name in bound:
            return _wrong(tool, f"got two values for argument {cut(given)!r}")
        if name not in shape.properties and not shape.open:
            near = difflib.get_close_matches(given[:SHOWN], shape.names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            return _wrong(tool, f"has no argument {cut(given)!r}{meant}")
        bound[name] = value
    return bound


def _check(arguments: dict[str, Any], shape: _Shape, fields: Fields | None) -> dict[str, Any] | Failure:
    """The arguments as they will be sent, or the first thing that is wrong with them."""
    missing = sorted(shape.required - arguments.keys())
    if missing:
        return _wrong(shape.tool, f"needs {cut(', '.join(map(repr, missing)), _SHOWN)}")
    tool = shape.tool
    raw: dict[str, bytes] = {}
    for name, value in arguments.items():
        if type(value) is bytes:
            encoding = _binary_as(shape.properties.get(name))
            if encoding == "base64":
                arguments[name] = base64.b64encode(value).decode()
            elif encoding == "bytes":
                raw[name] = value
                arguments[name] = ""
            else:
                return _wrong(tool, f"takes no bytes for {cut(name)!r}; decode them to text first")
        elif _holds_bytes(value):
            return _wrong(tool, f"takes bytes only as a whole argument, not inside {cut(name)!r}")
    if why := shape.schema.too_much(arguments):
        return _wrong(tool, f"cannot take these arguments: {why}; send less")
    if not shape.schema.accepts(arguments):
        arguments = _without_nulls(arguments, shape)
        if not shape.schema.accepts(arguments):
            return _wrong(tool, _complaint(*shape.schema.complaint(arguments, fields)))
    return {**_integral(arguments, shape), **raw}


def _holds_bytes(value: Any) -> bool:
    if type(value) is list:
        return any(map(_holds_bytes, value))
    if type(value) is dict:
        return any(map(_holds_bytes, value.values()))
    return type(value) is bytes


def _without_nulls(arguments: Mapping[str, Any], shape: _Shape) -> dict[str, Any]:
    """None for an optional parameter that has no place for null means: not given."""
    nulls = [
        name
        for name, value in arguments.items()
        if value is None and name not in shape.required and name in shape.properties
    ]
    refused = shape.schema.null_refused(nulls) if nulls else set()
    return {name: value for name, value in arguments.items() if value is not None or name not in refused}


def _integral(arguments: Mapping[str, Any], shape: _Shape) -> dict[str, Any]:
    """`3.0` where an integer is declared becomes 3, as every strict receiver expects."""
    return {
        name: int(value)
        if type(value) is float and _declared(shape.properties.get(name)).get("type") == "integer"
        else value
        for name, value in arguments.items()
    }


def _binary_as(declared: Any) -> str:
    declared = _declared(declared)
    options = [declared, *filter(lambda o: isinstance(o, Mapping), declared.get("anyOf", ()))]
    for option in options:
        if option.get("contentEncoding") == "base64" or option.get("format") in (
            "byte",
            "base64",
            "base64url",
        ):
            return "base64"
        if option.get("format") == "binary":
            return "bytes"
    return ""


def _declared(declared: Any) -> Mapping[str, Any]:
    return declared if isinstance(declared, Mapping) else {}


def _complaint(place: list[str | int], why: str) -> str:
    parts = [part if isinstance(part, int) else cut(part) for part in place]
    path = cut("".join(f"[{part!r}]" if index else str(part) for index, part in enumerate(parts)))
    return f"got a wrong {path!r}: {cut(why, _SHOWN)}" if path else f"got wrong arguments: {cut(why, _SHOWN)}"


def _wrong(tool: Tool, what: str) -> Failure:
    return Failure("TypeError", f"{tool.name}() {what}. Signature: {cut(signature(tool), 2 * _SHOWN)}")
