"""All sources of an app and the catalog they fill: started together, kept up to date, closed together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..errors import ConfigError, SourceError, ToolDefinitionError
from ..types import Tool
from .base import LeavesOut, Source
from .catalog import Catalog
from .function import FunctionSource

log = logging.getLogger("oneturn.tools")


class Sources:
    """Sources by name, with the namespace each fills.

    Attributes:
        catalog: Every tool of every source.
        functions: The source of the app's own Python functions, always there.
        problems: Sources that could not be started or listed, with the reason.
    """

    def __init__(self, catalog: Catalog, functions: FunctionSource) -> None:
        self.catalog = catalog
        self.functions = functions
        self.problems: dict[str, str] = {}
        self._sources: dict[str, tuple[Source, str]] = {functions.name: (functions, "")}
        self._refreshes: set[asyncio.Task[None]] = set()
        self._due: set[str] = set()
        self._turns: dict[str, asyncio.Lock] = {}
        self._stale = False
        functions.on_change(self._mark_stale)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all sources but the app's own functions."""
        return tuple(name for name, (source, _) in self._sources.items() if source is not self.functions)

    def add(self, source: Source, namespace: str) -> None:
        """Add a source. Raises ConfigError when its name is taken."""
        if source.name in self._sources:
            raise ConfigError(f"There is a source named {source.name!r} already; give this one another name.")
        self._sources[source.name] = (source, namespace)

    def get(self, name: str) -> Source:
        """The source that a tool's `source` names."""
        return self._sources[name][0]

    def secrets(self) -> list[str]:
        """Everything the sources must keep to themselves."""
        return [secret for source, _ in self._sources.values() for secret in source.secrets()]

    def use(self, catalog: Catalog) -> None:
        """Fill another catalog from now on."""
        self.catalog = catalog
        self._mark_stale()

    def sync(self) -> None:
        """Bring into the catalog what came since: functions, all at once, and a changed lock file."""
        if self._stale:
            self._stale = False  # before the look: another thread may add a function during it
            try:
                self.catalog.replace(self.functions.name, self.functions.tools)
            except BaseException:
                self._stale = True
                raise
        if self.catalog.pins.reread():
            self.catalog.recheck()

    def accept(self, names: Iterable[str], *, pins: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Put the definitions of held tools in force, at once. Raises as `Catalog.accept` does."""
        return self.catalog.accept(names, pins=pins)

    async def open(self, progress: Callable[[str], None] | None = None) -> None:
        """Start every source at once and list its tools; what fails is in `problems`.

        What they list now is trusted, as far as no lock file says otherwise, until the next `open`.
        """
        self.problems.clear()
        self._due.clear()
        self._turns.clear()
        self.catalog.begin()
        self.sync()
        await asyncio.gather(*(self._open(name, progress) for name in self._sources))

    async def _open(self, name: str, progress: Callable[[str], None] | None) -> None:
        source, _ = self._sources[name]
        try:
            await source.open()
            if source is not self.functions:
                self._fill(name, await source.list_tools())
                source.on_change(lambda: self._refresh_soon(name))
                await asyncio.to_thread(self.catalog.pins.save)
        except (SourceError, ConfigError) as error:
            self.problems[name] = str(error)
        else:
            if progress is not None:
                progress(name)

    def _fill(self, name: str, tools: Sequence[Tool]) -> None:
        source, namespace = self._sources[name]
        left_out = source.skipped if isinstance(source, LeavesOut) else {}
        self.catalog.replace(name, tools, namespace, left_out)

    def _mark_stale(self) -> None:
        self._stale = True

    def _refresh_soon(self, name: str) -> None:
        if name in self._due:  # however often a server says so, its next list is read once
            return
        self._due.add(name)
        task = asyncio.get_running_loop().create_task(self._refresh(name))
        self._refreshes.add(task)
        task.add_done_callback(self._refreshes.discard)

    async def _refresh(self, name: str) -> None:
        source, _ = self._sources[name]
        async with self._turns.setdefault(name, asyncio.Lock()):  # an older list never comes after a newer
            self._due.discard(name)
            try:
                tools = await source.list_tools()
                self.sync()
                self._fill(name, tools)
                self.problems.pop(name, None)
            except (SourceError, ToolDefinitionError) as error:
                # The old list stays: a server must not be able to take another one's tools away.
                self.problems[name] = str(error)
                log.warning("%s changed its tools and the new list was not taken: %s", name, error)

    async def close(self) -> None:
        """Stop every source. Idempotent."""
        for task in list(self._refreshes):
            task.cancel()
        await asyncio.gather(
            *(source.close() for source, _ in self._sources.values()), return_exceptions=True
        )
