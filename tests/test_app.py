"""CodeMode with the real sandbox: what a script may count on, and what its host may."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from oneturn import (
    ArtifactNotFound,
    Blob,
    CodeMode,
    ConfigError,
    JournalError,
    Limits,
    Outcome,
    Tool,
    ToolError,
    current_call,
)
from oneturn.testing import FakeSource

PATIENCE = 20.0


class Shop:
    """An app with a few tools, and what happened to them."""

    def __init__(self, **options: Any) -> None:
        self.app = CodeMode(**{"allow": ["*"], "limits": Limits(timeout=PATIENCE), **options})
        self.saved: list[Any] = []
        self.held: dict[str, Any] = {"items": [1, 2]}
        self.async_meeting = asyncio.Barrier(3)
        self.sync_meeting = threading.Barrier(3, timeout=PATIENCE)
        app = self.app

        @app.tool(effect="read")
        def add(a: int, b: int = 10) -> int:
            """Add two numbers."""
            return a + b

        @app.tool(effect="read", namespace="shop")
        async def find(name: str, limit: int = 3) -> list[dict[str, Any]]:
            """Find things by name."""
            await asyncio.sleep(0)
            return [{"name": name, "id": number} for number in range(limit)]

        @app.tool(effect="write", namespace="shop.orders")
        def save(order: dict[str, Any]) -> dict[str, Any]:
            """Save an order."""
            self.saved.append(order)
            return self.held

        @app.tool(effect="read", namespace="shop")
        def fail(kind: str) -> None:
            """Fail in a given way."""
            errors = {
                "permission": PermissionError("not yours"),
                "tool": ToolError("sold out"),
                "own": Own("x"),
            }
            raise errors[kind]

        @app.tool(effect="read", namespace="meet")
        async def later(who: int) -> int:
            """Wait until three callers are here."""
            await self.async_meeting.wait()
            return who

        @app.tool(effect="read", namespace="meet")
        def now(who: int) -> int:
            """Wait, in a thread, until three callers are here."""
            self.sync_meeting.wait()
            return who

        @app.tool(effect="read", namespace="files")
        def picture() -> Blob:
            """A picture."""
            return Blob(b"\x89PNG", "image/png")


class Own(Exception):
    pass


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    yield shop
    await shop.app.close()


async def value(shop: Shop, code: str, **options: Any) -> Any:
    outcome = await shop.app.execute(code, **options)
    assert outcome.error is None, outcome.error
    return outcome.value


async def failure(shop: Shop, code: str, **options: Any) -> tuple[str, str]:
    outcome = await shop.app.execute(code, **options)
    assert outcome.error is not None, outcome.value
    return outcome.error.kind, outcome.error.message


# --- what a script may count on


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("await tools.add(1, 2)", 3),
        ("await tools.add(1)", 11),
        ("await add(a=1, b=2)", 3),
        ("return await tools.add(1, 2)", 3),
        ("final_answer(await add(1, 2))", 3),
        ("x = await add(1, 2)\nprint(x)", None),
        ("(await tools.shop.find('pen', limit=1))[0]['name']", "pen"),
        ("(await shop.find('pen'))[2]", {"name": "pen", "id": 2}),
        ("(await find('pen'))[2]['id']", 2),
        ("(await shop.orders.save({'n': 1}))['items']", [1, 2]),
        ("(await tools.shop.orders.save({'n': 1}))['items']", [1, 2]),
        ("import tools\nawait tools.add(1, 2)", 3),
        ("from tools import add\nawait add(1, 2)", 3),
        ("from tools.shop import find\nlen(await find('pen'))", 3),
        ("from tools import shop\nlen(await shop.find('pen'))", 3),
        ("f = tools.shop.find\nlen(await f('pen', 2))", 2),
        ("import asyncio\nawait asyncio.gather(add(1, 1), add(2), *[add(7)])", [2, 12, 17]),
        ("import asyncio\nawait asyncio.sleep(0.001)\n'slept'", "slept"),
        ("def add(a, b):\n    return a - b\nadd(3, 1)", 2),
        ("async def main():\n    return await add(1, 2)\nawait main()", 3),
        ("```python\nawait add(1, 2)\n```", 3),
        ("    x = await add(1, 2)\n    x", 3),
    ],
)  # fmt: skip
async def test_scripts_that_work(shop: Shop, code: str, expected: Any) -> None:
    assert await value(shop, code) == expected


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("await tools.shop.fnd('pen')", "NameError", "shop.find"),
        ("await shop.fnd('pen')", "NameError", "shop.find"),
        ("await fnd('pen')", "NameError", "find"),
        ("await tools.nothing.like_it()", "NameError", "tools"),
        ("await add('1', 2)", "TypeError", "Signature: await tools.add(a: int"),
        ("await add()", "TypeError", "needs 'a'"),
        ("await add(1, c=2)", "TypeError", "no argument 'c'"),
        ("await shop.fail('permission')", "PermissionError", "shop.fail: not yours"),
        ("await shop.fail('tool')", "RuntimeError", "shop.fail: sold out"),
        ("await shop.fail('own')", "RuntimeError", "shop.fail: Own: x"),
        ("1/0", "ZeroDivisionError", "division by zero"),
        ("x = (", "SyntaxError", ""),
        ("await add(1, [].nope)", "AttributeError", "nope"),
    ],
)
async def test_scripts_that_fail_say_what_where_and_what_next(
    shop: Shop, code: str, kind: str, says: str
) -> None:
    outcome = await shop.app.execute(f"y = 1\n{code}")
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.kind == kind
    assert says in outcome.error.message + outcome.error.hint
    assert outcome.error.position is not None
    assert outcome.error.position.line == 2
    assert outcome.error.position.source == code


async def test_failures_are_caught_by_their_builtin_and_by_tool_error(shop: Shop) -> None:
    code = """
caught = []
for kind in ('permission', 'tool', 'own'):
    try:
        await shop.fail(kind)
    except PermissionError as e:
        caught.append(['permission', str(e)])
    except ToolError as e:
        caught.append(['tool', str(e)])
try:
    await add('x')
except TypeError as e:
    caught.append('type')
caught
"""
    assert await value(shop, code) == [
        ["permission", "shop.fail: not yours"],
        ["tool", "shop.fail: sold out"],
        ["tool", "shop.fail: Own: x"],
        "type",
    ]


async def test_a_forgotten_await_is_found_before_anything_runs(shop: Shop) -> None:
    outcome = await shop.app.execute("await shop.orders.save({'n': 1})\nx = add(1, 2)\nx + 1")
    assert outcome.error is not None
    assert "await" in outcome.error.message + outcome.error.hint
    assert outcome.error.position is not None
    assert outcome.error.position.line == 2
    assert shop.saved == []


async def test_discovery_inside_a_script(shop: Shop) -> None:
    code = """
names = [tool['name'] for tool in runtime.list_tools()]
info = await runtime.get_tool_info('add')
found = runtime.search_tools('add numbers', limit=1)
[names, info['name'], found[0]['name'], len(runtime.list_tools('shop'))]
"""
    names, info, found, in_shop = await value(shop, code)
    assert names == sorted(tool.name for tool in shop.app.tools())
    assert (info, found, in_shop) == ("add", "add", 3)


async def test_gather_runs_async_tools_at_the_same_time(shop: Shop) -> None:
    code = "import asyncio\nawait asyncio.gather(*[meet.later(i) for i in range(3)])"
    assert await value(shop, code) == [0, 1, 2]


async def test_gather_runs_sync_tools_at_the_same_time(shop: Shop) -> None:
    code = "import asyncio\nawait asyncio.gather(*[meet.now(i) for i in range(3)])"
    assert await value(shop, code) == [0, 1, 2]


async def test_several_runs_run_at_the_same_time(shop: Shop) -> None:
    outcomes = await asyncio.gather(*(shop.app.execute(f"await meet.later({n})") for n in range(3)))
    assert [outcome.value for outcome in outcomes] == [0, 1, 2]


async def test_the_outcome_lists_the_calls(shop: Shop) -> None:
    outcome = await shop.app.execute("await add(1)\ntry:\n    await shop.nope()\nexcept NameError:\n    pass")
    assert [(call.tool, call.status, call.effect) for call in outcome.calls] == [
        ("add", "ok", "read"),
        ("shop.nope", "refused", "destructive"),
    ]
    assert outcome.calls[0].position is not None
    assert outcome.calls[0].position.line == 1


# --- data is copied


async def test_changes_on_either_side_are_not_seen_on_the_other(shop: Shop) -> None:
    code = """
order = {'lines': [1]}
first = await shop.orders.save(order)
order['lines'].append(2)
first['items'].append(99)
second = await shop.orders.save(order)
[first, second]
"""
    first, second = await value(shop, code)
    assert first == {"items": [1, 2, 99]}
    assert second == {"items": [1, 2]}
    assert shop.held == {"items": [1, 2]}
    assert shop.saved == [{"lines": [1]}, {"lines": [1, 2]}]


# --- who may call what


async def test_nothing_is_allowed_by_default() -> None:
    app = CodeMode()

    @app.tool
    def secret_plan(launch_code: str) -> str:
        return launch_code

    outcome = await app.execute("await secret_plan('x')")
    assert outcome.error is not None
    assert outcome.error.kind == "PermissionError"
    assert "launch_code" not in str(outcome)
    assert (await app.execute("runtime.list_tools()")).value == []
    await app.close()


async def test_the_environment_narrows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETURN_ALLOW", "shop.*, nothing")
    shop = Shop()
    assert len(await value(shop, "await shop.find('pen')")) == 3
    assert (await failure(shop, "await add(1)"))[0] == "PermissionError"
    await shop.app.close()


async def test_the_environment_never_widens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETURN_ALLOW", "*")
    shop = Shop(allow=["add"])
    assert (await failure(shop, "await shop.find('pen')"))[0] == "PermissionError"
    assert await value(shop, "await add(1)") == 11
    await shop.app.close()


async def test_an_empty_environment_allows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETURN_ALLOW", "")
    shop = Shop()
    assert (await failure(shop, "await add(1)"))[0] == "PermissionError"
    await shop.app.close()


async def test_one_run_can_be_narrowed_but_not_widened(shop: Shop) -> None:
    assert (await failure(shop, "await add(1)", allow=["shop.*"]))[0] == "PermissionError"
    assert await value(shop, "await add(1)", allow="add") == 11
    assert await value(shop, "[t['name'] for t in runtime.list_tools()]", allow=["add"]) == ["add"]
    assert (await failure(shop, "await add(1)", allow=()))[0] == "PermissionError"
    narrow = Shop(allow=["add"])
    assert (await failure(narrow, "await shop.find('x')", allow=["*"]))[0] == "PermissionError"
    await narrow.app.close()


async def test_direct_calls_pass_the_same_gate(shop: Shop) -> None:
    assert (await shop.app.call("add", {"a": 1, "b": 2})).value == 3
    assert (await shop.app.call("tools.shop.find", {"name": "pen", "limit": 1})).value[0]["id"] == 0
    for outcome, kind in (
        (await shop.app.call("add", {"a": 1}, allow=["shop.*"]), "PermissionError"),
        (await shop.app.call("add", {"a": "x"}), "TypeError"),
        (await shop.app.call("nope"), "NameError"),
    ):
        assert outcome.error is not None
        assert outcome.error.kind == kind


@pytest.mark.parametrize("allow", ["tools", ["runtime"], ["tools.*", "runtime.list_tools"]])
async def test_reserved_names_in_an_allow_list_are_a_value_error(shop: Shop, allow: Any) -> None:
    reserved = [allow] if isinstance(allow, str) else allow
    if "tools.*" not in reserved:
        with pytest.raises(ValueError, match=r"tools|runtime"):
            CodeMode(allow=allow)
    with pytest.raises(ConfigError):
        await shop.app.execute("1", allow=[*reserved, "runtime"])


# --- limits


async def test_a_timeout_covers_computing_and_waiting(shop: Shop) -> None:
    @shop.app.tool(effect="read")
    async def forever() -> None:
        await asyncio.Event().wait()

    for code in ("while True:\n    pass", "await forever()", "import asyncio\nawait asyncio.sleep(1000)"):
        kind, message = await asyncio.wait_for(failure(shop, code, timeout=0.3), PATIENCE)
        assert kind == "TimeoutError"
        assert "0.3" in message
    assert await value(shop, "await add(1)") == 11


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_a_timeout_must_be_positive(shop: Shop, timeout: float) -> None:
    with pytest.raises(ConfigError):
        await shop.app.execute("1", timeout=timeout)


# --- when things die


def monty_workers() -> list[int]:
    """The worker processes of this process."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            name, fields = (entry / "stat").read_text().rsplit(")", 1)
        except OSError:
            continue
        if entry.name.isdigit() and int(fields.split()[1]) == os.getpid() and "monty" in name:
            found.append(int(entry.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_killed_worker_costs_one_run(shop: Shop) -> None:
    @shop.app.tool(effect="read")
    async def kill_worker() -> str:
        for pid in monty_workers():
            os.kill(pid, signal.SIGKILL)
        return "done"

    kind, message = await asyncio.wait_for(failure(shop, "await kill_worker()"), PATIENCE)
    assert kind == "SandboxCrashed"
    assert "only this run is lost" in message
    for _ in range(3):
        assert await asyncio.wait_for(value(shop, "await add(1)"), 5) == 11


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_closing_leaves_no_process_and_no_task() -> None:
    before = set(monty_workers())
    shop = Shop()
    pending = [
        asyncio.create_task(shop.app.execute("import asyncio\nawait asyncio.sleep(1000)")) for _ in range(3)
    ]
    while len(set(monty_workers()) - before) < 3:  # noqa: ASYNC110  nothing tells when they start
        await asyncio.sleep(0.01)
    await shop.app.close()
    outcomes = await asyncio.gather(*pending)
    assert {outcome.status for outcome in outcomes} == {"cancelled"}
    assert set(monty_workers()) <= before
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_twice_and_using_it_again_works(shop: Shop) -> None:
    assert await value(shop, "await add(1)") == 11
    await shop.app.close()
    await shop.app.close()
    assert await value(shop, "await add(1)") == 11


# --- artifacts and secrets


async def test_artifacts_belong_to_their_caller(shop: Shop) -> None:
    outcome = await shop.app.execute("h = await files.picture()\n[h, runtime.artifact(h)]", caller="ann")
    handle, data = outcome.value
    assert handle["mime"] == "image/png"
    assert data == b"\x89PNG"
    assert (await shop.app.artifact(handle["artifact"], caller="ann")).data == b"\x89PNG"
    with pytest.raises(ArtifactNotFound):
        await shop.app.artifact(handle["artifact"], caller="bob")
    theirs = await shop.app.execute(f"runtime.artifact({handle['artifact']!r})", caller="bob")
    assert theirs.error is not None
    assert theirs.error.kind == "LookupError"


async def test_secrets_and_host_paths_do_not_reach_the_outcome() -> None:
    def perform(_tool: Tool, _arguments: Any) -> None:
        raise OSError(f"kJ8x2Qp9 refused; Bearer abcdefgh12345678; see {__file__}")

    app = CodeMode(allow=["*"])
    app.add_source(
        FakeSource("lab", perform, tools=[Tool("go", effect="write", source="lab")], secrets=["kJ8x2Qp9"]),
        namespace="lab",
    )
    for code in (
        "await lab.go()",
        "try:\n    await lab.go()\nexcept Exception as e:\n    print(e)\n    x = [str(e), e.args]\nx",
        "try:\n    await lab.go()\nexcept Exception as e:\n    raise ValueError(str(e)) from e",
        "x = 'kJ8x' + '2Qp9'\nraise ValueError(x)",
    ):
        outcome: Outcome = await app.execute(code)
        shown = str(outcome)
        for secret in ("kJ8x2Qp9", "abcdefgh12345678", __file__, str(Path(__file__).parent)):
            assert secret not in shown
        assert "[redacted]" in shown
    await app.close()


# --- without an event loop


def test_sync_use() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="read")
    def add(a: int, b: int) -> int:
        return a + b

    with app:
        assert app.execute_sync("await add(1, 2)").value == 3
        assert app.execute_sync("await add(3, 4)", timeout=5).value == 7
    app.close_sync()


async def test_sync_use_inside_a_loop_says_what_to_do() -> None:
    app = CodeMode()
    with pytest.raises(ConfigError, match=r"await app\.execute"):
        app.execute_sync("1")


# --- what an app says of calls and of itself


async def test_a_write_over_its_deadline_is_in_doubt_and_a_read_has_failed() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="write", timeout=0.02)
    async def charge() -> None:
        await asyncio.Event().wait()

    @app.tool(effect="read", timeout=0.02)
    async def look() -> None:
        await asyncio.Event().wait()

    script = """
for call in (charge, look):
    try:
        await call()
    except TimeoutError as error:
        print(error)
"""
    async with app:
        outcome = await app.execute(script)
    assert [(call.tool, call.status) for call in outcome.calls] == [("charge", "unknown"), ("look", "failed")]
    assert "may still take effect" in outcome.calls[0].error
    assert "may still take effect" not in outcome.calls[1].error


async def test_a_refused_call_without_a_script_is_on_record() -> None:
    async with CodeMode() as app:
        outcome = await app.call("vault.open", {})
    assert [(call.tool, call.status) for call in outcome.calls] == [("vault.open", "refused")]


def test_an_open_app_says_so_when_another_event_loop_uses_it() -> None:
    app = CodeMode()
    assert app.execute_sync("1").value == 1
    with pytest.raises(ConfigError, match="another event loop"):
        asyncio.run(app.execute("1"))
    assert app.execute_sync("2").value == 2
    app.close_sync()


async def test_a_function_used_as_data_is_refused() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="read")
    async def echo(value: object) -> object:
        return value

    async with app:
        for script in ("await echo(echo)", "echo", "return [tools.echo]"):
            error = (await app.execute(script)).error
            assert error is not None
            assert "a function" in error.message


async def test_map_over_a_tool_says_what_to_write() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="read")
    async def twice(n: int) -> int:
        return 2 * n

    async with app:
        failed = await app.execute("import asyncio\nawait asyncio.gather(*map(twice, [1, 2]))")
        worked = await app.execute("import asyncio\nawait asyncio.gather(*[twice(n) for n in [1, 2]])")
    assert failed.error is not None
    assert "[tool(x) for x in xs]" in failed.error.hint
    assert worked.value == [2, 4]


async def test_a_value_nobody_can_print_is_an_error_and_keeps_the_record() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="write")
    async def pay() -> None: ...

    async with app:
        outcome = await app.execute("await pay()\nreturn {10**5000: 1}")
    assert outcome.error is not None
    assert outcome.error.kind == "ValueError"
    assert [(call.tool, call.status) for call in outcome.calls] == [("pay", "ok")]


async def test_closing_ends_direct_calls_and_says_that_their_effect_is_unknown() -> None:
    app = CodeMode(allow=["*"])
    started = asyncio.Event()

    @app.tool(effect="write")
    async def charge() -> None:
        started.set()
        await asyncio.Event().wait()

    await app.open()
    call = asyncio.create_task(app.call("charge"))
    await started.wait()
    await app.close()
    outcome = await call
    assert outcome.status == "cancelled"
    assert [(each.tool, each.status) for each in outcome.calls] == [("charge", "unknown")]


async def test_an_allow_list_for_one_run_is_split_like_any_other() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="read")
    async def one() -> int:
        return 1

    @app.tool(effect="read")
    async def two() -> int:
        return 2

    async with app:
        outcome = await app.execute("await one() + await two()", allow="one, two")
    assert outcome.value == 3


async def test_a_worker_killed_while_idle_costs_nothing() -> None:
    async with CodeMode() as app:
        before = set(await asyncio.to_thread(children))
        assert (await app.execute("1")).value == 1
        for pid in set(await asyncio.to_thread(children)) - before:
            os.kill(pid, signal.SIGKILL)
        for _ in range(3):
            assert (await app.execute("2")).value == 2


def children() -> list[int]:
    """The ids of this process's child processes."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


async def test_a_tool_that_cancels_itself_is_a_failure_the_script_can_catch() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="read")
    async def suicidal() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    async with app:
        outcome = await app.execute("try:\n    await suicidal()\nexcept ToolError as e:\n    print(e)\n'on'")
        assert (await app.execute("'next'")).value == "next"
        direct = await app.call("suicidal")
    assert direct.error is not None
    assert "cancelled itself" in direct.error.message
    assert outcome.value == "on"
    assert "cancelled itself" in outcome.prints
    assert [call.status for call in outcome.calls] == ["failed"]


async def test_an_answer_that_comes_during_a_pause_waits_for_its_await() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="read")
    async def soon() -> int:
        await asyncio.sleep(0.05)
        return 7

    async with app:
        outcome = await app.execute("import time\nlater = soon()\ntime.sleep(0.2)\nawait later")
    assert outcome.error is None
    assert outcome.value == 7


async def test_a_loop_after_a_call_is_not_blamed_on_the_call() -> None:
    app = CodeMode(allow=["*"])

    @app.tool(effect="read")
    async def soon() -> int:
        await asyncio.sleep(0.05)
        return 7

    async with app:
        outcome = await app.execute("await soon()\nwhile True:\n    pass", timeout=0.5)
    assert outcome.error is not None
    assert outcome.error.kind == "TimeoutError"
    assert outcome.error.position is None


def test_the_state_folder_is_left_alone_by_version_control(tmp_path):
    folder = tmp_path / "state"
    app = CodeMode(allow=["*"], state=folder)
    app.execute_sync("1")
    app.close_sync()
    assert "*" in (folder / ".gitignore").read_text().splitlines()
    assert folder.stat().st_mode & 0o077 == 0


def test_an_app_whose_state_cannot_be_kept_works_all_the_same(tmp_path):
    (tmp_path / "file").write_text("")
    app = CodeMode(allow=["*"], state=tmp_path / "file" / "state", journal=False)

    @app.tool(effect="read")
    def status():
        return {"open": True}

    assert app.execute_sync("await status()").value == {"open": True}
    app.search("status")
    app.close_sync()


async def test_an_app_whose_runs_cannot_be_recorded_does_not_open_and_leaves_nothing_running(tmp_path):
    (tmp_path / "file").write_text("")
    counts = {"open": 0, "close": 0}

    class Counted(FakeSource):
        async def open(self) -> None:
            counts["open"] += 1

        async def close(self) -> None:
            counts["close"] += 1

    app = CodeMode(allow=["*"], state=tmp_path / "file" / "state")
    app.add_source(Counted("lab", lambda tool, arguments: None), namespace="lab")
    for _ in range(2):
        with pytest.raises(JournalError, match="cannot be made or written"):
            await app.execute("1")
    assert counts == {"open": 2, "close": 2}


async def test_a_tool_says_itself_whether_its_calls_need_approval_and_may_be_repeated() -> None:
    async with CodeMode(allow=["*"]) as app:
        app.tool(name="mild", effect="write", approval=True)(lambda: "done")
        app.tool(name="wild", approval=False, idempotent=True)(lambda: "done")
        assert (await app.execute("await wild()")).value == "done"
        outcome = await app.execute("await mild()")
        assert outcome.status == "waiting"
        assert [each.tool for each in outcome.pending] == ["mild"]
        assert {tool.name: tool.idempotent for tool in app.tools()} == {"mild": False, "wild": True}


async def test_the_operator_decides_about_approval_over_the_tool() -> None:
    async with CodeMode(allow=["*"], approvals={"mild": False, "w*": True}) as app:
        app.tool(name="mild", effect="write", approval=True)(lambda: "done")
        app.tool(name="wild", approval=False)(lambda: "done")
        assert (await app.execute("await mild()")).value == "done"
        assert (await app.execute("await wild()")).status == "waiting"


async def test_a_tool_can_ask_which_call_it_performs_in_a_thread_and_on_the_loop() -> None:
    def info() -> list[Any]:
        call = current_call()
        return [call.run_id, call.call_id, call.caller, call.idempotency_key]

    async def info_on_the_loop() -> list[Any]:
        return info()

    async with CodeMode(allow=["*"]) as app:
        app.tool(effect="read")(info)
        app.tool(effect="read")(info_on_the_loop)
        outcome = await app.execute("[await info(), await info_on_the_loop()]", caller="ada")
    expected = [[outcome.run_id, call.id, "ada", f"{outcome.run_id}-{call.id}"] for call in outcome.calls]
    assert outcome.value == expected
    with pytest.raises(LookupError, match="inside a tool"):
        current_call()
