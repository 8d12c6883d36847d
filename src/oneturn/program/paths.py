"""Paths into values, and what the builtins that make containers do to them.

A place is an expression and a path into its value: `(rows, (EACH, "id"))` is what stands under "id" in
each row. Each function of `MAKERS` tells the places behind a path into what one builtin gives.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from enum import Enum


class Step(Enum):
    """A step into a value, beside the known keys and indexes."""

    EACH = "what going through it gives"
    PART = "what stands under some index or key"
    DEEP = "it, or anything in it"


EACH, PART, DEEP = Step.EACH, Step.PART, Step.DEEP
Path = tuple[Step | int | str, ...]
Place = tuple[ast.expr, Path]

_LONGEST = 6  # steps of a path
_LONGEST_JSON = 10_000  # characters that are read
OTHER_NUMBER = ast.Constant(value=0.5)
"""Stands for any number that is not whole."""


def key_of(node: ast.expr) -> object:
    """What stands for an expression among those that have been asked: all uses of a name are one."""
    if isinstance(node, ast.Name):
        return node.id
    return node


def step_of(key: ast.expr) -> Step | int | str:
    """The step that an index or key is."""
    value = key.value if isinstance(key, ast.Constant) else None
    if isinstance(value, str) or (type(value) is int and value >= 0):
        return value
    return PART


def element(path: Path, index: int | None = None) -> Path | None:
    """The rest of a path that leads into a list, to the element with an index or to any."""
    if not path or path[0] is DEEP:
        return path or None
    first = path[0]
    if isinstance(first, str) or (isinstance(first, int) and index is not None and first != index):
        return None
    return path[1:]


def under(path: Path, key: Step | int | str = PART) -> Path | None:
    """The rest of a path that leads into a dict, to what stands under a key."""
    if not path or path[0] is DEEP:
        return path or None
    first = path[0]
    return path[1:] if first is PART or (first is not EACH and key in (PART, first)) else None


def _meets(put: Step | int | str, read: Step | int | str) -> bool:
    """Whether what was put at one step may be read at another."""
    if PART in (put, read) or put == read:
        return True
    return EACH in (put, read) and not (isinstance(put, str) or isinstance(read, str))


def rests(path: Path, where: Path) -> Iterator[Path]:
    """What may be left of a path behind a part of the value, which stands at another path."""
    for index, step in enumerate(where):
        if step is DEEP:
            yield from (path[first:] for first in range(index, len(path) + 1))
            return
        if index == len(path) or (path[index] is not DEEP and not _meets(step, path[index])):
            return
        if path[index] is DEEP:
            yield path[index:]
            return
    yield path[len(where) :]


def shortened(path: Path) -> Path:
    """A path that is no longer than paths may be."""
    return path if len(path) <= _LONGEST else (DEEP, *path[-_LONGEST + 2 :])


def of_each(path: Path) -> Path:
    """A path into what was made by going through something, as one into that."""
    return (EACH, *path[1:]) if path and path[0] is not DEEP else path


def somewhere(path: Path) -> Path:
    """A path into what was made in an unknown way, as one into what it was made of."""
    keys = [index for index, step in enumerate(path) if isinstance(step, str)]
    return (DEEP, *path[keys[-1] :]) if keys else (DEEP,)


def json_value(text: str) -> ast.expr | None:
    """What JSON says that is written in a script, as an expression; None for any other text.

    `OTHER_NUMBER` stands for what is too long to be read.
    """
    if len(text) > _LONGEST_JSON:
        return OTHER_NUMBER
    try:
        return ast.parse(repr(json.loads(text)), mode="eval").body
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _dict_of(node: ast.Call, path: Path) -> Iterator[Place]:
    for part in node.args:
        yield part, path
        if (rest := under(path)) is not None:
            yield part, (EACH, 1, *rest)
    for keyword in node.keywords:
        if keyword.arg is None:
            yield keyword.value, path
        elif (rest := under(path, keyword.arg)) is not None:
            yield keyword.value, rest


def _from_keys(node: ast.Call, path: Path) -> Iterator[Place]:
    rest = under(path)
    yield from ((part, rest) for part in node.args[1:] if rest is not None)


def _defaults(node: ast.Call, path: Path) -> Iterator[Place]:
    rest = under(path)
    for part in node.args:
        if rest is not None:
            yield (part.body if isinstance(part, ast.Lambda) else part), rest


def _enumerated(node: ast.Call, path: Path) -> Iterator[Place]:
    rest = element(path)
    if rest is None or rest[:1] == (0,):
        return
    yield node.args[0], (path if path[0] is DEEP else (EACH, *rest[1:]))


def _zipped(node: ast.Call, path: Path) -> Iterator[Place]:
    rest = element(path)
    for index, part in enumerate(node.args):
        if rest is None:
            return
        if isinstance(part, ast.Starred):
            yield part.value, (DEEP, *rest[1:])
        elif path[0] is DEEP:
            yield part, path
        elif not rest or rest[0] in (index, EACH, PART, DEEP):
            yield part, (EACH, *rest[1:])


def _one_of(node: ast.Call, path: Path) -> Iterator[Place]:
    for part in node.args:
        if isinstance(part, ast.Starred):
            yield part.value, (EACH, *path)
        else:
            yield part, (EACH, *path) if len(node.args) == 1 else path
    yield from ((each.value, path) for each in node.keywords if each.arg == "default")


def _next(node: ast.Call, path: Path) -> Iterator[Place]:
    yield node.args[0], (EACH, *path)
    yield from ((part, path) for part in node.args[1:])


def _gathered(node: ast.Call, path: Path) -> Iterator[Place]:
    for index, part in enumerate(node.args):
        rest = element(path, index)
        if isinstance(part, ast.Starred):
            yield part.value, path
        elif rest is not None:
            yield part, rest


def _filtered(node: ast.Call, path: Path) -> Iterator[Place]:
    yield from ((part, of_each(path)) for part in node.args[1:])


MAKERS: Mapping[str, Callable[[ast.Call, Path], Iterator[Place]]] = {
    "dict": _dict_of,
    "dict.fromkeys": _from_keys,
    "collections.defaultdict": _defaults,
    "collections.Counter": lambda _node, _path: iter(()),
    "enumerate": _enumerated,
    "filter": _filtered,
    "max": _one_of,
    "min": _one_of,
    "next": _next,
    "zip": _zipped,
    "asyncio.gather": _gathered,
}
