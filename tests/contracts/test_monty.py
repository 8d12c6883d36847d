"""The Monty sandbox keeps the contract of every sandbox."""

from __future__ import annotations

from oneturn.sandbox.base import Sandbox
from oneturn.sandbox.monty import MontySandbox
from oneturn.testing.contracts import SandboxContract


class TestMonty(SandboxContract):
    lacks = frozenset({"create_task", "wait_for", "calls inside map", "gather returning exceptions"})

    def make_sandbox(self) -> Sandbox:
        return MontySandbox(workers=20, warm=1)
