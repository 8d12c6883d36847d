"""Reading the text of an OpenAPI document: JSON or YAML, from a stranger, into plain bounded JSON values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import SourceError
from .plain_yaml import read_yaml

MAX_CHARACTERS = 64 * 1024 * 1024
"""Characters of one document."""

_MAX_YAML = 24 * 1024 * 1024  # characters


def load_document(source: str | bytes | Path) -> Mapping[str, Any]:
    """The document in a text, or in the file of a path.

    Raises:
        SourceError: The file cannot be read, the text is neither JSON nor YAML, is too large or too
            deep, or is not an OpenAPI 3 document.
    """
    text = _text(source)
    if len(text) > MAX_CHARACTERS:
        raise SourceError(
            f"The OpenAPI document has {len(text):,} characters, and {MAX_CHARACTERS:,} is the most; "
            "take out the parts you do not need."
        )
    document = _parsed(text.lstrip("\ufeff"))
    check_document(document)
    return document  # type: ignore[no-any-return]


def check_document(document: Any) -> None:
    """Refuse what is not an OpenAPI 3 document.

    Raises:
        SourceError: It is something else; the message says what.
    """
    if not isinstance(document, Mapping):
        raise SourceError("The OpenAPI document is not an object; give the address or path of the document.")
    version = document.get("openapi")
    if "swagger" in document and version is None:
        raise SourceError(
            "This is a Swagger 2.0 document, and only OpenAPI 3.0 and 3.1 can be read; "
            "convert it to 3.0, for example with swagger2openapi."
        )
    if not isinstance(version, str | int | float) or not str(version).startswith("3"):
        raise SourceError(
            f"This is not an OpenAPI 3 document: its `openapi` is {str(version)[:40]!r}; "
            "give a document of OpenAPI 3.0 or 3.1."
        )


def _text(source: str | bytes | Path) -> str:
    try:
        if isinstance(source, Path):
            if source.stat().st_size > 4 * MAX_CHARACTERS:
                raise SourceError(f"The OpenAPI document {source} is too large to be read.")
            source = source.read_bytes()
        return source if isinstance(source, str) else source.decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"The OpenAPI document cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"The OpenAPI document is not UTF-8 text ({error}); save it as UTF-8.") from error


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda word: None, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        problem = error
    if text.lstrip()[:1] in ("<", ""):
        raise SourceError(
            "The OpenAPI document is empty or a web page; give the address of the document itself."
        )
    if len(text) > _MAX_YAML:
        raise SourceError(
            f"The OpenAPI document is not JSON ({problem}), and too large to be read as YAML; "
            "convert it to JSON."
        )
    try:
        return read_yaml(text)
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]
        raise SourceError(f"The OpenAPI document is neither JSON nor YAML: {reason}.") from None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _too_deep() -> SourceError:
    return SourceError("The OpenAPI document is nested too deep to be read; make it flatter.")
