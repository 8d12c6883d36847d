"""From one settings file to a `CodeMode`: reading `oneturn.toml`, and building the app it describes.

This is the only place where a name in a file becomes an object. Settings are checked whole before
anything is imported or started, and mistakes are told in one ConfigError. Values that may be
secrets are kept out of every repr and every error, and `${VAR}` is filled in only by `build`.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import ValidationError

from .app import CodeMode
from .errors import ConfigError
from .settings import AuthSettings, LimitSettings, McpSettings, OpenApiSettings, Section, Settings
from .tools.mcp import McpServer, read_mcp_servers
from .tools.variables import expand
from .types import CacheRule, Limits

if TYPE_CHECKING:
    from .tools.openapi import Credential, OpenApi

FILE_NAME = "oneturn.toml"

_STATE, _LOCK = ".oneturn", "oneturn.lock"  # beside the settings file
_DATABASES = ("postgresql://", "postgres://")
_DEPTH = "ONETURN_DEPTH"  # how many oneturns started one another down to this one
_MAX_DEPTH = 3


_WORDING = (  # pydantic's words and those of someone who writes TOML
    ("Value error, ", ""),
    ("Input should", "it should"),
    ("a valid tuple", "a list"),
    ("a valid dictionary", "a table"),
)


def find(start: Path) -> Path | None:
    """The `oneturn.toml` for a folder: its own, or the nearest above it in the same git work tree.

    Outside a git work tree only the folder itself is looked at, so that a file somebody left in a
    shared parent, such as `/tmp`, is never picked up.
    """
    start = start.resolve()
    folders = [start, *start.parents]
    top = next((place for place, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    return next((path for folder in folders[: top + 1] if (path := folder / FILE_NAME).is_file()), None)


def load(path: Path) -> Settings:
    """The settings in a TOML file, or those that a JSON file with `mcpServers` stands for.

    A TOML file has places beside it: unless it says otherwise, what the app learns is kept in
    `.oneturn`, and definitions are pinned in `oneturn.lock`. A JSON file has neither.

    Raises:
        ConfigError: The file cannot be read, or has mistakes; the message names each of them.
    """
    if path.suffix == ".json":
        return Settings(mcp_config=(str(path.resolve()),))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    settings = parse(content, str(path))
    places = {"state": _STATE, "lock": _LOCK}
    return settings.model_copy(
        update={name: place for name, place in places.items() if getattr(settings, name) is None}
    )


def parse(content: Mapping[str, Any], where: str = FILE_NAME) -> Settings:
    """Settings from parsed TOML.

    Args:
        content: The parsed file.
        where: How errors name the file.

    Raises:
        ConfigError: A key or value is wrong; the message names each, and what is allowed.
    """
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        mistakes = [
            _mistake(each["loc"], each["type"], each["msg"])
            for each in error.errors(include_input=False, include_url=False)
        ]
    raise ConfigError("\n".join(f"{where}: {mistake}" for mistake in mistakes))


def _mistake(place: tuple[int | str, ...], kind: str, message: str) -> str:
    key = ".".join(str(part) for part in place)
    if kind != "extra_forbidden":
        for theirs, ours in _WORDING:
            message = message.replace(theirs, ours)
        return f"{key}: {message.partition(' or instance of')[0]}."
    known = list(_section(place).model_fields)
    return f"{key} is no setting{_meant(str(place[-1]), known)} Allowed here: {', '.join(known)}."


def _section(place: tuple[int | str, ...]) -> type[Section]:
    """The section that a key stands in. Names users choose, as in `[mcp.NAME]`, are passed over."""
    section: type[Section] = Settings
    for part in place[:-1]:
        field = section.model_fields.get(str(part))
        kinds = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        section = next(
            (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), section
        )
    return section


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else "."


def token(name: str | None, setting: str = "token_env") -> str | None:
    """The secret in the environment variable `name`, which `setting` names; None when none is named.

    Raises:
        ConfigError: The variable is not set, or empty.
    """
    if name is None:
        return None
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"{setting} names the environment variable {name}, which is not set.")
    return value


def expanded(text: str, key: str) -> str:
    """A setting with `${VAR}` filled in. Raises ConfigError when a variable is not set."""
    return expand(text, [], lambda why: ConfigError(f"{key} {why}."))


def build(
    settings: Settings,
    *,
    base: Path,
    app: CodeMode | None = None,
    allow: Iterable[str] | None = None,
) -> CodeMode:
    """The app that the settings describe. Nothing is started.

    Every allow-list that is given must allow a tool: the app object's own, the file's, and
    `allow`. When none is given, nothing is allowed.

    Args:
        settings: From `load` or `parse`.
        base: The folder that paths and modules are relative to.
        app: Used in place of the one `settings.app` names. It is changed.
        allow: A further allow-list, such as the command line's.

    Raises:
        ConfigError: A module, server file or variable is missing, two servers share a name, or
            oneturn was started by itself again and again.
    """
    if _depth() >= _MAX_DEPTH:
        raise ConfigError(
            "oneturn is starting itself: take oneturn out of the servers that oneturn.toml or its "
            "mcp_config names."
        )
    if app is None:
        app = import_app(settings.app, base) if settings.app is not None else CodeMode()
    app.configure(
        name=settings.name,
        allow=settings.allow,
        limits=_limits(app.limits, settings.limits),
        tool_timeout=settings.tool_timeout,
        runs=settings.runs,
        effects=settings.effects,
        results=settings.results,
        notes=settings.notes,
        cache={name: CacheRule(entry.ttl, entry.per) for name, entry in settings.cache.items()},
        check=settings.check,
        learn=settings.learn,
        search=settings.search,
        state=base / settings.state if settings.state else settings.state,
        lock=base / settings.lock if settings.lock else settings.lock,
        journal=_journal(settings.journal, base),
        journal_key=expanded(settings.journal_key, "journal_key") if settings.journal_key else None,
        redact=settings.redact,
        telemetry=settings.telemetry,
        approve=settings.approve,
        approvals=settings.approvals,
        approval_timeout=settings.approval_timeout,
        idempotent=settings.idempotent,
        sandbox=settings.sandbox,
        isolation=settings.isolation,
        imports=settings.imports,
        python=base / Path(settings.python).expanduser() if settings.python else None,
    )
    if allow is not None:
        app.configure(allow=allow)
    for server in servers(settings, base):
        app.add_mcp_server(server)
    for name, entry in settings.openapi.items():
        app.add_api(_api(name, entry, base))
    return app


def _journal(given: str | Literal[False] | None, base: Path) -> Path | str | Literal[False] | None:
    """Where runs are recorded, with `${VAR}` filled in: a database by its URL, or a file."""
    if given is None or given is False:
        return given
    place = expanded(given, "journal")
    return place if place.startswith(_DATABASES) else base / Path(place).expanduser()


def _limits(limits: Limits, settings: LimitSettings) -> Limits:
    limits = replace(limits, **settings.model_dump(exclude_unset=True))
    if settings.timeout is not None and limits.timeout > limits.max_timeout:
        raise ConfigError(
            f"limits.timeout ({limits.timeout:g} s) is above limits.max_timeout "
            f"({limits.max_timeout:g} s); raise max_timeout too."
        )
    return limits


def servers(settings: Settings, base: Path) -> tuple[McpServer, ...]:
    """Every MCP server of the settings, with `${VAR}` filled in. Raises ConfigError as `build` does."""
    found: list[McpServer] = []
    for name in settings.mcp_config:
        path = base / Path(name).expanduser()
        try:
            found += read_mcp_servers(path)
        except ConfigError as error:
            text = str(error)
            raise ConfigError(text if str(path) in text else f"{path}: {text}") from None
    found += [_server(name, entry, base) for name, entry in settings.mcp.items()]
    trusted = set(settings.trust_annotations)
    known = [server.name for server in found]
    for name in settings.trust_annotations:
        if name not in known:
            raise ConfigError(
                f"trust_annotations names {name!r}, which is no server here{_meant(name, known)}"
            )
    return tuple(
        _marked(replace(server, trust_annotations=True) if server.name in trusted else server)
        for server in found
    )


def _marked(server: McpServer) -> McpServer:
    """The server, told how deep it is: one that is oneturn with these same settings must come to an end."""
    if server.command is None:
        return server
    return replace(server, env={**server.env, _DEPTH: str(_depth() + 1)})


def _depth() -> int:
    text = os.environ.get(_DEPTH, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _server(name: str, entry: McpSettings, base: Path) -> McpServer:
    ours = {"cwd", "timeout", "trust_annotations", "results"}  # milliseconds there, seconds here
    fields = entry.model_dump(exclude_unset=True, exclude=ours)
    # The working directory matters to a command only, and takes part in `${VAR}` like the rest.
    (server,) = read_mcp_servers({"mcpServers": {name: {**fields, "cwd": entry.cwd}}})
    cwd = str((base / Path(server.cwd or ".").expanduser()).resolve()) if server.command else None
    return replace(
        server,
        cwd=cwd,
        timeout=entry.timeout,
        trust_annotations=entry.trust_annotations,
        results=entry.results,
    )


def _api(name: str, entry: OpenApiSettings, base: Path) -> OpenApi:
    """One web API, with `${VAR}` filled in. Raises ConfigError when a variable is not set."""
    from .tools.openapi import OpenApi

    if entry.auth is not None and entry.schemes:
        raise ConfigError(f"openapi.{name}: give auth or schemes, not both.")

    def filled(key: str, text: str) -> str:
        return expand(text, [], lambda why: ConfigError(f"openapi.{name}.{key} {why}."))

    document = filled("document", entry.document)
    is_url = document.startswith(("http://", "https://"))

    def credential(key: str, given: AuthSettings) -> Credential:
        return _credential(given, lambda part, text: filled(f"{key}.{part}", text))

    schemes = {scheme: credential(f"schemes.{scheme}", each) for scheme, each in entry.schemes.items()}
    return OpenApi(
        name,
        document if is_url else (base / Path(document).expanduser()).resolve(),
        base_url=filled("base_url", entry.base_url),
        auth=credential("auth", entry.auth) if entry.auth is not None else schemes or None,
        headers={key: filled(f"headers.{key}", text) for key, text in entry.headers.items()},
        timeout=entry.timeout,
        retries=entry.retries,
        allow_private=entry.allow_private,
        idempotency_header=entry.idempotency_header,
    )


def _credential(entry: AuthSettings, filled: Callable[[str, str], str]) -> Credential:
    from .tools.openapi import ApiKey, Basic, Bearer, ClientCredentials

    if entry.bearer is not None:
        return Bearer(filled("bearer", entry.bearer))
    if entry.api_key is not None:
        return ApiKey(filled("api_key", entry.api_key), entry.place, entry.name)
    if entry.username is not None:
        return Basic(filled("username", entry.username), filled("password", entry.password))
    return ClientCredentials(
        filled("token_url", entry.token_url or ""),
        filled("client_id", entry.client_id),
        filled("client_secret", entry.client_secret),
        entry.scopes,
        entry.send_as,
    )


def import_app(spec: str, base: Path) -> CodeMode:
    """The `CodeMode` that `module:attribute` or `path/file.py:attribute` names.

    The module's folder, or `base`, comes first on `sys.path`. Without an attribute, the module
    must hold exactly one `CodeMode`.

    Raises:
        ConfigError: The module cannot be imported, or there is no such `CodeMode` in it.
    """
    place, _, attribute = spec.partition(":")
    folder, name = base, place
    if place.endswith(".py"):
        path = (base / Path(place).expanduser()).resolve()
        if not path.is_file():
            raise ConfigError(f"app = {spec!r}: there is no file {path}.")
        folder, name = path.parent, path.stem
    module = _import(name, folder.resolve(), spec)
    if attribute:
        found = getattr(module, attribute, None)
        if not isinstance(found, CodeMode):
            names = [key for key, value in vars(module).items() if isinstance(value, CodeMode)]
            what = "is not there" if found is None else f"is a {type(found).__name__}, not a CodeMode"
            there = f" It has: {', '.join(names)}." if names else " It has no CodeMode."
            raise ConfigError(f"app = {spec!r}: {attribute} {what} in {name}.{there}")
        return found
    apps = {id(value): value for value in vars(module).values() if isinstance(value, CodeMode)}
    if len(apps) != 1:
        raise ConfigError(
            f"app = {spec!r}: {name} has {len(apps)} CodeMode objects; name one, as {spec}:app."
        )
    return next(iter(apps.values()))


def _import(name: str, folder: Path, spec: str) -> Any:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
            raise ConfigError(f"app = {spec!r}: there is no module {name} in {folder}.") from None
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"app = {spec!r}: importing {name} failed with {reason}.") from error
