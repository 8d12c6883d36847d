"""What tools cost a model to read, in o200k tokens: listed one by one, or behind the meta-tools.

A listing is counted as clients put it into the context, from an MCP `tools/list` or as a provider's
function list: for each tool the JSON object of its name, its description and its input schema, without
blanks. Annotations and output schemas are left out, since most clients do not pass them on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .metatools import search_text
from .tokens import count
from .tools.search import SearchIndex
from .tools.signature import signature
from .tools.stubs import stub_text
from .types import Tool

_SAMPLE = 1_000  # tools among which the example of a task is searched
_QUERY_CHARS = 80


@dataclass(frozen=True, slots=True)
class ToolCost:
    """Tokens of one tool in a plain listing."""

    name: str
    source: str
    tokens: int


@dataclass(frozen=True, slots=True)
class SourceCost:
    """Tokens of all tools of one source in a plain listing."""

    source: str
    tools: int
    tokens: int


@dataclass(frozen=True, slots=True)
class TaskCost:
    """Tokens of one task with a tool of middling size: what is asked and what comes back.

    `search` finds ten tools, `info` is everything about one, `script` calls it. The call's own result
    is not counted: it is up to the tool, and to how much of it the script returns.
    """

    tool: str
    search: int
    info: int
    script: int

    @property
    def tokens(self) -> int:
        """All three together."""
        return self.search + self.info + self.script


def listed(name: str, description: str, schema: Mapping[str, Any]) -> str:
    """One tool as it stands in a listing."""
    tool = {"name": name, "description": description, "inputSchema": schema}
    return json.dumps(tool, ensure_ascii=False, separators=(",", ":"), skipkeys=True, default=_plain)


def _plain(value: object) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def tool_cost(tool: Tool) -> ToolCost:
    """What one tool of a catalog costs in a plain listing. Takes time in the size of its schema."""
    return ToolCost(tool.name, tool.source, count(listed(tool.name, tool.description, tool.input_schema)))


def by_source(costs: Iterable[ToolCost]) -> list[SourceCost]:
    """The costs of each source, the largest first."""
    tools: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for cost in costs:
        tools[cost.source] = tools.get(cost.source, 0) + 1
        tokens[cost.source] = tokens.get(cost.source, 0) + cost.tokens
    found = [SourceCost(source, tools[source], tokens[source]) for source in tools]
    return sorted(found, key=lambda each: (-each.tokens, each.source))


def task_cost(tools: Sequence[Tool], costs: Sequence[ToolCost]) -> TaskCost | None:
    """What finding and calling a tool of middling size costs; None without tools.

    Args:
        tools: The tools there are. Of very many, one in so many is searched.
        costs: What each of them costs, in the same order.
    """
    if not tools:
        return None
    middle = sorted(range(len(tools)), key=lambda at: (costs[at].tokens, tools[at].name))[len(tools) // 2]
    tool = tools[middle]
    index = SearchIndex([*tools[:: -(-len(tools) // _SAMPLE)], tool])
    query = (tool.description.strip().partition("\n")[0] or tool.name)[:_QUERY_CHARS]
    found = search_text(index.search(query), len(tools))
    return TaskCost(
        tool.name,
        search=count(query) + count(found),
        info=count(tool.name) + count(stub_text(tool)),
        script=count(signature(tool)),
    )
