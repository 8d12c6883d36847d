"""A recorded run as a regression test: the file that `oneturn runs export` wrote, executed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..exported import imported
from ..options import Options
from ..run.replay import Replayed
from ..run.replay import replay as replay_run
from ..sandbox.router import Router
from ..tiers import router_of

if TYPE_CHECKING:
    from ..sandbox.base import Sandbox
    from ..types import SandboxChoice


def replay(path: str | Path, *, sandbox: SandboxChoice | Sandbox | None = None) -> Replayed:
    """Execute a recorded run again, offline, and hold everything it does against the record.

    ```python
    def test_the_report_still_does_the_same():
        replay("tests/runs/report.jsonl")
    ```

    Args:
        path: A file that `oneturn runs export` wrote.
        sandbox: Where to run it; where it ran when not given. A `Sandbox` of your own stays open.

    Returns:
        What the replay showed. `ends` says where the record of a run that was stopped ends.

    Raises:
        AssertionError: It did something else than is on record; the message shows the first difference.
        JournalError: The file is no recorded run, or of a run that cannot be replayed.
        JournalCorrupt: The file was changed after it was written.
        SandboxError: The sandbox is not to be had here.
    """
    run, events = imported(path)
    if sandbox is None or isinstance(sandbox, str):
        router = router_of(Options(runs=1))
        try:
            shown = replay_run(run, events, router, sandbox=sandbox)
        finally:
            router.close()
    else:
        shown = replay_run(run, events, Router.only(sandbox), sandbox=sandbox.name)
    if not shown.same:
        raise AssertionError(f"{path} is not what {run} did. {shown.difference}")
    return shown
