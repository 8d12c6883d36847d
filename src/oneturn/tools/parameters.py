"""From the signature of a Python function to a JSON Schema, and from JSON arguments back to Python values.

Pydantic does both for every single parameter, so a function gets the models, dataclasses, enums
and datetimes its hints name. Nothing here calls the function.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import docstring_parser
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ..errors import ToolDefinitionError

_EMPTY = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `field` knows its default; `fill` says that we pass the default, not Python."""

    name: str
    adapter: TypeAdapter[Any]
    field: FieldInfo
    positional: bool
    fill: bool


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a function takes. `others` checks further named arguments, None when there are none.

    `fixed` are the names `functools.partial` has given a value: no argument may replace it.
    """

    listed: tuple[Parameter, ...]
    others: TypeAdapter[Any] | None
    schema: Mapping[str, Any]
    fixed: frozenset[str] = frozenset()

    def bind(self, tool: str, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments of the right types.

        Raises:
            TypeError: An argument is missing or unknown.
            ValueError: An argument does not fit its type.
        """
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for parameter in self.listed:
            name = parameter.name
            if name in arguments:
                value = _validate(tool, name, parameter.adapter, arguments[name])
            elif parameter.field.is_required():
                raise TypeError(f"{tool} needs the argument {name!r}.")
            elif parameter.fill:
                value = parameter.field.get_default(call_default_factory=True)
            else:
                continue
            if parameter.positional:
                positional.append(value)
            else:
                named[name] = value
        known = {parameter.name for parameter in self.listed}
        for name in arguments.keys() - known:
            if self.others is None or name in self.fixed:
                raise TypeError(f"{tool} has no parameter {name!r}.")
            named[name] = _validate(tool, name, self.others, arguments[name])
        return positional, named


def _validate(tool: str, name: str, adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in (name, *first["loc"]))
        raise ValueError(f"{tool}: argument {place!r} is wrong: {first['msg']}.") from None


def without_partials(fn: Callable[..., Any]) -> Any:
    """What partials and `functools.wraps` decorators stand around."""
    found: Any = fn
    while isinstance(found, functools.partial):
        found = found.func
    return inspect.unwrap(found)


def underlying(fn: Callable[..., Any]) -> Any:
    """The plain function behind partials, decorators, bound methods and callable objects."""
    found = without_partials(fn)
    if not inspect.isroutine(found):
        found = inspect.unwrap(type(found).__call__)
    return found


def parameters_of(fn: Callable[..., Any], tool: str, docs: docstring_parser.Docstring) -> Parameters:
    """Read the parameters of `fn`.

    Raises:
        ToolDefinitionError: It takes `*args`, or a hint cannot be resolved or has no JSON Schema.
    """
    try:
        declared = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        raise ToolDefinitionError(
            f"{tool} has no readable signature; wrap it in a Python function."
        ) from None
    fixed = _fixed(fn)
    hints = Hints(fn, tool)
    listed: list[Parameter] = []
    others: TypeAdapter[Any] | None = None
    for each in declared:
        if each.name in fixed:
            continue  # fixed by functools.partial: part of the tool, and possibly secret
        if each.kind is inspect.Parameter.VAR_POSITIONAL:
            raise ToolDefinitionError(
                f"{tool} takes *{each.name}, which has no names to show; take a list instead."
            )
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            others = hints.adapter(hints.resolve(each.annotation, each.name), f"parameter {each.name!r}")[0]
        else:
            listed.append(_parameter(each, hints))
    schema = _schema(listed, others, docs)
    if fixed and others is not None:
        schema["propertyNames"] = {"not": {"enum": sorted(fixed)}}
    return Parameters(tuple(listed), others, schema, fixed)


def _fixed(fn: Any) -> frozenset[str]:
    """Names given a value by any partial on the way to the plain function."""
    names: set[str] = set()
    while True:
        if isinstance(fn, functools.partial):
            names.update(fn.keywords)
            fn = fn.func
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        else:
            return frozenset(names)


def _parameter(declared: inspect.Parameter, hints: Hints) -> Parameter:
    hint = hints.resolve(declared.annotation, declared.name)
    default = declared.default
    if default is None:
        hint = _optional(hint)
    if default is _EMPTY:
        info = FieldInfo.from_annotation(hint)
    else:
        info = FieldInfo.from_annotated_attribute(hint, default)
    if isinstance(default, FieldInfo):
        hint = Annotated[hint, default]
    positional = declared.kind is inspect.Parameter.POSITIONAL_ONLY
    python_fills = default is not _EMPTY and not isinstance(default, FieldInfo)
    adapter = hints.adapter(hint, f"parameter {declared.name!r}")[0]
    return Parameter(declared.name, adapter, info, positional, positional or not python_fills)


def _optional(hint: Any) -> Any:
    """`x: int = None` means that None may be given; the words of an Annotated stay outermost."""
    if typing.get_origin(hint) is Annotated:
        return Annotated[typing.Optional[hint.__origin__], *hint.__metadata__]  # noqa: UP045
    return typing.Optional[hint]  # noqa: UP045 - `|` does not work on every hint


def _schema(
    listed: Sequence[Parameter], others: TypeAdapter[Any] | None, docs: docstring_parser.Docstring
) -> dict[str, Any]:
    described = {
        name.strip().lstrip("*"): param.description
        for param in docs.params
        for name in param.arg_name.split(",")
        if param.description
    }
    inputs = [(parameter.name, "validation", parameter.adapter) for parameter in listed]
    if others is not None:
        inputs.append(("**", "validation", others))
    found, shared = TypeAdapter.json_schemas(typing.cast(Any, inputs))
    shown: dict[str, Any] = {}
    for parameter in listed:
        part = dict(found[(parameter.name, "validation")])
        if parameter.name in described and "description" not in part:
            part["description"] = described[parameter.name]
        shown[parameter.name] = part | _default(parameter)
    schema: dict[str, Any] = {"type": "object", "properties": shown}
    needed = [parameter.name for parameter in listed if parameter.field.is_required()]
    if needed:
        schema["required"] = needed
    schema["additionalProperties"] = False if others is None else (found[("**", "validation")] or True)
    if "$defs" in shared:
        schema["$defs"] = shared["$defs"]
    return schema


def _default(parameter: Parameter) -> dict[str, Any]:
    if parameter.fill and not parameter.positional:
        return {}  # a default given through Field is in the schema already
    if parameter.field.is_required():
        return {}
    try:
        value = parameter.adapter.dump_python(parameter.field.get_default(), mode="json", warnings=False)
    except Exception:  # a default that is no data, such as a sentinel object: optional, not shown
        return {}
    return {"default": value}


def _adapter(hint: Any, mode: Any) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """Pydantic's adapter and schema, made once for hints that many functions share."""
    try:
        hash(hint)
    except TypeError:
        return _new_adapter(hint, mode)
    return _shared_adapter(hint, repr(hint), mode)


@functools.lru_cache(1_024)
def _shared_adapter(hint: Any, spelled: str, mode: Any) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    # Equal hints can differ: of `A | B` and `B | A`, each takes its own first where a value fits both.
    return _new_adapter(hint, mode)


def _new_adapter(hint: Any, mode: Any) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
    except PydanticSchemaGenerationError:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    return adapter, adapter.json_schema(mode=mode)


class Hints:
    """Resolves the type hints of one function, also those written as text."""

    def __init__(self, fn: Callable[..., Any], tool: str) -> None:
        function = underlying(fn)
        self.tool = tool
        self.globals: dict[str, Any] = getattr(function, "__globals__", {})
        self.locals = _enclosing(function)

    def resolve(self, annotation: Any, name: str) -> Any:
        """The hint as an object; Any when there is none."""
        if annotation is _EMPTY:
            return Any
        holder = types.SimpleNamespace(__annotations__={"hint": annotation})
        try:
            return typing.get_type_hints(holder, self.globals, self.locals, include_extras=True)["hint"]
        except Exception as error:
            what = "the return type" if name == "return" else f"parameter {name!r}"
            raise ToolDefinitionError(
                f"The type hint of {what} of {self.tool} cannot be resolved ({error}); "
                "define the type at module level, before the tool is added."
            ) from error

    def adapter(
        self, hint: Any, what: str, mode: Any = "validation"
    ) -> tuple[TypeAdapter[Any], dict[str, Any]]:
        """Pydantic's adapter and JSON Schema for a hint."""
        try:
            return _adapter(hint, mode)
        except Exception as error:
            reason = str(error).partition("\n")[0] or f"{hint!r} is no data"
            raise ToolDefinitionError(
                f"The type of {what} of {self.tool} has no JSON Schema ({reason}); "
                "use plain types, dataclasses or Pydantic models."
            ) from error


def _enclosing(function: Any) -> dict[str, Any]:
    """Names local to the function that defines `function`: hints written as text may mean them.

    They are its closure and, while the definer still runs, the variables of its frame.
    """
    names: dict[str, Any] = {}
    code = getattr(function, "__code__", None)
    if code is None:
        return names
    owner = function.__qualname__.rpartition(".<locals>.")[0]
    frame = sys._getframe(1) if owner else None
    while frame is not None:
        if frame.f_code.co_qualname == owner and frame.f_globals is function.__globals__:
            names.update(frame.f_locals)
            break
        frame = frame.f_back
    for name, cell in zip(code.co_freevars, getattr(function, "__closure__", None) or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return names
