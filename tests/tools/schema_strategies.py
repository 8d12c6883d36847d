"""Random JSON Schemas and values they accept, for tests that hold types against schemas."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st

PLAIN_KEYS = ["id", "name", "list", "str", "int", "Any", "class", "None", "TypedDict", "Node", "copy", "self"]
ODD_KEYS = ["", "a-b", "a b", "__x", "é", "ﬁ", 'quo"te', "new\nline", "back\\slash", "\u202ebidi"]
KEYS = st.sampled_from([*PLAIN_KEYS, *ODD_KEYS])
DEFS = ["Node", "simple-user", "list", "class", "Any", "9lives"]
TEXTS = st.sampled_from(
    ["", "a", "b c", "x'y\"z", "tab\t", "\\n", "]", "# no", "\u202e", "\U000e0041", "{x}"]
)
SCALARS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["string", "null"]},
        {"type": ["integer", "boolean"]},
        {"type": "string", "format": "date-time"},
        {},
        {"title": "List", "description": 'Says """ and \\ and\n# more.'},
    ]
)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """A schema with `$defs`, whose references may be recursive and always have a finite value."""
    names = tuple(sorted(draw(st.lists(st.sampled_from(DEFS), unique=True, max_size=3))))
    schema = draw(part(names, 3))
    defs = {name: draw(part(names, 2)) for name in names}
    return {**schema, "$defs": defs} if defs else schema


@functools.cache  # making strategies takes longer than drawing from them
def part(names: tuple[str, ...], depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """A schema that has a finite value; references stand only where a value may do without."""
    choices = st.lists(st.one_of(TEXTS, st.integers(), st.booleans(), st.none()), min_size=1, max_size=4)
    simple = st.one_of(
        SCALARS,
        choices.map(lambda values: {"enum": values}),
        TEXTS.map(lambda value: {"const": value}),
    )
    if depth == 0:
        return simple
    inner = st.deferred(lambda: part(names, depth - 1))
    loose = st.one_of(inner, st.sampled_from(names).map(_ref)) if names else inner
    return st.one_of(
        simple,
        loose.map(lambda items: {"type": "array", "items": items}),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda places: {"type": "array", "prefixItems": places, "maxItems": len(places)}
        ),
        loose.map(lambda values: {"type": "object", "additionalProperties": values}),
        st.tuples(inner, loose).map(lambda pair: {"anyOf": list(pair)}),
        inner.map(lambda one: {"oneOf": [{"type": "null"}, one]}),
        objects(inner, loose),
        st.tuples(objects(inner, loose), objects(inner, loose)).map(lambda pair: {"allOf": list(pair)}),
    )


@st.composite
def objects(
    draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]], loose: st.SearchStrategy[dict[str, Any]]
) -> dict[str, Any]:
    needed = draw(st.dictionaries(KEYS, inner, max_size=3))
    optional = draw(st.dictionaries(KEYS, loose, max_size=3))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {**optional, **needed},
        "required": list(needed),
    }
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(st.booleans())
    if draw(st.integers(0, 5)) == 0:
        schema["title"] = draw(st.sampled_from(["list", "Any", "The Thing", "9"]))
    return schema


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


@st.composite
def values(draw: st.DrawFn, schema: dict[str, Any], root: dict[str, Any], depth: int = 3) -> Any:
    """A value of the schema, most of the time: parts of an `allOf` may contradict one another."""

    def value(of: dict[str, Any]) -> Any:
        return draw(values(of, root, depth - 1))

    if "$ref" in schema:
        return value(root["$defs"][schema["$ref"].rpartition("/")[2]])
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "const" in schema:
        return schema["const"]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return value(schema[word][0] if depth <= 0 else draw(st.sampled_from(schema[word])))
    if "allOf" in schema:
        return {key: each for one in schema["allOf"] for key, each in value(one).items()}
    kind = schema.get("type")
    kind = draw(st.sampled_from(kind)) if isinstance(kind, list) else kind
    if kind == "object" and "properties" in schema:
        needed = [key for key in schema["properties"] if key in schema["required"]]
        rest = [key for key in schema["properties"] if key not in needed and depth > 0]
        keys = needed + [key for key in rest if draw(st.booleans())]
        extra = {"else": 1} if schema.get("additionalProperties") is True else {}
        return {**{key: value(schema["properties"][key]) for key in keys}, **extra}
    if kind == "object":
        return {"k": value(schema["additionalProperties"])} if depth > 0 else {}
    if kind == "array" and "prefixItems" in schema:
        return [value(place) for place in schema["prefixItems"]]
    if kind == "array":
        return [value(schema["items"])] if depth > 0 else []
    return draw(
        {
            "string": TEXTS,
            "integer": st.integers(-9, 10**20),
            "number": st.sampled_from([1, -2.5, 1e300]),
            "boolean": st.booleans(),
            "null": st.none(),
        }.get(kind or "", TEXTS)
    )
