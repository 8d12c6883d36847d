"""CodeMode: the object users hold. Tools go in, scripts run, outcomes come out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .errors import ConfigError, SourceError
from .options import Options, SearchMode, cache_rules, limits_for
from .runs import Runs
from .synchronous import Synchronous
from .toolbox import Toolbox
from .tools.catalog import Catalog
from .tools.function import FunctionSource
from .tools.scope import Allow, AllowLike, Scope, allow_from_env
from .types import (
    ApprovalMode,
    CacheRule,
    Effect,
    IsolationLevel,
    Limits,
    Outcome,
    ResultRule,
    SandboxChoice,
    Tool,
)

if TYPE_CHECKING:
    from .checking import Checked, Checker
    from .gate.cache import ResultCache
    from .run.order import Approver
    from .runtime import Runtime
    from .sandbox.base import Sandbox
    from .tools.search import Embedder, SearchIndex, SearchResult
    from .tools.shapes import Shapes
    from .view import View

_VIEWS = 64  # allow-lists whose scope and search index are kept


class CodeMode(Runs, Synchronous, Toolbox):
    """Your tools, behind one gate, for scripts a model writes.

    ```python
    app = CodeMode(allow=["*"])

    @app.tool(effect="read")
    def add(a: int, b: int) -> int:
        "Add two numbers."
        return a + b

    outcome = app.execute_sync("await add(1, 2)")
    assert outcome.value == 3
    ```

    Args:
        name: What MCP clients see as the server's name.
        allow: Tools scripts may reach: names or globs such as `"github.*"`. Nothing by default.
            The environment variable `ONETURN_ALLOW` narrows it further.
        limits: What one run may use.
        tool_timeout: Seconds one call may take when its tool does not say.
        effects: Effects by name or glob; wins over what tools say of themselves.
        results: Result rules by name or glob.
        notes: Warnings and rate limits by name or glob, shown to whoever writes a script.
        cache: How long results of read tools are kept, by name or glob: a `CacheRule`, or seconds.
        idempotent: By name or glob: whether a call may be sent again when its answer was lost.
        check: Check each script against the types of the tools it mentions before it runs.
        learn: Infer the shape of results that no schema declares from those that come.
        search: How tools are ranked: `lexical`, `hybrid`, or an `Embedder` of your own.
        state: Folder for what is learnt and computed; nothing is kept on disk without it.
        lock: File of pinned definitions, see `oneturn tools pin`.
        journal: Where runs are recorded: a file, or the URL of a Postgres database; when not given,
            `journal.db` in the state folder, or memory without one. False records nothing.
        journal_key: 64 hexadecimal digits; with it every run on record is encrypted with a key of its own.
        redact: Fields of arguments and results that are never on record, by name or glob such as
            `*password*`; a run that was given such a result cannot be resumed.
        approve: Calls of which effects need a person's approval: `never`, `destructive` ones, all `writes`,
            or `always`. The environment variable `ONETURN_AUTO_APPROVE` names tools that are approved
            beforehand; a destructive one only by its full name.
        approvals: By tool name or glob: whether its calls need approval, whatever their effect.
        approver: Asked for approval while the run waits; see `oneturn.Approver`. What nobody decides
            about there puts the run aside until somebody does.
        approval_timeout: Seconds until what nobody has decided is denied; never when not given.
        runs: Runs at once; more of them queue.
        sandbox: Where scripts run: `auto` takes the fastest place that runs each of them exactly right;
            or `monty`, `cpython`, `container`, `remote`, or a `Sandbox` of your own.
        isolation: The weakest isolation level that will do; nothing weaker is ever used.
        imports: Modules and packages a script may import beside the safe standard library.
        python: The interpreter of the environment those are installed in; this one when not given.
        telemetry: Tell OpenTelemetry of runs and calls, never of what is in them.

    Raises:
        ConfigError: `allow` names `tools` or `runtime`, or an effect or rule is unknown.
    """

    def __init__(
        self,
        name: str = "oneturn",
        *,
        allow: AllowLike = (),
        limits: Limits | None = None,
        tool_timeout: float = 30.0,
        effects: Mapping[str, Effect] | None = None,
        results: Mapping[str, ResultRule] | None = None,
        notes: Mapping[str, Sequence[str]] | None = None,
        cache: Mapping[str, CacheRule | float] | None = None,
        idempotent: Mapping[str, bool] | None = None,
        check: bool = True,
        learn: bool = True,
        search: SearchMode | Embedder = "lexical",
        state: Path | str | None = None,
        lock: Path | str | None = None,
        journal: Path | str | bool = True,
        journal_key: str | None = None,
        redact: Sequence[str] = (),
        approve: ApprovalMode = "destructive",
        approvals: Mapping[str, bool] | None = None,
        approver: Approver | None = None,
        approval_timeout: float | None = None,
        runs: int = 32,
        sandbox: SandboxChoice | Sandbox = "auto",
        isolation: IsolationLevel = "interpreter",
        imports: Sequence[str] = (),
        python: Path | str | None = None,
        telemetry: bool = False,
    ) -> None:
        self.name = name
        self.limits = limits or Limits()
        self._allow = [Allow.of(allow)]
        narrowed = allow_from_env(os.environ)
        if narrowed is not None:
            self._allow.append(narrowed)
        self._options = Options(
            tool_timeout=tool_timeout,
            runs=runs,
            effects=dict(effects or {}),
            results=dict(results or {}),
            notes=dict(notes or {}),
            cache=cache_rules(cache),
            idempotent=dict(idempotent or {}),
            check=check,
            learn=learn,
            search=search,
            state=Path(state) if state is not None else None,
            lock=Path(lock) if lock is not None else None,
            journal=journal,
            journal_key=journal_key,
            redact=tuple(redact),
            approve=approve,
            approvals=dict(approvals or {}),
            approver=approver,
            approval_timeout=approval_timeout,
            sandbox=sandbox,
            isolation=isolation,
            imports=tuple(imports),
            python=Path(python) if python is not None else None,
            telemetry=telemetry,
        )
        Synchronous.__init__(self)
        Toolbox.__init__(self, self._make_catalog(), FunctionSource(self.limits))
        self._views: dict[tuple[int, tuple[Allow, ...]], View] = {}
        self._checker: Checker | None = None
        self._shapes: Shapes | None = None
        self._embedder: Embedder | None = None
        self._index: tuple[int, SearchIndex] | None = None
        self._cache: ResultCache | None = None
        self._runtime: Runtime | None = None
        self._opening: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def _make_catalog(self) -> Catalog:
        from .tools.pins import Pins

        options = self._options
        return Catalog(
            effects=options.effects,
            results=options.results,
            notes=options.notes,
            idempotent=options.idempotent,
            pins=Pins(options.lock, options.state),
        )

    def configure(
        self,
        *,
        name: str | None = None,
        allow: AllowLike = None,
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        """Lay an operator's settings over the author's; only what is given, and not None, changes.

        `allow` never widens: a tool must then be in this list *and* in the app's own. Only an app
        made without a list takes this one as its own. For the same pattern, `effects`, `results`,
        `notes` and `cache` given here win.

        Args:
            name: As for the class, and so on for the others.
            allow: A further allow-list.
            limits: Instead of the app's own.
            options: Any other argument of the class.

        Raises:
            ConfigError: The app is open already, or a setting is not one of those allowed.
        """
        if self._is_open:
            raise ConfigError("Configure the app before it is opened.")
        if allow is not None:
            given = Allow.of(allow)
            if self._allow[0] == Allow():
                self._allow[0] = given
            else:
                self._allow.append(given)
        if options:  # else the lock file would be read again for nothing
            if options.get("cache"):
                options["cache"] = cache_rules(options["cache"])
            self._options = self._options.over(options)
            self._sources.use(self._make_catalog())
            self._checker = self._shapes = self._embedder = self._index = None  # made to the old options
        self._views.clear()
        self.name = self.name if name is None else name
        self.limits = self._functions.limits = limits or self.limits

    # --- life

    @property
    def options(self) -> Options:
        """The settings in force."""
        return self._options

    @property
    def _is_open(self) -> bool:
        return self._runtime is not None

    async def open(self, *, tolerate: bool = False, progress: Callable[[str], None] | None = None) -> None:
        """Start every source and list its tools. `execute` does this by itself when needed.

        Args:
            tolerate: Go on without sources that fail; `problems` says which and why.
            progress: Told the name of each source when it is ready.

        Raises:
            SourceError: A source failed, and `tolerate` is false. Everything is closed again.
            JournalError: The journal cannot be opened; likewise.
        """
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._runtime is not None:
                return
            if self._options.state is not None:
                await asyncio.to_thread(self._options.make_state_folder)
            await self._sources.open(progress)
            if self.problems and not tolerate:
                await self._sources.close()
                raise SourceError(" ".join(self.problems.values()))
            try:
                self._runtime = await self._make_runtime()
            except BaseException:
                await self._sources.close()
                raise
            self._loop = asyncio.get_running_loop()

    async def _make_runtime(self) -> Runtime:
        from .assembly import runtime_of
        from .gate.cache import ResultCache

        options = self._options
        self._cache = ResultCache(options.cache) if options.cache else None
        # In a thread, because a journal elsewhere may take its time to answer.
        return await asyncio.to_thread(
            runtime_of,
            options,
            cache=self._cache,
            sources=self._sources.get,
            secrets=self._sources.secrets(),
            shapes=self.shapes,
        )

    async def _opened(self) -> Runtime:
        if self._runtime is None:
            await self.open()
        elif self._loop is not asyncio.get_running_loop():
            raise ConfigError(
                "This app was opened on another event loop; use one app per loop, or close it there first."
            )
        assert self._runtime is not None
        return self._runtime

    async def close(self) -> None:
        """Stop every run, worker and source. Idempotent."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            await runtime.close()
        await self._sources.close()
        checker, self._checker = self._checker, None
        self._views.clear()  # they hold the checker
        if checker is not None:
            await asyncio.to_thread(checker.close)
        if self._shapes is not None:
            await asyncio.to_thread(self._shapes.close)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- scripts

    async def execute(
        self,
        code: str,
        *,
        timeout: float | None = None,
        allow: AllowLike = "*",
        caller: str = "local",
        sandbox: SandboxChoice | None = None,
        session: str = "",
        seed: int | None = None,
        approver: Approver | None = None,
        retry_of: str = "",
    ) -> Outcome:
        """Run a script and return its outcome; what goes wrong in the script is in it.

        Args:
            code: Async Python; its value is a top-level `return`, the last expression or
                `final_answer(x)`.
            timeout: Seconds for the whole run, tool time included; the app's limit when not given,
                and never more than its `max_timeout`.
            allow: Narrows the app's allow-list for this run.
            caller: Whose run this is; artifacts and sessions are the same caller's only.
            sandbox: Instead of the app's own choice; the app's isolation level still holds.
            session: A name under which variables are kept from one script to the next.
            seed: What the script's randomness comes from; drawn when not given.
            approver: Asked for approval instead of the app's own.
            retry_of: An earlier run of the same caller, whose work this script does again: calls it made are
                answered from its record as long as they are the same in the same order, and after that
                those that changed something still are. Nothing that succeeded is repeated.

        Raises:
            RunNotFound: There is no run `retry_of` of this caller.
            RunBusy: It is still under way.
            ConfigError: The timeout is not positive, or `allow` names `tools` or `runtime`.
            SourceError: A source could not be started.
            SandboxBusy: Too many runs at once; nothing ran.
            SandboxUnavailable: The sandbox or isolation asked for is not to be had; nothing ran.
            SessionLost: The session's variables are gone; nothing ran.
        """
        from .run.order import Order

        runtime = await self._opened()
        order = Order(
            code,
            self.view(allow),
            limits_for(self.limits, timeout),
            caller,
            sandbox,
            session,
            seed,
            self._reach(allow),
            approver,
            retry_of=retry_of,
        )
        return await runtime.execute(order)

    async def end_session(self, name: str, *, caller: str = "local") -> bool:
        """Forget a session's variables. False when there is none; SandboxBusy while it runs a script."""
        return await (await self._opened()).end_session(name, caller=caller)

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        allow: AllowLike = "*",
        caller: str = "local",
        approver: Approver | None = None,
    ) -> Outcome:
        """Make one call without a script, through the same gate. Raises as `execute` does."""
        runtime = await self._opened()
        return await runtime.call(
            name,
            arguments or {},
            view=self.view(allow),
            limits=limits_for(self.limits, timeout),
            caller=caller,
            allow=self._reach(allow),
            approver=approver,
        )

    async def check(self, code: str, *, allow: AllowLike = "*") -> Checked:
        """What is wrong with a script, without running any of it.

        Args:
            code: As for `execute`.
            allow: Narrows the app's allow-list.

        Raises:
            SourceError: A source could not be started.
        """
        await self._opened()
        return await asyncio.to_thread(self.view(allow).check_code, code, self._options.importable)

    def view(self, allow: AllowLike = "*", *more: AllowLike) -> View:
        """What a caller with all of these allow-lists can see. Cached until the catalog changes."""
        from .view import View

        catalog = self.catalog
        narrowed = tuple(map(Allow.of, (allow, *more)))
        key = (catalog.version, narrowed)
        known = self._views.get(key)
        if known is None:
            scope = Scope(catalog.tools, [*self._allow, *narrowed], catalog)
            outdated = any(version != catalog.version for version, _ in self._views)
            if outdated or len(self._views) >= _VIEWS:
                self._views.clear()
            known = self._views[key] = View(scope, self._whole_index(), self._checks(), self.shapes)
        return known

    def _reach(self, allow: AllowLike) -> tuple[tuple[str, ...], ...]:
        """All allow-lists that hold for a run: it has no more when it is taken up by somebody else."""
        return tuple(each.patterns for each in (*self._allow, Allow.of(allow)))

    def _whole_index(self) -> SearchIndex:
        """The search index of the whole catalog; every view narrows it to its scope."""
        from .tools.search import SearchIndex

        catalog, options = self.catalog, self._options
        if self._index is None or self._index[0] != catalog.version:
            self._embedder = self._embedder or options.embedder()
            folder = options.state / "search" if options.state is not None else None
            self._index = (catalog.version, SearchIndex(catalog.tools, self._embedder, folder))
        return self._index[1]

    def _checks(self) -> Checker:
        from .checking import Checker

        if self._checker is None:
            self._checker = Checker(types=self._options.check, fields=self._options.hidden_fields)
        return self._checker

    @property
    def shapes(self) -> Shapes | None:
        """What is learnt of results that no schema declares; None when the app is told not to learn."""
        from .tools.shapes import Shapes

        if self._shapes is None and self._options.learn:
            self._shapes = Shapes(self._options.state)
        return self._shapes

    def clear_cache(self) -> None:
        """Forget every cached result; a script under way keeps what is cached for its own run."""
        if self._cache is not None:
            self._cache.clear()

    def tools(self, allow: AllowLike = "*") -> Sequence[Tool]:
        """Every tool in scope, by name."""
        return self.view(allow).scope.tools

    def accept(self, names: Iterable[str], *, pins: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Put the definitions of tools that are held (`catalog.held`) in force, at once.

        Args:
            names: Tools, by name.
            pins: The pins of what was looked at, by name; a tool that changed again since is refused.

        Raises:
            ConfigError: A name is not held, or its definition is another one by now.
        """
        return self._sources.accept(names, pins=pins)

    def search(
        self,
        queries: str | Sequence[str],
        limit: int = 10,
        *,
        effect: Effect | None = None,
        namespace: str | None = None,
        source: str | None = None,
        label: str | None = None,
        allow: AllowLike = "*",
    ) -> SearchResult:
        """The best tools for one or several queries, of those that all the filters let through."""
        return self.view(allow).search(
            queries, limit, effect=effect, namespace=namespace, source=source, label=label
        )
