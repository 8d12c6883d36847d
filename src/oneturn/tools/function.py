"""The source of tools that are Python functions.

An async function runs on the event loop; any other runs in a thread of this source's own pool,
so that slow functions hold up neither the loop nor whoever else uses threads. A thread cannot be
stopped from outside: when a call is given up, its function goes on to its end and its result is
dropped; one that never ends does not keep the process from exiting.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from ..errors import SourceError, ToolDefinitionError, ToolError
from ..types import Effect, Limits, ResultRule, Tool
from .base import Result, Text
from .definition import check_definition
from .docstrings import docs_of
from .names import dotted
from .parameters import Hints, Parameters, parameters_of, underlying, without_partials
from .returns import Returns, TooLarge, returns_of
from .threads import Threads

_THREADS = 128  # calls of blocking functions at once, over all runs
_INLINE_NODES = 5_000  # results larger than this are converted in a thread, off the loop
_INLINE_ARGUMENTS = 2_000  # so are arguments of more items than this; see `_is_large`
_CHARS_PER_ITEM = 500

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Entry:
    fn: Callable[..., Any]
    tool: Tool
    parameters: Parameters
    returns: Returns
    is_async: bool

    def result(self, value: Any, limits: Limits) -> Result:
        if self.tool.results == "json" and isinstance(value, str):
            return Result(blocks=(Text(value),))  # so that the result rule parses it
        return self.returns.result(self.tool.name, value, limits)


class FunctionSource:
    """Python functions as tools.

    Args:
        limits: Bounds on depth and nodes of a result before it is converted to plain data.
    """

    name = "python"

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._entries: dict[str, _Entry] = {}  # by original name
        self._originals: dict[str, str] = {}  # by the name scripts use
        self._listeners: list[Callable[[], None]] = []
        self._threads: Threads | None = None

    def add(
        self,
        fn: Callable[..., Any],
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
    ) -> Tool:
        """Offer a function, bound method, partial or callable object, sync or async.

        Types and defaults come from its signature, descriptions from its docstring (Google, NumPy
        or reST). Arguments that `functools.partial` fixes by name are not offered.

        Args:
            fn: The function.
            name: What scripts call it, dots allowed; its own name by default.
            namespace: Put before the name.
            description: Instead of the docstring's text.
            effect: What a call may do; "destructive" by default.
            labels: For policy and display.
            results: "json" to parse the text it returns, see `oneturn.tools.results`.
            timeout: Seconds one call may take, instead of the gate's default.
            examples: Short pieces of script that call it, put before those of the docstring.
            notes: One-line warnings and rate limits, put before those of the docstring.
            idempotent: Whether the same call sent again has no further effect.
            approval: Whether calls need a person's approval; the effect decides when None.

        Raises:
            ToolDefinitionError: The name is taken or reserved, an option is unknown, or the
                signature cannot be offered. Nothing was added.
        """
        own = name if name is not None else _own_name(fn)
        original = f"{namespace}.{own}" if namespace else own
        outer, _, short = original.rpartition(".")
        full = dotted(outer, short)
        _check_options(full, effect, results, timeout)
        taken = self._originals.get(full)
        if taken is not None:
            raise ToolDefinitionError(
                f"{taken!r} and {original!r} would both be called {full!r}; "
                "give one of them another name or namespace."
            )
        draft = Tool(
            name=full,
            effect=effect or "destructive",
            effect_from="decorator" if effect else "default",
            labels=_texts(labels),
            source=self.name,
            original=original,
            results=results,
            timeout=timeout,
            examples=_texts(examples),
            notes=_texts(notes),
            idempotent=idempotent,
            approval=approval,
        )
        entry = _entry(fn, draft, description)
        self._originals[full] = original
        self._entries[original] = entry
        for notify in self._listeners:
            notify()
        return entry.tool

    async def open(self) -> None:
        """Make ready for calls. Threads start when the first blocking function is called."""
        if self._threads is None:
            self._threads = Threads(_THREADS)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Every function added so far."""
        return tuple(entry.tool for entry in self._entries.values())

    async def list_tools(self) -> Sequence[Tool]:
        """Every function added so far."""
        return self.tools

    async def call(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        """Call the function with arguments made into the types its hints name.

        Raises:
            TypeError, ValueError: An argument is missing, unknown, or does not fit its type.
            ToolError: The result cannot be turned into data, or no such function was added.
            ValueRefused: The result is too deep, too large or cyclic.
            SourceError: The source is not open.
            BaseException: Whatever the function raised.
        """
        entry = self._entries.get(tool.original)
        if entry is None:
            raise ToolError(f"{tool.name} is no longer offered.")
        if not entry.is_async:
            outcome = await self._in_thread(functools.partial(self._perform, entry, arguments))
            if isinstance(outcome, Result):
                return outcome
            return await self._convert(entry, await outcome)
        bind = functools.partial(entry.parameters.bind, entry.tool.name, arguments)
        positional, named = await self._in_thread(bind) if _is_large(arguments) else bind()
        return await self._convert(entry, await entry.fn(*positional, **named))

    def _perform(self, entry: _Entry, arguments: Mapping[str, Any]) -> Result | Awaitable[Any]:
        positional, named = entry.parameters.bind(entry.tool.name, arguments)
        value = entry.fn(*positional, **named)
        if inspect.isawaitable(value):
            return value  # a plain function may hand out a coroutine; that belongs on the loop
        return entry.result(value, self.limits)

    async def _convert(self, entry: _Entry, value: Any) -> Result:
        small = dataclasses.replace(self.limits, nodes=min(_INLINE_NODES, self.limits.nodes))
        try:
            return entry.result(value, small)
        except TooLarge:
            return await self._in_thread(functools.partial(entry.result, value, self.limits))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if self._threads is None:
            raise SourceError("The Python tools are not open; open the source before calling them.")
        return await self._threads.run(work)

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call `notify` after every `add` from now on."""
        self._listeners.append(notify)

    def secrets(self) -> Sequence[str]:
        """None: what functions know is their own affair."""
        return ()

    async def close(self) -> None:
        """Take no more calls. Functions that run in threads go on to their end."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.close()


def _is_large(arguments: Mapping[str, Any]) -> bool:
    """Whether checking these arguments could hold up the event loop. Costs little however large they are."""
    weight = 0
    stack: list[Any] = [arguments]
    while stack:
        value = stack.pop()
        weight += len(value)
        if weight > _INLINE_ARGUMENTS:
            return True
        for part in value.values() if isinstance(value, Mapping) else value:
            if isinstance(part, str | bytes):
                weight += len(part) // _CHARS_PER_ITEM
            elif isinstance(part, dict | list):
                stack.append(part)
    return weight > _INLINE_ARGUMENTS


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _own_name(fn: Callable[..., Any]) -> str:
    inner = without_partials(fn)
    found = getattr(inner, "__name__", None) or type(inner).__name__
    if found == "<lambda>":
        raise ToolDefinitionError("A lambda has no name scripts could call; give it one with name=.")
    return str(found)


def _check_options(name: str, effect: object, results: object, timeout: float | None) -> None:
    if effect is not None and effect not in get_args(Effect):
        raise ToolDefinitionError(
            f"The effect of {name} is {effect!r}; use one of {', '.join(get_args(Effect))}."
        )
    if results not in get_args(ResultRule):
        raise ToolDefinitionError(
            f"The result rule of {name} is {results!r}; use one of {', '.join(get_args(ResultRule))}."
        )
    if timeout is not None and not timeout > 0:
        raise ToolDefinitionError(
            f"The timeout of {name} is {timeout!r}; use a number of seconds above 0, or None."
        )


def _entry(fn: Callable[..., Any], draft: Tool, description: str | None) -> _Entry:
    name = draft.name
    if inspect.isclass(fn) or not callable(fn):
        raise ToolDefinitionError(
            f"{name} is not a function; offer a function, a method or a callable object."
        )
    behind = underlying(fn)
    if inspect.isgeneratorfunction(behind) or inspect.isasyncgenfunction(behind):
        raise ToolDefinitionError(f"{name} yields its results one by one; return a list instead.")
    docs = docs_of(fn)
    parameters = parameters_of(fn, name, docs.parsed)
    returns = returns_of(inspect.signature(fn).return_annotation, Hints(fn, name))
    tool = dataclasses.replace(
        draft,
        description=description if description is not None else docs.description,
        examples=(*draft.examples, *docs.examples),
        notes=(*draft.notes, *docs.notes),
        input_schema=parameters.schema,
        output_schema=None if draft.results == "json" else returns.schema,
    )
    try:
        check_definition(tool)
    except ToolDefinitionError as error:
        raise ToolDefinitionError(f"{name} cannot be offered. {error}") from None
    is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)
    return _Entry(fn, tool, parameters, returns, is_async)
