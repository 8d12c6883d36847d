"""A schema made ready to check values: bounded, compiled, and without remote references.

The validator holds the interpreter's lock while it works and cannot be stopped, and the schema and
the value come from strangers. So its work is bounded before it begins. What a check costs is at
most the *looks* (how many parts of the schema look at any one place of a value) times the places
of the value. Looks are counted for the height of the value at hand: that makes recursive schemas
finite, those that refer to themselves twice at each level included, and costs one walk over the
schema per height. Patterns are counted apart, by the characters they may have to read.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from oneturn.journal.redaction import Fields

MAX_PARTS = 20_000
"""Parts of a schema, and looks at a flat value: a schema over this is not used."""
MAX_CHARACTERS = 100_000
"""Characters of a value that a schema with patterns is ready to read."""

_MAX_LOOKS = 100_000_000  # looks times places of a value: about a second
_MAX_READS = 200_000  # looks of patterns times characters of a value: about a second
_MAX_EXPLAINED = 100_000  # looks times places up to which a wrong value is explained in full
_MAX_STEPS = 200_000  # of one count of looks
# A pattern costs its compiled size times the text it reads. Most are small and may read a lot; a
# class of letters, repeated, is large and is compiled for short text only. Lookaround needs the
# backtracking engine, which gives up ("does not match") after `backtrack_limit` steps back.
_SMALL = jsonschema_rs.FancyRegexOptions(size_limit=100_000, backtrack_limit=1_000)
_LARGE = jsonschema_rs.FancyRegexOptions(size_limit=2_000_000, backtrack_limit=1_000)
_LARGE_SHARE = 50  # how much less text may be read when a pattern is large
_MAX_PATTERNS = 1_000  # each may take the size above in memory

_SAME = ("not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies")
_OBJECT = (
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
)
_ARRAY = ("items", "prefixItems", "additionalItems", "contains", "unevaluatedItems")
_ONE_OF_THEM = ("properties", "prefixItems")  # of these parts only one looks at any one place
_UNSAID = "its value"
_AGAIN = 3  # the validator goes through the parts beside an `unevaluated…` again to see what they took


class SchemaRefused(ValueError):
    """A schema we do not hand to the validator."""


class Schema:
    """A compiled schema that never works for longer than a moment.

    Args:
        schema: A JSON Schema whose references all lead into itself (`#` or `#/…`).

    Raises:
        SchemaRefused: It is too large, refers to somewhere else, or to itself without end.
        jsonschema_rs.ValidationError: It is not a JSON Schema, or a pattern is too large or wrong.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        root = copy.deepcopy(dict(schema))
        parts = _made_local(root)
        self._choices = any("anyOf" in part or "oneOf" in part for part in parts)
        self._patterns = sum(map(_patterns, parts))
        if self._patterns > _MAX_PATTERNS:
            raise SchemaRefused(f"it has more than {_MAX_PATTERNS:,} patterns")
        self._looks = _Looks(root, lambda part: 1)
        self._reads = _Looks(root, _patterns)
        self._looks.check(parts)
        self._share = 1
        try:
            self._validator = _compiled(root, _SMALL)
        except jsonschema_rs.ValidationError:
            if self._patterns > _MAX_PATTERNS // _LARGE_SHARE:
                raise
            self._validator = _compiled(root, _LARGE)
            self._share = _LARGE_SHARE
        self._root = root

    def too_much(self, value: Any) -> str:
        """Why checking `value` would take too long; empty when it would not."""
        places, characters, height = _extent(value)
        if places * self._looks.at(height) > _MAX_LOOKS:
            return "so much nested data is too costly to check against its schema"
        if self._patterns:
            most = min(MAX_CHARACTERS, _MAX_READS // max(1, self._reads.at(height))) // self._share
            if characters > most:
                return f"more than {most:,} characters are too many for a schema with patterns"
        return ""

    def accepts(self, value: Any) -> bool:
        """Whether `value` fits. Ask `too_much` first. Raises ValueError for what is not JSON."""
        return bool(self._validator.is_valid(value))

    def complaint(self, value: Any, fields: Fields | None = None) -> tuple[list[str | int], str]:
        """Where and why a value that is not accepted does not fit, for the first such reason.

        Args:
            value: What does not fit.
            fields: Are never quoted, nor is anything that holds one of them.
        """
        places, _, height = _extent(value)
        # An explanation of `anyOf` collects every error of every branch first.
        if self._choices and places * self._looks.at(height) > _MAX_EXPLAINED:
            return [], "the whole does not fit the schema, and is too large to say where"
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            place, why = error.instance_path, error.message
            if fields is None:
                return place, why
            depth, here = _hidden_at(value, place, fields)
            if depth and (depth < len(place) or isinstance(here, dict | list)):  # keys are quoted as well
                return place[:depth], f"{_UNSAID} does not fit the schema"
            hides = depth or fields.hidden(here) is not here
            return place, self._unquoted(value) if hides else why
        return [], "the whole does not fit the schema"

    def _unquoted(self, value: Any) -> str:
        """The reason of `complaint`, without the part of the value that is wrong."""
        patterns = _SMALL if self._share == 1 else _LARGE
        try:
            _compiled(self._root, patterns, mask=_UNSAID).validate(value)
        except jsonschema_rs.ValidationError as error:
            return error.message
        return "the whole does not fit the schema"

    def null_refused(self, names: list[str]) -> set[str]:
        """Which of these top-level names may not be null, found in one pass over nothing but nulls."""
        errors = self._validator.iter_errors(dict.fromkeys(names))
        return {str(error.instance_path[0]) for error in errors if error.instance_path}


class _Looks:
    """How many parts of a schema look at any one place of a value, by the height of the value."""

    def __init__(self, root: dict[str, Any], weight: Callable[[dict[str, Any]], int]) -> None:
        self._root = root
        self._weight = weight
        self._known: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._open: set[int] = set()
        self._totals: list[int] = []
        self._lock = threading.Lock()  # runs share the tools, and so this

    def at(self, height: int) -> int:
        """An upper bound for a value of this height; a scalar has height 0."""
        if height >= len(self._totals):
            with self._lock:
                # From the lowest up, so that a recursive schema finds the levels below it counted.
                for each in range(len(self._totals), height + 1):
                    self._totals.append(self._total(each))
        return self._totals[height]

    def _total(self, height: int) -> int:
        self._open = set()
        try:
            here, in_object, in_array = self._count(self._root, height)
        except RecursionError:
            return _MAX_LOOKS + 1
        return here + max(in_object, in_array)

    def check(self, parts: list[dict[str, Any]]) -> None:
        """Refuse a schema with a part that looks at one place without end, or far too often."""
        for part in parts:
            if self._count(part, 0)[0] > MAX_PARTS:
                raise SchemaRefused(f"its references expand to more than {MAX_PARTS:,} parts")

    def _count(self, part: Any, height: int) -> tuple[int, int, int]:
        """Looks at this place, and at one place below it if it is an object, or an array."""
        if not isinstance(part, dict):
            return (0, 0, 0)
        key = (id(part), height)
        if key in self._known:
            return self._known[key]
        if len(self._known) >= _MAX_STEPS:
            return (_MAX_LOOKS + 1, 0, 0)
        if id(part) in self._open:
            raise SchemaRefused("it refers to itself without end")
        self._open.add(id(part))
        here, in_object, in_array = self._weight(part), 0, 0
        for child in _same(part, self._root):
            more = self._count(child, height)
            here, in_object, in_array = here + more[0], in_object + more[1], in_array + more[2]
        self._open.discard(id(part))
        if height:
            outer, self._open = self._open, set()  # one level further down an end is in sight
            in_object += sum(self._below(part, word, height) for word in _OBJECT)
            in_array += sum(self._below(part, word, height) for word in _ARRAY)
            self._open = outer
        again = _AGAIN if "unevaluatedProperties" in part or "unevaluatedItems" in part else 1
        self._known[key] = (here * again, in_object * again, in_array * again)
        return self._known[key]

    def _below(self, part: dict[str, Any], word: str, height: int) -> int:
        counts = [self._count(child, height - 1) for child in _children(part, word)]
        looks = [here + max(in_object, in_array) for here, in_object, in_array in counts]
        one = word in _ONE_OF_THEM or (word == "items" and isinstance(part.get("items"), list))
        return max(looks, default=0) if one else sum(looks)


def _compiled(
    root: dict[str, Any], patterns: jsonschema_rs.FancyRegexOptions, mask: str | None = None
) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(root, retriever=_no_remote, pattern_options=patterns, mask=mask)


def _patterns(part: dict[str, Any]) -> int:
    named = part.get("patternProperties")
    return ("pattern" in part) + (len(named) if isinstance(named, dict) else 0)


def _children(part: dict[str, Any], word: str) -> list[Any]:
    """The schemas under one keyword, whichever of its forms it has."""
    if word not in part:
        return []
    found = part[word]
    if isinstance(found, list):
        return found
    if isinstance(found, dict) and word in (
        "properties",
        "patternProperties",
        "dependentSchemas",
        "dependencies",
    ):
        return list(found.values())
    return [found]


def _same(part: dict[str, Any], root: dict[str, Any]) -> Iterator[Any]:
    """The schemas that look at the same place as `part` does."""
    if "$ref" in part:
        yield _target(part["$ref"], root)
    for word in _SAME:
        yield from _children(part, word)


def _target(reference: Any, root: dict[str, Any]) -> Any:
    """What a reference inside the schema leads to."""
    if not isinstance(reference, str) or (reference != "#" and not reference.startswith("#/")):
        raise SchemaRefused(f"a schema may not refer to {str(reference)[:100]}, only to '#/…' in itself")
    found: Any = root
    for step in unquote(reference).split("/")[1:]:
        if isinstance(found, dict):
            _strip(found)
        key = step.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (LookupError, TypeError, ValueError):
            raise SchemaRefused(f"its reference {reference[:100]} leads nowhere") from None
    return found


def _strip(part: dict[str, Any]) -> None:
    """Take a part's own address away: with one, its `#/…` would lead elsewhere than we measured."""
    for word in ("$id", "id"):
        if isinstance(part.get(word), str):
            del part[word]


def _made_local(root: dict[str, Any]) -> list[dict[str, Any]]:
    """Every part of a schema that can look at a value, stripped of what would move its references."""
    parts: dict[int, dict[str, Any]] = {}
    waiting: list[Any] = [root]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict) or id(part) in parts:
            continue
        parts[id(part)] = part
        if len(parts) > MAX_PARTS:
            raise SchemaRefused(f"it has more than {MAX_PARTS:,} parts")
        if "$dynamicRef" in part or "$recursiveRef" in part:
            raise SchemaRefused("it has references that depend on where they are used")
        _strip(part)
        if part is not root:
            part.pop("$schema", None)
        if part.get("format") == "regex":
            del part["format"]  # would have the validator compile a pattern out of the value
        waiting += _same(part, root)
        for word in (*_OBJECT, *_ARRAY):
            waiting += _children(part, word)
    return list(parts.values())


def _extent(value: Any) -> tuple[int, int, int]:
    """How many places a JSON value has, how many characters they hold, and how high it is."""
    places, characters, height = 0, 0, -1
    level = [value]
    while level:
        height += 1
        places += len(level)
        below: list[Any] = []
        for part in level:
            if type(part) is str:
                characters += len(part)
            elif type(part) is dict:
                characters += sum(map(len, part))
                below += part.values()
            elif type(part) is list:
                below += part
        level = below
    return places, characters, height


def _hidden_at(value: Any, place: list[str | int], fields: Fields) -> tuple[int, Any]:
    """How far down a place the first hidden field is, 0 when none is on the way; and what is at the place."""
    depth = 0
    for level, part in enumerate(place, 1):
        named = {part: None}
        if not depth and isinstance(part, str) and fields.hidden(named) is not named:
            depth = level
        value = value[part]
    return depth, value


def _no_remote(uri: str) -> Any:
    """The retriever of every validator: a stranger's schema must not make us fetch anything."""
    raise ValueError(f"a schema may not refer to {uri}")
