"""What OpenTelemetry is told of runs and calls, by its own SDK."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from oneturn import Approval, CodeMode, ConfigError, Decision, Limits, ToolError
from oneturn.errors import JournalError, SandboxUnavailable

SECRET = "xyzzy-7"
MINE = trace.get_tracer("mine")


class Moody(SpanProcessor):
    """A processor that raises when it is told to."""

    is_broken = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self.is_broken:
            raise RuntimeError("broken at the start")

    def on_end(self, span: ReadableSpan) -> None:
        if self.is_broken:
            raise RuntimeError("broken at the end")


class Told:
    """What the SDK was told since it was last asked."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        delta = AggregationTemporality.DELTA
        self._reader = InMemoryMetricReader({Counter: delta, Histogram: delta})
        self.moody = Moody()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        provider.add_span_processor(self.moody)
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([self._reader]))

    def forget(self) -> None:
        self.exporter.clear()
        self._reader.get_metrics_data()

    def spans(self, start: str = "") -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(start)]

    def one(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans() if span.name == name]
        return span

    def points(self) -> dict[str, list[Any]]:
        """The data points of each of our metrics."""
        data = self._reader.get_metrics_data()
        ours = [
            metric
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            if scope.scope.name == "oneturn"
            for metric in scope.metrics
        ]
        return {metric.name: list(metric.data.data_points) for metric in ours}


def counts(points: Sequence[Any]) -> dict[tuple[Any, ...], int]:
    """How often each set of attributes was counted, by their values in the order of their names."""
    return {tuple(value for _, value in sorted(point.attributes.items())): point.value for point in points}


def is_inside(span: ReadableSpan, outer: ReadableSpan) -> bool:
    assert outer.context is not None
    assert span.context is not None
    same = span.context.trace_id == outer.context.trace_id
    return same and span.parent is not None and span.parent.span_id == outer.context.span_id


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.fixture(scope="module")
def _sdk() -> Iterator[Told]:
    told = Told()  # providers can be set once in a process
    yield told
    told.exporter.shutdown()


@pytest.fixture
def told(_sdk: Told) -> Iterator[Told]:
    _sdk.forget()
    yield _sdk
    _sdk.moody.is_broken = False


def make(**options: Any) -> CodeMode:
    app = CodeMode(
        **{"allow": ["*"], "telemetry": True, "sandbox": "monty", "limits": Limits(timeout=20), **options}
    )

    @app.tool(effect="read")
    async def look(text: str = "") -> str:
        """Look something up."""
        with MINE.start_as_current_span("inside look"):
            await asyncio.sleep(0)
        return f"result {text}"

    @app.tool(effect="write")
    def save(text: str = "") -> int:
        """Save something."""
        with MINE.start_as_current_span("inside save"):
            return len(text)

    @app.tool(effect="write")
    def fail(text: str = "") -> None:
        """Fail."""
        raise ToolError(f"no {text}")

    @app.tool(effect="write", timeout=0.05)
    async def hang() -> None:
        """Never answer in time."""
        await asyncio.sleep(60)

    @app.tool(effect="destructive")
    def remove(name: str = "") -> str:
        """Remove something."""
        return "gone"

    return app


@pytest.fixture
async def app() -> AsyncIterator[CodeMode]:
    async with make() as app:
        yield app


# --- spans


async def test_a_run_is_a_span_within_the_callers_and_its_calls_are_within_it(
    app: CodeMode, told: Told
) -> None:
    with MINE.start_as_current_span("agent"):
        await app.execute("import asyncio\nawait asyncio.gather(look(), save())", caller="ann")
    run = told.one("oneturn.run")
    assert is_inside(run, told.one("agent"))
    for tool in ("look", "save"):
        call = told.one(f"oneturn.call {tool}")
        assert is_inside(call, run)
        assert is_inside(told.one(f"inside {tool}"), call)


async def test_concurrent_runs_keep_their_calls_apart(app: CodeMode, told: Told) -> None:
    outcomes = await asyncio.gather(*(app.execute("await look()\nawait save()") for _ in range(5)))
    runs = {attributes(span)["oneturn.run.id"]: span for span in told.spans("oneturn.run")}
    assert runs.keys() == {outcome.run_id for outcome in outcomes}
    calls = told.spans("oneturn.call")
    assert len(calls) == 10
    assert all(is_inside(call, runs[attributes(call)["oneturn.run.id"]]) for call in calls)


async def test_what_the_spans_say(app: CodeMode, told: Told) -> None:
    first = await app.execute("await fail()", caller="ann")
    outcome = await app.execute("await look()", caller="ann", retry_of=first.run_id)
    run = told.spans("oneturn.run")[1]
    assert attributes(run) == {
        "oneturn.run.id": outcome.run_id,
        "oneturn.caller": "ann",
        "oneturn.run.retry_of": first.run_id,
        "oneturn.run.status": "succeeded",
        "oneturn.run.calls": 1,
        "oneturn.sandbox": "monty",
        "oneturn.isolation": outcome.isolation,
    }
    assert run.status.status_code is StatusCode.UNSET
    call = told.one("oneturn.call look")
    assert attributes(call) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": f"{outcome.run_id}-{outcome.calls[0].id}",
        "oneturn.run.id": outcome.run_id,
        "oneturn.call.id": outcome.calls[0].id,
        "oneturn.tool.effect": "read",
        "oneturn.call.status": "ok",
        "oneturn.call.in_doubt": False,
    }
    assert call.status.status_code is StatusCode.UNSET


async def test_the_session_is_named(app: CodeMode, told: Told) -> None:
    await app.execute("x = 1", session="notebook")
    assert attributes(told.one("oneturn.run"))["oneturn.session"] == "notebook"


async def test_a_failure_has_its_kind_and_no_words(app: CodeMode, told: Told) -> None:
    outcome = await app.execute("await fail('it')")
    assert outcome.error is not None
    for name in ("oneturn.run", "oneturn.call fail"):
        span = told.one(name)
        assert attributes(span)["error.type"] == outcome.error.kind
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
        assert not span.events


async def test_a_call_whose_effect_is_unknown_is_in_doubt(app: CodeMode, told: Told) -> None:
    outcome = await app.execute("await hang()")
    assert outcome.calls[0].status == "unknown"
    found = attributes(told.one("oneturn.call hang"))
    assert found["oneturn.call.status"] == "unknown"
    assert found["oneturn.call.in_doubt"] is True
    assert found["error.type"] == "TimeoutError"


@pytest.mark.parametrize(
    ("effect", "status", "in_doubt"), [("read", "cancelled", False), ("write", "unknown", True)]
)
async def test_a_run_that_is_cancelled_says_so_and_so_does_its_call(
    told: Told, effect: Any, status: str, in_doubt: bool
) -> None:
    app = make()
    arrived = asyncio.Event()

    @app.tool(effect=effect)
    async def wait() -> None:
        """Wait for ever."""
        arrived.set()
        await asyncio.sleep(60)

    async with app:
        for start in (app.execute("await wait()"), app.call("wait")):
            told.forget()
            arrived.clear()
            work = asyncio.create_task(start)
            await arrived.wait()
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            run, call = told.one("oneturn.run"), told.one("oneturn.call wait")
            assert is_inside(call, run)
            assert attributes(run)["oneturn.run.status"] == "cancelled"
            assert attributes(call)["oneturn.call.status"] == status
            assert attributes(call)["oneturn.call.in_doubt"] is in_doubt
            assert counts(told.points()["oneturn.runs"]) == {("cancelled",): 1}


async def test_what_was_answered_without_sending_has_no_span(told: Told) -> None:
    async with make(cache={"look": 60}) as app:
        outcome = await app.execute(
            "await look()\nawait look()\ntry:\n    await save(1)\nexcept TypeError: 0"
        )
    assert [(call.status, call.cached) for call in outcome.calls] == [
        ("ok", False),
        ("ok", True),
        ("refused", False),
    ]
    assert [span.name for span in told.spans("oneturn.call")] == ["oneturn.call look"]
    assert attributes(told.one("oneturn.run"))["oneturn.run.calls"] == 3


async def test_nothing_that_was_said_is_told(app: CodeMode, told: Told) -> None:
    scripts = (
        f"print('{SECRET}')\nawait look('{SECRET}')\nawait fail('{SECRET}')",
        f"raise ValueError('{SECRET}')",
        f"{SECRET} {SECRET}",
    )
    for script in scripts:
        assert not (await app.execute(script)).ok
    await app.execute(f"await remove('{SECRET}')")
    await app.call("fail", {"text": SECRET})
    shown = "".join(span.to_json() for span in told.spans("oneturn"))
    assert told.spans("oneturn.call fail")
    assert SECRET not in shown
    assert SECRET not in repr(told.points())


async def test_an_exception_class_of_a_script_is_not_named(told: Told) -> None:
    async with make(sandbox="cpython") as app:
        try:
            outcome = await app.execute("class Leaked(Exception): pass\nraise Leaked")
        except SandboxUnavailable as error:
            pytest.skip(str(error))
    assert outcome.error is not None
    assert outcome.error.kind == "Leaked"
    assert attributes(told.one("oneturn.run"))["error.type"] == "_OTHER"


async def test_the_trace_goes_on_in_an_mcp_server(told: Told) -> None:
    from fastmcp import FastMCP

    server = FastMCP("clock")

    @server.tool
    def now() -> int:
        """The time."""
        with MINE.start_as_current_span("inside now"):
            return 12

    app = make(effects={"clock.now": "read"})
    app.add_mcp("clock", server)
    async with app:
        assert (await app.execute("await clock.now()")).ok
    inside, run = told.one("inside now").context, told.one("oneturn.run").context
    assert inside is not None
    assert run is not None
    assert inside.trace_id == run.trace_id


# --- waiting for people


async def test_waiting_for_a_person_is_an_event(told: Told) -> None:
    async def approver(approvals: Sequence[Approval]) -> Sequence[Decision | None]:
        return [Decision(approval.arguments["name"] == "a", "alice") for approval in approvals]

    async with make(approver=approver) as app:
        await app.execute("await remove('a')\nawait remove('b')")
    first, second = 0, 1
    events = [(event.name, dict(event.attributes or {})) for event in told.one("oneturn.run").events]
    assert [(name, found["oneturn.call.id"]) for name, found in events] == [
        ("oneturn.approval.asked", first),
        ("oneturn.approval.decided", first),
        ("oneturn.approval.asked", second),
        ("oneturn.approval.decided", second),
    ]
    assert events[0][1]["gen_ai.tool.name"] == "remove"
    assert [found["oneturn.approval.approved"] for _, found in events[1::2]] == [True, False]
    assert "alice" not in repr(events)


async def test_a_run_that_is_put_aside_and_taken_up_again_is_two_spans(app: CodeMode, told: Told) -> None:
    waiting = await app.execute("await save()\nawait remove()")
    aside = told.one("oneturn.run")
    assert attributes(aside)["oneturn.run.status"] == "waiting"
    assert aside.status.status_code is StatusCode.UNSET
    assert [event.name for event in aside.events] == ["oneturn.approval.asked"]
    points = told.points()
    assert counts(points["oneturn.runs"]) == {("waiting",): 1}
    assert counts(points["oneturn.calls"]) == {("save", "ok", "write"): 1}

    told.forget()
    await app.decide(waiting.pending[0].id, Decision(True, "alice"))
    assert (await app.resume(waiting.run_id)).ok
    again = told.one("oneturn.run")
    assert attributes(again)["oneturn.run.id"] == waiting.run_id
    assert attributes(again)["oneturn.run.resumed"] is True
    assert [span.name for span in told.spans("oneturn.call")] == ["oneturn.call remove"]
    points = told.points()
    assert counts(points["oneturn.runs"]) == {("succeeded",): 1}
    assert counts(points["oneturn.calls"]) == {("remove", "ok", "destructive"): 1}


# --- direct calls


async def test_a_direct_call_is_a_run_of_one_call(app: CodeMode, told: Told) -> None:
    with MINE.start_as_current_span("agent"):
        outcome = await app.call("save", {"text": "abc"}, caller="ann")
    run, call = told.one("oneturn.run"), told.one("oneturn.call save")
    assert is_inside(run, told.one("agent"))
    assert is_inside(call, run)
    assert is_inside(told.one("inside save"), call)
    assert attributes(run) == {
        "oneturn.run.id": outcome.run_id,
        "oneturn.caller": "ann",
        "oneturn.run.status": "succeeded",
        "oneturn.run.calls": 1,
    }
    assert attributes(call)["oneturn.run.id"] == outcome.run_id


async def test_a_direct_call_that_fails_or_is_refused_is_a_failed_run(app: CodeMode, told: Told) -> None:
    await app.call("fail")
    await app.call("save", {"wrong": 1})
    await app.call(f"no.{SECRET}")
    assert [attributes(span)["oneturn.run.status"] for span in told.spans("oneturn.run")] == ["failed"] * 3
    assert [span.name for span in told.spans("oneturn.call")] == ["oneturn.call fail"]
    assert counts(told.points()["oneturn.calls"]) == {
        ("fail", "failed", "write"): 1,
        ("save", "refused", "write"): 1,
        ("_OTHER", "refused", "destructive"): 1,
    }


async def test_a_direct_call_that_waits_for_approval_is_one_run(app: CodeMode, told: Told) -> None:
    outcome = await app.call("remove")
    assert outcome.status == "waiting"
    assert attributes(told.one("oneturn.run"))["oneturn.run.id"] == outcome.run_id
    assert counts(told.points()["oneturn.runs"]) == {("waiting",): 1}


async def test_a_direct_call_that_cannot_be_recorded_is_a_failed_run(app: CodeMode, told: Told) -> None:
    await app.open()
    journal = app._runtime.journal  # type: ignore[union-attr]
    journal.close()
    with pytest.raises(JournalError):
        await app.call("save")
    found = attributes(told.one("oneturn.run"))
    assert (found["oneturn.run.status"], found["error.type"]) == ("failed", "JournalError")


# --- metrics


async def test_runs_and_calls_are_counted_and_timed(app: CodeMode, told: Told) -> None:
    ran = await app.execute("await look()\nawait look()\nawait save()")
    failed = await app.execute("try:\n    await save(1)\nexcept TypeError: 0\nawait fail()")
    points = told.points()
    assert counts(points["oneturn.runs"]) == {("succeeded",): 1, ("failed",): 1}
    assert counts(points["oneturn.calls"]) == {
        ("look", "ok", "read"): 2,
        ("save", "ok", "write"): 1,
        ("save", "refused", "write"): 1,
        ("fail", "failed", "write"): 1,
    }
    total = sum(point.sum for point in points["oneturn.run.duration"])
    assert total == pytest.approx(ran.seconds + failed.seconds)
    seconds = {point.attributes["gen_ai.tool.name"]: point for point in points["oneturn.call.duration"]}
    assert {name: point.count for name, point in seconds.items()} == {"look": 2, "save": 1, "fail": 1}
    assert seconds["look"].sum == pytest.approx(ran.calls[0].seconds + ran.calls[1].seconds)


# --- off, and out of the way


async def test_off_unless_it_is_asked_for(told: Told) -> None:
    async with make(telemetry=False) as app:
        assert (await app.execute("await look()")).ok
    assert told.spans("oneturn") == []
    assert told.points() == {}


async def test_an_operator_can_turn_it_on(told: Told) -> None:
    app = make(telemetry=False)
    app.configure(telemetry=True)
    async with app:
        await app.execute("await look()")
        with pytest.raises(ConfigError):
            app.configure(telemetry=False)
    assert told.one("oneturn.run")


async def test_a_processor_that_fails_costs_nobody_the_answer(told: Told) -> None:
    told.moody.is_broken = True
    async with make() as app:

        @app.tool(effect="write")
        def plain() -> int:
            """Give a number."""
            return 7

        assert (await app.execute("await plain()")).value == 7
        assert (await app.call("plain")).value == 7
        assert (await app.execute("await remove()")).status == "waiting"
    assert counts(told.points()["oneturn.runs"]) == {("succeeded",): 2, ("waiting",): 1}


PROGRAM = """
import sys
from oneturn import CodeMode

app = CodeMode(allow=["*"], sandbox="monty", telemetry={telemetry})
assert "opentelemetry" not in sys.modules

@app.tool(effect="read")
def add(a: int, b: int) -> int:
    "Add."
    return a + b

assert app.execute_sync("await add(1, 2)").value == 3
app.close_sync()
# Monty looks at the context by itself, which is a small part of the API.
late = ("opentelemetry.trace", "opentelemetry.metrics", "opentelemetry.sdk")
print(*(name.partition(".")[2] for name in late if name in sys.modules))
"""


@pytest.mark.parametrize(("telemetry", "loaded"), [(False, ""), (True, "trace metrics")])
def test_it_is_loaded_only_when_it_is_on_and_needs_no_sdk(telemetry: bool, loaded: str) -> None:
    program = PROGRAM.format(telemetry=telemetry)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loaded
