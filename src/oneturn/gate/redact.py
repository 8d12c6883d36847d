"""Error text from tools, made fit for a script and a model: no secrets, no host paths, capped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_CAP = 2_000
_MASK = "[redacted]"
_LONGEST = 256  # characters of a credential we were not told
# Credentials we can recognise without having been told them.
_PATTERNS = (
    re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}"),
    re.compile(r"\b(sk|pk|rk|ghp|gho|ghs|ghu|github_pat|glpat|xox[abprs]|hf)[-_][A-Za-z0-9_-]{10,}"),
    re.compile(r"\bA(KI|SI)A[A-Z0-9]{16}\b"),
    re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
)
# A value that is named as a credential: `API_KEY=…`, `"token": "…"`. The name stays, for the reader.
_NAMED = re.compile(
    r"(?i)(\b(?:[a-z0-9]{1,40}[_-]){0,4}"
    r"(?:api[_-]?key|access[_-]?key|private[_-]?key|token|secret|password|passwd|authorization)"
    r"[\"']?\s{0,3}[=:]\s{0,3}[\"']?)(?:(?:bearer|basic|token)\s{1,3})?[^\s\"',;&]{4,}"
)
# Absolute paths of two or more parts. What follows a word, a dot, a slash or a bracket is the rest
# of something else: a URL after its host, a relative path. `file://` leads to the host, though.
_POSIX = re.compile(r"(?:\bfile:(?://[\w.-]*)?|(?<![\w/.~%]))(/[\w.@+~%=$-]+(?:/+[\w.@+~%=$-]+)+/?)")
_WINDOWS = re.compile(
    r"\b[A-Za-z]:(?:\\|/(?!/))[\w .@+~$()\\/-]+|(?<!\\)\\{2,4}[\w.$-]+\\{1,2}[\w .@+~$()\\-]+"
)
# Text such as `/users/7/orders` is a file or a route of an API, and a route helps whoever reads it.
# It is a file when it begins where file systems do, has a hidden part, or ends in a file extension.
_FILE = re.compile(
    r"\A/(?:Applications|Library|System|Users|Volumes|app|bin|boot|builds?|cache|code|data|dev|etc|home|lib\w*"
    r"|media|mnt|nix|opt|private|proc|root|run|sbin|scratch|snap|srv|src|sys|tmp|usr|var|work\w*)/|/\."
)
_EXTENSION = re.compile(r"\.[A-Za-z]\w{0,9}[./]{0,3}\Z")
_ROUTE = re.compile(r"/(?:api|v\d{1,3})/")
# Objects and functions of the host, by their qualified names and addresses.
_LOCAL = re.compile(r"(?<![\w.])[\w.]+<locals>(?:[\w.]|<\w+>)*")
_OBJECT = re.compile(r"<[^<>\n]{1,300} at 0x[0-9a-fA-F]{1,16}>")


def _path(found: re.Match[str]) -> str:
    path = found[1]
    plain = path == found[0]  # not after `file:`
    if plain and not _FILE.search(path) and (_ROUTE.match(path) or not _EXTENSION.search(path)):
        return path
    return "[path]"


def _exactly(secret: str) -> str:
    return re.escape(secret) if len(secret) >= 6 else rf"(?<!\w){re.escape(secret)}(?!\w)"


def _forms(secret: str) -> set[str]:
    """A secret as it may stand in JSON, and in the text of Python values in JSON."""
    forms = {secret, repr(secret)[1:-1]}
    forms |= {
        json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (True, False)
    }
    return {form for form in forms if len(form) >= 4}


class Redactor:
    """Takes out what the host knows to be secret and what looks like a credential or a host path.

    Args:
        secrets: Exact strings to remove. Those under 6 characters go only where they stand as a
            word of their own, and those under 4 are ignored: removing them would garble
            ordinary text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)
        self._known = re.compile("|".join(map(_exactly, known))) if known else None
        spelled = {form for secret in known for form in _forms(secret)}
        longest_first = sorted(spelled, key=len, reverse=True)
        self._spelled = re.compile("|".join(map(_exactly, longest_first))) if known else None
        self._margin = max([_LONGEST, *map(len, known)])

    @property
    def knows(self) -> bool:
        """Whether there is anything it was told."""
        return self._known is not None

    def is_in(self, text: str) -> bool:
        """Whether a text, JSON perhaps, holds something it was told."""
        return self._spelled is not None and self._spelled.search(text) is not None

    def cleaned(self, value: Any) -> Any:
        """A plain value, however large, without what it was told and with everything else as it is."""
        assert self._spelled is not None, "only asked when something is in it"
        if isinstance(value, str):
            return self._spelled.sub(_MASK, value)
        if isinstance(value, Mapping):
            return {self.cleaned(key): self.cleaned(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.cleaned(part) for part in value]
        if isinstance(value, bytes):
            return self.cleaned(value.decode("latin-1")).encode("latin-1", "replace")
        return _MASK if isinstance(value, int | float) and self.is_in(repr(value)) else value

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
        text = _OBJECT.sub("[object]", _LOCAL.sub("[local]", text))
        text = _POSIX.sub(_path, _WINDOWS.sub("[path]", text))
        if cut:
            text = text[: -self._margin]
        return text if len(text) <= cap and not cut else f"{text[:cap]}…"
