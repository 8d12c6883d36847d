"""Sending a call: everything a tool can do wrong stays inside, and what comes back is bounded."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from oneturn.errors import SourceError, ToolError
from oneturn.gate import Allowed, Dispatcher, Redactor, Reply
from oneturn.gate.base import Budget
from oneturn.journal.redaction import Fields
from oneturn.testing import FakeSource
from oneturn.tools.base import Blob, Result, Text
from oneturn.types import Answer, Call, Failure, Limits, Tool

TOOL = Tool("crm.find", source="lab")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class Exiting(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Endless(Exception):
    def __str__(self) -> str:
        return "x" * 100_000_000


class Masked(Exception):
    @property
    def __class__(self) -> Any:
        raise SystemExit(4)


class Lying(Exception):
    def __str__(self) -> str:
        return Hostile("lies")


class Hostile(str):
    def __len__(self) -> int:
        raise SystemExit(5)

    __getitem__ = __str__ = strip = __len__  # type: ignore[assignment]


class Nameless(type):
    @property
    def __name__(cls) -> Any:
        raise SystemExit(7)


class Unnamed(Exception, metaclass=Nameless):
    pass


class Own(Exception):
    pass


class OwnPermission(PermissionError):
    pass


def keep(blob: Blob) -> Mapping[str, Any]:
    return {"artifact": "a1", "mime": blob.mime, "bytes": len(blob.data)}


async def send(
    perform: Callable[[], Any],
    tool: Tool = TOOL,
    *,
    deadline: float = 30.0,
    secrets: Any = (),
    stopped: Any = None,
) -> Reply:
    source = FakeSource("lab", lambda _tool, _arguments: perform())
    dispatcher = Dispatcher(Redactor(secrets), deadline)
    return await dispatcher.send(Allowed(Call(7, "tool", tool.name), tool, {}), source, stopped=stopped)


def receive(
    value: Any, tool: Tool = TOOL, *, limits: Limits | None = None, budget: Budget | None = None
) -> Answer:
    result = value if isinstance(value, Result) else Result(value, has_structured=True)
    reply = Reply(Allowed(Call(7, "tool", tool.name), tool, {}), result)
    return Dispatcher(Redactor(), 30.0).receive(reply, limits or Limits(), budget or Budget(), keep)


def raiser(error: BaseException, how: str) -> Callable[[], Any]:
    async def later() -> None:
        await asyncio.sleep(0)
        raise error

    def now() -> None:
        raise error

    return later if how == "async" else now


# --- failures


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (SystemExit(1), "RuntimeError", "crm.find: SystemExit: 1"),
        (KeyboardInterrupt(), "RuntimeError", "crm.find: KeyboardInterrupt"),
        (GeneratorExit(), "RuntimeError", "crm.find: GeneratorExit"),
        (asyncio.CancelledError(), "RuntimeError", "crm.find: the tool cancelled itself"),
        (StopIteration(3), "RuntimeError", None),
        (StopAsyncIteration(3), "RuntimeError", None),
        (BaseException("base"), "RuntimeError", "crm.find: BaseException: base"),
        (ExceptionGroup("many", [ValueError("a"), OSError("b")]), "RuntimeError", None),
        (BaseExceptionGroup("many", [SystemExit(1)]), "RuntimeError", None),
        (Own("mine"), "RuntimeError", "crm.find: Own: mine"),
        (Own(), "RuntimeError", "crm.find: Own"),
        (Unprintable(), "RuntimeError", "crm.find: Unprintable"),
        (Exiting(), "RuntimeError", "crm.find: Exiting"),
        (ToolError("the issue is closed"), "RuntimeError", "crm.find: the issue is closed"),
        (SourceError("the server went away"), "RuntimeError", "crm.find: the server went away"),
        (PermissionError("not yours"), "PermissionError", "crm.find: not yours"),
        (OwnPermission("not yours"), "PermissionError", "crm.find: not yours"),
        (FileNotFoundError("no such note"), "FileNotFoundError", "crm.find: no such note"),
        (ValueError("bad"), "ValueError", "crm.find: bad"),
        (TypeError("bad"), "TypeError", "crm.find: bad"),
        (KeyError("id"), "KeyError", "crm.find: id"),
        (TimeoutError("upstream"), "TimeoutError", "crm.find: upstream"),
        (ZeroDivisionError("zero"), "ZeroDivisionError", "crm.find: zero"),
        (ValueError(), "ValueError", "crm.find: ValueError"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "ValueError", None),
        (RecursionError("deep"), "RuntimeError", "crm.find: RecursionError: deep"),
        (MemoryError(), "RuntimeError", "crm.find: MemoryError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)  # fmt: skip
async def test_no_exception_of_a_tool_gets_out(
    how: str, error: BaseException, kind: str, message: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "oneturn.gate")
    reply = await send(raiser(error, how))
    assert reply.failure is not None
    assert reply.failure.kind == kind
    assert reply.failure.message.startswith("crm.find: ")
    if message is not None:
        assert reply.failure.message == message
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR])
@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Masked("mask"), "RuntimeError", "crm.find: Masked: mask"),
        (lambda: Lying(), "RuntimeError", "crm.find: Lying: lies"),
        (lambda: ValueError(Hostile("lies")), "ValueError", "crm.find: ValueError"),
        (lambda: KeyError(Hostile("lies")), "KeyError", "crm.find: KeyError"),
        (lambda: Unnamed(), "RuntimeError", "crm.find: it failed, with an error that cannot be shown"),
    ],
)
async def test_an_exception_that_fights_back_stays_inside(
    make: Callable[[], BaseException], kind: str, message: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, "oneturn.gate")

    def perform() -> None:
        raise make()

    reply = await send(perform)
    assert reply.failure == Failure(kind, message)
    reply = Reply(reply.allowed, Result(blocks=(Blob(b"x"),)))
    answer = Dispatcher(Redactor(), 30.0).receive(reply, Limits(), Budget(), lambda _blob: perform() or {})
    assert answer.failure == Failure(kind, message)


async def forever() -> None:
    await asyncio.Event().wait()


async def cancelling_itself(and_then: Callable[[], Any] = forever) -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    task.cancel()
    value = and_then()
    return await value if asyncio.iscoroutine(value) else value


async def test_a_tool_that_cancels_the_task_it_runs_in_gets_a_failure() -> None:
    reply = await send(cancelling_itself, stopped=lambda: False)
    assert reply.failure == Failure("RuntimeError", "crm.find: the tool cancelled itself")
    await asyncio.sleep(0)  # the task goes on as if nothing had happened
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_tool_that_cancels_its_task_and_returns_has_its_result() -> None:
    reply = await send(lambda: cancelling_itself(lambda: 1), stopped=lambda: False)
    assert reply.failure is None
    await asyncio.sleep(0)


async def test_the_callers_own_cancellation_goes_through() -> None:
    stopped: list[bool] = []
    task = asyncio.create_task(send(forever, stopped=lambda: bool(stopped)))
    await asyncio.sleep(0)
    stopped.append(True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_failure_in_taking_a_result_stays_inside() -> None:
    def refuse(blob: Blob) -> Mapping[str, Any]:
        raise SystemExit(1)

    reply = Reply(Allowed(Call(7, "tool", TOOL.name), TOOL, {}), Result(blocks=(Blob(b"x"),)))
    answer = Dispatcher(Redactor(), 30.0).receive(reply, Limits(), Budget(), refuse)
    assert answer.failure == Failure("RuntimeError", "crm.find: SystemExit: 1")


async def test_text_of_any_length_is_capped() -> None:
    reply = await send(raiser(Endless(), "sync"))
    assert reply.failure is not None
    assert len(reply.failure.message) < 3_000


async def test_the_full_text_is_for_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oneturn.gate")
    reply = await send(raiser(Own("at /home/me/app/secret.py token=hunter2hunter2"), "async"))
    assert reply.failure is not None
    assert "/home/me" not in reply.failure.message
    assert "hunter2" not in reply.failure.message
    assert "Traceback" not in reply.failure.message
    assert "Traceback" in caplog.text


async def test_known_secrets_are_removed() -> None:
    reply = await send(raiser(ValueError("key kJ8x2Qp9 is wrong"), "sync"), secrets=["kJ8x2Qp9"])
    assert reply.failure is not None
    assert reply.failure.message == "crm.find: key [redacted] is wrong"


async def test_a_call_has_the_deadline_of_its_tool() -> None:
    cancelled = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    for tool, deadline in ((dataclasses.replace(TOOL, timeout=0.01), 30.0), (TOOL, 0.01)):
        cancelled.clear()
        reply = await send(forever, tool, deadline=deadline)
        assert reply.failure is not None
        assert reply.failure.kind == "TimeoutError"
        assert reply.failure.message.startswith("crm.find gave no answer within 0.01 s")
        assert cancelled.is_set()


async def test_cancellation_from_outside_goes_through() -> None:
    began = asyncio.Event()

    async def forever() -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(send(forever))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_reply_carries_the_result_and_the_time() -> None:
    reply = await send(lambda: {"id": 1})
    assert reply.failure is None
    assert reply.result.structured == {"id": 1}
    assert reply.seconds >= 0


async def test_a_failed_reply_becomes_a_failure_answer() -> None:
    reply = await send(raiser(ValueError("bad"), "sync"))
    answer = Dispatcher(Redactor(), 30.0).receive(reply, Limits(), Budget(), keep)
    assert answer.call_id == 7
    assert answer.failure == reply.failure


# --- results


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def doubled() -> list[Any]:
    value: list[Any] = [0]
    for _ in range(28):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "an object of type object"),
        ({"db": logging.getLogger()}, "an object of type RootLogger"),
        ([print], "an object of type builtin_function_or_method"),
        (float("nan"), "JSON cannot carry"),
        (cyclic(), "contains itself"),
        (doubled(), "larger than"),
        ("x" * 2_000_000, "larger than 1,000,000 bytes"),
        (1 << 20_000, "4,000 digits"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 50 else "value",
)
def test_results_that_may_not_cross_say_that_the_call_was_made(value: Any, says: str) -> None:
    answer = receive(value, limits=Limits(value_bytes=1_000_000))
    assert answer.value is None
    assert answer.failure is not None
    assert answer.failure.kind == "ValueError"
    assert answer.failure.message.startswith("crm.find: the call was made, but the result ")
    assert says in answer.failure.message


def test_the_results_of_a_run_are_bounded_together() -> None:
    limits, budget = Limits(run_bytes=1_000_000), Budget()
    answers = [receive("x" * 300_000, limits=limits, budget=budget) for _ in range(5)]
    assert [answer.failure is None for answer in answers] == [True, True, True, False, False]
    assert answers[3].failure is not None
    assert "over 1,000,000 bytes together" in answers[3].failure.message
    assert receive("small", limits=limits, budget=budget).value == "small"


def test_the_answer_is_a_copy() -> None:
    held = {"items": [1]}
    answer = receive(held)
    held["items"].append(2)
    assert answer.value == {"items": [1]}
    answer.value["items"].append(3)
    assert held == {"items": [1, 2]}


def test_blobs_become_handles() -> None:
    answer = receive(Result(blocks=(Text("a picture"), Blob(b"png", "image/png"))))
    assert answer.value == ["a picture", {"artifact": "a1", "mime": "image/png", "bytes": 3}]


def test_a_blob_nobody_can_keep_is_a_failure() -> None:
    def refuse(blob: Blob) -> Mapping[str, Any]:
        raise ToolError("too large to keep")

    reply = Reply(Allowed(Call(7, "tool", TOOL.name), TOOL, {}), Result(blocks=(Blob(b"x"),)))
    answer = Dispatcher(Redactor(), 30.0).receive(reply, Limits(), Budget(), refuse)
    assert answer.failure is not None
    assert answer.failure.message == "crm.find: too large to keep"


SHAPED = dataclasses.replace(
    TOOL, output_schema={"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
)


@pytest.mark.parametrize("value", [{"id": "x"}, {}, [], None, "text", {"id": 1.5}])
def test_a_result_of_another_shape_than_declared_is_a_failure(value: Any) -> None:
    answer = receive(value, SHAPED)
    assert answer.failure is not None
    assert answer.failure.kind == "ValueError"
    assert "declared shape" in answer.failure.message


def test_a_hidden_field_of_a_result_is_not_quoted() -> None:
    reply = Reply(
        Allowed(Call(7, "tool", SHAPED.name), SHAPED, {}), Result({"id": "S3CRET-VALUE"}, has_structured=True)
    )
    dispatcher = Dispatcher(Redactor(), 30.0, fields=Fields(["id"]))
    answer = dispatcher.receive(reply, Limits(), Budget(), keep)
    assert answer.failure is not None
    assert "declared shape: its value is not of type" in answer.failure.message


def test_a_result_of_the_declared_shape_is_the_value() -> None:
    assert receive({"id": 1}, SHAPED).value == {"id": 1}


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "https://example.com/x.json"}, {"type": "nonsense"}, {"pattern": "("}, {"$ref": "#/nowhere"}],
)
def test_an_output_schema_nobody_can_use_stops_nothing(schema: dict[str, Any]) -> None:
    assert receive({"id": 1}, dataclasses.replace(TOOL, output_schema=schema)).value == {"id": 1}


def test_a_huge_complaint_about_the_shape_is_cut() -> None:
    answer = receive({"id": "x" * 1_000_000}, SHAPED)
    assert answer.failure is not None
    assert len(answer.failure.message) < 1_000


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"pattern": "^a$"}}, ["b" * 100_001]),
        ({"items": {"pattern": "(a{0,200}){0,200}$"}}, ["b"]),
        ({"$ref": "#"}, 1),
    ],
)
def test_a_check_of_a_result_that_would_take_long_is_left_out(schema: dict[str, Any], value: Any) -> None:
    assert receive(value, dataclasses.replace(TOOL, output_schema=schema)).value == value


def test_a_large_result_of_another_shape_is_a_failure_at_once() -> None:
    shaped = dataclasses.replace(TOOL, output_schema={"type": "array", "items": {"type": "string"}})
    answer = receive([1] * 900_000, shaped)
    assert answer.failure is not None
    assert answer.failure.message.endswith('1 is not of type "string"')
