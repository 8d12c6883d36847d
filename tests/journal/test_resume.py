"""A run that was interrupted goes on where it was, once, and only if it still is the same run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.journal.hosts import Host

from oneturn import CodeMode, Limits
from oneturn.errors import Diverged, JournalCorrupt, JournalError, RunBusy, RunNotFound
from oneturn.journal.writer import LARGE


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def saved(host: Host) -> list[str]:
    """The writes that were done, without who did them."""
    return [line.partition(" by ")[0] for line in host.done() if line.startswith("save")]


# --- from the record


async def test_what_is_on_record_is_not_done_again(host: Host) -> None:
    outcome = await host.run("a = await look(1)\nb = await save(a)\nprint(b)\nc = await save(9)\n[a, b, c]")
    done = host.done()
    for copy in [host.after("answered", which) for which in (0, 1, 2)]:
        (host.folder / "done").unlink()
        again = await copy.resume(outcome.run_id)
        assert (again.value, again.prints) == (outcome.value, outcome.prints)
        assert [(call.tool, call.status) for call in again.calls] == [
            (call.tool, call.status) for call in outcome.calls
        ]
        rest = {0: ["save 2", "save 9"], 1: ["save 9"], 2: []}
        which = [0, 1, 2][len(done) - len(host.done()) - 1]
        assert saved(host) == rest[which]


async def test_the_outcome_of_a_run_that_is_over_is_the_recorded_one(host: Host) -> None:
    script = """
print('a')
wrong = {'n': 'x'}
try:
    await save(**wrong)
except Exception as e:
    print(type(e).__name__)
"""
    for end in (
        "return [await look(2), await save(3)]",
        "await look(2)\n1 // 0",
        "await wait(9.0)",
        "nothing()",
        "1 +",
    ):
        outcome = await host.run(script + end, limits=Limits(timeout=1.0))
        done = host.done()
        again = await host.resume(outcome.run_id)
        assert host.done() == done
        assert again.seconds == pytest.approx(outcome.seconds, abs=1e-5)
        for name in (
            "run_id",
            "status",
            "value",
            "prints",
            "error",
            "caller",
            "sandbox",
            "isolation",
            "seed",
        ):
            assert getattr(again, name) == getattr(outcome, name), name
        for new, old in zip(again.calls, outcome.calls, strict=True):
            assert (new.id, new.tool, new.effect, new.status, new.position, new.error) == (
                old.id, old.tool, old.effect, old.status, old.position, old.error,
            )  # fmt: skip


@pytest.mark.parametrize("wrap", ["await save(1)", "await again.put(1)", "await look(1)"])
async def test_a_call_in_doubt(host: Host, wrap: str) -> None:
    outcome = await host.run(f"try:\n    got = {wrap}\nexcept RuntimeError as e:\n    got = str(e)\ngot")
    again = await host.after("called").resume(outcome.run_id)
    (call,) = again.calls
    if "save" in wrap:
        assert "may have taken effect" in again.value
        assert (call.status, len(host.done())) == ("unknown", 1)
    else:
        assert (again.value, call.status) == (outcome.value, "ok")
        first, second = host.done()
        assert first == second  # with the same idempotency key


async def test_large_values_are_kept_beside_the_events_and_come_back(host: Host) -> None:
    size = 2 * LARGE
    outcome = await host.run(
        f"t = await text({size})\nawait save(1)\nu = await text({size})\n[len(t), u == t, t]"
    )
    with sqlite3.connect(host.journal) as journal:
        (largest,) = journal.execute("select max(length(body)) from oneturn_rows").fetchone()
        (blobs,) = journal.execute(
            "select count(*) from oneturn_blobs where length(data) > ?", (size,)
        ).fetchone()
    assert largest < LARGE
    assert blobs == 2  # the text once, for both calls, and the script's value
    for kind in ("called", "resumed", "returned"):
        again = await host.after(kind).resume(outcome.run_id)
        assert again.value == [size, True, "x" * size]


# --- limits


async def test_calls_made_before_count_afterwards(host: Host) -> None:
    script = """
got = []
for i in range(5):
    try:
        got.append(await look(i))
    except Exception as error:
        got.append(type(error).__name__)
got"""
    limits = Limits(calls=3)
    outcome = await host.run(script, limits=limits)
    assert outcome.value[3] == outcome.value[4] != 6
    for n, kind, _ in host.rows():
        if kind == "resumed":
            again = await host.cut(n).resume(outcome.run_id, limits=limits)
            assert again.value == outcome.value


async def test_the_time_used_before_counts_afterwards(host: Host) -> None:
    limits = Limits(timeout=3.0)
    script = "await wait(2.0)\nawait save(1)\nawait wait(2.0)\n'too long'"
    outcome = await host.run(script, limits=limits)
    assert outcome.error is not None
    again = await host.after("answered").resume(outcome.run_id, limits=limits)
    assert again.error is not None, "it had two times its limit"
    assert again.error.kind == "TimeoutError"


async def test_the_clock_goes_on(host: Host) -> None:
    script = """
import time
await wait(0.3)
began = time.monotonic()
await save(1)
time.monotonic() - began"""
    outcome = await host.run(script)
    for n, kind, _ in host.rows():
        if kind in ("called", "answered", "resumed"):
            (host.folder / "done").unlink(missing_ok=True)
            again = await host.cut(n).resume(outcome.run_id)
            assert again.value is None or again.value >= 0, f"after row {n}"


# --- it must be the same run


async def test_another_callers_run_is_not_there(host: Host) -> None:
    outcome = await host.run("await look(1)", execute={"caller": "ann"})
    async with host.app() as app:
        with pytest.raises(RunNotFound):
            await app.resume(outcome.run_id, caller="bob")
        with pytest.raises(RunNotFound):
            await app.resume("run_0123456789abcdef")
        assert (await app.resume(outcome.run_id, caller="ann")).value == 2


async def test_a_run_in_a_session_cannot_go_on_without_it(host: Host) -> None:
    outcome = await host.run("x = await look(1)\nx", execute={"session": "notes"})
    with pytest.raises(JournalError, match="session notes"):
        await host.after("answered").resume(outcome.run_id)
    assert (await host.resume(outcome.run_id)).value == 2  # what is over, is


@pytest.mark.parametrize("kind", ["called", "answered"])
async def test_a_tool_that_is_defined_in_another_way(host: Host, kind: str) -> None:
    outcome = await host.run("await save(1)\nawait save(2)")
    copy, done = host.after(kind, 0), host.done()
    app = CodeMode(allow="*", journal=copy.journal)

    @app.tool(effect="write")
    async def save(n: int, twice: bool = False) -> str:
        host.do(f"save {n}")
        return ""

    async with app:
        with pytest.raises(Diverged, match=r"save changed its definition.*retry_of"):
            await app.resume(outcome.run_id)
    assert host.done() == done
    assert (await copy.resume(outcome.run_id)).calls  # it is still there for whoever has the old one


@pytest.mark.parametrize("kind", ["called", "answered"])
async def test_a_tool_that_does_not_take_what_was_sent_any_more(host: Host, kind: str) -> None:
    outcome = await host.run("await save(1)\nawait save(2)")
    copy, done = host.after(kind, 0), host.done()
    app = CodeMode(allow="*", journal=copy.journal)

    @app.tool(effect="write")
    async def save(n: str) -> str:
        host.do(f"save {n}")
        return ""

    async with app:
        with pytest.raises(Diverged, match="save changed its definition"):
            await app.resume(outcome.run_id)
    assert host.done() == done


@pytest.mark.parametrize("kind", ["called", "answered"])
async def test_a_tool_that_is_gone(host: Host, kind: str) -> None:
    outcome = await host.run("await save(1)\nawait save(2)")
    copy, done = host.after(kind, 0), host.done()
    async with CodeMode(allow="*", journal=copy.journal) as app:
        with pytest.raises(Diverged, match="save cannot be called any more"):
            await app.resume(outcome.run_id)
    assert host.done() == done


async def test_a_script_that_was_changed_in_the_journal(host: Host) -> None:
    outcome = await host.run("await save(1)\nawait save(2)")
    copy, done = host.after("answered", 0), host.done()
    copy.alter(1, b"save(2)", b"save(3)")
    with pytest.raises(JournalCorrupt, match="Row 1 "):
        await copy.resume(outcome.run_id)
    assert host.done() == done


async def test_another_call_than_on_record_is_shown_beside_it(host: Host) -> None:
    outcome = await host.run("a = await look(1)\nawait save(a)\nawait save(3)")
    copy, done = host.after("answered"), host.done()
    copy.forge(1, code="a = await look(1)\nawait save(a + 5)\nawait save(3)")
    with pytest.raises(Diverged) as caught:
        await copy.resume(outcome.run_id)
    assert "save(n=2)" in str(caught.value)
    assert "save(7)" in str(caught.value)
    assert host.done() == done


# --- secrets

SECRETS = ("hunter2-secret", 'with "quotes" and \\', "line\nfeed", "1234567", "ünï-sécret")


def _with_secret(host: Host, secret: str, journal: Path | None = None) -> CodeMode:
    from oneturn.tools.function import FunctionSource

    class Vault(FunctionSource):
        name = "vault"

        def secrets(self) -> tuple[str, ...]:
            return (secret,)

    async def token() -> str:
        return f"<{secret}>"

    app = CodeMode(allow="*", journal=journal or host.journal)
    vault = Vault()
    vault.add(token, effect="read")
    app.add_source(vault, namespace="vault")

    @app.tool(effect="write")
    async def use(token: str) -> str:
        host.do(f"use {token!r}")
        return "used"

    return app


@pytest.mark.parametrize("secret", SECRETS)
async def test_secrets_are_not_written_and_their_mask_is_not_sent(host: Host, secret: str) -> None:
    async with _with_secret(host, secret) as app:
        outcome = await app.execute("t = await vault.token()\nprint(t)\nawait use(t)\nreturn {'t': t}")
    assert outcome.value == {"t": f"<{secret}>"}
    kept = b"".join(path.read_bytes() for path in host.folder.glob("journal.db*"))
    for spelled in (secret, repr(secret)[1:-1], secret.replace("\\", "\\\\").replace('"', '\\"')):
        assert spelled.encode() not in kept
    done = host.done()
    for n, kind, _ in host.rows():
        if kind in ("answered", "resumed", "called") and n > 3:
            copy = host.cut(n)
            async with _with_secret(host, secret, copy.journal) as app:
                with pytest.raises(JournalError):
                    await app.resume(outcome.run_id)
            assert host.done() == done, f"after row {n}"


# --- two hosts


@contextlib.contextmanager
def _process(host: Host, what: str, given: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.journal.hosts", host.folder, host.journal, what, given],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


async def test_of_two_hosts_one_goes_on_and_the_other_does_nothing(host: Host) -> None:
    (host.folder / "open").touch()
    outcome = await host.run("await save(1)\nawait gate()\nawait save(2)")
    host = host.after("answered", 0)
    (host.folder / "done").unlink()
    (host.folder / "open").unlink()
    with _process(host, "resume", outcome.run_id) as one, _process(host, "resume", outcome.run_id) as other:
        _go(one)
        _go(other)
        heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

        async def hear(name: str, process: subprocess.Popen[str]) -> None:
            assert process.stdout is not None
            await heard.put((name, await asyncio.to_thread(process.stdout.readline)))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hear("one", one))
            tasks.create_task(hear("other", other))
            loser, said = await heard.get()
            assert said.startswith("RunBusy"), said
            (host.folder / "open").touch()
            winner, said = await heard.get()
        assert (winner != loser, said) == (True, "succeeded saved 2\n")
    assert saved(host) == ["save 2"]


@pytest.mark.parametrize("then", ["await save(2)", "'saved 2'"])
async def test_a_host_that_stalled_does_nothing_once_another_has_taken_over(host: Host, then: str) -> None:
    script = f"await save(1)\nawait stall()\n{then}"
    with _process(host, "execute", script) as stalled:
        _go(stalled)
        await host.seen("stalled")
        with sqlite3.connect(host.journal) as journal:
            ((run,),) = journal.execute("select id from oneturn_runs").fetchall()
        until = time.monotonic() + 30
        while True:
            try:
                outcome = await host.resume(run)
                break
            except RunBusy:
                assert time.monotonic() < until
                await asyncio.sleep(0.1)
        assert outcome.value == "saved 2"
        stalled.send_signal(signal.SIGCONT)
        assert stalled.stdout is not None
        said = await asyncio.to_thread(stalled.stdout.readline)
        assert said.startswith("RunBusy"), said
        later = [f"save 2 by {os.getpid()}"] if "save(" in then else []
        assert host.done() == [f"save 1 by {stalled.pid}", *later]
    assert (await host.resume(run)).value == "saved 2"


async def test_a_run_under_way_is_not_taken_up_beside_itself(host: Host) -> None:
    async with host.app() as app:
        work = asyncio.create_task(app.execute("await save(1)\nawait gate()\nawait save(2)"))
        await host.seen("done")
        with sqlite3.connect(host.journal) as journal:
            ((run,),) = journal.execute("select id from oneturn_runs").fetchall()
        with pytest.raises(RunBusy):
            await app.resume(run)
        with pytest.raises(RunBusy):
            await host.resume(run)
        (host.folder / "open").touch()
        assert (await work).value == "saved 2"
    assert saved(host) == ["save 1", "save 2"]


# --- stores that take nothing


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_full_disk_stops_the_run_before_the_effect(host: Host, small_disk: Path) -> None:
    host.journal = small_disk / "journal.db"
    async with host.app() as app:
        assert (await app.execute("await save(1)")).ok
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 512)
        outcome = await app.execute(
            f"await save(2)\nawait save({'9' * 15})\nt = 'x' * 100_000\nawait text(len(t))"
        )
        assert outcome.error is not None
        assert (outcome.error.kind, outcome.status) == ("JournalError", "failed")
        assert "disk is full" in outcome.error.message
        assert saved(host) == ["save 1"]
        filler.unlink()
        assert (await app.execute("await save(3)")).value == "saved 3"
    assert saved(host) == ["save 1", "save 3"]
    again = await host.resume(outcome.run_id)
    assert (again.status, again.error) == ("failed", outcome.error)


async def test_a_locked_database_stops_the_run_before_the_effect(host: Host) -> None:
    async with host.app() as app:
        assert (await app.execute("await save(1)")).ok
        other = sqlite3.connect(host.journal, isolation_level=None)
        other.execute("begin immediate")
        outcome = await app.execute("await save(2)")
        assert outcome.error is not None
        assert outcome.error.kind == "JournalError"
        assert "locked" in outcome.error.message
        assert saved(host) == ["save 1"]
        other.execute("rollback")
        other.close()
        assert (await app.execute("await save(3)")).value == "saved 3"
    assert saved(host) == ["save 1", "save 3"]
