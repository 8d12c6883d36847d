"""`oneturn approvals`, and `oneturn run` where something waits: at a terminal and elsewhere."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest

APP = '''
from pathlib import Path

from oneturn import CodeMode

app = CodeMode(allow=["*"])


@app.tool(effect="read")
def look(number: int) -> int:
    """Look."""
    return number * 2


@app.tool
def wipe(number: int) -> str:
    """Wipe."""
    with Path("wiped").open("a") as file:
        file.write(f"{number}\\n")
    return f"wiped {number}"
'''
SCRIPT = """\
import asyncio
first = await look(4)
done = await asyncio.gather(wipe(1), wipe(first), return_exceptions=True)
[str(each) for each in done]
"""


@pytest.fixture
def parked(project):
    """A folder with a run that waits for two calls."""
    project.write("disk.py", APP)
    project.write("oneturn.toml", 'app = "disk.py:app"\n')
    project.write("script.py", SCRIPT)
    ran = project.run("run", "script.py", "--json")
    assert ran.code == 5
    assert ran.data["status"] == "waiting"
    project.run_id = ran.data["run_id"]
    project.ids = [approval["id"] for approval in ran.data["pending"]]
    return project


def wiped(project) -> list[int]:
    path = project.folder / "wiped"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_run_tells_what_waits_and_how_to_go_on(parked):
    ran = parked.run("run", "script.py")
    assert ran.code == 5
    assert ran.out == ""
    assert "waits for approval of 2 calls" in ran.err
    assert "wipe(number=8), line 3" in ran.err
    assert "oneturn approvals approve ID" in ran.err
    assert "oneturn runs resume run_" in ran.err


def test_a_run_that_is_kept_in_memory_only_says_that_it_is_gone(parked):
    parked.write("once.py", "await wipe(1)")
    ran = parked.run("run", "once.py", "--app", "disk.py:app")
    assert ran.code == 5
    assert "in memory only" in ran.err
    assert "oneturn runs resume" not in ran.err


def test_what_waits_is_listed_and_shown_without_starting_the_app(parked):
    parked.write("oneturn.toml", 'app = "disk.py:app"\n[mcp.broken]\ncommand = "no-such-program"\n')
    listed = parked.run("approvals", "list")
    assert listed.code == 0
    assert sorted(line.split("\t")[0] for line in listed.out.splitlines()) == sorted(parked.ids)
    shown = parked.run("approvals", "show", parked.ids[1])
    assert '| "number": 8' in shown.out
    assert "look (read, ok, line 2)" in shown.out
    assert "status: pending" in shown.out
    data = parked.run("approvals", "show", parked.ids[1], "--json").data
    assert data["arguments"] == {"number": 8}
    assert data["so_far"][0]["tool"] == "look"
    assert parked.run("approvals", "show", "nope").code == 1


def test_why_a_call_waits_is_told(parked):
    parked.write(
        "disk.py",
        f'''{APP}

@app.tool(effect="write")
async def pay(number: int) -> str:
    """Pay."""
    import asyncio
    await asyncio.sleep(600)
''',
    )
    parked.write("pay.py", "await pay(1)")
    late = parked.run("run", "pay.py", "--timeout", "1", "--json")
    run = late.data["run_id"]
    assert [call["status"] for call in late.data["calls"]] == ["unknown"]
    shown = parked.run("runs", "resume", run)
    assert f"oneturn run SCRIPT --retry-of {run}" in shown.err
    why = f"it was sent in {run} already, and whether it took effect is unknown"
    again = parked.run("run", "pay.py", "--retry-of", run)
    assert again.code == 5
    assert f"note: {why}" in again.err
    assert why in parked.run("approvals", "list").err


def test_a_list_says_when_there_may_be_more(parked):
    newest = parked.run("approvals", "list", "--limit", "1")
    assert len(newest.out.splitlines()) == 1
    assert "there may be more" in newest.err
    assert "there may be more" not in parked.run("approvals", "list").err


def test_what_cannot_be_read_is_not_nothing(parked):
    parked.write("oneturn.toml", f'app = "disk.py:app"\njournal_key = "{"1" * 64}"\n')
    ran = parked.run("run", "script.py")
    assert ran.code == 5, ran.err
    parked.write("oneturn.toml", f'app = "disk.py:app"\njournal_key = "{"2" * 64}"\n')
    listed = parked.run("approvals", "list")
    assert sorted(line.split("\t")[0] for line in listed.out.splitlines()) == sorted(parked.ids)
    assert "2 cannot be read" in listed.err
    assert "Nothing waits" not in listed.err


def test_decisions_are_taken_once_and_the_run_goes_on(parked):
    first, second = parked.ids
    approved = parked.run("approvals", "approve", first, "--json")
    assert approved.code == 0
    assert "@" in approved.data["decided"][0]["decision"]["by"]
    assert parked.run("approvals", "deny", first).code == 1
    denied = parked.run("approvals", "deny", second, "--reason", "keep it")
    assert f"oneturn runs resume {parked.run_id}" in denied.err
    assert wiped(parked) == []
    done = parked.run("runs", "resume", parked.run_id, "--json")
    assert done.code == 0
    answer, refusal = done.data["value"]
    assert answer == "wiped 1"
    assert refusal.endswith(": keep it")
    assert wiped(parked) == [1]
    assert parked.run("approvals", "list", "--json").data == {"approvals": []}
    stand = parked.run("approvals", "list", "--status", "all", "--json").data["approvals"]
    assert {each["status"] for each in stand} == {"used", "denied"}


def test_approve_edits_grants_and_resumes_in_one_go(parked):
    parked.write("within.json", json.dumps({"properties": {"number": {"maximum": 10}}}))
    parked.write("script.py", "[await wipe(1), await wipe(2), await wipe(3)]")
    [approval] = parked.run("run", "script.py", "--json").data["pending"]
    options = ["--arguments", '{"number": 9}', "--grant", "1", "--within", "within.json", "--resume"]
    ran = parked.run("approvals", "approve", approval["id"], *options)
    assert ran.code == 5  # the third call waits
    assert wiped(parked) == [9, 2]


@pytest.mark.parametrize(
    "options",
    [
        ["--arguments", "{"],
        ["--arguments", "[1]"],
        ["--grant", "2"],
        ["--grant", "2", "--within", "missing.json"],
        ["--grant", "2", "--within", "bad.json"],
        ["--grant", "0", "--within", "good.json"],
    ],
)
def test_what_makes_no_sense_decides_nothing(parked, options):
    parked.write("bad.json", '{"type": 7}')
    parked.write("good.json", "{}")
    ran = parked.run("approvals", "approve", parked.ids[0], *options)
    assert ran.code == 2
    assert len(parked.run("approvals", "list").out.splitlines()) == 2


CTRL_C = "Ctrl-C"


def at_terminal(project, *answers: str, command=("run", "script.py")) -> tuple[int, str]:
    """Runs the script with a person at the terminal who gives these answers, each when asked."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        project.command(*command),
        cwd=project.folder,
        env=project.environment(TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown, left = b"", list(answers)
    try:
        while select.select([ours], [], [], 60)[0]:
            shown += os.read(ours, 65_536)
            if left and shown.count(b"[l]ater: ") > len(answers) - len(left):
                answer = left.pop(0)
                if answer == CTRL_C:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(ours, answer.encode() + b"\n")
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(), shown.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has them")
@pytest.mark.parametrize(
    ("answers", "code", "done"),
    [(["y", "n"], 0, [1]), (["what?", "a"], 0, [1, 8]), (["no", "later"], 5, []), (["l", "y"], 5, [8])],
)
def test_at_a_terminal_run_asks(parked, answers, code, done):
    ended, shown = at_terminal(parked, *answers)
    assert "1 of 2" in shown
    assert '| "number": 1' in shown
    assert ended == code, shown
    assert wiped(parked) == done


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has them")
@pytest.mark.parametrize("answers", [[CTRL_C], ["y", CTRL_C]])
def test_ctrl_c_at_a_question_leaves_the_run_waiting(parked, answers):
    ended, shown = at_terminal(parked, *answers, command=("runs", "resume", parked.run_id))
    assert ended == 130, shown
    assert f"{parked.run_id} waits for approval of 2 calls" in shown
    assert f"oneturn runs resume {parked.run_id}" in shown
    assert wiped(parked) == []
    assert {each["id"] for each in parked.run("approvals", "list", "--json").data["approvals"]} == {
        *parked.ids
    }
    parked.run("approvals", "approve", *parked.ids)
    assert parked.run("runs", "resume", parked.run_id).code == 0
    assert sorted(wiped(parked)) == [1, 8]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has them")
def test_ctrl_c_at_the_question_of_a_new_run_leaves_it_waiting(parked):
    parked.write("script.py", "try:\n    await wipe(5)\nexcept PermissionError:\n    await wipe(6)")
    ended, shown = at_terminal(parked, CTRL_C, "y")
    assert ended == 130, shown
    assert shown.count("[l]ater: ") == 1
    pending = parked.run("approvals", "list", "--json").data["approvals"]
    (new,) = [each for each in pending if each["id"] not in parked.ids]
    assert f"oneturn runs resume {new['run_id']}" in shown
    assert wiped(parked) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has them")
def test_ctrl_c_at_the_question_of_a_run_that_cannot_wait_ends_it(parked):
    parked.write("once.py", "try:\n    await wipe(5)\nexcept PermissionError:\n    await wipe(6)")
    ended, shown = at_terminal(parked, CTRL_C, "y", command=("run", "once.py", "--app", "disk.py:app"))
    assert ended == 130, shown
    assert "cancelled" in shown
    assert shown.count("[l]ater: ") == 1
    assert wiped(parked) == []


TWO_ASKED = '''
import asyncio
from oneturn import CodeMode
from oneturn.cli.terminal import _ask

app = CodeMode(allow=["*"], {options})


@app.tool(effect="destructive")
def drop_production() -> str:
    """Drop."""
    print("EFFECT drop_production", flush=True)


@app.tool(effect="destructive")
def remove_temp_file() -> str:
    """Remove."""
    print("EFFECT remove_temp_file", flush=True)


async def main():
    async with app:
        print("THE END", (await app.execute({script!r}, approver=_ask, sandbox="cpython")).status, flush=True)


asyncio.run(main())
'''
AT_ONCE = """\
import asyncio
first = asyncio.create_task(drop_production())
await asyncio.sleep(0.2)
await asyncio.gather(first, remove_temp_file(), return_exceptions=True)
"""
ONE_AFTER_THE_OTHER = """\
try:
    await drop_production()
except Exception:
    await remove_temp_file()
"""


def on_a_terminal(source: str, *answers: tuple[str, str]) -> str:
    """What a program shows to a person who types each of these lines once its cue was shown anew."""
    ours, theirs = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", source], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, seen, left = "", 0, list(answers)
    try:
        while "THE END" not in shown and select.select([ours], [], [], 60)[0]:
            shown += os.read(ours, 65_536).decode().replace("\r", "")
            if left and (at := shown.find(left[0][0], seen)) >= 0:
                seen = at + len(left[0][0])
                os.write(ours, left.pop(0)[1].encode() + b"\n")
    except OSError:
        pass
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert not left, shown
    return shown


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has them")
def test_one_call_is_asked_about_at_a_time_and_the_answer_is_about_that_one():
    source = TWO_ASKED.format(options="", script=AT_ONCE)
    shown = on_a_terminal(source, ("[l]ater: ", "n"), ("[l]ater: ", "y"))
    first, second = shown.index("call      drop_production"), shown.index("call      remove_temp_file")
    assert first < shown.index("[l]ater: ") < second
    assert "EFFECT remove_temp_file" in shown
    assert "EFFECT drop_production" not in shown


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has them")
def test_a_line_meant_for_a_question_that_was_taken_back_answers_no_other():
    source = TWO_ASKED.format(options="approval_timeout=2", script=ONE_AFTER_THE_OTHER)
    shown = on_a_terminal(source, ("Press Enter to see it: ", "y"), ("[l]ater: ", "n"))
    assert "not asked any more" in shown
    assert shown.index("Press Enter to see it: ") < shown.index("call      remove_temp_file")
    assert "EFFECT" not in shown
