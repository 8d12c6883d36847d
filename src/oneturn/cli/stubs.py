"""`oneturn stubs`: the catalog as a typed Python package."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    write_json,
)

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..tools.stubs import Written


def stubs(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the package `tools` is put.")],
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Write the tools as a typed package for your editor.

    With DIR on your editor's path, `from tools.github import issues` completes and is checked, as it
    works inside scripts. Doing it again replaces what was written before, and nothing else.
    """
    with exits(as_json):
        built = prepare(app, config, allow).app
        written = asyncio.run(_write(built, directory, lines=verbose))
        if as_json:
            write_json({"directory": str(directory), "modules": written.modules, "tools": written.tools})
        else:
            note(f"Wrote {directory / 'tools'}: {written.tools:,} tools in {written.modules:,} modules.")


async def _write(app: CodeMode, directory: Path, *, lines: bool) -> Written:
    from ..tools.stubs import write_package

    async with opened(app, lines=lines):
        view = app.view()
        return await asyncio.to_thread(write_package, view.scope.tools, directory, view.observed)
