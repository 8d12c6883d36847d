"""The Monty sandbox keeps the contract of every sandbox, at both of its levels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oneturn.errors import SandboxUnavailable
from oneturn.sandbox.base import Sandbox, SandboxRun
from oneturn.sandbox.jail import bubblewrap
from oneturn.sandbox.monty import MontySandbox
from oneturn.sandbox.monty_run import MontyRun
from oneturn.testing.contracts import SandboxContract
from oneturn.testing.steps import FEATURES


class TestMonty(SandboxContract):
    lacks = frozenset(FEATURES)

    def make_sandbox(self) -> Sandbox:
        return MontySandbox(workers=20, warm=1)

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls) -> Iterator[Sandbox]:
        sandbox = cls().make_sandbox()
        yield sandbox
        sandbox.close()

    @pytest.fixture
    def sandbox(self, shared: Sandbox) -> Sandbox:
        return shared

    def process_of(self, run: SandboxRun) -> int | None:
        assert isinstance(run, MontyRun)
        return run.process


class TestJailedMonty(TestMonty):
    def make_sandbox(self) -> Sandbox:
        try:
            bubblewrap.find()
        except SandboxUnavailable as missing:
            pytest.skip(str(missing))
        return MontySandbox(jailed=True, workers=20, warm=1)
