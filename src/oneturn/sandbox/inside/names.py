"""The names a script finds: builtins, `tools`, `runtime`, namespaces and bare tools.

They are in the script's own builtins, never among its globals, so whatever a script binds wins. A name of
ours is an inert object: it has a path, and calling it makes a call. Imports pass an allow-list; what the
host did not allow is not there.

Standard library only; runs with any Python from 3.11, on the script's side.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

RUNTIME = "runtime"
HELPERS = ("list_tools", "get_tool_info", "search_tools", "artifact")
_ABSENT = {
    "input": "nobody can answer input() in a script; put the value into the script",
    "breakpoint": "there is no debugger in a script; use print",
    "exit": "a script ends with return or final_answer(value), not with exit()",
    "quit": "a script ends with return or final_answer(value), not with quit()",
    "help": "there is no help() in a script; use runtime.get_tool_info(name)",
}

Surface = Callable[[str, tuple[Any, ...], Mapping[str, Any]], Any]
"""Makes the call of a dotted name."""


class Outside:
    """Something of the host: a namespace, or a tool that can be called."""

    __slots__ = ("_path", "_surface")

    def __init__(self, path: str, surface: Surface) -> None:
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_surface", surface)

    def __getattr__(self, name: str) -> Outside:
        if name[:2] == "__":
            raise AttributeError(f"{self!r} has no attribute {name}")
        path = object.__getattribute__(self, "_path")
        return Outside(f"{path}.{name}" if path else name, object.__getattribute__(self, "_surface"))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self!r} takes no attributes")

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return object.__getattribute__(self, "_surface")(object.__getattribute__(self, "_path"), args, kwargs)

    def __eq__(self, other: object) -> bool:
        return type(other) is Outside and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"<{object.__getattribute__(self, '_path') or 'tools'}>"


def withdraw() -> None:
    """Let what would be in vain, or work for a while in a folder that goes with the run, say so."""
    io.open = _open  # type: ignore[assignment]  # that of pathlib
    os.system = _absent("system", PermissionError, "there are no processes in a script; call a tool")


class Names:
    """What a script finds without binding it. One for a process; each run of a session adds to it.

    Args:
        surface: Makes a call.
        final_answer: Ends the run.
        own: Further names, such as those only the compiled script itself can spell.
    """

    def __init__(self, surface: Surface, final_answer: Callable[..., Any], own: Mapping[str, Any]) -> None:
        self._surface = surface
        self._tools: frozenset[str] = frozenset()
        self._folders: frozenset[str] = frozenset()
        self._modules: frozenset[str] = frozenset()
        self._hints: Mapping[str, str] = {}
        self.mapping: dict[str, Any] = {
            **vars(builtins),
            **{name: _absent(name, NameError, why) for name, why in _ABSENT.items()},
            **own,
            "open": _open,
            "final_answer": final_answer,
            "__import__": self._import,
        }
        self._taken = frozenset(self.mapping)

    def offer(self, start: Mapping[str, Any]) -> None:
        """Bind what one run may mean: the fields of its start frame."""
        self._tools = frozenset(start["tools"])
        self._folders = frozenset(_prefixes(start["tools"])) | frozenset(start["namespaces"])
        self._modules = frozenset(start["modules"])
        self._hints = start["modules_hint"]
        short = {name.rpartition(".")[2] for name in self._tools}
        for name in sorted({*short, *start["called"], *start["globals"]} - self._taken):
            self.mapping[name] = Outside("" if name == "tools" else name, self._surface)
        if start["tool_error"]:
            self.mapping["ToolError"] = Exception

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Iterable[str] | None = (),
        level: int = 0,
    ) -> Any:
        top = name.partition(".")[0]
        if level == 0 and top in ("tools", RUNTIME):
            return self._ours(name, top, tuple(fromlist or ()))
        if level == 0 and not self._allowed(name) and not _from_c(globals, locals, fromlist):
            hint = self._hints.get(top, "")
            raise ModuleNotFoundError(f"No module named {name!r}" + (f"; {hint}" if hint else ""), name=name)
        return builtins.__import__(name, globals, locals, tuple(fromlist or ()), level)

    def _allowed(self, name: str) -> bool:
        parts = name.split(".")
        return any(".".join(parts[:count]) in self._modules for count in range(1, len(parts) + 1))

    def _ours(self, name: str, top: str, wanted: tuple[str, ...]) -> Outside:
        """`tools`, `runtime` and the namespaces as modules, whatever the library calls its own."""
        path = name.partition(".")[2] if top == "tools" else name
        if path and path != RUNTIME and path not in self._folders:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        for part in wanted:
            full = f"{path}.{part}" if path else part
            known = part in HELPERS if top == RUNTIME else full in self._tools or full in self._folders
            if not known:
                raise ImportError(f"cannot import name {part!r} from {name!r}", name=name)
        return Outside(path if wanted else ("" if top == "tools" else RUNTIME), self._surface)


def _from_c(globals: Any, locals: Any, fromlist: Any) -> bool:
    """Whether a C function imports what it needs itself: it goes by the builtins of whoever called it."""
    return globals is not None and globals is locals and type(fromlist) is list and not fromlist


def _prefixes(names: Iterable[str]) -> Iterable[str]:
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts)))


def _absent(name: str, kind: type[Exception], why: str) -> Callable[..., Any]:
    def absent(*_: Any, **__: Any) -> None:
        raise kind(why)

    absent.__name__ = absent.__qualname__ = name
    return absent


def _open(file: Any = None, *_: Any, **__: Any) -> None:
    raise PermissionError(f"a script has no files; {str(file)[:200]!r} cannot be opened")
