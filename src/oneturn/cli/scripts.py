"""Scripts as files and what is wrong with them, for the commands that take one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..types import Diagnostic, Position, ScriptError


def script_name(script: str) -> str:
    """How messages call a script."""
    return "stdin" if script == "-" else script


def read_script(script: str) -> str:
    """The text of a script file, or of stdin for `-`. Raises ConfigError."""
    try:
        raw = sys.stdin.buffer.read() if script == "-" else Path(script).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"The script {script} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The script {script} is not UTF-8 text.") from None


def error_text(error: ScriptError, code: str, name: str) -> str:
    """An error for a person, with the line it is about."""
    lines = [f"error: {error.kind}: {error.message}"]
    if error.position is not None:
        lines += _marked(error.position, code, name)
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    return "\n".join(lines)


def diagnostic_text(found: Diagnostic, code: str, name: str) -> str:
    """What a check found, for a person, with the line it is about."""
    word = "error" if found.blocks else "warning"
    lines = [f"{word}: {found.kind}: {found.message}", *_marked(found.position, code, name)]
    if found.hint:
        lines.append(f"  hint: {found.hint}")
    return "\n".join(lines)


def _marked(position: Position, code: str, name: str) -> list[str]:
    lines = [f"  {name}:{position.line}:{position.column}"]
    source = as_parsed(code).split("\n")
    if position.line <= len(source):
        line = source[position.line - 1]
        before = "".join("\t" if char == "\t" else " " for char in line[: position.column - 1])
        lines += [f"    {line}", f"    {before}^"]
    return lines


def as_parsed(code: str) -> str:
    """The text that positions refer to: a fence or common indentation around a script is dropped."""
    from ..program import Program, parse

    program = parse(code)
    return program.source if isinstance(program, Program) else code


def error_data(error: ScriptError | None) -> dict[str, Any] | None:
    """An error for other programs."""
    return {**_data(error.kind, error.message, error.position), "hint": error.hint} if error else None


def diagnostic_data(found: Diagnostic) -> dict[str, Any]:
    """What a check found, for other programs."""
    return {**_data(found.kind, found.message, found.position), "hint": found.hint, "blocks": found.blocks}


def _data(kind: str, message: str, at: Position | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "message": message,
        "line": at and at.line,
        "column": at and at.column,
        "source": at and at.source,
    }
