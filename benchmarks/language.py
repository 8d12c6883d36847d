"""Runs the solutions of a collection of programming tasks, with their tests, wherever `auto` sends them.

`python -m benchmarks.language FILE…` takes JSON lines in the form of HumanEval (`prompt`,
`canonical_solution`, `test`, `entry_point`) or of MBPP (`code`, `test_list`). It counts how many came out
right, where they ran, and names each that did not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import track

from oneturn import CodeMode

RIGHT = "every test passed"


@dataclass(frozen=True)
class Task:
    """A solution and its tests as one script, whose value is `RIGHT` when all of them pass."""

    name: str
    script: str


def tasks(path: Path) -> Iterator[Task]:
    """The tasks of one file."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        row: Mapping[str, Any] = json.loads(line)
        if "canonical_solution" in row:
            body = f"{row['prompt']}{row['canonical_solution']}\n{row['test']}\ncheck({row['entry_point']})"
        else:
            body = "\n".join([row["code"], row.get("test_setup_code", ""), *row["test_list"]])
        yield Task(str(row.get("task_id", number)), f"{body}\n{RIGHT!r}\n")


async def run(found: list[Task]) -> tuple[Counter[str], list[str]]:
    """How many came out right in each place, and what went wrong with the others."""
    places: Counter[str] = Counter()
    wrong: list[str] = []
    async with CodeMode() as app:
        for task in track(found, "running"):
            outcome = await app.execute(task.script)
            if outcome.value == RIGHT:
                places[str(outcome.sandbox)] += 1
            else:
                wrong.append(f"{task.name} ({outcome.sandbox}): {outcome.error}")
    return places, wrong


def main() -> None:
    """Run every task of the files and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args().files:
        found = list(tasks(path))
        places, wrong = asyncio.run(run(found))
        told = ", ".join(f"{count:,} in {place}" for place, count in places.most_common())
        print(f"{path.name}: {sum(places.values()):,} of {len(found):,} right ({told})")
        for each in wrong:
            print(f"  {each}")


if __name__ == "__main__":
    main()
