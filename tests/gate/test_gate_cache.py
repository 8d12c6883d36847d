"""The cache: who gets whose results, for how long, and that nothing goes around the gate."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
from collections.abc import Generator, Mapping
from typing import Any

import pytest

from oneturn.errors import ConfigError, ToolError
from oneturn.gate import Allowed, Cached, Context, Dispatcher, Gate, Redactor, Refused, Reply
from oneturn.gate.base import Budget
from oneturn.gate.cache import RUN_SIZE, ResultCache
from oneturn.gate.store import LARGEST
from oneturn.journal.artifacts import ArtifactStore
from oneturn.run.drive import Order
from oneturn.runtime import Runtime
from oneturn.sandbox.router import Router
from oneturn.testing import FakeRun, FakeSandbox, FakeSource, announce, ask
from oneturn.tools.base import Blob, Result, Text
from oneturn.tools.scope import Allow, Scope
from oneturn.types import Answer, CacheRule, Call, Failure, Limits, Outcome, Tool, Waiting
from oneturn.view import View

ANY: Mapping[str, Any] = {"type": "object", "properties": {"a": {}, "b": {}}, "additionalProperties": True}
READ = Tool("lab.read", source="lab", effect="read", input_schema=ANY)
WRITE = Tool("lab.write", source="lab", effect="write", input_schema=ANY)
DESTROY = Tool("lab.destroy", source="lab", input_schema=ANY)
OTHER = Tool("web.get", source="web", effect="read", input_schema=ANY)
Steps = Generator[Waiting, Mapping[int, Answer], Any]


class Desk:
    """A gate with a cache, a clock that stands still, and a tool that never says the same twice."""

    def __init__(self, rules: Mapping[str, CacheRule] | None = None) -> None:
        self.now = 1_000.0
        self.cache = ResultCache(rules or {"lab.*": CacheRule(60)}, clock=lambda: self.now)
        self.gate = Gate(self.cache)
        self.dispatcher = Dispatcher(Redactor(), 30.0)
        self.numbers = itertools.count(1)

    def run(
        self, caller: str = "ann", tools: tuple[Tool, ...] = (READ, WRITE, DESTROY, OTHER), **limits: Any
    ) -> Context:
        return Context(Scope(tools, [Allow.of("*")]), Limits(**limits), Budget(), caller)

    def ask(
        self, where: Context, name: str = "lab.read", result: Result | Failure | None = None, **kwargs: Any
    ) -> Any:
        """The value a script gets; a failure is raised. Each call that is sent has a new number."""
        verdict = self.gate.decide(Call(1, "tool", name, (), kwargs), where)
        assert not isinstance(verdict, Refused), verdict.failure
        if isinstance(verdict, Cached):
            answer = self.dispatcher.recall(verdict, where.limits, where.budget)
        else:
            answer = self.sent(verdict, where, result)
        if answer.failure is not None:
            raise ToolError(answer.failure.message)
        return answer.value

    def sent(self, allowed: Allowed, where: Context, result: Result | Failure | None = None) -> Answer:
        number = next(self.numbers)
        if isinstance(result, Failure):
            reply = Reply(allowed, Result(), result)
        else:
            reply = Reply(allowed, result or Result({"number": number}, has_structured=True))
        return self.dispatcher.receive(
            reply,
            where.limits,
            where.budget,
            lambda blob: {"artifact": f"art_{number}", "bytes": len(blob.data)},
        )

    def number(self, where: Context, name: str = "lab.read", **kwargs: Any) -> Any:
        return self.ask(where, name, **kwargs)["number"]


# --- who shares


def test_without_rules_nothing_is_kept() -> None:
    desk = Desk()
    desk.gate = Gate()
    run = desk.run()
    assert [desk.number(run), desk.number(run)] == [1, 2]


def test_per_run_is_for_that_run_alone() -> None:
    desk = Desk({"lab.*": CacheRule(60, "run")})
    first, second = desk.run("ann"), desk.run("ann")
    assert [desk.number(run) for run in (first, first, second, second, first)] == [1, 1, 2, 2, 1]


def test_per_session_is_for_the_runs_of_one_caller_and_nobody_else() -> None:
    desk = Desk({"lab.*": CacheRule(60, "session")})
    assert [desk.number(desk.run(caller)) for caller in ("ann", "ann", "bob", "", "ann", "bob")] == [
        1, 1, 2, 3, 1, 2,
    ]  # fmt: skip


def test_shared_is_for_everybody() -> None:
    desk = Desk({"lab.*": CacheRule(60, "shared")})
    assert [desk.number(desk.run(caller)) for caller in ("ann", "bob", "eve")] == [1, 1, 1]


def test_a_caller_cannot_be_spelled_into_the_results_of_another() -> None:
    desk = Desk({"lab.*": CacheRule(60, "session")})
    desk.ask(desk.run('ann",{"a":1},{}'), b=1)
    assert desk.number(desk.run("ann"), a=1, b=1) == 2


def test_the_most_specific_rule_decides() -> None:
    desk = Desk({"*": CacheRule(60, "shared"), "lab.*": CacheRule(60, "run"), "tools.lab.read": CacheRule(1)})
    run = desk.run()
    assert desk.number(run) == 1
    desk.now += 2
    assert desk.number(run) == 2
    assert [desk.number(desk.run(caller), "web.get") for caller in ("ann", "bob")] == [3, 3]


# --- how long


def test_a_result_is_good_for_its_time_and_not_a_moment_longer() -> None:
    desk = Desk({"lab.*": CacheRule(60, "shared")})
    seen = []
    for seconds in (0, 59.9, 0.1, 59.9, 0.1):
        desk.now += seconds
        seen.append(desk.number(desk.run()))
    assert seen == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("per", ["session", "shared"])
def test_clearing_forgets_also_what_is_on_its_way(per: Any) -> None:
    desk = Desk({"lab.*": CacheRule(60, per)})
    run = desk.run()
    on_its_way = desk.gate.decide(Call(1, "tool", "lab.read", (), {"a": "slow"}), run)
    assert isinstance(on_its_way, Allowed)
    assert desk.number(run) == 1
    desk.cache.clear()
    desk.sent(on_its_way, run)
    assert desk.number(run) == 3
    assert desk.number(run, a="slow") == 4


# --- what is the same call


SAME = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": {"x": 1, "y": [1]}}, {"a": {"y": (1,), "x": 1}}),
    ({"a": b"abc"}, {"a": b"abc"}),
]
DIFFERENT = [
    ({"a": 1}, {"a": 1.0}),
    ({"a": 1}, {"a": True}),
    ({"a": 0}, {"a": None}),
    ({"a": "1"}, {"a": 1}),
    ({"a": [1, 2]}, {"a": [2, 1]}),
    ({"a": 1}, {"b": 1}),
    ({"a": ""}, {}),
    ({"a": 0.0}, {"a": -0.0}),
    ({"a": "é"}, {"a": "e\u0301"}),
]
BINARY = dataclasses.replace(
    READ,
    input_schema={"type": "object", "properties": {"a": {"type": "string", "format": "binary"}, "b": {}}},
)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_arguments_in_any_order_are_the_same_call(one: Any, other: Any) -> None:
    desk = Desk()
    run = desk.run(tools=(BINARY if isinstance(one["a"], bytes) else READ,))
    assert desk.number(run, **one) == desk.number(run, **other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_arguments_are_different_calls(one: Any, other: Any) -> None:
    desk = Desk()
    run = desk.run()
    assert desk.number(run, **one) != desk.number(run, **other)


def test_bytes_are_told_apart_from_each_other_and_from_text_like_them() -> None:
    desk = Desk()
    run = desk.run(tools=(BINARY,))
    assert [desk.number(run, a=value) for value in (b"x", b"y", "x", b"x")] == [1, 2, 3, 1]


def test_what_the_arguments_guard_makes_equal_is_one_call() -> None:
    whole = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    desk = Desk()
    run = desk.run(tools=(dataclasses.replace(READ, input_schema=whole),))
    assert desk.number(run, a=3) == desk.number(run, a=3.0) == desk.number(run, a=3, b=None)


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Reads something else."},
        {"input_schema": {**ANY, "properties": {"a": {}}}},
        {"output_schema": {"type": "object"}},
        {"original": "read2"},
        {"results": "text"},
        {"source": "elsewhere"},
    ],
)
def test_a_tool_with_another_definition_starts_afresh(change: dict[str, Any]) -> None:
    desk = Desk()
    assert desk.number(desk.run()) == 1
    assert desk.number(desk.run(tools=(dataclasses.replace(READ, **change),))) == 2


def test_a_tool_that_was_listed_again_unchanged_does_not() -> None:
    desk = Desk()
    assert desk.number(desk.run()) == 1
    assert desk.number(desk.run(tools=(dataclasses.replace(READ, timeout=5.0),))) == 1


# --- what is kept


@pytest.mark.parametrize("name", ["lab.write", "lab.destroy"])
def test_only_reads_are_ever_answered_from_the_cache(name: str) -> None:
    desk = Desk({name: CacheRule(60, "shared"), "*": CacheRule(60, "shared")})
    run = desk.run()
    assert [desk.number(run, name), desk.number(run, name)] == [1, 2]


def test_a_read_that_is_one_no_longer_is_sent() -> None:
    desk = Desk()
    assert desk.number(desk.run()) == 1
    assert desk.number(desk.run(tools=(dataclasses.replace(READ, effect="write"),))) == 2


def test_failures_are_not_kept() -> None:
    desk = Desk()
    run = desk.run()
    with pytest.raises(ToolError, match="busy"):
        desk.ask(run, result=Failure("RuntimeError", "lab.read: busy"))
    assert desk.number(run) == 2


def test_results_that_are_refused_are_not_kept() -> None:
    shaped = dataclasses.replace(
        READ, output_schema={"type": "object", "properties": {"n": {"type": "integer"}}}
    )
    desk = Desk()
    run = desk.run(tools=(shaped,))
    with pytest.raises(ToolError, match="declared shape"):
        desk.ask(run, result=Result({"n": "x"}, has_structured=True))
    assert desk.ask(run, result=Result({"n": 1}, has_structured=True)) == {"n": 1}
    assert desk.ask(run) == {"n": 1}


def test_results_with_files_are_not_kept_because_their_handles_belong_to_one_caller() -> None:
    desk = Desk({"*": CacheRule(60, "shared")})
    picture = Result(blocks=(Text("here it is"), Blob(b"png")))
    assert desk.ask(desk.run("ann"), result=picture)[1]["artifact"] == "art_1"
    assert desk.ask(desk.run("bob"), result=picture)[1]["artifact"] == "art_2"


def test_nothing_is_kept_as_well_as_something() -> None:
    desk = Desk()
    run = desk.run()
    assert desk.ask(run, result=Result(None, has_structured=True)) is None
    assert desk.ask(run) is None


def test_a_large_result_is_not_kept() -> None:
    desk = Desk()
    run = desk.run()
    large = Result("x" * (LARGEST + 1), has_structured=True)
    assert desk.ask(run, result=large) == large.structured
    assert desk.number(run) == 2


@pytest.mark.parametrize("per", ["run", "shared"])
def test_what_was_used_longest_ago_makes_room(per: Any) -> None:
    desk = Desk({"*": CacheRule(60, per)})
    run = desk.run(calls=1_000, run_bytes=2**40)
    half = Result("x" * (LARGEST // 2), has_structured=True)
    kept = (RUN_SIZE if per == "run" else 8 * RUN_SIZE) // (LARGEST // 2)
    for at in range(kept + 20):
        desk.ask(run, a=at, result=half)
        assert desk.ask(run, a=0) == half.structured  # used all the time
    assert desk.ask(run, a=1) != half.structured
    assert desk.ask(run, a=kept + 19) == half.structured


def test_a_change_made_by_one_is_never_seen_by_another() -> None:
    desk = Desk({"*": CacheRule(60, "shared")})
    original = {"list": [1, {"x": "y"}], "bytes": b"\x00\xff", "float": 1.5, "none": None}
    first = desk.ask(desk.run("ann"), result=Result(original, has_structured=True))
    first["list"][1]["x"] = "changed"
    original["list"] = []
    second = desk.ask(desk.run("bob"))
    assert second == {"list": [1, {"x": "y"}], "bytes": b"\x00\xff", "float": 1.5, "none": None}
    second["list"].append(2)
    assert desk.ask(desk.run("bob"))["list"] == [1, {"x": "y"}]


# --- never around the gate


def test_every_guard_comes_before_the_cache() -> None:
    assert [name for name, _ in Desk().gate.guards] == ["scope", "arguments", "reuse", "budgets", "cache"]


def test_who_may_not_call_gets_no_cached_answer() -> None:
    desk = Desk({"*": CacheRule(60, "shared")})
    desk.ask(desk.run())
    outside = Context(Scope([READ, WRITE], [Allow.of("lab.write")]), Limits(), Budget(), "ann")
    verdict = desk.gate.decide(Call(1, "tool", "lab.read"), outside)
    assert isinstance(verdict, Refused)
    assert verdict.failure.kind == "PermissionError"


def test_a_cached_call_is_a_call() -> None:
    desk = Desk()
    run = desk.run(calls=3)
    assert [desk.number(run) for _ in range(3)] == [1, 1, 1]
    verdict = desk.gate.decide(Call(4, "tool", "lab.read"), run)
    assert isinstance(verdict, Refused)
    assert verdict.guard == "budgets"


def test_cached_bytes_are_bytes() -> None:
    desk = Desk({"*": CacheRule(60, "shared")})
    big = Result("x" * 10_000, has_structured=True)
    desk.ask(desk.run(), result=big)
    run = desk.run(run_bytes=25_000)
    assert desk.ask(run) == desk.ask(run) == big.structured
    with pytest.raises(ToolError, match=r"over 25,000 bytes together"):
        desk.ask(run)
    with pytest.raises(ToolError, match="larger than 5,000 bytes"):
        desk.ask(desk.run(value_bytes=5_000))


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (CacheRule(0), "above 0"),
        (CacheRule(-1), "above 0"),
        (CacheRule(math.inf), "above 0"),
        (CacheRule(math.nan), "above 0"),
        (CacheRule(1, "everyone"), "use one of run, session, shared"),  # type: ignore[arg-type]
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: CacheRule, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        ResultCache({"lab.*": rule})


# --- learning shapes


class Shapes:
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def observe(self, tool: Tool, value: Any) -> None:
        self.seen.append((tool.name, value))
        raise RuntimeError("learning failed")


@pytest.mark.parametrize(
    ("tool", "result", "learned"),
    [
        (READ, Result({"a": 1}, has_structured=True), [{"a": 1}]),
        (READ, Result("text", has_structured=True), ["text"]),
        (READ, Result(blocks=(Text('[{"a": 1}]'),)), [[{"a": 1}]]),
        (READ, Result(blocks=(Text('{"a": 1}'), Text('{"a": 2}'))), [[{"a": 1}, {"a": 2}]]),
        (READ, Result(blocks=(Text("just text"),)), []),
        (READ, Result(blocks=(Text('{"a": 1}'), Text("text"))), []),
        (READ, Result(blocks=(Blob(b"x"),)), []),
        (READ, Result(), []),
        (dataclasses.replace(READ, results="text"), Result(blocks=(Text('{"a": 1}'),)), []),
        (
            dataclasses.replace(READ, output_schema={"type": "object"}),
            Result({"a": 1}, has_structured=True),
            [],
        ),
    ],
)
def test_results_that_are_data_teach_the_shape_of_tools_that_declare_none(
    tool: Tool, result: Result, learned: list[Any]
) -> None:
    desk, shapes = Desk(), Shapes()
    desk.dispatcher = Dispatcher(Redactor(), 30.0, shapes)
    run = desk.run(tools=(tool,))
    value = desk.ask(run, result=result)
    assert desk.ask(run, a=1, result=result) == value or not learned
    assert [seen for _, seen in shapes.seen] == learned * 2


def test_a_failure_teaches_nothing() -> None:
    desk, shapes = Desk(), Shapes()
    desk.dispatcher = Dispatcher(Redactor(), 30.0, shapes)
    with pytest.raises(ToolError):
        desk.ask(desk.run(), result=Failure("RuntimeError", "no"))
    assert shapes.seen == []


def test_a_loose_declaration_is_not_held_against_a_result() -> None:
    declared = {"type": "object", "properties": {"n": {"type": "integer"}}}
    loose = dataclasses.replace(READ, output_schema=declared, holds_output=False)
    desk = Desk()
    assert desk.ask(desk.run(tools=(loose,)), result=Result({"n": "x"}, has_structured=True)) == {"n": "x"}


# --- through a runtime


class Lab:
    """A runtime over one fake script, and a source that counts."""

    def __init__(self, play: Any, rules: Mapping[str, CacheRule]) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.source = FakeSource("lab", self._perform)
        self.runtime = Runtime(
            router=Router.only(FakeSandbox(play)),
            dispatcher=Dispatcher(Redactor(), 30.0),
            sources={"lab": self.source}.__getitem__,
            artifacts=ArtifactStore(),
            runs=4,
            cache=ResultCache(rules),
        )
        self.view = View(Scope([READ, WRITE], [Allow.of("*")]))

    async def _perform(self, tool: Tool, arguments: Mapping[str, Any]) -> Any:
        self.sent.append(dict(arguments))
        await asyncio.sleep(0)
        if arguments.get("a") == "bad":
            raise ToolError("no such thing")
        return Result({"got": dict(arguments), "number": len(self.sent)}, has_structured=True)

    async def execute(self, caller: str = "ann") -> Outcome:
        return await self.runtime.execute(Order("1", self.view, Limits(), caller))

    async def call(self, name: str, caller: str = "ann", **arguments: Any) -> Outcome:
        return await self.runtime.call(name, arguments, view=self.view, limits=Limits(), caller=caller)


def lab_call(call_id: int, name: str = "lab.read", **kwargs: Any) -> Call:
    return Call(call_id, "tool", name, (), kwargs)


def play(run: FakeRun) -> Steps:
    """The same read twice, one after the other, another that fails twice, and a write twice."""
    values = []
    for at, call in enumerate(
        [
            lab_call(1, a=1),
            lab_call(2, a=1),
            lab_call(3, a="bad"),
            lab_call(4, a="bad"),
            lab_call(5, "lab.write", a=1),
            lab_call(6, "lab.write", a=1),
        ],
        start=1,
    ):
        answers = yield ask(call)
        answer = answers[at]
        values.append(answer.value["number"] if answer.failure is None else answer.failure.message)
    return values


async def test_a_script_gets_cached_answers_and_the_outcome_says_so() -> None:
    lab = Lab(play, {"lab.*": CacheRule(60)})
    outcome = await lab.execute()
    bad = "lab.read: no such thing"
    assert outcome.value == [1, 1, bad, bad, 4, 5]
    assert [call.cached for call in outcome.calls] == [False, True, False, False, False, False]
    assert [call.status for call in outcome.calls] == ["ok", "ok", "failed", "failed", "ok", "ok"]
    assert outcome.calls[1].seconds == 0
    again = await lab.execute()
    assert again.value[:2] == [1, 1]
    assert [call.cached for call in again.calls[:2]] == [True, True]
    assert (await lab.execute("bob")).value[:2] != [1, 1]
    await lab.runtime.close()


async def test_equal_calls_at_once_all_get_an_answer() -> None:
    def gather(run: FakeRun) -> Steps:
        calls = [lab_call(at, a=1) for at in range(1, 21)]
        yield announce(*calls)
        missing, values = {call.id for call in calls}, []
        while missing:
            answers = yield Waiting((), tuple(missing))
            missing -= answers.keys()
            values += [answer.value["got"] for answer in answers.values()]
        answers = yield ask(lab_call(21, a=1))
        return [*values, answers[21].value["got"]]

    lab = Lab(gather, {"lab.*": CacheRule(60, "run")})
    outcome = await lab.execute()
    assert outcome.value == [{"a": 1}] * 21
    assert [call.status for call in outcome.calls] == ["ok"] * 21
    assert outcome.calls[20].cached
    await lab.runtime.close()


async def test_direct_calls_share_the_cache_with_scripts() -> None:
    lab = Lab(play, {"lab.read": CacheRule(60)})
    await lab.execute()
    hit = await lab.call("lab.read", a=1)
    assert (hit.status, hit.value["number"], hit.calls[0].cached) == ("succeeded", 1, True)
    hit.value["number"] = "changed"
    assert (await lab.call("lab.read", a=1)).value["number"] == 1
    other = await lab.call("lab.read", "bob", a=1)
    assert (other.value["got"], other.calls[0].cached) == ({"a": 1}, False)
    await lab.runtime.close()
