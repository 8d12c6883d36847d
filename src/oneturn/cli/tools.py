"""`oneturn tools`: what there is to call, what may be called, and how."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..types import Detail, Effect, Tool
from . import learn, pins
from .common import (
    AllowOption,
    AppOption,
    ConfigOption,
    JsonOption,
    Verbose,
    exits,
    how_to_allow,
    note,
    opened,
    prepare,
    require_tools,
    unmatched,
    write,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..tools.scope import Scope
    from .common import Prepared

tools = typer.Typer(help="List, search and describe the tools a script may call.", no_args_is_help=True)

tools.command("learn")(learn.learn)
tools.command("pin")(pins.pin)
tools.command("diff")(pins.diff)
tools.command("accept")(pins.accept)

_SUMMARY = 100  # characters of a description in a list
_ORIGINS = {  # who says what effect a tool has: a mark for a narrow table, and what it means
    "annotations": ("s", "its server"),
    "configuration": ("c", "the configuration"),
    "decorator": ("d", "its decorator"),
    "method": ("m", "its HTTP method"),
    "default": ("?", "nobody"),
}

NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", help="Only tools in this namespace or below it.")
]
EffectOption = Annotated[Effect | None, typer.Option("--effect", help="Only tools with this effect.")]
SourceOption = Annotated[str | None, typer.Option("--source", help="Only tools of this source.")]
LabelOption = Annotated[str | None, typer.Option("--label", help="Only tools with this label.")]


@tools.command("list")
def list_tools(
    namespace: NamespaceOption = None,
    effect: EffectOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also tools that exist and are not allowed, or are held.")
    ] = False,
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """List the tools a script may call."""
    with exits(as_json):
        prepared = prepare(app, config, allow)
        built = prepared.app
        asyncio.run(_open(built, verbose))
        allowed = {tool.name for tool in built.tools()}
        held = built.catalog.held
        candidates = list(built.catalog.tools if everything else built.tools())
        chosen = [tool for tool in candidates if _wanted(tool, namespace, effect)]
        waiting = [each.tool for each in held.values() if everything]
        chosen += [tool for tool in waiting if _wanted(tool, namespace, effect)]
        if as_json:
            write_json(
                {
                    "tools": [{**_line(tool), "allowed": tool.name in allowed} for tool in chosen],
                    "exist": len(built.catalog.tools),
                    "held": sorted(held),
                    "left_out": dict(built.catalog.dropped),
                    "problems": built.problems,
                }
            )
            return
        headers = ["tool", "effect", "source", "summary"]
        rows = [_row(tool) for tool in chosen]
        if everything:
            headers.append("allowed")
            said = {True: "yes", False: "no"}
            rows = [
                (*row, "held" if tool.name in held else said[tool.name in allowed])
                for row, tool in zip(rows, chosen, strict=True)
            ]
        styles = ["" if tool.name in allowed else "dim" for tool in chosen]
        write_table(headers, rows, styles=styles, cut="summary")
        if chosen and sys.stdout.isatty():
            write(f"\n{_legend(chosen)}\n")
        if not allowed:
            note(_nothing_allowed(prepared))
        if held:
            note(f"Held until somebody accepts it: {len(held):,} of the tools; see `oneturn tools diff`.")
        _tell_left_out(built.catalog.dropped, everything)


@tools.command("search")
def search_tools(
    queries: Annotated[list[str], typer.Argument(metavar="QUERY...", help="What the tool should do.")],
    namespace: NamespaceOption = None,
    effect: EffectOption = None,
    source: SourceOption = None,
    label: LabelOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most tools to show.")] = 10,
    detail: Annotated[
        Detail, typer.Option("--detail", help="How much to tell of each: names, signatures or full.")
    ] = "signatures",
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Find tools by what they do; the answer is the one a model gets."""
    with exits(as_json):
        prepared = prepare(app, config, allow)
        built = prepared.app
        asyncio.run(_open(built, verbose))
        view = built.view()
        try:
            result = view.search(
                queries, limit, effect=effect, namespace=namespace, source=source, label=label
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if as_json:
            found = [{**_line(match.tool), "score": round(match.score, 4)} for match in result.matches]
            write_json({"tools": found, "total": result.total, "problems": built.problems})
            return

        from ..metatools import search_text

        write(f"{search_text(result, len(view.scope.tools), detail, view.full)}\n")
        if not view.scope.tools:
            note(_nothing_allowed(prepared))


@tools.command("show")
def show_tool(
    name: Annotated[str, typer.Argument(help="The tool's name.")],
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Show everything about one tool."""
    with exits(as_json):
        prepared = prepare(app, config, allow)
        built = prepared.app
        asyncio.run(_open(built, verbose))
        view = built.view()
        tool = view.scope.get(name)
        if tool is None:
            raise ConfigError(_not_there(prepared, view.scope, name))
        if as_json:
            write_json(
                {
                    **_line(tool),
                    "description": tool.description,
                    "original": tool.original,
                    "pin": built.catalog.pin(tool.name),
                    "input_schema": tool.input_schema,
                    "output_schema": tool.output_schema,
                }
            )
        else:
            write(f"{view.describe(tool.name)}\n")


async def _open(app: CodeMode, lines: bool) -> None:
    """Fill the catalog; one server that fails does not hide the tools of the others.

    Raises:
        SourceError: There is no other: every source failed.
    """
    async with opened(app, tolerate=True, lines=lines, warn=False):
        require_tools(app)
        for reason in app.problems.values():
            note(f"warning: {reason}")


def _wanted(tool: Tool, namespace: str | None, effect: Effect | None) -> bool:
    if effect is not None and tool.effect != effect:
        return False
    return namespace is None or f"{tool.namespace}.".startswith(f"{namespace.removeprefix('tools.')}.")


def _line(tool: Tool) -> dict[str, Any]:
    from ..tools.signature import signature

    return {
        "name": tool.name,
        "signature": signature(tool),
        "effect": tool.effect,
        "effect_from": tool.effect_from,
        "source": tool.source,
        "summary": summary(tool),
    }


def _row(tool: Tool) -> tuple[str, ...]:
    origin = tool.effect_from
    if sys.stdout.isatty():
        origin, _ = _ORIGINS.get(origin, (origin, ""))
    return tool.name, f"{tool.effect} ({origin})", tool.source, summary(tool)


def _legend(tools: Sequence[Tool]) -> str:
    used = {tool.effect_from for tool in tools}
    said = [f"({mark}) {who}" for origin, (mark, who) in _ORIGINS.items() if origin in used]
    return f"The effect is said by {', '.join(said)}."


def summary(tool: Tool) -> str:
    """The first sentence of a tool's description, on one line."""
    from ..tools.text import one_line

    first = one_line(tool.description.strip().partition("\n\n")[0], _SUMMARY * 10)
    sentence, dot, _ = first.partition(". ")
    return one_line(sentence + dot.strip(), _SUMMARY)


def _tell_left_out(dropped: Mapping[str, str], everything: bool) -> None:
    """Tools that cannot be offered at all, with the reasons when all was asked for."""
    if dropped and not everything:
        note(f"Cannot be offered: {len(dropped):,} more; --all says why.")
    for name, reason in dropped.items() if everything else ():
        note(f"left out: {name}: {reason}")


def _nothing_allowed(prepared: Prepared) -> str:
    app = prepared.app
    exist = app.catalog.tools
    if not exist and app.sources:
        return f"There are no tools here: {', '.join(app.sources)} offered none."
    if not exist:
        return "There are no tools here: name an app with --app, or servers with --config or an oneturn.toml."
    unmatched_ = unmatched(app, {"allow": prepared.settings.allow or (), "--allow": prepared.allow or ()})
    if unmatched_:
        return f"Nothing of {len(exist):,} is allowed (--all shows them). {'; '.join(unmatched_)}."
    example = f"{exist[0].namespace}.*" if exist[0].namespace else exist[0].name
    return (
        f"Nothing of {len(exist):,} is allowed (--all shows them). To allow some, such as '{example}': "
        f"{how_to_allow(prepared, example)}."
    )


def _not_there(prepared: Prepared, scope: Scope, name: str) -> str:
    app = prepared.app
    known = app.catalog.get(name.removeprefix("tools."))
    if known is not None:
        return f"{known.name} exists and is not allowed; to allow it: {how_to_allow(prepared, known.name)}."
    if name.removeprefix("tools.") in app.catalog.held:
        return f"{name} is held until its definition is accepted; see `oneturn tools diff {name}`."
    near = scope.nearest(name)
    return f"There is no tool {name}" + (f"; did you mean {' or '.join(near)}?" if near else ".")
