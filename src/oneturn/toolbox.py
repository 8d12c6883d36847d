"""What is put into an app: Python functions, MCP servers, web APIs, any source; and the catalog they fill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .errors import ConfigError
from .tools.base import Source
from .tools.catalog import Catalog
from .tools.function import FunctionSource
from .tools.names import identifier
from .tools.sources import Sources
from .types import Effect, ResultRule

if TYPE_CHECKING:
    from .tools.mcp import McpServer
    from .tools.openapi import Auth, OpenApi

F = TypeVar("F", bound=Callable[..., Any])


class Toolbox:
    """The tools of an app, by source. `CodeMode` is one.

    Args:
        catalog: What the sources fill.
        functions: The source of the app's own Python functions.
    """

    def __init__(self, catalog: Catalog, functions: FunctionSource) -> None:
        self._functions = functions
        self._sources = Sources(catalog, functions)

    @property
    def _is_open(self) -> bool:
        """Whether it is too late to add a source."""
        return False

    @overload
    def tool(
        self,
        function: F,
        /,
        *,
        name: str | None = None,
        namespace: str = "",
        description: str | None = None,
        effect: Effect | None = None,
        labels: Iterable[str] = (),
        results: ResultRule = "auto",
        timeout: float | None = None,
        examples: Iterable[str] = (),
        notes: Iterable[str] = (),
        idempotent: bool = False,
        approval: bool | None = None,
    ) -> F: ...

    @overload
    def tool(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        namespace: str = "",
        description: str | None = None,
        effect: Effect | None = None,
        labels: Iterable[str] = (),
        results: ResultRule = "auto",
        timeout: float | None = None,
        examples: Iterable[str] = (),
        notes: Iterable[str] = (),
        idempotent: bool = False,
        approval: bool | None = None,
    ) -> Callable[[F], F]: ...

    def tool(
        self,
        function: F | None = None,
        /,
        *,
        name: str | None = None,
        namespace: str = "",
        description: str | None = None,
        effect: Effect | None = None,
        labels: Iterable[str] = (),
        results: ResultRule = "auto",
        timeout: float | None = None,
        examples: Iterable[str] = (),
        notes: Iterable[str] = (),
        idempotent: bool = False,
        approval: bool | None = None,
    ) -> F | Callable[[F], F]:
        """Offer a function, sync or async, as a tool; as a decorator, bare or with options.

        Args:
            function: What to call. Its type hints, defaults and docstring become the schema.
            name: The tool's name; the function's own when not given.
            namespace: Where it is found: `namespace="crm"` makes `tools.crm.<name>`.
            description: Instead of the docstring's.
            effect: `"read"`, `"write"` or `"destructive"` (the default).
            labels: Free words to filter by.
            results: The result rule, see `oneturn.tools.results`.
            timeout: Seconds one call may take.
            examples: Short pieces of script that call it, shown to whoever writes one.
            notes: One-line warnings and rate limits, shown likewise; nothing enforces them. The
                docstring's own sections of these names are taken as well.
            idempotent: Whether the same call sent again has no further effect. One whose answer was
                lost is then sent again when its run is resumed.
            approval: Whether calls need a person's approval; its effect decides when not given.

        Raises:
            ToolDefinitionError: The name collides or is reserved, or a hint has no schema.
        """

        def register(target: F) -> F:
            self._functions.add(
                target,
                name=name,
                namespace=namespace,
                description=description,
                effect=effect,
                labels=labels,
                results=results,
                timeout=timeout,
                examples=examples,
                notes=notes,
                idempotent=idempotent,
                approval=approval,
            )
            return target

        return register if function is None else register(function)

    def add_mcp(
        self,
        name: str,
        target: Any,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: str | None = None,
        timeout: float | None = None,
        trust_annotations: bool = False,
        results: ResultRule = "auto",
    ) -> None:
        """Offer the tools of an MCP server as `tools.<name>.…`.

        Args:
            name: The namespace.
            target: A URL (streamable HTTP), a command line or list of words (stdio), or a FastMCP
                server object in this process.
            env: Environment of the command; the host's own is not passed on.
            cwd: Folder the command runs in.
            headers: HTTP headers, such as an API key. They never leave the host.
            auth: A bearer token, or `"oauth"`.
            timeout: Seconds one call may take.
            trust_annotations: Believe what the server says about its tools' effects.
            results: The result rule for all its tools.

        Raises:
            ConfigError: The name is taken or unusable, or the target or an option is.
        """
        from .tools.mcp import McpServer

        server = McpServer.at(
            name,
            target,
            env=env,
            cwd=cwd,
            headers=headers,
            auth=auth,
            timeout=timeout,
            trust_annotations=trust_annotations,
            results=results,
        )
        self.add_mcp_server(server)

    def add_mcp_server(self, server: McpServer) -> None:
        """Offer the tools of an MCP server described by a `McpServer`."""
        from .tools.mcp import McpSource

        self.add_source(McpSource(server), namespace=identifier(server.name))

    def add_mcp_config(self, config: Mapping[str, Any] | str | Path, *, trust: Iterable[str] = ()) -> None:
        """Offer every server of an `mcpServers` file or mapping, as other MCP clients read it.

        Args:
            config: A path to the JSON file, or its content.
            trust: Names of servers whose annotations are believed.
        """
        from .tools.mcp import read_mcp_servers

        trusted = set(trust)
        for server in read_mcp_servers(Path(config) if isinstance(config, str) else config):
            self.add_mcp_server(replace(server, trust_annotations=server.name in trusted))

    def add_openapi(
        self,
        name: str,
        document: str | Path | Mapping[str, Any],
        *,
        base_url: str,
        auth: Auth | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        retries: int = 2,
        allow_private: Iterable[str] = (),
        idempotency_header: str | None = None,
    ) -> None:
        """Offer the operations of an OpenAPI 3 document as `tools.<name>.<tag>.…`.

        Args:
            name: The namespace.
            document: The path or URL of the document (JSON or YAML), or the parsed document.
            base_url: Where requests go, such as `https://api.example.com/v1`. What the document
                says about servers is never used.
            auth: A `Bearer`, `ApiKey`, `Basic` or `ClientCredentials` of `oneturn.tools.openapi`, or
                a mapping of them by the document's names of its security schemes.
            headers: Sent with every request. They never leave the host.
            timeout: Seconds one call may take, its retries and pages included.
            retries: How often a read is sent again when the API is busy or the connection breaks.
            allow_private: Hosts and networks that may be reached although they are not public,
                such as `"127.0.0.1"` or `"10.0.0.0/8"`.
            idempotency_header: A header, such as `"Idempotency-Key"`, that gets a key with every call
                that is no read: the same one however often that call is sent.

        Raises:
            ConfigError: The name is taken or unusable, or another argument is.
        """
        from .tools.openapi import OpenApi

        api = OpenApi(
            name,
            document,
            base_url=base_url,
            auth=auth,
            headers=headers or {},
            timeout=timeout,
            retries=retries,
            allow_private=tuple(allow_private),
            idempotency_header=idempotency_header,
        )
        self.add_api(api)

    def add_api(self, api: OpenApi) -> None:
        """Offer the operations of a web API described by an `OpenApi`."""
        from .tools.openapi import OpenApiSource

        self.add_source(OpenApiSource(api), namespace="")  # its tools come with their namespaces

    def add_source(self, source: Source, *, namespace: str) -> None:
        """Offer the tools of any `Source` under `namespace`. Before the app is opened."""
        if self._is_open:
            raise ConfigError(f"Add {source.name} before the app is opened.")
        self._sources.add(source, namespace)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources beside the app's own Python functions."""
        return self._sources.names

    @property
    def problems(self) -> Mapping[str, str]:
        """Sources that could not be started or listed, with the reason."""
        return self._sources.problems

    @property
    def catalog(self) -> Catalog:
        """Every tool of every source, in scope or not."""
        self._sources.sync()
        return self._sources.catalog
