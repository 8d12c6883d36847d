"""What is stopped before it runs, and above all what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.catalog import app as catalog
from corpus.right import RIGHT
from corpus.wrong import FAILS_QUIETLY, WRONG
from oneturn import CodeMode, Tool
from oneturn.checking import Checked, Checker
from oneturn.gate.arguments import Arguments
from oneturn.gate.base import Budget, Context, Request
from oneturn.program import Program, parse
from oneturn.tools.scope import Allow, Scope
from oneturn.types import Call, Failure, Limits
from oneturn.view import View

BFCL = json.loads((Path(__file__).parent / "corpus" / "bfcl_sample.json").read_text())


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    made = Checker(seconds=30)  # the machine may be busy
    yield made
    made.close()


@pytest.fixture(scope="module")
def scope() -> Scope:
    app = catalog()
    return app.view().scope


def program(source: str) -> Program:
    parsed = parse(source)
    assert isinstance(parsed, Program), parsed
    return parsed


@pytest.fixture(scope="module")
def unchecked() -> Iterator[CodeMode]:
    """An app that looks at nothing before it runs a script."""
    with pytest.MonkeyPatch.context() as patch, catalog() as app:
        patch.setattr(View, "check", lambda self, program, **_: Checked())
        yield app


@pytest.mark.parametrize("name", RIGHT)
class TestRight:
    def test_it_is_not_stopped(self, name: str, checker: Checker, scope: Scope) -> None:
        assert checker.check(program(RIGHT[name]), scope).error is None

    def test_it_runs_to_its_end(self, name: str, unchecked: CodeMode) -> None:
        outcome = unchecked.execute_sync(RIGHT[name])
        assert outcome.ok, outcome.error


@pytest.mark.parametrize("name", WRONG)
class TestWrong:
    def test_it_is_stopped(self, name: str, checker: Checker, scope: Scope) -> None:
        source, kind = WRONG[name]
        error = checker.check(program(source), scope).error
        assert error is not None
        assert error.kind == kind
        assert error.position is not None
        assert error.position.source == source.split("\n")[error.position.line - 1]
        assert "Nothing of the script has run." in error.hint

    def test_unchecked_it_fails(self, name: str, unchecked: CodeMode) -> None:
        outcome = unchecked.execute_sync(WRONG[name][0])
        assert outcome.ok == (name in FAILS_QUIETLY), outcome.value


# --- what is known of calls from elsewhere


def tools_of(case: dict[str, Any]) -> Scope:
    made = [Tool(each["name"], "", each["input_schema"], each["output_schema"]) for each in case["tools"]]
    return Scope(made, [Allow.of("*")])


@pytest.mark.parametrize("case", BFCL["cases"], ids=lambda case: case["id"])
def test_gold_answers_are_stopped_only_when_they_break_their_own_schema(
    case: dict[str, Any], checker: Checker
) -> None:
    scope = tools_of(case)
    for script in case["scripts"]:
        assert checker.check(program(script), scope).error is None or case["refused"]
    if case["refused"]:
        assert checker.check(program(case["scripts"][0]), scope).error is not None


def test_the_sample_says_where_it_is_from() -> None:
    assert "Apache License 2.0" in BFCL["origin"]
    assert len(BFCL["cases"]) > 100
    assert any(case["refused"] for case in BFCL["cases"])


# --- what is stopped, the gate refuses

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0, "", "a", "open", b"x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=2)
        | st.tuples(inner)
    ),
    max_leaves=4,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
SCHEMAS = st.recursive(
    st.just({})
    | st.builds(lambda kind: {"type": kind}, TYPES)
    | st.builds(lambda kinds: {"type": sorted(kinds)}, st.sets(TYPES, min_size=1, max_size=3))
    | st.builds(
        lambda values: {"enum": values}, st.lists(st.sampled_from(["open", "a", 1, None]), min_size=1)
    )
    | st.sampled_from(
        [
            {"type": "string", "format": "binary"},
            {"type": "string", "contentEncoding": "base64"},
            {"type": "integer", "minimum": 1},
            {"$ref": "#/$defs/thing"},
            {"$ref": "#/properties/a"},
            {"const": "a"},
        ]
    ),
    lambda inner: (
        st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda branches: {"allOf": branches}, st.lists(inner, min_size=1, max_size=2))
        | st.builds(lambda part: {"not": part}, inner)
        | st.builds(lambda part: {"type": "array", "items": part}, inner)
        | st.builds(lambda part: {"type": "object", "properties": {"a": part}, "required": ["a"]}, inner)
    ),
    max_leaves=4,
)
INPUTS = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(st.sampled_from(["a", "b", "class", "page-size"]), SCHEMAS, max_size=3),
        "required": st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=2),
        "$defs": st.fixed_dictionaries({"thing": st.sampled_from([{"type": "string"}, {"type": "array"}])}),
    },
    optional={
        "additionalProperties": st.sampled_from([True, False, {"type": "string"}]),
        "patternProperties": st.just({"^c": {"type": "integer"}}),
        "dependentRequired": st.just({"a": ["b"]}),
        "anyOf": st.just([{"required": ["a"]}, {"required": ["b"]}]),
        "minProperties": st.just(1),
    },
)
NAMES = st.sampled_from(["a", "b", "c", "class_", "page_size"])


@settings(max_examples=400, deadline=None)
@given(
    INPUTS,
    st.lists(st.tuples(VALUES, st.booleans()), max_size=3),
    st.dictionaries(NAMES, st.tuples(VALUES, st.booleans()), max_size=3),
    st.booleans(),
)
def test_a_call_that_is_stopped_is_one_the_gate_refuses(
    schema: dict[str, Any],
    args: list[tuple[Any, bool]],
    kwargs: dict[str, tuple[Any, bool]],
    in_variables: bool,
) -> None:
    """Some values are literals in the script and some are hidden behind a computation."""
    tool = Tool("lab.f", "", schema)
    scope = Scope([tool], [Allow.of("*")])
    setup: list[str] = ["def some(index):\n    return index"]

    def spelt(value: Any, hidden: bool) -> str:
        if hidden:
            return f"some({len(setup)})"
        if in_variables:
            setup.append(f"v{len(setup)} = {value!r}")
            return f"v{len(setup) - 1}"
        return repr(value)

    passed = [spelt(*each) for each in args]
    passed += [f"{name}={spelt(*each)}" for name, each in kwargs.items()]
    source = "\n".join([*setup, f"await lab.f({', '.join(passed)})"])
    checker = Checker(types=False)
    call = Call(
        0,
        "tool",
        "lab.f",
        tuple(value for value, _ in args),
        {name: value for name, (value, _) in kwargs.items()},
    )
    verdict = Arguments()(Request(call, tool), Context(scope, Limits(), Budget()))
    error = checker.check(program(source), scope).error
    if error is not None:
        assert isinstance(verdict, Failure), source
        hidden = any(hidden for _, hidden in (*args, *kwargs.values()))
        assert error.kind == verdict.kind or hidden or verdict.kind == "RuntimeError"  # an unusable schema
    literal = not in_variables and not any(hidden for _, hidden in (*args, *kwargs.values()))
    if literal and isinstance(verdict, Failure) and verdict.kind != "RuntimeError":
        assert error is not None
        assert error.message.startswith(verdict.message[:500])


# --- how it is told


def test_several_problems_are_one_answer(checker: Checker, scope: Scope) -> None:
    source = "await get_order('1')\nawait shop.refund(1)\no = await get_order(1)\nprint(o['totl'])"
    error = checker.check(program(source), scope).error
    assert error is not None
    assert error.kind == "TypeError"
    assert error.position is not None
    assert (error.position.line, error.position.column) == (1, 7)
    assert "Line 2: there is no tool shop.refund" in error.hint
    assert "Line 4: there is no key 'totl' in" in error.hint
    assert "['total']" in error.hint


def test_an_answer_is_bounded(checker: Checker, scope: Scope) -> None:
    source = "\n".join(f"await shop.nothing_{n}({'x' * 1_000!r})" for n in range(40))
    error = checker.check(program(source), scope).error
    assert error is not None
    assert len(error.message) + len(error.hint) < 5_000
    assert "And 35 more." in error.hint


def test_a_misspelt_tool_is_told_with_the_nearest(checker: Checker, scope: Scope) -> None:
    error = checker.check(program("await shop.get_ordr(1)"), scope).error
    assert error is not None
    assert "did you mean shop.get_order" in error.message
    assert "tools.shop.get_order" in error.hint


def test_nothing_is_told_about_a_forbidden_tool(checker: Checker, scope: Scope) -> None:
    error = checker.check(program("await tools.admin.wipe(everything='no')"), scope).error
    assert error is not None
    assert error.kind == "PermissionError"
    assert error.message == "admin.wipe is not allowed here"
    assert "everything" not in error.message + error.hint
    assert "bool" not in error.message + error.hint


def test_a_missing_key_is_told_with_the_keys_there_are(checker: Checker, scope: Scope) -> None:
    error = checker.check(program("o = await get_order(1)\nreturn o['customer']['mail']"), scope).error
    assert error is not None
    assert "it has name, email" in error.message
    assert "['email']" in error.hint
    assert error.position is not None
    assert error.position.source == "return o['customer']['mail']"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("o = await get_order(1)\nreturn o.total", "AttributeError"),
        (
            "def f(o):\n    return o\nrows = await list_orders()\nrows.append(f(1))\nrows[0]['titel']",
            "KeyError",
        ),
        ("o = await find_order(1)\nreturn o['titel']", "KeyError"),
        ("x = {'n': 'a'}\nawait get_order(x['n'])", "TypeError"),
        ("try:\n    await get_order('1')\nexcept TypeError:\n    pass", "TypeError"),
        ("try:\n    await shop.refund()\nexcept NameError:\n    pass", "NameError"),
        ("await get_order(1)\nreturn ordr", "NameError"),
    ],
)
def test_what_is_likely_and_not_certain_is_a_warning(
    source: str, kind: str, checker: Checker, scope: Scope
) -> None:
    checked = checker.check(program(source), scope)
    assert checked.error is None
    assert [each.kind for each in checked.warnings] == [kind]
    assert not checked.warnings[0].blocks
    assert checked.warnings[0].position.line > 0


def test_a_missing_key_is_told_when_keys_are_no_python_names(checker: Checker) -> None:
    shape = {"type": "object", "properties": {"page-size": {"type": "integer"}, "class": {"type": "string"}}}
    scope = Scope([Tool("lab.f", "", {"type": "object", "properties": {}}, shape)], [Allow.of("*")])
    error = checker.check(program("return (await lab.f())['page_size']"), scope).error
    assert error is not None
    assert "it has page-size, class" in error.message


def test_large_definitions_do_not_delay_a_run(checker: Checker) -> None:
    keys = {f"key_{n}": {"type": "object", "properties": {"a": {"enum": ["x" * 50]}}} for n in range(150)}
    shape = {"type": "object", "properties": keys}
    tools = [Tool(f"lab.f{n}", "", {"type": "object", "properties": {}}, shape) for n in range(40)]
    source = "\n".join(f"await lab.f{n}(1)" for n in range(40))
    error = checker.check(program(source), Scope(tools, [Allow.of("*")])).error
    assert error is not None
    assert error.kind == "TypeError"


def test_an_open_result_may_have_any_key(checker: Checker) -> None:
    shape = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": True}
    scope = Scope([Tool("lab.f", "", {"type": "object", "properties": {}}, shape)], [Allow.of("*")])
    assert checker.check(program("return (await lab.f())['b']"), scope) == Checked()


def test_a_result_that_is_not_held_to_its_shape_may_have_any_key(checker: Checker) -> None:
    shape = {"type": "object", "properties": {"a": {"type": "integer"}}}
    loose = Tool("lab.f", "", {"type": "object", "properties": {}}, shape, holds_output=False)
    checked = checker.check(program("return (await lab.f())['b']"), Scope([loose], [Allow.of("*")]))
    assert checked.error is None
    assert [each.kind for each in checked.warnings] == ["KeyError"]


@pytest.mark.parametrize(("others", "source", "blocks"), [
    ({}, "mcp", False),
    ({"additionalProperties": False}, "mcp", True),
    ({}, "python", True),
])  # fmt: skip
def test_a_schema_that_is_silent_about_other_keys_lets_them_pass(
    others: dict[str, Any], source: str, blocks: bool, checker: Checker
) -> None:
    inner = {"type": "object", "properties": {"a": {"type": "integer"}}, **others}
    shape = {"type": "object", "properties": {"rows": {"type": "array", "items": inner}}, **others}
    tool = Tool("lab.f", "", {"type": "object", "properties": {}}, shape, source=source)
    scope = Scope([tool], [Allow.of("*")])
    checked = checker.check(program("return (await lab.f())['rows'][0]['b']"), scope)
    assert (checked.error is not None) is blocks
    assert [each.kind for each in checked.warnings] == ([] if blocks else ["KeyError"])


# --- what it costs


def test_each_kind_of_check_is_timed(checker: Checker, scope: Scope) -> None:
    checked = checker.check(program("await get_order(1)  # timed"), scope)
    assert set(checked.seconds) == {"syntax", "names", "arguments", "types"}


def test_a_repeated_script_is_not_checked_again(checker: Checker, scope: Scope) -> None:
    source = "await get_order(str(1))  # twice"
    first = checker.check(program(source), scope)
    again = checker.check(program(source), scope)
    assert first.seconds
    assert not again.seconds
    assert again == first


def test_a_script_without_tools_is_not_type_checked(scope: Scope) -> None:
    checker = Checker()
    assert "types" not in checker.check(program("x = 1 + 1\nx"), scope).seconds
    checker.close()


def test_another_definition_is_another_answer(checker: Checker) -> None:
    def scope_with(kind: str) -> Scope:
        return Scope(
            [Tool("lab.f", "", {"type": "object", "properties": {"a": {"type": kind}}})], [Allow.of("*")]
        )

    strict, loose = scope_with("integer"), scope_with("string")
    call = program("a = str(1)\nawait lab.f(a)")
    assert checker.check(call, strict).error is not None
    assert checker.check(call, loose).error is None
    assert checker.check(call, strict).error is not None


def test_many_threads_may_check_at_once(scope: Scope) -> None:
    checker = Checker()
    sources = [*RIGHT.values(), *(source for source, _ in WRONG.values())]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda source: checker.check(program(source), scope), sources))
    checker.close()
    stopped = [answer.error is not None for answer in answers]
    assert stopped[: len(RIGHT)] == [False] * len(RIGHT)
    # With every worker busy a script goes on without types; what the tree can tell is always told.
    by_tree = [kind in ("NameError", "PermissionError", "ForgottenAwait") for _, kind in WRONG.values()]
    assert all(stop or not certain for stop, certain in zip(stopped[len(RIGHT) :], by_tree, strict=True))


def test_closing_twice_is_fine_and_a_later_check_works(scope: Scope) -> None:
    checker = Checker(seconds=30)
    checker.close()
    assert checker.check(program("await get_order(str(1))"), scope).error is not None
    checker.close()
    checker.close()


# --- scripts that mean harm

SLOW = "x = " + "[" * 100 + "]" * 100 + "\nawait get_order(x)"
HOSTILE = {
    "a deep list": SLOW,
    "doubling tuples": "x = 1\n" + "x = (x, x)\n" * 60 + "await get_order(x)",
    "branches without end": "\n".join(f"if x{n}: y = y if y else '{n}'" for n in range(1_000))
    + "\nawait get_order(y)",
    "a long sum of calls": " + ".join(["await get_order(1)"] * 3_000),
    "a long sum of unknown tools": " + ".join(["await shop.nope(1)"] * 3_000),
    "many literals": "await shop.make_order([" + ", ".join(["{'a': 1}"] * 2_000) + "])",
    "functions that call each other": "\n".join(
        f"async def f{n}():\n    await f{(n * 7) % 300}()\n    await shop.nope()" for n in range(300)
    ),
    "a long chain of conditions": "if a: pass\n" + "elif a: pass\n" * 2_000 + "await get_order(1)",
    "aliases of aliases": "\n".join(f"a{n} = a{n + 1}" for n in range(2_000)) + "\nawait a0.get_order(1)",
}


@pytest.mark.timeout(60)
def test_a_hostile_schema_delays_a_run_no_longer_than_the_limit(checker: Checker) -> None:
    again = {"anyOf": [{"$ref": "#/$defs/x"}] * 40}
    wide = {f"a{n}": {"anyOf": [{"type": "string"}, {"enum": list(range(50))}]} for n in range(400)}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}, **wide}, "$defs": {"x": again}}
    scope = Scope([Tool("lab.f", "", schema)], [Allow.of("*")])
    source = "\n".join(f"await lab.f(len('a'), a{n}=1, a{n + 1}=len('b'))" for n in range(300))
    assert checker.check(program(source), scope).error is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_script_delays_a_run_no_longer_than_the_limit(name: str, scope: Scope) -> None:
    checker = Checker(seconds=2.0)
    parsed = parse(HOSTILE[name])
    if isinstance(parsed, Program):
        assert checker.check(parsed, scope).seconds.keys() <= {"syntax", "names", "arguments", "types"}
    # The workers are as good as new, and so is the rest.
    assert (
        checker.check(program("await get_order('1')\nawait mail.search(len('a'))"), scope).error is not None
    )
    checker.close()


def test_a_script_the_checker_gives_up_on_runs_all_the_same(scope: Scope) -> None:
    checker = Checker(seconds=0.5)
    assert checker.check(program(SLOW.replace("get_order(x)", "fetch(x)")), scope).error is None
    checker.close()


# --- fields that must not be told


@pytest.fixture(scope="module")
def private() -> Iterator[CodeMode]:
    app = CodeMode(allow=["*"], redact=["pin", "password"], journal=False, sandbox="monty")

    @app.tool(effect="write")
    def login(user: str, pin: int = 0, deep: list[int] | None = None) -> str:
        """Log in."""
        return "in"

    with app:
        yield app


@pytest.mark.parametrize(
    "code",
    [
        "await login('ann', pin='told-to-nobody')",
        "await login('ann', 'told-to-nobody')",
        "secret = 'told-to-nobody'\nawait login('ann', pin=secret)",
        "await login('ann', pin=['told-to-nobody'])",
        "await login('ann', deep=[{'password': 'told-to-nobody'}])",
        "secret = 'told-to-nobody'\nawait login('ann', deep=('x', {'password': secret}))",
        "try:\n    await login('ann', pin='-'.join(['told', 'to', 'nobody']))\nexcept TypeError as error:\n"
        "    print(error)\n    raise",
    ],
)
def test_the_value_of_a_hidden_field_is_in_no_error(code: str, private: CodeMode) -> None:
    outcome = private.execute_sync(code)
    assert outcome.error is not None
    told = [
        outcome.error.message,
        outcome.error.hint,
        outcome.prints,
        *(call.error for call in outcome.calls),
    ]
    told += [each.message for each in outcome.warnings]
    assert "nobody" not in " ".join(told)
    assert "value" in outcome.error.message
