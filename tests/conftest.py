"""What every test starts from, and what a run of the tests says at its end."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests must not decide what they find."""
    monkeypatch.delenv("ONETURN_ALLOW", raising=False)


# Here, because whoever hands the tests out to processes reads no deeper conftest.
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How the hostile suite ended: one line for each tier and class, whichever process played it."""
    played: dict[str, Any] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, told in getattr(report, "user_properties", ()):
                if name == "hostile":
                    played.update(told)
    if not played:
        return
    from tests.hostile.suite.table import VERDICTS
    from tests.hostile.suite.tiers import TIERS

    write = terminalreporter.write_line
    terminalreporter.section("hostile suite")
    write(f"{'':34}" + "".join(f"{verdict:>17}" for verdict in VERDICTS))
    for tier in sorted(played, key=list(TIERS).index):
        if isinstance(played[tier], str):
            write(f"{tier:14}not played: {played[tier]}")
            continue
        for cls, ended in played[tier].items():
            write(f"{tier:14}{cls:20}" + "".join(f"{ended.get(verdict, 0):17}" for verdict in VERDICTS))
