"""Counts how the hostile suite ended, by tier and class, at the end of a run of the tests."""

from __future__ import annotations

import sys

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each tier and class that was played."""
    module = sys.modules.get("test_every_tier")
    if module is None or not module.PLAYED:
        return
    from tests.hostile.suite.table import VERDICTS, counts

    write = terminalreporter.write_line
    terminalreporter.section("hostile suite")
    write(f"{'':34}" + "".join(f"{verdict:>17}" for verdict in VERDICTS))
    for tier, found in module.PLAYED.items():
        if isinstance(found, str):
            write(f"{tier:14}not played: {found}")
            continue
        for cls, ended in counts(found.values()).items():
            write(f"{tier:14}{cls:20}" + "".join(f"{ended[verdict]:17}" for verdict in VERDICTS))
