"""What the commands share: options, exit codes, loading an app, output for people and machines."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, OneturnError, SandboxError, SourceError

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..settings import Settings

Patterns = Mapping[str, Iterable[str]]

_GAP = 2  # blanks between the columns of a table
_LEAST = 12  # a column narrower than this tells nobody anything

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Exit(IntEnum):
    """The exit codes, which scripts around us rely on."""

    OK = 0
    FAILED = 1
    CONFIG = 2
    SOURCE = 3
    SANDBOX = 4
    WAITING = 5
    TIMEOUT = 124
    INTERRUPTED = 130


def _log_to_stderr(wanted: bool) -> bool:
    if wanted:
        import logging

        logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True)
        logging.getLogger("oneturn").setLevel(logging.DEBUG)
    return wanted


Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", callback=_log_to_stderr, help="Log what happens to stderr.")
]
AppOption = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:NAME", help="A CodeMode object, as module:name or file.py:name."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="An oneturn.toml, or a JSON file with mcpServers. Without --app and --config, the oneturn.toml "
        "of this folder or of a parent in the same git work tree is used.",
    ),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="GLOB",
        help="Tools that may be called, such as 'github.*'; may be repeated. Where the settings have a list, "
        "both must allow.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for other programs.")]


# --- errors


@contextmanager
def exits(as_json: bool = False) -> Iterator[None]:
    """Turns what we raise on purpose, and Ctrl-C, into a message and an exit code."""
    try:
        yield
    except OneturnError as error:
        if as_json:
            write_json({"error": {"kind": type(error).__name__, "message": str(error)}})
        else:
            complain(str(error))
        raise typer.Exit(_code(error)) from None
    except KeyboardInterrupt:
        note("interrupted")
        raise typer.Exit(Exit.INTERRUPTED) from None


def _code(error: OneturnError) -> Exit:
    kinds = ((ConfigError, Exit.CONFIG), (SourceError, Exit.SOURCE), (SandboxError, Exit.SANDBOX))
    return next((code for kind, code in kinds if isinstance(error, kind)), Exit.FAILED)


# --- the app


@dataclass(frozen=True)
class Prepared:
    """An app that is described but not started, and where its settings came from."""

    app: CodeMode
    settings: Settings
    path: Path | None
    allow: tuple[str, ...] | None = None
    """What `--allow` named; None when it was not given."""

    def patterns(self, direct: Iterable[str] | None = None) -> Patterns:
        """Every pattern that should match a tool, by where it stands.

        Args:
            direct: Used in place of the `direct` of the settings.
        """
        settings = self.settings
        return {
            "allow": settings.allow or (),
            "--allow": self.allow or (),
            "effects": settings.effects,
            "results": settings.results,
            "notes": settings.notes,
            "cache": settings.cache,
            "server.direct": settings.server.direct if direct is None else direct,
        }


def prepare(app: str | None, config: Path | None, allow: list[str] | None) -> Prepared:
    """The app that the common options mean. Raises ConfigError."""
    from .. import config as configuration
    from ..settings import Settings

    here = Path.cwd()
    path = config if config is not None or app is not None else configuration.find(here)
    settings = configuration.load(path) if path is not None else Settings()
    built = configuration.build(
        settings,
        base=path.resolve().parent if path is not None else here,
        app=configuration.import_app(app, here) if app is not None else None,
        allow=allow or None,
    )
    return Prepared(built, settings, path, tuple(allow) if allow else None)


def how_to_allow(prepared: Prepared, name: str) -> str:
    """What a person has to change so that the tool `name`, which is not allowed, may be called.

    Every list that is given must have the tool, so only those that lack it are named.
    """
    from ..tools.scope import Allow

    file, option = prepared.settings.allow, prepared.allow
    toml = prepared.path if prepared.path is not None and prepared.path.suffix == ".toml" else "oneturn.toml"
    ways = {
        f"--allow '{name}'": option is not None and not Allow.of(option).matches(name),
        f"add it to allow in {toml}": file is not None and not Allow.of(file).matches(name),
    }
    if file is None and option is None and not prepared.app.tools():
        return ", or ".join(ways)
    lacking = [way for way, lacks in ways.items() if lacks]
    return ", and ".join(lacking) or "add it to the allow-list of the app itself, or to ONETURN_ALLOW"


def unmatched(app: CodeMode, patterns: Patterns) -> list[str]:
    """A sentence for each pattern that matches no tool of an app that is open.

    While a source has failed nothing is said: what it would have offered is not known.
    """
    from difflib import get_close_matches
    from fnmatch import fnmatchcase

    if app.problems:
        return []
    tools = [*app.catalog.tools, *(held.tool for held in app.catalog.held.values())]
    names = [tool.name for tool in tools]
    globs = sorted({f"{tool.namespace}.*" for tool in tools if tool.namespace})
    told = []
    for place, each in patterns.items():
        for pattern in each:
            wanted = pattern.strip().removeprefix("tools.")
            if wanted in names or any(fnmatchcase(name, wanted) for name in names):
                continue
            near = get_close_matches(wanted, globs if wanted.endswith("*") else names, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            told.append(f"{place}: '{pattern}' matches no tool{meant}")
    return told


@asynccontextmanager
async def opened(
    app: CodeMode, *, tolerate: bool = False, lines: bool = False, warn: bool = True
) -> AsyncIterator[CodeMode]:
    """The app, started; its progress and the sources that failed are told on stderr.

    Args:
        app: What to start, and to close in the end.
        tolerate: Go on without sources that fail.
        lines: Write a line per source even when stderr is no terminal.
        warn: Tell of sources that failed.
    """
    try:
        with _progress(app.sources, lines) as ready:
            await app.open(tolerate=tolerate, progress=ready)
        for reason in app.problems.values() if warn else ():
            note(f"warning: {reason}")
        yield app
    finally:
        await app.close()


def require_tools(app: CodeMode) -> None:
    """Raise SourceError when every source of an open app failed, and there is no tool beside theirs."""
    if app.problems and not app.catalog.tools and len(app.problems) == len(app.sources):
        raise SourceError("\n".join(app.problems.values()))


@contextmanager
def _progress(sources: Sequence[str], lines: bool) -> Iterator[Callable[[str], None]]:
    waiting = list(sources)
    if not sys.stderr.isatty() or not sources:

        def line(name: str) -> None:
            if lines and name in waiting:
                note(f"{name} is ready")

        yield line
        return

    from rich.console import Console
    from rich.markup import escape

    def text() -> str:
        return f"Starting {escape(', '.join(waiting))} …"

    with Console(stderr=True).status(text()) as status:

        def tick(name: str) -> None:
            if name in waiting:
                waiting.remove(name)
            status.update(text())

        yield tick


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Shows on a terminal what is being done; on anything else, nothing."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(f"{escape(text)} …"):
        yield


# --- output


def note(text: str) -> None:
    """A line on stderr."""
    typer.echo(visible(text), err=True)


def complain(text: str) -> None:
    """An error on stderr."""
    note(f"error: {text}")


def visible(text: str) -> str:
    """`text` with control characters spelled out: what tools say must not steer the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def write(text: str) -> None:
    """Text on stdout: as it is when piped, with visible control characters on a terminal."""
    sys.stdout.write(visible(text) if sys.stdout.isatty() else text)


def write_json(data: Any) -> None:
    """JSON on stdout. Bytes become `{"base64": …}`."""
    write(f"{json_text(data)}\n")


def json_text(data: Any) -> str:
    """Indented JSON. Bytes become `{"base64": …}`."""
    return json.dumps(data, indent=2, ensure_ascii=False, default=_encoded)


def _encoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} is not JSON")


def write_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, styles: Sequence[str] = (), cut: str = ""
) -> None:
    """A table for a person at a terminal; lines of tab-separated columns for a pipe.

    The first column holds names: they may take half of the terminal, go on in the next line when
    they are longer, and are never cut.

    Args:
        headers: Column titles, for the terminal only.
        rows: One text per column.
        styles: Rich styles of the rows.
        cut: The title of a column that is cut to what room the others leave, and left out when
            they leave none.
    """
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(" ".join(cell.split()) for cell in row))
        return

    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    columns = {header: [visible(row[place]) for row in rows] for place, header in enumerate(headers)}
    widths = {header: max(map(cell_len, [header, *cells])) for header, cells in columns.items()}
    widths[headers[0]] = min(widths[headers[0]], console.width // 2)
    room = console.width - sum(width + _GAP for header, width in widths.items() if header != cut)
    if cut in columns and room < _LEAST:
        del columns[cut]
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for header in columns:
        if header == cut:
            table.add_column(header, no_wrap=True, max_width=room)
        else:
            fixed = widths[header] if header == headers[0] else None
            table.add_column(header, width=fixed, overflow="fold", no_wrap=cut in columns and not fixed)
    for place, cells in enumerate(zip(*columns.values(), strict=True)):
        table.add_row(*map(Text, cells), style=styles[place] if styles else None)
    console.print(table)
