"""Runs Monty's type checker over a script, in worker processes of its own that never run scripts.

The checker belongs to Monty's session: it looks at a script just before it would be executed. So
every script is given a first line that calls a name nobody has. The checker always refuses that,
and if it ever did not, execution would stop right there, at that call, and be thrown away.

Scripts and stubs are strangers' text, and a type checker can be made to work without end. A worker
has a deadline and a memory limit, and is killed when it meets either. Whatever goes wrong the
answer is None: the script is not checked, which is never a reason not to run it.
"""

from __future__ import annotations

import ast
import contextlib
import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SandboxBusy
from .parse import Program

if TYPE_CHECKING:
    import pydantic_monty as monty

log = logging.getLogger("oneturn.check")

_MAX_FINDINGS = 200
_MAX_REPORT = 1_000_000  # characters of a report; types can be made to print as megabytes
_MAX_MESSAGE = 2_000
_CHECKS_PER_WORKER = 200  # a worker keeps some memory of what it has seen
_START = "oneturn_begin"
_GIVEN = """
import builtins as _oneturn_builtins
import typing as _oneturn_typing
ToolError = _oneturn_builtins.Exception
runtime: _oneturn_typing.Any
def final_answer(value: _oneturn_typing.Any) -> _oneturn_typing.Any: ...
"""
"""What every script is given beside the tools."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the type checker does not like. Lines and columns count from 1, the end is exclusive."""

    rule: str
    message: str
    line: int
    column: int
    end_line: int
    end_column: int


class TypeChecker:
    """Monty workers that check types, started when they are first needed. Thread-safe.

    Args:
        workers: The most processes at once.
        seconds: Wall clock for one check; a worker that takes longer is killed.
        wait: Seconds to wait for a free worker.
        memory: Bytes of address space of one worker, where the system can limit it (Linux).
    """

    def __init__(
        self, *, workers: int = 2, seconds: float = 2.0, wait: float = 0.5, memory: int = 768 * 1024 * 1024
    ) -> None:
        self._options = {
            "min_processes": 1,
            "max_processes": workers,
            "checkout_timeout": wait,
            "request_timeout": seconds,
            "max_checkouts_per_worker": _CHECKS_PER_WORKER,
        }
        self._memory = memory
        self._lock = threading.Lock()
        self._pool: monty.Monty | None = None

    def findings(self, program: Program, stubs: str) -> tuple[Finding, ...] | None:
        """What is wrong with a script's types; None when the checker gave up on it.

        Args:
            program: The parsed script.
            stubs: Declarations of the tools the script is given, as the text of a `.pyi` file.

        Raises:
            SandboxBusy: Every worker is busy; a later try may work.
        """
        try:
            report = self._report(program, stubs)
            return None if report is None else tuple(_read(report))
        except SandboxBusy:
            raise
        except Exception as error:  # whatever it is, the script can run without
            log.info("a script was not type-checked (%s)", type(error).__name__)
        return None

    def close(self) -> None:
        """Stop the workers. Idempotent; a later check starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)

    def _started(self) -> monty.Monty:
        import pydantic_monty as monty

        with self._lock:
            if self._pool is None:
                pool = monty.Monty(**self._options)  # type: ignore[arg-type]
                pool.__enter__()
                self._pool = pool
            return self._pool

    def _report(self, program: Program, stubs: str) -> str | None:
        """The checker's report as JSON text; None when it had none to give."""
        import pydantic_monty as monty

        start = _START
        while start in program.source or start in stubs:
            start += "_"
        session = self._started().checkout(
            type_check=True, type_check_stubs=stubs + _GIVEN, type_check_format="json"
        )
        try:
            session.__enter__()
        except TimeoutError:
            raise SandboxBusy("Every type checker is busy; try again in a moment.") from None
        try:
            _limit_memory(session.worker_pid, self._memory)
            snapshot = session.feed_start(f"{start}()\n{without_tool_imports(program)}")
            if isinstance(snapshot, monty.FunctionSnapshot) and snapshot.is_os_function:
                # It asks for stubs of modules that it does not know. There are none.
                snapshot.resume_not_handled()
        except monty.MontyTypingError as error:
            text = str(error)
            return text if len(text) <= _MAX_REPORT else None
        finally:
            with contextlib.suppress(monty.MontyError):
                session.__exit__(None, None, None)
        return None


def without_tool_imports(program: Program) -> str:
    """The script with `import tools` and the like as assignments, line by line where they were.

    For the checker `tools` is a declared name and not a module.
    """
    lines = list(program.lines)
    for node in program.nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom) or not (names := _assigned(node)):
            continue
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before = lines[first].encode()[: node.col_offset].decode()
        after = lines[last].encode()[node.end_col_offset :].decode()
        lines[first : last + 1] = [before + "; ".join(names) + after, *[""] * (last - first)]
    return "\n".join(lines)


def _assigned(node: ast.Import | ast.ImportFrom) -> list[str]:
    """What an import of nothing but tools and helpers means, as statements; empty for any other."""
    if isinstance(node, ast.ImportFrom):
        if node.level or (node.module or "").partition(".")[0] not in ("tools", "runtime"):
            return []
        return [f"{alias.asname or alias.name} = {node.module}.{alias.name}" for alias in node.names]
    if any(alias.name.partition(".")[0] not in ("tools", "runtime") for alias in node.names):
        return []
    return [f"{alias.asname} = {alias.name}" if alias.asname else "pass" for alias in node.names]


def _read(report: str) -> Iterator[Finding]:
    entries: list[dict[str, Any]] = json.loads(report)
    for entry in entries[: _MAX_FINDINGS + 1]:
        start, end = entry["location"], entry["end_location"]
        if start["row"] > 1:  # the first line is ours
            yield Finding(
                rule=str(entry["name"]),
                message=str(entry["message"])[:_MAX_MESSAGE],
                line=start["row"] - 1,
                column=start["column"],
                end_line=end["row"] - 1,
                end_column=end["column"],
            )


def _limit_memory(pid: int | None, most: int) -> None:
    if sys.platform != "linux" or pid is None:
        return
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
