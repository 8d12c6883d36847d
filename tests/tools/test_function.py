from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import datetime as dt
import enum
import functools
import math
import pathlib
import threading
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Never

import jsonschema_rs
import pytest
from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, SecretStr, computed_field
from typing_extensions import TypedDict

from oneturn.errors import SourceError, ToolDefinitionError, ToolError, ValueRefused
from oneturn.tools.base import Blob, Link, Text
from oneturn.tools.function import FunctionSource
from oneturn.types import Limits, Tool


class Color(enum.Enum):
    RED = "red"


class Weight(enum.Enum):
    HEAVY = 2.5


class Name(str): ...


class Ratio(float): ...


class Address(BaseModel):
    street: str
    since: dt.date | None = None


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Options(TypedDict, total=False):
    deep: bool


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Pair(NamedTuple):
    a: int
    b: str


class Opaque:
    pass


@pytest.fixture
async def source() -> AsyncIterator[FunctionSource]:
    found = FunctionSource()
    await found.open()
    yield found
    await found.close()


async def run(source: FunctionSource, fn: Callable[..., Any], /, **arguments: Any) -> Any:
    return (await source.call(source.add(fn, name="t"), arguments)).structured


# What a tool looks like


def test_schema_and_words_come_from_the_signature_and_docstring() -> None:
    def create_issue(
        title: str, labels: list[str] | None = None, count: Annotated[int, Field(ge=1)] = 5
    ) -> dict[str, int]:
        """Create an issue.

        It is open at first.

        Args:
            title: What it is about.
            labels: Put on it.
        """
        return {}

    tool = FunctionSource().add(create_issue, namespace="github", labels=["x"], timeout=2.5)
    assert (tool.name, tool.original, tool.source) == ("github.create_issue", "github.create_issue", "python")
    assert tool.description == "Create an issue.\n\nIt is open at first."
    assert tool.input_schema == {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "What it is about."},
            "labels": {
                "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
                "default": None,
                "description": "Put on it.",
            },
            "count": {"type": "integer", "minimum": 1, "default": 5},
        },
        "required": ["title"],
        "additionalProperties": False,
    }
    assert tool.output_schema == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert (tool.labels, tool.timeout) == (("x",), 2.5)
    assert (tool.idempotent, tool.approval) == (False, None)


@pytest.mark.parametrize(
    "doc",
    ["Do it.\n\nParameters\n----------\nx : int\n    The x.", "Do it.\n\n:param x: The x."],
    ids=["numpy", "rest"],
)
def test_other_docstring_styles_are_read(doc: str) -> None:
    def do(x: int) -> None: ...

    do.__doc__ = doc
    tool = FunctionSource().add(do)
    assert tool.description == "Do it."
    assert tool.input_schema["properties"]["x"]["description"] == "The x."


def test_notes_and_examples_come_from_the_docstring_and_from_who_adds_it() -> None:
    def send(to: str) -> None:
        """Send it.

        More about it.

        Note: Only once.

        Args:
            to: Whom.

        Example:
            ```python
            for name in names:
                await mail.send(name)
            ```

        Warning:
            It is slow
            and final.

        Rate limit:
            5 per second.
        """

    tool = FunctionSource().add(send, examples="await mail.send('ada')", notes=["Mind the gap."])
    assert tool.description == "Send it.\n\nMore about it."
    assert tool.notes == (
        "Mind the gap.",
        "Note: Only once.",
        "Warning: It is slow and final.",
        "Rate limit: 5 per second.",
    )
    assert tool.examples == ("await mail.send('ada')", "for name in names:\n    await mail.send(name)")
    assert tool.input_schema["properties"]["to"]["description"] == "Whom."


def test_notes_and_examples_are_read_in_numpy_style() -> None:
    def do(x: int) -> None: ...

    do.__doc__ = (
        "Do it.\n\nParameters\n----------\nx : int\n    The x.\n\n"
        "Warnings\n--------\nSlow.\n\nExamples\n--------\n>>> do(1)\n"
    )
    tool = FunctionSource().add(do)
    assert (tool.description, tool.notes, tool.examples) == ("Do it.", ("Warning: Slow.",), (">>> do(1)",))
    assert tool.input_schema["properties"]["x"]["description"] == "The x."


def test_field_gives_default_description_and_bounds() -> None:
    def do(x: int = Field(3, ge=0, description="The x.")) -> None:
        """Do.

        Args:
            x: Not shown.
        """

    tool = FunctionSource().add(do)
    assert tool.input_schema["properties"]["x"] == {
        "type": "integer",
        "minimum": 0,
        "default": 3,
        "description": "The x.",
    }
    assert "required" not in tool.input_schema


def test_without_hints_anything_goes() -> None:
    def do(a, b=1, **more):  # type: ignore[no-untyped-def]
        return a

    tool = FunctionSource().add(do)
    assert tool.input_schema == {
        "type": "object",
        "properties": {"a": {}, "b": {"default": 1}},
        "required": ["a"],
        "additionalProperties": True,
    }
    assert tool.output_schema is None


def test_further_named_arguments_keep_their_type() -> None:
    def do(**more: int) -> None: ...

    assert FunctionSource().add(do).input_schema["additionalProperties"] == {"type": "integer"}


def test_a_none_default_means_none_may_be_given() -> None:
    def do(x: int = None, y: Annotated[int, Field(ge=1, description="The y.")] = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    shown = FunctionSource().add(do).input_schema["properties"]
    assert shown["x"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert shown["y"]["description"] == "The y."


def test_recursive_models_keep_their_definitions() -> None:
    def walk(root: Node) -> Node:
        return root

    tool = FunctionSource().add(walk)
    assert tool.input_schema["properties"]["root"] == {"$ref": "#/$defs/Node"}
    assert "Node" in tool.input_schema["$defs"]
    assert tool.output_schema is not None
    assert "Node" in tool.output_schema["$defs"]


def test_what_a_partial_fixes_by_name_is_not_offered() -> None:
    def fetch(url: str, key: str, retries: int = 1) -> str:
        """Fetch a page."""
        return key

    tool = FunctionSource().add(functools.partial(fetch, key="hunter2"))
    assert (tool.name, tool.description) == ("fetch", "Fetch a page.")
    assert list(tool.input_schema["properties"]) == ["url", "retries"]
    assert "hunter2" not in str(tool)


async def test_what_a_partial_fixes_cannot_be_given_as_one_of_further_arguments(
    source: FunctionSource,
) -> None:
    def fetch(url: str, **options: Any) -> dict[str, Any]:
        return {"url": url, **options}

    fixed = functools.partial(fetch, key="FIXED")

    @functools.wraps(fixed)
    def wrapped(*args: Any, **options: Any) -> dict[str, Any]:
        return fixed(*args, **options)

    for fn in (fixed, functools.partial(fixed, region="eu"), functools.update_wrapper(fixed, fetch), wrapped):
        tool = source.add(fn, name=f"fetch{len(source.tools)}")
        with pytest.raises(TypeError, match="no parameter 'key'"):
            await source.call(tool, {"url": "u", "key": "EVIL"})
        found = (await source.call(tool, {"url": "u", "size": 1})).structured
        assert (found["key"], found["size"]) == ("FIXED", 1)
        fits = jsonschema_rs.validator_for(dict(tool.input_schema)).is_valid
        assert fits({"url": "u", "size": 1})
        assert not fits({"url": "u", "key": "EVIL"})
        assert "FIXED" not in str(tool)


def test_a_function_of_too_many_parameters_is_refused_at_once() -> None:
    namespace: dict[str, Any] = {}
    exec(f"def wide({', '.join(f'p{n}: int = 0' for n in range(501))}): ...", namespace)
    source = FunctionSource()
    with pytest.raises(ToolDefinitionError, match=r"^wide cannot be offered.*501 parameters"):
        source.add(namespace["wide"])
    assert source.tools == ()


def test_effect_is_destructive_until_said_otherwise() -> None:
    def do() -> None: ...

    source = FunctionSource()
    first, second = source.add(do), source.add(do, name="other", effect="read")
    assert (first.effect, first.effect_from) == ("destructive", "default")
    assert (second.effect, second.effect_from) == ("read", "decorator")


def test_local_classes_named_as_text_are_found() -> None:
    @dataclasses.dataclass
    class Local:
        x: int

    def do(item: Local, more: list[Local]) -> Local:
        return item

    tool = FunctionSource().add(do)
    assert tool.input_schema["$defs"]["Local"]["properties"]["x"]["type"] == "integer"


def test_a_hint_that_cannot_be_resolved_names_the_parameter() -> None:
    def do(a: int, item: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    def back() -> Missing: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ToolDefinitionError, match=r"parameter 'item' of do .*'Missing'"):
        FunctionSource().add(do)
    with pytest.raises(ToolDefinitionError, match=r"the return type of back "):
        FunctionSource().add(back)


def _stars(*args: int) -> None: ...
def _opaque(x: Opaque) -> None: ...
def _callback(x: Callable[[], int]) -> None: ...
def _gives_opaque() -> Opaque: ...
def _yields() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (_stars, r"takes \*args"),
        (_opaque, "parameter 'x' of _opaque has no JSON Schema"),
        (_callback, "parameter 'x' of _callback has no JSON Schema"),
        (_gives_opaque, "the result of _gives_opaque has no JSON Schema"),
        (_yields, "return a list"),
        (min, "no readable signature"),
        (lambda: 1, "name="),
        (Point, "is not a function"),
        (5, "is not a function"),
    ],
)
def test_what_cannot_be_offered_is_refused_with_the_reason(fn: Any, words: str) -> None:
    source = FunctionSource()
    with pytest.raises(ToolDefinitionError, match=words):
        source.add(fn)


@pytest.mark.parametrize("name", ["tools", "runtime", "x.tools", "runtime.x", "final_answer", "", "a..b"])
def test_reserved_and_empty_names_are_value_errors(name: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which of the two messages is tested with names
        FunctionSource().add(lambda: 1, name=name)


def test_options_that_do_not_exist_are_refused() -> None:
    source = FunctionSource()
    for options in ({"effect": "delete"}, {"results": "yaml"}, {"timeout": 0}, {"timeout": math.nan}):
        with pytest.raises(ToolDefinitionError, match="of t is"):
            source.add(lambda: 1, name="t", **options)  # type: ignore[arg-type]


async def test_two_functions_under_one_name_are_refused_and_the_first_stays() -> None:
    source = FunctionSource()
    source.add(lambda: 1, name="get-weather")
    with pytest.raises(ToolDefinitionError, match=r"'get-weather' and 'get_weather'"):
        source.add(lambda: 2, name="get_weather")
    assert [tool.original for tool in await source.list_tools()] == ["get-weather"]


async def test_listeners_hear_of_additions() -> None:
    source, heard = FunctionSource(), []
    source.on_change(lambda: heard.append(1))
    source.add(lambda: 1, name="a")
    assert heard == [1]


# Calling


async def test_arguments_arrive_as_the_types_the_hints_name(source: FunctionSource) -> None:
    seen: dict[str, Any] = {}

    def take(
        address: Address,
        point: Point,
        color: Color,
        when: dt.datetime,
        key: uuid.UUID,
        path: pathlib.Path,
        mode: Literal["a", "b"],
        tags: set[str],
        options: Options,
        data: bytes,
        price: Decimal = Decimal("1.5"),
        **more: int,
    ) -> None:
        seen.update(locals())

    key = uuid.uuid4()
    await run(
        source,
        take,
        address={"street": "s", "since": "2024-01-02"},
        point={"x": 1},
        color="red",
        when="2024-01-02T03:04:05Z",
        key=str(key),
        path="/a",
        mode="a",
        tags=["x"],
        options={"deep": True},
        data=b"\xff",
        extra="7",
    )
    assert seen["address"] == Address(street="s", since=dt.date(2024, 1, 2))
    assert (seen["point"], seen["color"], seen["key"]) == (Point(1), Color.RED, key)
    assert seen["when"] == dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert (seen["path"], seen["mode"], seen["tags"]) == (pathlib.Path("/a"), "a", {"x"})
    assert (seen["options"], seen["data"], seen["price"]) == ({"deep": True}, b"\xff", Decimal("1.5"))
    assert seen["more"] == {"extra": 7}


async def test_positional_only_field_and_factory_defaults_are_filled_in(source: FunctionSource) -> None:
    def do(
        a: int = 1, b: int = 2, /, c: int = Field(3), d: list[int] = Field(default_factory=lambda: [4]),  # noqa: B008
        e: Annotated[int, Field(default=5)] = Field(),
    ) -> list[Any]:  # fmt: skip
        return [a, b, c, d]

    assert await run(source, do, b=7, e=1) == [1, 7, 3, [4]]


async def test_a_wrong_missing_or_unknown_argument_says_which(source: FunctionSource) -> None:
    def do(item: Address) -> None: ...

    tool = source.add(do)
    with pytest.raises(
        ValueError, match=r"do: argument 'item\.street' is wrong: Input should be a valid string"
    ):
        await source.call(tool, {"item": {"street": 5}})
    with pytest.raises(TypeError, match="needs the argument 'item'"):
        await source.call(tool, {})
    with pytest.raises(TypeError, match="no parameter 'other'"):
        await source.call(tool, {"item": {"street": "s"}, "other": 1})


class Counter:
    """Counts."""

    def __init__(self) -> None:
        self.n = 0

    def up(self, by: int = 1) -> int:
        self.n += by
        return self.n

    async def __call__(self, by: int) -> int:
        """Count further."""
        return self.up(by)


async def test_methods_objects_partials_and_decorated_functions_can_be_called(source: FunctionSource) -> None:
    counter = Counter()
    assert await run(source, counter.up, by=2) == 2
    tool = source.add(counter)
    assert (tool.name, tool.description, list(tool.input_schema["properties"])) == (
        "Counter",
        "Count further.",
        ["by"],
    )
    assert (await source.call(tool, {"by": 3})).structured == 5
    bound = source.add(functools.partial(counter, by=4), name="four")
    assert (await source.call(bound, {})).structured == 9

    async def inner(x: int) -> int:
        return x + 1

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    assert (await source.call(source.add(outer), {"x": 1})).structured == 2
    assert (await source.call(source.add(math.sqrt), {"x": 9})).structured == 3.0


async def test_blocking_functions_run_32_at_once_off_the_loop_with_their_context(
    source: FunctionSource,
) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
    together = threading.Barrier(32)

    def meet() -> list[Any]:
        together.wait(timeout=30)
        return [who.get(), threading.current_thread() is threading.main_thread()]

    tool = source.add(meet)
    who.set("ada")
    results = await asyncio.gather(*(source.call(tool, {}) for _ in range(32)))
    assert [result.structured for result in results] == [["ada", False]] * 32


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), KeyError("k"), ToolError("no")], ids=repr
)
async def test_what_a_function_raises_comes_out(source: FunctionSource, error: BaseException) -> None:
    def blocking() -> None:
        raise error

    async def waiting() -> None:
        raise error

    for fn in (blocking, waiting):
        with pytest.raises(type(error)) as caught:
            await source.call(source.add(fn), {})
        assert caught.value is error


@pytest.mark.parametrize(
    ("value", "inline"),
    [
        ([1, 2, 3], True),
        ({"a": [{"b": "x" * 1_000}]}, True),
        ([{}] * 3_000, False),
        ([[{"a": [{}] * 3_000}]], False),
        ("x" * 2_000_000, False),
        ({"a": ["x" * 2_000_000]}, False),
    ],
    ids=["list", "nested", "many", "many-deep", "text", "text-inside"],
)
async def test_only_large_arguments_of_async_functions_are_checked_off_the_loop(
    source: FunctionSource, value: Any, inline: bool
) -> None:
    threads: list[threading.Thread] = []

    def note(value: Any) -> Any:
        threads.append(threading.current_thread())
        return value

    async def take(value: Annotated[Any, BeforeValidator(note)]) -> None: ...

    await run(source, take, value=value)
    assert [thread is threading.main_thread() for thread in threads] == [inline]


async def test_stop_iteration_does_not_leave_the_call_waiting_for_ever(source: FunctionSource) -> None:
    def do() -> None:
        next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(run(source, do), 20)


async def test_a_call_needs_an_open_source_and_a_known_function() -> None:
    source = FunctionSource()
    tool = source.add(lambda: 1, name="t")
    with pytest.raises(SourceError, match="not open"):
        await source.call(tool, {})
    await source.open()
    assert (await source.call(tool, {})).structured == 1
    with pytest.raises(ToolError, match="no longer offered"):
        await source.call(Tool("ghost", original="ghost"), {})
    await source.close()
    await source.close()


# Results


class Report(BaseModel):
    id: uuid.UUID
    when: dt.datetime
    color: Color
    data: bytes
    tags: set[int]
    points: list[Point]
    password: SecretStr = SecretStr("hunter2")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.data)


WHEN = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
KEY = uuid.UUID(int=5)


@pytest.mark.parametrize("data", [b"\xff\x00", b""])
async def test_models_become_plain_data_and_bytes_stay_bytes(source: FunctionSource, data: bytes) -> None:
    report = Report(id=KEY, when=WHEN, color=Color.RED, data=data, tags={1}, points=[Point(1, 2)])
    expected = {
        "id": str(KEY),
        "when": "2024-01-02T03:04:05Z",
        "color": "red",
        "data": data,
        "tags": [1],
        "points": [{"x": 1, "y": 2}],
        "password": "**********",
        "size": len(data),
    }

    def typed() -> Report:
        return report

    async def untyped():  # type: ignore[no-untyped-def]
        return {"all": [report]}

    tool = source.add(typed)
    assert (await source.call(tool, {})).structured == expected
    assert tool.output_schema is not None
    assert tool.output_schema["properties"]["data"] == {"type": "string", "format": "binary", "title": "Data"}
    assert (await source.call(source.add(untyped), {})).structured == {"all": [expected]}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        ("3", "3"),
        (WHEN, "2024-01-02T03:04:05Z"),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.timedelta(hours=1), "PT1H"),
        (KEY, str(KEY)),
        (Decimal("1.50"), "1.50"),
        (pathlib.Path("/a/b"), "/a/b"),
        (Color.RED, "red"),
        (b"\xff", b"\xff"),
        (bytearray(b"\xff"), b"\xff"),
        ({"k": {Color.RED}}, {"k": ["red"]}),
        ({dt.date(2024, 1, 2): b"\xff"}, {"2024-01-02": b"\xff"}),
        (Pair(1, "x"), [1, "x"]),
        (Weight.HEAVY, 2.5),
        ([Weight.HEAVY, b"\xff", Name("n"), Ratio(0.5)], [2.5, b"\xff", "n", 0.5]),
        ([Options(deep=True), Point(1)], [{"deep": True}, {"x": 1, "y": 0}]),
        ({"a": [b"x", WHEN, KEY]}, {"a": [b"x", "2024-01-02T03:04:05Z", str(KEY)]}),
    ],
    ids=repr,
)
async def test_leaves_are_spelled_one_way_with_and_without_a_hint(
    source: FunctionSource, value: Any, plain: Any
) -> None:
    async def untyped():  # type: ignore[no-untyped-def]
        return value

    result = await source.call(source.add(untyped), {})
    assert result.has_structured
    assert result.structured == plain
    assert type(result.structured) is type(plain)

    async def typed() -> Any:
        return value

    # Pydantic has no schema for bytearray
    typed.__annotations__["return"] = list[int] if isinstance(value, bytearray) else type(value)
    assert (await source.call(source.add(typed), {})).structured == plain


async def test_nan_is_left_for_the_gate_to_refuse(source: FunctionSource) -> None:
    def typed() -> dict[str, list[float]]:
        return {"a": [math.nan]}

    def untyped() -> Any:
        return [Point(1), math.inf]

    assert math.isnan((await run(source, typed))["a"][0])
    assert (await source.call(source.add(untyped), {})).structured == [{"x": 1, "y": 0}, math.inf]


async def test_json_text_is_parsed_by_the_result_rule_when_configured(source: FunctionSource) -> None:
    def do() -> str:
        return "[1]"

    tool = source.add(do, results="json")
    assert tool.output_schema is None
    assert (await source.call(tool, {})).blocks == (Text("[1]"),)
    assert await run(source, do) == "[1]"


async def test_blobs_become_blocks_alone_or_in_a_list(source: FunctionSource) -> None:
    image = Blob(b"\x89PNG", "image/png")

    def one() -> Blob:
        return image

    def several() -> list[Blob | str]:
        return [image, "note", {"n": 1}, Link("file:///a")]  # type: ignore[list-item]

    def nested() -> dict[str, Any]:
        return {"image": image}

    def beside_bytes() -> Any:
        return [image, {"raw": b"x"}]

    tool = source.add(one)
    assert tool.output_schema is None
    assert (await source.call(tool, {})).blocks == (image,)
    found = await source.call(source.add(several), {})
    assert found.blocks == (image, Text("note"), Text('{"n": 1}'), Link("file:///a"))
    assert not found.has_structured
    with pytest.raises(ToolError, match="a Blob inside another value"):
        await source.call(source.add(nested), {})
    with pytest.raises(ToolError, match="wrap bytes in a Blob"):
        await source.call(source.add(beside_bytes), {})


def _endless() -> Any:
    while True:
        yield 1


@pytest.mark.parametrize(
    "value",
    [Opaque(), [{"a": Opaque()}], {"a": Opaque(), "b": b"x"}, _endless, map(str, [1])],
    ids=["itself", "inside", "beside bytes", "a function", "an iterator"],
)
async def test_an_object_that_is_no_data_is_named_by_its_type_only(
    source: FunctionSource, value: Any
) -> None:
    kind = "generator" if value is _endless else ("map" if isinstance(value, map) else "Opaque")

    def untyped() -> Any:
        return value() if value is _endless else value

    def typed() -> list[int]:
        return value() if value is _endless else value

    for fn in (untyped, typed):
        with pytest.raises(ToolError) as caught:
            await source.call(source.add(fn), {})
        assert f"an object of type {kind}," in str(caught.value)
        assert "test_function" not in str(caught.value)


class Holder(BaseModel):
    inside: Any = None


def _shared() -> Any:
    value: Any = [0]
    for _ in range(28):
        value = [value, value]
    return value


def _shared_models() -> Any:
    value = Holder()
    for _ in range(28):
        value = Holder(inside=[value, value])
    return value


def _deep() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


def _cyclic() -> Any:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize("make", [_shared, _shared_models, _deep, _cyclic])
@pytest.mark.parametrize("hint", [Any, list, Holder, None], ids=str)
async def test_a_value_that_would_explode_is_refused_before_it_costs_anything(
    source: FunctionSource, make: Callable[[], Any], hint: Any
) -> None:
    value = make()
    held = Holder.model_construct(inside=value) if hint is Holder else value

    def blocking() -> Any:
        return held

    async def waiting() -> Any:
        return held

    for fn in (blocking, waiting):
        fn.__annotations__["return"] = hint
        tool = source.add(fn)
        tracemalloc.start()
        try:
            with pytest.raises(
                ValueRefused, match=r"more than 1,000,000 nodes|nested deeper than 100 levels"
            ):
                await source.call(tool, {})
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


async def test_the_bounds_of_a_result_follow_the_limits() -> None:
    source = FunctionSource(Limits(nodes=10))
    await source.open()

    async def do(n: int) -> list[int]:
        return [0] * n

    tool = source.add(do)
    assert (await source.call(tool, {"n": 9})).structured == [0] * 9
    with pytest.raises(ValueRefused, match="more than 10 nodes"):
        await source.call(tool, {"n": 10})
    await source.close()


async def test_a_large_result_of_an_async_function_is_whole(source: FunctionSource) -> None:
    async def do() -> list[Point]:
        return [Point(n) for n in range(20_000)]

    found = await run(source, do)
    assert len(found) == 20_000
    assert found[-1] == {"x": 19_999, "y": 0}


async def test_nothing_to_return(source: FunctionSource) -> None:
    def quiet() -> None: ...

    async def never() -> Never:
        raise ToolError("never")

    tool = source.add(quiet)
    assert tool.output_schema == {"type": "null"}
    result = await source.call(tool, {})
    assert (result.structured, result.has_structured) == (None, True)
    assert source.add(never).output_schema is None


async def test_a_part_that_is_shared_may_not_hide_depth(source: FunctionSource) -> None:
    tall: Any = []
    for _ in range(60):
        tall = [tall]
    deep: Any = tall
    for _ in range(60):
        deep = [deep]

    with pytest.raises(ValueRefused, match="nested deeper than 100 levels"):
        await run(source, lambda: [tall, deep])


async def test_a_serializer_that_fails_is_a_tool_error(source: FunctionSource) -> None:
    def refuse(_: str) -> str:
        raise ValueError("no words")

    def do() -> Annotated[str, PlainSerializer(refuse)]:
        return "x"

    with pytest.raises(ToolError, match=r"result of t cannot be turned into data: .*no words"):
        await run(source, do)


async def test_a_local_function_that_names_itself_can_be_a_tool(source: FunctionSource) -> None:
    def define() -> Callable[..., Any]:
        def count(n: int) -> int:
            return 0 if n == 0 else 1 + count(n - 1)

        source.add(count)
        return count

    assert await run(source, define(), n=3) == 3


def test_a_description_given_goes_before_the_docstring() -> None:
    assert FunctionSource().add(_documented, description="Mine.").description == "Mine."


def _documented() -> None:
    """Not shown."""


def test_a_default_that_is_no_data_is_optional_and_not_shown() -> None:
    def do(x: Any = Opaque()) -> None: ...  # noqa: B008

    schema = FunctionSource().add(do).input_schema
    assert schema["properties"] == {"x": {}}
    assert "required" not in schema


class First(BaseModel):
    path: str


class Second(BaseModel):
    path: str


async def test_the_order_of_a_union_is_each_functions_own(source: FunctionSource) -> None:
    def one(x: First | Second) -> str:
        return type(x).__name__

    def other(x: Second | First) -> str:
        return type(x).__name__

    found = [await source.call(source.add(fn), {"x": {"path": "a"}}) for fn in (one, other)]
    assert [result.structured for result in found] == ["First", "Second"]
