"""How well search finds the right tools, on two public sets, beside a plain BM25.

`python -m benchmarks.retrieval --metatool FILE --bfcl FOLDER` prints the share of the right tools among the
first 1, 5 and 10, and nDCG at 10, all in percent; `--json` prints the same for machines.

MetaTool: 497 questions over 47 tools, two of them right, as `{"tools": [{"name", "description"}],
"queries": [{"q", "gold"}]}`. BFCL: the data folder of the Berkeley Function-Calling Leaderboard (the package
`bfcl_eval` has it as `bfcl_eval/data`). All functions of its eight Python categories of one turn that have
a right answer are put together, one for each name: 1,287 of them, with 2,351 questions.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bm25s import BM25
from rich.console import Console
from rich.table import Table
from Stemmer import Stemmer

from oneturn.tools.search import Embedder, SearchIndex, StaticEmbedder
from oneturn.types import Tool

CATEGORIES = (
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
)
DEPTH = 10
Search = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Question:
    """What a user asks, and the names of the tools that answer it."""

    text: str
    right: frozenset[str]


@dataclass(frozen=True)
class Row:
    """One contender on one set, in percent."""

    dataset: str
    contender: str
    recall_1: float
    recall_5: float
    recall_10: float
    ndcg_10: float


def metatool(file: Path) -> tuple[list[Tool], list[Question]]:
    """The tools and questions of the MetaTool multi-tool set."""
    data = json.loads(file.read_text())
    tools = [Tool(each["name"], each["description"], original=each["name"]) for each in data["tools"]]
    return tools, [Question(each["q"], frozenset(each["gold"])) for each in data["queries"]]


def bfcl(folder: Path) -> tuple[list[Tool], list[Question]]:
    """The pooled functions and questions of BFCL."""
    tools: dict[str, Tool] = {}
    questions = []
    for category in CATEGORIES:
        file = f"BFCL_v4_{category}.json"
        answers = {row["id"]: row["ground_truth"] for row in _rows(folder / "possible_answer" / file)}
        for row in _rows(folder / file):
            for each in row["function"]:
                name = each["name"]
                tools.setdefault(name, Tool(name, each["description"], each["parameters"], original=name))
            said = [message for turn in row["question"] for message in turn if message["role"] == "user"]
            right = frozenset(name for call in answers[row["id"]] for name in call)
            questions.append(Question(" ".join(message["content"] for message in said), right))
    return list(tools.values()), questions


def _rows(file: Path) -> Iterator[Any]:
    for line in file.read_text().splitlines():
        if line.strip():
            yield json.loads(line)


def ours(tools: Sequence[Tool], embedder: Embedder | None = None) -> Search:
    """Search as it ships."""
    index = SearchIndex(tools, embedder)
    return lambda text: [match.tool.name for match in index.search(text, DEPTH).matches]


def plain(tools: Sequence[Tool]) -> Search:
    """BM25 over names, descriptions and parameters, with camel case split and Porter stems."""
    part = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
    stem = Stemmer("porter").stemWord
    names = [tool.name for tool in tools]

    def terms(text: str) -> list[str]:
        return [stem(word.lower()) for word in part.findall(text)]

    def words(tool: Tool) -> Iterator[str]:
        yield from (tool.name, tool.description)
        for name, schema in tool.input_schema.get("properties", {}).items():
            yield from (name, str(schema.get("description", "")))

    index = BM25(method="lucene", k1=1.5, b=0.75)
    index.index([terms(" ".join(words(tool))) for tool in tools], show_progress=False)

    def search(text: str) -> list[str]:
        known = index.get_tokens_ids(terms(text))
        if not known:
            return []
        scores = index.get_scores_from_ids(known)
        return [names[at] for at in np.argsort(-scores, kind="stable")[:DEPTH] if scores[at] > 0]

    return search


def measure(dataset: str, contender: str, search: Search, questions: Sequence[Question]) -> Row:
    """Ask everything and average."""
    recalls, gain = {1: 0.0, 5: 0.0, 10: 0.0}, 0.0
    for question in questions:
        found = search(question.text)
        for depth in recalls:
            recalls[depth] += len(question.right.intersection(found[:depth])) / len(question.right)
        ideal = sum(1 / math.log2(at + 2) for at in range(min(DEPTH, len(question.right))))
        hits = (at for at, name in enumerate(found[:DEPTH]) if name in question.right)
        gain += sum(1 / math.log2(at + 2) for at in hits) / ideal
    figures = [round(100 * total / len(questions), 1) for total in (*recalls.values(), gain)]
    return Row(dataset, contender, *figures)


def main() -> None:
    """Measure every contender on the sets that are given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--metatool", type=Path, help="the MetaTool set, one JSON file")
    parser.add_argument("--bfcl", type=Path, help="the data folder of BFCL")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.metatool and not options.bfcl:
        parser.error("give --metatool, --bfcl or both")
    sets = {}
    if options.metatool:
        sets["MetaTool"] = metatool(options.metatool)
    if options.bfcl:
        sets["BFCL"] = bfcl(options.bfcl)
    rows = []
    for dataset, (tools, questions) in sets.items():
        contenders = {"plain BM25": plain(tools), "lexical": ours(tools)}
        if importlib.util.find_spec("wordllama"):
            contenders["hybrid"] = ours(tools, StaticEmbedder())
        label = f"{dataset} ({len(questions):,} over {len(tools):,})"
        rows += [measure(label, name, search, questions) for name, search in contenders.items()]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    table = Table("set", "search", "R@1", "R@5", "R@10", "nDCG@10")
    for row in rows:
        figures = (row.recall_1, row.recall_5, row.recall_10, row.ndcg_10)
        table.add_row(row.dataset, row.contender, *(f"{figure:.1f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
