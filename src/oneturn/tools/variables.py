"""`${VAR}` in settings, filled in from the environment, and which of the values are secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD|AUTH|CREDENTIAL", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_LONG_VALUE = 16  # an environment value this long is taken for a secret whatever its name
_SHORTEST_SECRET = 4  # hiding "1" or "yes" would garble every text and protect nothing


def expand(text: str, hidden: list[str], wrong: Callable[[str], Exception]) -> str:
    """`text` with `${VAR}`, `${env:VAR}` and `${VAR:-default}` filled in.

    Args:
        text: What stands in the settings.
        hidden: Gets the values that are secrets.
        wrong: Makes the error to raise from what is wrong.
    """

    def fill(match: re.Match[str]) -> str:
        named = _VARIABLE_NAME.fullmatch(match[1])
        if named is None:
            raise wrong(f"has {match[0]}, which cannot be filled in; use ${{env:NAME}}")
        value = os.environ.get(named[1], named[2])
        if value is None:
            raise wrong(f"needs the environment variable {named[1]}, which is not set")
        if is_secret(named[1], value):
            hidden.append(value)
        return value

    return _VARIABLE.sub(fill, text)


def is_secret(name: str, value: str) -> bool:
    """Whether a value configured under this name is taken for a secret."""
    return bool(_SECRET_NAME.search(name)) or len(value) >= _LONG_VALUE


def worth_hiding(values: Iterable[str]) -> tuple[str, ...]:
    """Those values that are long enough to be hidden wherever they appear, the longest first."""
    return tuple(sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True))
