"""`oneturn tools learn`: calls tools that only read, once each, to learn what their results look like."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .common import (
    AllowOption,
    AppOption,
    ConfigOption,
    Exit,
    JsonOption,
    Prepared,
    Verbose,
    exits,
    how_to_allow,
    note,
    opened,
    prepare,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..tools.shapes import Observed, Shapes
    from ..types import Tool


def learn(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Tools to call; or --all.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every tool in scope that only reads and declares no result.")
    ] = False,
    arguments: Annotated[
        str | None,
        typer.Option("--args", metavar="JSON", help="Arguments for the one tool named, as a JSON object."),
    ] = None,
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Call tools that only read, and learn the shape of their results.

    The calls are real and pass the gate as any other. A tool that is not known to only read is never
    called. Without `--args` a tool is called with the defaults and examples of its own schema, and
    skipped when those do not give it all it needs. Only the shape of a result is kept.

    Exit code 1 when nothing was learned.
    """
    with exits(as_json):
        given = _given(names, everything, arguments)
        prepared = prepare(app, config, allow)
        report = asyncio.run(_learn(prepared, names or [], given, verbose))
        if as_json:
            write_json(report.data(prepared.app))
        else:
            _show(report)
        if not report.learned:
            raise typer.Exit(Exit.FAILED)


@dataclass
class _Report:
    """What became of each tool, by name in the order they were tried."""

    file: Path | None
    learned: dict[str, tuple[Tool, Observed]] = field(default_factory=dict)
    skipped: dict[str, tuple[Tool | None, str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def data(self, app: CodeMode) -> dict[str, Any]:
        """The report for other programs."""
        from ..tools.signature import signature

        return {
            "learned": [
                {"name": name, "shape": _shape(tool, seen), "calls": seen.calls, "schema": seen.schema}
                for name, (tool, seen) in self.learned.items()
            ],
            "skipped": [
                {"name": name, "reason": reason, "signature": signature(tool) if tool is not None else None}
                for name, (tool, reason) in self.skipped.items()
            ],
            "failed": [{"name": name, "error": error} for name, error in self.failed.items()],
            "file": str(self.file) if self.file is not None else None,
            "problems": dict(app.problems),
        }


def _given(names: list[str] | None, everything: bool, arguments: str | None) -> dict[str, Any] | None:
    if bool(names) == everything:
        raise ConfigError("Name the tools to call, or say --all; one of the two.")
    if arguments is None:
        return None
    if not names or len(names) != 1:
        raise ConfigError("--args are the arguments of one tool; name exactly one.")
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f'--args is not JSON: {error}. Write it as \'{{"path": "."}}\'.') from None
    if not isinstance(found, dict):
        raise ConfigError('--args must be a JSON object, as \'{"path": "."}\'.')
    return found


async def _learn(
    prepared: Prepared, names: Sequence[str], given: Mapping[str, Any] | None, lines: bool
) -> _Report:
    app, shapes = prepared.app, prepared.app.shapes
    if shapes is None:
        raise ConfigError("This app is told not to learn; set learn to true, in oneturn.toml or in its code.")
    report = _Report(shapes.file)
    async with opened(app, tolerate=True, lines=lines):
        ready: list[tuple[Tool, Mapping[str, Any]]] = []
        for tool in _chosen(prepared, names, report):
            arguments = given if given is not None else _own_arguments(tool)
            if reason := _unfit(tool):
                report.skipped[tool.name] = tool, reason
            elif arguments is None:
                report.skipped[tool.name] = tool, "it needs arguments; give them with --args"
            else:
                ready.append((tool, arguments))
        with _progress(len(ready), lines) as tell:
            for tool, arguments in ready:
                tell(tool.name)
                await _try(app, shapes, tool, arguments, report)
        shapes.save()
        if report.learned and shapes.file is None:
            note("note: this app keeps no state on disk, so what was learned ends with this command")
    return report


def _chosen(prepared: Prepared, names: Sequence[str], report: _Report) -> Iterator[Tool]:
    """The tools that are meant; those that cannot be called are reported."""
    app = prepared.app
    scope = app.view().scope
    if not names:
        yield from (tool for tool in scope.tools if tool.effect == "read" and tool.output_schema is None)
        return
    for name in dict.fromkeys(name.removeprefix("tools.") for name in names):
        tool = scope.get(name)
        if tool is not None:
            yield tool
        elif (known := app.catalog.get(name)) is not None:
            report.skipped[known.name] = None, f"it is not allowed; {how_to_allow(prepared, known.name)}"
        else:
            near = scope.nearest(name)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            report.skipped[name] = None, f"there is no such tool{meant}"


def _unfit(tool: Tool) -> str:
    if tool.effect != "read":
        return (
            f"its effect is {tool.effect}, and only tools that read are called to learn; if it only reads, "
            "say so under effects in the settings"
        )
    if tool.output_schema is not None:
        return "it declares what its result looks like"
    return ""


def _own_arguments(tool: Tool) -> dict[str, Any] | None:
    """What the tool's own schema gives for the parameters it needs; None when it does not give all."""
    from ..tools.schema import properties, required, resolve

    declared = properties(tool.input_schema)
    arguments: dict[str, Any] = {}
    for name in required(tool.input_schema):
        schema = resolve(declared.get(name), tool.input_schema)
        examples = schema.get("examples")
        if "default" in schema:
            arguments[name] = schema["default"]
        elif isinstance(examples, list) and examples:
            arguments[name] = examples[0]
        else:
            return None
    return arguments


async def _try(
    app: CodeMode, shapes: Shapes, tool: Tool, arguments: Mapping[str, Any], report: _Report
) -> None:
    before = shapes.get(tool)
    outcome = await app.call(tool.name, arguments)
    seen = shapes.get(tool)
    if outcome.error is not None:
        report.failed[tool.name] = outcome.error.message
    elif seen is None or (before is not None and seen.calls == before.calls):
        report.failed[tool.name] = "its result has no shape to learn from, or came from the cache"
    else:
        report.learned[tool.name] = tool, seen


@contextmanager
def _progress(total: int, lines: bool) -> Iterator[Any]:
    """Tells on stderr which tool is called: in one line at a terminal, in many when asked for."""
    done = 0

    def text(name: str) -> str:
        nonlocal done
        done += 1
        return f"Calling {name} ({done} of {total}) …"

    if not sys.stderr.isatty() or not total:
        yield lambda name: note(text(name)) if lines else None
        return

    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        yield lambda name: status.update(escape(text(name)))


def _show(report: _Report) -> None:
    from ..tools.signature import signature

    if report.learned:
        rows = [(name, _shape(tool, seen), str(seen.calls)) for name, (tool, seen) in report.learned.items()]
        write_table(["tool", "observed shape", "calls"], rows)
    for name, (tool, reason) in report.skipped.items():
        note(f"skipped {name}: {reason}" + (f"\n  {signature(tool)}" if tool is not None else ""))
    for name, error in report.failed.items():
        note(f"failed {name}: {error}")
    if not report.learned:
        note("Nothing was learned." if report.skipped or report.failed else _NOTHING)


_NOTHING = "No tool in scope only reads and declares no result: there is nothing to learn."


def _shape(tool: Tool, seen: Observed) -> str:
    from ..tools.signature import return_type

    return return_type(replace(tool, output_schema=seen.schema))
