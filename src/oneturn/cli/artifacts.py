"""`oneturn artifacts`: what results left behind, read back from the journal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ArtifactNotFound, ConfigError
from .common import AppOption, ConfigOption, Verbose, exits, note, prepare
from .journal import recorded
from .pins import revealed

artifacts = typer.Typer(help="Files that results left behind.", no_args_is_help=True)


@artifacts.command("get")
def get(
    artifact_id: Annotated[str, typer.Argument(metavar="ID", help="The id in the handle.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; stdout when not given.")
    ] = None,
    app: AppOption = None,
    config: ConfigOption = None,
    verbose: Verbose = False,
) -> None:
    """Write an artifact to a file or to stdout, byte for byte."""
    with exits():
        with recorded(prepare(app, config, None).app.options) as journal:
            found = journal.artifacts.find(artifact_id) if journal.artifacts is not None else None
        if found is None:
            raise ArtifactNotFound(f"There is no artifact {artifact_id} in this journal.")
        if output is None:
            sys.stdout.buffer.write(found.data)
            sys.stdout.buffer.flush()
            return
        try:
            output.write_bytes(found.data)
        except OSError as error:
            raise ConfigError(f"{output} cannot be written: {error.strerror}.") from None
        note(f"{output}: {len(found.data):,} bytes of {revealed(found.mime)}, left by {found.caller}")
