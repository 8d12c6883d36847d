# ruff: noqa: E501 - values on one line read better than in pieces
"""Scripts that are left to Monty, run in Monty and in confined CPython: the same values, prints and calls.

Two sources: random programs (`programs`), and tables: everything in `monty_facts` that may be
called, with every combination of a few arguments. Only what `needs_full_python` leaves to Monty is run.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from typing import Any

from oneturn.errors import ValueRefused
from oneturn.program import Program, monty_facts, needs_full_python, parse
from oneturn.sandbox.base import Sandbox
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.monty import MontySandbox
from oneturn.testing.steps import echo, finish, script
from oneturn.types import Answer, Call, Failure, Limits
from oneturn.values import plain

from .base import Found, Proof, Report
from .programs import program

CHUNK = 200  # programs of one item
_CHUNKS = 200
_SLICES = 40
_TOGETHER = 25  # calls of a table in one script
_LIMITS = Limits(cpu_seconds=10.0)
_RECEIVERS = (
    *(
        "''",
        "'abc'",
        "' A,b c\\n'",
        "'é1'",
        "b'ab'",
        "[]",
        "[3, 1, 2]",
        "['b', 'a']",
        "{}",
        "{'a': 1, 'b': [2]}",
    ),
    *(
        "{1, 2}",
        "frozenset({'a'})",
        "(1, 'a')",
        "Counter('abca')",
        "deque([1, 2])",
        "5",
        "1.5",
        "None",
        "True",
    ),
    *(
        "datetime.datetime(2024, 2, 29, 13, 5, 9, 7)",
        "datetime.date(2024, 2, 29)",
        "datetime.timedelta(days=2, hours=5)",
    ),
    *(
        "re.search('(b)(c)?', 'abc')",
        "re.compile('[a-c]')",
        "hashlib.md5(b'a')",
        "defaultdict(int, {'a': 1})",
    ),
)
_ARGUMENTS = (
    *(
        "",
        "'a'",
        "''",
        "','",
        "1",
        "0",
        "-1",
        "2.5",
        "None",
        "True",
        "[1, 2]",
        "['a', 'b']",
        "(1, 'a')",
        "{'a': 5}",
    ),
    *(
        "{1}",
        "b'a'",
        "'é'",
        "'5'",
        "'%Y-%m-%d'",
        "len",
        "[[1, 2], [3]]",
        "[0.1, 0.2]",
        "'[1]'",
    ),
)
_FEW = ("'a'", "''", "1", "0", "-1", "[3, 1]", "(1, 2)", "{'a': 5}", "len")
_AT = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")  # an address is another in every run
_FLOAT = re.compile(r"[0-9]{11,}\.[0-9]+")  # long enough that Monty may end it in the other of two digits
_IMPORTS = (
    "import asyncio, base64, bisect, copy, datetime, functools, hashlib, itertools, json, math, random, re",
    "from collections import Counter, defaultdict, deque",
)


def told(sandbox: Sandbox, source: str) -> dict[str, Any]:
    """What came of a script, as JSON has it: value, prints, calls, and the kind and text of its error."""
    run = sandbox.open(_LIMITS, 1)
    with closing(run):
        end, calls, prints = finish(run, run.start(script(source)), _answer)
    error = [end.error.kind, end.error.message] if end.error else None
    value = ""
    try:
        value = "" if error else _crossed(end.value)
    except ValueRefused as refused:  # as a run's value is refused by the host, or already by its guest
        error = ["ValueError", str(refused).rstrip(".")]
    return {
        "value": value,
        "prints": _AT.sub("<object>", prints.encode("utf-8", "backslashreplace").decode()),
        "calls": [each for call in calls if (each := _sent(call)) is not None],
        "error": error,
    }


def _crossed(value: Any) -> str:
    return repr(plain(value, _LIMITS, what="the script's value", from_script=True))


def _sent(call: Call) -> list[str] | None:
    """A call as a gate would send it; None when it is no tool's, or its arguments are not plain data."""
    if call.kind != "tool":
        return None
    try:
        return [call.kind, call.name, _crossed(call.args), _crossed(dict(call.kwargs))]
    except ValueRefused:
        return None


def _answer(call: Call) -> Answer:
    if call.kind == "tool" and _sent(call) is None:
        return Answer(call.id, failure=Failure("ValueError", "the arguments are not plain data"))
    answer = echo(call)
    return replace(answer, value=plain(answer.value, _LIMITS))


def difference(here: dict[str, Any], there: dict[str, Any]) -> str:
    """What differs between two runs: nothing, or the first of what a caller would notice."""
    if (here["error"] is None) != (there["error"] is None):
        return "error"
    for part in ("value", "prints", "calls"):
        if here[part] != there[part]:
            rounded = [_FLOAT.sub(_nearest, json.dumps(each[part])) for each in (here, there)]
            return "digit" if rounded[0] == rounded[1] else part
    if here["error"] is None or here["error"] == there["error"]:
        return ""
    return "words" if here["error"][0] == there["error"][0] else "kind"


def _nearest(found: re.Match[str]) -> str:
    return repr(float(found[0]))


def stays(source: str) -> bool:
    """Whether a script is left to Monty."""
    parsed = parse(source)
    return isinstance(parsed, Program) and needs_full_python(parsed) is None


@cache
def sandboxes() -> tuple[Sandbox, Sandbox]:
    """Monty and CPython, for as long as this process lives."""
    return MontySandbox(workers=2), CPythonSandbox(processes=4)


def compared(sources: Iterable[str], both: tuple[Sandbox, Sandbox] | None = None) -> Found:
    """Run each script that is left to Monty in both places, and count what differs."""
    monty, python = both or sandboxes()
    counts: Counter[str] = Counter()
    found: list[list[Any]] = []
    for source in sources:
        counts["programs"] += 1
        if not stays(source):
            continue
        counts["left to Monty"] += 1
        here, there = told(monty, source), told(python, source)
        what = difference(here, there)
        counts[what or "same"] += 1
        if what not in ("", "words", "digit"):
            found.append([what, source, here, there])
    return {"counts": counts, "found": found}


def calls() -> list[str]:
    """Every call of the tables as an expression, whether it is left to Monty or not."""
    made = [f"{name}({args})" for name, each in monty_facts.BUILTINS.items() for args in _combinations(each)]
    made += [
        f"{name}({args})" for name, each in monty_facts.FUNCTIONS.items() for args in _combinations(each)
    ]
    for name, function in monty_facts.METHODS.items():
        made += [f"({each}).{name}({args})" for each in _RECEIVERS for args in _combinations(function)]
    return [call for call in made if not call.startswith(("print", "time.", "asyncio.", "random."))]


def _combinations(function: monty_facts.Function) -> Iterator[str]:
    if function.least == 0:
        yield ""
    if function.least <= 1 <= function.most:
        yield from _ARGUMENTS
    if function.least <= 2 <= function.most:
        yield from map(", ".join, itertools.product(_FEW, repeat=2))


def _shown(expressions: Sequence[str]) -> str:
    lines = list(_IMPORTS)
    for expression in expressions:
        lines += ["try:", f"    print(repr({expression}))", "except Exception:", "    print('failed')"]
    return "\n".join([*lines, "None"])


def tables(part: int, parts: int, seed: int) -> Iterator[str]:
    """One part of the tables as scripts; the seed decides which calls stand beside which."""
    every = calls()
    random.Random(seed).shuffle(every)  # noqa: S311
    mine = [call for call in every[part::parts] if stays(_shown([call]))]
    for first in range(0, len(mine), _TOGETHER):
        yield _shown(mine[first : first + _TOGETHER])


def _items(seed: int) -> Sequence[str]:
    return [*(f"random {chunk}" for chunk in range(_CHUNKS)), *(f"tables {part}" for part in range(_SLICES))]


def _check(item: str, seed: int) -> Found:
    kind, number = item.split()
    if kind == "tables":
        return compared(tables(int(number), _SLICES, seed))
    first = int(number) * CHUNK
    return compared(program(f"{seed}-{index}") for index in range(first, first + CHUNK))


def _report(found: dict[str, Found]) -> Report:
    columns = (
        "programs",
        "left to Monty",
        "same",
        "digit",
        "words",
        "kind",
        "value",
        "prints",
        "calls",
        "error",
    )
    lines = [
        "| source | programs | left to Monty | the same | the same but for the last digit of a large float | fail with other words | fail with another kind "
        "| other value | other prints | other calls | only one fails |",
        f"|---|{'---|' * len(columns)}",
    ]
    for source in ("random", "tables"):
        total: Counter[str] = Counter()
        for item, each in found.items():
            if item.startswith(source):
                total.update(each["counts"])
        lines.append(f"| {source} | " + " | ".join(f"{total[column]:,}" for column in columns) + " |")
    wrong = [each for part in found.values() for each in part["found"] if each[0] != "kind"]
    lines += [
        "",
        "A script of the tables holds 25 calls. Errors that end a script may differ in words, and where a "
        "value of a wrong type is formatted or sliced in kind; a script that could tell is not left to Monty.",
    ]
    shown = [f"- {what}: `{json.dumps(source)}`" for what, source, _, _ in wrong[:50]]
    return Report(not wrong, [*lines, *(["", *shown] if shown else [])])


DIFFERENTIAL = Proof("differential", "What is left to Monty comes out as in CPython", _items, _check, _report)
