"""`oneturn check`: what is wrong with a script, without running any of it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .common import (
    AllowOption,
    AppOption,
    ConfigOption,
    Exit,
    JsonOption,
    Verbose,
    exits,
    note,
    opened,
    prepare,
    write_json,
)
from .scripts import diagnostic_data, diagnostic_text, error_data, error_text, read_script, script_name

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..checking import Checked


def check(
    script: Annotated[str, typer.Argument(help="The file to check, or - for stdin.")],
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Check a script against the tools it may call. Nothing of it runs.

    Errors are what would stop it from running; warnings are what may go wrong. Ends with 1 when there
    is an error.
    """
    with exits(as_json):
        code, name = read_script(script), script_name(script)
        built = prepare(app, config, allow).app
        checked = asyncio.run(_checked(built, code, lines=verbose))
        if as_json:
            write_json(
                {
                    "ok": checked.error is None,
                    "error": error_data(checked.error),
                    "warnings": [diagnostic_data(warning) for warning in checked.warnings],
                    "seconds": dict(checked.seconds),
                }
            )
        else:
            _show(checked, code, name)
        raise typer.Exit(Exit.OK if checked.error is None else Exit.FAILED)


async def _checked(app: CodeMode, code: str, *, lines: bool) -> Checked:
    async with opened(app, lines=lines):
        return await app.check(code)


def _show(checked: Checked, code: str, name: str) -> None:
    if checked.error is not None:
        note(error_text(checked.error, code, name))
    for warning in checked.warnings:
        note(diagnostic_text(warning, code, name))
    if checked.error is None and sys.stderr.isatty():
        total = sum(checked.seconds.values())
        note(f"{name} may run, {len(checked.warnings)} warnings ({total * 1_000:.0f} ms)")
