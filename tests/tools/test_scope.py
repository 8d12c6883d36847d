import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneturn.errors import ConfigError
from oneturn.tools.catalog import Catalog
from oneturn.tools.scope import Allow, Scope, allow_from_env
from oneturn.types import Tool

TOOLS = [
    Tool(name)
    for name in (
        "github.create_issue",
        "github.delete_repo",
        "github.issues.list",
        "jira.create_issue",
        "jira.search",
        "now",
    )
]


def scope(*patterns: str) -> Scope:
    return Scope(TOOLS, [Allow.of(patterns)])


def names(found: Scope) -> list[str]:
    return [tool.name for tool in found.tools]


@pytest.mark.parametrize("nothing", [None, "", " , ", [], [""], ()])
def test_nothing_is_reachable_that_was_not_named(nothing: object) -> None:
    assert names(Scope(TOOLS, [Allow.of(nothing)])) == []  # type: ignore[arg-type]
    assert names(Scope(TOOLS, [])) == []


def test_exact_names_and_globs_allow() -> None:
    assert names(scope("github.create_issue", "now")) == ["github.create_issue", "now"]
    assert names(scope("github.*")) == ["github.create_issue", "github.delete_repo", "github.issues.list"]
    assert names(scope("*.create_issue")) == ["github.create_issue", "jira.create_issue"]
    assert len(names(scope("*"))) == 6
    assert names(scope("GITHUB.*", "create_issue", "github")) == []


def test_a_leading_tools_is_dropped_and_a_text_holds_several() -> None:
    assert names(Scope(TOOLS, [Allow.of("tools.now, jira.search\ntools.github.is*")])) == [
        "github.issues.list",
        "jira.search",
        "now",
    ]
    assert len(names(scope("tools.*"))) == 6


@pytest.mark.parametrize(
    "entry", ["tools", "runtime", "runtime.*", "runtime.search_tools", "tools.runtime", " tools "]
)
def test_tools_and_runtime_themselves_cannot_be_allowed(entry: str) -> None:
    with pytest.raises(ValueError, match="names no tool"):
        Allow.of([entry])


def test_an_entry_that_is_not_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="not int"):
        Allow.of([5])  # type: ignore[list-item]


def test_every_allow_list_must_agree() -> None:
    both = Scope(TOOLS, [Allow.of("github.*"), Allow.of(["*.create_issue", "now"])])
    assert names(both) == ["github.create_issue"]


def test_the_environment_narrows_and_empty_means_nothing() -> None:
    assert allow_from_env({}) is None
    assert allow_from_env({"ONETURN_ALLOW": ""}) == Allow()
    found = allow_from_env({"ONETURN_ALLOW": "github.*,now jira.search"})
    assert found is not None
    assert [tool.name for tool in TOOLS if not found.matches(tool.name)] == ["jira.create_issue"]
    with pytest.raises(ConfigError):
        allow_from_env({"ONETURN_ALLOW": "runtime"})


def test_a_short_name_works_when_it_is_unique_in_scope() -> None:
    one = scope("github.*", "now")
    assert one.get("create_issue") == one.get("tools.github.create_issue") == TOOLS[0]
    assert one.status("create_issue") == "allowed"
    two = scope("*")
    assert two.get("create_issue") is None
    assert two.status("create_issue") == "unknown"
    assert two.nearest("create_issue") == ["github.create_issue", "jira.create_issue"]


def test_forbidden_and_unknown_are_told_apart() -> None:
    found = scope("jira.*")
    assert found.status("jira.search") == "allowed"
    assert found.status("github.delete_repo") == "forbidden"
    assert found.status("delete_repo") == "forbidden"
    assert found.status("github.nonsense") == "unknown"
    assert found.status("github") == "unknown"
    assert found.get("github.delete_repo") is None


def test_nearest_names_come_from_the_scope_only() -> None:
    assert scope("github.*").nearest("github.create_isue")[0] == "github.create_issue"
    assert scope("github.*").nearest("gh.create_issue") == ["github.create_issue"]
    assert scope("*").nearest("serch") == ["jira.search"]
    assert scope("jira.search").nearest("github.delete_repo") == []
    assert len(scope("*").nearest("create_issue", n=1)) == 1
    assert scope().nearest("now") == []


def test_a_typo_is_found_among_very_many_tools() -> None:
    many = [Tool(f"s{n % 100}.tool_{n}_run") for n in range(20_000)] + TOOLS
    found = Scope(many, [Allow.of("*")])
    assert found.nearest("github.delete_rpo")[0] == "github.delete_repo"
    assert found.nearest("elete_repo")[0] == "github.delete_repo"
    assert found.nearest("x" * 100_000) == []


def test_counts_and_top_level_names_speak_of_the_scope() -> None:
    assert scope("*").namespaces() == {"github": 2, "github.issues": 1, "jira": 2}
    assert scope("*").top_level == {"github", "jira", "now"}
    assert scope("jira.search").namespaces() == {"jira": 1}
    assert scope("jira.search").top_level == {"jira"}


def test_mentioned_gives_the_tools_a_script_could_mean() -> None:
    found = scope("github.*", "jira.*")
    assert found.mentioned(frozenset({"create_issue", "print", "now"})) == {
        "github.create_issue",
        "jira.create_issue",
    }
    assert found.mentioned(frozenset()) == frozenset()


@given(st.lists(st.text(alphabet="abtools.*?[]!", max_size=12)))
def test_any_pattern_parses_or_is_refused_and_never_allows_more_than_exists(patterns: list[str]) -> None:
    try:
        found = Scope(TOOLS, [Allow.of(patterns)])
    except ConfigError:
        return
    assert all(tool in TOOLS for tool in found.tools)


def offered(**descriptions: str) -> Catalog:
    catalog = Catalog()
    for source in ("bank", "shop"):
        catalog.replace(source, [Tool(name, text) for name, text in descriptions.items()], source)
    return catalog


def test_a_scope_sees_at_once_that_a_tool_is_held_and_accepted_again() -> None:
    catalog = offered(pay="Pay.", show="Show.")
    old = Scope(catalog.tools, [Allow.of("bank.*")], catalog)
    catalog.replace("bank", [Tool("pay", "Steal."), Tool("show", "Show.")], "bank")
    new = Scope(catalog.tools, [Allow.of("bank.*")], catalog)
    for found in (old, new):
        assert (found.status("bank.pay"), found.status("pay"), found.status("tools.bank.pay")) == (
            "held",
        ) * 3
        assert found.get("bank.pay") is None
        assert "bank.pay" not in found.nearest("bank.pya")
        assert found.status("bank.show") == "allowed"
    assert names(new) == ["bank.show"]
    catalog.accept(["bank.pay"])
    assert (old.status("bank.pay"), old.get("pay")) == ("outdated", None)
    assert Scope(catalog.tools, [Allow.of("*")], catalog).status("bank.pay") == "allowed"


def test_a_held_tool_that_is_not_allowed_is_forbidden_like_any_other() -> None:
    catalog = offered(pay="Pay.")
    catalog.replace("bank", [Tool("pay", "Steal.")], "bank")
    found = Scope(catalog.tools, [Allow.of("shop.*")], catalog)
    assert found.status("bank.pay") == "forbidden"
    assert found.status("pay") == "allowed"
    assert Scope(catalog.tools, [], catalog).status("bank.pay") == "forbidden"


def test_a_held_tool_keeps_its_short_name_from_meaning_another_one() -> None:
    catalog = offered(pay="Pay.")
    catalog.replace("bank", [Tool("pay", "Steal.")], "bank")
    found = Scope(catalog.tools, [Allow.of("*")], catalog)
    assert (found.status("pay"), found.get("pay")) == ("unknown", None)
    assert found.status("shop.pay") == "allowed"
