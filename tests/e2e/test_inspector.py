"""The MCP Inspector's command line as a client."""

import json
import os

import pytest
from running import SERVE, serving_http

pytestmark = pytest.mark.node

TOOLS = ["search_tools", "get_tool_info", "execute_code"]
CODE = "a = await add(19, 23)\nprint(a)\n{'answer': a}"


@pytest.fixture
def app_file(tmp_path):
    path = tmp_path / "tools_of_mine.py"
    path.write_text(
        "from oneturn import CodeMode\n"
        "app = CodeMode(allow=['*'])\n"
        "@app.tool(effect='read')\n"
        "def add(a: int, b: int) -> int:\n"
        "    return a + b\n"
    )
    return f"{path}:app"


def inspect(node, home, target, *options):
    command = node.command("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
    return json.loads(node.run([*command, "--cli", *target, *options], home))


def check(node, home, target):
    listed = inspect(node, home, target, "--method", "tools/list")
    assert [tool["name"] for tool in listed["tools"]] == TOOLS
    call = ["--method", "tools/call", "--tool-name", "execute_code", "--tool-arg", f"code={CODE}"]
    result = inspect(node, home, target, *call)
    assert result["content"][0]["text"] == '{"answer":42}\nprinted:\n42'
    assert result["structuredContent"]["value"] == {"answer": 42}
    assert not result.get("isError")


def test_over_stdio(node, tmp_path, app_file):
    config = tmp_path / "mcp.json"
    server = {"command": SERVE[0], "args": [*SERVE[1:], "--app", app_file], "env": dict(os.environ)}
    config.write_text(json.dumps({"mcpServers": {"oneturn": server}}))
    check(node, tmp_path, ["--config", str(config), "--server", "oneturn"])


def test_over_http(node, tmp_path, app_file):
    with serving_http("--app", app_file) as url:
        check(node, tmp_path, [url, "--transport", "http"])
