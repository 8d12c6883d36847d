"""The meta-tools as a model sees them: what they say of themselves and how their answers read.

Every door (MCP, agent loop, command line) shows these same texts, so a model meets one product.
The invariants: each answer stays within its budget of tokens, says what was cut and how to get
the rest, and carries no control, bidi or invisible tag character from outside; such characters
are shown as `\\u...` escapes, which JSON reads back as the characters they stand for.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .approval_text import waiting_data, waiting_text
from .manifest import names_text, namespaces_text
from .telling import ERROR_CHARS, calls_text, line, retry_id, short, visible
from .tokens import count, cut
from .tools.scope import Scope
from .tools.search import SearchResult
from .tools.signature import signature
from .tools.stubs import own_name, stub_text
from .tools.text import one_line
from .types import CallRecord, Detail, Outcome, ScriptError, Tool

START_TOKENS = 1_000
"""What a model reads at start stays under this: the meta-tools as a door lists them, whatever the catalog."""

_SPARE = 16  # tokens kept back because parts count a little more once joined
_SEARCH_TOKENS = 3_000
_LINE_TOKENS = 600
_FULL_TOKENS = 1_600
_WHERE_TOKENS = 300  # of a search without a match
_MANIFEST_TOKENS = 140
_DESCRIPTION_CHARS = 100
_SOURCE_CHARS = 200
_WARNINGS = 3
_INLINE_BYTES = 1_000
_SPELLED_OUT = 200_000  # characters of a value that are looked at; many times what is ever shown


@dataclass(frozen=True, slots=True)
class MetaTool:
    """One of the few tools a model is given instead of the whole catalog."""

    name: str
    description: str


SEARCH_TOOLS = MetaTool(
    "search_tools",
    """\
Find tools by what they do. Returns the signatures to call from execute_code, best match first.

Ask in plain words, one query or a list of several ("create an issue", "list commits"); narrow by
namespace or effect.""",
)

GET_TOOL_INFO = MetaTool(
    "get_tool_info",
    """\
Everything about tools, by name: parameters with types and meaning, the shape of the result, the
effect. Look here before you would have to guess an argument or a result.""",
)

RESUME_RUN = MetaTool(
    "resume_run",
    """\
Go on with a run that waits for approval.""",
)

_MONTY = """\
This Python has no generators (yield), class
  inheritance, del, async for, or most of the standard library; json, re, math, datetime, asyncio,
  collections, itertools and functools are there."""

_FULL = """\
All of Python's language and the safe part of
  its standard library are there{imports}; code without generators and inheritance runs fastest."""

_MOST_IMPORTS = 10  # named in the description

_EXECUTE = """\
Run one async Python script that calls tools. Put the whole job in one script: loops, filters and
joins belong in it, not in further turns.

- Call: `await tools.github.create_issue(title="x")`. In parallel: `await asyncio.gather(...)`.
- Results are plain Python values, never JSON text; get_tool_info tells their shape.
- You see the value of the script (its last expression, a top-level `return x`, or `final_answer(x)`)
  and what it prints. Both are cut when long: return what you need.
- A tool that fails raises ToolError; catch it to go on without it.
- After an error, calls already made stay made: correct the script, pass retry_of=<run id>, and
  nothing that is done is done again.
- No files, network, environment or processes. {python}
- Also there: `runtime.search_tools(query)`, `runtime.get_tool_info(name)`.

```python
import asyncio
issues = await tools.github.list_issues(repo="acme/app", state="open")
async def last_comment(issue):
    try:
        comments = await tools.github.list_comments(repo="acme/app", number=issue["number"])
        return comments[-1]["body"] if comments else None
    except ToolError as error:
        return str(error)
comments = await asyncio.gather(*[last_comment(issue) for issue in issues[:5]])
{"open": len(issues), "newest": [[i["title"], c] for i, c in zip(issues, comments)]}
```"""

EXECUTE_CODE = MetaTool("execute_code", _EXECUTE.replace("{python}", _MONTY))


def execute_description(scope: Scope, *, full_python: bool = False, imports: Sequence[str] = ()) -> str:
    """The text of `execute_code` with what there is to call, see `oneturn.manifest`.

    Together with the other meta-tools and all their input schemas it stays under `START_TOKENS`,
    whatever there is to call.

    Args:
        scope: What can be called.
        full_python: Whether scripts have all of Python, or what Monty offers.
        imports: Packages they may import besides.
    """
    more = "".join(f", {one_line(name, 40)}" for name in imports[:_MOST_IMPORTS])
    python = _FULL.format(imports=more) if full_python else _MONTY
    about = _EXECUTE.replace("{python}", python)
    if not scope.tools:
        return f"{about}\n\nNo tools can be called here."
    names = names_text((tool.name for tool in scope.tools), _MANIFEST_TOKENS)
    if names:
        return f"{about}\n\nTools: {names}"
    told = namespaces_text(
        Counter(tool.namespace for tool in scope.tools),
        _MANIFEST_TOKENS,
        (tool.name for tool in scope.tools if not tool.namespace),
    )
    return f"{about}\n\n{len(scope.tools):,} tools, found with search_tools, by namespace: {told}"


def search_text(
    result: SearchResult,
    scope_size: int,
    detail: Detail = "signatures",
    full: Callable[[Tool], str] = stub_text,
) -> str:
    """Found tools as a model reads them, never above 3,000 tokens in all.

    Args:
        result: What the search returned.
        scope_size: How many tools the caller can reach.
        detail: `names` gives names alone, `signatures` a line to copy with the effect and what the
            tool does, `full` everything about each. A tool that takes too much space is told in
            the next shorter way, and says so.
        full: How one tool is told in full; its typed stub when not given.
    """
    if not result.matches:
        told = namespaces_text(result.namespaces, _WHERE_TOKENS) if result.namespaces else ""
        where = f" There are: {told}." if told else ""
        return f"No tool of {scope_size:,} matches. Try other words, or drop a filter.{where}"
    parts: list[str] = []
    room = _SEARCH_TOKENS - 4 * _SPARE
    for match in result.matches:
        part = _found(match.tool, detail, full)
        room -= count(part) + 1
        if room < 0:
            break
        parts.append(part)
    rest = result.total - len(parts)
    more = f"; {rest:,} more match, narrow the query or raise the limit to see them" if rest > 0 else ""
    separator = "\n\n" if detail == "full" else "\n"
    return separator.join([*parts, f"{len(parts):,} of {scope_size:,} tools{more}."])


def _found(tool: Tool, detail: Detail, full: Callable[[Tool], str]) -> str:
    if detail == "names":
        return tool.name
    if detail == "full":
        text = full(tool)
        if len(text) <= _FULL_TOKENS * 8 and count(text) <= _FULL_TOKENS:
            return text
    about = short(_first_sentence(tool), _DESCRIPTION_CHARS)
    comment = f"  # {tool.effect}: {about}" if about else f"  # {tool.effect}"
    longer = " (the rest is long: get_tool_info shows it)" if detail == "full" else ""
    line = f"{signature(tool)}{comment}{longer}"
    if count(line) > _LINE_TOKENS:
        line = f"await tools.{tool.name}(...){comment} (long signature: get_tool_info shows it)"
    return line


def _first_sentence(tool: Tool) -> str:
    paragraph = tool.description.strip()[: _DESCRIPTION_CHARS * 10].partition("\n\n")[0]
    return re.split(r"(?<=[.!?])\s", one_line(paragraph, len(paragraph), own_name(tool)), maxsplit=1)[0]


def outcome_text(outcome: Outcome, max_tokens: int = 4_000) -> str:
    """A run's outcome as a model reads it: the value or the error first, then prints.

    After a failure it lists the calls that were made, and warns against repeating writes. After
    a success it lists only calls that did not go well. Of a run that waits for approval it says for what, and
    how to go on. Strings are shown as they are, everything else as compact JSON.

    Args:
        outcome: The outcome of a run.
        max_tokens: The most the text may count; 4,000 by default. The value and the prints share
            what the rest leaves, at least half each when both need it.
    """
    before = waiting_text(outcome, max_tokens // 2) if outcome.status == "waiting" else ""
    if not outcome.ok and not before:
        before = _error_text(outcome, max_tokens // 4)
    calls = calls_text(outcome, max_tokens // 4)
    value = _value_text(outcome.value) if outcome.ok or outcome.value is not None else ""
    prints = visible(outcome.prints).rstrip("\n")
    dropped = _dropped(outcome)
    room = max_tokens - sum(count(part) for part in (before, calls, dropped)) - _SPARE
    value, prints = _share(value, prints, room)
    parts = [before, value, calls, f"printed:\n{prints}" if prints else "", dropped]
    return cut("\n".join(part for part in parts if part), max_tokens, "answer")


def _share(value: str, prints: str, room: int) -> tuple[str, str]:
    """Both texts cut so that they fit in `room`: what one of them leaves, the other may use."""
    least = cut(prints, room // 2, "printed text", "print less")
    value = cut(value, room - count(least), "value", "return less, or a slice of it")
    return value, cut(prints, room - count(value), "printed text", "print less")


def _dropped(outcome: Outcome) -> str:
    if not outcome.cut_prints:
        return ""
    return f"… [{outcome.cut_prints:,} more printed characters were not kept; print less] …"


def _error_of(outcome: Outcome) -> ScriptError:
    if outcome.error is not None:
        return outcome.error
    return ScriptError(outcome.status.capitalize(), "the run was stopped before the script ended")


def _error_text(outcome: Outcome, max_tokens: int) -> str:
    error = _error_of(outcome)
    message = visible(f"{error.kind}: {error.message}")
    lines = [cut(message, max_tokens // 2, "message", "catch the error to read a slice of it")]
    if error.position is not None:
        where = f"line {error.position.line}, column {error.position.column}"
        source = line(error.position.source, _SOURCE_CHARS)
        lines.append(f"{where}: {source}" if source else where)
    if error.hint:
        lines.append(cut(f"hint: {visible(error.hint)}", max_tokens // 2, "hint"))
    lines += [f"warned before the run: {each}" for each in _warnings(outcome)]
    return "\n".join(lines)


def _warnings(outcome: Outcome) -> list[str]:
    """What the check before a run that failed had warned of: it may well be why."""
    return [
        f"line {each.position.line}: {line(each.message, ERROR_CHARS)}"
        for each in outcome.warnings[:_WARNINGS]
    ]


def outcome_data(outcome: Outcome, max_tokens: int = 4_000) -> dict[str, Any]:
    """A run's outcome as plain JSON data, for MCP structured content and other programs.

    Keys: `status`, `value`, `prints`, `error` (None, or kind, message, line, column, source, hint,
    and `warnings` of the check before the run),
    `calls` (tool, effect, status, line; also `cached` when nothing was sent) and `cut` (None, or a
    note for each part that was cut). A run that waits for approval also has `waiting`: its `run_id`,
    the `number` of calls that wait, the first of them as `calls`, and how to go on as `then`. One that
    failed after it changed something has `retry_of`, to be given with the corrected script: its own id, or
    that of the run which does its work again. A value
    over the budget becomes a text preview of itself. Bytes become their length, with their base64 up
    to 1,000 of them.

    Args:
        outcome: The outcome of a run.
        max_tokens: The most the whole may count as compact JSON; 4,000 by default. The frame of
            the answer needs about 150.
    """
    value_json = _spell_out(outcome.value)
    whole = len(value_json) < _SPELLED_OUT
    value = _plain(outcome.value) if whole else None
    full = _Whole(value, _json(value) if whole else value_json, whole, visible(outcome.prints))
    share = max_tokens
    while True:
        data = _data(outcome, full, share)
        over = count(_json(data)) - max_tokens
        if over <= 0 or share <= 0:
            return data
        share -= max(over, share // 10, 1)  # text grows when it is quoted, so take away and look again


@dataclass(frozen=True, slots=True)
class _Whole:
    """The unbounded parts of an outcome before anything is cut, made once however often we try."""

    value: Any
    value_json: str
    is_whole: bool  # else `value_json` is only the beginning, and there is no value
    prints: str


def _data(outcome: Outcome, full: _Whole, max_tokens: int) -> dict[str, Any]:
    notes: dict[str, str] = {}
    waits = outcome.status == "waiting"
    waiting = {"waiting": waiting_data(outcome, max_tokens // 4)} if waits else {}
    error = None if outcome.ok or waits else _error_data(outcome, max_tokens // 4)
    retried = retry_id(outcome)
    again = {"retry_of": retried} if retried else {}
    calls = _calls_data(outcome.calls, max_tokens // 4)
    if len(calls) < len(outcome.calls):
        notes["calls"] = f"{len(outcome.calls) - len(calls):,} of {len(outcome.calls):,} left out"
    room = max_tokens - count(_json([error, calls, waiting])) - 6 * _SPARE
    value_json, prints = _share(full.value_json, full.prints, room)
    value = full.value
    if value_json != full.value_json or not full.is_whole:
        preview = value if isinstance(value, str) else full.value_json
        value = cut(preview, count(value_json), "value", "return less, or a slice of it")
        notes["value"] = "too large, a preview as text; return less, or a slice of it"
    if prints != full.prints or outcome.cut_prints:
        notes["prints"] = "print less"
    return {
        "status": outcome.status,
        "value": value,
        "prints": prints,
        "error": error,
        "calls": calls,
        **waiting,
        **again,
        "cut": notes or None,
    }


def _error_data(outcome: Outcome, max_tokens: int) -> dict[str, Any]:
    error = _error_of(outcome)
    position = error.position
    return {
        "kind": line(error.kind, ERROR_CHARS),
        "message": cut(
            visible(error.message), max_tokens // 2, "message", "catch the error to read a slice of it"
        ),
        "line": position.line if position else None,
        "column": position.column if position else None,
        "source": cut(line(position.source, _SOURCE_CHARS), max_tokens // 4, "line") if position else "",
        "hint": cut(visible(error.hint), max_tokens // 2, "hint"),
        "warnings": _warnings(outcome),
    }


def _calls_data(calls: Sequence[CallRecord], max_tokens: int) -> list[dict[str, Any]]:
    """As many calls as fit, in their order; reads that went well are left out first."""
    kept: dict[int, dict[str, Any]] = {}
    for place in sorted(
        range(len(calls)), key=lambda at: calls[at].effect == "read" and calls[at].status == "ok"
    ):
        call = calls[place]
        entry = {
            "tool": line(call.tool, ERROR_CHARS),
            "effect": call.effect,
            "status": call.status,
            "line": call.position.line if call.position else None,
        }
        if call.cached:
            entry["cached"] = True
        max_tokens -= count(_json(entry)) + 1
        if max_tokens < 0:
            break
        kept[place] = entry
    return [kept[place] for place in sorted(kept)]


def _value_text(value: Any) -> str:
    if value is None:
        return "None (to return something, end with an expression or `return`)"
    if isinstance(value, bytes):
        return _size_of(value)
    text = value[:_SPELLED_OUT] if isinstance(value, str) else _spell_out(value)
    if len(text) >= _SPELLED_OUT:
        return f"{visible(text)}… [only the first {_SPELLED_OUT:,} characters were looked at]"
    return visible(text)


def _spell_out(value: Any) -> str:
    """Compact JSON, of which a huge value gives only the beginning.

    Piece by piece, because spelling out a huge value in one go would hold up the whole process.
    """
    pieces: list[str] = []
    room = _SPELLED_OUT
    for piece in _ENCODER.iterencode(value[:_SPELLED_OUT] if isinstance(value, str) else value):
        pieces.append(piece[:room])
        room -= len(piece)
        if room <= 0:
            break
    return "".join(pieces)


def _size_of(data: bytes) -> str:
    return f"<{len(data):,} bytes>"


def _json(value: Any) -> str:
    return _ENCODER.encode(value)


def _spelled(value: Any) -> str:
    """What JSON has no spelling for: bytes by their size, moments in ISO 8601, durations as text."""
    if isinstance(value, bytes):
        return _size_of(value)
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _plain(value: Any) -> Any:
    """`value` as JSON data, with hidden characters visible as everywhere else."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bytes):
        if len(value) <= _INLINE_BYTES:
            return {"bytes": len(value), "base64": base64.b64encode(value).decode("ascii")}
        return {"bytes": len(value), "note": f"over {_INLINE_BYTES:,} bytes, so only the length is shown"}
    if value is None or isinstance(value, bool | int | float):
        return value
    return _spelled(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_spelled)
