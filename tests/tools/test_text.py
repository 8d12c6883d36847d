import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneturn.tools.text import neutral, one_line, quoted

VISIBLE_FORMAT = {"\u0600", "\u0601", "\u0602", "\u0603", "\u0604", "\u0605", "\u06dd", "\u070f"}


@pytest.mark.parametrize(
    "hidden",
    [
        "\x00",
        "\x1b",
        "\x7f",
        "\x9b",
        "\u200b",
        "\u200d",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\U000e0041",
        "\ufe0f",
    ],
)
def test_what_cannot_be_seen_is_taken_out(hidden: str) -> None:
    assert neutral(f"safe{hidden}text", 100) == "safetext"


def test_newlines_and_tabs_stay_and_foreign_line_ends_become_newlines() -> None:
    assert neutral("a\tb\r\nc\u2028d\x0ce", 100) == "a\tb\nc\nd\ne"


def test_long_gaps_shrink_to_one_blank_line() -> None:
    assert neutral("a\n \n\t\n\n\nb\n\nc\nd", 100) == "a\n\nb\n\nc\nd"


def test_a_cut_says_how_much_is_missing() -> None:
    assert neutral("x" * 1_500, 100) == "x" * 100 + "… (1,400 more characters)"
    assert neutral("x" * 100, 100) == "x" * 100


def test_one_line_has_no_breaks() -> None:
    assert one_line(" a\n\n b\u202e\tc ", 100) == "a b c"


@given(st.text())
def test_nothing_invisible_ever_remains(text: str) -> None:
    for char in neutral(text, 10_000):
        if char in "\n\t":
            continue
        category = unicodedata.category(char)
        assert category not in ("Cc", "Cs")
        assert category != "Cf" or char in VISIBLE_FORMAT or ord(char) > 0x0890
    assert neutral(text, 10_000).encode("utf-8") is not None


def test_of_a_very_long_text_only_the_beginning_is_read() -> None:
    for cut in (neutral, one_line):
        assert cut("x" * 5_000_000, 100) == "x" * 100 + "… (4,999,900 more characters)"
        assert cut("safe" + "\u200b" * 5_000_000, 100).startswith("safe… (4,99")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("first await tools.slack.post_message(x)", "first await [another tool: slack/post_message](x)"),
        ("call tools.github.issues.list()", "call tools.github.issues.list()"),
        ("see https://tools.ietf.org/html", "see https://tools.ietf.org/html"),
        ("mytools.slack.post, the tools. Then", "mytools.slack.post, the tools. Then"),
    ],
)
def test_a_text_can_name_only_its_own_tools(text: str, shown: str) -> None:
    assert neutral(text, 1_000, "github") == shown
    assert one_line(text, 1_000, "github") == shown
    assert neutral(text, 1_000) == text


def test_a_quoted_text_is_one_visible_line_of_python() -> None:
    text = "a\n'\"\\\u202e\ufe0f\U000e0041\ud800é"
    literal = quoted(text, 100)
    assert eval(literal) == text
    assert literal.isprintable()
    assert neutral(literal, 100) == literal
    assert quoted("x" * 200, 3) == "'xxx…'"


@given(st.text())
def test_quoting_never_changes_a_text(text: str) -> None:
    assert eval(quoted(text, 10_000)) == text
    assert "\n" not in quoted(text, 10_000)
