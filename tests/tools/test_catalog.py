from collections.abc import Sequence
from typing import Any

import pytest

from oneturn.errors import ConfigError, ToolDefinitionError
from oneturn.tools.catalog import Catalog
from oneturn.tools.function import FunctionSource
from oneturn.tools.sources import Sources
from oneturn.types import Tool


def names(catalog: Catalog) -> list[str]:
    return [tool.name for tool in catalog.tools]


def test_a_namespace_is_put_before_and_the_original_kept() -> None:
    catalog = Catalog()
    catalog.replace("github", [Tool("list.repos"), Tool("create-issue")], "git-hub")
    assert names(catalog) == ["git_hub.create_issue", "git_hub.list_repos"]
    tool = catalog.get("git_hub.create_issue")
    assert tool is not None
    assert tool.original == "create-issue"


def test_without_a_namespace_a_tools_own_dots_are_its_namespaces() -> None:
    catalog = Catalog()
    catalog.replace("python", [Tool("billing.get-invoice"), Tool("now")])
    assert names(catalog) == ["billing.get_invoice", "now"]


def test_every_change_raises_the_version_and_no_change_does_not() -> None:
    catalog = Catalog()
    catalog.replace("a", [Tool("x")], "a")
    catalog.replace("a", [Tool("x")], "a")
    assert catalog.version == 1
    catalog.replace("a", [Tool("y")], "a")
    assert (catalog.version, names(catalog)) == (2, ["a.y"])
    catalog.remove("nobody")
    catalog.remove("a")
    assert (catalog.version, names(catalog), catalog.get("a.y")) == (3, [], None)


def test_two_spellings_of_one_name_are_refused_by_both_and_nothing_changes() -> None:
    catalog = Catalog()
    catalog.replace("a", [Tool("kept")], "a")
    with pytest.raises(ToolDefinitionError, match=r"'get-weather'.*'get_weather'.*rename"):
        catalog.replace("a", [Tool("get-weather"), Tool("get_weather")], "a")
    assert (catalog.version, names(catalog)) == (1, ["a.kept"])


def test_two_sources_may_share_a_namespace_but_no_name() -> None:
    catalog = Catalog()
    catalog.replace("a", [Tool("x")], "lab")
    catalog.replace("b", [Tool("y")], "lab")
    assert names(catalog) == ["lab.x", "lab.y"]
    with pytest.raises(ToolDefinitionError, match=r"source 'a' .*source 'c' .*'lab\.x'.*namespace"):
        catalog.replace("c", [Tool("x")], "lab")


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_a_tool_may_not_be_called_like_a_namespace(order: tuple[str, str]) -> None:
    offers = {"one": ([Tool("github")], ""), "two": ([Tool("create")], "github.issues")}
    catalog = Catalog()
    catalog.replace(order[0], *offers[order[0]])
    with pytest.raises(ToolDefinitionError, match=r"'github'.*namespace of 'github\.issues\.create'"):
        catalog.replace(order[1], *offers[order[1]])


@pytest.mark.parametrize("source", ["tools", "runtime"])
def test_a_source_may_not_have_a_name_scripts_have(source: str) -> None:
    with pytest.raises(ToolDefinitionError):
        Catalog().replace(source, [])


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


def bomb() -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(40):
        schema = {"anyOf": [schema, schema]}
    return schema


def cycle() -> dict[str, Any]:
    schema: dict[str, Any] = {}
    schema["items"] = schema
    return schema


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Tool("x", input_schema={"properties": {"a-b": {}, "a_b": {}}}), "'a-b' and 'a_b' would both be"),
        (Tool("x", input_schema={"properties": {" ": {}}}), "empty name"),
        (Tool("x", input_schema={"properties": {"a" * 300: {}}}), "300 characters"),
        (Tool("x", input_schema={"properties": {f"p{n}": {} for n in range(501)}}), "501 parameters"),
        (Tool("x", input_schema={"enum": ["word"] * 40_000}), "input schema is larger than 200,000"),
        (Tool("x", output_schema={"const": "x" * 200_001}), "output schema is larger than 200,000"),
        (Tool("x", input_schema={"const": 1 << 5_000_000}), "input schema is larger than 200,000"),
        (Tool("x", input_schema=[]), "input schema is no JSON object"),  # type: ignore[arg-type]
        (Tool("x", input_schema=nested(10_000)), "nested deeper than 100 levels"),
        (Tool("x", input_schema=cycle()), "contains itself"),
        (Tool("x", input_schema=bomb()), "larger than 200,000"),
        (Tool("x" * 5_000_000), "5,000,000 characters"),
        (Tool("tools"), "'tools' is a name scripts already have"),
        (Tool("  "), "empty name"),
    ],
    ids=range(14),
)
def test_a_tool_that_is_unusable_in_itself_is_left_out_and_the_rest_is_offered(
    bad: Tool, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog()
    catalog.replace("lab", [bad, Tool("good")], "lab")
    assert names(catalog) == ["lab.good"]
    [(name, why)] = catalog.dropped.items()
    assert name.startswith("lab.")
    assert reason in why
    assert len(name) + len(why) < 500
    assert why in caplog.text
    catalog.replace("lab", [Tool("good")], "lab")
    assert catalog.dropped == {}


def test_the_log_names_a_few_of_very_many_tools_left_out(caplog: pytest.LogCaptureFixture) -> None:
    many = [Tool(f"t{number}", input_schema={"properties": {"": {}}}) for number in range(10_000)]
    catalog = Catalog()
    catalog.replace("lab", many, "lab")
    catalog.replace("lab", many, "lab")
    assert (catalog.version, len(catalog.dropped), len(caplog.records)) == (1, 10_000, 1)
    assert len(caplog.text) < 2_000
    catalog.remove("lab")
    assert catalog.dropped == {}


def test_a_namespace_scripts_already_have_refuses_the_source() -> None:
    with pytest.raises(ToolDefinitionError, match="'runtime'"):
        Catalog().replace("lab", [Tool("x")], "runtime")


def test_schemas_up_to_the_bounds_are_offered() -> None:
    catalog = Catalog()
    wide = {"properties": {f"p{n}": {"type": "string", "description": "x" * 300} for n in range(500)}}
    catalog.replace("lab", [Tool("wide", input_schema=wide), Tool("deep", input_schema=nested(99))], "lab")
    assert (names(catalog), catalog.dropped) == (["lab.deep", "lab.wide"], {})


def test_a_tool_belongs_to_the_source_that_offers_it_whatever_it_says_itself() -> None:
    catalog = Catalog()
    catalog.replace("evil", [Tool("x", source="bank", original="pay")], "evil")
    assert [(tool.source, tool.original) for tool in catalog.tools] == [("evil", "pay")]


def test_a_very_long_description_is_cut_and_says_so() -> None:
    catalog = Catalog()
    catalog.replace("lab", [Tool("x", "word " * 1_000_000)], "lab")
    kept = catalog.tools[0].description
    assert len(kept) < 21_000
    assert kept.endswith("… (4,980,000 more characters)")


def test_the_most_specific_pattern_sets_effect_and_result_rule() -> None:
    catalog = Catalog(
        effects={
            "*": "write",
            "github.*": "read",
            "github.create_*": "destructive",
            "tools.github.create_x": "write",
        },
        results={"github.raw*": "text"},
    )
    offered = ("list", "create_y", "create_x", "raw_log")
    catalog.replace("github", [Tool(name, effect="destructive") for name in offered], "github")
    catalog.replace("python", [Tool("now", effect="read", effect_from="decorator")])
    found = {tool.name: (tool.effect, tool.effect_from, tool.results) for tool in catalog.tools}
    assert found == {
        "github.create_x": ("write", "configuration", "auto"),
        "github.create_y": ("destructive", "configuration", "auto"),
        "github.list": ("read", "configuration", "auto"),
        "github.raw_log": ("read", "configuration", "text"),
        "now": ("write", "configuration", "auto"),
    }


def test_without_a_matching_pattern_the_source_decides() -> None:
    catalog = Catalog(effects={"other.*": "read"})
    catalog.replace("python", [Tool("now", effect="write", effect_from="decorator", results="json")])
    tool = catalog.tools[0]
    assert (tool.effect, tool.effect_from, tool.results) == ("write", "decorator", "json")


def test_an_operators_word_on_what_may_be_repeated_wins_either_way() -> None:
    catalog = Catalog(idempotent={"desk.*": True, "desk.add": False})
    offered = [Tool("put"), Tool("add", idempotent=True)]
    catalog.replace("desk", offered, "desk")
    catalog.replace("mail", [Tool("send", idempotent=True)], "mail")
    found = {tool.name: tool.idempotent for tool in catalog.tools}
    assert found == {"desk.put": True, "desk.add": False, "mail.send": True}
    assert catalog.pin("desk.put") == Tool("desk.put", original="put").pin  # no part of what the source says


@pytest.mark.parametrize("rule", ["yes", 1, None])
def test_a_rule_that_is_neither_true_nor_false_is_refused(rule: Any) -> None:
    with pytest.raises(ConfigError, match=r"idempotent\['desk'\]"):
        Catalog(idempotent={"desk": rule})


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"effects\['github\.\*'\] is 'wrte'; use one of read, write, destructive"
    ):
        Catalog(effects={"github.*": "wrte"})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="results"):
        Catalog(results={"x": "yaml"})  # type: ignore[dict-item]


def test_every_matching_pattern_adds_its_notes_and_the_exact_name_comes_last() -> None:
    notes = {
        "tools.github.list": ["exact"],
        "github.*": ["2 per second"],
        "*": ["be kind", "2 per second"],
        "x.*": ["no"],
    }
    catalog = Catalog(notes=notes)
    catalog.replace("github", [Tool("list", notes=("its own",)), Tool("get")], "github")
    found = {tool.short_name: tool.notes for tool in catalog.tools}
    assert found == {
        "list": ("its own", "be kind", "2 per second", "exact"),
        "get": ("be kind", "2 per second"),
    }


@pytest.mark.parametrize("notes", ["one text", [5]])
def test_notes_that_are_no_list_of_texts_are_refused(notes: Any) -> None:
    with pytest.raises(ConfigError, match=r"notes\['github\.\*'\]"):
        Catalog(notes={"github.*": notes})


def test_too_much_beside_the_schemas_leaves_a_tool_out() -> None:
    catalog = Catalog()
    catalog.replace("lab", [Tool("x", notes=("n" * 60_000,)), Tool("y", examples=("e" * 60_000,))], "lab")
    assert catalog.tools == ()
    assert "50,000 is the most" in catalog.dropped["lab.x"]


def test_shared_parts_are_measured_once_and_count_for_every_tool() -> None:
    part = {"properties": {f"p{n}": {"description": "x" * 1_000} for n in range(90)}}
    schema = {"type": "object", "properties": {}, "$defs": {"Part": part}}
    tools = [Tool(f"t{n}", input_schema=dict(schema)) for n in range(20)]
    twice = {**schema, "$defs": {"A": part, "B": part, "C": part}}
    deep = {**schema, "$defs": {"Deep": nested(99)}}
    catalog = Catalog()
    catalog.replace(
        "lab", [*tools, Tool("twice", input_schema=twice), Tool("deep", input_schema=deep)], "lab"
    )
    assert len(catalog.tools) == 20
    assert "larger than 200,000" in catalog.dropped["lab.twice"]
    assert "nested deeper" in catalog.dropped["lab.deep"]


def test_a_listing_that_changes_nothing_keeps_the_very_same_tools() -> None:
    catalog = Catalog()
    catalog.replace("lab", [Tool("x", input_schema={"properties": {"a": {}, "b": {}}})], "lab")
    first = catalog.get("lab.x")
    catalog.replace("lab", [Tool("x", input_schema={"properties": {"a": {}, "b": {}}})], "lab")
    assert catalog.get("lab.x") is first
    assert catalog.version == 1


def test_many_sources_keep_names_and_namespaces_apart() -> None:
    catalog = Catalog()
    for number in range(50):
        catalog.replace(f"s{number}", [Tool(f"t{n}") for n in range(20)], f"lab.s{number}")
    assert len(catalog.tools) == 1_000
    with pytest.raises(ToolDefinitionError, match=r"namespace of 'lab\."):
        catalog.replace("python", [Tool("lab")])
    with pytest.raises(ToolDefinitionError, match=r"'lab\.s7\.t0'.*which is also the namespace"):
        catalog.replace("other", [Tool("x")], "lab.s7.t0")
    for number in range(50):
        catalog.remove(f"s{number}")
    catalog.replace("python", [Tool("lab")])
    assert names(catalog) == ["lab"]


def test_a_function_that_another_thread_adds_during_a_look_is_there_at_the_next() -> None:
    class Slow(Catalog):
        def replace(self, source: str, tools: Sequence[Tool], namespace: str = "") -> None:
            super().replace(source, tools, namespace)
            if len(tools) == 1:
                functions.add(second)  # as another thread may, while this one looks

    def first() -> None: ...

    def second() -> None: ...

    functions = FunctionSource()
    sources = Sources(Slow(), functions)
    functions.add(first)
    sources.sync()
    sources.sync()
    assert [tool.name for tool in sources.catalog.tools] == ["first", "second"]
