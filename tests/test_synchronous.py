"""The app without an event loop of one's own: scripts, approvals, retries, and what is current where."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from oneturn import Approval, CodeMode, ConfigError, Decision
from oneturn.errors import RunNotFound


def app_of(journal: Path | bool = False, **options: object) -> CodeMode:
    app = CodeMode(allow="*", journal=journal, **options)  # type: ignore[arg-type]

    @app.tool(effect="write")
    async def charge(n: int) -> str:
        return f"charged {n}"

    @app.tool
    async def wipe(n: int) -> str:
        return f"wiped {n}"

    return app


def test_each_run_is_inside_the_span_that_is_current_where_it_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    mine = provider.get_tracer("mine")
    with app_of(telemetry=True) as app:
        for name in ("first", "second"):
            with mine.start_as_current_span(name):
                app.execute_sync("await charge(1)")
        app.execute_sync("await charge(2)")
    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}
    runs = [span for span in spans.values() if span.name == "oneturn.run"]
    parents = [spans[run.parent.span_id].name if run.parent else None for run in runs]
    assert parents == ["first", "second", None]
    assert len({run.context.trace_id for run in runs if run.context}) == 3


def test_a_run_waits_and_goes_on(tmp_path: Path) -> None:
    async def approver(approvals: object) -> list[Decision]:
        return [Decision(True, "alice")]

    with app_of(tmp_path / "journal.db") as app:
        waiting = app.execute_sync("await wipe(1)")
        assert waiting.status == "waiting"
        assert app.resume_sync(waiting.run_id).status == "waiting"
        assert app.resume_sync(waiting.run_id, approver=approver).value == "wiped 1"
        with pytest.raises(RunNotFound):
            app.resume_sync(waiting.run_id, caller="bob")


def test_an_approver_is_asked() -> None:
    async def approver(approvals: list[Approval]) -> list[Decision]:
        return [Decision(each.arguments["n"] == 1, "alice") for each in approvals]

    with app_of() as app:
        assert app.execute_sync("await wipe(1)", approver=approver).value == "wiped 1"
        assert app.execute_sync("await wipe(2)", approver=approver).status == "failed"


def test_a_script_is_corrected_and_retried(tmp_path: Path) -> None:
    with app_of(tmp_path / "journal.db") as app:
        first = app.execute_sync("await charge(1)\n1 / 0")
        again = app.execute_sync("await charge(1)", retry_of=first.run_id)
    assert [call.reused for call in again.calls] == [True]


async def test_where_a_loop_is_running_it_says_what_to_use() -> None:
    app = app_of()
    with pytest.raises(ConfigError, match=r"await app\.execute"):
        app.execute_sync("1")
    await app.close()


def test_it_opens_by_itself_and_is_closed_once_or_twice() -> None:
    app = app_of()
    assert app.execute_sync("await charge(3)").value == "charged 3"
    app.close_sync()
    app.close_sync()
    assert asyncio.run(_value(app_of())) == "charged 4"


async def _value(app: CodeMode) -> object:
    async with app:
        return (await app.execute("await charge(4)")).value
