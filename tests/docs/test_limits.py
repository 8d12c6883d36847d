"""What the README says does not hold. When one of these fails, a limit is gone: say so there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blocks import ROOT

from oneturn import CodeMode, Limits, SourceError, Tool
from oneturn.errors import SandboxUnavailable
from oneturn.sandbox.base import Script
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.monty import MontySandbox
from oneturn.testing import FakeSource


@pytest.fixture
def app() -> Iterator[CodeMode]:
    app = CodeMode(allow=["*"])
    with app:
        yield app


def echo(value: Any) -> Any:
    return value


def test_the_readme_has_a_row_for_each() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = (
        "Isolation starts at `interpreter`",
        "Workers are reused",
        "Approvals go by effect",
        "What was in doubt stays in doubt",
        "Runs of a session cannot be resumed",
        "The journal has what your tools say",
        "A deadline does not undo",
        "No jail, no full Python",
        "`ToolError` is an alias of `Exception`",
        "Some text is refused",
        "Names of Python modules",
        "Sessions are in memory",
        "The list of modules is no wall",
        "Addresses are not repeated",
        "The check is not a proof",
        "A pin is about words",
        "A write does not refresh the cache",
        "Learned shapes are shared",
        "OpenAPI 3 only",
        "Search is English",
    )
    assert [row for row in rows if f"| {row} |" not in text] == []


def test_isolation_starts_at_interpreter(app: CodeMode) -> None:
    assert app.execute_sync("1").isolation == "interpreter"


def test_workers_are_reused_by_the_same_caller_and_by_no_other() -> None:
    sandbox = MontySandbox(workers=4)
    processes: dict[str, set[int | None]] = {"ada": set(), "bob": set()}
    try:
        for caller in ("ada", "bob", "ada"):
            run = sandbox.open(Limits(), 1, caller=caller)
            run.start(Script("1"))
            processes[caller].add(run.process)
            run.close()
    finally:
        sandbox.close()
    assert len(processes["ada"]) == 1
    assert not processes["ada"] & processes["bob"]


def test_a_tool_that_is_called_a_write_is_not_asked_about_whatever_it_does(app: CodeMode) -> None:
    done: list[int] = []
    app.tool(name="wipe", effect="write")(lambda: done.append(1))
    app.tool(name="unsaid")(lambda: done.append(2))
    assert app.execute_sync("await wipe()").ok
    assert app.execute_sync("await unsaid()").status == "waiting"
    assert done == [1]


def test_runs_of_a_session_are_not_put_aside(app: CodeMode) -> None:
    app.tool(name="wipe")(lambda: None)
    outcome = app.execute_sync("await wipe()", session="mine")
    assert outcome.error is not None
    assert outcome.error.kind == "PermissionError"
    assert "nobody to ask" in outcome.error.message


def test_arguments_and_results_are_in_the_journal_unless_it_is_encrypted(tmp_path: Path) -> None:
    for name, key in (("plain", None), ("sealed", "ab" * 32)):
        app = CodeMode(allow=["*"], journal=tmp_path / name, journal_key=key)
        app.tool(effect="read")(echo)
        with app:
            assert app.execute_sync("await echo('secret blue')").ok
    assert b"secret blue" in (tmp_path / "plain").read_bytes()
    assert b"secret blue" not in (tmp_path / "sealed").read_bytes()


def test_a_function_in_a_thread_outlives_its_deadline(app: CodeMode) -> None:
    go, done = threading.Event(), threading.Event()

    @app.tool(effect="write", timeout=0.05)
    def late() -> None:
        go.wait()
        done.set()

    outcome = app.execute_sync("await late()")
    assert outcome.error is not None
    assert outcome.error.kind == "TimeoutError"
    assert outcome.calls[0].status == "unknown"
    assert not done.is_set()
    go.set()
    assert done.wait(timeout=30)


def test_without_a_jail_scripts_have_a_part_of_python(app: CodeMode, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise SandboxUnavailable("There is no jail here.")

    monkeypatch.setattr(CPythonSandbox, "open", none)
    error = app.execute_sync("def one():\n    yield 1\nlist(one())").error
    assert error is not None
    assert error.kind == "UnsupportedPython"
    inexact = app.execute_sync("round(2.675, 2)")
    assert inexact.value == 2.68
    assert [warning.kind for warning in inexact.warnings] == ["Inexact"]
    assert "There is no jail here." in inexact.warnings[0].message


def test_sessions_are_in_memory(app: CodeMode) -> None:
    assert app.execute_sync("kept = 1", session="s").ok
    app.close_sync()
    error = app.execute_sync("kept", session="s").error
    assert error is not None
    assert error.kind == "NameError"


def full_python(app: CodeMode, script: str, seed: int = 1) -> Any:
    try:
        outcome = app.execute_sync(script, sandbox="cpython", seed=seed)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    assert outcome.ok, outcome.error
    return outcome.value


def test_the_list_of_modules_is_no_wall(app: CodeMode) -> None:
    script = "import collections\nhasattr(collections._sys.modules['os'], 'system')"
    assert full_python(app, script) is True


def test_addresses_are_not_repeated() -> None:
    found = set()
    for _ in range(3):
        with CodeMode() as app:
            found.add(full_python(app, "id(object())"))
    assert len(found) > 1


def test_tool_error_catches_the_script_s_own_mistakes(app: CodeMode) -> None:
    script = "try:\n    1 / 0\nexcept ToolError:\n    x = 'caught'\nx"
    assert app.execute_sync(script).value == "caught"


@pytest.mark.parametrize("text", ["'<function f at 0x1>'", "['[...]']"])
def test_text_that_looks_like_a_stand_in_is_refused(app: CodeMode, text: str) -> None:
    app.tool(effect="read")(echo)
    found_early, met_in_the_run = f"await echo({text})", f"await echo([{text}, len('x')][0])"
    for script in (found_early, met_in_the_run):
        outcome = app.execute_sync(script)
        assert outcome.error is not None
        assert outcome.error.kind == "ValueError"
        assert {call.status for call in outcome.calls} <= {"refused"}


def test_a_namespace_called_like_a_module_is_reached_through_tools(app: CodeMode) -> None:
    app.tool(namespace="time", effect="read")(echo)
    assert app.execute_sync("await tools.time.echo(1)").value == 1
    assert app.execute_sync("from tools import time as clock\nawait clock.echo(2)").value == 2
    assert app.execute_sync("from tools.time import echo\nawait echo(3)").value == 3
    error = app.execute_sync("await time.echo(4)").error
    assert error is not None
    assert "tools" in error.hint


def test_the_check_is_not_a_proof(app: CodeMode) -> None:
    app.tool(effect="read")(echo)
    outcome = app.execute_sync("(await echo({'a': 1}))['b']")
    assert outcome.error is not None
    assert outcome.error.kind == "KeyError"
    assert [call.status for call in outcome.calls] == ["ok"]


def test_without_a_lock_every_start_trusts_anew() -> None:
    class Moody(FakeSource):
        text = "Says one thing."

        async def list_tools(self) -> list[Tool]:
            return [Tool("say", description=self.text, effect="read", source=self.name)]

    source = Moody("moody", lambda tool, arguments: "said")
    app = CodeMode(allow=["*"])
    app.add_source(source, namespace="moody")
    for text in ("Says one thing.", "Says another."):
        source.text = text
        assert app.execute_sync("await moody.say()").value == "said"
        assert not app.catalog.held
        app.close_sync()


def test_a_write_does_not_refresh_the_cache() -> None:
    app = CodeMode(allow=["*"], cache={"*": 3_600})
    kept = [1]
    app.tool(name="read_it", effect="read")(lambda: kept[0])
    app.tool(name="write_it", effect="write")(lambda: kept.insert(0, 2))
    with app:
        assert app.execute_sync("await read_it()\nawait write_it()\nawait read_it()").value == 1
        app.clear_cache()
        assert app.execute_sync("await read_it()").value == 2


def test_learned_shapes_are_shared(app: CodeMode) -> None:
    @app.tool(effect="read")
    def look() -> Any:
        return {"colour": "secret blue"}

    assert app.execute_sync("await look()", caller="ada").ok
    seen = app.execute_sync("runtime.get_tool_info('look')", caller="bob").value
    assert "colour" in str(seen)
    assert "secret blue" not in str(seen)


def test_only_openapi_3_is_read() -> None:
    app = CodeMode()
    app.add_openapi("old", {"swagger": "2.0", "paths": {}}, base_url="https://example.com")
    with pytest.raises(SourceError, match=r"Swagger 2\.0"), app:
        pass


def test_search_corrects_no_spelling(app: CodeMode) -> None:
    app.tool(name="weather", effect="read")(echo)
    assert app.search("weather").matches
    assert not app.search("waether").matches
