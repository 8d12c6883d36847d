"""`oneturn journal`: whether the record of all runs is still what was written, and signing for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, JournalError
from .common import (
    AppOption,
    ConfigOption,
    Exit,
    JsonOption,
    Verbose,
    exits,
    note,
    prepare,
    write,
    write_json,
)
from .pins import revealed

if TYPE_CHECKING:
    from ..journal.chain import Problem
    from ..journal.checkpoints import Progress
    from ..journal.keys import PublicKey
    from ..journal.writer import Journal
    from ..options import Options

journal = typer.Typer(help="Verify the record of all runs, and sign for it.", no_args_is_help=True)

_KEY = "journal.key"  # of checkpoints, beside what else an app keeps
_PATIENCE = 1.0  # seconds before the first word about progress; each later one takes twice as long
_REMOVED = 20  # removed runs that are named

KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help=f"The file of the signing key; {_KEY} in the state folder by default."),
]


@contextmanager
def recorded(options: Options) -> Iterator[Journal]:
    """The journal of an app, with nothing of the app started.

    Raises:
        ConfigError: The app keeps no journal that another process can read.
        JournalError: There is none yet, or it cannot be opened.
    """
    place = options.journal
    if place is False:
        raise ConfigError("This app keeps no journal: it was told not to.")
    if place is True:
        if options.state is None:
            raise ConfigError(
                "This app keeps its runs in memory only. Give it a journal or a state folder; an "
                "oneturn.toml brings one, see `oneturn init`."
            )
        place = options.state / "journal.db"
    if "://" not in str(place) and not Path(place).exists():
        raise JournalError(f"Nothing is recorded yet: there is no {place}.")
    found = options.open_journal(None)
    assert found is not None
    try:
        yield found
    finally:
        found.close()


@journal.command("verify")
def verify(
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="A file of lines that `oneturn journal checkpoint` wrote."),
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(
            "--public-key",
            metavar="ed25519:TEXT",
            help="Whose signatures count; when not given, that of the signing key, if there is one.",
        ),
    ] = None,
    key: KeyOption = None,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Read every run and tell what is not as it was written.

    Names the first bad row of each bad run, or what beside its rows was changed: its status or caller, a
    large value, an approval, an artifact. Ends with 1 when there is one.
    """
    with exits(as_json):
        from ..journal import checkpoints

        options = prepare(app, config, None).app.options
        with recorded(options) as found:
            public = _public(public_key, key, options)
            problems: list[Problem] = []
            done = checkpoints.Progress()
            began, patience = time.monotonic(), _PATIENCE
            for each in checkpoints.verify(found.store, public, _lines(checkpoint), vault=found.vault):
                if isinstance(each, checkpoints.Progress):
                    done = each
                    if time.monotonic() - began > patience:
                        note(f"{done.runs:,} runs and {done.rows:,} rows so far")
                        patience *= 2
                else:
                    problems.append(each)
                    if not as_json:
                        write(f"{revealed(str(each))}.\n")
        if as_json:
            write_json(_data(done, problems, signed=public is not None))
        else:
            _conclude(done, problems, signed=public is not None)
        raise typer.Exit(Exit.FAILED if problems else Exit.OK)


@journal.command("checkpoint")
def checkpoint(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also add the line to this file.")
    ] = None,
    key: KeyOption = None,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Sign for what is recorded by now, and print that as one line to keep elsewhere.

    With it `oneturn journal verify --checkpoint` also shows when the end of the journal was cut off or
    written anew. The key is made when there is none.
    """
    with exits(as_json):
        from ..journal import checkpoints
        from ..journal.keys import SigningKey

        options = prepare(app, config, None).app.options
        with recorded(options) as found:
            signing = SigningKey.at(_key_file(key, options))
            made = checkpoints.make(found.store, signing, now=time.time())
            last = made or max(found.store.checkpoints(), key=lambda each: each.n, default=None)
        if last is None:
            raise JournalError("Nothing is recorded yet, so there is nothing to sign for.")
        text = checkpoints.line(last)
        if output is not None:
            _add(output, text)
        if as_json:
            write_json({"checkpoint": text, "public_key": str(signing.public), "new": made is not None})
            return
        write(f"{text}\n")
        if made is None:
            note("Nothing has changed since this checkpoint, so no new one was made.")
        note(f"Keep the line, and this public key, away from the journal: {signing.public}")


def _key_file(key: Path | None, options: Options) -> Path:
    if key is not None:
        return key
    if options.state is None:
        raise ConfigError("There is no state folder to keep a signing key in; name its file with --key.")
    return options.state / _KEY


def _public(text: str | None, key: Path | None, options: Options) -> PublicKey | None:
    from ..journal.keys import PublicKey, SigningKey

    if text is not None:
        return PublicKey.parse(text)
    if key is None and options.state is None:
        return None
    path = _key_file(key, options)
    if not path.exists():
        if key is not None:
            raise ConfigError(f"There is no signing key {key}.")
        return None
    return SigningKey.at(path).public


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The checkpoints {path} cannot be read ({type(error).__name__}).") from None
    return [line for line in lines if line.strip()]


def _add(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}. The checkpoint is in the journal; ask again."
        ) from None


def _data(done: Progress, problems: list[Problem], *, signed: bool) -> dict[str, Any]:
    found = [{"run": each.run or None, "row": each.n or None, "text": each.text} for each in problems]
    return {
        "problems": found,
        "runs": done.runs,
        "rows": done.rows,
        "checkpoints": done.checkpoints,
        "signatures_checked": signed,
        "unsigned_rows": done.unsigned,
        "removed_since": list(done.removed),
        "unread_runs": done.unread,
    }


def _conclude(done: Progress, problems: list[Problem], *, signed: bool) -> None:
    runs = "run" if done.runs == 1 else "runs"
    found = f"{len(problems):,} {'problem' if len(problems) == 1 else 'problems'} found"
    write(f"{done.runs:,} {runs}, {done.rows:,} rows, {done.checkpoints:,} checkpoints: ")
    write(f"{found if problems else 'all as they were written'}.\n")
    if done.checkpoints and not signed:
        note("The signatures of the checkpoints were not checked: there is no key. Give --public-key.")
    if done.unsigned:
        note(
            f"{done.unsigned:,} rows are newer than the last checkpoint: that some were cut off would not "
            "show. `oneturn journal checkpoint` signs for them."
        )
    if done.unread:
        note(
            f"{done.unread:,} encrypted runs cannot be read without their keys: their status, caller, "
            "approvals and artifacts were not compared with their rows."
        )
    if done.removed:
        more = f" and {len(done.removed) - _REMOVED:,} more" if len(done.removed) > _REMOVED else ""
        note(f"Removed since the last checkpoint: {', '.join(done.removed[:_REMOVED])}{more}")
