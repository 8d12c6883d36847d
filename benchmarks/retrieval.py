"""How well search finds the right tools, on public sets and real APIs, beside a plain BM25.

`python -m benchmarks.retrieval` prints the share of the right tools among the first 1, 5 and 10, and nDCG
at 10, all in percent; `--json` prints the same for machines.

BFCL: the Berkeley Function Calling Leaderboard, fetched from the package `bfcl-eval`; `--bfcl FOLDER` takes
a copy of its data folder instead. MetaTool: 497 questions over 47 tools, two of them right. It is in no
package registry, so it is measured when `--metatool FILE` gives it, as
`{"tools": [{"name", "description"}], "queries": [{"q", "gold"}]}`. Of BFCL, all functions of the eight
Python categories of one turn that have a right answer are put together, one for each name: 1,287 of them,
with 2,351 questions.

APIs: the short queries of `api_queries.json`, as a model writes them, over every operation of GitHub, Stripe
and Kubernetes. They were written from knowledge of the APIs before any ranking was looked at; a hash of each
query says whether search may be developed on it or is only measured by it, in the held-out half.
"""

from __future__ import annotations

import argparse
import hashlib
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

from oneturn import CodeMode
from oneturn.tools.search import Embedder, SearchIndex, StaticEmbedder
from oneturn.types import Tool

from .data import bfcl as bfcl_folder
from .data import document

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
API_QUERIES = Path(__file__).with_name("api_queries.json")
DEPTH = 10
Search = Callable[[str], Sequence[str]]
Figures = tuple[float, ...]


@dataclass(frozen=True)
class Question:
    """What a user asks, and the names of the tools that answer it."""

    text: str
    right: frozenset[str]


@dataclass(frozen=True)
class Row:
    """One contender on one set, whose name says how many queries it has; in percent."""

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


def apis(held_out: bool) -> dict[str, tuple[list[Tool], list[Question]]]:
    """The tools of each real API, and one half of the queries over them."""
    sets = {}
    for name, api in json.loads(API_QUERIES.read_text()).items():
        app = CodeMode(allow=["*"])
        app.add_openapi(name, document(api["document"]), base_url=f"https://{name}.example.com")
        with app:
            tools = list(app.tools())
        known = {tool.name for tool in tools}
        if missing := {right for each in api["queries"] for right in each["right"]} - known:
            raise ValueError(f"{name} has no tool called {', '.join(sorted(missing))}.")
        chosen = [each for each in api["queries"] if _held_out(name, each["query"]) is held_out]
        sets[name] = tools, [Question(each["query"], frozenset(each["right"])) for each in chosen]
    return sets


def _held_out(api: str, query: str) -> bool:
    return hashlib.sha256(f"{api}: {query}".encode()).digest()[0] % 2 == 1


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
    return _averaged(dataset, contender, [_asked(search, question) for question in questions])


def _asked(search: Search, question: Question) -> Figures:
    """Recall at 1, 5 and 10 and nDCG of one question."""
    found = search(question.text)
    recalls = [
        len(question.right.intersection(found[:depth])) / len(question.right) for depth in (1, 5, DEPTH)
    ]
    ideal = sum(1 / math.log2(at + 2) for at in range(min(DEPTH, len(question.right))))
    hits = (at for at, name in enumerate(found[:DEPTH]) if name in question.right)
    return (*recalls, sum(1 / math.log2(at + 2) for at in hits) / ideal)


def _averaged(dataset: str, contender: str, figures: Sequence[Figures]) -> Row:
    return Row(
        f"{dataset} ({len(figures):,})",
        contender,
        *(round(100 * sum(column) / len(figures), 1) for column in zip(*figures, strict=True)),
    )


def contenders() -> dict[str, Callable[[Sequence[Tool]], Search]]:
    """What is compared, each made from the tools; by meaning only where its extra is installed."""
    made: dict[str, Callable[[Sequence[Tool]], Search]] = {"plain BM25": plain, "lexical": ours}
    if importlib.util.find_spec("wordllama"):
        made["hybrid"] = lambda tools: ours(tools, StaticEmbedder())
    return made


def measure_apis(held_out: bool) -> list[Row]:
    """Each API on its own, and all queries together."""
    half = "held out" if held_out else "develop"
    rows, sets = [], apis(held_out)
    for contender, make in contenders().items():
        every: list[Figures] = []
        for name, (tools, questions) in sets.items():
            search = make(tools)
            figures = [_asked(search, question) for question in questions]
            rows.append(_averaged(f"{name} {half}, {len(tools):,} tools", contender, figures))
            every += figures
        rows.append(_averaged(f"APIs {half}", contender, every))
    return sorted(rows, key=lambda row: row.dataset.startswith("APIs"))


def main() -> None:
    """Measure every contender on the sets that are given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--metatool", type=Path, help="the MetaTool set, one JSON file")
    parser.add_argument("--bfcl", type=Path, help="the data folder of BFCL, instead of fetching it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sets = {}
    if options.metatool:
        sets["MetaTool"] = metatool(options.metatool)
    sets["BFCL"] = bfcl(options.bfcl or bfcl_folder())
    rows = []
    for dataset, (tools, questions) in sets.items():
        label = f"{dataset}, {len(tools):,} tools"
        rows += [measure(label, name, make(tools), questions) for name, make in contenders().items()]
    rows += measure_apis(held_out=False) + measure_apis(held_out=True)
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
