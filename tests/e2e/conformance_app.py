"""The tools that the official conformance scenarios call, as an oneturn app."""

from collections.abc import Mapping
from typing import Any

from oneturn import Blob, CodeMode, Tool, ToolError
from oneturn.tools.base import Result, Text

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
WAV = b"RIFF" + (36).to_bytes(4, "little") + b"WAVEfmt " + bytes([16, 0, 0, 0, 1, 0, 1, 0]) + bytes(8)
SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}

app = CodeMode("conformance", allow=["*"])


@app.tool(effect="read")
def test_simple_text() -> str:
    """Answer with text."""
    return "This is a simple text response for testing."


@app.tool(effect="read")
def test_image_content() -> Blob:
    """Answer with an image."""
    return Blob(PNG, "image/png")


@app.tool(effect="read")
def test_audio_content() -> Blob:
    """Answer with a sound."""
    return Blob(WAV, "audio/wav")


@app.tool(effect="read")
def test_error_handling() -> None:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


class Schemas:
    """One tool whose schema is written by hand, as those of other people's servers are."""

    name = "schemas"

    async def open(self) -> None: ...

    async def list_tools(self) -> list[Tool]:
        tool = Tool("json_schema_2020_12_tool", "Takes a person.", SCHEMA_2020_12, source=self.name)
        return [tool]

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        return Result(blocks=(Text("ok"),))

    def on_change(self, notify: Any) -> None: ...

    def secrets(self) -> list[str]:
        return []

    async def close(self) -> None: ...


app.add_source(Schemas(), namespace="")
