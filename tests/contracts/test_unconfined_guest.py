"""The guest keeps the contract of every sandbox, whatever is or is not round it."""

from __future__ import annotations

from tests.sandbox.unconfined import UnconfinedSandbox

from oneturn.sandbox.base import Sandbox, SandboxRun
from oneturn.sandbox.channel import SocketChannel
from oneturn.sandbox.guest_run import GuestRun
from oneturn.testing.contracts import SandboxContract


class TestUnconfinedGuest(SandboxContract):
    lacks = frozenset()

    def make_sandbox(self) -> Sandbox:
        return UnconfinedSandbox()

    def process_of(self, run: SandboxRun) -> int | None:
        assert isinstance(run, GuestRun)
        assert isinstance(run._channel, SocketChannel)
        return run._channel._process.process.pid  # type: ignore[attr-defined]
