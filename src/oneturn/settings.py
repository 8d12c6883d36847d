"""What `oneturn.toml` may say: its sections, as types that check what is written.

Values that may be secrets are kept out of every repr. `None` means not given.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StrictBool,
    field_validator,
    model_validator,
)

from .errors import ConfigError
from .types import ApprovalMode, CacheScope, Effect, IsolationLevel, ResultRule, SandboxChoice

ServerMode = Literal["code", "search", "plain"]


class Section(BaseModel):
    """A table that knows all of its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LimitSettings(Section):
    """`[limits]`: the fields of `oneturn.Limits`; what is not given keeps its default."""

    timeout: PositiveFloat | None = None
    max_timeout: PositiveFloat | None = None
    cpu_seconds: PositiveFloat | None = None
    memory: PositiveInt | None = None
    recursion: PositiveInt | None = None
    calls: PositiveInt | None = None
    concurrent_calls: PositiveInt | None = None
    printed_chars: PositiveInt | None = None
    depth: PositiveInt | None = None
    nodes: PositiveInt | None = None
    value_bytes: PositiveInt | None = None
    run_bytes: PositiveInt | None = None


class McpSettings(Section):
    """`[mcp.NAME]`: one MCP server. `timeout` is in seconds; `cwd` is relative to the file."""

    command: str | None = None
    args: tuple[str, ...] = Field((), repr=False)
    env: dict[str, str] = Field({}, repr=False)
    cwd: str = "."
    url: str | None = Field(None, repr=False)
    transport: Literal["http", "sse"] | None = None
    headers: dict[str, str] = Field({}, repr=False)
    auth: str | None = Field(None, repr=False)
    timeout: PositiveFloat | None = None
    trust_annotations: bool = False
    results: ResultRule = "auto"


class AuthSettings(Section):
    """A credential. `place` and `name` say where an API key goes when the document does not."""

    bearer: str | None = Field(None, repr=False)
    api_key: str | None = Field(None, repr=False)
    place: Literal["header", "query", "cookie"] | None = None
    name: str = ""
    username: str | None = None
    password: str = Field("", repr=False)
    token_url: str | None = None
    client_id: str = ""
    client_secret: str = Field("", repr=False)
    scopes: tuple[str, ...] = ()
    send_as: Literal["basic", "form"] = "basic"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        kinds = (self.bearer, self.api_key, self.username, self.token_url)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("give exactly one of bearer, api_key, username and token_url")
        return self


class OpenApiSettings(Section):
    """`[openapi.NAME]`: one web API. A document's path is relative to the file; `timeout` is in seconds."""

    document: str = Field(repr=False)
    base_url: str = Field(repr=False)
    auth: AuthSettings | None = None
    schemes: dict[str, AuthSettings] = {}
    headers: dict[str, str] = Field({}, repr=False)
    timeout: PositiveFloat | None = None
    retries: int = Field(2, ge=0, le=10)
    allow_private: tuple[str, ...] = ()
    idempotency_header: str | None = None


class CacheSettings(Section):
    """An entry of `[cache]`: `ttl` in seconds, and who shares the results; or the seconds alone."""

    ttl: PositiveFloat
    per: CacheScope = "session"

    @model_validator(mode="before")
    @classmethod
    def _seconds_alone(cls, given: Any) -> Any:
        if isinstance(given, str | bool):
            raise ValueError("give seconds as a number, or a table of ttl and per")
        return {"ttl": given} if isinstance(given, int | float) else given


class ServerSettings(Section):
    """`[server]`: how `oneturn serve` offers the app."""

    mode: ServerMode = "code"
    direct: tuple[str, ...] = ()
    http: str | None = None
    token_env: str | None = None
    max_tokens: PositiveInt = 4_000
    sessions: bool = False
    elicitation: bool = True
    approver_token_env: str | None = None
    webhook: str | None = Field(default=None, repr=False)
    webhook_secret_env: str | None = None

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.webhook is None) != (self.webhook_secret_env is None):
            raise ValueError("give webhook and webhook_secret_env together")
        return self

    @field_validator("http")
    @classmethod
    def _is_address(cls, text: str | None) -> str | None:
        if text is not None:
            address(text)
        return text


class Settings(Section):
    """Everything `oneturn.toml` may say. `None` means not given."""

    name: str | None = None
    app: str | None = None
    allow: tuple[str, ...] | None = None
    mcp_config: tuple[str, ...] = ()
    trust_annotations: tuple[str, ...] = ()
    tool_timeout: PositiveFloat | None = None
    runs: PositiveInt | None = None
    limits: LimitSettings = LimitSettings()
    effects: dict[str, Effect] = {}
    results: dict[str, ResultRule] = {}
    notes: dict[str, tuple[str, ...]] = {}
    cache: dict[str, CacheSettings] = {}
    check: bool | None = None
    learn: bool | None = None
    search: Literal["lexical", "hybrid"] | None = None
    state: str | Literal[False] | None = None
    lock: str | Literal[False] | None = None
    journal: str | Literal[False] | None = Field(default=None, repr=False)
    journal_key: str | None = Field(default=None, repr=False)
    redact: tuple[str, ...] | None = None
    approve: ApprovalMode | None = None
    approvals: dict[str, StrictBool] = {}
    approval_timeout: PositiveFloat | None = None
    idempotent: dict[str, StrictBool] = {}
    sandbox: SandboxChoice | None = None
    isolation: IsolationLevel | None = None
    imports: tuple[str, ...] | None = None
    python: str | None = None
    telemetry: bool | None = None
    mcp: dict[str, McpSettings] = {}
    openapi: dict[str, OpenApiSettings] = {}
    server: ServerSettings = ServerSettings()


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT` as a pair. An IPv6 host stands in brackets.

    Raises:
        ConfigError: It is anything else.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"'{text}' is no address; write HOST:PORT, such as 127.0.0.1:8000")
    return host.removeprefix("[").removesuffix("]"), int(port)
