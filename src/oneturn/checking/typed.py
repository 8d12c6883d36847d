"""What the type checker found, judged: few of its findings matter here, and fewer stop a script.

It knows Python and the stubs; it does not know that the gate takes a tuple for a list, or drops a
None. So each finding about an argument is weighed against the tool's schema, and each about a
key against what the script does about that key.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import re
import time
from collections.abc import Sequence
from functools import cached_property

from ..program import Finding, Reach
from ..program.reach import Reached
from ..tools.names import parameter_names
from ..tools.scope import Scope
from ..tools.signature import signature
from ..tools.stubs import CheckerStub
from ..types import Position, Tool
from .arguments import HANDLES, SECONDS, ArgumentCheck, is_literal, passed, tool_calls
from .kinds import members, taken
from .problems import Problem
from .sure import Sure

_HANDLES_KEY = frozenset({"KeyError", "LookupError"})
_KEYS_SHOWN = 12
_TYPE = 200  # characters of a type
_EXPECTED = re.compile(r"Expected `(?P<wanted>.+)`, found `(?P<found>.+)`$", re.DOTALL)
_KEY = re.compile(r'Unknown key ".*?" for TypedDict `(?P<shape>\w+)`(?P<more>.*)$', re.DOTALL)
_ATTRIBUTE = re.compile(r"Object of type `(?P<shape>\w+)` has no attribute `(?P<name>\w+)`")
_UNDEFINED = re.compile(r"Name `(?P<name>\w+)` used when not defined")


class TypedCheck:
    """Judges the findings about one script."""

    def __init__(self, reach: Reach, scope: Scope, stub: CheckerStub, arguments: ArgumentCheck) -> None:
        self._reach = reach
        self._program = reach.program
        self._scope = scope
        self._stub = stub
        self._arguments = arguments
        self._sure = Sure(reach, scope)

    def problems(self, findings: Sequence[Finding]) -> list[Problem]:
        """What is worth telling of the findings."""
        rules = {
            "invalid-argument-type": self._argument,
            "invalid-key": self._key,
            "unresolved-attribute": self._attribute,
            "unresolved-reference": self._undefined,
        }
        deadline = time.monotonic() + SECONDS
        judged: list[Problem] = []
        for found in findings:
            problem = rules[found.rule](found) if found.rule in rules else None
            if problem is not None:
                judged.append(problem)
            if time.monotonic() > deadline:
                break
        return judged

    # --- a value of the wrong type

    def _argument(self, found: Finding) -> Problem | None:
        place = self._passed.get((found.line, found.column))
        types = _EXPECTED.search(found.message)
        if place is None or types is None:
            return None
        call, tool, value, name = place
        if is_literal(self._program, value):
            return None
        kinds = members(types["found"], self._stub.declared)
        if kinds is None or any(self._may_pass(tool, name, kind) for kind in kinds):
            return None
        prepared = self._reach.handled(call.node, HANDLES) or self._reach.conditional(call.node)
        blocks = self._sure.value(value) and not prepared
        wanted, got = types["wanted"][:_TYPE], types["found"][:_TYPE]
        original = parameter_names(tool.input_schema).get(name, name)
        if self._arguments.may_quote(original, types["found"]):
            message = f"{tool.name}() got a wrong {name!r}: expected `{wanted}`, found `{got}`"
        else:
            message = f"{tool.name}() got a wrong {name!r}: its value is of another type than `{wanted}`"
        hint = f"Signature: {signature(tool)}"
        return Problem("TypeError", message, self._position(found), hint, blocks)

    def _may_pass(self, tool: Tool, name: str, kind: frozenset[str] | tuple[object]) -> bool:
        if isinstance(kind, tuple):
            return self._arguments.accepts(tool, name, kind[0])
        schema = tool.input_schema
        original = parameter_names(schema).get(name)
        if original is None:
            return True
        if kind == {"null"} and original not in (schema.get("required") or ()):
            return True
        declared = schema.get("properties") or {}
        return bool(kind & taken(declared.get(original), schema))

    @cached_property
    def _passed(self) -> dict[tuple[int, int], tuple[Reached, Tool, ast.expr, str]]:
        """Every argument of a call of a tool, by where it stands."""
        found: dict[tuple[int, int], tuple[Reached, Tool, ast.expr, str]] = {}
        for call, tool in tool_calls(self._reach, self._scope):
            for node, value, name in passed(call, tool):
                position = self._program.position(node)
                found[position.line, position.column] = (call, tool, value, name)
        return found

    # --- a key that is not there

    def _key(self, found: Finding) -> Problem | None:
        node = self._subscripts.get((found.line, found.column))
        matched = _KEY.search(found.message)
        if node is None or matched is None:
            return None
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        shape = matched["shape"]
        if not isinstance(key, str) or key in self._own_keys or not isinstance(node.ctx, ast.Load):
            return None
        certain = (
            shape in self._stub.declared
            and shape not in self._stub.loose
            and "subscripted object has type" not in matched["more"]
            and self._sure.result(node.value)
            and not self._reach.handled(node, _HANDLES_KEY)
            and not self._reach.has_fallback(node)
            and self._reach.reachable(node)
        )
        keys = self._stub.keys.get(shape, ())
        shown = ", ".join(keys[:_KEYS_SHOWN]) + (", …" if len(keys) > _KEYS_SHOWN else "")
        near = difflib.get_close_matches(key[:100], keys[:1_000], n=1)
        tool = self._stub.declared.get(shape, "")
        message = f"there is no key {key[:100]!r} in {shape}, from {tool}; it has {shown}"
        hint = f"Write [{near[0]!r}]." if near else f"See runtime.get_tool_info({tool!r})."
        return Problem("KeyError", message, self._position(found), hint, certain)

    @cached_property
    def _subscripts(self) -> dict[tuple[int, int], ast.Subscript]:
        found: dict[tuple[int, int], ast.Subscript] = {}
        for node in self._program.nodes:
            if isinstance(node, ast.Subscript):
                position = self._program.position(node.slice)
                found[position.line, position.column] = node
        return found

    @cached_property
    def _own_keys(self) -> frozenset[str]:
        """Texts the script uses other than to read a key, or to name one of its own dicts.

        It may compare with them, look for them with `in`, ask for them with `get` or write them:
        then it knows what it does.
        """
        found: set[str] = set()
        for node in self._program.nodes:
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            parent = self._program.parents[node]
            reads = isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Load)
            names = isinstance(parent, ast.Dict) and any(node is key for key in parent.keys)
            if not reads and not names:
                found.add(node.value)
        return frozenset(found)

    # --- the rest: never certain

    def _attribute(self, found: Finding) -> Problem | None:
        matched = _ATTRIBUTE.search(found.message)
        if matched is None or matched["shape"] not in self._stub.declared:
            return None
        shape, name = matched["shape"], matched["name"]
        message = f"a {shape} is a plain dict and has no attribute {name!r}"
        hint = f"Results are plain dicts: write x[{name!r}] instead of x.{name}."
        return Problem("AttributeError", message, self._position(found), hint, False)

    def _undefined(self, found: Finding) -> Problem | None:
        matched = _UNDEFINED.search(found.message)
        if matched is None or hasattr(builtins, matched["name"]):  # the checker's Python is Monty's
            return None
        message = f"name {matched['name']!r} is not defined"
        return Problem("NameError", message, self._position(found), "Define it before it is used.", False)

    def _position(self, found: Finding) -> Position:
        lines = self._program.lines
        text = lines[found.line - 1] if 0 < found.line <= len(lines) else ""
        return Position(found.line, found.column, text[:500])
