"""Webhooks: word of calls that wait, signed, to where people are; and their signed answers.

Both ways it is the Standard Webhooks scheme, with one secret: an id, a time and a body, signed together.
What comes back must be fresh, and each id counts once: from when what it says is on record, so that a message
that could not be recorded can be sent again. A message of ours that somebody sends back to us is no
answer, because answers have a type of their own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
from standardwebhooks import Webhook as Signer
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from ..approval_text import approval_data, approval_line, approval_text
from ..errors import DecisionRefused
from ..journal.approvals import Filed
from . import Webhook
from .word import SignedWord, checked

log = logging.getLogger("oneturn.server")

_TRIES = 6
_BACKOFF = wait_random_exponential(multiplier=0.5, max=30)
_TIMEOUT = 10.0  # seconds for one try
_AT_ONCE = 4
_LARGE = 256 * 1024  # characters of arguments as JSON from which they are not sent along
_FRESH = 600.0  # seconds an id is remembered; a message counts for 300 either way
_IDS = 10_000


class _NotTaken(Exception):
    """The receiver did not take a message, and may take it later."""


class Messenger:
    """Sends word of what waits and reads what comes back.

    Args:
        webhook: Where to, and the secret.
    """

    def __init__(self, webhook: Webhook) -> None:
        self._url = webhook.url
        self._signer = Signer(webhook.secret)
        self._told: set[str] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._used: OrderedDict[str, float] = OrderedDict()
        self._at_work: set[str] = set()

    def tell(self, waiting: Collection[Filed]) -> None:
        """Send word of those that were not told yet; all that wait must be among `waiting`."""
        self._told &= {filed.approval.id for filed in waiting}
        for filed in waiting:
            if filed.approval.id not in self._told:
                self._told.add(filed.approval.id)
                task = asyncio.create_task(self._send(filed))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Give up on what is under way; it is sent again by the next server."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, filed: Filed) -> None:
        body = json.dumps(_message(filed))
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_TRIES), wait=_BACKOFF, retry=retry_if_exception_type(_NotTaken)
        )
        async with self._places, httpx2.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as http:
            try:
                await retrying(self._post, http, filed.approval.id, body)
            except RetryError as error:
                why = error.last_attempt.exception()
                log.warning("no word of %s could be sent to the webhook: %s", filed.approval.id, why)
            except Exception as error:
                log.warning("no word of %s could be sent: %s", filed.approval.id, type(error).__name__)

    async def _post(self, http: httpx2.AsyncClient, message: str, body: str) -> None:
        now = datetime.now(UTC)  # signed anew each time: a late try must not look like a replay
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(message, now, body),
        }
        try:
            response = await http.post(self._url, content=body, headers=headers)
        except httpx2.HTTPError as error:
            raise _NotTaken(type(error).__name__) from None
        if response.is_success:
            return
        if response.status_code in (408, 425, 429) or response.status_code >= 500:
            raise _NotTaken(f"it answered {response.status_code}")
        log.warning("the webhook refused word of %s with %d", message, response.status_code)

    def read(self, body: bytes, headers: Mapping[str, str]) -> SignedWord:
        """The word in a message that came back.

        Raises:
            PermissionError: It is not signed with our secret, or not fresh.
            ConfigError: It is signed, and says something else than a word.
        """
        try:
            self._signer.verify(body, dict(headers))
        except Exception:  # the library raises many kinds for what is malformed
            raise PermissionError(
                "The message is not signed with the webhook's secret, or not fresh."
            ) from None
        word = checked(SignedWord, body)
        assert isinstance(word, SignedWord)
        return word

    @contextmanager
    def once(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Around acting on a message that was read. Its id is used up when this ends without an exception.

        Raises:
            DecisionRefused: A message with this id was acted on, or is being acted on.
        """
        message, now = headers["webhook-id"], time.monotonic()
        while self._used and (len(self._used) >= _IDS or next(iter(self._used.values())) < now - _FRESH):
            self._used.popitem(last=False)
        if message in self._used:
            raise DecisionRefused(f"The message {message[:100]} was read already; what it said stands.")
        if message in self._at_work:
            raise DecisionRefused(f"The message {message[:100]} is being read already.")
        self._at_work.add(message)
        try:
            yield
            self._used[message] = time.monotonic()
        finally:
            self._at_work.discard(message)


def _message(filed: Filed) -> dict[str, Any]:
    approval = filed.approval
    data = approval_data(approval)
    if len(json.dumps(data["arguments"])) > _LARGE:
        data["arguments"] = None
        data["left_out"] = "arguments"
    return {
        "type": "approval.pending",
        "timestamp": datetime.fromtimestamp(filed.asked, UTC).isoformat(),
        "data": {**data, "summary": approval_line(approval), "text": approval_text(approval)},
    }
