"""The whole thing on real input: one script composes three MCP servers and Python functions.

`make demo` runs this. It starts the real servers (git and time from PyPI, filesystem from npm), lets
one script write a report about this repository's history, and then does the same work the usual
way, one tool call per turn, to count what both cost in tokens. (Models that may ask for several calls
in one turn need fewer turns; what passes through the context stays the same.)
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Table

from oneturn import CodeMode, Outcome
from oneturn.metatools import (
    GET_TOOL_INFO,
    SEARCH_TOOLS,
    execute_description,
    outcome_text,
    search_text,
)
from oneturn.tokens import count

HOME = Path(__file__).parent.parent
FILESYSTEM = HOME / "tests/node/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
TEMPORARY = Path(tempfile.gettempdir()).resolve()  # a link would be outside what the file server allows
console = Console()

app = CodeMode(
    "demo",
    allow=["git.git_log", "time.convert_time", "files.write_file", "files.list_directory", "commits.*"],
    effects={"git.git_log": "read", "time.*": "read", "files.list_*": "read", "files.write_file": "write"},
)


@app.tool(namespace="commits", effect="read")
def parse(log: str) -> list[dict[str, str]]:
    """Commits in the text of a git log, newest first.

    Args:
        log: What `git_log` returned.
    """
    field = re.compile(r"^(Commit|Author|Date|Message): (.*)$", re.MULTILINE)
    commits: list[dict[str, str]] = []
    for key, value in field.findall(log):
        if key == "Commit":
            commits.append({})
        if commits:
            commits[-1][key.lower()] = value.strip("'\"")
    return commits


@app.tool(namespace="commits", effect="read")
async def about(message: str) -> str:
    """What a commit is about, by the first of these that its message mentions, or "other"."""
    topics = ("test", "doc", "server", "tool", "script", "sandbox", "run", "command", "value")
    return next((topic for topic in topics if topic in message.lower()), "other")


SCRIPT = """
import asyncio
from datetime import datetime, timezone

log, place = await asyncio.gather(
    git.git_log(repo_path=%(repo)r, max_count=15),
    files.list_directory(path=%(out)r),
)
history = await commits.parse(log)
topics = await asyncio.gather(*[commits.about(commit["message"]) for commit in history])

async def in_tokyo(commit):
    clock = datetime.fromisoformat(commit["date"]).astimezone(timezone.utc).strftime("%%H:%%M")
    told = await tools.time.convert_time(source_timezone="UTC", time=clock, target_timezone="Asia/Tokyo")
    return told["target"]["datetime"][11:16]

hours = await asyncio.gather(*[in_tokyo(commit) for commit in history])

lines = ["# History", ""]
for commit, topic, hour in zip(history, topics, hours):
    lines.append(f"- {hour} in Tokyo ({topic}): {commit['message'][:60]}")
await files.write_file(path=%(out)r + "/report.md", content="\\n".join(lines))

counts = {topic: topics.count(topic) for topic in sorted(set(topics))}
return {"commits": len(history), "topics": counts, "report": "report.md"}
"""


def repository(folder: Path) -> Path:
    """This checkout if it is one, else a small repository made for the occasion."""
    inside = subprocess.run(["git", "-C", str(HOME), "rev-parse", "HEAD"], capture_output=True, check=False)
    if inside.returncode == 0:
        return HOME
    made = folder / "repository"
    git = ["git", "-C", str(made), "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "init", "-q", str(made)], check=True)
    for message in ("Add the parser", "Fix a crash on empty input", "Docs: explain the parser"):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True)
    return made


def add_servers(folder: Path) -> list[str]:
    """The MCP servers, as far as this machine can run them; the names of those it cannot."""
    app.add_mcp("git", [sys.executable, "-m", "mcp_server_git"])
    app.add_mcp("time", [sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC"])
    if shutil.which("node") and FILESYSTEM.exists():
        app.add_mcp("files", ["node", str(FILESYSTEM), str(folder)])
        return []
    return ["files (needs Node.js and `make node`)"]


class OneCallPerTurn:
    """The usual way: the model calls a tool, reads the whole result, calls the next.

    Counts tokens only; the decisions a model would take are written out in `do_the_work`.
    """

    def __init__(self) -> None:
        definitions = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
            for tool in app.tools()
        ]
        self.definitions = count(json.dumps(definitions))
        self.turns = 0
        self.history = 0  # what is in the context so far, definitions apart
        self.read = 0  # what the model has read over all turns

    async def call(self, name: str, **arguments: Any) -> Any:
        """One turn."""
        outcome = await app.call(name, arguments)
        self.turns += 1
        self.read += self.definitions + self.history
        self.history += count(json.dumps({"name": name, "arguments": arguments})) + count(_text(outcome))
        return outcome.value

    async def do_the_work(self, repo: str, out: str) -> None:
        """The script's work, call by call."""
        log = await self.call("git.git_log", repo_path=repo, max_count=15)
        await self.call("files.list_directory", path=out)
        for commit in await self.call("commits.parse", log=log):
            await self.call("commits.about", message=commit["message"])
            clock = datetime.fromisoformat(commit["date"]).astimezone(UTC).strftime("%H:%M")
            await self.call(
                "time.convert_time", source_timezone="UTC", time=clock, target_timezone="Asia/Tokyo"
            )
        report = read(Path(out) / "report.md")
        await self.call("files.write_file", path=f"{out}/report.md", content=report)
        self.read += self.definitions + self.history  # the turn that answers


def _text(outcome: Outcome) -> str:
    return outcome.value if isinstance(outcome.value, str) else json.dumps(outcome.value)


def code_mode_tokens(script: str, outcome: Outcome) -> tuple[int, int]:
    """(in the context at the end, read over all turns) of a search, an execute and the answer."""
    scope = app.view().scope
    tools = sum(count(t) for t in (SEARCH_TOOLS.description, GET_TOOL_INFO.description)) + count(
        execute_description(scope)
    )
    queries = ["git log", "convert time zone", "write file", "commits"]
    search = count(json.dumps(queries)) + count(search_text(app.search(queries), len(scope.tools)))
    execute = count(script) + count(outcome_text(outcome))
    return tools + search + execute, 3 * tools + 2 * search + execute


def read(path: Path) -> str:
    """A small file."""
    return path.read_text(encoding="utf-8")


def show_costs(script: str, outcome: Outcome, usual: OneCallPerTurn) -> None:
    """The two ways side by side."""
    context, read = code_mode_tokens(script, outcome)
    table = Table(title="The same work, in tokens (o200k)", title_justify="left")
    for heading in ("", "turns", "in the context at the end", "read over all turns"):
        table.add_column(heading, justify="left" if not heading else "right")
    usual_context = usual.definitions + usual.history
    table.add_row("one call per turn", str(usual.turns + 1), f"{usual_context:,}", f"{usual.read:,}")
    table.add_row("oneturn (search, execute, answer)", "3", f"{context:,}", f"{read:,}")
    table.add_row("", "", f"{context / usual_context:.1%}", f"{read / usual.read:.1%}")
    console.print(table)


def show_calls(outcome: Outcome) -> None:
    """What the script called, as the journal of a run will show it."""
    groups: dict[tuple[str, str], list[str]] = {}
    for call in outcome.calls:
        groups.setdefault((call.tool, call.effect), []).append(call.status)
    title = f"{len(outcome.calls)} calls in one turn, {outcome.seconds:.2f} s"
    table = Table(title=title, title_justify="left")
    for heading in ("tool", "effect", "calls", "ok"):
        table.add_column(heading)
    for (tool, effect), statuses in groups.items():
        table.add_row(tool, effect, str(len(statuses)), str(statuses.count("ok")))
    console.print(table)


async def main() -> int:
    """Run the demo; 0 when everything worked."""
    with tempfile.TemporaryDirectory(dir=TEMPORARY) as temporary:
        folder = Path(temporary)
        out = folder / "out"
        out.mkdir()
        missing = add_servers(folder)
        if missing:
            console.print(f"[yellow]Not here: {escape(', '.join(missing))}[/]")
            return 1
        places = {"repo": str(repository(folder)), "out": str(out)}
        script = (SCRIPT % places).strip()
        with console.status("starting the MCP servers…"):
            await app.open(progress=lambda name: console.print(f"[green]✓[/] {escape(name)}"))
        try:
            console.print(Syntax(script, "python", word_wrap=True))
            outcome = await app.execute(script)
            console.print(f"[bold]{outcome.status}[/]")
            console.print(outcome_text(outcome), markup=False)
            show_calls(outcome)
            if not outcome.ok:
                return 1
            for line in read(out / "report.md").splitlines()[:8]:
                console.print(line, markup=False, no_wrap=True, overflow="ellipsis")
            usual = OneCallPerTurn()
            await usual.do_the_work(places["repo"], places["out"])
            show_costs(script, outcome, usual)
        finally:
            await app.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
