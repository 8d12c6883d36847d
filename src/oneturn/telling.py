"""What a model is told of a run's calls, and how text from outside is shown to it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii

from .tokens import cut
from .types import CallRecord, Outcome

ERROR_CHARS = 120
"""Characters shown of a call's error, and of other words of somebody else's."""
_GROUPS = 20
_LATER = re.compile(r"its work is done again by (run_[0-9a-f]+)")
# Controls but \n and \t, surrogates, and what Unicode draws as nothing. Emoji and some scripts need the
# joiners and the emoji selector, so those stay, but not in runs long enough to carry a hidden text.
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
    r"|(?<=[\u200c\u200d\ufe0f]{2})[\u200c\u200d\ufe0f]+"
)


def calls_text(outcome: Outcome, max_tokens: int) -> str:
    """The calls worth telling: those that did not go well, and after a failure all of them."""
    done = [call for call in outcome.calls if call.status == "ok"]
    troubled = [call for call in outcome.calls if call.status in ("failed", "unknown")]
    not_made = [call for call in outcome.calls if call.status in ("refused", "cancelled")]
    writes = [call for call in done + troubled if call.effect != "read"]
    lines = []
    if done and not outcome.ok:
        lines.append(f"already done: {_grouped(done)}")
    if troubled:
        lines.append(f"did not succeed: {_grouped(troubled)}")
    if not_made:
        why = " (cancelled calls were never awaited)" if outcome.ok and _any(not_made, "cancelled") else ""
        lines.append(f"not done: {_grouped(not_made)}{why}")
    lines = [cut(each, max_tokens // 2, "list of calls", "the first and last are shown") for each in lines]
    is_done = not outcome.ok and _any(writes, "ok")
    if is_done:
        lines.append("Writes that are done are not undone: do not repeat them, go on from what they did.")
    if _any(writes, "unknown"):
        lines.append("Calls marked unknown may or may not have taken effect: check before repeating them.")
    again = retry_id(outcome)
    if again and again != outcome.run_id:
        lines.append(f'To retry, retry the run that does this one\'s work again: retry_of="{again}".')
    elif again:
        unsure = " What is marked unknown is sent again only when a person agrees, or when that is safe."
        lines.append(
            f'{"Or correct" if is_done else "Correct"} the script and run it whole with retry_of="{again}": '
            "what is done is then answered from the record and not repeated."
            f"{unsure if _any(writes, 'unknown') else ''}"
        )
    return "\n".join(lines)


def retry_id(outcome: Outcome) -> str:
    """The run that a corrected script had better name as the one it retries; empty when none.

    That is this one when it changed something, or the one that does its work again already.
    """
    error = outcome.error
    if not outcome.recorded or outcome.status not in ("failed", "cancelled"):
        return ""
    if outcome.status == "cancelled" and error is not None and error.kind == "Superseded":
        later = _LATER.fullmatch(error.message)
        return later[1] if later else ""
    changed = any(call.effect != "read" and call.status in ("ok", "unknown") for call in outcome.calls)
    return outcome.run_id if changed else ""


def _any(calls: Sequence[CallRecord], status: str) -> bool:
    return any(call.status == status for call in calls)


def _grouped(calls: Sequence[CallRecord]) -> str:
    """Calls in a line, equal ones counted; when there are too many kinds, reads are left out first."""
    groups = Counter(_entry(call) for call in calls)
    risky = {_entry(call) for call in calls if call.effect != "read"}
    kept = sorted(groups, key=lambda entry: entry not in risky)[:_GROUPS]
    shown = [
        f"{entry} ×{groups[entry]:,}" if groups[entry] > 1 else entry for entry in groups if entry in kept
    ]
    left_out = len(calls) - sum(groups[entry] for entry in kept)
    return "; ".join(shown) + (f"; and {left_out:,} more calls" if left_out else "")


def _entry(call: CallRecord) -> str:
    tool = line(call.tool, ERROR_CHARS)
    if call.effect == "read" and call.status == "ok":
        return f"{tool} (read, cached)" if call.cached else f"{tool} (read)"
    if call.reused:
        return f"{tool} ({call.effect}, done by the earlier run)"
    place = f", line {call.position.line}" if call.position else ""
    error = f": {line(call.error, ERROR_CHARS)}" if call.error else ""
    return f"{tool} ({call.effect}, {call.status}{place}{error})"


def visible(text: str) -> str:
    """`text` with every character that hides or reorders text spelled out; newlines and tabs stay."""
    return _HIDDEN.sub(lambda found: encode_basestring_ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def line(text: str, limit: int) -> str:
    """`text` as one visible line of at most `limit` characters."""
    return short(visible(" ".join(text.split())), limit)


def short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
