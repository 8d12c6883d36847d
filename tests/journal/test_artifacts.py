"""Artifacts: bound to their caller, bounded in size, safe from any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
    assert all(len(each) >= 12 for each in ids)


def test_the_oldest_go_first_when_it_is_full() -> None:
    store = ArtifactStore(capacity=100)
    made = [put(store, bytes([number]) * 25) for number in range(6)]
    for gone in made[:2]:
        with pytest.raises(ArtifactNotFound):
            store.get(gone.id, caller="ann")
    for number, kept in enumerate(made[2:], 2):
        assert store.get(kept.id, caller="ann").data == bytes([number]) * 25


def test_one_artifact_may_not_take_the_whole_store() -> None:
    store = ArtifactStore(capacity=100)
    first = put(store, b"x" * 25)
    with pytest.raises(ToolError, match="26 bytes"):
        put(store, b"x" * 26)
    assert store.get(first.id, caller="ann").data == b"x" * 25


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
    store = ArtifactStore(capacity=1_000)

    def work(number: int) -> bool:
        artifact = put(store, bytes(100), caller=str(number))
        try:
            return store.get(artifact.id, caller=str(number)).data == bytes(100)
        except ArtifactNotFound:
            return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(2_000)))
    survivors = [put(store, bytes(100)) for _ in range(10)]
    assert all(store.get(each.id, caller="ann") for each in survivors)


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
