"""What the commands share: options, exit codes, loading an app, output for people and machines."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, OneturnError, SandboxError, SourceError

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..config import Settings

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Exit(IntEnum):
    """The exit codes, which scripts around us rely on."""

    OK = 0
    FAILED = 1
    CONFIG = 2
    SOURCE = 3
    SANDBOX = 4
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


def prepare(app: str | None, config: Path | None, allow: list[str] | None) -> Prepared:
    """The app that the common options mean. Raises ConfigError."""
    from .. import config as configuration

    here = Path.cwd()
    path = config if config is not None or app is not None else configuration.find(here)
    settings = configuration.load(path) if path is not None else configuration.Settings()
    built = configuration.build(
        settings,
        base=path.resolve().parent if path is not None else here,
        app=configuration.import_app(app, here) if app is not None else None,
        allow=allow or None,
    )
    return Prepared(built, settings, path)


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


def write_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, styles: Sequence[str] = ()) -> None:
    """A table for a person at a terminal; lines of tab-separated columns for a pipe.

    Args:
        headers: Column titles, for the terminal only.
        rows: One text per column.
        styles: Rich styles of the rows.
    """
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(" ".join(cell.split()) for cell in row))
        return

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, box=None, pad_edge=False, header_style="bold")
    for place, row in enumerate(rows):
        table.add_row(*(Text(visible(cell)) for cell in row), style=styles[place] if styles else None)
    Console().print(table)
