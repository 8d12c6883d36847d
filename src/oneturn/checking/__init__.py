"""What a script is held to before its first call: syntax, names, arguments, types, as one answer.

Four things stop a script: a tool that is not there, arguments the gate would refuse, a call that
is not awaited, and reading a key that the declared result does not have. The rule behind each of
them is that there are no false alarms: a script is stopped only for what would fail for certain
when it is reached, in the gate's own judgement. Everything less certain is a warning. What the
return type of a Python function says is taken at its word.
"""

from __future__ import annotations

import hashlib
import logging
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import SandboxBusy
from ..journal.redaction import Fields
from ..program import Finding, Program, Reach, TypeChecker, check
from ..program.reach import is_pythons
from ..tools.scope import Scope, Status
from ..tools.stubs import checker_stub
from ..types import Diagnostic, ScriptError, Tool
from . import problems
from .arguments import ArgumentCheck
from .kept import Kept
from .names import unknown_tools
from .problems import Problem
from .typed import TypedCheck

__all__ = ["Checked", "Checker"]

log = logging.getLogger("oneturn.check")

_KEPT = 512  # answers
_MOST_TOOLS = 40  # a script that names more is not type-checked
_MOST_STUBS = 300_000  # characters of stubs; the checker reads about a million in a second
_NO_TIMES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks found: the error that stops the script, or None, and the warnings.

    `seconds` is what each kind of check took: `syntax`, `names`, `arguments`, `types`. Empty when
    the answer was known from before; without `types` when types were not looked at.
    """

    error: ScriptError | None = None
    warnings: tuple[Diagnostic, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=lambda: _NO_TIMES, compare=False)


class Checker:
    """Checks scripts before they run, and remembers its answers. Thread-safe; close it at the end.

    Args:
        types: Also check types, in worker processes that start when they are first needed.
        seconds: Wall clock for one check of types. A script that takes longer, or that finds every
            worker busy, runs without it.
        workers: The most worker processes.
        fields: Their values are quoted in no answer.
    """

    def __init__(
        self, types: bool = True, *, seconds: float = 2.0, workers: int = 2, fields: Fields | None = None
    ) -> None:
        self._types = TypeChecker(seconds=seconds, workers=workers) if types else None
        self._arguments = ArgumentCheck(fields)
        self._answers: Kept[tuple[bytes, int, bool, frozenset[str]], _Answer] = Kept(_KEPT)
        self._typed: Kept[tuple[bytes, tuple[int, ...]], tuple[tuple[Tool, ...], list[Problem]]] = Kept(_KEPT)

    def check(
        self,
        program: Program,
        scope: Scope,
        *,
        importable: Callable[[str], bool] | None = None,
        bound: frozenset[str] = frozenset(),
    ) -> Checked:
        """What is wrong with a script for a caller of this scope. Nothing of the script runs.

        Args:
            program: The script.
            scope: What its caller can reach.
            importable: Where it may use all of Python: whether a module may be imported there. Always
                the same one for one checker. Without it, what Monty offers is what there is.
            bound: Names that have values before it starts; of a script with any, types are not checked.
        """
        digest = hashlib.sha256(program.source.encode("utf-8", "surrogatepass")).digest()
        key = (digest, id(scope), importable is not None, bound)
        known = self._answers.get(key)
        if known is not None and known.holds(scope):
            return Checked(known.checked.error, known.checked.warnings)
        types = None if bound else self._types
        work = _Check(program, scope, self._arguments, types, self._typed, digest, importable)
        checked = work.checked()
        if work.complete:
            self._answers.put(key, _Answer(weakref.ref(scope), work.asked, checked))
        return checked

    def close(self) -> None:
        """Stop the worker processes. Idempotent."""
        if self._types is not None:
            self._types.close()


@dataclass(frozen=True, slots=True)
class _Answer:
    """A known answer, and what it rests on: how each name of the script stood in the scope."""

    scope: weakref.ref[Scope]
    asked: Mapping[str, Status]
    checked: Checked

    def holds(self, scope: Scope) -> bool:
        """Whether nothing has changed. A tool may come to be held at any time."""
        return self.scope() is scope and all(
            scope.status(name) == status for name, status in self.asked.items()
        )


class _Check:
    """One check of one script."""

    def __init__(
        self,
        program: Program,
        scope: Scope,
        arguments: ArgumentCheck,
        types: TypeChecker | None,
        typed: Kept[tuple[bytes, tuple[int, ...]], tuple[tuple[Tool, ...], list[Problem]]],
        digest: bytes,
        importable: Callable[[str], bool] | None,
    ) -> None:
        self._program = program
        self._scope = scope
        self._arguments = arguments
        self._types = types
        self._typed = typed
        self._digest = digest
        self._importable = importable
        self._reach = Reach(program)
        self.asked: dict[str, Status] = {}
        """How each name stood that the answer rests on."""
        self.complete = True
        """False when a later check may find more: every worker was busy."""
        self._seconds: dict[str, float] = {}

    def checked(self) -> Checked:
        began = time.perf_counter()
        first = check(self._program, self._is_tool, importable=self._importable)
        self._seconds["syntax"] = time.perf_counter() - began
        found = self._timed("names", self._unknown_tools)
        tools = self._mentioned()
        if tools:
            found += self._timed("arguments", lambda: self._arguments.problems(self._reach, self._scope))
        if tools and self._types is not None and first is None and len(tools) <= _MOST_TOOLS:
            known = {(each.position.line, each.kind) for each in found}
            typed = self._timed("types", lambda: self._type_problems(tools))
            found += [each for each in typed if (each.position.line, each.kind) not in known]
        ordered = problems.in_order(found)
        warnings = tuple(each.diagnostic() for each in ordered if not each.blocks)[: problems.MOST]
        error = problems.error(first, [each for each in ordered if each.blocks])
        return Checked(error, warnings, MappingProxyType(self._seconds))

    def _is_tool(self, name: str) -> bool:
        return self.asked.setdefault(name, self._scope.status(name)) == "allowed"

    def _unknown_tools(self) -> list[Problem]:
        for call in self._reach.calls:
            self._is_tool(call.name)
        return unknown_tools(self._reach, self._scope)

    def _timed(self, kind: str, work: Callable[[], list[Problem]]) -> list[Problem]:
        """The problems one kind of check finds; none when it fails, for then the run will tell."""
        began = time.perf_counter()
        try:
            return work()
        except RecursionError:
            log.info("a script was not checked for %s: it is nested too deeply", kind)
        except Exception:
            log.exception("a script was not checked for %s", kind)
        finally:
            self._seconds[kind] = time.perf_counter() - began
        return []

    def _mentioned(self) -> tuple[Tool, ...]:
        """The tools a script may mean: their whole name is in it, or a short name that is theirs alone."""
        identifiers = self._program.identifiers
        found: list[Tool] = []
        for name in sorted(self._scope.mentioned(identifiers)):
            tool = self._scope.get(name)
            if tool is not None and (
                identifiers.issuperset(name.split(".")) or self._scope.get(tool.short_name) is tool
            ):
                found.append(tool)
        return tuple(found)

    def _type_problems(self, tools: tuple[Tool, ...]) -> list[Problem]:
        assert self._types is not None
        key = (self._digest, tuple(map(id, tools)))  # by identity, since a tool cannot be hashed
        known = self._typed.get(key)
        if known is not None:
            return known[1]
        stub = checker_stub(tools, self._bare(tools))
        findings: tuple[Finding, ...] | None = None
        try:
            if len(stub.text) <= _MOST_STUBS:
                findings = self._types.findings(self._program, stub.text)
        except SandboxBusy:
            self.complete = False
            return []
        found = TypedCheck(self._reach, self._scope, stub, self._arguments).problems(findings or ())
        self._typed.put(key, (tools, found))  # holds the tools, so that their ids stay theirs
        return found

    def _bare(self, tools: tuple[Tool, ...]) -> dict[str, str]:
        """The names the script may use without `tools.`: namespaces, and short names of one tool."""
        bound = self._program.bindings
        names: dict[str, str] = {}
        for tool in tools:
            root = tool.name.partition(".")[0]
            if tool.namespace and root not in bound and not is_pythons(root):
                names[root] = root
        for tool in tools:
            short = tool.short_name
            own = short not in bound and not is_pythons(short) and short not in names
            if own and self._scope.get(short) is tool:
                names[short] = tool.name
        return names
