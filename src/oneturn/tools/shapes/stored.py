"""Shapes as JSON: what stands in the file, written and read back."""

from __future__ import annotations

from typing import Any, TypeVar

from .names import is_field_name
from .shape import MAX_DEPTH, MAX_FIELDS, WORDS, Field, Record, Shape

T = TypeVar("T")


def dump(shape: Shape) -> dict[str, Any]:
    """A shape as JSON data; `load` makes it a shape again."""
    data: dict[str, Any] = {"is": [word for word, bit in WORDS.items() if shape.kinds & bit]}
    if shape.items is not None:
        data["items"] = dump(shape.items)
    record = shape.record
    if record is None:
        return data
    data |= {"looks": record.looks, "strays": record.strays, "open": record.open}
    data["fields"] = {
        name: {**dump(each.shape), "always": each.always, "again": each.again}
        for name, each in record.fields.items()
    }
    if record.others is not None:
        data["others"] = dump(record.others)
    return data


def load(data: Any, depth: int = MAX_DEPTH) -> Shape:
    """The shape that was dumped. Raises ValueError when `data` is anything else."""
    if depth < 0:
        raise ValueError("nested too deep")
    shape = Shape(sum({WORDS[word] for word in _typed(data, "is", list) if _known(word)}))
    if "items" in data:
        shape.items = load(data["items"], depth - 1)
    if "fields" not in data:
        return shape
    fields = _typed(data, "fields", dict)
    if len(fields) > MAX_FIELDS:
        raise ValueError("too many fields")
    if not all(map(is_field_name, fields)):
        raise ValueError("a key that would never have been kept")
    shape.record = Record(
        fields={
            name: Field(load(each, depth - 1), _typed(each, "always", bool), _typed(each, "again", bool))
            for name, each in fields.items()
        },
        others=load(data["others"], depth - 1) if "others" in data else None,
        open=_typed(data, "open", bool),
        looks=_typed(data, "looks", int),
        strays=_typed(data, "strays", int),
    )
    return shape


def _known(word: object) -> bool:
    if not isinstance(word, str) or word not in WORDS:
        raise ValueError("an unknown kind")
    return True


def _typed(data: Any, name: str, kind: type[T]) -> T:
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, kind):
        raise ValueError(f"{name} is missing or of the wrong kind")
    return found
