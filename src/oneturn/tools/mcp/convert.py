"""From MCP's types to ours: tools, results, and the one-value wrapping that servers add.

MCP wants an object as structured content, so both FastMCP and the official Python SDK wrap
anything else as `{"result": value}`. Scripts see the value, and stubs its own schema.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import mcp_types as wire

from ...errors import ToolError
from ...types import Effect, Tool
from ..base import Blob, Block, Link, Result, Text
from .config import McpServer

_ERROR_CHARS = 4_000


def to_tool(tool: wire.Tool, server: McpServer) -> Tool:
    """Our noun for a listed tool, by the server's own name."""
    hints = tool.annotations if server.trust_annotations else None
    effect = _annotated_effect(hints)
    output = tool.output_schema
    return Tool(
        name=tool.name,
        description=tool.description or tool.title or "",
        input_schema=tool.input_schema,
        output_schema=_unwrapped_schema(output) if output is not None and is_wrapped(output) else output,
        effect=effect or "destructive",
        effect_from="annotations" if effect else "default",
        source=server.name,
        original=tool.name,
        results=server.results,
        timeout=server.timeout,
        idempotent=hints is not None and hints.idempotent_hint is True and not hints.read_only_hint,
    )


def _annotated_effect(hints: wire.ToolAnnotations | None) -> Effect | None:
    if hints is None or (hints.read_only_hint is None and hints.destructive_hint is None):
        return None
    if hints.read_only_hint:
        return "read"
    return "write" if hints.destructive_hint is False else "destructive"


def is_wrapped(schema: Mapping[str, Any]) -> bool:
    """Whether an output schema is only a wrapper around one `result`."""
    shown = schema.get("properties")
    if not isinstance(shown, Mapping) or set(shown) != {"result"}:
        return False
    return bool(schema.get("x-fastmcp-wrap-result")) or str(schema.get("title", "")).endswith("Output")


def _unwrapped_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = schema["properties"]["result"]
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    return {**shared, **inner} if isinstance(inner, Mapping) else {}


def to_result(reply: wire.CallToolResult, tool: str, *, wrapped: bool) -> Result:
    """Our noun for what a call brought back.

    Raises:
        ToolError: The server reports a failure (its text, at most 4,000 characters), or sent
            binary content that is not base64.
    """
    blocks = tuple(_to_blocks(reply.content, tool))
    if reply.is_error:
        text = "\n".join(block.text for block in blocks if isinstance(block, Text)).strip()
        raise ToolError(text[:_ERROR_CHARS] or f"The tool '{tool}' failed without saying why.")
    content: Any = reply.structured_content
    if content is None:
        return Result(blocks=blocks)
    notes = (reply.meta or {}).get("fastmcp")
    wrapped = wrapped or (isinstance(notes, Mapping) and bool(notes.get("wrap_result")))
    if wrapped and isinstance(content, Mapping) and set(content) == {"result"}:
        content = content["result"]
    return Result(structured=content, has_structured=True, blocks=blocks)


def _to_blocks(content: Iterable[wire.ContentBlock], tool: str) -> Iterable[Block]:
    for block in content:
        match block:
            case wire.TextContent():
                yield Text(block.text)
            case wire.ImageContent() | wire.AudioContent():
                yield Blob(_decoded(block.data, tool), block.mime_type)
            case wire.ResourceLink():
                yield Link(str(block.uri), block.name, block.mime_type or "")
            case wire.EmbeddedResource(resource=wire.TextResourceContents() as resource):
                yield Text(resource.text)
            case wire.EmbeddedResource(resource=wire.BlobResourceContents() as resource):
                mime = resource.mime_type or "application/octet-stream"
                yield Blob(_decoded(resource.blob, tool), mime, str(resource.uri))


def _decoded(data: str, tool: str) -> bytes:
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError) as error:
        raise ToolError(f"The tool '{tool}' returned binary content that is not valid base64.") from error
