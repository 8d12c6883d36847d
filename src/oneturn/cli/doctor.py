"""`oneturn doctor`: check this machine, its sandbox and its settings by trying them."""

from __future__ import annotations

import asyncio
import platform
import sys
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import typer

from ..errors import ConfigError, OneturnError
from ..options import Options
from ..types import Control, TierName
from .common import (
    AllowOption,
    AppOption,
    ConfigOption,
    Exit,
    JsonOption,
    Verbose,
    busy,
    exits,
    opened,
    prepare,
    unmatched,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..sandbox.router import Router
    from .common import Prepared

Status = Literal["ok", "none", "warn", "fail"]
_STYLES: dict[Status, str] = {"ok": "green", "none": "dim", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True)
class Check:
    """One line of the report. Only `fail` makes the command fail; `none` is not to be had here."""

    name: str
    status: Status
    detail: str


def doctor(
    app: AppOption = None,
    config: ConfigOption = None,
    allow: AllowOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Check the sandboxes, the settings and the servers.

    Each of them is tried, not trusted: scripts reach for a planted file, a port, another process,
    and for too much memory and time. Ends with 1 when something that is needed fails.
    """
    with exits(as_json):
        checks = _versions()
        try:
            prepared: Prepared | ConfigError = prepare(app, config, allow)
        except ConfigError as error:
            prepared = error
        checks += _sandboxes(Options() if isinstance(prepared, ConfigError) else prepared.app.options)
        checks += _settings(prepared, app, lines=verbose)
        failed = any(check.status == "fail" for check in checks)
        if as_json:
            write_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
        else:
            write_table(
                ("check", "status", "detail"),
                [(check.name, check.status, check.detail) for check in checks],
                styles=[_STYLES[check.status] for check in checks],
            )
        raise typer.Exit(Exit.FAILED if failed else Exit.OK)


def _versions() -> list[Check]:
    old = sys.version_info < (3, 11)
    python = f"{platform.python_version()} at {sys.executable}"
    return [
        Check("python", "fail" if old else "ok", f"{python}; 3.11 or later is needed" if old else python),
        Check("oneturn", "ok", version("oneturn")),
        Check("pydantic-monty", "ok", version("pydantic-monty")),
    ]


def _sandboxes(options: Options) -> list[Check]:
    """Every tier, control by control. One that scripts may be sent to has to hold."""
    from ..tiers import router_of

    router = router_of(options)
    needed = _needed(options, router)
    checks: list[Check] = []
    try:
        for tier in router.tiers:
            checks += _tried(tier, tier, router, needed.get(tier))
    finally:
        router.close()
    if isinstance(options.sandbox, str) and options.isolation == "interpreter":
        stronger = router_of(replace(options, sandbox="monty", isolation="jailed"))
        try:
            checks += _tried("monty", "monty (jailed)", stronger, None)
        finally:
            stronger.close()
    return checks


def _tried(tier: TierName, name: str, router: Router, missing: Status | None) -> list[Check]:
    """The controls of a tier; how bad it is when there is none, if scripts may be sent there."""
    try:
        sandbox = router.get(tier)
        with busy(f"Trying {name}"):
            controls = sandbox.controls()
    except OneturnError as error:
        return [Check(name, missing or "none", str(error))]
    place = f"{tier} ({sandbox.isolation})"
    return [_check(place, control, "warn" if missing is None else "fail") for control in controls]


def _needed(options: Options, router: Router) -> dict[TierName, Status]:
    """The tiers that scripts of this app may be sent to, and how bad it is when one is missing."""
    if not isinstance(options.sandbox, str):
        return dict.fromkeys(router.tiers, "fail")
    if options.sandbox != "auto":
        return {options.sandbox: "fail"}
    if options.isolation in ("container", "gvisor"):
        return {"container": "fail"}
    if options.isolation == "remote":
        return {"remote": "fail"}
    return {"monty": "fail", "cpython": "warn"}


def _check(place: str, control: Control, worst: Status) -> Check:
    if control.proved:
        return Check(f"{place}: {control.name}", "ok", control.why or "proved")
    missing: Status = worst if control.required or control.proved is False else "none"
    return Check(f"{place}: {control.name}", missing, control.why or "not available")


def _settings(prepared: Prepared | ConfigError, app: str | None, *, lines: bool) -> list[Check]:
    if isinstance(prepared, ConfigError):
        return [Check("settings", "fail", str(prepared))]
    if prepared.path is not None:
        found = Check("settings", "ok", str(prepared.path))
    elif app is not None:
        found = Check("settings", "ok", f"none, only {app}")
    else:
        return [Check("settings", "warn", "no oneturn.toml here; `oneturn init` writes one")]
    return [found, *asyncio.run(_sources(prepared, lines))]


async def _sources(prepared: Prepared, lines: bool) -> list[Check]:
    app = prepared.app
    checks = []
    async with opened(app, tolerate=True, lines=lines, warn=False):
        for name in ("python", *app.sources):
            n = sum(tool.source == name for tool in app.catalog.tools)
            if name in app.problems:
                checks.append(Check(f"source: {name}", "fail", app.problems[name]))
            elif n or name != "python":
                dropped = sum(key.startswith(f"{name}.") for key in app.catalog.dropped)
                more = f", {dropped:,} left out; see `oneturn tools list --all`" if dropped else ""
                checks.append(Check(f"source: {name}", "ok", f"{n:,} tools{more}"))
        exist, allowed = len(app.catalog.tools), len(app.tools())
        hint = "; see `oneturn tools list --all`" if exist and not allowed else ""
        status: Status = "ok" if allowed else "warn"
        checks += [Check("patterns", "warn", text) for text in unmatched(app, prepared.patterns())]
        checks.append(_definitions(app))
        checks.append(Check("allow-list", status, f"{allowed:,} of {exist:,} tools may be called{hint}"))
    return checks


def _definitions(app: CodeMode) -> Check:
    held = app.catalog.held
    if held:
        return Check("definitions", "warn", f"held: {len(held):,}; see `oneturn tools diff`")
    loose = [name for name in app.sources if name not in app.catalog.pins.locked]
    if not loose:
        return Check("definitions", "ok", "as pinned")
    return Check(
        "definitions",
        "ok",
        f"of {', '.join(loose)} trusted as first seen, at every start; `oneturn tools pin` keeps them",
    )
