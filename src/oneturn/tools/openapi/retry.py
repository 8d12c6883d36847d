"""When a request is sent again: what may be repeated, how often, and how long to wait before.

A request that surely never left may always be repeated. One that may have arrived is repeated only
when the caller says that it only reads. `Retry-After` is honoured, in both its forms, as long as the
wait fits into the time there is; if not, the answer is handed on at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, retry_if_result
from tenacity.stop import stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from .network import ConnectionBroke, Response, Unreachable

BUSY = frozenset({429, 502, 503, 504})
"""Statuses that say: not now."""

_PATIENCE = 30.0  # seconds all tries may take when a call has no deadline of its own
_BACKOFF = wait_random_exponential(multiplier=0.25, max=8.0)


async def with_retries(
    send: Callable[[], Awaitable[Response]], *, repeatable: bool, retries: int, patience: float | None
) -> Response:
    """Send, and again as far as that is safe; the last answer or failure is the caller's.

    Args:
        send: Sends the request once.
        repeatable: Whether it may be sent again although it may have arrived.
        retries: How often it is sent again at most.
        patience: Seconds after which no new try begins; None means 30.
    """
    again = retry_if_exception_type((Unreachable, ConnectionBroke) if repeatable else Unreachable)
    retrying = AsyncRetrying(
        retry=again | retry_if_result(_is_busy) if repeatable else again,
        stop=stop_after_attempt(retries + 1) | stop_before_delay(_PATIENCE if patience is None else patience),
        wait=_wait,
        retry_error_callback=_last,
    )

    async def once() -> Response:  # what tenacity awaits must be a coroutine function itself
        return await send()

    answer: Response = await retrying(once)
    return answer


def retry_after(response: Response) -> float | None:
    """Seconds the API asks to wait, from now; None when it does not say, or not legibly."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _is_busy(response: Response) -> bool:
    return response.status in BUSY


def _wait(state: RetryCallState) -> float:
    outcome = state.outcome
    if outcome is not None and not outcome.failed:
        asked = retry_after(outcome.result())
        if asked is not None:
            return asked
    return float(_BACKOFF(state))


def _last(state: RetryCallState) -> Response:
    assert state.outcome is not None
    answer: Response = state.outcome.result()
    return answer
