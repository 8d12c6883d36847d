"""The parameters of an operation: where each goes in the request, and what it looks like to a script.

A parameter that the transport or the authentication supplies is not the script's to give, and is
left out. Declarations that make no sense are read as their defaults, and a path always gets what
its template asks for.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from ...errors import ToolDefinitionError
from ..names import identifier
from .conversion import Direction, shortened
from .definitions import Converted, Definitions
from .operations import Parameter, Place
from .references import References

INPUT: Direction = "input"
MAX_PARAMETERS = 300
"""Parameters read of one operation."""

_STYLES: Mapping[str, tuple[str, ...]] = {  # the first is the default
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
_TRANSPORT = frozenset(
    {
        *("accept", "content-type", "authorization", "host", "content-length", "connection", "cookie"),
        *("transfer-encoding", "upgrade", "te", "trailer", "accept-encoding", "user-agent"),
    }
)
_TEMPLATE = re.compile(r"\{([^{}/]*)\}")
_MAX_DESCRIPTION = 600


@dataclass(frozen=True, slots=True)
class Input:
    """One argument of a tool: its name, its schema, and whether a call must give it."""

    argument: str
    schema: Converted
    required: bool


class ParameterReader:
    """Reads the parameters of a document's operations. `supplied` are (place, name) of what auth gives."""

    def __init__(
        self, references: References, definitions: Definitions, supplied: Container[tuple[str, str]]
    ) -> None:
        self._references = references
        self._definitions = definitions
        self._supplied = supplied
        # By identity, since parameters are shared by reference; each beside what it was made of.
        self._schemas: dict[int, tuple[Mapping[str, Any], Converted]] = {}

    def read(self, path: str, *lists: Any) -> tuple[str, list[tuple[Parameter, Input]]]:
        """The path template as it is to be filled in, and the parameters: required ones of the path first.

        Args:
            path: The template, as the document has it.
            lists: Declarations of parameters; a later list wins over an earlier one.
        """
        declared: dict[tuple[str, str], Mapping[str, Any]] = {}
        for found in lists:
            for each in found[:MAX_PARAMETERS] if isinstance(found, list) else ():
                parameter = self._references.resolve(each)
                if parameter is not None and self._is_wanted(parameter):
                    declared[parameter["in"], parameter["name"]] = parameter
        known = [name for place, name in declared if place == "path"]
        template = _TEMPLATE.sub(lambda part: f"{{{_meant(part[1], known)}}}", path)
        in_path = list(dict.fromkeys(_TEMPLATE.findall(template)))
        ordered = [("path", name) for name in in_path]
        ordered += [key for key in declared if key[0] != "path"]
        taken: set[str] = set()
        read = [self._parameter(key, declared.get(key, {}), taken) for key in ordered[:MAX_PARAMETERS]]
        return template, sorted(read, key=lambda pair: not pair[1].required)

    def _is_wanted(self, parameter: Mapping[str, Any]) -> bool:
        place, name = parameter.get("in"), parameter.get("name")
        if place not in get_args(Place) or not isinstance(name, str) or not name:
            return False
        if place == "header":
            return name.lower() not in _TRANSPORT and ("header", name.lower()) not in self._supplied
        return (place, name) not in self._supplied

    def _parameter(
        self, key: tuple[str, str], raw: Mapping[str, Any], taken: set[str]
    ) -> tuple[Parameter, Input]:
        place, name = key
        content = raw.get("content")
        media = next(iter(content), None) if isinstance(content, Mapping) else None
        styles = _STYLES[place]
        style = raw.get("style") if raw.get("style") in styles else styles[0]
        explode = raw.get("explode")
        required = place == "path" or raw.get("required") is True
        argument = _free(name, place, taken)
        parameter = Parameter(
            name=name,
            argument=argument,
            place=cast(Place, place),
            style=str(style),
            explode=explode if isinstance(explode, bool) else style in ("form", "deepObject"),
            content_type=media if isinstance(media, str) else None,
            allow_reserved=raw.get("allowReserved") is True,
        )
        return parameter, Input(argument, self._schema(raw), required)

    def _schema(self, raw: Mapping[str, Any]) -> Converted:
        if id(raw) not in self._schemas:
            content, schema = raw.get("content"), raw.get("schema", {} if raw else {"type": "string"})
            if isinstance(content, Mapping) and "schema" not in raw:
                first = self._references.resolve(next(iter(content.values()), None))
                schema = (first or {}).get("schema")
            made = argument_schema(schema, self._definitions)
            made = described(made, raw.get("description"), raw.get("deprecated") is True)
            self._schemas[id(raw)] = (raw, made)
        return self._schemas[id(raw)][1]


def argument_schema(raw: Any, definitions: Definitions) -> Converted:
    """The schema of one argument of a tool."""
    return definitions.inlined(definitions.convert(raw, INPUT), INPUT)


def described(converted: Converted, description: Any, deprecated: bool = False) -> Converted:
    """The same with a description of its own, which says more than that of its type."""
    more: dict[str, Any] = {}
    if isinstance(description, str) and description.strip():
        more["description"] = shortened(description.strip(), _MAX_DESCRIPTION)
    if deprecated:
        more["deprecated"] = True
    if not more:
        return converted
    size = converted.size + len(more.get("description", "")) + 40
    return Converted({**converted.schema, **more}, converted.references, size)


def usable(names: Iterable[str], taken: Container[str] = ()) -> bool:
    """Whether a script can spell these names, each apart from the others and from the ones `taken`."""
    seen: set[str] = set()
    for name in names:
        try:
            python = identifier(name)
        except ToolDefinitionError:
            return False
        if python in seen or python in taken:
            return False
        seen.add(python)
    return True


def _free(name: str, place: str, taken: set[str]) -> str:
    """The argument's name: the API's own, unless a script could not spell it or it is taken."""
    for candidate in _candidates(name, place):
        if usable([candidate], taken):
            taken.add(identifier(candidate))
            return candidate
    raise AssertionError("the candidates never end")


def _candidates(name: str, place: str) -> Iterator[str]:
    yield name
    short = name[:60]
    yield f"{short}_{place}"
    for count in range(2, 10_000):
        yield f"{short}_{place}_{count}"


def _meant(spelled: str, known: Container[str]) -> str:
    """The declared name a template means: some write `{path+}` or `{path*}` for a parameter `path`."""
    plain = spelled.strip("+*?;. ")
    return plain if spelled not in known and plain in known else spelled
