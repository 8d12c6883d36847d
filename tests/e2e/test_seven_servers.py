"""Seven real MCP servers as one catalog: listed, searched, and used together by one script."""

import http.server
import json
import subprocess
import sys
import threading

import pytest

from oneturn import CodeMode
from oneturn.metatools import SEARCH_TOOLS, execute_description
from oneturn.tokens import count

SERVERS = ("everything", "fetch", "files", "git", "memory", "thinking", "time")


class Page(http.server.BaseHTTPRequestHandler):
    """One page, and a robots.txt that allows it."""

    def do_GET(self):
        text = b"User-agent: *\nAllow: /\n" if self.path == "/robots.txt" else b"The answer is forty-two."
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


@pytest.fixture
def page():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/page"
    server.shutdown()
    server.server_close()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "README").write_text("hello\n")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "First commit"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
async def seven(node, tmp_path, repository):
    app = CodeMode(allow=["*"], approve="never")
    app.add_mcp("everything", node.command("@modelcontextprotocol/server-everything"))
    app.add_mcp("files", [*node.command("@modelcontextprotocol/server-filesystem"), str(tmp_path)])
    app.add_mcp(
        "memory",
        node.command("@modelcontextprotocol/server-memory"),
        env={"MEMORY_FILE_PATH": str(tmp_path / "memory.json")},
    )
    app.add_mcp("thinking", node.command("@modelcontextprotocol/server-sequential-thinking"))
    app.add_mcp("git", [sys.executable, "-m", "mcp_server_git", "--repository", str(repository)])
    app.add_mcp("time", [sys.executable, "-m", "mcp_server_time"])
    app.add_mcp("fetch", [sys.executable, "-m", "mcp_server_fetch", "--allow-private-ips"])
    async with app:
        yield app


@pytest.mark.node
async def test_one_catalog_found_at_once_and_used_by_one_script(seven, page, tmp_path):
    app = seven
    assert tuple(sorted({tool.source for tool in app.tools()})) == SERVERS
    assert count(SEARCH_TOOLS.description) + count(execute_description(app.view().scope)) < 1_000
    for query, wanted in {
        "convert a time to another time zone": "time.convert_time",
        "commit history": "git.git_log",
        "read a text file": "files.read_text_file",
        "remember an entity": "memory.create_entities",
        "fetch a web page": "fetch.fetch",
        "think step by step": "thinking.sequentialthinking",
    }.items():
        assert wanted in [match.tool.name for match in app.search(query, 5).matches], query
    outcome = await app.execute(
        f"""
import asyncio
log, tokyo, page, thought, total = await asyncio.gather(
    tools.git.git_log(repo_path={str(tmp_path / "repository")!r}, max_count=1),
    tools.time.convert_time(source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"),
    tools.fetch.fetch(url={page!r}),
    tools.thinking.sequentialthinking(
        thought="add", nextThoughtNeeded=False, thoughtNumber=1, totalThoughts=1
    ),
    tools.everything.get_sum(20, 22),
)
await tools.files.write_file(path={str(tmp_path / "notes.txt")!r}, content=page)
await tools.memory.create_entities(entities=[
    {{"name": "answer", "entityType": "number", "observations": [total]}}
])
graph = await tools.memory.read_graph()
{{
    "log": log,
    "tokyo": tokyo["target"]["datetime"],
    "thoughts": thought["totalThoughts"],
    "kept": graph["entities"][0]["observations"],
}}
""",
        timeout=60,
    )
    assert outcome.ok, outcome.error
    assert "First commit" in json.dumps(outcome.value["log"])
    assert "T21:00" in outcome.value["tokyo"]
    assert outcome.value["thoughts"] == 1
    assert "42" in outcome.value["kept"][0]
    assert "forty-two" in (tmp_path / "notes.txt").read_text()
    assert {call.tool.partition(".")[0] for call in outcome.calls} == set(SERVERS)
