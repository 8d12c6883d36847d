"""The hash chain: every way of changing a run that was written, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneturn.journal.chain import first_bad, seal, start_of
from oneturn.journal.rows import Row, RunRow
from oneturn.testing.store_contract import new_run, rows_after

BODIES = [b"%d" % n for n in range(1, 7)]


def written(run: str = "r", bodies: list[bytes] = BODIES) -> tuple[RunRow, list[Row]]:
    rows = rows_after(new_run(run), *bodies)
    return replace(new_run(run), n=len(rows), head=rows[-1].hash), list(rows)


def bad(run: RunRow, rows: list[Row]) -> int | None:
    problem = first_bad(run, rows)
    assert problem is None or (problem.run == run.id and run.id in str(problem))
    return problem.n if problem is not None else None


def test_a_run_that_nobody_touched_is_good() -> None:
    assert bad(*written()) is None
    assert bad(new_run("r"), []) is None


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"other"},
        {"body": b""},
        {"kind": "answered"},
        {"at": 1700000001.4333334},
        {"hash": b"\x00" * 32},
        {"hash": b""},
        {"run": "s"},
    ],
)
def test_a_row_that_was_edited_is_the_first_bad_one(change: dict[str, object]) -> None:
    run, rows = written()
    rows[3] = replace(rows[3], **change)
    assert bad(run, rows) == 4


def test_an_edited_row_with_a_hash_to_fit_gives_the_next_away() -> None:
    run, rows = written()
    rows[3] = seal(rows[2].hash, "r", 4, rows[3].kind, rows[3].at, b"other")
    assert bad(run, rows) == 5
    rows[4:] = rows_after(rows[3], *BODIES[4:])
    assert bad(run, rows) == 6


def test_a_row_that_was_removed_is_missing() -> None:
    run, rows = written()
    del rows[2]
    problem = first_bad(run, rows)
    assert str(problem) == "Row 3 of run r is missing: row 4 stands in its place"
    renumbered = [replace(row, n=n) for n, row in enumerate(rows, 1)]
    assert bad(run, renumbered) == 3


def test_rows_that_changed_places_are_found() -> None:
    run, rows = written()
    rows[1], rows[3] = replace(rows[3], n=2), replace(rows[1], n=4)
    assert bad(run, rows) == 2


def test_rows_cut_off_at_the_end_are_missing() -> None:
    run, rows = written()
    assert bad(run, rows[:4]) == 5
    assert bad(run, []) == 1
    assert bad(replace(run, n=4), rows[:4]) == 4


def test_rows_added_behind_the_runs_back_are_found() -> None:
    run, rows = written()
    assert bad(run, [*rows, *rows_after(rows[-1], b"7")]) == 7
    assert bad(run, [replace(rows[0], n=0), *rows]) == 1


def test_the_rows_of_another_run_are_not_this_ones() -> None:
    run, _ = written("r")
    _, others = written("s")
    assert bad(run, [replace(row, run="r") for row in others]) == 1


def test_the_spelling_of_a_hash_is_the_one_journals_on_disk_have() -> None:
    row = seal(start_of("run_1"), "run_1", 1, "began", 1700000000.25, b'{"code":"1"}')
    assert row.hash.hex() == "c3a85775774166fcd8a782af1360332f3ccdae40ed1230844a242ff36874c392"


parts = st.tuples(
    st.text(max_size=4),
    st.integers(1, 2**63 - 1),
    st.text(max_size=4),
    st.floats(allow_nan=False),
    st.binary(max_size=4),
)


@given(parts, parts)
def test_two_rows_that_differ_have_different_hashes(one: tuple, two: tuple) -> None:  # type: ignore[type-arg]
    previous = start_of("x")
    if one != two:
        assert seal(previous, *one).hash != seal(previous, *two).hash


@given(st.text(max_size=6), st.text(max_size=6), st.binary(max_size=3))
def test_no_part_can_lend_bytes_to_its_neighbour(text: str, more: str, body: bytes) -> None:
    hashes = {
        seal(start_of("x"), run, 1, kind, 1.0, content).hash
        for run, kind, content in {
            (text + more, "", body),
            (text, more, body),
            ("", text + more, body),
            (text, "", more.encode() + body),
        }
    }
    assert len(hashes) == len(
        {
            (text + more, "", body),
            (text, more, body),
            ("", text + more, body),
            (text, "", more.encode() + body),
        }
    )
