"""The one rule by which a tool's result becomes a value in the script.

1. Structured content is the value, as it is.
2. Otherwise the value is made from the blocks of the result. No block is `None`; one block is
   that block's value; several are the list of each one's value.
3. A block of text is text. It becomes a parsed value only when the tool declares no output
   schema and the *whole* text is a JSON object or array. A text such as `3`, `true` or `"x"`
   stays text, and so does JSON with anything before or after it.
4. Bytes (an image, audio, a file) are kept as an artifact, and the value is its handle:
   `{"artifact": ..., "mime": ..., "bytes": ...}`. A link is `{"uri": ..., "name": ..., "mime": ...}`.

A tool can be configured otherwise: with `results = "text"` its text is always text, also when
structured content came with it; with `results = "json"` its text must be JSON, of any kind, and
a text that is not is a ToolError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ToolError
from ..types import Tool
from .base import Blob, Block, Link, Result, Text

Keep = Callable[[Blob], Mapping[str, Any]]
"""Puts bytes into the artifact store and gives the handle a script sees."""


def value_of(tool: Tool, result: Result, keep: Keep) -> Any:
    """The value a script gets for `result`, by the rule above.

    Raises:
        ToolError: The tool has `results = "json"` and a text of it is not JSON.
    """
    as_text = tool.results == "text" and any(isinstance(block, Text) for block in result.blocks)
    if result.has_structured and not as_text:
        return result.structured
    values = [_block_value(tool, block, keep) for block in result.blocks]
    if not values:
        return None
    return values[0] if len(values) == 1 else values


def _block_value(tool: Tool, block: Block, keep: Keep) -> Any:
    if isinstance(block, Blob):
        return keep(block)
    if isinstance(block, Link):
        return {"uri": block.uri, "name": block.name, "mime": block.mime}
    if tool.results == "json":
        return _strict(tool, block.text)
    if tool.results == "auto" and tool.output_schema is None:
        return _lenient(block.text)
    return block.text


def _strict(tool: Tool, text: str) -> Any:
    try:
        return _parse(text)
    except (ValueError, RecursionError):
        raise ToolError(
            f"{tool.name} answered with text that is not JSON, which its setting results = 'json' demands; "
            "set it to 'auto' or 'text'."
        ) from None


def _lenient(text: str) -> Any:
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] not in ("{}", "[]"):
        return text
    try:
        return _parse(stripped)
    except (ValueError, RecursionError):
        return text


def _parse(text: str) -> Any:
    return json.loads(text, parse_constant=_not_json, parse_float=_finite)


def _not_json(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number out of range")
    return number
