"""The public test kit: fakes for testing around oneturn, and the suite every sandbox must pass.

`oneturn.testing.contracts` needs pytest and is therefore imported by name only.
"""

from __future__ import annotations

from .fakes import (
    FakeRun,
    FakeSandbox,
    FakeScript,
    FakeSession,
    FakeSource,
    ManualCall,
    ManualSource,
    ScriptFailed,
    ScriptKilled,
    announce,
    ask,
    wait_for,
)
from .replay import replay

__all__ = [
    "FakeRun",
    "FakeSandbox",
    "FakeScript",
    "FakeSession",
    "FakeSource",
    "ManualCall",
    "ManualSource",
    "ScriptFailed",
    "ScriptKilled",
    "announce",
    "ask",
    "replay",
    "wait_for",
]
