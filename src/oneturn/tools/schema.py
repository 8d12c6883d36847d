"""Reading JSON Schema written by strangers: nothing here raises on an odd or hostile schema.

References are followed one at a time, when somebody asks, and only inside the same document. So
a recursive schema costs nothing until it is walked, and whoever walks it sets the bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any
from urllib.parse import unquote

# Longer chains and paths of references are treated as "anything", and further words are passed over.
_MAX_HOPS = 16
_MAX_PATH = 300
_MAX_BESIDE = 100
_NOTHING: Mapping[str, Any] = {}


def resolve(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """`schema` with its own `$ref` followed to the end; words beside the reference stay in force.

    What cannot be read (a boolean schema, a foreign or circular reference) gives an empty schema,
    which means "anything".
    """
    beside: dict[str, Any] = {}
    for _ in range(_MAX_HOPS):
        if not isinstance(schema, Mapping):
            return _NOTHING
        target = schema.get("$ref")
        if not isinstance(target, str):
            return {**schema, **beside} if beside else schema
        words = islice(schema.items(), _MAX_BESIDE)
        beside = {**{key: value for key, value in words if key != "$ref"}, **beside}
        schema = _lookup(target, root)
    return _NOTHING


def _lookup(reference: str, root: Mapping[str, Any]) -> object:
    if len(reference) > _MAX_PATH or (reference != "#" and not reference.startswith("#/")):
        return None
    part: object = root
    for step in reference.split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(part, Mapping):
            part = part.get(key)
        elif isinstance(part, list) and key.isdecimal() and len(key) < 6 and int(key) < len(part):
            part = part[int(key)]
        else:
            return None
    return part


def properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of an object schema in their order; empty when it declares none."""
    found = resolve(schema, schema).get("properties")
    return (
        {key: value for key, value in found.items() if isinstance(key, str)}
        if isinstance(found, Mapping)
        else {}
    )


def required(schema: Mapping[str, Any]) -> frozenset[str]:
    """The names of the properties that must be there."""
    found = resolve(schema, schema).get("required")
    return (
        frozenset(name for name in found if isinstance(name, str))
        if isinstance(found, list | tuple)
        else frozenset()
    )


def types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The JSON types a resolved schema names, guessed from its other words when it names none."""
    named = schema.get("type")
    if isinstance(named, str):
        return (named,)
    if isinstance(named, list | tuple):
        return tuple(name for name in named[:10] if isinstance(name, str))
    if "properties" in schema or "additionalProperties" in schema:
        return ("object",)
    return ("array",) if "items" in schema or "prefixItems" in schema else ()
