"""`oneturn tokens`: what tools cost a model to read, told and drawn."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from oneturn.costs import listed
from oneturn.tokens import count

SVG = "{http://www.w3.org/2000/svg}"

MANY = """
from oneturn import CodeMode, Tool
from oneturn.testing import FakeSource

app = CodeMode(allow=["*"])
for at in range(30):
    tools = [
        Tool(f"do_{n}", "Does it <script>alert(1)</script> & more.\\u202e", {"type": "object", "properties": {
            f"parameter_{p}": {"type": "string", "description": "What it is about."} for p in range(n)}})
        for n in range(at)
    ]
    app.add_source(FakeSource(f"source <{at}>", lambda *_: None, tools=tools), namespace=f"ns_{at}")
"""


@pytest.fixture
def many(project):
    project.write("many.py", MANY)
    return project


def test_a_tool_is_counted_as_it_stands_in_a_list(project):
    ran = project.run("tokens", "--app", "shop:app", "--json")
    assert ran.code == 0, ran.err
    shown = {tool["tool"]: tool["tokens"] for tool in ran.data["tools"]}
    schema = json.loads(project.run("tools", "show", "crm.find", "--app", "shop:app", "--json").out)[
        "input_schema"
    ]
    assert shown["crm.find"] == count(listed("crm.find", "Find a customer. By name only.", schema))
    assert '"inputSchema":{' in listed("crm.find", "", schema)
    assert ran.data["plain"] == sum(shown.values()) == sum(each["tokens"] for each in ran.data["sources"])
    assert ran.data["count"] == len(shown) == 4


def test_the_sums_by_source_and_the_largest_tools(many):
    ran = many.run("tokens", "--app", "many:app", "--top", "3", "--json")
    data = ran.data
    assert data["count"] == sum(range(30))
    assert [tool["tool"] for tool in data["tools"]] == ["ns_29.do_28", "ns_28.do_27", "ns_29.do_27"]
    assert (data["sources"][0]["source"], data["sources"][0]["tools"]) == ("source <29>", 29)
    assert data["start"] < 1_000 < data["plain"]
    task = data["task"]
    assert task["tokens"] == task["search"] + task["info"] + task["script"] < 3_000
    assert len(many.run("tokens", "--app", "many:app", "--all", "--json").data["tools"]) == data["count"]


def test_a_person_gets_tables_and_a_summary(many):
    shown = many.terminal("tokens", "--app", "many:app")
    assert "ns_29.do_28" in shown
    assert "source <29>" in shown
    assert "and 425 more tools (--all shows them)" in shown
    assert re.search(r"plain listing: +\d\d,\d{3} tokens, the name, description and input schema", shown)
    assert re.search(r"Code Mode at start: +\d{3} tokens, \d\d\.\d times less", shown)
    assert re.search(r"one task: +\d[\d,]* tokens: search \d+, info \d+, script \d+", shown)


def test_without_an_allow_list_every_tool_is_counted_and_that_is_said(project):
    ran = project.run("tokens", "--app", "shop:open_app")
    assert ran.code == 0
    assert "ping" in ran.out
    assert "None of these tools is allowed yet" in ran.err


def test_so_few_tools_that_code_mode_reads_longer_is_said(project):
    assert "more than the tools themselves" in project.run("tokens", "--app", "shop:app").out


def test_only_allowed_tools_are_counted(project):
    ran = project.run("tokens", "--app", "shop:app", "--allow", "crm.*", "--json")
    assert {tool["tool"] for tool in ran.data["tools"]} == {"crm.find", "crm.rename"}
    assert ran.data["allowed"] is True


def test_no_tools_at_all(project):
    project.write("empty.py", "from oneturn import CodeMode\napp = CodeMode()\n")
    ran = project.run("tokens", "--app", "empty:app", "--svg", "empty.svg", "--json")
    assert (ran.code, ran.data["plain"], ran.data["task"]) == (0, 0, None)
    ET.fromstring((project.folder / "empty.svg").read_text())


def test_every_source_that_fails_is_an_error(project, broken_server):
    path = project.servers(broken=broken_server)
    assert project.run("tokens", "--config", str(path)).code == 3


def test_a_picture_has_a_bar_for_each_source_and_nothing_that_acts(many):
    ran = many.run("tokens", "--app", "many:app", "--svg", "tokens.svg", "--json")
    text = (many.folder / "tokens.svg").read_text(encoding="utf-8")
    picture = ET.fromstring(text)
    bars = {
        group.find(f"{SVG}title").text: float(group.find(f"{SVG}rect").get("width"))
        for group in picture.iter(f"{SVG}g")
    }
    names = [name.partition(":")[0] for name in bars]
    assert names[:2] == ["oneturn, at start", "source <29>"]
    assert names[-1] == "9 other sources"  # one of the 30 has no tools
    assert len(names) == 22
    longest = max(bars.values())
    assert all(0 < width <= longest for width in bars.values())
    tokens = {each["source"]: each["tokens"] for each in ran.data["sources"]}
    first, second = [bars[name] for name in list(bars)[1:3]]
    assert second / first == pytest.approx(tokens["source <28>"] / tokens["source <29>"], abs=0.01)
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<(script|image|foreignObject|a)\b|href|url\(|@import|\son\w+=", text)
    assert text.count("http") == 1  # the name of the format


def test_a_page_is_whole_and_escapes_what_strangers_wrote(many):
    many.run("tokens", "--app", "many:app", "--html", "tokens.html", "--top", "2")
    text = (many.folder / "tokens.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "source &lt;29&gt;" in text
    assert "<td>ns_29.do_28</td>" in text
    assert "ns_27.do_26" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"<script|<link|<img|href|url\(|\son\w+=", text)


def test_a_file_that_cannot_be_written_is_said(project):
    ran = project.run("tokens", "--app", "shop:app", "--svg", "no/such/folder/x.svg")
    assert ran.code == 2
    assert "Cannot write" in ran.err
