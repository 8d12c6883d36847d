"""`oneturn tokens`: what your tools cost a model to read, listed plainly and behind Code Mode."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..types import Tool
from .common import (
    AllowOption,
    AppOption,
    ConfigOption,
    JsonOption,
    Verbose,
    exits,
    note,
    opened,
    prepare,
    require_tools,
    write,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..costs import SourceCost, TaskCost, ToolCost

_SLOW = 5_000  # tools that take about a second to count
_BARS = 20  # sources shown by themselves in a picture
_BASIS = "name, description and input schema of each tool, as MCP tools/list puts them into a context (o200k)"


@dataclass(frozen=True, slots=True)
class Report:
    """What was counted. `tools` has the largest first."""

    tools: Sequence[ToolCost]
    sources: Sequence[SourceCost]
    start: int
    task: TaskCost | None
    allowed: bool
    """Whether these are the tools that may be called; else none may be, and these are all there are."""

    @property
    def plain(self) -> int:
        """Tokens of the whole plain listing."""
        return sum(cost.tokens for cost in self.sources)


def tokens(
    top: Annotated[int, typer.Option("--top", min=0, help="The most tools to show, the largest first.")] = 10,
    everything: Annotated[bool, typer.Option("--all", help="Show every tool.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a bar chart to this SVG file.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with a bar chart to this file.")
    ] = None,
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Count what your tools cost a model to read."""
    with exits(as_json):
        built = prepare(app, config, allow).app
        report = asyncio.run(_counted(built, verbose))
        shown = report.tools if everything else report.tools[:top]
        for path, page in ((svg, False), (html, True)):
            if path is not None:
                _draw(path, report, shown, page)
        if as_json:
            write_json(_data(report, shown, built))
        else:
            _show(report, shown)
            if not report.allowed:
                note("None of these tools is allowed yet; `oneturn tools list` says how to allow some.")


async def _counted(app: CodeMode, lines: bool) -> Report:
    """Open the app and count. Raises SourceError when no source could be started."""
    from ..costs import by_source, listed, task_cost, tool_cost
    from ..metatools import EXECUTE_CODE, execute_description
    from ..server import build_server
    from ..tokens import count
    from ..tools.scope import Allow, Scope

    async with opened(app, tolerate=True, lines=lines):
        require_tools(app)
        tools = app.tools() or app.catalog.tools
        start = 0
        for meta in await build_server(app).list_tools(run_middleware=False):
            about = meta.description
            if meta.name == EXECUTE_CODE.name and not app.tools():
                options = app.options
                about = execute_description(
                    Scope(tools, [Allow.of("*")]),
                    full_python=options.full_python,
                    imports=options.imports,
                )
            start += count(listed(meta.name, about, meta.parameters))
        costs = [tool_cost(tool) for tool in _followed(tools)]
        task = task_cost(tools, costs)
    largest = sorted(costs, key=lambda cost: (-cost.tokens, cost.name))
    return Report(largest, by_source(costs), start, task, allowed=bool(app.tools()))


def _followed(tools: Sequence[Tool]) -> Iterator[Tool]:
    """The tools, with a progress bar on a terminal when there are many."""
    if len(tools) < _SLOW or not sys.stderr.isatty():
        yield from tools
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(tools, "Counting …", console=Console(stderr=True), transient=True)


def _show(report: Report, shown: Sequence[ToolCost]) -> None:
    write_table(
        ["source", "tools", "tokens"],
        [(each.source, f"{each.tools:,}", f"{each.tokens:,}") for each in report.sources],
    )
    if shown:
        write("\n")
        write_table(["tool", "tokens"], [(cost.name, f"{cost.tokens:,}") for cost in shown])
    if len(shown) < len(report.tools):
        write(f"\n… and {len(report.tools) - len(shown):,} more tools (--all shows them).\n")
    write(f"\n{_summary(report)}\n")


def _summary(report: Report) -> str:
    lines = [
        f"plain listing:      {report.plain:>9,} tokens, the {_BASIS}",
        f"Code Mode at start: {report.start:>9,} tokens{_less(report)}",
    ]
    if report.task is not None:
        task = report.task
        lines.append(
            f"one task:           {task.tokens:>9,} tokens: search {task.search:,}, info {task.info:,}, "
            f"script {task.script:,} (with {task.tool}; its result not counted)"
        )
    return "\n".join(lines)


def _less(report: Report) -> str:
    if report.plain <= report.start:
        return ", more than the tools themselves: with so few, `oneturn serve --mode plain` reads shorter"
    return f", {report.plain / report.start:,.1f} times less"


def _data(report: Report, shown: Sequence[ToolCost], app: CodeMode) -> dict[str, Any]:
    task = report.task
    return {
        "basis": _BASIS,
        "plain": report.plain,
        "start": report.start,
        "task": task
        and {
            "tool": task.tool,
            "search": task.search,
            "info": task.info,
            "script": task.script,
            "tokens": task.tokens,
        },
        "count": len(report.tools),
        "allowed": report.allowed,
        "sources": [
            {"source": each.source, "tools": each.tools, "tokens": each.tokens} for each in report.sources
        ],
        "tools": [{"tool": cost.name, "source": cost.source, "tokens": cost.tokens} for cost in shown],
        "problems": app.problems,
    }


def _draw(path: Path, report: Report, shown: Sequence[ToolCost], page: bool) -> None:
    """Write a picture. Raises ConfigError when the file cannot be written."""
    from . import chart

    title = f"{report.plain:,} tokens as a plain list of tools, {report.start:,} with oneturn"
    subtitle = (
        f"What a model reads of {len(report.tools):,} tools: names, descriptions and input schemas (o200k)"
    )
    bars = [chart.Bar("oneturn, at start", report.start, f"{report.start:,}", "ours")]
    bars += [
        chart.Bar(each.source, each.tokens, _label(each.tools, each.tokens))
        for each in report.sources[:_BARS]
    ]
    rest = report.sources[_BARS:]
    if rest:
        together = sum(each.tokens for each in rest)
        label = _label(sum(each.tools for each in rest), together)
        bars.append(chart.Bar(f"{len(rest):,} other sources", together, label))
    if page:
        sources = [(each.source, f"{each.tools:,}", f"{each.tokens:,}") for each in report.sources]
        tools = [(cost.name, f"{cost.tokens:,}") for cost in shown]
        tables = [chart.Table(("source", "tools", "tokens"), sources), chart.Table(("tool", "tokens"), tools)]
        text = chart.html(title, subtitle, bars, tables)
    else:
        text = chart.svg(title, subtitle, bars)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror}.") from None


def _label(tools: int, tokens: int) -> str:
    return f"{tokens:,} ({tools:,} tool{'' if tools == 1 else 's'})"
