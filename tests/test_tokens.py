from hypothesis import given, settings
from hypothesis import strategies as st

from oneturn.tokens import count, cut


def test_counts_are_those_of_o200k() -> None:
    assert count("") == 0
    assert count("hello world") == 2
    assert count(" " * 128) == 1


def test_counting_takes_text_the_encoder_would_refuse() -> None:
    assert count("<|endoftext|>") > 1
    assert count("lone \ud800 surrogate") > 0
    assert count("zq" * 300_000) >= 300_000


def test_text_that_fits_comes_back_unchanged() -> None:
    text = "one line\nanother, with 🏳️‍🌈 in it\n"
    assert cut(text, count(text), "value") == text
    assert cut(" " * 100_000, 2_000, "value") == " " * 100_000


def test_a_cut_keeps_head_and_tail_and_says_what_is_missing_and_what_to_do() -> None:
    text = "\n".join(f"row {number}" for number in range(2_000))
    shown = cut(text, 300, "value")
    assert count(shown) <= 300
    assert shown.startswith("row 0\nrow 1\n")
    assert shown.endswith("row 1999")
    assert f"of {count(text):,} tokens" in shown
    assert "value cut" in shown
    assert "return less" in shown


def test_the_kept_share_is_most_of_the_budget() -> None:
    assert count(cut("some ordinary prose, again and again. " * 5_000, 1_000, "value")) > 900


def test_ten_million_characters_are_cut_without_being_tokenised(monkeypatch) -> None:
    import oneturn.tokens as tokens

    seen = 0
    real = tokens._encode

    def counting(text: str) -> list[int]:
        nonlocal seen
        seen += len(text)
        return real(text)

    monkeypatch.setattr(tokens, "_encode", counting)
    shown = cut("abc def " * 1_250_000, 1_000, "value")
    assert seen < 500_000
    assert "abc def" in shown
    assert "tokens left out" in shown


def test_lone_surrogates_never_leave() -> None:
    cut("a\ud83db" * 3, 50, "value").encode("utf-8")
    cut("\udc00" * 10_000, 50, "value").encode("utf-8")


def test_no_room_for_a_note_leaves_a_head() -> None:
    assert cut("word " * 100, 3, "value") == "word word word"
    assert cut("word", 0, "value") == ""


_nasty = st.one_of(
    st.text(st.characters(), max_size=300),
    st.text(st.sampled_from("🏳️‍🌈\u202e\U000e0041 \n=a'中\ud800"), max_size=300),
)


@settings(deadline=None)
@given(_nasty, st.integers(1, 40), st.integers(0, 300))
def test_never_more_than_the_budget_and_always_valid(text: str, repeat: int, budget: int) -> None:
    shown = cut(text * repeat, budget, "value")
    assert count(shown) <= budget
    shown.encode("utf-8")
