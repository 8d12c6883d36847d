"""Artifacts: bound to their caller, bounded in size, safe from any thread."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from oneturn.errors import ArtifactNotFound, ToolError
from oneturn.journal.artifacts import Artifact, ArtifactStore, artifact_ids


def put(store: ArtifactStore, data: bytes, caller: str = "ann") -> Artifact:
    return store.put(data, mime="text/plain", name="note.txt", caller=caller)


def test_what_was_put_comes_back_to_its_caller() -> None:
    store = ArtifactStore()
    artifact = put(store, b"hello")
    assert store.get(artifact.id, caller="ann") == Artifact(
        artifact.id, b"hello", "text/plain", "note.txt", "ann"
    )


def test_nobody_else_can_read_it_or_tell_that_it_is_there() -> None:
    store = ArtifactStore()
    artifact = put(store, b"hello")
    with pytest.raises(ArtifactNotFound) as theirs:
        store.get(artifact.id, caller="bob")
    with pytest.raises(ArtifactNotFound) as missing:
        store.get("0" * 12, caller="bob")
    assert str(theirs.value).replace(artifact.id, "") == str(missing.value).replace("0" * 12, "")


def test_ids_cannot_be_guessed_from_one_another() -> None:
    store = ArtifactStore()
    ids = {put(store, b"x").id for _ in range(200)}
    assert len(ids) == 200
    assert len({each[:12] for each in ids}) == 200


@pytest.mark.parametrize(
    "change", [{"data": b"hellp"}, {"mime": "text/html"}, {"name": "x"}, {"caller": "bob"}, {"id": "0" * 44}]
)
def test_an_id_fits_nothing_but_what_it_was_made_for(change: dict[str, Any]) -> None:
    artifact = put(ArtifactStore(), b"hello")
    assert artifact.is_whole
    assert not replace(artifact, **change).is_whole


def kept(store: ArtifactStore, made: list[Artifact]) -> list[int]:
    """The places of those that are still there."""
    found = []
    for place, artifact in enumerate(made):
        with contextlib.suppress(ArtifactNotFound):
            assert store.get(artifact.id, caller=artifact.caller) == artifact
            found.append(place)
    return found


def test_a_callers_own_oldest_go_once_they_fill_half_of_it() -> None:
    store = ArtifactStore(capacity=10_000)
    made = [put(store, bytes([number]) * 900) for number in range(6)]
    assert kept(store, made) == [2, 3, 4, 5]


def test_nobody_can_push_out_what_others_hold_by_putting_more() -> None:
    store = ArtifactStore(capacity=10_000)
    anns = [put(store, b"a" * 900) for _ in range(3)]
    bobs = [put(store, b"b" * 900, caller="bob") for _ in range(100)]
    assert kept(store, anns) == [0, 1, 2]
    assert kept(store, bobs) == [96, 97, 98, 99]


def test_when_all_together_fill_it_the_oldest_of_the_largest_holder_goes() -> None:
    store = ArtifactStore(capacity=10_000)
    anns = [put(store, b"a" * 900) for _ in range(4)]
    bobs = [put(store, b"b" * 900, caller="bob") for _ in range(3)]
    carols = [put(store, b"c" * 2_400, caller="carol")]
    assert [kept(store, each) for each in (anns, bobs, carols)] == [[1, 2, 3], [0, 1, 2], [0]]


def test_artifacts_without_data_and_with_long_labels_take_room_too() -> None:
    store = ArtifactStore(capacity=10_000)
    made = [store.put(b"", mime="m" * 5_000_000, name="n" * 5_000_000, caller="ann") for _ in range(100)]
    assert (made[0].mime, made[0].name) == ("m" * 200, "n" * 200)
    assert kept(store, made) == list(range(93, 100))


def test_one_artifact_may_not_take_the_whole_store() -> None:
    store = ArtifactStore(capacity=10_000)
    first = put(store, b"x" * 1_900)
    with pytest.raises(ToolError, match="2,501 bytes"):
        put(store, b"x" * 2_501)
    assert kept(store, [first, put(store, b"x" * 2_500)]) == [0, 1]


def test_the_handle_has_no_data() -> None:
    artifact = put(ArtifactStore(), b"hello")
    assert artifact.handle() == {
        "artifact": artifact.id,
        "mime": "text/plain",
        "bytes": 5,
        "name": "note.txt",
    }
    nameless = ArtifactStore().put(b"", mime="image/png", name="", caller="ann")
    assert nameless.handle() == {"artifact": nameless.id, "mime": "image/png", "bytes": 0}


def test_many_threads_at_once_keep_it_bounded() -> None:
    store = ArtifactStore(capacity=10_000)

    def work(number: int) -> bool:
        artifact = put(store, bytes(100), caller=str(number))
        try:
            return store.get(artifact.id, caller=str(number)).data == bytes(100)
        except ArtifactNotFound:
            return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(2_000)))
    last = put(store, bytes(100))
    assert store.get(last.id, caller="ann") == last


def test_handles_are_found_in_a_value_in_order() -> None:
    first, second = ({"artifact": each, "mime": "x/y", "bytes": 1} for each in ("a1", "b2"))
    value = {
        "one": [first, {"deep": second}],
        "two": first,
        "not": {"artifact": 3, "mime": "x"},
        "nor": {"artifact": "z"},
    }
    assert artifact_ids(value) == ["a1", "b2"]
    assert artifact_ids("a1") == []
