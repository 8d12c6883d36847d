"""A fixed sample of the proof that scripts leave the leaderboard's services as direct calls do."""

from __future__ import annotations

import dataclasses

import pytest
from benchmarks.data import place

from oneturn.errors import SandboxUnavailable
from proofs import end_states

pytestmark = pytest.mark.skipif(
    not (place("bfcl").is_dir() and place("bfcl-apis").is_dir()),
    reason="the leaderboard is not in .data; `python -m benchmarks.data bfcl bfcl-apis` brings it",
)
# Every service is in one of them; 32 and 173 use the two tools with a signature of ours.
SAMPLE = (0, 24, 32, 55, 75, 108, 116, 140, 156, 173, 196)


@pytest.mark.parametrize("tier", end_states.SANDBOXES)
def test_services_end_as_after_direct_calls(tier: str) -> None:
    tasks = [end_states.tasks()[f"multi_turn_base_{number}"] for number in SAMPLE]
    assert {service for task in tasks for service in task.services} == set(end_states.DOCUMENTS)
    try:
        found = end_states.check(tier, tasks)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    for task, each in zip(tasks, found, strict=True):
        assert each["error"] == ""
        assert each["made"] == each["calls"] == len(task.calls)
        assert each["state"], task.id
        assert each["results"], task.id


def test_a_call_that_is_not_made_is_seen() -> None:
    task = end_states.tasks()["multi_turn_base_0"]
    assert task.calls[2].startswith("mv(")
    less = dataclasses.replace(task, calls=(*task.calls[:2], *task.calls[3:]))
    complete, _ = end_states.directly(task)
    ((incomplete, _),) = end_states.through([less], end_states.SANDBOXES["monty"]())
    assert end_states.state(incomplete) != end_states.state(complete)
