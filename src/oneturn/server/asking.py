"""Asking the user of a connected client for approval, through MCP's elicitation.

Clients that keep a connection are asked while the run waits at the call. Those of protocol 2026-07-28 and
later get the question as the result of their request and send the request again with the answer; the run is
put aside meanwhile. Either way the calls that wait together are one question, and only calls that were shown
can be decided by its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastmcp.server.dependencies import get_context
from fastmcp.tools.base import InputRequiredToolResult
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from ..app import CodeMode
from ..approval_text import ROOM, approval_line, approval_text
from ..errors import DecisionRefused
from ..run.order import Approver
from ..types import Approval, Decision, Outcome

log = logging.getLogger("oneturn.server")

PATIENCE = 50.0
"""Seconds a question stays open; below the 60 after which many clients give up on their request."""
MOST = 10
"""Calls in one question; those beyond wait for the next one."""

_KEY = "approvals"
_ALL, _NONE, _EACH = "approve all", "deny all", "one by one"


@dataclass(frozen=True, slots=True)
class Question:
    """Calls that wait, as an elicitation."""

    approvals: tuple[Approval, ...]

    @classmethod
    def about(cls, approvals: Sequence[Approval]) -> Question:
        """The first of these calls, as many as one question takes."""
        return cls(tuple(approvals[:MOST]))

    @property
    def message(self) -> str:
        """What the user reads."""
        number = len(self.approvals)
        what = "A tool call needs" if number == 1 else f"{number} tool calls need"
        told = [approval_text(each, room=ROOM // number) for each in self.approvals]
        return "\n\n".join([f"{what} your approval.", *told])

    @property
    def schema(self) -> dict[str, Any]:
        """What the user fills in."""
        several = len(self.approvals) > 1
        fields: dict[str, Any] = {
            "decision": {
                "type": "string",
                "title": "Decision",
                "enum": [_ALL, _NONE, _EACH] if several else ["approve", "deny"],
            }
        }
        if several:
            for number, approval in enumerate(self.approvals, 1):
                fields[f"call_{number}"] = {
                    "type": "boolean",
                    "title": f"Approve {number}: {approval_line(approval, 80)}",
                    "description": f"Counts only with '{_EACH}'.",
                    "default": False,
                }
        fields["reason"] = {"type": "string", "title": "Reason", "maxLength": 500}
        return {"type": "object", "properties": fields, "required": ["decision"]}

    def decisions(self, result: ElicitResult, by: str) -> list[Decision | None]:
        """What the user said about each call; None where that is nothing clear."""
        if result.action == "decline":
            return [Decision(False, by, "the user declined")] * len(self.approvals)
        if result.action != "accept":
            return [None] * len(self.approvals)
        said: Mapping[str, Any] = result.content or {}
        reason = str(said.get("reason") or "")[:500]
        return [
            None if word is None else Decision(word, by, reason)
            for word in (self._word(said, number) for number in range(1, len(self.approvals) + 1))
        ]

    def _word(self, said: Mapping[str, Any], number: int) -> bool | None:
        decision = said.get("decision")
        if len(self.approvals) == 1:
            return {"approve": True, "deny": False}.get(str(decision))
        if decision == _EACH:
            return said.get(f"call_{number}") is True
        return {_ALL: True, _NONE: False}.get(str(decision))


@dataclass(frozen=True, slots=True)
class User:
    """The user of the client whose request this is.

    `by` is how decisions name them: by the client's identity, for the transport knows nothing closer, but not
    by the very name its runs go by.
    """

    session: ServerSession
    request: str | int | None
    caller: str
    modern: bool

    @classmethod
    def of_request(cls, caller: str) -> User | None:
        """Whom the request under way lets us ask; None when its client cannot ask anybody."""
        context = get_context()
        if context.request_context is None:
            return None
        session = context.session
        said = session.client_capabilities
        able = said.elicitation if said is not None else None
        if able is None or (able.form is None and able.url is not None):
            return None
        modern = session.protocol_version in MODERN_PROTOCOL_VERSIONS
        return cls(session, context.request_id, caller, modern)

    @property
    def by(self) -> str:
        return f"user of {self.caller}"

    @property
    def approver(self) -> Approver | None:
        """Asks while the run waits; None when the client can only be asked in between."""
        return None if self.modern else self._ask

    async def _ask(self, approvals: Sequence[Approval]) -> Sequence[Decision | None]:
        question = Question.about(approvals)
        try:
            async with asyncio.timeout(PATIENCE):
                result = await self.session.elicit_form(question.message, question.schema, self.request)
        except (TimeoutError, MCPError) as error:
            log.info("the user of %s was not asked: %s", self.caller, type(error).__name__)
            return []
        return question.decisions(result, self.by)

    def question(self, outcome: Outcome) -> InputRequiredToolResult:
        """What the request results in, for a client that asks in between."""
        question = Question.about(outcome.pending)
        request = ElicitRequest(
            params=ElicitRequestFormParams(message=question.message, requested_schema=question.schema)
        )
        # FastMCP seals the state, and takes it back from the same client with the same request only.
        state = json.dumps([outcome.run_id, [each.id for each in question.approvals]])
        return InputRequiredToolResult(
            InputRequiredResult(input_requests={_KEY: request}, request_state=state)
        )

    async def answer(self, app: CodeMode) -> tuple[str, bool] | None:
        """Take the user's answer that came with the request.

        Returns:
            The run it is about, and whether anything was decided; None when the request brought no answer.
        """
        context = get_context()
        if not self.modern or context.request_state is None:
            return None
        run_id, asked = json.loads(context.request_state)
        result = (context.input_responses or {}).get(_KEY)
        if not isinstance(result, ElicitResult):
            return run_id, False
        filed = {each.approval.id: each.approval for each in await app.approvals(run=run_id)}
        question = Question(tuple(filed[each] for each in asked if each in filed))
        decided = False
        for approval, decision in zip(question.approvals, question.decisions(result, self.by), strict=True):
            if decision is not None and approval.caller == self.caller:
                with contextlib.suppress(DecisionRefused):  # somebody was faster; their word stands
                    await app.decide(approval.id, decision)
                    decided = True
        return run_id, decided
