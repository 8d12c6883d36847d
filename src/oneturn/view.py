"""What one caller can see: its scope, its search index, and `runtime.*` inside scripts.

Discovery is the same everywhere because everything asks a view: the meta-tools, the command line
and a script's `runtime.search_tools`. A view never shows a tool outside its scope.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from .checking import Checked, Checker
from .program import Program, parse
from .sandbox.base import Script
from .tools.scope import Scope
from .tools.search import SearchIndex, SearchResult
from .tools.shapes import Observed, Shapes
from .tools.signature import return_type, signature
from .tools.stubs import own_name, stub_text
from .tools.text import neutral
from .types import Effect, ScriptError, Tool

_BUILTINS = frozenset(dir(builtins))
_NOT_BARE = _BUILTINS | sys.stdlib_module_names
_DEEPEST = 20  # parts of a dotted name; no tool has more, and a script may write any number
_SUMMARY = 120  # characters of a description in a list


class View:
    """A scope with everything derived from it. Made once per scope and catalog version.

    Args:
        scope: What the caller can reach.
        index: The search index of the whole catalog, which is narrowed to the scope.
        checker: Checks scripts; without it, types are not looked at.
        shapes: What results were seen to look like.
    """

    def __init__(
        self,
        scope: Scope,
        index: SearchIndex | None = None,
        checker: Checker | None = None,
        shapes: Shapes | None = None,
    ) -> None:
        self.scope = scope
        self._whole = index
        self._checker = checker or Checker(types=False)
        self._shapes = shapes

    @cached_property
    def index(self) -> SearchIndex:
        """The search index over the scope; built on first use."""
        if self._whole is None:
            return SearchIndex(self.scope.tools)
        return self._whole.within(self.scope.tools)

    def search(
        self,
        queries: str | Sequence[str],
        limit: int = 10,
        *,
        effect: Effect | None = None,
        namespace: str | None = None,
        source: str | None = None,
        label: str | None = None,
    ) -> SearchResult:
        """The best tools for one or several queries."""
        return self.index.search(
            queries, limit, effect=effect, namespace=namespace, source=source, label=label
        )

    def check(
        self,
        program: Program,
        *,
        importable: Callable[[str], bool] | None = None,
        bound: frozenset[str] = frozenset(),
    ) -> Checked:
        """What is wrong with a script, before anything of it runs.

        Args:
            program: The script.
            importable: Where it may use all of Python: whether a module may be imported there.
            bound: Names that have values before it starts.
        """
        return self._checker.check(program, self.scope, importable=importable, bound=bound)

    def check_code(self, code: str, importable: Callable[[str], bool] | None = None) -> Checked:
        """The same for the text of a script, which may not even be Python."""
        program = parse(code)
        if isinstance(program, ScriptError):
            return Checked(program)
        return self.check(program, importable=importable)

    def observed(self, tool: Tool) -> Observed | None:
        """The shape that results of a tool were seen to have; None when it declares one, or none came."""
        return self._shapes.get(tool) if self._shapes is not None and tool.output_schema is None else None

    def full(self, tool: Tool) -> str:
        """Everything about one tool as text."""
        return stub_text(tool, self.observed(tool))

    def describe(self, name: str) -> str | None:
        """Everything about one tool as text, or None when it is not in scope."""
        tool = self.scope.get(name.removeprefix("tools."))
        return self.full(tool) if tool is not None else None


class ScriptRuntime:
    """The `runtime` object of one run: synchronous helpers that return plain data.

    Args:
        view: What the run's caller can see.
        read_artifact: The bytes of an artifact of this caller; raises LookupError.
    """

    def __init__(self, view: View, read_artifact: Callable[[str], bytes]) -> None:
        self._view = view
        self._read_artifact = read_artifact

    def call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Perform `runtime.<name>(…)`.

        Raises:
            AttributeError: There is no such helper.
            TypeError: Wrong arguments.
            LookupError: No such tool (NameError) or artifact.
        """
        helpers: dict[str, Callable[..., Any]] = {
            "list_tools": self.list_tools,
            "get_tool_info": self.get_tool_info,
            "search_tools": self.search_tools,
            "artifact": self.artifact,
        }
        if name not in helpers:
            raise AttributeError(f"runtime has no {name}; it has {', '.join(sorted(helpers))}")
        return helpers[name](*args, **kwargs)

    def list_tools(self, namespace: str | None = None) -> list[dict[str, str]]:
        """Every tool in scope, or in one namespace of it."""
        prefix = f"{namespace.removeprefix('tools.')}." if namespace else ""
        return [_line(tool) for tool in self._view.scope.tools if tool.name.startswith(prefix)]

    def get_tool_info(self, name: str) -> dict[str, Any]:
        """One tool in full."""
        tool = self._view.scope.get(str(name).removeprefix("tools."))
        if tool is None:
            near = self._view.scope.nearest(str(name))
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise NameError(f"there is no tool {name}{meant}")
        info = {
            **_line(tool),
            "description": neutral(tool.description, 4_000, own_name(tool)),
            "input_schema": tool.input_schema,
            "output_schema": tool.output_schema,
            "returns": return_type(tool),
        }
        observed = self._view.observed(tool)
        return info | (
            {"observed_schema": observed.schema, "observed_calls": observed.calls} if observed else {}
        )

    def search_tools(
        self,
        query: str | list[str],
        limit: int = 10,
        *,
        namespace: str | None = None,
        effect: Effect | None = None,
        source: str | None = None,
        label: str | None = None,
    ) -> list[dict[str, str]]:
        """The best tools for a query."""
        found = self._view.search(
            query, limit, namespace=namespace, effect=effect, source=source, label=label
        )
        return [_line(match.tool) for match in found.matches]

    def artifact(self, artifact_id: str | Mapping[str, Any]) -> bytes:
        """The bytes of an artifact, by its id or its whole handle."""
        key = artifact_id.get("artifact") if isinstance(artifact_id, Mapping) else artifact_id
        return self._read_artifact(str(key))


def _line(tool: Tool) -> dict[str, str]:
    return {
        "name": tool.name,
        "signature": signature(tool),
        "effect": tool.effect,
        "summary": neutral(tool.description.strip().partition("\n")[0], _SUMMARY, own_name(tool)),
    }


def script_for(program: Program, scope: Scope) -> Script:
    """What a sandbox needs to know of the scope to run this program, and no more."""
    known = {ns for full in scope.namespaces() for ns in _prefixes(full.split("."))}
    namespaces = {ns for ns in known if program.identifiers.issuperset(ns.split("."))}
    for path in program.paths:
        if path[0] == "tools" and len(path) <= _DEEPEST:
            namespaces.update(_prefixes(list(path[1:-1])))
        elif scope.status(".".join(path)) not in ("allowed", "unknown"):
            # Bound, so that the gate says "not allowed" where the sandbox would say "no such name".
            outside = _prefixes(list(path[:-1]))
            namespaces.update(outside)
            known.update(outside)
    # Also names the script binds itself, as in `shop = await shop.list_orders()`: until it does, the
    # name means the namespace.
    used = program.free | {path[0] for path in program.paths}
    bare = {ns for ns in namespaces & known & used if "." not in ns and ns not in _NOT_BARE}
    return Script(
        source=program.source,
        called=_only_called(program),
        tools=scope.mentioned(program.identifiers),
        namespaces=frozenset(namespaces),
        globals=frozenset(bare | ({"tools", "runtime"} & program.free)),
        awaited=program.awaited,
        uses_tool_error="ToolError" in program.free,
    )


def _prefixes(parts: list[str]) -> list[str]:
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _only_called(program: Program) -> frozenset[str]:
    """The names that nothing binds and that only ever stand before the arguments of a call."""
    unbound = program.free - _BUILTINS
    if not unbound:
        return frozenset()
    otherwise = {
        node.id
        for node in program.nodes
        if isinstance(node, ast.Name)
        and node.id in unbound
        and not (isinstance(parent := program.parents[node], ast.Call) and parent.func is node)
    }
    return unbound - otherwise
