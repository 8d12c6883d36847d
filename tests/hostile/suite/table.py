# ruff: noqa: E501  scripts are easier to read whole
"""Plays cases of a tier in processes of their own, and counts how they ended."""

from __future__ import annotations

import json
import os
import secrets
import selectors
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .case import Case
from .tiers import ROOT, TIERS, Tier

Verdict = Literal["held", "not expressible", "not claimed", "BROKEN"]
VERDICTS: Sequence[Verdict] = ("held", "not expressible", "not claimed", "BROKEN")

_SILENCE = 90.0  # seconds without a word after which a player is given up
_NOBODY = 65534
_NAMESPACES = "unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc setsid sh -c"


@dataclass(frozen=True)
class Result:
    """How one case ended on one tier."""

    case: Case
    tier: str
    verdict: Verdict
    fired: Mapping[str, str]
    armed: bool
    seconds: float
    ended: str

    def __str__(self) -> str:
        why = "; ".join(f"{oracle}: {what[:300]}" for oracle, what in self.fired.items())
        return f"{self.tier}, {self.case.id}: {self.verdict}, {why or 'no oracle fired'} ({self.ended[:200]})"


def results(tier: str, cases: Iterable[Case]) -> dict[str, Result]:
    """Play cases on a tier; a player that a case kills is replaced, and that is the case's verdict.

    Raises:
        RuntimeError: The tier does not run at all.
    """
    left = {case.id: case for case in cases}
    found: dict[str, Result] = {}
    while left:
        playing, ready = "", False
        for line in _player(TIERS[tier], list(left)):
            if "ready" in line:
                ready = True
            elif "playing" in line:
                playing = line["playing"]
            else:
                found[playing] = _result(tier, left.pop(playing), line)
                playing = ""
        if playing:
            gone = {"fired": {"host": "the process that plays host is gone, or says nothing any more"}}
            found[playing] = _result(tier, left.pop(playing), gone)
        elif left or not ready:
            raise RuntimeError(f"The player for {tier} ended by itself; see what it wrote above.")
    return found


def _result(tier: str, case: Case, line: Mapping[str, Any]) -> Result:
    fired, armed = line["fired"], bool(line.get("armed"))
    verdict: Verdict = "held"
    if fired:
        verdict = "not claimed" if case.claim and case.claim not in TIERS[tier].claims else "BROKEN"
    elif not armed and "@ARM@" in case.source:
        verdict = "not expressible"
    return Result(case, tier, verdict, fired, armed, line.get("seconds", 0.0), line.get("ended", ""))


def counts(found: Iterable[Result]) -> dict[str, Counter[Verdict]]:
    """Verdicts by class of attack."""
    by_class: dict[str, Counter[Verdict]] = {}
    for result in found:
        by_class.setdefault(result.case.cls, Counter())[result.verdict] += 1
    return dict(sorted(by_class.items()))


def _player(tier: Tier, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines one player writes until it ends, or is silent for too long."""
    # The folder is ours, so that it goes even when the player is killed.
    with tempfile.TemporaryFile() as wanted, tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        os.chmod(folder, 0o777)
        wanted.write(json.dumps(names).encode())
        wanted.seek(0)
        process = subprocess.Popen(
            _command(tier), cwd=ROOT, env=_environment(tier, folder), stdin=wanted, stdout=subprocess.PIPE,
            start_new_session=True, user=_NOBODY if _drops(tier) else None, group=_NOBODY if _drops(tier) else None,
            extra_groups=[] if _drops(tier) else None,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                rest = b""
                while selector.select(_SILENCE) and (data := os.read(process.stdout.fileno(), 65_536)):
                    *lines, rest = (rest + data).split(b"\n")
                    yield from map(json.loads, lines)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _command(tier: Tier) -> list[str]:
    python = unprivileged_python() if _drops(tier) else sys.executable
    command = [python or sys.executable, "-m", "tests.hostile.suite.play", tier.name]
    # Two commands, so that the shell stays, as the first process of its namespace: that one ignores what
    # its children send it.
    return [*_NAMESPACES.split(), f"{shlex.join(command)}; exit $?"] if tier.contained else command


def _environment(tier: Tier, folder: str) -> dict[str, str]:
    paths = [str(ROOT / "src"), str(ROOT)]
    if _drops(tier):
        paths.append(sysconfig.get_paths()["purelib"])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "HOME": "/tmp",
        "TMPDIR": folder,
        "PYTHONDONTWRITEBYTECODE": "1",
        "ONETURN_CANARY": f"canary_{secrets.token_hex(8)}",  # from the start, as `/proc` tells it
    }


def _drops(tier: Tier) -> bool:
    return tier.unprivileged and os.geteuid() == 0


def unprivileged_python() -> str:
    """A Python of our own version that a user who may nothing can run, and that finds the packages."""
    for folder in ("/usr/bin", "/usr/local/bin", str(Path(sys.executable).parent)):
        path = f"{folder}/python3.{sys.version_info[1]}"
        check = [path, "-c", "import oneturn.sandbox.monty"]
        env = {"PYTHONPATH": f"{ROOT / 'src'}:{sysconfig.get_paths()['purelib']}"}
        try:
            done = subprocess.run(check, user=_NOBODY, group=_NOBODY, env=env, cwd="/", capture_output=True)
        except OSError:
            continue
        if done.returncode == 0:
            return path
    return ""
