"""Starting, dying, coming back and stopping, with real server processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from oneturn.errors import EffectUnknown, SourceError
from oneturn.tools.base import Text
from oneturn.tools.catalog import Catalog
from oneturn.tools.function import FunctionSource
from oneturn.tools.mcp import McpServer, McpSource
from oneturn.tools.sources import Sources
from oneturn.types import Limits

SCRIPT = Path(__file__).parents[1] / "servers" / "raw.py"
RAW = McpServer("raw", command=sys.executable, args=(str(SCRIPT),), trust_annotations=True)


def mode(name, **more):
    return replace(RAW, args=(*RAW.args, name), **more)


class Lab:
    def __init__(self, source, tools):
        self.source = source
        self.tools = {tool.name: tool for tool in tools}

    async def call(self, name, /, **arguments):
        return await self.source.call(self.tools[name], arguments)

    async def pid(self):
        return int((await self.call("pid")).blocks[0].text)


async def start(server=RAW):
    source = McpSource(server)
    await source.open()
    return Lab(source, await source.list_tools())


@pytest.fixture
async def lab():
    found = await start()
    yield found
    await found.source.close()


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition):
    while not condition():  # noqa: ASYNC110  (the system has no event for it)
        await asyncio.sleep(0.01)


async def gone(pid):
    """Wait until the process is gone and we have had time to notice."""
    await until(lambda: not running(pid))
    await asyncio.sleep(0.1)


def children():
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        found.update((thread / "children").read_text().split())
    return found


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_server_killed_between_calls_is_started_again(lab):
    first = await lab.pid()
    os.kill(first, signal.SIGKILL)
    await gone(first)
    assert (await lab.call("add", a=1, b=2)).structured == 3
    assert await lab.pid() != first


async def test_many_calls_after_a_death_share_one_new_server(lab):
    first = await lab.pid()
    os.kill(first, signal.SIGKILL)
    await gone(first)
    assert len(set(await asyncio.gather(*(lab.pid() for _ in range(10))))) == 1


async def test_a_call_broken_by_a_kill_is_in_doubt_and_the_next_one_works(lab):
    pid = await lab.pid()
    hanging = asyncio.create_task(lab.call("hang"))
    await lab.pid()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(
        EffectUnknown, match="'raw' broke during the call of 'hang', so its effect is unknown"
    ):
        await hanging
    assert (await lab.call("add", a=1, b=2)).structured == 3


async def test_only_a_read_is_repeated_when_its_connection_broke(lab, tmp_path):
    mark = tmp_path / "died once"
    with pytest.raises(SourceError, match="effect is unknown"):
        await lab.call("die", mark=str(mark))
    assert mark.exists()
    again = tmp_path / "read once"
    assert (await lab.call("die_reading", mark=str(again))).blocks == (Text("survived"),)


async def test_a_read_that_always_kills_its_server_is_given_up(lab):
    with pytest.raises(SourceError, match="each of 3 tries to call 'die_reading'"):
        await lab.call("die_reading")


async def test_a_server_that_cannot_come_back_is_an_error_without_its_command(tmp_path):
    script = tmp_path / "raw.py"
    script.write_text(SCRIPT.read_text())
    lab = await start(replace(RAW, args=(str(script),)))
    pid = await lab.pid()
    script.unlink()
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    with pytest.raises(SourceError, match="nothing was sent") as caught:
        await lab.call("add", a=1, b=2)
    assert str(tmp_path) not in str(caught.value)
    script.write_text(SCRIPT.read_text())
    assert (await lab.call("add", a=1, b=2)).structured == 3
    await lab.source.close()


async def test_a_missing_command_is_one_sentence():
    with pytest.raises(SourceError, match=r"'gone' did not start \(no-such-command --fast\): .*No such file"):
        await McpSource(McpServer("gone", command="no-such-command", args=("--fast",))).open()


async def test_a_server_that_fails_to_start_shows_its_last_words_without_secrets():
    with pytest.raises(SourceError, match="cannot log in with") as caught:
        await McpSource(mode("broken", env={"LAB_TOKEN": "hush-hush"})).open()
    assert "hush-hush" not in str(caught.value)
    assert "'raw'" in str(caught.value)


async def test_a_server_that_never_answers_is_stopped_and_can_be_tried_again():
    before = children()
    source = McpSource(mode("mute"), start_timeout=0.5)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"no answer within 0\.5 s"):
            await source.open()
    assert children() == before
    await source.close()


async def test_cancelling_open_stops_the_server():
    before = children()
    opening = asyncio.create_task(McpSource(mode("mute")).open())
    await until(lambda: children() != before)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert children() == before


async def test_closing_leaves_no_process_task_or_descriptor():
    await (await start()).source.close()  # what loads once and stays, is not counted
    before = children(), asyncio.all_tasks(), descriptors()
    lab = await start()
    first = await lab.pid()
    os.kill(first, signal.SIGKILL)
    await gone(first)
    await lab.pid()
    await lab.source.close()
    await asyncio.sleep(0)
    assert (children(), asyncio.all_tasks(), descriptors()) == before


async def test_a_server_that_will_not_stop_is_killed():
    lab = await start(mode("stubborn"))
    pid = await lab.pid()
    hanging = asyncio.create_task(lab.call("hang"))
    await lab.pid()
    await lab.source.close()
    assert not running(pid)
    with pytest.raises(SourceError):
        await hanging


async def test_close_may_be_called_at_any_time_and_twice():
    source = McpSource(RAW)
    await source.close()
    lab = await start()
    await asyncio.gather(lab.source.close(), lab.source.close())
    await lab.source.close()
    with pytest.raises(SourceError, match="not open"):
        await lab.pid()


async def test_closing_while_it_reconnects_ends_the_waiting_calls(tmp_path):
    script = tmp_path / "raw.py"
    script.write_text(SCRIPT.read_text())
    lab = await start(replace(RAW, args=(str(script),)))
    pid = await lab.pid()
    script.write_text("import time; time.sleep(3600)")
    before = children() - {str(pid)}
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    waiting = asyncio.create_task(lab.call("add", a=1, b=2))
    await until(lambda: children() != before)
    await lab.source.close()
    with pytest.raises(SourceError, match="nothing was sent"):
        await waiting
    assert children() == before


async def test_a_server_that_comes_back_with_another_definition_has_the_tool_held(tmp_path):
    script = tmp_path / "raw.py"
    script.write_text(SCRIPT.read_text())
    sources = Sources(Catalog(), FunctionSource(Limits()))
    source = McpSource(replace(RAW, args=(str(script),)))
    sources.add(source, "raw")
    await sources.open()
    tools = {tool.short_name: tool for tool in sources.catalog.tools}
    pid = int((await source.call(tools["pid"], {})).blocks[0].text)
    script.write_text(SCRIPT.read_text().replace('tool("hang")', 'tool("hang", description="Other.")'))
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    await source.call(tools["pid"], {})
    await until(lambda: sources.catalog.held)
    assert list(sources.catalog.held) == ["raw.hang"]
    assert sources.accept(["tools.raw.hang"]) == ("raw.hang",)
    assert sources.catalog.get("raw.hang").description == "Other."
    await sources.close()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pid", {"description": "The pid tool. And more."}),
        ("pid", {"annotations": {"destructiveHint": True}}),
        ("add", {"annotations": {}}),
    ],
)
async def test_what_a_server_that_comes_back_says_otherwise_is_not_called(tmp_path, name, change):
    script = tmp_path / "raw.py"
    text = SCRIPT.read_text()
    script.write_text(text)
    lab = await start(replace(RAW, args=(str(script),)))
    pid = await lab.pid()
    changed = f"next(each for each in TOOLS if each['name'] == {name!r}).update({change!r})"
    script.write_text(text.replace("def send(", f"{changed}\n\n\ndef send(", 1))
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    with pytest.raises(SourceError, match=r"no longer offers .* as it was; nothing was sent"):
        await lab.call(name)
    await lab.source.close()
