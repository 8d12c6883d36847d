"""What a document says about proving who calls: its schemes, and which of them an operation asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .operations import SecurityScheme
from .references import References

Alternatives = tuple[Mapping[str, tuple[str, ...]], ...]
"""Ways to be let in, each a mapping of scheme names to scopes."""

_MAX_SCHEMES = 50
_MAX_SCOPES = 500
_MAX_TEXT = 500


def read_schemes(document: Mapping[str, Any], references: References) -> dict[str, SecurityScheme]:
    """The security schemes that can be understood, by name."""
    declared = references.lookup("#/components/securitySchemes")
    found: dict[str, SecurityScheme] = {}
    for name, each in list(declared.items())[:_MAX_SCHEMES] if isinstance(declared, Mapping) else ():
        raw = references.resolve(each)
        scheme = _scheme(raw) if raw is not None else None
        if isinstance(name, str) and scheme is not None:
            found[name] = scheme
    return found


def read_requirements(raw: Any) -> Alternatives:
    """The alternatives of a `security` list; nonsense among them is passed over."""
    listed = raw[:_MAX_SCHEMES] if isinstance(raw, list) else []
    return tuple(_requirement(each) for each in listed if isinstance(each, Mapping))


def _requirement(raw: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(scope for scope in scopes[:_MAX_SCOPES] if isinstance(scope, str))
        if isinstance(scopes, list)
        else ()
        for name, scopes in raw.items()
        if isinstance(name, str)
    }


def _scheme(raw: Mapping[str, Any]) -> SecurityScheme | None:
    kind = raw.get("type")
    if kind == "apiKey":
        place, name = raw.get("in"), raw.get("name")
        if (place == "query" or place == "header" or place == "cookie") and isinstance(name, str) and name:
            return SecurityScheme("apiKey", place, name[:_MAX_TEXT])
        return None
    if kind == "http" or kind == "oauth2" or kind == "openIdConnect" or kind == "mutualTLS":
        return SecurityScheme(kind)
    return None
