"""Writing type expressions and declarations as Python text, under names that are unique in one module."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ..text import quoted
from .schema_types import BUILTIN, SHAPE, TYPING, WORDS, Key, Shape, references

_SHAPES = re.compile(
    rf"{SHAPE}[^{SHAPE}]*{SHAPE}(?: \| {SHAPE}[^{SHAPE}]*{SHAPE})*"
)  # one, or a union of them

Refer = Callable[[str], str]
"""How a module spells a reference to a shape."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """What a module writes before names of `builtins` and `typing`: nothing, or `_b.` and `_t.`.

    The second is for modules where a tool has the name of a type: after `def list(...)`, an
    annotation `list[int]` would mean the tool.
    """

    builtin: str = ""
    typing: str = ""

    @classmethod
    def aliased(cls, taken: Iterable[str]) -> Spelling:
        """Module aliases that are not among `taken`."""
        names = set(taken)
        return cls(f"{free('_b', names)}.", f"{free('_t', names)}.")

    @property
    def imports(self) -> str:
        """The lines that bring the aliases in."""
        return f"import builtins as {self.builtin[:-1]}\nimport typing as {self.typing[:-1]}"

    def write(self, expression: str, refer: Refer = str) -> str:
        """A type expression as text."""
        text = expression.replace(BUILTIN, self.builtin).replace(TYPING, self.typing)
        if SHAPE not in text:
            return text
        return _SHAPES.sub(lambda found: " | ".join(dict.fromkeys(map(refer, references(found[0])))), text)


PLAIN = Spelling()


def free(name: str, taken: set[str]) -> str:
    """`name`, or the first of `name_2`, `name_3`, … that is not taken."""
    found, count = name, 2
    while found in taken:
        found, count = f"{name}_{count}", count + 1
    return found


@dataclass(frozen=True, slots=True)
class Placed:
    """A shape under its name in a module; `links` are the module's names for the shapes it refers to."""

    name: str
    shape: Shape
    links: Mapping[str, str]


@dataclass
class Declarations:
    """The shapes of one module. Equal shapes that have one name everywhere are declared once.

    `taken` are names that mean something else in the module.
    """

    taken: set[str] = field(default_factory=set)
    placed: list[Placed] = field(default_factory=list)
    _first: dict[str, Placed] = field(default_factory=dict)  # by the shape's own name

    def add(self, shapes: Mapping[str, Shape], owner: str) -> tuple[dict[str, str], list[Placed]]:
        """Take in the shapes of one schema.

        Args:
            shapes: Shapes by their own names, with all they refer to.
            owner: A prefix for names that are taken by another shape.

        Returns:
            The module's name for each shape, and what was added.
        """
        shared = {
            name for name, shape in shapes.items() if name in self._first and self._first[name].shape == shape
        }
        uses = {name: {ref for key in shapes[name].keys for ref in references(key.type)} for name in shapes}
        changed = True
        while changed:  # a shape is shared only if all it refers to is shared too
            changed = False
            for name in list(shared):
                links = self._first[name].links
                if any(ref not in shared or links[ref] != self._first[ref].name for ref in uses[name]):
                    shared.discard(name)
                    changed = True
        names = {
            name: self._first[name].name if name in shared else self._free(name, owner) for name in shapes
        }
        added = [
            Placed(names[name], shape, {ref: names[ref] for ref in uses[name]})
            for name, shape in shapes.items()
            if name not in shared
        ]
        for name, placed in zip((name for name in shapes if name not in shared), added, strict=True):
            self._first.setdefault(name, placed)
        self.placed += added
        return names, added

    def _free(self, name: str, owner: str) -> str:
        found = name if name not in self.taken else free(f"{owner}{name}", self.taken)
        self.taken.add(found)
        return found


def typed_dict(
    placed: Placed, spelling: Spelling, refer: Refer, comment: Callable[[Key], str] | None = None
) -> str:
    """The declaration of one shape as a TypedDict.

    Args:
        placed: The shape and its name.
        spelling: How types are spelled.
        refer: How the module's shape names are spelled, given the module's own name.
        comment: What to say behind a key, without `#`; one line, already safe to show.
    """
    keys = placed.shape.keys
    needed = sum(key.required for key in keys)
    total = 2 * needed >= len(keys)
    by_call = any(_hides(key.name) or key.name in placed.links.values() for key in keys)
    total_text = "" if total else ", total=False"
    base = f"{spelling.typing}TypedDict"
    lines = [
        f'{placed.name} = {base}("{placed.name}", {{'
        if by_call
        else f"class {placed.name}({base}{total_text}):"
    ]
    for key in keys:
        kind = spelling.write(key.type, lambda name: refer(placed.links[name]))
        if by_call and SHAPE in key.type:
            kind = quoted(kind, len(kind) * 10)  # evaluated where it stands, maybe before the name exists
            if "\\" in kind:  # no type checker reads a quoted type with an escape in it
                kind = f"{spelling.typing}Any"
        if key.required != total:
            kind = f"{spelling.typing}{'Required' if key.required else 'NotRequired'}[{kind}]"
        end = "," if by_call else ""
        name = quoted(key.name, 10_000) if by_call else key.name
        said = comment(key) if comment else ""
        lines.append(f"    {name}: {kind}{end}{f'  # {said}' if said else ''}")
    if by_call:
        lines.append(f"}}{total_text})")
    elif not keys:
        lines.append("    pass")
    return "\n".join(lines)


def _hides(key: str) -> bool:
    """Whether a key cannot stand in a class body, or would mean something else there."""
    return (
        not (key.isascii() and key.isidentifier())
        or keyword.iskeyword(key)
        or key in WORDS
        or key[:2] == "__"
    )
