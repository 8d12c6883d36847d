"""What a client's list of tools holds, and how it follows the catalog.

FastMCP asks a provider for its tools whenever a client lists or calls them. Ours derives them from
the app's catalog and keeps them until the catalog changes, so a client always sees the tools there
are now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastmcp.server.providers.base import Provider
from fastmcp.tools.base import Tool as OfferedTool
from fastmcp.tools.base import ToolResult
from fastmcp.utilities.versions import VersionSpec
from mcp_types import ToolAnnotations
from pydantic import Field, PrivateAttr
from pydantic.json_schema import SkipJsonSchema

from ..metatools import EXECUTE_CODE, GET_TOOL_INFO, RESUME_RUN, SEARCH_TOOLS, MetaTool, execute_description
from ..tools.scope import Allow, Scope
from ..tools.text import neutral
from ..types import Detail, Effect, Tool
from ..view import View
from . import Mode
from .calls import LONGEST_WAIT, Calls
from .names import direct_names

_DESCRIPTION = 4_000  # characters
_SCHEMA_TEXT = 1_000
_LOOKING = ToolAnnotations(read_only_hint=True, open_world_hint=False)

_Null = SkipJsonSchema[None]  # taken, and not told: what may be left out needs no second way to say so

CALL_TOOL = MetaTool(
    "call_tool",
    "Call one tool by the name search_tools gave it, with its arguments as an object. "
    "Look at get_tool_info first when you would have to guess an argument.",
)


class CatalogTools(Provider):
    """The tools of an app as one client-facing list.

    Args:
        calls: Performs what clients ask for.
        mode: What clients are given.
        direct: Tools that are offered under their own names beside the meta-tools.
        sessions: Whether scripts may keep variables for the next one.
    """

    def __init__(self, calls: Calls, mode: Mode, direct: Allow, sessions: bool) -> None:
        super().__init__()
        self._sessions = sessions
        self._calls = calls
        self._mode = mode
        self._direct = direct
        self._made_for: View | None = None
        self._made: Mapping[str, OfferedTool] = {}

    async def _list_tools(self) -> Sequence[OfferedTool]:
        return list(self._offered().values())

    async def _get_tool(self, name: str, version: VersionSpec | None = None) -> OfferedTool | None:
        return self._offered().get(name)

    def _offered(self) -> Mapping[str, OfferedTool]:
        view = self._calls.app.view()  # the same one until the catalog changes
        if view is not self._made_for:
            self._made, self._made_for = self._make(view.scope), view
        return self._made

    def _make(self, scope: Scope) -> dict[str, OfferedTool]:
        if self._mode == "plain":
            meta: list[OfferedTool] = []
            chosen: Sequence[Tool] = scope.tools
        else:
            risk = strongest([tool.effect for tool in scope.tools])
            executing = _execute_in_session if self._sessions else _execute_code
            acting = executing if self._mode == "code" else _call_tool
            about = self._about(scope) if self._mode == "code" else CALL_TOOL.description
            meta = [
                _meta_tool(SEARCH_TOOLS, _search_tools(self._calls), _LOOKING),
                _meta_tool(GET_TOOL_INFO, _get_tool_info(self._calls), _LOOKING),
                _meta_tool(
                    MetaTool(EXECUTE_CODE.name if self._mode == "code" else CALL_TOOL.name, about),
                    acting(self._calls),
                    hints(risk),
                ),
            ]
            chosen = [tool for tool in scope.tools if self._direct.matches(tool.name)]
        if self._calls.may_wait(scope):
            risk = strongest([tool.effect for tool in scope.tools])
            meta.append(_meta_tool(RESUME_RUN, _resume_run(self._calls), hints(risk)))
        offered = {tool.name: tool for tool in meta}
        for name, tool in direct_names(chosen, taken=list(offered)).items():
            offered[name] = DirectTool(self._calls, name, tool)
        return offered

    def _about(self, scope: Scope) -> str:
        options = self._calls.app.options
        return execute_description(scope, full_python=options.full_python, imports=options.imports)


class DirectTool(OfferedTool):
    """A tool of the catalog under a name of its own."""

    _calls: Calls = PrivateAttr()
    _target: str = PrivateAttr()

    def __init__(self, calls: Calls, name: str, tool: Tool) -> None:
        schema = tool.output_schema
        is_object = schema is not None and schema.get("type") == "object"
        super().__init__(
            name=name,
            description=neutral(tool.description, _DESCRIPTION) or None,
            parameters=_neutral_schema(tool.input_schema),
            output_schema=_neutral_schema(schema) if is_object else None,
            annotations=hints(tool.effect),
        )
        self._calls = calls
        self._target = tool.name

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        return await self._calls.call_direct(
            self._target, arguments, structured=self.output_schema is not None
        )


def strongest(effects: Sequence[Effect]) -> Effect:
    """What a script that may call tools of all these effects may do at most."""
    if "destructive" in effects:
        return "destructive"
    return "write" if "write" in effects else "read"


def hints(effect: Effect) -> ToolAnnotations:
    """An effect in MCP's words."""
    return ToolAnnotations(read_only_hint=effect == "read", destructive_hint=effect == "destructive")


def _neutral_schema(schema: Any) -> Any:
    """A schema whose titles and descriptions, which strangers wrote, hide nothing."""
    if isinstance(schema, Mapping):
        return {
            key: neutral(part, _SCHEMA_TEXT)
            if key in ("description", "title") and isinstance(part, str)
            else _neutral_schema(part)
            for key, part in schema.items()
        }
    return [_neutral_schema(part) for part in schema] if isinstance(schema, list) else schema


def _meta_tool(meta: MetaTool, function: Callable[..., Any], shown: ToolAnnotations) -> OfferedTool:
    return OfferedTool.from_function(
        function, name=meta.name, description=meta.description, annotations=shown, output_schema=None
    )


def _search_tools(calls: Calls) -> Callable[..., Any]:
    async def search_tools(
        queries: str | list[str],
        limit: Annotated[int, Field(ge=1, le=100)] = 10,
        namespace: str | _Null = None,
        effect: Effect | _Null = None,
        detail: Detail = "signatures",
    ) -> ToolResult:
        return await calls.search(queries, limit, namespace, effect, detail)

    return search_tools


def _get_tool_info(calls: Calls) -> Callable[..., Any]:
    async def get_tool_info(names: str | list[str]) -> ToolResult:
        return await calls.info(names)

    return get_tool_info


def _execute_code(calls: Calls) -> Callable[..., Any]:
    async def execute_code(
        code: str,
        timeout: Annotated[float | _Null, Field(description="Seconds for the whole run.")] = None,
        retry_of: str = "",
    ) -> ToolResult:
        return await calls.execute(code, timeout, retry_of=retry_of)

    return execute_code


def _execute_in_session(calls: Calls) -> Callable[..., Any]:
    async def execute_code(
        code: str,
        timeout: Annotated[float | _Null, Field(description="Seconds for the whole run.")] = None,
        session: Annotated[
            str,
            Field(
                description="A name of your choice: scripts with the same one share their variables.",
                max_length=100,
            ),
        ] = "",
        retry_of: str = "",
    ) -> ToolResult:
        return await calls.execute(code, timeout, session, retry_of)

    return execute_code


def _call_tool(calls: Calls) -> Callable[..., Any]:
    async def call_tool(name: str, arguments: dict[str, Any] | None = None) -> ToolResult:
        return await calls.call(name, arguments or {})

    return call_tool


def _resume_run(calls: Calls) -> Callable[..., Any]:
    async def resume_run(run_id: str, wait: Annotated[int, Field(description="Seconds.")] = 60) -> ToolResult:
        return await calls.resume(run_id, min(max(wait, 0), LONGEST_WAIT))

    return resume_run
