"""The names a script may use, as Monty objects that suspend when they are called.

`tools`, `runtime` and every namespace are objects with attributes; a tool used as a value is a
function; `import tools` gets a module with the same things in it. None of them does anything by
itself: a call surfaces as a step, under the name this module gives back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import pydantic_monty as monty

from ..errors import SandboxError
from .base import Script

RUNTIME = "runtime"
_HELPERS = ("list_tools", "get_tool_info", "search_tools", "artifact")


class Namespace:
    """What `tools`, `runtime` and each namespace are inside a script: a thing with attributes."""


class Names:
    """The names of one script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._objects: dict[str, monty.ClassInstance] = {}
        self._paths: dict[UUID, str] = {}
        self._inside: dict[str, list[str]] = {}  # each namespace's own namespaces; "" is `tools`
        for name in sorted(script.namespaces):
            self._inside.setdefault(name.rpartition(".")[0], []).append(name)

    def globals(self) -> dict[str, Any]:
        """What to bind before the script starts."""
        return {name: self._object("" if name == "tools" else name) for name in sorted(self._script.globals)}

    def path(self, object_id: UUID | None, name: str) -> str:
        """The dotted name of something called on, or read from, one of our objects."""
        if object_id is None:
            return name.removeprefix("<function ").removesuffix(">").removeprefix("tools.")
        path = self._paths.get(object_id, "")
        return f"{path}.{name}" if path else name

    def value(self, name: str, *, bare: bool) -> Any | None:
        """What a name that is read as a value stands for; None when for nothing of ours."""
        tools = self._script.tools
        if bare:
            known = name in tools or any(tool.endswith(f".{name}") for tool in tools)
            return _function(name) if known else None
        if name in tools or name.startswith(f"{RUNTIME}."):
            return _function(name)
        return self._object(name) if name in self._script.namespaces else None

    def modules(self) -> Mapping[str, Callable[[], monty.ExternalModule]]:
        """`import tools`, `from tools.github import create_issue`: made only if imported."""

        def runtime() -> monty.ExternalModule:
            return monty.ExternalModule({name: _function(f"{RUNTIME}.{name}") for name in _HELPERS})

        return {"tools": lambda: self._module(_tree(self._script.tools), ""), RUNTIME: runtime}

    def _object(self, path: str) -> monty.ClassInstance:
        known = self._objects.get(path)
        if known is not None:
            return known
        children = {name.rpartition(".")[2]: self._object(name) for name in self._inside.get(path, ())}
        thing = Namespace()
        thing.__dict__.update(children)
        made = monty.ClassInstance(
            thing, eager_attrs=tuple(children), lazy_attrs="all", allowed_methods="all"
        )
        self._objects[path] = made
        self._paths[made.id] = path
        return made

    def _module(self, tree: Mapping[str, Any], path: str) -> monty.ExternalModule:
        attributes: dict[str, Any] = {}
        for name, inner in tree.items():
            full = f"{path}.{name}" if path else name
            if inner is None:
                attributes[name] = _function(full)
            else:
                attributes[name] = self._submodule(name, full, inner)
        return monty.ExternalModule(attributes)

    def _submodule(self, name: str, full: str, inner: Mapping[str, Any]) -> Any:
        module = self._module(inner, full)
        try:
            monty.ExternalModule({name: module})
        except ValueError:
            # Monty keeps the names of modules it knows, such as `time`, for itself. An object does
            # for `from tools import time`; only `from tools.time import …` is out of reach.
            return self._object(full)
        return module


def _function(name: str) -> Callable[..., Any]:
    """A name Monty may call: the call surfaces as a step, so the body never runs."""

    def function(*_args: Any, **_kwargs: Any) -> None:
        raise SandboxError(f"{name} was called outside the run loop.")

    # The name is what Monty would send if the script used the function as data. Spelled like this
    # it cannot be taken for text that happens to be a tool's name; `values` refuses it.
    function.__name__ = f"<function {name}>"
    return function


def _tree(names: Iterable[str]) -> dict[str, Any]:
    """Dotted names as nested dicts, with None for a tool."""
    root: dict[str, Any] = {}
    for name in sorted(names):
        *parents, last = name.split(".")
        place = root
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = None
    return root
