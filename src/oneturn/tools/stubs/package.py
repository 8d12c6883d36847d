"""The catalog as an importable package of stubs, for editors and type checkers.

`tools/` gets a folder for each namespace that holds others, a module for each innermost one, each
as `.pyi` with the types and as `.py` whose functions say that they work in a script only. All
names come from strangers: a file name is ASCII, short, no reserved word of any file system, and
unlike every other in its folder without regard to case. The folder is made beside its place and
then moved there, and only a folder that holds nothing but what was made here is ever replaced.
"""

from __future__ import annotations

import json
import keyword
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ...errors import ConfigError
from ...types import Tool
from ..names import identifier
from ..text import quoted
from .checker import accepting, ordered
from .comments import comment, docstring_parts, in_docstring, indented, own_name
from .schema_types import BUILTIN, TYPING_WORDS, WORDS, Parameter, camel
from .typed_tool import Observed, read_types, result_type
from .writing import PLAIN, Declarations, Placed, Spelling, free, typed_dict

PACKAGE = "tools"
MANIFEST = ".oneturn-stubs.json"
_HEADER = "# Made by `oneturn stubs`; run it again to renew this folder.\n"
_DESCRIPTION = 3_000  # characters
_ARGUMENT = 200  # characters of a parameter's description
_MAX_FILE_NAME = 60
_MAX_MANIFEST = 10_000_000  # bytes
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$")  # names Windows keeps for itself
_LEFT_BY_OTHERS = frozenset({"__pycache__", ".mypy_cache", ".DS_Store"})


@dataclass(frozen=True, slots=True)
class Written:
    """How much was written: modules (each a `.py` and a `.pyi`) and the tools in them."""

    modules: int
    tools: int


def _unobserved(_tool: Tool) -> Observed | None:
    return None


def write_package(
    tools: Sequence[Tool], directory: Path, observed: Callable[[Tool], Observed | None] = _unobserved
) -> Written:
    """Write the package `tools` into `directory`, in place of one written before.

    With `directory` on the import path, `from tools.github import issues` is understood by editors
    and type checkers as it is in a script.

    Args:
        tools: The tools, of unique names.
        directory: Where the folder `tools` is put; made when missing. Nothing else in it is touched.
        observed: The shape seen in results of a tool that declares none.

    Raises:
        ConfigError: There is a `tools` that was not written here, or that holds files of others.
        OSError: A folder or file cannot be written. What was there before is left as it was.
    """
    place = directory / PACKAGE
    _check_ours(place)
    root = _tree(tools)
    files = {path: text for folder in _folders(root) for path, text in _module(folder, observed)}
    files["py.typed"] = ""
    made = len(files) // 2
    files[MANIFEST] = json.dumps({"by": "oneturn stubs", "files": sorted(files)}, indent=1) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    _replace(place, files)
    return Written(made, len(tools))


@dataclass
class _Folder:
    """One namespace: `path` is the module's place as file names, `inside` its own namespaces."""

    name: str
    path: tuple[str, ...]
    tools: dict[str, Tool] = field(default_factory=dict)
    inside: dict[str, _Folder] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The module's file without its ending."""
        if self.inside or not self.path:
            return "/".join([*self.path, "__init__"])
        return "/".join(self.path)


def _tree(tools: Sequence[Tool]) -> _Folder:
    root = _Folder("", ())
    for tool in sorted(tools, key=lambda tool: tool.name):
        *outer, last = (identifier(part) for part in tool.name.split("."))
        folder = root
        for name in outer:
            inner = folder.inside.get(name)
            if inner is None:
                used = {other.path[-1].lower() for other in folder.inside.values()}
                path = (*folder.path, _file_name(name, used))
                inner = folder.inside[name] = _Folder(name, path)
            folder = inner
        folder.tools[last] = tool
    return root


def _file_name(name: str, used: set[str]) -> str:
    safe = name
    if not name.isascii() or len(name) > _MAX_FILE_NAME or name.startswith("__"):
        start = re.sub(r"\W", "", name[:40], flags=re.ASCII).strip("_")
        safe = f"n_{start}_{sha256(name.encode()).hexdigest()[:12]}"
    if keyword.iskeyword(safe) or _DEVICES.match(safe.lower()):
        safe = f"{safe}_"
    found, count = safe, 2
    while found.lower() in used:
        found, count = f"{safe}_{count}", count + 1
    return found


def _folders(folder: _Folder) -> Iterable[_Folder]:
    yield folder
    for inner in folder.inside.values():
        yield from _folders(inner)


def _module(folder: _Folder, observed: Callable[[Tool], Observed | None]) -> Iterable[tuple[str, str]]:
    """The two files of one namespace."""
    names = {*folder.tools, *folder.inside}
    builtins = free("_b", names)
    shown = [
        f"from . import {inner.path[-1]} as {name}"
        for name, inner in folder.inside.items()
        if name not in folder.tools
    ]
    code = [_HEADER, *shown, f"import builtins as {builtins}\n" if folder.tools else ""]
    for name, tool in folder.tools.items():
        code.append(
            f"\ndef {name}(*_args: object, **_kwargs: object) -> {builtins}.object:\n"
            f"    raise {builtins}.RuntimeError({quoted(_outside(tool), 1_000)})\n"
        )
    yield f"{folder.file}.py", "\n".join(code)
    yield f"{folder.file}.pyi", "\n".join([_HEADER, *shown, _Stub(folder, names).text(observed)])


def _outside(tool: Tool) -> str:
    return f"tools.{tool.name} works only in a script; run the script with: oneturn run FILE"


class _Stub:
    """The typed side of one module."""

    def __init__(self, folder: _Folder, names: set[str]) -> None:
        self.folder = folder
        hidden = not WORDS.isdisjoint(names)
        self.spelling = Spelling.aliased(names) if hidden else PLAIN
        own = {self.spelling.builtin[:-1], self.spelling.typing[:-1]} if hidden else set()
        self.declarations = Declarations({*names, *own})

    def text(self, observed: Callable[[Tool], Observed | None]) -> str:
        functions = [self._function(name, tool, observed) for name, tool in self.folder.tools.items()]
        plain = f"from typing import {', '.join(TYPING_WORDS)}"
        imports = plain if self.spelling == PLAIN else self.spelling.imports
        shapes = [self._shape(placed) for placed in self.declarations.placed]
        return "\n\n".join([imports, *shapes, *functions, ""]) if functions else ""

    def _shape(self, placed: Placed) -> str:
        return typed_dict(placed, self.spelling, str)

    def _function(self, name: str, tool: Tool, observed: Callable[[Tool], Observed | None]) -> str:
        types = read_types(tool)  # not kept: a catalog may have more tools than are worth keeping
        result, seen = types.result, ""
        if tool.output_schema is None and tool.results != "text":
            found = observed(tool)
            if found is not None:
                result, seen = result_type(tool, found.schema), f"  # observed in {found.calls:,} calls"
        owner = camel(tool.short_name)
        gives, _ = self.declarations.add(result.shapes, owner)
        takes, _ = self.declarations.add(types.arguments.shapes, owner)
        written = f"{BUILTIN}str" if tool.results == "text" else result.type
        parts = [
            part if isinstance(part, str) else self._parameter(part, takes)
            for part in ordered(types.arguments.parameters)
        ]
        listed = {parameter.name for parameter in types.arguments.parameters}
        if types.arguments.others is not None:
            others = self.spelling.write(types.arguments.others, takes.__getitem__)
            parts.append(f"**{free('others', listed)}: {others}")
        returns = self.spelling.write(written, gives.__getitem__)
        docs = self._docs(tool, types.arguments.parameters)
        return f"async def {name}({', '.join(parts)}) -> {returns}:{seen}\n{docs}"

    def _parameter(self, parameter: Parameter, names: Mapping[str, str]) -> str:
        return accepting(parameter, self.spelling.write(parameter.type, names.__getitem__))

    def _docs(self, tool: Tool, parameters: Sequence[Parameter]) -> str:
        own = own_name(tool)
        parts = docstring_parts(tool, _DESCRIPTION)
        about = [(each.name, comment(each.schema, _ARGUMENT, own)) for each in parameters]
        lines = [f"    {name}: {in_docstring(said)}" for name, said in about if said]
        if lines:
            parts.append("\n".join(["Args:", *lines]))
        text = indented("\n\n".join(parts), "    ")
        return f'    """{text}\n    """'


def _check_ours(place: Path) -> None:
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise ConfigError(f"{place} is no folder; move it away, or write the stubs into another folder.")
    if not place.exists() or not any(place.iterdir()):
        return
    known = _manifest(place / MANIFEST)
    if known is None:
        raise ConfigError(f"{place} was not written by oneturn; write the stubs into another folder.")
    for found in _files(place):
        if found not in known:
            raise ConfigError(
                f"{place} holds {found}, which oneturn did not write; move it away, or choose another folder."
            )


def _manifest(path: Path) -> frozenset[str] | None:
    """The files a folder was written with; None when it was not written here."""
    try:
        if path.is_symlink() or path.stat().st_size > _MAX_MANIFEST:
            return None
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    listed = content.get("files") if isinstance(content, dict) else None
    if not isinstance(listed, list) or content.get("by") != "oneturn stubs":
        return None
    return frozenset([*(name for name in listed if isinstance(name, str)), MANIFEST])


def _files(place: Path) -> Iterable[str]:
    """All files below, without following links; what Python and tools leave behind is passed over."""
    for folder, inner, names in os.walk(place):
        links = [name for name in inner if os.path.islink(os.path.join(folder, name))]
        inner[:] = sorted(set(inner) - _LEFT_BY_OTHERS - set(links))
        for name in sorted({*names, *links} - _LEFT_BY_OTHERS):
            yield Path(folder, name).relative_to(place).as_posix()


def _replace(place: Path, files: Mapping[str, str]) -> None:
    """Put a new folder in the place of the old one; on failure the old one is back, whole."""
    scratch = Path(tempfile.mkdtemp(prefix=".oneturn-stubs-", dir=place.parent))
    try:
        fresh, old = scratch / "new", scratch / "old"
        fresh.mkdir()
        for path, text in files.items():
            target = fresh / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8", newline="\n")
        if place.exists():
            place.rename(old)
        try:
            fresh.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
