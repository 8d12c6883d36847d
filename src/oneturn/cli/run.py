"""`oneturn run`: run a script, show its outcome."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..approval_text import approval_data
from ..errors import ConfigError
from ..telling import retry_id
from ..types import IsolationLevel, SandboxChoice
from .common import (
    AllowOption,
    AppOption,
    ConfigOption,
    Exit,
    JsonOption,
    Verbose,
    exits,
    how_to_allow,
    json_text,
    note,
    opened,
    prepare,
    write,
    write_json,
)
from .journal import recorded
from .scripts import diagnostic_data, diagnostic_text, error_data, error_text, read_script, script_name
from .terminal import approver_of, is_kept, leave_question, tell_waiting, was_left

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..types import CallRecord, Outcome

_CALLS_SHOWN = 20
_CALLER = "local"  # whose runs these commands make
_CALL = re.compile(r"(?:tools\.)?(\w+(?:\.\w+)*)\(")


def run(
    script: Annotated[str, typer.Argument(help="The file to run, or - for stdin.")],
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="For the whole run, tool time included; 30 by default. Cut at the app's max_timeout, "
            "300 when it is not set.",
        ),
    ] = None,
    sandbox: Annotated[
        SandboxChoice | None,
        typer.Option("--sandbox", help="Where it runs; auto takes the fastest place that runs it right."),
    ] = None,
    isolation: Annotated[
        IsolationLevel | None,
        typer.Option("--isolation", help="The weakest isolation that will do; interpreter by default."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="What its randomness comes from; drawn when not given.")
    ] = None,
    retry_of: Annotated[
        str,
        typer.Option(
            "--retry-of",
            metavar="RUN",
            help="An earlier run; what it did is taken from its record and not repeated.",
        ),
    ] = "",
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Run a script and show what it prints and its value.

    Both go to stdout, errors to stderr.
    The value is the last expression, or a top-level `return`. Text is written as it is, anything
    else as JSON, and None not at all.
    """
    with exits(as_json):
        code, name = read_script(script), script_name(script)
        prepared = prepare(app, config, allow)
        if retry_of:
            _must_be_ours(prepared.app, retry_of)
        longest = prepared.app.limits.max_timeout
        if timeout is not None and timeout > longest:
            note(f"note: --timeout {timeout:g} is cut to {longest:g} s, the app's max_timeout")
        prepared.app.configure(sandbox=sandbox, isolation=isolation)
        outcome = asyncio.run(_execute(prepared.app, code, timeout, seed, retry_of, lines=verbose))
        if as_json:
            write_json(outcome_data(outcome))
        else:
            show_outcome(outcome, code, name, kept=is_kept(prepared.app))
            if verbose and outcome.sandbox is not None:
                note(f"ran in {outcome.sandbox} ({outcome.isolation}): {outcome.routed}")
            refused = _refused(prepared.app, outcome)
            if refused is not None:
                note(f"to allow it: {how_to_allow(prepared, refused)}")
        raise typer.Exit(outcome_code(outcome))


async def _execute(
    app: CodeMode, code: str, timeout: float | None, seed: int | None, retry_of: str, *, lines: bool
) -> Outcome:
    async with opened(app, lines=lines):
        with interruptible(app):
            approver = approver_of(app)
            return await app.execute(code, timeout=timeout, seed=seed, approver=approver, retry_of=retry_of)


def _must_be_ours(app: CodeMode, run_id: str) -> None:
    """Raises ConfigError when a run is another caller's: who looks at the journal here may know that."""
    with recorded(app.options) as journal:
        row = journal.store.run(run_id)
    if row is not None and row.caller != _CALLER:
        raise ConfigError(f"{run_id} was run by {row.caller}, and only {row.caller} can retry it.")


@contextlib.contextmanager
def interruptible(app: CodeMode) -> Iterator[None]:
    """Ctrl-C ends the run and not the command, so that what was already called can still be told.

    While somebody is asked for approval, it leaves the run waiting instead.
    """
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        if leave_question():
            return
        for run_id in app.running:
            app.cancel(run_id)

    try:
        loop.add_signal_handler(signal.SIGINT, cancel)
    except NotImplementedError:  # Windows: the command ends with "interrupted"
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def outcome_code(outcome: Outcome) -> Exit:
    if outcome.ok:
        return Exit.OK
    if outcome.status == "waiting":
        return Exit.INTERRUPTED if was_left() else Exit.WAITING
    if outcome.status == "cancelled":
        return Exit.INTERRUPTED
    kinds = {"TimeoutError": Exit.TIMEOUT, "SandboxCrashed": Exit.SANDBOX}
    return kinds.get(outcome.error.kind, Exit.FAILED) if outcome.error else Exit.FAILED


def show_outcome(outcome: Outcome, code: str, name: str, *, kept: bool = True) -> None:
    """An outcome for a person. `kept` says whether its record outlives this process."""
    prints = outcome.prints
    if prints and not prints.endswith("\n") and outcome.value is not None:
        prints += "\n"
    write(prints)
    if outcome.value is not None:
        text = outcome.value if isinstance(outcome.value, str) else json_text(outcome.value)
        write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()
    if outcome.cut_prints:
        note(f"warning: {outcome.cut_prints:,} more printed characters were not kept")
    if outcome.error is not None:
        note(error_text(outcome.error, code, name))
        for warning in outcome.warnings:
            note(diagnostic_text(warning, code, name))
    _show_calls(outcome)
    again = (
        retry_id(outcome) if kept and outcome.caller == _CALLER else ""
    )  # nobody else's can be retried here
    if again:
        note(f"to retry without repeating what is done: oneturn run SCRIPT --retry-of {again}")
    if outcome.status == "waiting":
        tell_waiting(outcome, kept=kept)


def _refused(app: CodeMode, outcome: Outcome) -> str | None:
    """The tool that exists, and that the script failed for because it is not allowed."""
    error = outcome.error
    if error is None or error.kind != "PermissionError":
        return None
    # Refused by the gate, or before anything ran; an error the script raised itself is neither.
    refused = {
        call.tool for call in outcome.calls if call.status == "refused" and call.error == error.message
    }
    if error.position is not None and not outcome.calls:
        called = _CALL.match(error.position.source[error.position.column - 1 :])
        refused |= {called[1]} if called and error.message.startswith(f"{called[1]} ") else set()
    named = [tool.name for tool in app.catalog.tools if refused & {tool.name, tool.short_name}]
    return named[0] if len(named) == 1 else None


def _show_calls(outcome: Outcome) -> None:
    """After a failure, every call that was sent; after a success, only those in doubt."""
    sent = [call for call in outcome.calls if call.status in ("ok", "failed", "unknown")]
    if outcome.ok:
        sent = [call for call in sent if call.status == "unknown"]
    if not sent:
        return
    note("calls whose effect is unknown:" if outcome.ok else "calls already made, which stay made:")
    # Writes first: they are what must not be repeated blindly.
    shown = sorted(sent, key=lambda call: call.effect == "read")[:_CALLS_SHOWN]
    for call in shown:
        note(f"  {_call_text(call)}")
    if len(sent) > len(shown):
        note(f"  and {len(sent) - len(shown):,} more")


def _call_text(call: CallRecord) -> str:
    line = f", line {call.position.line}" if call.position else ""
    status = "done by the earlier run" if call.reused and call.status == "ok" else call.status
    error = " ".join(call.error.split())  # a tool's error must not look like lines of ours
    return f"{call.tool} ({call.effect}, {status}{line})" + (f": {error}" if error else "")


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    return {
        "run_id": outcome.run_id,
        "status": outcome.status,
        "value": outcome.value,
        "prints": outcome.prints,
        "cut_prints": outcome.cut_prints,
        "error": error_data(outcome.error),
        "calls": [
            {
                "tool": call.tool,
                "effect": call.effect,
                "status": call.status,
                "seconds": round(call.seconds, 6),
                "line": call.position and call.position.line,
                "error": call.error,
                "cached": call.cached,
                "reused": call.reused,
            }
            for call in outcome.calls
        ],
        "pending": [approval_data(approval) for approval in outcome.pending],
        "warnings": [diagnostic_data(warning) for warning in outcome.warnings],
        "seconds": round(outcome.seconds, 6),
        "isolation": outcome.isolation,
        "sandbox": outcome.sandbox,
        "routed": outcome.routed,
        "seed": outcome.seed,
        "retry_of": outcome.retry_of,
    }
