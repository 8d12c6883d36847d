"""`oneturn runs`: look at recorded runs, go on with one, replay one, write one to a file, remove old ones."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..types import RunStatus
from .common import (
    AppOption,
    ConfigOption,
    Exit,
    JsonOption,
    Verbose,
    busy,
    exits,
    note,
    opened,
    prepare,
    write,
    write_json,
    write_table,
)
from .journal import recorded
from .pins import revealed
from .run import interruptible, outcome_code, outcome_data, show_outcome
from .runs_shown import replay_lines, run_lines, seconds, when
from .scripts import error_data, read_script
from .terminal import approver_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..app import CodeMode
    from ..journal.approvals import Filed
    from ..journal.rows import RunRow
    from ..journal.writer import Journal
    from ..types import Outcome

runs = typer.Typer(help="Look at recorded runs, replay and resume them.", no_args_is_help=True)

_FIRST = 100  # characters of a script or an error in a list
_ASKED = 1_000  # approvals of one run that are looked at
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_STYLES = {"failed": "red", "interrupted": "red", "cancelled": "yellow", "waiting": "cyan"}


class Ended(StrEnum):
    """How a run ended; an option that may be repeated cannot be a Literal."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run, as `runs list` shows it.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@runs.command("list")
def list_runs(
    status: Annotated[RunStatus | None, typer.Option("--status", help="Only runs that stand so.")] = None,
    caller: Annotated[str | None, typer.Option("--caller", help="Only runs of this caller.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most runs to show, newest first.")] = 20,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """List recorded runs, the newest first."""
    with exits(as_json):
        with recorded(prepare(app, config, None).app.options) as journal:
            found = [_line(journal, row) for row in journal.runs(caller=caller, status=status, limit=limit)]
        if as_json:
            write_json({"runs": found})
            return
        rows = [_row(line) for line in found]
        headers = ["run", "when", "status", "caller", "calls", "took", "script or error"]
        styles = [_STYLES.get(line["status"], "") for line in found]
        write_table(headers, rows, styles=styles, cut="script or error")
        if not found:
            note("No run on record is like that.")


def _line(journal: Journal, row: RunRow) -> dict[str, Any]:
    about = json.loads(row.about or "{}")
    script = journal.script(row).strip()
    return {
        "id": row.id,
        "status": _stands(journal, row),
        "caller": row.caller,
        "began": _utc(row.began),
        "ended": _utc(row.ended),
        "calls": about.get("calls"),
        "seconds": about.get("seconds"),
        "sandbox": about.get("sandbox"),
        "error": about.get("error"),
        "script": script.partition("\n")[0][:_FIRST],
    }


def _stands(journal: Journal, row: RunRow) -> str:
    """How a run stands now; that its process is gone is written down only when it is taken up again."""
    return "interrupted" if row.status == "running" and journal.is_left(row) else row.status


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    cells = (
        line["id"],
        when(datetime.fromisoformat(line["began"]).timestamp()),
        line["status"],
        line["caller"],
        str(line["calls"]) if line["calls"] is not None else "",
        seconds(line["seconds"]) if line["seconds"] is not None else "",
        (line["error"] or line["script"])[:_FIRST],
    )
    return tuple(revealed(" ".join(cell.split())) for cell in cells)


def _utc(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


@runs.command("show")
def show(
    run: RunArgument,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Show a run: its script with the calls of each line, what it printed, how it ended.

    With --json everything that is on record.
    """
    with exits(as_json):
        from ..journal.past import Past
        from ..run.endings import outcome_of

        with recorded(prepare(app, config, None).app.options) as journal:
            row, events = journal.read(run)
            stands = _stands(journal, row)
            approvals = journal.approvals.list(run=run, limit=_ASKED)
        past = Past.of(events)
        outcome = outcome_of(run, past)
        if not as_json:
            write("".join(f"{line}\n" for line in run_lines(row, past, outcome, approvals, stands)))
            return
        write_json(
            {
                **outcome_data(outcome),
                "caller": outcome.caller,
                "began": _utc(row.began),
                "ended": _utc(row.ended),
                "code": past.began["code"],
                "approvals": [_approval_data(filed) for filed in approvals],
                "events": [
                    {"n": event.n, "kind": event.kind, "at": _utc(event.at), "body": event.body}
                    for event in events
                ],
            }
        )


def _approval_data(filed: Filed) -> dict[str, Any]:
    approval, decision = filed.approval, filed.decision
    return {
        "id": approval.id,
        "call": approval.call_id,
        "tool": approval.tool,
        "arguments": approval.arguments,
        "status": filed.status,
        "asked": _utc(filed.asked),
        "decided": _utc(filed.decided),
        "by": decision and decision.by,
        "reason": decision and decision.reason,
    }


@runs.command("replay")
def replay_run(
    run: RunArgument,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="FILE", help="Another script to give the answers, or - for stdin."),
    ] = None,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Execute a run again from its record alone: no tool is called.

    Ends with 1 at the first difference: a call, what is printed, the value or the error. With --against
    the calls and the end of another script are compared.
    """
    with exits(as_json):
        from ..run.replay import replay
        from ..tiers import router_of

        other = read_script(against) if against is not None else None
        options = prepare(app, config, None).app.options
        with recorded(options) as journal:
            _, events = journal.read(run)
        router = router_of(options)
        try:
            with busy(f"Replaying {run}"):
                shown = replay(run, events, router, against=other)
        finally:
            router.close()
        if as_json:
            write_json(
                {
                    "run": run,
                    "same": shown.same,
                    "same_end": shown.same_value,
                    "difference": shown.difference or None,
                    "record_ends": shown.ends or None,
                    "calls": shown.calls,
                    "value": shown.value,
                    "error": error_data(shown.error),
                    "prints": shown.prints,
                }
            )
        else:
            write("".join(f"{line}\n" for line in replay_lines(shown, other=other is not None)))
        fine = shown.same and (shown.same_value or bool(shown.ends))
        raise typer.Exit(Exit.OK if fine else Exit.FAILED)


@runs.command("export")
def export(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; stdout when not given.")
    ] = None,
    app: AppOption = None,
    config: ConfigOption = None,
    verbose: Verbose = False,
) -> None:
    """Write a run to a file, one JSON object a line, for `oneturn.testing.replay`.

    Everything the run was told and answered is in it, also when the journal is encrypted.
    """
    with exits():
        from ..exported import exported

        with recorded(prepare(app, config, None).app.options) as journal:
            row, events = journal.read(run)
        text = "".join(f"{line}\n" for line in exported(row, events))
        if output is None:
            write(text)
            return
        try:
            output.write_bytes(text.encode())
        except OSError as error:
            raise ConfigError(f"{output} cannot be written: {error.strerror}.") from None
        note(f"{output}: {len(events):,} events of {run}")


@runs.command("resume")
def resume(
    run: RunArgument,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Go on with a run that was interrupted or waited, and show its outcome as `oneturn run` does.

    Of a run that is over, the outcome on record is shown; nothing runs.
    """
    with exits(as_json):
        built = prepare(app, config, None).app
        with recorded(built.options) as journal:
            _, events = journal.read(run)
        began = events[0].body
        outcome = asyncio.run(_resumed(built, run, str(began["caller"]), lines=verbose))
        if as_json:
            write_json(outcome_data(outcome))
        else:
            show_outcome(outcome, str(began["code"]), run)
        raise typer.Exit(outcome_code(outcome))


async def _resumed(app: CodeMode, run: str, caller: str, *, lines: bool) -> Outcome:
    async with opened(app, lines=lines):
        with interruptible(app):
            return await app.resume(run, caller=caller, approver=approver_of(app))


@runs.command("cancel")
def cancel_run(
    run: RunArgument,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """End a run that waits, was interrupted or cannot go on: nobody is asked about its calls any more.

    One that is under way has to be stopped where it runs.
    """
    with exits(as_json):
        from ..journal.ending import cancel

        with recorded(prepare(app, config, None).app.options) as journal:
            cancel(journal, run)
        if as_json:
            write_json({"run": run, "status": "cancelled"})
        else:
            note(f"{run} is cancelled")


@runs.command("forget")
def forget_run(
    run: RunArgument,
    yes: YesOption = False,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Have what a run did be gone for good, whatever its state, with its artifacts.

    Of an encrypted run that is over the key is dropped: its chain still verifies. Any other is removed.
    Asks first on a terminal. Elsewhere --yes has to be given.
    """
    with exits(as_json):
        from ..journal.ending import forget

        if not yes:
            _somebody_must_be_there("--yes to remove")
        with recorded(prepare(app, config, None).app.options) as journal:
            if not yes and not _agreed([run]):
                note("Nothing was removed.")
                raise typer.Exit(Exit.FAILED)
            dropped = forget(journal, run)
        if as_json:
            write_json({"run": run, "key_dropped": dropped})
        else:
            note(f"{run} {'cannot be read any more; its rows still verify' if dropped else 'is removed'}")


@runs.command("prune")
def prune(
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Runs that ended longer ago: 90m, 12h, 30d or 8w, for example.",
        ),
    ],
    status: Annotated[
        list[Ended] | None,
        typer.Option("--status", help="Only runs that ended so; may be repeated. All when not given."),
    ] = None,
    yes: YesOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Remove the records of runs that are over, with their artifacts.

    Asks first on a terminal. Elsewhere --yes or --dry-run has to be given.
    """
    with exits(as_json):
        before = time.time() - _age(older_than)
        if not (yes or dry_run):
            _somebody_must_be_there("--yes to remove, or --dry-run")
        statuses = [each.value for each in status or Ended]
        with recorded(prepare(app, config, None).app.options) as journal:
            if dry_run or not yes:
                found = _prunable(journal, before, statuses)
                if not dry_run and found and not _agreed(found):
                    note("Nothing was removed.")
                    raise typer.Exit(Exit.FAILED)
            if not dry_run:
                found = journal.store.prune(before, statuses=statuses)
        if as_json:
            write_json({"runs": found, "removed": not dry_run})
            return
        write("".join(f"{run}\n" for run in found))
        note(f"{_count(found)} {'would be ' if dry_run else ''}removed")


def _age(text: str) -> float:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"'{text}' is no age; write 90m, 12h, 30d or 8w, for example.")
    return float(found[1]) * _SECONDS[found[2]]


def _prunable(journal: Journal, before: float, statuses: Sequence[str]) -> list[str]:
    rows = (journal.store.run(run) for run, _, _ in journal.store.heads())
    return [
        row.id
        for row in rows
        if row is not None and row.status in statuses and row.ended is not None and row.ended < before
    ]


def _somebody_must_be_there(otherwise: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(f"Nobody can be asked here, so nothing was removed; give {otherwise}.")


def _agreed(found: list[str]) -> bool:
    return typer.confirm(f"Remove {_count(found)}?", err=True)


def _count(found: list[str]) -> str:
    return "1 run" if len(found) == 1 else f"{len(found):,} runs"
