import pytest

from oneturn.errors import ConfigError, ToolDefinitionError
from oneturn.tools.catalog import Catalog
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


def test_parameters_that_collide_are_found_before_anyone_calls() -> None:
    bad = Tool("x", input_schema={"properties": {"a-b": {}, "a_b": {}}})
    with pytest.raises(ToolDefinitionError, match=r"^lab\.x cannot be offered.*'a-b'"):
        Catalog().replace("lab", [bad], "lab")


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


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"effects\['github\.\*'\] is 'wrte'; use one of read, write, destructive"
    ):
        Catalog(effects={"github.*": "wrte"})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="results"):
        Catalog(results={"x": "yaml"})  # type: ignore[dict-item]
