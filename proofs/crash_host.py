"""Hosts that are killed at a step of their journal, and those that go on after them.

`python -m proofs.crash_host JOURNAL TIER SCRIPT COUNT SEED PART` prints what became of so many runs, as JSON.
It is one process with one thread that opens nothing itself: every host is a fork of it, so that a crash
costs no start of Python. What a host says before it dies comes through a pipe.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import functools
import importlib
import itertools
import json
import os
import random
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from oneturn import CodeMode, Outcome
from oneturn.journal import checkpoints
from oneturn.journal.events import decode
from oneturn.journal.postgres import PostgresStore
from oneturn.journal.rows import Append
from oneturn.journal.sqlite import SqliteStore
from oneturn.journal.store import Store
from oneturn.journal.writer import Journal, Recording
from oneturn.types import Decision

from .crash_scripts import IDEMPOTENT, SCRIPTS, TOO_UNSURE, UNKNOWN, app_of
from .effects import Effect, Effects, counting, read

_SEED = 11  # of the scripts' own randomness
_PATIENCE = 90.0  # seconds one host may take
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: processes that dead hosts leave behind become ours
_HOSTS = 40  # of one run
_MORE = (0.5, 0.4, 0.3, 0.3)  # how likely the host that goes on is killed too, and the next, …


@dataclass(frozen=True)
class Ended:
    """How a run ended, as far as two runs of the same script must end alike."""

    status: str
    value: Any
    error: str
    prints: str
    calls: Sequence[tuple[int, str, str]]

    @classmethod
    def of(cls, outcome: Outcome) -> Ended:
        error = f"{outcome.error.kind}: {outcome.error.message}" if outcome.error else ""
        calls = [
            (call.id, call.tool, UNKNOWN if TOO_UNSURE in call.error else call.status)
            for call in outcome.calls
        ]
        return cls(outcome.status, outcome.value, error, outcome.prints, calls)


@dataclass
class Told:
    """What a host said through its pipe."""

    killed: str = ""
    in_doubt: Sequence[int] = ()
    ended: Ended | None = None
    points: int = 0
    problem: str = ""
    modules: Sequence[str] = ()


@dataclass
class Found:
    """What became of the runs."""

    runs: int = 0
    crashes: int = 0
    resumed: int = 0
    in_doubt: int = 0
    repeated: int = 0
    effects: int = 0
    points: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)


class Killer:
    """Counts the steps of this process and kills it at one of them."""

    def __init__(self) -> None:
        self.at = 0
        self.pipe = -1
        self._steps = itertools.count(1)  # steps come from several threads, and this is atomic
        self.seen = 0
        self.open: set[int] = set()
        self.dying = threading.Lock()  # held for good by a thread that kills

    def begin(self, pipe: int, at: int) -> None:
        """A host begins; whoever forked it has been counted too."""
        self.pipe, self.at, self._steps = pipe, at, itertools.count(1)

    def __call__(self, where: str) -> None:
        self.seen = step = next(self._steps)
        if step == self.at:
            self.dying.acquire()  # what is open from here on is nobody's doing
            self.say("killed", [where, sorted(self.open)])
            os.kill(os.getpid(), signal.SIGKILL)

    def say(self, what: str, how: Any) -> None:
        os.write(self.pipe, json.dumps([what, how]).encode() + b"\n")


KILLER = Killer()


def _stop_at_every_step() -> None:
    """Let the killer in before and after everything that is done with a journal."""

    def around(owner: type, name: str, what: Callable[..., str]) -> None:
        done = getattr(owner, name)

        @functools.wraps(done)
        def stepping(*args: Any, **kwargs: Any) -> Any:
            where = what(*args)
            KILLER(f"before {where}")
            result = done(*args, **kwargs)
            KILLER(f"after {where}")
            return result

        setattr(owner, name, stepping)

    around(Recording, "note", lambda _, kind, *__: f"noting “{kind}”")
    around(Recording, "close", lambda *_: "giving up a run")
    around(Journal, "close", lambda *_: "closing the journal")
    for store in (SqliteStore, PostgresStore):
        _watch_doubt(store)
        around(store, "append", lambda *_: "writing")
        around(store, "lease", lambda *_: "taking a run")
        around(store, "release", lambda *_: "releasing a run")


def _watch_doubt(store: type[Store]) -> None:
    """Know which calls a crash here leaves in doubt: those that may be on record, with no answer there."""
    append = store.append

    def watched(self: Store, appends: Sequence[Append]) -> frozenset[str]:
        answered = set()
        for row in (row for each in appends for row in each.rows):
            body = decode(row.body) if row.kind in ("called", "answered") else {}
            if row.kind == "answered":
                answered.add(body["id"])
            elif body.get("verdict") == "allowed" and body["effect"] != "read":
                with KILLER.dying:
                    KILLER.open.add(body["id"])
        lost = append(self, appends)
        KILLER.open -= answered
        return lost

    store.append = watched  # type: ignore[method-assign]


def store_of(journal: str) -> Store:
    """The store itself, beside any app."""
    return PostgresStore(journal) if journal.startswith("postgresql:") else SqliteStore(journal)


@dataclass(frozen=True)
class Stage:
    """Where runs take place: everything about them but when they are killed."""

    journal: str
    tier: str
    script: str
    socket: Path

    def host(self, tag: str, seed: str) -> None:
        """A host: begin the run of this tag, or go on with it."""
        store = store_of(self.journal)
        known = store.runs(caller=tag)
        store.close()
        effects = Effects(self.socket)
        app = app_of(self.journal, effects, KILLER, random.Random(seed))  # noqa: S311  to be repeated
        asyncio.run(self._drive(app, tag, [row.id for row in known]))
        KILLER.say("points", KILLER.seen)
        if not KILLER.at:
            KILLER.say("modules", sorted(sys.modules))

    async def _drive(self, app: CodeMode, tag: str, runs: Sequence[str]) -> None:
        script = SCRIPTS[self.script]
        retry_of = runs[0] if script.retried and self._is_lost(runs) else ""
        async with app:
            if runs and not retry_of:
                outcome = await app.resume(runs[0], caller=tag)
            else:
                sandbox: Any = None if self.tier == "auto" else self.tier
                outcome = await app.execute(
                    script.text, caller=tag, seed=_SEED, sandbox=sandbox, retry_of=retry_of
                )
            KILLER.say("ended", asdict(Ended.of(outcome)))

    def _is_lost(self, runs: Sequence[str]) -> bool:
        """Whether the only run did not end, and does not wait; or no other began to do its work again."""
        store = store_of(self.journal)
        row = store.run(runs[0]) if len(runs) == 1 else None
        store.close()
        return row is not None and row.status in ("running", "cancelled")

    def decide(self, tag: str) -> None:
        """What people say about the calls that wait: yes, unless that could repeat something."""
        grant = SCRIPTS[self.script].grant
        with contextlib.closing(Journal(store_of(self.journal))) as journal:
            for filed in journal.approvals.list(caller=tag, status="pending"):
                word = (
                    Decision(False, "alice", TOO_UNSURE)
                    if filed.approval.why
                    else Decision(True, "alice", grant=grant)
                )
                journal.approvals.decide(filed.approval.id, word)

    def asked(self, tag: str) -> int:
        """How many calls of the runs of this tag people were asked about, but for those in doubt."""
        with contextlib.closing(Journal(store_of(self.journal))) as journal:
            return sum(not filed.approval.why for filed in journal.approvals.list(caller=tag))

    def fork(self, tag: str, seed: str, at: int) -> Told:
        """Have a host, killed at its step `at` (0: not at all), and what it told."""
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(out)
            self._child(into, tag, seed, at)
        os.close(into)
        try:
            return _heard(out, pid)
        finally:
            os.close(out)

    def _child(self, into: int, tag: str, seed: str, at: int) -> NoReturn:
        status = 1
        try:
            KILLER.begin(into, at)
            self.host(tag, seed)
            status = 0
        except BaseException as error:
            KILLER.say("problem", f"{type(error).__name__}: {error}")
        finally:
            os._exit(status)


def _heard(out: int, pid: int) -> Told:
    """All that a host says, until it is gone."""
    said, until = b"", time.monotonic() + _PATIENCE
    while select.select([out], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(out, 100_000)
        if not part:
            break
        said += part
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    words = dict(json.loads(line) for line in said.splitlines())
    told = Told(
        points=words.get("points", 0), problem=words.get("problem", ""), modules=words.get("modules", ())
    )
    if "killed" in words:
        told.killed, told.in_doubt = words["killed"]
    elif status and not told.problem:
        told.problem = f"a host hung or died by itself (status {status})"
    if "ended" in words:
        told.ended = Ended(**words["ended"])
    return told


@dataclass
class Play:
    """Runs on one stage, and what they came to."""

    stage: Stage
    file: Path
    effects: Effects
    chance: random.Random
    found: Found = field(default_factory=Found)
    position: int = 0

    def all(self, count: int, first: int) -> Found:
        """The undisturbed run, then `count` runs that are killed, from the `first` step on."""
        points = 0
        while True:
            told = self.stage.fork("undisturbed", "0", 0)
            points += told.points
            if told.ended is None or told.ended.status != "waiting":
                break
            self.stage.decide("undisturbed")
        told.points = points
        done = self._done("undisturbed")
        if told.ended is None or not told.ended.calls:
            self.found.wrong.append(f"undisturbed: {told.problem or told.ended}")
            return self.found
        for name in told.modules:  # the hosts to come need not import them again
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        assert threading.active_count() == 1, "a process with several threads cannot be forked"
        for number, at in enumerate(itertools.islice(self._steps(told.points), first, first + count)):
            self._one(f"{self.stage.script} {number}", at, told, done)
        self._verify()
        return self.found

    def _steps(self, points: int) -> Iterator[int]:
        """Every step once, in any order, and again."""
        while True:
            yield from self.chance.sample(range(1, points + 1), points)

    def _one(self, tag: str, at: int, undisturbed: Told, expected: Sequence[Effect]) -> None:
        self.found.runs += 1
        steps = [at, *self._later(undisturbed.points), 0]
        may_doubt: set[int] = set()
        ends: list[Ended] = []
        history: list[str] = []
        told = Told(killed="")
        for hosts in itertools.count():
            told = self.stage.fork(tag, f"{tag} {hosts} {steps[0]}", steps[0])
            is_waiting = told.ended is not None and told.ended.status == "waiting"
            history.append(told.killed or told.problem or ("waited" if is_waiting else "ended"))
            ends += [told.ended] if told.ended and not is_waiting else []
            if is_waiting and not told.killed and hosts < _HOSTS:
                self.stage.decide(tag)
                steps[0] = max(0, steps[0] - told.points)  # the next host counts on
                continue
            if told.problem or not told.killed:
                break
            steps.pop(0)
            may_doubt |= set(told.in_doubt)
            self.found.crashes += 1
            self.found.points[told.killed] += 1
        self.found.resumed += len(history) > 1
        done = self._done(tag)
        self.found.effects += len(done)
        self.found.repeated += len(done) - len({effect.key for effect in done})
        problems = [told.problem] if told.problem else []
        if not ends:
            problems.append("it never ended")
        else:
            problems += judged(ends, undisturbed.ended, done, expected, may_doubt)
            asked = [self.stage.asked(each) for each in (tag, "undisturbed")]
            if (
                ends[-1].status == "succeeded"
                and not SCRIPTS[self.stage.script].retried
                and asked[0] != asked[1]
            ):
                problems.append(f"people were asked about {asked[0]} calls, not {asked[1]}")
            self.found.in_doubt += sum(status == "unknown" for _, _, status in ends[-1].calls)
        self.found.wrong += [f"{tag} [{' | '.join(history)}]: {problem}" for problem in problems]

    def _later(self, points: int) -> Iterator[int]:
        for likely in _MORE:
            if self.chance.random() > likely:
                return
            yield self.chance.randint(1, points)

    def _done(self, tag: str) -> list[Effect]:
        """The effects of the run that has just ended; nobody else's may be among them."""
        self.effects.settle()
        found, self.position = read(self.file, self.position)
        strange = [effect for effect in found if effect.tag != tag]
        if strange:
            self.found.wrong.append(f"{tag}: effects of another run came late: {strange}")
        return [effect for effect in found if effect.tag == tag]

    def _verify(self) -> None:
        store = store_of(self.stage.journal)
        self.found.wrong += [
            str(each) for each in checkpoints.verify(store) if isinstance(each, checkpoints.Problem)
        ]
        store.close()


def judged(
    ends: Sequence[Ended],
    undisturbed: Ended | None,
    done: Sequence[Effect],
    expected: Sequence[Effect],
    may_doubt: set[int],
) -> list[str]:
    """What is wrong with a run that was killed and taken up again.

    Args:
        ends: Its outcome as each host saw it that got so far.
        undisturbed: The outcome of the same script when nobody is killed.
        done: The effects that were counted.
        expected: Those of the undisturbed run.
        may_doubt: The calls that were on record without an answer when a host was killed.
    """
    assert undisturbed is not None
    end = ends[-1]
    problems = [f"its outcome changed: {each} and {end}" for each in ends[:-1] if each != end]
    unknown = {number: tool for number, tool, status in end.calls if status == "unknown"}
    problems += [f"{tool} (call {number}) is in doubt for no reason" for number, tool in unknown.items()
                 if number not in may_doubt or tool.rpartition(".")[2] in IDEMPOTENT]  # fmt: skip
    by_call: dict[tuple[str, int], set[str]] = {}
    for effect in done:
        by_call.setdefault((effect.tool, effect.n), set()).add(effect.key)
    times = collections.Counter((effect.tool, effect.n) for effect in done)
    problems += [
        f"{tool}({n}) was done under several keys" for (tool, n), keys in by_call.items() if len(keys) > 1
    ]
    problems += [f"{tool}({n}) was done {count} times" for (tool, n), count in times.items()
                 if count > 1 and tool not in IDEMPOTENT]  # fmt: skip
    wanted = {(effect.tool, effect.n) for effect in expected}
    problems += [f"{tool}({n}) was done, and not in the undisturbed run" for tool, n in set(times) - wanted]
    if end.status == "failed" and "may have taken effect" in end.error and unknown:
        return problems  # the script did not catch it: it ended there
    missing = wanted - set(times)
    if len(missing) > len(unknown):
        problems.append(f"effects are lost: {sorted(missing)}")
    if not _same(end.value, undisturbed.value, len(unknown)):
        problems.append(f"its value is {end.value}, not {undisturbed.value}")
    if (end.status, end.error) != (undisturbed.status, undisturbed.error):
        problems.append(f"it {end.status} ({end.error}), and not as undisturbed ({undisturbed.error})")
    if end.prints != undisturbed.prints and not unknown:
        problems.append(f"it printed {end.prints!r}, not {undisturbed.prints!r}")
    # Which number a call has depends on when tools answer, so tools and statuses are counted.
    tools = [collections.Counter(tool for _, tool, _ in each.calls) for each in (end, undisturbed)]
    known = [
        collections.Counter((tool, status) for _, tool, status in each.calls if status != "unknown")
        for each in (end, undisturbed)
    ]
    if tools[0] != tools[1] or not known[0] <= known[1]:
        problems.append(f"its calls are {end.calls}, not {undisturbed.calls}")
    return problems


def _same(got: Any, expected: Any, unknown: int) -> bool:
    """Whether two values are the same but for what a call in doubt left unknown."""
    if got == UNKNOWN:
        return unknown > 0 or got == expected
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        if got.keys() == expected.keys() == {"total"}:
            return bool(expected["total"] - unknown <= got["total"] <= expected["total"])
        return got.keys() == expected.keys() and all(_same(got[k], expected[k], unknown) for k in got)
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(_same, got, expected, itertools.repeat(unknown)))
    return bool(got == expected)


def _left_behind() -> list[str]:
    """Processes of dead hosts that live on."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []
        time.sleep(0.05)
    below = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [f"left by a dead host: {Path(f'/proc/{pid}/cmdline').read_text()[:100]!r}" for pid in below]


def main() -> None:
    """Play, and say what was found."""
    journal, tier, script, count, seed, part = sys.argv[1:]
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    _stop_at_every_step()
    with tempfile.TemporaryDirectory(prefix="ot-crash-") as folder:
        with counting(Path(folder)) as (socket, file):
            stage = Stage(journal or f"{folder}/journal.db", tier, script, socket)
            chance = random.Random(f"{seed} {tier} {script}")  # noqa: S311
            found = Play(stage, file, Effects(socket), chance).all(int(count), int(part) * int(count))
        found.wrong += _left_behind()
    print(json.dumps(vars(found)))


if __name__ == "__main__":
    main()
