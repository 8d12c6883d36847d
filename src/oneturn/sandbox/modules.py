"""What a script may import in full Python: the safe part of the standard library, and what was configured.

The list is a courtesy to whoever reads an error, and no wall: the walls stand round the process. What is
left out would only fail later and less clearly, as there are no files, network, processes or threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SAFE = (
    "__future__", "abc", "argparse", "array", "ast", "asyncio", "base64", "binascii", "bisect", "builtins",
    "bz2", "calendar", "cmath", "codecs", "collections", "colorsys", "configparser",
    "contextlib", "contextvars", "copy", "copyreg", "csv", "dataclasses", "datetime", "decimal", "difflib",
    "email", "enum", "errno", "fnmatch", "fractions", "functools", "gc", "graphlib", "gzip", "hashlib",
    "heapq", "hmac", "html", "inspect", "io", "ipaddress", "itertools", "json", "keyword", "locale",
    "logging", "lzma", "math", "mimetypes", "ntpath", "numbers", "operator", "os", "pathlib", "pickle",
    "platform", "posixpath", "pprint", "queue", "quopri", "random", "re", "reprlib", "sched", "secrets",
    "shlex", "statistics", "string", "stringprep", "struct", "sys", "textwrap", "time", "timeit",
    "tokenize", "tomllib", "traceback", "types", "typing", "unicodedata", "unittest", "urllib.parse", "uuid",
    "warnings", "weakref", "xml", "zipfile", "zlib", "zoneinfo",
)  # fmt: skip
"""Dotted names, each with all below it. Of `os` and `pathlib` works what needs no files."""

HINTS: Mapping[str, str] = {
    **dict.fromkeys(
        ("socket", "ssl", "http", "urllib", "requests", "httpx", "aiohttp"),
        "there is no network; call a tool",
    ),
    **dict.fromkeys(("shutil", "tempfile", "glob"), "there are no files; call a tool"),
    **dict.fromkeys(("subprocess", "multiprocessing", "pty"), "there are no processes; call a tool"),
    **dict.fromkeys(("threading", "concurrent", "_thread"), "there are no threads; use asyncio.gather"),
}
"""What to use instead of a module that is not there, by its first name."""


def importable(name: str, allowed: Iterable[str]) -> bool:
    """Whether a module, or one it is in, is among those allowed, or is made of tools."""
    parts = name.split(".")
    if parts[0] in ("tools", "runtime"):
        return True
    known = frozenset(allowed)
    return any(".".join(parts[:count]) in known for count in range(1, len(parts) + 1))


def allowed(imports: Iterable[str] = ()) -> tuple[str, ...]:
    """The names a script may import when these are configured."""
    return tuple(sorted({*SAFE, *imports}))
