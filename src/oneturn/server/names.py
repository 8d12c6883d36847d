"""Names under which tools are offered directly, in the form every MCP client accepts.

Clients and model providers agree on letters, digits, `_` and `-`, at most 64 of them; oneturn's own
names have dots and may be in any script. The rule has no state: dots become `_`, so
`github.create_issue` is offered as `github_create_issue`. Where that is not unique, too long or not
ASCII, or would look like a shortened name, the name is cut and ends in a hash of the dotted name. So
a client's name can stop meaning a tool when others come and go, but never come to mean another tool.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from ..types import Tool

LONGEST = 64
_HASH = 10  # hex digits
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")
_LIKE_SHORTENED = re.compile(rf"_[0-9a-f]{{{_HASH}}}\Z")


def direct_names(tools: Iterable[Tool], taken: Iterable[str] = ()) -> dict[str, Tool]:
    """Each tool under the name clients call it by, in order of the tools.

    Args:
        tools: The tools to offer, with dotted names that are unique among them.
        taken: Names that belong to something else, such as `execute_code`.
    """
    tools = list(tools)
    flat = {tool.name: tool.name.replace(".", "_") for tool in tools}
    uses = Counter([*flat.values(), *taken])
    return {
        (
            flat[tool.name] if uses[flat[tool.name]] == 1 and _usable(flat[tool.name]) else _shortened(tool)
        ): tool
        for tool in tools
    }


def _usable(name: str) -> bool:
    return len(name) <= LONGEST and not _FOREIGN.search(name) and not _LIKE_SHORTENED.search(name)


def _shortened(tool: Tool) -> str:
    head = _FOREIGN.sub("_", tool.name)[: LONGEST - _HASH - 1]
    return f"{head}_{hashlib.sha256(tool.name.encode()).hexdigest()[:_HASH]}"
