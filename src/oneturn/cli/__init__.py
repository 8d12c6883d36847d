"""The `oneturn` command. One module per command; each loads what it needs only when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .approvals import approvals
from .artifacts import artifacts
from .check import check
from .common import Verbose
from .doctor import doctor
from .init import init
from .journal import journal
from .run import run
from .runs import runs
from .serve import serve
from .stubs import stubs
from .tokens import tokens
from .tools import tools


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"oneturn {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="oneturn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and those may be secrets
    rich_markup_mode="markdown" if sys.stdout.isatty() else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _oneturn(
    verbose: Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Code Mode for Python: one script calls your tools, safely, in one turn.

    Exit codes: 0 done; 1 the script or a check failed; 2 wrong usage or settings; 3 a source of
    tools could not be started; 4 the sandbox is busy or failed; 5 the run waits for approval; 124 out
    of time; 130 interrupted.
    """


app.command()(run)
app.command()(check)
app.add_typer(tools, name="tools")
app.add_typer(runs, name="runs")
app.add_typer(approvals, name="approvals")
app.add_typer(journal, name="journal")
app.add_typer(artifacts, name="artifacts")
app.command()(stubs)
app.command()(tokens)
app.command()(serve)
app.command()(doctor)
app.command()(init)


def main() -> None:
    """The entry point of the `oneturn` script."""
    for stream in (sys.stdout, sys.stderr):
        # What tools return may hold characters this terminal or pipe cannot carry.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app()
