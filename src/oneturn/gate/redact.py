"""Error text from tools, made fit for a script and a model: no secrets, no host paths, capped."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CAP = 2_000
_MASK = "[redacted]"
_LONGEST = 256  # characters of a credential we were not told
# Credentials we can recognise without having been told them.
_PATTERNS = (
    re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}"),
    re.compile(r"\b(sk|pk|rk|ghp|gho|ghs|ghu|github_pat|glpat|xox[abprs]|hf)[-_][A-Za-z0-9_-]{10,}"),
    re.compile(r"\bA(KI|SI)A[A-Z0-9]{16}\b"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
)
# A value that is named as a credential: `API_KEY=…`, `"token": "…"`. The name stays, for the reader.
_NAMED = re.compile(
    r"(?i)(\b(?:[a-z0-9]{1,40}[_-]){0,4}"
    r"(?:api[_-]?key|access[_-]?key|private[_-]?key|token|secret|password|passwd|authorization)"
    r"[\"']?\s{0,3}[=:]\s{0,3}[\"']?)(?:(?:bearer|basic|token)\s{1,3})?[^\s\"',;&]{4,}"
)
# Absolute paths of the host. Short ones such as "/" or "/api" are more often URLs than files.
_PATH = re.compile(
    r"(?<![\w:/.])/(?:home|root|usr|etc|var|opt|tmp|srv|mnt|proc|sys|dev|Users|private|lib\w*|app|work\w*)"
    r"(?:/[\w.@+~-]+)+/?|\b[A-Za-z]:\\(?:[\w .@+~-]+\\?)+"
)


class Redactor:
    """Takes out what the host knows to be secret and what looks like a credential or a host path.

    Args:
        secrets: Exact strings to remove; those under 6 characters are ignored, since removing
            them would garble ordinary text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._margin = max([_LONGEST, *map(len, known)])

    def text(self, text: str, cap: int = _CAP) -> str:
        """`text` without secrets and host paths, at most about `cap` characters."""
        # A huge text is not searched whole. The cut may split a secret, so the end of what was
        # searched is dropped as well.
        searched = cap * 2 + self._margin
        cut = len(text) > searched
        text = text[:searched]
        if self._known is not None:
            text = self._known.sub(_MASK, text)
        for pattern in _PATTERNS:
            text = pattern.sub(_MASK, text)
        text = _NAMED.sub(rf"\1{_MASK}", text)
        text = _PATH.sub("[path]", text)
        if cut:
            text = text[: -self._margin]
        return text if len(text) <= cap and not cut else f"{text[:cap]}…"
