"""`oneturn tools pin`, `diff` and `accept`: look at how tools are defined, and say yes to it.

What servers write here is looked at by whoever decides whether to trust it. So nothing of it is
left out, and what cannot be seen is spelled out.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, SourceError
from .common import (
    AppOption,
    ConfigOption,
    Exit,
    JsonOption,
    Verbose,
    exits,
    note,
    opened,
    prepare,
    visible,
    write,
    write_json,
)

if TYPE_CHECKING:
    from ..app import CodeMode
    from ..tools.pins import Held

_COMPARED = 1_000  # lines on either side that are matched; more of them are shown as two blocks
_CONTEXT = 3  # lines around a change
_LISTED = 20  # names told in one line
_STYLES = {"+": "green", "-": "red", "@": "cyan"}
# Unicode counts these as letters and marks, and nobody sees them.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def pin(
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Only the tools of this source; may be repeated."),
    ] = None,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Write the definitions of all tools into oneturn.lock.

    From then on a tool that is defined otherwise is held until `oneturn tools accept`. Pins that are
    there stay: ends with 1 when a tool does not fit its pin.
    """
    with exits(as_json):
        built = prepare(app, config, None).app
        asyncio.run(_open(built, verbose))
        found = built.catalog.lock(_to_pin(built, source))
        if as_json:
            write_json(
                {
                    "lock": str(built.catalog.pins.path),
                    "new": found.new,
                    "same": found.same,
                    "changed": found.changed,
                    "gone": found.gone,
                }
            )
        else:
            write(
                f"{built.catalog.pins.path}: {_count(len(found.new), 'tool')} pinned, "
                f"{len(found.same):,} pinned already.\n"
            )
            if found.gone:
                note(f"Pinned and not offered now, the pins stay: {_names(found.gone)}")
            if found.changed:
                note(
                    f"Not as they are pinned, and held: {_names(found.changed)}. Look with "
                    "`oneturn tools diff`, then `oneturn tools accept`."
                )
        raise typer.Exit(Exit.FAILED if found.changed else Exit.OK)


def diff(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Only these tools; all when none is named."),
    ] = None,
    app: AppOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Show what changed in the definitions of held tools.

    Ends with 1 when a tool is held, and with 0 when none is. What cannot be seen in a definition is
    shown as an escape.
    """
    with exits(as_json):
        built = prepare(app, config, None).app
        asyncio.run(_open(built, verbose))
        chosen = _chosen(built, names or list(built.catalog.held))
        if as_json:
            data = {
                "lock": str(built.catalog.pins.path) if built.catalog.pins.path is not None else None,
                "locked": sorted(built.catalog.pins.locked),
                "held": [_data(held) for held in chosen],
                "problems": dict(built.problems),
            }
            write(f"{json.dumps(data, indent=2)}\n")  # ASCII: the escapes are the text, for a machine too
        else:
            for held in chosen:
                _show(_text(held))
        if not chosen:
            if built.problems:
                raise SourceError("\n".join(built.problems.values()))
            if not as_json:
                note(_nothing(built))
        raise typer.Exit(Exit.FAILED if chosen else Exit.OK)


def accept(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="The tools whose definitions are accepted.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Accept every tool that is held.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    app: AppOption = None,
    config: ConfigOption = None,
    verbose: Verbose = False,
) -> None:
    """Accept the definitions of held tools.

    Shows what is accepted, and asks first on a terminal. Elsewhere --yes has to be given.
    """
    with exits():
        if bool(names) == everything:
            raise ConfigError("Name the tools to accept, or give --all.")
        built = prepare(app, config, None).app
        asyncio.run(_open(built, verbose))
        chosen = _chosen(built, names or list(built.catalog.held))
        if not chosen:
            note(_nothing(built))
            return
        for held in chosen:
            _show(_text(held))
        if not yes:
            if not (sys.stdin.isatty() and sys.stdout.isatty()):
                raise ConfigError("Nobody can be asked here, so nothing was accepted; give --yes to accept.")
            if not typer.confirm(f"Accept {_count(len(chosen), 'definition')}?", err=True):
                note("Nothing was accepted.")
                raise typer.Exit(Exit.FAILED)
        accepted = built.catalog.accept(
            [held.tool.name for held in chosen], pins={held.tool.name: held.pin for held in chosen}
        )
        note(f"Accepted in {built.catalog.pins.path}: {_names(accepted)}")


async def _open(app: CodeMode, lines: bool) -> None:
    """Fill the catalog, with what sources there are. Raises ConfigError without a place for a lock file."""
    if app.catalog.pins.path is None:
        raise ConfigError(
            "Pins are kept beside an oneturn.toml, and none is in use; `oneturn init` writes one."
        )
    async with opened(app, tolerate=True, lines=lines):
        pass


def _to_pin(app: CodeMode, wanted: Sequence[str] | None) -> list[str]:
    for name in wanted or ():
        if name not in app.sources:
            raise ConfigError(
                f"There is no source {name!r} whose tools can be pinned; there are: {_names(app.sources)}."
            )
        if name in app.problems:
            raise SourceError(app.problems[name])
    chosen = list(wanted or app.sources)
    failed = [name for name in chosen if name in app.problems]
    if failed:
        note(f"Not pinned, because they could not be started: {_names(failed)}")
    return [name for name in chosen if name not in failed]


def _chosen(app: CodeMode, names: Iterable[str]) -> list[Held]:
    held = app.catalog.held
    wanted = sorted({name.removeprefix("tools.") for name in names})
    for name in wanted:
        if name not in held:
            known = "is not held" if app.catalog.get(name) is not None else "is no tool"
            there = f"; held: {_names(sorted(held))}" if held else "; nothing is held"
            raise ConfigError(f"{name} {known}{there}.")
    return [held[name] for name in wanted]


def _nothing(app: CodeMode) -> str:
    open_to_change = [name for name in app.sources if name not in app.catalog.pins.locked]
    if not open_to_change:
        return "Nothing is held: every tool is defined as it is pinned."
    return (
        f"Nothing is held. Not pinned, so trusted anew at every start: {_names(open_to_change)}; "
        "`oneturn tools pin` pins."
    )


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


# --- what is shown of one tool


def _data(held: Held) -> dict[str, Any]:
    return {
        "name": held.tool.name,
        "source": held.tool.source,
        "reason": held.reason,
        "since": held.since.isoformat(timespec="seconds"),
        "pin": held.pin,
        "old_pin": held.old_pin or None,
        "old_source": held.old_source or None,
        "old": json.loads(held.old) if held.old is not None else None,
        "new": json.loads(held.tool.definition),
        "diff": _text(held),
    }


def _text(held: Held) -> list[str]:
    new = _lines(held.tool.definition)
    head = f"{held.tool.name} of source {held.tool.source}"
    if held.old_source and held.old_source != held.tool.source:
        head += f", which was a tool of source {held.old_source},"
    if held.reason == "new":
        title = f"{head} is new. This is all of it:"
    elif held.old is None:
        title = f"{head} changed. What was accepted is not on this machine; this is all it is now:"
    else:
        title = f"{head} changed:"
        old = _lines(held.old)
        body = _compared(old, new)
        return [*map(revealed, [title, f"--- accepted {held.old_pin}", f"+++ offered {held.pin}", *body]), ""]
    pins = [f"--- accepted {held.old_pin or 'never'}", f"+++ offered {held.pin}"]
    return [*map(revealed, [title, *pins, *(f"+{line}" for line in new)]), ""]


def _compared(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """A unified diff; without matching lines where there are so many that this could take long."""
    first = next(
        (place for place, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), None
    )
    start = min(len(old), len(new)) if first is None else first
    rest = min(len(old), len(new)) - start
    end = next((n for n in range(rest) if old[-1 - n] != new[-1 - n]), rest)
    if max(len(old), len(new)) - start - end <= _COMPARED:
        return list(difflib.unified_diff(old, new, n=_CONTEXT, lineterm=""))[2:]
    before = old[max(0, start - _CONTEXT) : start]
    return [
        *(f" {line}" for line in before),
        *(f"-{line}" for line in old[start : len(old) - end]),
        *(f"+{line}" for line in new[start : len(new) - end]),
    ]


def _lines(definition: str) -> list[str]:
    content = json.loads(definition)
    lines = [f"name: {content.pop('name')}", f"effect: {content.pop('effect', 'not said by the source')}"]
    for key in ("description", "parameters", "labels", "notes", "examples", "input", "output"):
        value = content.get(key)
        if value is None:
            continue
        lines.append(f"{key}:")
        if key == "description":
            lines += [f"  {line}" for line in value.split("\n")]
        elif key == "parameters":
            lines += [f"  {name}" for name in (value if isinstance(value, list) else [str(value)])]
        else:
            lines += [f"  {line}" for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n")]
    return lines


def revealed(text: str) -> str:
    """`text` with every character that cannot be seen, or that moves others, written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char.isprintable() and not _INVISIBLE.match(char) else _escape(char) for char in text
    )


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _show(lines: Sequence[str]) -> None:
    if not sys.stdout.isatty():
        write("\n".join(lines) + "\n")
        return

    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(visible(lines[0]), "bold"), soft_wrap=True)
    for line in lines[1:]:
        console.print(Text(visible(line), _STYLES.get(line[:1], "")), soft_wrap=True)
