"""The check before a run: what it costs, and that it stops no correct script.

`python -m benchmarks.check` times each kind of check beside a trivial run.
`python -m benchmarks.check --bfcl` turns the gold answers of the Berkeley Function Calling Leaderboard
into scripts, checks every one, and asks the gate about each that is stopped. The answers are fetched
from the package `bfcl-eval` (Apache 2.0); `--bfcl DIR` takes them from a copy of its `data` folder, and
`--sample FILE` keeps a part of it as JSON.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneturn import CodeMode, Tool
from oneturn.checking import Checker
from oneturn.gate.arguments import Arguments
from oneturn.gate.base import Budget, Context, Request
from oneturn.program import Program, parse
from oneturn.program.reach import is_pythons
from oneturn.tools.names import identifier, parameter_names
from oneturn.tools.scope import Allow, Scope
from oneturn.types import Call, Failure, Limits

from .data import bfcl as bfcl_folder

ORIGIN = (
    "Berkeley Function Calling Leaderboard, Apache License 2.0, from the package bfcl-eval: function "
    "documents turned into JSON Schema, gold answers turned into scripts."
)
SINGLE = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
)
TURNS = ("multi_turn_base", "multi_turn_long_context", "multi_turn_miss_func", "multi_turn_miss_param")
DOCUMENTS = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
# Their spelling of types, as their own checker reads it; `any` takes anything.
TYPES = {
    "dict": "object",
    "hashmap": "object",
    "hashtable": "object",
    "object": "object",
    "float": "number",
    "double": "number",
    "number": "number",
    "integer": "integer",
    "int": "integer",
    "long": "integer",
    "short": "integer",
    "byte": "integer",
    "bigint": "integer",
    "boolean": "boolean",
    "bool": "boolean",
    "string": "string",
    "char": "string",
    "array": "array",
    "arraylist": "array",
    "list": "array",
    "tuple": "array",
    "queue": "array",
    "stack": "array",
}


@dataclass(frozen=True)
class Case:
    """One gold answer: the tools it may use, and the calls it makes."""

    id: str
    tools: tuple[Tool, ...]
    calls: tuple[tuple[str, tuple[Any, ...], Mapping[str, Any]], ...]
    scripts: tuple[str, ...]


@dataclass
class Count:
    """What became of the scripts of one category."""

    scripts: int = 0
    blocked: int = 0
    refused_too: int = 0
    false: list[str] = field(default_factory=list)
    missed: int = 0


def schema(declared: Any) -> dict[str, Any]:
    """One of their parameter documents as JSON Schema."""
    if not isinstance(declared, Mapping):
        return {}
    found: dict[str, Any] = {}
    kind = TYPES.get(str(declared.get("type", "")).lower())
    if kind:
        found["type"] = kind
    if "enum" in declared:
        found["enum"] = declared["enum"]
    properties = declared.get("properties")
    if isinstance(properties, Mapping):
        found["properties"] = {name: schema(part) for name, part in properties.items()}
    if isinstance(declared.get("required"), list):
        found["required"] = [name for name in declared["required"] if isinstance(name, str)]
    if "items" in declared and kind == "array":
        found["items"] = schema(declared["items"])
    return found


def tool(document: Mapping[str, Any], namespace: str = "") -> Tool:
    """One of their function documents as a tool."""
    name = ".".join(identifier(part) for part in document["name"].split("."))
    given = {"properties": {}, **schema(document["parameters"]), "type": "object"}
    result = document.get("response")
    return Tool(
        f"{namespace}.{name}" if namespace else name,
        str(document.get("description", ""))[:300],
        given,
        schema(result) if isinstance(result, Mapping) else None,
        effect="read",
    )


def chosen(options: Any) -> Any:
    """The first accepted value that is not 'may be left out'."""
    if not isinstance(options, list):
        return options
    stated = [option for option in options if option != ""]
    return plain(stated[0]) if stated else ""


def plain(value: Any) -> Any:
    """A value, with the options inside dicts decided."""
    if isinstance(value, dict):
        return {key: chosen(options) for key, options in value.items() if options != [""]}
    return [plain(each) for each in value] if isinstance(value, list) else value


def written(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call as source."""
    parts = [repr(value) for value in args]
    parts += [
        f"{key}={value!r}" if key.isidentifier() else f"**{{{key!r}: {value!r}}}"
        for key, value in kwargs.items()
    ]
    return f"{name}({', '.join(parts)})"


def single(folder: Path, category: str) -> Iterator[Case]:
    """The cases of a category of single answers."""
    questions = map(json.loads, (folder / f"BFCL_v4_{category}.json").read_text().splitlines())
    answers = map(
        json.loads, (folder / "possible_answer" / f"BFCL_v4_{category}.json").read_text().splitlines()
    )
    documents = {each["id"]: each["function"] for each in questions}
    for answer in answers:
        tools: dict[str, Tool] = {}
        by_original: dict[str, Tool] = {}
        for document in documents[answer["id"]]:
            made = tool(document)
            by_original[document["name"]] = tools[made.name] = made
        calls = []
        for each in answer["ground_truth"]:
            for name, arguments in each.items():
                called = by_original[name]
                names = {original: spelt for spelt, original in parameter_names(called.input_schema).items()}
                needed = called.input_schema.get("required", ())
                given = {
                    names.get(key, key): chosen(options)
                    for key, options in arguments.items()
                    if key in needed or not (isinstance(options, list) and "" in options[:1])
                }
                calls.append((called.name, (), given))
        lines = [written(f"tools.{name}", args, kwargs) for name, args, kwargs in calls]
        direct = "\n".join(f"await {line}" for line in lines)
        gathered = f"import asyncio\nreturn await asyncio.gather({', '.join(lines)})"
        variables: list[str] = []
        for index, (name, _, kwargs) in enumerate(calls):
            variables += [f"{key}_{index} = {value!r}" for key, value in kwargs.items()]
            passed = ", ".join(f"{key}={key}_{index}" for key in kwargs)
            variables.append(f"result_{index} = await tools.{name}({passed})")
        yield Case(
            answer["id"], tuple(tools.values()), tuple(calls), (direct, gathered, "\n".join(variables))
        )


def turns(folder: Path, category: str) -> Iterator[Case]:
    """The cases of a category of several turns: one script for all of them."""
    documents = {
        name: [
            tool(json.loads(line), identifier(name.lower()))
            for line in (folder / "multi_turn_func_doc" / f"{file}.json").read_text().splitlines()
        ]
        for name, file in DOCUMENTS.items()
    }
    questions = map(json.loads, (folder / f"BFCL_v4_{category}.json").read_text().splitlines())
    involved = {each["id"]: each["involved_classes"] for each in questions}
    answers = map(
        json.loads, (folder / "possible_answer" / f"BFCL_v4_{category}.json").read_text().splitlines()
    )
    for answer in answers:
        tools = tuple(each for name in involved[answer["id"]] for each in documents[name])
        scope = Scope(tools, [Allow.of("*")])
        calls, lines = [], []
        for text in (text for turn in answer["ground_truth"] for text in turn):
            node = ast.parse(text).body[0].value  # type: ignore[attr-defined]
            short = node.func.id
            sharing = [each.name for each in tools if each.short_name == short]
            bare = not is_pythons(short) and len(sharing) == 1
            lines.append(f"await {text}" if bare else f"await tools.{sharing[0].rpartition('.')[0]}.{text}")
            args = tuple(ast.literal_eval(each) for each in node.args)
            kwargs = {each.arg: ast.literal_eval(each.value) for each in node.keywords}
            found = scope.get(sharing[0])
            assert found is not None
            calls.append((found.name, args, kwargs))
        yield Case(answer["id"], tools, tuple(calls), ("\n".join(lines),))


def refused(case: Case, scope: Scope) -> bool:
    """Whether the gate itself refuses one of the calls."""
    guard, context = Arguments(), Context(scope, Limits(), Budget())
    for name, args, kwargs in case.calls:
        verdict = guard(Request(Call(0, "tool", name, args, kwargs), scope.get(name)), context)
        if isinstance(verdict, Failure):
            return True
    return False


def categories() -> tuple[str, ...]:
    """Every category there is."""
    return SINGLE + TURNS


def cases_of(folder: Path, category: str) -> Iterator[Case]:
    """The cases of any category."""
    return turns(folder, category) if category in TURNS else single(folder, category)


def sampled(case: Case, wrong: bool) -> dict[str, Any]:
    """A case as the tests keep it: the tools it calls and one of its scripts."""
    names = {name for name, _, _ in case.calls}
    tools = [
        {"name": each.name, "input_schema": each.input_schema, "output_schema": each.output_schema}
        for each in case.tools
        if each.name in names
    ]
    return {"id": case.id, "tools": tools, "scripts": case.scripts, "refused": wrong}


def judge_case(checker: Checker, case: Case, count: Count) -> bool:
    """Check every script of a case and count what came out. Whether the gate refuses the case."""
    scope = Scope(case.tools, [Allow.of("*")])
    wrong = refused(case, scope)
    for index, script in enumerate(case.scripts):
        program = parse(script)
        assert isinstance(program, Program), (script, program)
        checked = checker.check(program, scope)
        count.scripts += 1
        if checked.error is not None:
            count.blocked += 1
            count.refused_too += wrong
            if not wrong:
                count.false.append(f"{case.id} [{index}]: {checked.error.kind}: {checked.error.message}")
        elif wrong:
            count.missed += 1
    return wrong


def judge(folder: Path, sample: Path | None) -> int:
    """Check all of it; the number of false alarms."""
    counts: dict[str, Count] = {}
    kept: list[dict[str, Any]] = []
    checker = Checker()
    for category, case in ((name, case) for name in categories() for case in cases_of(folder, name)):
        count = counts.setdefault(category, Count())
        wrong = judge_case(checker, case, count)
        if sample is not None and (
            count.scripts // len(case.scripts) % 20 == 1 or (wrong and count.blocked < 7)
        ):
            kept.append(sampled(case, wrong))
    checker.close()
    if sample is not None:
        sample.write_text(json.dumps({"origin": ORIGIN, "cases": kept}, separators=(",", ":")) + "\n")
    print(f"{'category':26} scripts blocked (gate refuses too) missed false")
    for category, count in counts.items():
        row = (count.scripts, count.blocked, count.refused_too, count.missed, len(count.false))
        print(f"{category:26} {row[0]:7} {row[1]:7} {row[2]:19} {row[3]:6} {row[4]:5}")
    alarms = [alarm for count in counts.values() for alarm in count.false]
    print(f"scripts {sum(each.scripts for each in counts.values())}, false alarms {len(alarms)}")
    print(*alarms[:20], sep="\n")
    return len(alarms)


# --- what it costs

SCRIPT = """
import asyncio

issues = await tools.lab.issues(repo="a/b", state="open")
details = await asyncio.gather(*[tools.lab.issue(number=issue["number"]) for issue in issues])
titles = {each["number"]: each["title"].upper() for each in details}
for number, title in titles.items():
    if "BUG" in title:
        await tools.lab.label(number=number, label="bug")
return titles
"""


async def costs(rounds: int) -> None:
    """Time by kind of check, and beside a trivial run."""
    issue = {
        "type": "object",
        "properties": {"number": {"type": "integer"}, "title": {"type": "string"}},
        "required": ["number", "title"],
    }
    text, whole = {"type": "string"}, {"type": "integer"}
    tools = [
        Tool(
            "lab.issues",
            "",
            _takes(repo=text, state={"enum": ["open", "closed"]}),
            {"type": "array", "items": issue},
        ),
        Tool("lab.issue", "", _takes(number=whole), issue),
        Tool("lab.label", "", _takes(number=whole, label=text), None),
        *(Tool(f"n{index}.t{index}", "", _takes(a=text), issue) for index in range(1_000)),
    ]
    scope = Scope(tools, [Allow.of("*")])
    checker = Checker()
    first: dict[str, list[float]] = {}
    again: list[float] = []
    for index in range(rounds):
        program = parse(f"{SCRIPT}# {index}")
        assert isinstance(program, Program)
        for _ in range(2):
            began = time.perf_counter()
            checked = checker.check(program, scope)
            taken = time.perf_counter() - began
            assert checked.error is None, checked.error
            for kind, seconds in {**checked.seconds, "all": taken}.items():
                (first.setdefault(kind, []) if checked.seconds else again).append(seconds)
    checker.close()
    trivial: list[float] = []
    async with CodeMode(allow=["*"]) as app:
        for _ in range(rounds):
            began = time.perf_counter()
            assert (await app.execute("1 + 1")).ok
            trivial.append(time.perf_counter() - began)
    base = statistics.median(trivial)
    print(
        f"Python {sys.version.split()[0]}; medians of {rounds}; "
        f"ratios to a trivial run ({base * 1e6:,.0f} µs)"
    )
    for kind, times in {**first, "repeated": again}.items():
        median = statistics.median(times)
        print(f"{kind:12} {median * 1e6:10,.0f} µs {median / base:8.2f} ×")


def _takes(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument(
        "--bfcl", nargs="?", const="", metavar="DIR", help="check the gold answers, those of DIR if given"
    )
    parser.add_argument("--sample", type=Path, help="write a sample of it as JSON")
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    if options.bfcl is None:
        asyncio.run(costs(options.rounds))
    elif judge(Path(options.bfcl) if options.bfcl else bfcl_folder(), options.sample):
        sys.exit(1)


if __name__ == "__main__":
    main()
