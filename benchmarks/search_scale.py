"""How search grows with the catalog: build time, memory and time of a search at 1,000 to 100,000 tools.

`python -m benchmarks.search_scale` makes catalogs from a fixed seed and measures each size in a process
of its own; `--embeddings` searches by meaning too, `--json` prints the same for machines.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from oneturn.tools.search import SearchIndex, StaticEmbedder
from oneturn.types import Effect, Tool

SIZES = (1_000, 10_000, 100_000)
SERVICES = """github gitlab jira slack stripe shopify salesforce zendesk twilio sendgrid dropbox notion asana
trello linear datadog grafana kubernetes docker aws azure gcp postgres mongodb redis kafka hubspot mailchimp
intercom airtable calendar drive docs sheets maps youtube spotify weather travel payroll banking inventory"""
VERBS = "get list create update delete search send export import archive restore assign approve cancel sync"
THINGS = """issue comment repository branch release pipeline deployment incident alert dashboard metric
invoice payment refund customer subscription order product shipment ticket message channel thread contact
lead deal campaign template file folder document page table record event meeting reminder task project
milestone team member role permission token webhook secret bucket instance cluster node volume snapshot
backup database query index report forecast route address playlist track video caption employee contract
expense budget"""
EXTRAS = """status history settings attachments labels statistics details permissions members versions
summary schedule limits preferences relations archive metadata preview activity"""
PROSE = """the a of for in by with and to from its all current given new existing returns every matching user
account workspace organization optional filter result page size date time name identifier list value type
including before after when requested belongs default maximum number field system remote service"""
EFFECTS: tuple[Effect, ...] = ("read", "write", "destructive")


@dataclass(frozen=True)
class Row:
    """One size and kind of search. Memory is what building added, in MB.

    Times of a search are in milliseconds: by the wall clock, and `cpu_p95` what it computes, which a busy
    machine does not stretch.
    """

    tools: int
    build_seconds: float
    memory_mb: float
    search: str
    p50: float
    p95: float
    cpu_p95: float


def catalog(size: int, seed: int = 7) -> list[Tool]:
    """So many tools in the style of real services, always the same ones."""
    dice = random.Random(seed)
    services, verbs, things, extras = (text.split() for text in (SERVICES, VERBS, THINGS, EXTRAS))
    prose = PROSE.split() + things
    names = [f"{verb}_{thing}_{extra}" for verb, thing, extra in itertools.product(verbs, things, extras)]
    dice.shuffle(names)
    tools = []
    for at in range(size):
        service, name = services[at % len(services)], names[at // len(services) % len(names)]
        sentence = " ".join([*name.split("_"), *dice.choices(prose, k=dice.randint(6, 30))])
        properties = {
            f"{word}_{dice.choice(('id', 'name', 'filter'))}": {
                "type": "string",
                "description": " ".join(dice.choices(prose, k=dice.randint(3, 12))),
            }
            for word in dice.sample(things, dice.randint(1, 6))
        }
        tools.append(
            Tool(
                f"{service}.{name}",
                f"{sentence.capitalize()}.",
                {"type": "object", "properties": properties},
                effect=dice.choice(EFFECTS),
                labels=(dice.choice(extras),),
                source=service,
                original=name,
            )
        )
    return tools


def queries(count: int, seed: int = 11) -> list[str]:
    """So many queries of about five words, two of them of the kind every tool has."""
    dice = random.Random(seed)
    services, verbs, things, extras = (text.split() for text in (SERVICES, VERBS, THINGS, EXTRAS))
    pick = dice.choice
    return [
        f"{pick(verbs)} the {pick(things)} {pick(extras)} of a {pick(things)} in {pick(services)}"
        for _ in range(count)
    ]


def resident_mb() -> float:
    """Memory this process holds now, in MB."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def percentile(times: list[float], percent: int) -> float:
    """The time that so many percent of the times do not exceed."""
    return round(statistics.quantiles(times, n=100)[percent - 1], 2)


def measure(size: int, searches: int, embeddings: bool) -> list[Row]:
    """Build one catalog's index and time searches of several kinds."""
    tools = catalog(size)
    embedder = StaticEmbedder() if embeddings else None
    SearchIndex(tools[:10], embedder).search("get issue")  # imports and the model itself are not counted
    before, start = resident_mb(), time.perf_counter()
    index = SearchIndex(tools, embedder)
    index.prepare()
    seconds, memory = time.perf_counter() - start, resident_mb() - before
    scope = index.within(tools[::10])
    asked = queries(searches)
    kinds = {
        "one query": lambda query: index.search(query),
        "filters": lambda query: index.search(query, effect="read", namespace="github", label="history"),
        "three queries": lambda query: index.search([query, "list open invoices", "send a message"]),
        "scope of a tenth": lambda query: scope.search(query),
    }
    rows = []
    for kind, search in kinds.items():
        wall, cpu = [], []
        for query in [*asked[:20], *asked]:
            begin, computed = time.perf_counter(), time.thread_time()
            search(query)
            wall.append((time.perf_counter() - begin) * 1_000)
            cpu.append((time.thread_time() - computed) * 1_000)
        p50, p95 = percentile(wall[20:], 50), percentile(wall[20:], 95)
        rows.append(Row(size, round(seconds, 2), round(memory, 1), kind, p50, p95, percentile(cpu[20:], 95)))
    return rows


def main() -> None:
    """Measure each size in a fresh process and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--searches", type=int, default=300, help="timed searches of each kind")
    parser.add_argument("--embeddings", action="store_true", help="search by meaning too (an extra)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        rows = [row for size in options.sizes for row in measure(size, options.searches, options.embeddings)]
        print(json.dumps([asdict(row) for row in rows]))
        return
    rows = []
    for size in options.sizes:
        command = [sys.executable, "-m", "benchmarks.search_scale", "--here", "--sizes", str(size)]
        command += ["--searches", str(options.searches), *(["--embeddings"] if options.embeddings else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows += [Row(**row) for row in json.loads(done.stdout)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    table = Table("tools", "build s", "memory MB", "search", "p50 ms", "p95 ms", "CPU p95 ms")
    for row in rows:
        figures = (row.build_seconds, row.memory_mb, row.search, row.p50, row.p95, row.cpu_p95)
        table.add_row(f"{row.tools:,}", *map(str, figures))
    Console().print(table)


if __name__ == "__main__":
    main()
