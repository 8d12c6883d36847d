"""`oneturn.lock`: the pins of the tools somebody accepted, one line for each, made to be reviewed.

Sources are tables, and every line is a tool's name and the hash of its definition, in order. The
file is read whole or not at all: what is not understood is an error, never an empty lock.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import ConfigError

FILE_NAME = "oneturn.lock"

_VERSION = 1
_HEADER = """\
# The definitions of tools that somebody accepted, as hashes. Written by `oneturn tools pin` and
# `oneturn tools accept`. Commit it: a tool that is not defined as it says is not offered.
"""
_PIN = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Lock:
    """Pins by source and tool name. A source that is named here is locked, also one without tools."""

    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def owners(self) -> Mapping[str, tuple[str, str]]:
        """The source and the pin of each tool name."""
        return {name: (source, pin) for source, pins in self.sources.items() for name, pin in pins.items()}

    def changed(self, source: str, pins: Mapping[str, str | None]) -> Lock:
        """A lock that names `source`, with these pins of its tools; None takes a name out everywhere."""
        kept = {
            other: {name: pin for name, pin in found.items() if name not in pins}
            for other, found in self.sources.items()
        }
        added = {name: pin for name, pin in pins.items() if pin is not None}
        return Lock({**kept, source: {**kept.get(source, {}), **added}})


def read(path: Path) -> Lock | None:
    """The lock in a file; None when there is no file.

    Raises:
        ConfigError: It cannot be read, or is not a lock that this version understands.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not valid TOML ({error})") from None
    version = content.pop("version", None)
    if version != _VERSION:
        raise _damaged(path, f"it says version = {version!r}, and this oneturn reads version = {_VERSION}")
    sources = content.pop("sources", {})
    if content or not isinstance(sources, dict):
        raise _damaged(path, "it holds more than version and [sources.…] tables")
    return Lock(_checked(path, sources))


def _checked(path: Path, content: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    owners: dict[str, str] = {}
    for source, pins in content.items():
        if not isinstance(pins, dict):
            raise _damaged(path, f"{source!r} is no table of tools")
        for name, pin in pins.items():
            if not isinstance(pin, str) or not _PIN.fullmatch(pin):
                raise _damaged(path, f"the pin of {name!r} is no SHA-256 hash in hexadecimal")
            if name in owners:
                raise _damaged(path, f"{name!r} is pinned for both {owners[name]!r} and {source!r}")
            owners[name] = source
    return content


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} cannot be used: {why}. Bring back the version you committed, or delete the file and "
        "look at every tool before `oneturn tools pin` writes it anew."
    )


def write(path: Path, lock: Lock) -> None:
    """Put a lock in place of the file, at once or not at all.

    Raises:
        ConfigError: It cannot be written; the file is as it was.
    """
    lines = [_HEADER, f"version = {_VERSION}\n"]
    for source in sorted(lock.sources):
        pins = lock.sources[source]
        lines.append(f"\n[sources.{quoted(source)}]\n")
        lines += [f'{quoted(name)} = "{pins[name]}"\n' for name in sorted(pins)]
    target = path.resolve()  # a link stays a link
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{FILE_NAME}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)
            # A new file gets the rights of any other; a private one would not survive a checkout.
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
            Path(temporary).chmod(mode)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None


def quoted(text: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
