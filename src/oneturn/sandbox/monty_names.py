"""The names a script may use, as Monty objects that suspend when they are called.

`tools`, `runtime` and every namespace are objects with attributes; a tool used as a value is a
function; `import tools` gets such an object too, in which only what is known can be found. None of them
does anything by itself: a call surfaces as a step, under the name this module gives back.

One `Names` serves one run, or all runs of a session: then an object that an earlier script bound keeps
its identity, so that a call on it is still known for what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pydantic_monty as monty

from ..errors import SandboxError
from .base import Script

RUNTIME = "runtime"
MODULES = ("tools", RUNTIME)
_HELPERS = ("list_tools", "get_tool_info", "search_tools", "artifact")


class Namespace:
    """What `tools`, `runtime` and each namespace are inside a script: a thing with attributes."""


class Names:
    """The names of the scripts it was told of."""

    def __init__(self) -> None:
        self._tools: frozenset[str] = frozenset()
        self._namespaces: frozenset[str] = frozenset()
        self._globals: frozenset[str] = frozenset()
        self._objects: dict[str, monty.ClassInstance] = {}
        self._modules: dict[str, monty.ClassInstance] = {}
        self._paths: dict[UUID, str] = {}
        self._inside: dict[str, list[str]] = {}  # each namespace's own namespaces; "" is `tools`

    def add(self, script: Script) -> None:
        """Learn what a script may mean, beside what the ones before it meant."""
        for name in sorted(script.namespaces - self._namespaces):
            self._inside.setdefault(name.rpartition(".")[0], []).append(name)
        self._tools |= script.tools
        self._namespaces |= script.namespaces
        self._globals |= script.globals

    def globals(self) -> dict[str, Any]:
        """What to bind before the script starts."""
        return {name: self._object(_inner(name)) for name in sorted(self._globals)}

    def module(self, name: str) -> monty.ClassInstance:
        """What `import tools` and `import runtime` give."""
        return self._module(_inner(name))

    def path(self, object_id: UUID | None, name: str) -> str:
        """The dotted name of something called on, or read from, one of our objects."""
        if object_id is None:
            return name.removeprefix("<function ").removesuffix(">")
        path = self._paths.get(object_id, "")
        return f"{path}.{name}" if path else name

    def value(self, object_id: UUID | None, name: str) -> Any | None:
        """What a name that is read as a value stands for; None when for nothing of ours."""
        if object_id is None:
            return self._bare(name)
        path = self.path(object_id, name)
        imported = any(module.id == object_id for module in self._modules.values())
        if path in self._tools:
            return _function(path)
        if path.startswith(f"{RUNTIME}."):
            return None if imported and name not in _HELPERS else _function(path)
        if imported:
            known = any(tool.startswith(f"{path}.") for tool in self._tools)
            return self._module(path) if known else None
        return self._object(path) if path in self._namespaces else None

    def _bare(self, name: str) -> Any | None:
        if name in self._globals:
            return self._object(_inner(name))
        known = name in self._tools or any(tool.endswith(f".{name}") for tool in self._tools)
        return _function(name) if known else None

    def _module(self, path: str) -> monty.ClassInstance:
        made = self._modules.get(path)
        if made is None:
            # Nothing is in it ahead: `from tools import x` then asks for x, as for any attribute.
            made = monty.ClassInstance(Namespace(), lazy_attrs="all", allowed_methods="all")
            self._modules[path] = made
            self._paths[made.id] = path
        return made

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


def _inner(name: str) -> str:
    """The path of a bare name: `tools` is the root of all others."""
    return "" if name == "tools" else name


def _function(name: str) -> Callable[..., Any]:
    """A name Monty may call: the call surfaces as a step, so the body never runs."""

    def function(*_args: Any, **_kwargs: Any) -> None:
        raise SandboxError(f"{name} was called outside the run loop.")

    # The name is what Monty would send if the script used the function as data. Spelled like this
    # it cannot be taken for text that happens to be a tool's name; `values` refuses it.
    function.__name__ = f"<function {name}>"
    return function
