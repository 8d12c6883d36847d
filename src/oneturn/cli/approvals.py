"""`oneturn approvals`: what waits for a person's word, and giving it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..approval_text import approval_line, approval_text, approval_why, filed_data, spelled
from ..errors import ConfigError, DecisionRefused
from .common import (
    AppOption,
    ConfigOption,
    Exit,
    JsonOption,
    Verbose,
    complain,
    exits,
    note,
    opened,
    prepare,
    write,
    write_json,
    write_table,
)
from .journal import recorded
from .run import interruptible, outcome_code, outcome_data, show_outcome
from .terminal import approver_of, who

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..app import CodeMode
    from ..journal.approvals import Filed
    from ..server.word import Word
    from ..types import Outcome

approvals = typer.Typer(help="Decide about calls that wait for a person.", no_args_is_help=True)

Status = Literal["pending", "approved", "denied", "expired", "used", "all"]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="An approval, as `approvals list` shows it.")]
IdsArgument = Annotated[list[str], typer.Argument(metavar="ID...", help="One or more approvals.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Told to the script, and kept.")]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Then go on with the run, and show its outcome as `oneturn run` does."),
]


@approvals.command("list")
def list_approvals(
    status: Annotated[Status, typer.Option("--status", help="Those that stand so.")] = "pending",
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Those of one run.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most to show, newest first.")] = 200,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """List calls that wait for approval, the newest first."""
    with exits(as_json):
        wanted = None if status == "all" else status
        with recorded(prepare(app, config, None).app.options) as journal:
            rows = journal.store.approvals(run=run, status=wanted, limit=limit)
            found = journal.approvals.list(run=run, status=wanted, limit=limit)
        unread = len(rows) - len(found)  # one could have come in between, so this may be less than none
        if unread > 0:
            note(f"{unread:,} cannot be read: the key of their run was dropped, or another one is set.")
        if len(rows) == limit:
            note(f"These are the newest {limit:,}; there may be more, see --limit.")
        if as_json:
            write_json({"approvals": [filed_data(filed) for filed in found]})
            return
        headers = ["approval", "status", "caller", "call"]
        write_table(headers, [_row(filed) for filed in found], cut="call")
        for filed in found:
            if filed.approval.why:
                note(f"{filed.approval.id}: {approval_why(filed.approval)}")
        if not rows:
            note("Nothing waits for approval." if status == "pending" else "There is no approval like that.")


def _row(filed: Filed) -> tuple[str, ...]:
    approval = filed.approval
    return approval.id, _stands(filed), spelled(approval.caller, 60), approval_line(approval)


def _stands(filed: Filed) -> str:
    """How an approval stands now; that its time is up is written down only when its run goes on."""
    expires = filed.approval.expires
    return "expired" if filed.status == "pending" and expires and expires <= time.time() else filed.status


@approvals.command("show")
def show(
    approval: IdArgument,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Show a call that waits, with its arguments and what its run has done so far."""
    with exits(as_json):
        from ..journal.past import Past
        from ..run.endings import outcome_of

        with recorded(prepare(app, config, None).app.options) as journal:
            filed = journal.approvals.get(approval)
            _, events = journal.read(filed.approval.run_id)
        outcome = outcome_of(filed.approval.run_id, Past.of(events))
        if as_json:
            write_json({**filed_data(filed), "so_far": outcome_data(outcome)["calls"]})
            return
        write(f"{approval_text(filed.approval)}\n")
        done = [call for call in outcome.calls if call.status in ("ok", "failed", "unknown")]
        if done:
            write("the run so far:\n")
        for call in done[-20:]:
            line = f", line {call.position.line}" if call.position else ""
            write(f"    | {spelled(call.tool, 100)} ({call.effect}, {call.status}{line})\n")
        write(f"{_standing(filed)}\n")


def _standing(filed: Filed) -> str:
    decision = filed.decision
    if decision is None:
        return f"status: {_stands(filed)}"
    reason = f": {spelled(decision.reason)}" if decision.reason else ""
    return f"status: {filed.status}, by {spelled(decision.by, 100)}{reason}"


@approvals.command("approve")
def approve(
    ids: IdsArgument,
    reason: ReasonOption = "",
    arguments: Annotated[
        str | None,
        typer.Option("--arguments", metavar="JSON", help="Send these in place of those asked for."),
    ] = None,
    grant: Annotated[
        int | None,
        typer.Option("--grant", metavar="N", help="Also allow N more calls of this tool in this run."),
    ] = None,
    within: Annotated[
        Path | None,
        typer.Option("--within", metavar="FILE", help="A JSON Schema the arguments of those must fit."),
    ] = None,
    resume: ResumeOption = False,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Approve calls. Each is sent once, with the arguments that were shown."""
    with exits(as_json):
        if (grant is None) != (within is None):
            raise ConfigError("Give --grant and --within together: how many calls, and within which bounds.")
        if len(ids) > 1 and (arguments is not None or grant is not None):
            raise ConfigError("--arguments and --grant are for one approval at a time.")
        said: dict[str, Any] = {"approved": True, "reason": reason}
        if arguments is not None:
            said["arguments"] = _json(arguments, "--arguments")
        if within is not None:
            said["grant"] = {"calls": grant, "arguments": _json(_text(within), "--within")}
        _decide(ids, said, resume, prepare(app, config, None).app, as_json, verbose)


@approvals.command("deny")
def deny(
    ids: IdsArgument,
    reason: ReasonOption = "",
    resume: ResumeOption = False,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Deny calls. The script gets a PermissionError with the reason."""
    with exits(as_json):
        said = {"approved": False, "reason": reason}
        _decide(ids, said, resume, prepare(app, config, None).app, as_json, verbose)


def _decide(
    ids: list[str], said: dict[str, Any], resume: bool, app: CodeMode, as_json: bool, verbose: bool
) -> None:
    """Put the decisions on record; one that is not taken does not keep the others from it."""
    from ..server.word import Word, checked

    word: Word = checked(Word, json.dumps(said))
    decided: list[Filed] = []
    refused: list[str] = []
    runs: dict[str, tuple[str, str]] = {}
    with recorded(app.options) as journal:
        for approval_id in dict.fromkeys(ids):
            try:
                decided.append(journal.approvals.decide(approval_id, word.decision(who())))
            except DecisionRefused as error:
                refused.append(str(error))
        for filed in decided:
            run = filed.approval.run_id
            if run not in runs and resume:
                _, events = journal.read(run)
                runs[run] = (filed.approval.caller, str(events[0].body["code"]))
    told: dict[str, Any] = {"decided": [filed_data(filed) for filed in decided], "refused": refused}
    if not as_json:
        for filed in decided:
            note(f"{filed.approval.id} is {filed.status}: {approval_line(filed.approval)}")
        for text in refused:
            complain(text)
    code = Exit.FAILED if refused else Exit.OK
    callers = {run: caller for run, (caller, _) in runs.items()}
    outcomes = asyncio.run(_resumed(app, callers, verbose)) if callers else []
    for outcome in outcomes:
        if not as_json:
            show_outcome(outcome, runs[outcome.run_id][1], outcome.run_id)
        code = code or outcome_code(outcome)
    if as_json:
        write_json({**told, "outcomes": [outcome_data(outcome) for outcome in outcomes]})
    elif decided and not resume:
        for run in dict.fromkeys(filed.approval.run_id for filed in decided):
            note(f"go on: oneturn runs resume {run} (a server that runs does so by itself)")
    raise typer.Exit(code)


async def _resumed(app: CodeMode, callers: Mapping[str, str], lines: bool) -> list[Outcome]:
    async with opened(app, lines=lines):
        with interruptible(app):
            return [
                await app.resume(run, caller=caller, approver=approver_of(app))
                for run, caller in callers.items()
            ]


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where} is no JSON: {error}.") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__}).") from None
