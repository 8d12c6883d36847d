"""Names a script can write: every source's own spelling becomes a valid Python identifier.

The rule is fixed and has no state, so the same tool has the same name in every process. Two
spellings may meet in one name; whoever builds a set of names refuses that, it is never settled
silently by order.
"""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Mapping
from typing import Any

from ..errors import ToolDefinitionError
from .schema import properties
from .text import visible

RESERVED = frozenset({"tools", "runtime"})
"""Names every script already has; no tool, namespace or source may be called so."""

_SCRIPT_WORDS = frozenset({"final_answer", "ToolError"})  # bare names with a meaning of their own in a script
_MAX_NAME = 256  # characters of one name; a script has to write it out
_UNASSIGNABLE = frozenset({*keyword.kwlist, "__debug__"})


def identifier(original: str) -> str:
    """A valid Python identifier as close to `original` as can be.

    Hidden characters are left out, text is NFKC-normalised, as Python does with identifiers, and
    every character an identifier cannot hold becomes `_`; a leading digit gets a `_` before it and
    a keyword one after it.
    `get-weather` gives `get_weather`, `2fa` gives `_2fa`, `class` gives `class_`.

    Raises:
        ToolDefinitionError: The name is empty, only blanks, or longer than 256 characters.
    """
    _check_length(original)
    text = unicodedata.normalize("NFKC", visible(original)).strip()
    if not text:
        raise ToolDefinitionError("A tool, namespace or parameter has an empty name; give it a name.")
    name = "".join(char if f"_{char}".isidentifier() else "_" for char in text)
    if not name.isidentifier():
        name = f"_{name}"
    return f"{name}_" if name in _UNASSIGNABLE else name


def _check_length(name: str) -> None:
    if len(name) > _MAX_NAME:
        raise ToolDefinitionError(
            f"The name {name[:40]!r}… has {len(name):,} characters; use at most {_MAX_NAME}."
        )


def dotted(namespace: str, original: str) -> str:
    """The full name of a tool: `namespace` may hold dots, those of `original` become `_`.

    Raises:
        ToolDefinitionError: A part is empty or too long, or a part or the whole name is reserved.
    """
    _check_length(namespace)
    parts = [identifier(part) for part in namespace.split(".")] if namespace else []
    parts.append(identifier(original))
    name = ".".join(parts)
    reserved = RESERVED.intersection(parts) or _SCRIPT_WORDS.intersection([name])
    if reserved:
        raise ToolDefinitionError(
            f"{min(reserved)!r} is a name scripts already have, so {name!r} cannot be offered; "
            "choose another name."
        )
    return name


def parameter_names(schema: Mapping[str, Any]) -> dict[str, str]:
    """How a script spells each parameter: Python name to the schema's own name, in schema order.

    Raises:
        ToolDefinitionError: A name is empty, or two of them become the same Python name.
    """
    names: dict[str, str] = {}
    for original in properties(schema):
        name = identifier(original)
        if name in names:
            raise ToolDefinitionError(
                f"Parameters {names[name]!r} and {original!r} would both be called {name!r}; "
                "rename one of them."
            )
        names[name] = original
    return names
