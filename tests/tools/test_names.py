import keyword
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneturn.errors import ToolDefinitionError
from oneturn.tools.names import dotted, identifier, parameter_names
from oneturn.tools.text import visible


@pytest.mark.parametrize(
    ("original", "name"),
    [
        ("get-weather", "get_weather"),
        ("repos/list.all items", "repos_list_all_items"),
        ("2fa", "_2fa"),
        ("class", "class_"),
        ("import", "import_"),
        ("None", "None_"),
        ("True", "True_"),
        ("createIssue", "createIssue"),
        ("ﬁnd", "find"),
        ("größe", "größe"),
        ("天気", "天気"),
        ("!", "_"),
    ],
)
def test_a_source_name_becomes_the_identifier_one_would_guess(original: str, name: str) -> None:
    assert identifier(original) == name


@given(st.text())
def test_every_name_is_a_valid_identifier_or_refused(original: str) -> None:
    try:
        name = identifier(original)
    except ToolDefinitionError:
        assert not unicodedata.normalize("NFKC", visible(original)).strip()
        return
    assert name.isidentifier()
    assert not keyword.iskeyword(name)
    assert identifier(name) == name
    assert compile(f"{name} = 1", "script", "exec").co_names == (name,)


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_name_is_refused(empty: str) -> None:
    with pytest.raises(ToolDefinitionError, match="empty name"):
        identifier(empty)


def test_the_full_name_keeps_the_dots_of_the_namespace_only() -> None:
    assert dotted("git-hub.issues", "create.issue") == "git_hub.issues.create_issue"
    assert dotted("", "create.issue") == "create_issue"


@pytest.mark.parametrize(
    ("namespace", "original"),
    [
        ("", "tools"),
        ("", "runtime"),
        ("tools", "x"),
        ("a.runtime", "x"),
        ("a", "tools"),
        ("", "final_answer"),
    ],
)
def test_names_scripts_already_have_are_refused(namespace: str, original: str) -> None:
    with pytest.raises(ValueError, match="already have"):
        dotted(namespace, original)


def test_tool_error_is_reserved_at_the_top_only() -> None:
    with pytest.raises(ToolDefinitionError):
        dotted("", "ToolError")
    assert dotted("lab", "final_answer") == "lab.final_answer"


def test_parameters_get_python_names_in_schema_order() -> None:
    schema = {"type": "object", "properties": {"q": {}, "page-size": {}, "class": {}, "$filter": {}}}
    names = parameter_names(schema)
    assert names == {"q": "q", "page_size": "page-size", "class_": "class", "_filter": "$filter"}
    assert list(names) == ["q", "page_size", "class_", "_filter"]


def test_parameters_that_become_the_same_name_are_refused_by_both_names() -> None:
    with pytest.raises(ToolDefinitionError, match=r"'page-size' and 'page_size'"):
        parameter_names({"properties": {"page-size": {}, "page_size": {}}})


def test_a_name_nobody_would_write_out_is_refused() -> None:
    assert identifier("a" * 256) == "a" * 256
    with pytest.raises(ToolDefinitionError, match=r"'a{40}'… has 257 characters"):
        identifier("a" * 257)
    with pytest.raises(ToolDefinitionError, match="399 characters"):
        dotted(".".join("a" * 200), "x")
