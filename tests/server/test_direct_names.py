"""The names tools have when clients call them directly."""

import re

from hypothesis import given
from hypothesis import strategies as st

from oneturn.server.names import direct_names
from oneturn.types import Tool


def names(*dotted: str, taken=()) -> dict[str, str]:
    return {tool.name: name for name, tool in direct_names(map(Tool, dotted), taken).items()}


def test_dots_become_underscores():
    assert names("github.create_issue", "add") == {
        "github.create_issue": "github_create_issue",
        "add": "add",
    }


def test_names_that_would_meet_are_both_told_apart_in_any_order():
    met = names("a.b_c", "a_b.c")
    assert met == names("a_b.c", "a.b_c")
    assert len(set(met.values())) == 2
    assert "a_b_c" not in met.values()


def test_a_name_that_is_taken_is_not_given_away():
    assert names("execute_code", taken=["execute_code"])["execute_code"] != "execute_code"


def test_no_tool_can_be_called_like_another_ones_shortened_name():
    shortened = names("a.b_c", "a_b.c")["a.b_c"]
    both = names("a.b_c", "a_b.c", shortened)
    assert len(set(both.values())) == 3


parts = st.from_regex(r"[a-zA-Zé_][a-zA-Z0-9_é]{0,40}", fullmatch=True)


@given(st.sets(st.lists(parts, min_size=1, max_size=3).map(".".join), max_size=8))
def test_every_tool_gets_one_name_that_all_clients_accept(dotted):
    given_names = names(*dotted)
    assert set(given_names) == dotted
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in given_names.values())
