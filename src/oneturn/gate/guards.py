"""The guards that need no file of their own: scope and budgets."""

from __future__ import annotations

from collections.abc import Mapping

from oneturn.tools.scope import Status
from oneturn.types import Failure

from .base import Context, Request, cut

_REFUSED: Mapping[Status, str] = {
    "forbidden": "is not allowed here",
    "held": "changed its definition and is held until somebody accepts it (oneturn tools diff)",
    "new": "is new and held until somebody accepts its definition (oneturn tools diff)",
    "outdated": "changed its definition while this run was under way; run the script again",
}


def scope(request: Request, context: Context) -> Request | Failure:
    """Is there such a tool, and may this caller reach it? Nearest names cover the scope only."""
    name = request.call.name
    tool = context.scope.get(name)
    if tool is not None:
        return Request(request.call, tool)
    status = context.scope.status(name)
    near = context.scope.nearest(name) if status == "unknown" else []
    name = cut(name)
    if status in _REFUSED:
        return Failure("PermissionError", f"{name} {_REFUSED[status]}")
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif context.scope.tools:
        hint = "runtime.search_tools('…') finds what there is"
    else:
        hint = "no tool is allowed here"
    missing = f"there is no tool {name}" if "." in name else f"name '{name}' is not defined"
    return Failure("NameError", f"{missing}; {hint}")


def budgets(request: Request, context: Context) -> Request | Failure:
    """Count the call; refuse those over the run's number. Aliases of a tool count together."""
    if context.budget.calls >= context.limits.calls:
        return Failure(
            "PermissionError",
            f"this run may make {context.limits.calls:,} tool calls and has made them; do less per script",
        )
    context.budget.calls += 1
    return request
