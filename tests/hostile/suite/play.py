"""Plays cases of one tier, in a process of its own: `python -m tests.hostile.suite.play TIER`.

It reads names of cases, one JSON list, and writes one JSON line when it begins a case and one when that is
done. It is the host of the sandbox. So a case may kill it, and whoever started it sees that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO, TypeVar

from oneturn import Outcome
from oneturn.errors import SessionLost
from oneturn.sandbox.base import Sandbox

from .case import Case
from .cases import CASES
from .oracles import Evidence, fired
from .target import Target
from .tiers import TIERS
from .watch import Heartbeat, Process, Watch, below, descriptors, process
from .world import World

T = TypeVar("T")
_SPARE = 2  # processes and threads more than before that a warm pool may come to
_SETTLE = 3.0  # seconds until what still lives has outlived its run
_HANG = 20.0
_TRIES = 5
_SESSION = "kept"


@dataclass(frozen=True)
class Played:
    """How a case ended on a tier. `fired`: oracles that saw it work. `armed`: whether it came to its act."""

    id: str
    fired: dict[str, str]
    armed: bool
    seconds: float
    ended: str


class Player:
    """Plays one case after another on one sandbox, which is replaced when a case has broken it."""

    def __init__(self, world: World, tier: str) -> None:
        self._world = world
        self._tier = TIERS[tier]
        self._sandbox: Sandbox | None = None
        self._idle: tuple[int, int] = (0, 0)

    async def warm(self) -> None:
        """Make the sandbox and run a little, so that what it keeps warm is there."""
        self._sandbox = self._tier.make()
        await asyncio.to_thread(self._sandbox.controls)  # which takes longer than a run may
        target = Target(self._sandbox, "", self._tier.timeout)
        for caller in ("local", "other", "local"):
            tries = [await self._after(target, caller)]
            while tries[-1] and len(tries) < _TRIES:  # a machine that is very busy
                tries.append(await self._after(target, caller))
            if tries[-1]:
                raise RuntimeError(f"{self._tier.name} does not run at all: {tries[-1]}")
        await target.close()
        self._idle = await self._settled()

    async def play(self, case: Case) -> Played:
        """Play it, and judge it by everything there is to see."""
        world = self._world
        if self._sandbox is None:
            await self.warm()
        assert self._sandbox is not None
        target = Target(self._sandbox, world.canary, self._tier.timeout)
        await target.app.open()
        world.touched.clear()
        world.made()
        open_before = descriptors()
        watch, heart = Watch(world.victim.pid), Heartbeat()
        beating = asyncio.create_task(heart.beat())
        began = time.monotonic()
        watch.start()
        seen = await self._run(case, target)
        watch.stop()
        beating.cancel()
        if case.session:  # until its end it keeps a process, as it should
            for caller in ("local", "other"):
                await target.app.end_session(_SESSION, caller=caller)
        left = await self._left()
        seen = replace(
            seen,
            arrived=tuple(target.arrived),
            hidden=target.hidden,
            left=left,
            victim=self._victim_is_well(),
            gap=heart.longest,
            host_memory=watch.host_memory,
            guest_memory=watch.guest_memory,
        )
        seen = replace(seen, after=await self._after(target))
        await target.close()
        seen = replace(
            seen,
            descriptors=descriptors() - open_before,
            touched=tuple(world.touched),
            made=tuple(world.made()),
        )
        found = fired(seen)
        if found:
            await self._replace()
        if not seen.victim:
            world.heal()
        ended = seen.outcomes[0] if seen.outcomes else None
        return Played(case.id, found, target.armed, time.monotonic() - began, _ending(ended))

    async def close(self) -> None:
        """Close the sandbox."""
        if self._sandbox is not None:
            await asyncio.to_thread(self._sandbox.close)

    async def _run(self, case: Case, target: Target) -> Evidence:
        """Execute the case's scripts, one after the other, and note the time they took."""
        sources, outcomes, overrun, problem = [], [], 0.0, ""
        for number, source in enumerate(case.script(self._world.planted)):
            if not source:
                continue
            caller = "other" if number == 2 else "local"
            sources.append(source)
            began = time.monotonic()
            try:
                session = _SESSION if case.session else ""
                outcomes.append(await _soon(target.app.execute(source, caller=caller, session=session)))
            except SessionLost:
                pass  # as it should be, after a limit
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            overrun = max(overrun, time.monotonic() - began - self._tier.timeout)
        return Evidence(self._world.canary, sources, outcomes, problem, overrun=overrun)

    async def _after(self, target: Target, caller: str = "local") -> str:
        """What is wrong with the next run, if anything."""
        target.arrived.clear()
        try:
            outcome = await _soon(target.app.execute("await echo([1 + 1])", caller=caller))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "" if outcome.value == [2] else f"it came to {outcome.value!r}, {outcome.error}"

    # --- what lives

    async def _replace(self) -> None:
        """After a break nothing of this sandbox is trusted, and nothing of its guests may live on."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            await asyncio.to_thread(sandbox.close)
        for each in self._guests():
            with contextlib.suppress(OSError):
                os.kill(each.pid, signal.SIGKILL)

    async def _settled(self) -> tuple[int, int]:
        """What it keeps warm, once that has been as it is for a second."""
        seen, since = (0, 0), time.monotonic()
        while time.monotonic() - since < 1.0:
            await asyncio.sleep(0.05)
            if (now := _count(self._guests())) != seen:
                seen, since = now, time.monotonic()
        return seen

    async def _left(self) -> str:
        """What of the run is alive, or still busy, when it has had time to be gone."""
        until, quiet = time.monotonic() + _SETTLE, 0
        while time.monotonic() < until:
            guests = self._guests()
            more = [now - before for now, before in zip(_count(guests), self._idle, strict=True)]
            busy = [each for each in guests if each.state == "R"]
            quiet = quiet + 1 if not busy and max(more) <= _SPARE else 0
            if quiet == 2:
                return ""
            await asyncio.sleep(0.005 if quiet else 0.05)
        return f"{more[0]} processes and {more[1]} threads more than before, {len(busy)} of them busy"

    def _guests(self) -> list[Process]:
        """Every process below this one but our own; one that has ended does no harm."""
        return [each for each in below() if each.pid != self._world.victim.pid and each.state != "Z"]

    def _victim_is_well(self) -> bool:
        seen = process(self._world.victim.pid)
        return seen is not None and seen.state == "S"


def _count(guests: list[Process]) -> tuple[int, int]:
    return len(guests), sum(each.threads for each in guests)


def _ending(outcome: Outcome | None) -> str:
    if outcome is None:
        return "nothing"
    return (
        f"{outcome.error.kind}: {outcome.error.message[:200]}" if outcome.error else repr(outcome.value)[:200]
    )


async def _soon(work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, _HANG)


async def _play(player: Player, cases: list[Case], out: TextIO) -> None:
    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=out, flush=True)

    await player.warm()
    say({"ready": True})
    for case in cases:
        say({"playing": case.id})
        say(asdict(await player.play(case)))
    await player.close()


def main() -> int:
    """Play the cases that are named on the standard input."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a guest might write has no place among the results
    cases = [CASES[name] for name in json.load(sys.stdin)]
    world = World(Path(tempfile.gettempdir()))
    try:
        asyncio.run(_play(Player(world, sys.argv[1]), cases, out))
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
