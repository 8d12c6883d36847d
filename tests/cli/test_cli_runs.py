"""`oneturn runs`: recorded runs listed, shown, replayed, exported, resumed and pruned by a real process."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from oneturn import CodeMode
from oneturn.testing import replay

TOML = 'app = "shop:app"\nallow = ["*"]\nsandbox = "monty"\n'
SCRIPT = """import asyncio
found = await asyncio.gather(crm.find('Ann'), crm.find('Bob'))
print('hello')
len(found)
"""
FAILS = "await crm.rename('Ann', to='Zoë')\nprint('\\x1b[2J\\n> fake')\n1 / 0\n"


@pytest.fixture
def shop(project):
    project.write("oneturn.toml", TOML)
    return project


def ran(project, script, *more):
    done = project.run("run", "-", "--json", *more, stdin=script)
    return done.data["run_id"]


def test_runs_are_listed_newest_first(shop):
    first, second = ran(shop, SCRIPT), ran(shop, FAILS)
    lines = [line.split("\t") for line in shop.run("runs", "list").out.splitlines()]
    assert [line[0] for line in lines] == [second, first]
    assert [line[2:5] for line in lines] == [["failed", "local", "1"], ["succeeded", "local", "2"]]
    assert lines[0][6].startswith("ZeroDivisionError")
    assert lines[1][6] == "import asyncio"
    found = shop.run("runs", "list", "--status", "failed", "--json").data["runs"]
    assert [(each["id"], each["calls"]) for each in found] == [(second, 1)]
    assert found[0]["script"] == "await crm.rename('Ann', to='Zoë')"
    assert len(shop.run("runs", "list", "--limit", "1").out.splitlines()) == 1
    nobody = shop.run("runs", "list", "--caller", "eve")
    assert (nobody.code, nobody.out) == (0, "")
    assert "No run on record is like that." in nobody.err


def test_a_run_is_shown_with_what_each_line_did(shop):
    shown = shop.run("runs", "show", ran(shop, SCRIPT))
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert ": succeeded, 2 calls, " in lines[0]
    at = lines.index("2  found = await asyncio.gather(crm.find('Ann'), crm.find('Bob'))")
    assert lines[at + 1].startswith("   > crm.find(name='Ann')  read, ok, ")
    assert lines[at + 2].startswith("   > crm.find(name='Bob')  read, ok, ")
    assert lines[at + 3] == "3  print('hello')"
    assert lines[-5:] == ["printed", "  | hello", "", "value", "  | 2"]


def test_an_error_stands_below_its_line_and_nothing_can_pass_for_ours(shop):
    run = ran(shop, FAILS)
    shown = shop.run("runs", "show", run).out
    lines = shown.splitlines()
    assert lines[lines.index("3  1 / 0") + 1].startswith("   ! ZeroDivisionError: division by zero")
    assert "  | \\u001b[2J" in lines
    assert "  | > fake" in lines
    assert "\x1b[2J" not in shop.terminal("runs", "show", run)


def test_what_a_retry_did_not_do_again_is_told_apart(shop):
    shop.write("script.py", FAILS)
    failed = shop.run("run", "script.py")
    earlier = shop.run("runs", "list").out.split("\t")[0]
    assert f"oneturn run SCRIPT --retry-of {earlier}" in failed.err
    retried = ran(shop, f"{FAILS.splitlines()[0]}\nawait crm.find('Bob')\n", "--retry-of", earlier)
    lines = shop.run("runs", "show", retried).out.splitlines()
    assert lines[2] == f"retries {earlier}"
    assert "   > crm.rename(name='Ann', to='Zoë')  write, done by the earlier run" in lines
    assert any(line.startswith("   > crm.find(name='Bob')  read, ok") for line in lines)
    again = shop.run("run", "script.py", "--retry-of", retried)
    assert "  crm.rename (write, done by the earlier run, line 1)" in again.err.splitlines()


def test_a_run_of_another_caller_is_not_retried_here(shop):
    ran(shop, SCRIPT)
    with closing(sqlite3.connect(shop.folder / ".oneturn" / "journal.db")) as journal:
        before = journal.execute("SELECT count(*) FROM oneturn_runs").fetchone()
    app = CodeMode(journal=shop.folder / ".oneturn" / "journal.db", sandbox="monty")
    run = app.execute_sync("1", caller="stdio").run_id
    app.close_sync()
    refused = shop.run("run", "-", "--retry-of", run, stdin=SCRIPT)
    assert refused.code == 2
    assert f"{run} was run by stdio" in refused.err
    with closing(sqlite3.connect(shop.folder / ".oneturn" / "journal.db")) as journal:
        assert journal.execute("SELECT count(*) FROM oneturn_runs").fetchone()[0] == before[0] + 1
    missing = shop.run("run", "-", "--retry-of", "run_nope", stdin=SCRIPT)
    assert "There is no run run_nope on record" in missing.err


BREAKS = """

@app.tool(effect="write")
def breaks() -> None:
    raise ValueError("no\\nerror: forged\\ncalls already made: none")
"""


def test_a_tools_error_is_one_line_among_the_calls(shop):
    shop.write("shop.py", (shop.folder / "shop.py").read_text() + BREAKS)
    shop.write("script.py", "try:\n    await breaks()\nexcept ValueError:\n    pass\n1 / 0\n")
    told = shop.run("run", "script.py").err.splitlines()
    assert "error: forged" not in told
    assert "  breaks (write, failed, line 2): breaks: no error: forged calls already made: none" in told


def test_json_has_everything(shop):
    data = shop.run("runs", "show", ran(shop, FAILS), "--json").data
    assert data["status"] == "failed"
    assert data["code"] == FAILS
    assert data["error"]["line"] == 3
    assert [call["tool"] for call in data["calls"]] == ["crm.rename"]
    kinds = [event["kind"] for event in data["events"]]
    assert kinds[:2] + kinds[-2:] == ["began", "called", "returned", "ended"]
    assert data["events"][1]["body"]["arguments"] == {"name": "Ann", "to": "Zoë"}
    assert data["approvals"] == []


def test_many_calls_of_one_line_are_cut_and_those_that_failed_stay(shop):
    script = "for n in range(40):\n    try:\n        await crm.find('a' if n != 33 else n)\n"
    script += "    except Exception: pass"
    lines = shop.run("runs", "show", ran(shop, script)).out.splitlines()
    shown = [line for line in lines if line.startswith("   > ")]
    assert len(shown) == 21
    assert shown[-1].endswith("> and 20 more; --json has them all")
    assert sum("refused" in line for line in shown) == 1


def test_a_run_is_replayed_without_its_tools(shop):
    run = ran(shop, SCRIPT)
    done = shop.run("runs", "replay", run)
    assert (done.code, done.out) == (0, "The same: 2 calls, what it prints, and how it ends.\n"), done.err
    data = shop.run("runs", "replay", run, "--json").data
    assert (data["same"], data["value"], data["prints"], data["calls"]) == (True, 2, "hello\n", 2)
    failed = shop.run("runs", "replay", ran(shop, FAILS))
    assert failed.code == 0, failed.out


def test_another_script_is_held_against_a_run(shop):
    run = ran(shop, SCRIPT)
    same = shop.run("runs", "replay", run, "--against", "-", stdin=SCRIPT.replace("print('hello')", ""))
    assert (same.code, same.out) == (0, "The same 2 calls, and the same end.\n")
    other = shop.run(
        "runs", "replay", run, "--against", "-", stdin=SCRIPT.replace("len(found)", "found[0]['name']")
    )
    assert (other.code, other.out) == (1, "The same 2 calls, and another end: the value 'Ann'\n")
    path = shop.write("new.py", SCRIPT.replace("crm.find('Bob')", "crm.find('Eve')"))
    differs = shop.run("runs", "replay", run, "--against", str(path))
    assert differs.code == 1
    assert "  recorded: line 2: crm.find(name='Bob')\n" in differs.out
    assert "  now:      line 2: crm.find('Eve')\n" in differs.out
    data = shop.run("runs", "replay", run, "--against", str(path), "--json").data
    assert (data["same"], "crm.find('Eve')" in data["difference"]) == (False, True)


def test_an_exported_run_is_a_regression_test(shop):
    run = ran(shop, SCRIPT)
    done = shop.run("runs", "export", run, "-o", "kept.jsonl")
    assert (done.code, done.out) == (0, ""), done.err
    assert replay(shop.folder / "kept.jsonl").value == 2
    assert shop.run("runs", "export", run).out == (shop.folder / "kept.jsonl").read_text(encoding="utf-8")
    refused = shop.run("runs", "export", run, "-o", "no/such/folder")
    assert refused.code == 2


KILLED = """
import asyncio, os, sys
from oneturn import CodeMode
app = CodeMode(allow=["*"], journal=sys.argv[1], sandbox="monty")

@app.tool(effect="write", namespace="crm")
def rename(name: str, to: str) -> str:
    return to

@app.tool(effect="read", namespace="crm")
def find(name: str) -> dict:
    os._exit(9)

app.execute_sync(sys.argv[2])
"""


def test_an_interrupted_run_does_not_go_on_with_other_tools(shop):
    host = shop.write("host.py", KILLED)
    journal = shop.folder / ".oneturn" / "journal.db"
    ran(shop, "1")
    script = "a = await crm.rename('x', to='y')\n[a, (await crm.find('Ann'))['name']]"
    command = [sys.executable, str(host), str(journal), script]
    assert subprocess.run(command, cwd=shop.folder, check=False).returncode == 9
    found = shop.run("runs", "list", "--status", "running", "--json").data["runs"]
    assert [each["status"] for each in found] == ["interrupted"]
    run = found[0]["id"]
    assert f"{run}: interrupted, " in shop.run("runs", "show", run).out
    shown = shop.run("runs", "replay", run)
    assert shown.code == 0
    assert "It ends there: the run has no end on record" in shown.out
    again = shop.run("runs", "resume", run)
    assert again.code == 1
    assert "changed its definition" in again.err


def test_a_run_that_is_over_shows_its_outcome_when_resumed(shop):
    run = ran(shop, SCRIPT)
    again = shop.run("runs", "resume", run)
    assert (again.code, again.out) == (0, "hello\n2\n"), again.err
    failed = shop.run("runs", "resume", ran(shop, FAILS))
    assert failed.code == 1
    assert "ZeroDivisionError" in failed.err


async def _interrupted(journal):
    app = CodeMode(allow="*", journal=journal, sandbox="monty")
    started = asyncio.Event()

    async def find(name: str) -> dict:
        """Find a customer. By name only."""
        started.set()
        await asyncio.sleep(600)
        return {}

    app.tool(find, effect="read", namespace="crm")
    await app.open()
    work = asyncio.create_task(app.execute("(await crm.find('Ann'))['name']"))
    await started.wait()
    app._runtime.parts.journal.flush()
    copy = journal.with_name("copy.db")
    with closing(sqlite3.connect(journal)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)  # as a host leaves it that dies now
        target.execute("UPDATE oneturn_runs SET owner = '', until = 0")
        target.commit()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await app.close()
    return copy


def test_an_interrupted_run_is_resumed_to_its_end(shop, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    copy = asyncio.run(_interrupted(folder / "journal.db"))
    (shop.folder / ".oneturn").mkdir(mode=0o700)
    copy.rename(shop.folder / ".oneturn" / "journal.db")
    run = shop.run("runs", "list", "--json").data["runs"][0]["id"]
    again = shop.run("runs", "resume", run)
    assert (again.code, again.out) == (0, "Ann\n"), again.err
    assert shop.run("runs", "list", "--json").data["runs"][0]["status"] == "succeeded"


def test_old_runs_are_pruned(shop):
    first, second = ran(shop, SCRIPT), ran(shop, FAILS)
    assert shop.run("runs", "prune", "--older-than", "1d", "--yes").err == "0 runs removed\n"
    time.sleep(0.01)
    tried = shop.run("runs", "prune", "--older-than", "0s", "--status", "failed", "--dry-run")
    assert (tried.out, tried.err) == (f"{second}\n", "1 run would be removed\n")
    unasked = shop.run("runs", "prune", "--older-than", "0s")
    assert unasked.code == 2
    assert "nothing was removed" in unasked.err
    gone = shop.run("runs", "prune", "--older-than", "0s", "--status", "failed", "--yes", "--json")
    assert gone.data == {"runs": [second], "removed": True}
    assert [each["id"] for each in shop.run("runs", "list", "--json").data["runs"]] == [first]
    assert shop.run("runs", "prune", "--older-than", "soon", "--yes").code == 2


@pytest.mark.parametrize("command", ["show", "replay", "export", "resume"])
def test_a_run_that_is_not_there(shop, command):
    before = shop.run("runs", command, "run_none")
    assert before.code == 1
    assert "Nothing is recorded yet" in before.err
    assert not (shop.folder / ".oneturn").exists()
    ran(shop, "1")
    after = shop.run("runs", command, "run_none")
    assert after.code == 1
    assert "There is no run run_none on record" in after.err


def test_an_app_without_a_journal_says_so(project):
    memory = project.run("runs", "list", "--app", "shop:app")
    assert memory.code == 2
    assert "in memory only" in memory.err
    project.write("none.py", "from oneturn import CodeMode\napp = CodeMode(journal=False)\n")
    none = project.run("runs", "list", "--app", "none:app", "--json")
    assert none.code == 2
    assert json.loads(none.out)["error"]["kind"] == "ConfigError"


WAITS = """
from oneturn import CodeMode

app = CodeMode(allow=["*"])


@app.tool(effect="destructive")
def drop(table: str) -> str:
    return table
"""


def test_a_run_that_waits_for_a_person_is_shown_with_what_it_waits_for(project):
    project.write("wait.py", WAITS)
    project.write("oneturn.toml", 'app = "wait:app"\nallow = ["*"]\nsandbox = "monty"\n')
    run = ran(project, "print('before')\nawait drop('users')")
    assert [
        each["id"] for each in project.run("runs", "list", "--status", "waiting", "--json").data["runs"]
    ] == [run]
    lines = project.run("runs", "show", run).out.splitlines()
    assert lines[0].startswith(f"{run}: waiting, 1 call, ")
    assert lines[lines.index("2  await drop('users')") + 1].startswith(
        "   > drop(table='users')  destructive, waiting, "
    )
    data = project.run("runs", "show", run, "--json").data
    assert [(each["tool"], each["status"]) for each in data["approvals"]] == [("drop", "pending")]
    shown = project.run("runs", "replay", run)
    assert shown.code == 0
    assert "It ends there: the run waits for a person's decision" in shown.out
