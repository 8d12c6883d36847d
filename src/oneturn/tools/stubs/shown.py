"""The stub of one tool as a model reads it: compact Python, about 1,500 tokens at the most.

What does not fit is left out in this order: comments, then the shapes furthest from the call, then
keys and parameters; each time the text says so and how to see the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from ...types import Tool
from .checker import ordered
from .comments import comment, docstring_parts, indented, own_name, value_text
from .schema_types import ANY, Key, Parameter, Shape, Typed, references
from .typed_tool import UNKNOWN, Observed, result_type, types_of
from .writing import PLAIN, Declarations, Placed, free, typed_dict

_MAX_KEPT = 2_048  # texts
_ROOM = 1_400  # estimated tokens in all
_PARAMETERS_ROOM = 650
_DESCRIPTION = 1_000  # characters
_LINE = 100  # characters up to which a function is written in one line
_COMMENTS = (160, 60, 0)  # characters of a comment: the longest of these that fit
_KEY_COMMENT = 60
_LEAST_ROOM = 15  # tokens: no shape takes less
_LEAST_KEY = 4  # tokens: no key takes less
_HINT_KEYS = 8
_HINT_ROOM = 200  # tokens kept for the keys of shapes that are not shown
_ATTEMPTS = 3
_TOLERANCE = 120  # tokens
_PIECES = re.compile(r"[A-Za-z]{1,5}|[0-9]{1,3}|[^\sA-Za-z0-9]|\n")
_WIDE = re.compile(r"[^\x00-\u024f]")


def stub_text(tool: Tool, observed: Observed | None = None) -> str:
    """All a script writer needs of one tool, as Python that parses.

    The TypedDicts the tool uses, then its function with a comment for each parameter that has
    something to say, and a docstring: description, effect, notes, result rule and examples.

    Args:
        tool: The tool.
        observed: The shape its results were seen to have, used when it declares none.
    """
    kept = _kept.get(id(tool))
    if kept is not None and kept[0] is tool and kept[1] is observed:
        return kept[2]
    text = _Page(tool, observed).text()
    if len(_kept) >= _MAX_KEPT:
        _kept.clear()
    _kept[id(tool)] = (tool, observed, text)
    return text


_kept: dict[int, tuple[Tool, Observed | None, str]] = {}  # by identity, since a tool cannot be hashed


def tokens(text: str) -> int:
    """About how many tokens a text has: rather too many than too few, and quick to count."""
    return len(_PIECES.findall(text)) + 2 * len(_WIDE.findall(text))


class _Page:
    def __init__(self, tool: Tool, observed: Observed | None) -> None:
        self.tool = tool
        self.own = own_name(tool)
        found = types_of(tool)
        self.arguments = found.arguments
        self.result = found.result
        self.observed = observed if tool.output_schema is None and tool.results != "text" else None
        if self.observed is not None:
            self.result = result_type(tool, self.observed.schema)
        self.declarations = Declarations({tool.short_name})
        self.gives, gives = self._add(self.result.shapes)
        self.takes, takes = self._add(self.arguments.shapes)
        self.placed = [each for each in chain(*zip_longest(gives, takes)) if each is not None]
        self.shown: frozenset[str] = frozenset()
        self.named: set[str] = set()  # shapes that what is shown refers to
        self.costs: dict[tuple[str, int], int] = {}
        self.hints: dict[str, str] = {}  # for shapes that are not shown: some of their keys

    def _add(self, shapes: Mapping[str, Shape]) -> tuple[dict[str, str], list[Placed]]:
        return self.declarations.add(shapes, "Input")

    def text(self) -> str:
        body = self._docstring()
        self.shown = frozenset(placed.name for placed in self.placed)  # to measure as if all were shown
        room = _ROOM - tokens(body) - tokens(self._function(self._parameters(_PARAMETERS_ROOM), ""))
        text = ""
        for _ in range(_ATTEMPTS):  # a shape that is not shown may take more room in others than its name
            text = self._written(body, room)
            over = tokens(text) - _ROOM
            if over <= _TOLERANCE:
                break
            room -= over
        return text

    def _written(self, body: str, room: int) -> str:
        self.shown = frozenset(placed.name for placed in self.placed)
        self.hints.clear()
        shapes, room = self._choose(room)
        self.shown = frozenset(shapes)
        self._hint(room)
        parts = [self._shape(placed, *shapes[placed.name]) for placed in self.placed if placed.name in shapes]
        head = f"# await tools.{self.tool.name}(...)"
        if len(shapes) < len(self.placed):
            head += f'\n# shortened: runtime.get_tool_info("{self.tool.name}") has the full schemas'
        function = self._function(self._parameters(_PARAMETERS_ROOM), body)
        return "\n\n".join([head, *parts, function])

    def _choose(self, room: int) -> tuple[dict[str, tuple[int, int]], int]:
        """The shapes that fit, and the room they leave.

        For each shape: the length of its comments, and how many of its keys are shown.
        """
        chosen: dict[str, tuple[int, int]] = {}
        named = self.named = {self.gives[name] for name in references(self.result.type)}
        for parameter in self.arguments.parameters:
            named.update(self.takes[name] for name in references(parameter.type))
        reserve = min(_HINT_ROOM, room // 4)
        for place, placed in enumerate(self.placed):
            if room < _LEAST_ROOM:
                break
            if placed.name not in named:
                continue
            keys = len(placed.shape.keys)
            if place >= 2 and keys * _LEAST_KEY > room:
                continue
            for limit in (_KEY_COMMENT, 0):
                cost = self._cost(placed, limit)
                share = room if place < 2 else room - reserve
                if cost <= (share // 2 if limit else share):
                    chosen[placed.name] = (limit, keys)
                    room -= cost
                    break
            else:
                if place < 2 and room > 100:  # the outermost shapes: as many keys as there is room for
                    shown = keys
                    while shown > 1 and cost > room:
                        shown = min(shown - 1, shown * room // cost)
                        cost = tokens(self._shape(placed, 0, shown))
                    if cost <= room:
                        chosen[placed.name] = (0, shown)
                        room -= cost
            if placed.name in chosen:
                seen = placed.shape.keys[: chosen[placed.name][1]]
                named.update(placed.links[name] for key in seen for name in references(key.type))
        return chosen, room

    def _cost(self, placed: Placed, limit: int) -> int:
        """Tokens of a whole shape, with all that it refers to shown too."""
        known = self.costs.get((placed.name, limit))
        if known is None:
            known = self.costs[placed.name, limit] = tokens(
                self._shape(placed, limit, len(placed.shape.keys))
            )
        return known

    def _hint(self, room: int) -> None:
        """Name the first keys of shapes that are not shown, nearest first, while there is room."""
        for placed in self.placed:
            if placed.name in self.shown or placed.name not in self.named:
                continue
            first = sorted(placed.shape.keys, key=lambda key: not key.required)
            keys = [
                key.name if key.name.isascii() and key.name.isidentifier() else value_text(key.name)
                for key in first
            ]
            more = len(keys) - _HINT_KEYS
            text = f"keys {', '.join(keys[:_HINT_KEYS])}{f', … {more} more' if more > 0 else ''}"
            room -= tokens(text) + 1
            if room < 0:
                return
            self.hints[placed.name] = text

    def _shape(self, placed: Placed, limit: int, count: int) -> str:
        keys = placed.shape.keys

        def said(key: Key) -> str:
            about = comment(key.schema, limit, self.own)
            if not self.hints:
                return about
            hidden = [self.hints.pop(placed.links[name], "") for name in references(key.type)]
            return "; ".join(filter(None, [about, *hidden]))

        part = Placed(placed.name, replace(placed.shape, keys=keys[:count]), placed.links)
        text = typed_dict(part, PLAIN, self._refer, said)
        notes = [f"{len(keys) - count} more keys"] if count < len(keys) else []
        notes += ["other keys are allowed"] if placed.shape.open else []
        return f"{text}\n    # and {', '.join(notes)}" if notes else text

    def _refer(self, name: str) -> str:
        return name if name in self.shown else "dict[str, Any]"

    def _parameters(self, room: int) -> list[tuple[str, str]]:
        """Each parameter as text with its comment; cut to `room` tokens."""
        for limit in _COMMENTS:
            lines, rest = self._lines(limit, room)
            if not rest:
                break
        if lines and lines[-1][0] == "*":
            lines.pop()
        if rest:
            lines.append(("**more: Any", f"{rest:,} more parameters; runtime.get_tool_info names them"))
        elif self.arguments.others is not None:
            others = PLAIN.write(self.arguments.others, lambda name: self._refer(self.takes[name]))
            names = {parameter.name for parameter in self.arguments.parameters}
            lines.append((f"**{free('others', names)}: {others}", ""))
        return lines

    def _lines(self, limit: int, room: int) -> tuple[list[tuple[str, str]], int]:
        """The parameters that fit in `room` tokens, and how many do not."""
        parts = ordered(self.arguments.parameters)
        lines: list[tuple[str, str]] = []
        for part in parts:
            line, said = self._parameter(part, limit)
            room -= tokens(f"{line} {said}") + 2
            if room < 0:
                return lines, sum(not isinstance(each, str) for each in parts[len(lines) :])
            lines.append((line, said))
        return lines, 0

    def _parameter(self, part: Parameter | str, limit: int) -> tuple[str, str]:
        if isinstance(part, str):
            return part, ""
        kind = PLAIN.write(part.type, lambda name: self._refer(self.takes[name]))
        default = "..." if "default" not in part.schema else value_text(part.schema["default"])
        said = comment(part.schema, limit, self.own, default=False)
        if part.name != part.original:
            original = value_text(part.original)
            said = f"original name {original}{f'; {said}' if said else ''}"
        return f"{part.name}: {kind}{'' if part.required else f' = {default}'}", said

    def _function(self, parameters: Sequence[tuple[str, str]], body: str) -> str:
        start = f"async def {self.tool.short_name}("
        end = f") -> {self._returns()}:"
        joined = ", ".join(line for line, _ in parameters)
        if not any(said for _, said in parameters) and len(start) + len(joined) + len(end) <= _LINE:
            head = f"{start}{joined}{end}"
        else:
            lines = [f"    {line},{f'  # {said}' if said else ''}" for line, said in parameters]
            head = "\n".join([start, *lines, end])
        return f"{head}{self._remark()}\n{body}"

    def _returns(self) -> str:
        if self.tool.results == "text":
            return "str"
        return PLAIN.write(self.result.type, lambda name: self._refer(self.gives[name]))

    def _remark(self) -> str:
        if self.observed is not None:
            return f"  # observed in {self.observed.calls:,} call{'s' if self.observed.calls != 1 else ''}"
        if self.tool.results != "text" and self._is_unknown(self.result):
            return f"  # not declared: print(await tools.{self.tool.name}(...)), or one item of it, to see"
        return ""

    def _is_unknown(self, result: Typed) -> bool:
        return result is UNKNOWN or result.type == ANY

    def _docstring(self) -> str:
        text = "\n\n".join(docstring_parts(self.tool, _DESCRIPTION))
        return f'    """{indented(text, "    ")}\n    """'
