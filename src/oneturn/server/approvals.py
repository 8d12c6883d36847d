"""Approvals over HTTP: looking at what waits and deciding about it, for people and not for clients.

Three doors on one host, each with a lock of its own: an approver's token; a login whose token has the scope
`oneturn.approve`; a webhook's signature. Who made a run decides about none of its calls.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, get_args

from fastmcp import FastMCP
from fastmcp.server.auth import AccessToken
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..app import CodeMode
from ..approval_text import approval_line, approval_text, filed_data
from ..errors import ConfigError, DecisionRefused, JournalError
from ..journal.approvals import Filed
from ..journal.rows import ApprovalStatus
from ..types import Decision
from .calls import identity, told
from .word import Word, checked

if TYPE_CHECKING:
    from .webhook import Messenger

SCOPE = "oneturn.approve"
"""What a login's token must have in its scopes."""

_BODY = 1024 * 1024  # bytes
_MOST = 200  # approvals that the app lists at once


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Desk:
    """Answers the requests of those who decide.

    Args:
        app: Whose approvals they are.
        auth: The server's auth provider, for logins.
        token: The approver's token; with it, nothing else lets anybody in here.
        messenger: Reads what a webhook's receiver sends back.
    """

    def __init__(self, app: CodeMode, auth: Any, token: str | None, messenger: Messenger | None) -> None:
        self._app = app
        self._auth = auth
        self._token = token.encode() if token is not None else None
        self._messenger = messenger

    def add_to(self, server: FastMCP[None]) -> None:
        """Offer what there is a lock for; without any, nothing."""
        if self._messenger is not None:
            server.custom_route("/approvals/callback", ["POST"])(_answering(self._called_back))
        if self._token is not None or self._auth is not None:
            server.custom_route("/approvals", ["GET"])(_answering(self._list))
            server.custom_route("/approvals/{approval_id}", ["GET"])(_answering(self._show))
            server.custom_route("/approvals/{approval_id}", ["POST"])(_answering(self._decide))

    async def _list(self, request: Request) -> Any:
        await self._who(request)
        status = request.query_params.get("status", "pending")
        if status not in (*get_args(ApprovalStatus), "all"):
            raise _Refused(
                400, f"There is no status {status[:50]!r}; use {', '.join(get_args(ApprovalStatus))}."
            )
        filed = await self._app.approvals(status=None if status == "all" else status)  # type: ignore[arg-type]
        return {"approvals": [_summary(each) for each in filed], "more": len(filed) >= _MOST}

    async def _show(self, request: Request) -> Any:
        await self._who(request)
        filed = await self._filed(request.path_params["approval_id"])
        return {**filed_data(filed), "text": approval_text(filed.approval)}

    async def _decide(self, request: Request) -> Any:
        who = await self._who(request)
        filed = await self._filed(request.path_params["approval_id"])
        if _same(who, filed.approval.caller):
            raise _Refused(403, "Your client made the run that asks; somebody else has to decide.")
        word = checked(Word, await _body(request))
        return await self._put(filed, word.decision(who))

    async def _called_back(self, request: Request) -> Any:
        assert self._messenger is not None, "else there is no such route"
        word = self._messenger.read(await _body(request), request.headers)
        with self._messenger.once(request.headers):
            return await self._put(await self._filed(word.approval), word.decision(f"{word.by} (webhook)"))

    async def _put(self, filed: Filed, decision: Decision) -> Any:
        return _summary(await self._app.decide(filed.approval.id, decision))

    async def _filed(self, approval_id: str) -> Filed:
        try:
            return await self._app.approval(approval_id)
        except DecisionRefused:
            raise _Refused(404, "There is no such approval.") from None

    async def _who(self, request: Request) -> str:
        """Who makes a request. Raises _Refused for everybody who may not decide."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise _Refused(401, "Send a bearer token.")
        if self._token is not None:
            if not hmac.compare_digest(secret.encode("utf-8", "surrogateescape"), self._token):
                raise _Refused(401, "The token is not the approver's.")
            return "approver"
        token: AccessToken | None = await self._auth.verify_token(secret)
        if token is None:
            raise _Refused(401, "The token is not valid.")
        if not {SCOPE, *self._auth.required_scopes} <= set(token.scopes):
            raise _Refused(403, f"The token does not have the scope {SCOPE}.")
        return identity(token)


def _answering(handle: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """A handler whose refusals are answers too."""

    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await handle(request), headers={"cache-control": "no-store"})
        except _Refused as refused:
            status, why = refused.status, str(refused)
        except PermissionError as error:
            status, why = 401, str(error)
        except ConfigError as error:
            status, why = 400, str(error)
        except DecisionRefused as error:
            status, why = 409, str(error)
        except JournalError as error:
            status, why = 503, told(error)
        headers = {"www-authenticate": "Bearer"} if status == 401 else None
        return JSONResponse({"error": why}, status, headers)

    return answer


async def _body(request: Request) -> bytes:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _BODY:
            raise _Refused(413, f"A decision takes at most {_BODY:,} bytes.")
    return data


def _summary(filed: Filed) -> dict[str, Any]:
    """How an approval stands, without its arguments, which may be large."""
    data = filed_data(filed)
    del data["arguments"]
    return {**data, "summary": approval_line(filed.approval)}


def _same(one: str, other: str) -> bool:
    """Whether two identities may be one party: the same client, and not two users it tells apart."""
    client, _, user = one.partition("/")
    their_client, _, their_user = other.partition("/")
    return client == their_client and (user == their_user or not user or not their_user)
