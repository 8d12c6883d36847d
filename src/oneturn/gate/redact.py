"""Error text from tools, made fit for a script and a model: no secrets, no host paths, capped."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CAP = 2_000
_MASK = "[redacted]"
# Credentials we can recognise without having been told them.
_PATTERNS = (
    re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}"),
    re.compile(r"\b(sk|pk|rk|ghp|gho|ghs|ghu|github_pat|glpat|xox[abprs]|hf)[-_][A-Za-z0-9_-]{10,}"),
    re.compile(r"\bA(KI|SI)A[A-Z0-9]{16}\b"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
    re.compile(
        r"(?i)(?<=[\s,;({\"'&?])(?:api[_-]?key|access[_-]?token|token|secret|password|passwd|authorization)"
        r"[\"']?\s*[=:]\s*[\"']?[^\s\"',;&]{4,}"
    ),
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

    def text(self, text: str, cap: int = _CAP) -> str:
        """`text` without secrets and host paths, at most about `cap` characters."""
        # Cut with room to spare first, so that a huge text is not searched whole, and again at
        # the end; a secret that the first cut splits falls into the part the second drops.
        text = text[: cap * 2]
        if self._known is not None:
            text = self._known.sub(_MASK, text)
        for pattern in _PATTERNS:
            text = pattern.sub(_MASK, text)
        text = _PATH.sub("[path]", text)
        return text if len(text) <= cap else f"{text[:cap]}…"
