"""A fixed sample of the proof that killed workers take nothing with them but their own runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest
from proofs.held import held

from oneturn.errors import SandboxUnavailable
from oneturn.testing.steps import script
from oneturn.types import Limits
from proofs import worker_kills

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are found and killed through /proc"
)
SAMPLE: Mapping[str, int] = {"monty": 35, "cpython": 30, "jailed monty": 15}


@pytest.mark.parametrize("tier", SAMPLE)
def test_random_kills_under_load_lose_only_their_own_runs(tier: str) -> None:
    sandbox = worker_kills.SANDBOXES[tier]()
    try:
        sandbox.open(Limits(), 1).start(script("1"))
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    finally:
        sandbox.close()
    found = worker_kills.check(f"{tier} 0", 7, SAMPLE[tier])
    assert found["wrong"] == []
    assert found["leaked"] == []
    assert found["kills"] == SAMPLE[tier]
    assert found["otherwise"] == 0
    assert found["crashed"] > 0, "no kill hit a run, so nothing was shown"


def test_a_leak_is_seen() -> None:
    before = held()
    with open("/proc/self/stat"):
        left = subprocess.Popen(["sleep", "60"])
        found = "\n".join(held().beyond(before))
        left.kill()
        unreaped = "\n".join(held().beyond(before))
    left.wait()
    assert f"process {left.pid}" in found
    assert "descriptor: 1 × /proc" in found
    assert f"process {left.pid}" in unreaped
    assert held().beyond(before) == []
