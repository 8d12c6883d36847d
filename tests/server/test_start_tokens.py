"""What a model reads before it does anything, as clients list it: under 1,000 tokens for any catalog."""

import json

import pytest
from fastmcp import Client

from oneturn import CodeMode, Tool
from oneturn.metatools import START_TOKENS
from oneturn.server import build_server
from oneturn.testing import FakeSource
from oneturn.tokens import count

CATALOGS = {
    "none": ([], "No tools"),
    "a few": (["crm.find", "crm.save", "now"], "Tools: crm.find, crm.save, now"),
    "as many as can be named": ([f"crm.do_{at}" for at in range(22)], "crm.do_21"),
    "one namespace of 100,000": ([f"crm.tool_{at}" for at in range(100_000)], "crm (100,000)"),
    "tools in thousands of namespaces": (
        [f"service_{at % 7_000}.tool_{at}" for at in range(21_000)],
        ", and 6,9",
    ),
    "thousands of nested namespaces": (
        [f"cloud.service_{at % 5_000}.tool_{at}" for at in range(20_000)] + ["time.now"],
        "cloud (20,000 in 5,000: service_0 4, ",
    ),
    "nested namespaces that can be told": (
        [f"github.{area}.do_{at}" for at in range(200) for area in ("actions", "issues", "repos")],
        "github (600: actions 200, issues 200, repos 200)",
    ),
    "huge names": ([f"{'n' * 90}_{at % 3_000}.{'t' * 90}_{at}" for at in range(6_000)], "6,000 tools"),
    "names no tokenizer likes": ([f"ⴰⵣⵓⵍ_{at}.ꙮꙮꙮꙮꙮꙮ_{at}" for at in range(2_000)], "2,000 tools"),
    "20,000 tools at the top level": ([f"tool_{at}" for at in range(20_000)], "top level (20,000)"),
}


@pytest.mark.parametrize("case", CATALOGS)
async def test_what_a_model_reads_at_start_is_bounded(case: str) -> None:
    names, told = CATALOGS[case]
    app = CodeMode(allow=["*"])
    source = FakeSource("many", lambda *_: None, tools=[Tool(name) for name in names])
    app.add_source(source, namespace="")
    async with app, Client(build_server(app)) as client:
        listed = [
            {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
            for tool in await client.list_tools()
        ]
    offered = ["search_tools", "get_tool_info", "execute_code", *(["resume_run"] if names else [])]
    assert [tool["name"] for tool in listed] == offered
    assert told in listed[2]["description"]
    # With blanks, as json.dumps has them by default, it is about 30 tokens longer than without.
    assert sum(count(json.dumps(tool, ensure_ascii=False)) for tool in listed) < START_TOKENS
