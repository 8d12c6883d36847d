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
        place, name = raw.get("in"), _text(raw, "name")
        if place == "query" or place == "header" or place == "cookie":
            return SecurityScheme("apiKey", place, name) if name else None
        return None
    if kind == "http":
        return SecurityScheme("http", scheme=_text(raw, "scheme").lower())
    if kind == "oauth2":
        return _oauth2(raw.get("flows"))
    if kind == "openIdConnect" or kind == "mutualTLS":
        return SecurityScheme(kind, open_id_url=_text(raw, "openIdConnectUrl"))
    return None


def _oauth2(flows: Any) -> SecurityScheme:
    declared = flows if isinstance(flows, Mapping) else {}
    known = ("clientCredentials", "authorizationCode", "password", "implicit")
    found = {flow: declared[flow] for flow in known if isinstance(declared.get(flow), Mapping)}
    addresses = [_text(flow, "tokenUrl") for flow in found.values()]
    scopes: dict[str, str] = {}
    for flow in found.values():
        named = flow.get("scopes")
        for name, says in list(named.items())[:_MAX_SCOPES] if isinstance(named, Mapping) else ():
            if isinstance(name, str):
                scopes.setdefault(name[:_MAX_TEXT], says[:_MAX_TEXT] if isinstance(says, str) else "")
    return SecurityScheme(
        "oauth2", token_url=next(filter(None, addresses), ""), flows=tuple(found), scopes=scopes
    )


def _text(raw: Mapping[str, Any], word: str) -> str:
    found = raw.get(word)
    return found[:_MAX_TEXT] if isinstance(found, str) else ""
