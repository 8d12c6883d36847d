"""Outcomes as MCP tool results.

What fails inside a run is a result marked as an error, never a protocol error, so that the model
reads it. Images and sounds a run's value points to travel along as content of their own, within
bounds; everything else stays behind its handle.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from fastmcp.tools.base import ToolResult
from mcp_types import AudioContent, ContentBlock, ImageContent, TextContent

from ..app import CodeMode
from ..errors import ArtifactNotFound
from ..journal.artifacts import artifact_ids
from ..metatools import outcome_data, outcome_text
from ..types import Outcome

_MEDIA = 8
_MEDIA_BYTES = 4 * 1024 * 1024


async def run_result(app: CodeMode, outcome: Outcome, max_tokens: int) -> ToolResult:
    """The result of a script or of `call_tool`: the outcome as text, as data, and its media."""
    # A value may be megabytes; measuring and cutting it must not hold up the event loop.
    text, data = await asyncio.to_thread(_both, outcome, max_tokens)
    content = [TextContent(type="text", text=text), *await _media(app, outcome)]
    failed = not outcome.ok and outcome.status != "waiting"
    return ToolResult(content=content, structured_content=data, is_error=failed)


async def direct_result(app: CodeMode, outcome: Outcome, max_tokens: int, *, structured: bool) -> ToolResult:
    """The result of a tool offered under its own name.

    Args:
        app: Where the artifacts of the value are.
        outcome: The outcome of the call.
        max_tokens: The most the text may count, and the structured content too.
        structured: Whether the tool promises structured content of its own schema. A value too
            large for it makes an error result, because a cut value would break that promise.
    """
    text, data = await asyncio.to_thread(_both, outcome, max_tokens)
    content: list[ContentBlock] = [TextContent(type="text", text=text), *await _media(app, outcome)]
    if not outcome.ok or not structured:
        waits = outcome.status == "waiting" and not structured
        return ToolResult(content=content, is_error=not outcome.ok and not waits)
    if data["cut"] and "value" in data["cut"]:
        note = "The call was made and succeeded, but its result is too large to be sent whole:"
        return ToolResult(content=[TextContent(type="text", text=note), *content], is_error=True)
    value = data["value"]
    return ToolResult(content=content, structured_content=value if isinstance(value, dict) else None)


def text_result(text: str) -> ToolResult:
    """A result that is nothing but text."""
    return ToolResult(content=[TextContent(type="text", text=text)])


def _both(outcome: Outcome, max_tokens: int) -> tuple[str, dict[str, Any]]:
    return outcome_text(outcome, max_tokens), outcome_data(outcome, max_tokens)


async def _media(app: CodeMode, outcome: Outcome) -> list[ContentBlock]:
    """The images and sounds the value points to, at most 8 of them and 4 MiB together."""
    shown: list[ContentBlock] = []
    room = _MEDIA_BYTES
    for artifact_id in artifact_ids(outcome.value):
        try:
            artifact = await app.artifact(artifact_id, caller=outcome.caller)
        except ArtifactNotFound:
            continue  # dropped for newer ones, or a script's own dict that looks like a handle
        kind = artifact.mime.partition("/")[0]
        if kind not in ("image", "audio") or len(artifact.data) > room:
            continue
        room -= len(artifact.data)
        data = base64.b64encode(artifact.data).decode("ascii")
        if kind == "image":
            shown.append(ImageContent(type="image", data=data, mime_type=artifact.mime))
        else:
            shown.append(AudioContent(type="audio", data=data, mime_type=artifact.mime))
        if len(shown) == _MEDIA:
            break
    return shown
