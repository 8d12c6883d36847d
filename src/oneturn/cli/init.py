"""`oneturn init`: look at the MCP servers there are, and propose an `oneturn.toml` for them.

What a tool does to the world is judged by the server's own word where it gives one, and by the
verbs of the tool's name where it does not; what neither tells is `destructive`. A person confirms
it per server, and only reads are proposed for the allow-list.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, SourceError
from ..types import Effect, Tool
from .common import Exit, Verbose, exits, json_text, note, opened, write_table

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..tools.mcp import McpServer
    from .copied import Entry, Tables

_USUAL = (".mcp.json", "mcp.json", ".cursor/mcp.json", ".vscode/mcp.json")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# Verbs that may also change something (check out, resolve an issue, query with SQL) are in no list.
_READ_VERBS = """calculate compare convert count describe diff echo exists explain fetch find get grep
has head inspect is list ls parse ping preview read retrieve search show stat status summarize tail tree
validate view"""
_WRITE_VERBS = """add append apply archive assign attach branch checkout clone close comment commit copy
create edit enable fork import insert invite label link lock mark merge modify move notify open patch pin
post publish push put rename reopen reply request restore save send set share stage star start subscribe
submit tag unassign unlock update upload upsert watch write"""
_DESTRUCTIVE_VERBS = """abort cancel clear delete destroy disable drop erase eval exec execute flush
force kill overwrite purge remove reset revert revoke run shutdown stop terminate truncate uninstall
unlink unpublish wipe"""
_VERBS: tuple[tuple[Effect, frozenset[str]], ...] = (  # strongest first
    ("destructive", frozenset(_DESTRUCTIVE_VERBS.split())),
    ("write", frozenset(_WRITE_VERBS.split())),
    ("read", frozenset(_READ_VERBS.split())),
)


@dataclass(frozen=True)
class Proposal:
    """What one tool is proposed to be, and why."""

    tool: Tool
    effect: Effect
    reason: str


@dataclass(frozen=True)
class Plan:
    """What the file will say of one server."""

    server: str
    proposals: tuple[Proposal, ...]
    confirmed: bool


def init(
    mcp_config: Annotated[
        list[Path] | None,
        typer.Option(
            "--mcp-config",
            help=f"A JSON file with mcpServers; may be repeated. Without it: {', '.join(_USUAL)}.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start the servers and take every proposal.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an oneturn.toml.")] = False,
    verbose: Verbose = False,
) -> None:
    """Write an oneturn.toml for the MCP servers you have.

    It has the servers, an effect for each of their tools, and an allow-list of those that only read.
    """
    with exits():
        from ..config import FILE_NAME
        from .copied import Tables

        target = Path.cwd() / FILE_NAME
        if target.exists() and not force:
            raise ConfigError(f"{target} exists; --force overwrites it.")
        entries = _entries(mcp_config or [])
        servers = [entry.server for entry in entries]
        if not mcp_config and not yes:
            _confirm_start(servers)
        app = _app(servers)
        asyncio.run(_list(app, lines=verbose))
        if not app.catalog.tools:
            raise SourceError("No server could be started, so there is nothing to write.")
        plans = [_plan(app, server, yes) for server in servers if server.name not in app.problems]
        tables = Tables()
        text = _toml(entries, tables, plans)
        _check(text)
        target.write_text(text, encoding="utf-8")
        allowed = sum(each.effect == "read" for plan in plans if plan.confirmed for each in plan.proposals)
        note(
            f"Wrote {target}: {allowed} of {len(app.catalog.tools)} tools are allowed. Edit it to allow more."
        )
        for told in tables.notes:
            note(told)
        note(_next(target))


def _entries(given: Sequence[Path]) -> list[Entry]:
    """The servers of the files, without oneturn itself. A found file that does not fit is left out."""
    from .copied import is_oneturn, read_entries

    entries: list[Entry] = []
    files = given or [Path(name) for name in _USUAL if Path(name).is_file()]
    for path in files:
        try:
            found = read_entries(path)
        except ConfigError as error:
            if given:
                raise
            note(f"warning: {path} is left out: {error}")
            continue
        for entry in found:
            if is_oneturn(entry.server):
                note(f"{entry.server.name} of {path} is left out: it is oneturn itself")
        found = [entry for entry in found if not is_oneturn(entry.server)]
        known = {entry.server.name for entry in entries} & {entry.server.name for entry in found}
        if known and not given:
            note(f"warning: {path} is left out: {', '.join(sorted(known))} came up already")
            continue
        entries += found
    if not entries:
        raise ConfigError(
            f"There are no MCP servers in {', '.join(map(str, files)) or 'the usual files here'}; "
            "name a file with --mcp-config."
        )
    return entries


def _confirm_start(servers: Iterable[McpServer]) -> None:
    """A file that came with a cloned repository must not start programs unasked."""
    note("These servers were found and have to be started to list their tools:")
    for server in servers:
        address = server.address
        for secret in server.secrets():
            address = address.replace(secret, "[secret]")
        note(f"  {server.name}: {address}")
    if not _ask("Start them?"):
        raise typer.Exit(Exit.FAILED)


def _ask(question: str) -> bool:
    try:
        return typer.confirm(question, default=True, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise KeyboardInterrupt from None
        typer.echo(err=True)  # the question is still waiting for the end of its line
        raise ConfigError(
            "Nobody is here to answer: run `oneturn init --yes` to start the servers and take every proposal."
        ) from None


def _app(servers: Iterable[McpServer]) -> CodeMode:
    from ..app import CodeMode

    app = CodeMode("oneturn-init")
    for server in servers:
        # Only to see what it claims: the file written here never trusts a server as a whole.
        app.add_mcp_server(replace(server, trust_annotations=True))
    return app


async def _list(app: CodeMode, *, lines: bool) -> None:
    async with opened(app, tolerate=True, lines=lines):
        pass


def _plan(app: CodeMode, server: McpServer, yes: bool) -> Plan:
    tools = [tool for tool in app.catalog.tools if tool.source == server.name]
    proposals = tuple(propose(tool) for tool in tools)
    write_table(("tool", "effect", "why"), [(each.tool.name, each.effect, each.reason) for each in proposals])
    confirmed = yes or _ask(f"Take these effects for {server.name}?")
    return Plan(server.name, proposals, confirmed)


def propose(tool: Tool) -> Proposal:
    """The effect of a tool as its server claims it, or as the verbs of its name suggest it.

    The strongest verb anywhere in the name decides, so `get_or_create` is a write; a name without
    a known verb is destructive.
    """
    if tool.effect_from == "annotations":
        return Proposal(tool, tool.effect, "as the server claims")
    words = [word.lower() for word in _WORD.findall(tool.original or tool.name)]
    for effect, verbs in _VERBS:
        verb = next((word for word in words if word in verbs), None)
        if verb is not None:
            return Proposal(tool, effect, f"by its name: {verb}")
    return Proposal(tool, "destructive", "nothing tells")


def _toml(entries: Iterable[Entry], tables: Tables, plans: Sequence[Plan]) -> str:
    from ..tools.lockfile import quoted

    proposals = [(plan, each) for plan in plans for each in plan.proposals]
    lines = [
        "# Written by `oneturn init`. Scripts can call what `allow` names, and nothing else.",
        "allow = [",
    ]
    for plan, each in proposals:
        entry = f"{quoted(each.tool.name)},"
        if plan.confirmed and each.effect == "read":
            lines.append(f"    {entry}")
        else:
            lines.append(f"    # {entry}  # {each.effect if plan.confirmed else 'not confirmed'}")
    lines += ["]", "", "# read, write or destructive; a tool that is not listed is destructive."]
    lines.append("[effects]")
    for plan, each in proposals:
        mark = "" if plan.confirmed else "# "
        lines.append(f'{mark}{quoted(each.tool.name)} = "{each.effect}"  # {each.reason}')
    for server in entries:
        lines += ["", *tables.lines(server)]
    return "\n".join(lines) + "\n"


def _next(target: Path) -> str:
    client = {"mcpServers": {"oneturn": {"command": "oneturn", "args": ["serve", "--config", str(target)]}}}
    return (
        f"Next: check it with `oneturn doctor`, then give your MCP client this:\n{json_text(client)}\n"
        "and take the servers above out of it: oneturn starts them now."
    )


def _check(text: str) -> None:
    """Read the file back before it is written: names in it come from strangers."""
    import tomllib

    from ..config import parse

    parse(tomllib.loads(text))
