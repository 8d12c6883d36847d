"""How well real OpenAPI documents become tools: `python -m benchmarks.openapi_directory DIR [--json]`.

Goes through every `.json`, `.yaml` and `.yml` file of a folder, opens it as an OpenAPI source, and puts
its tools into a catalog; of a seeded sample of them it compiles the schemas as the gate would, and parses
the stubs that a model reads.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import collections
import concurrent.futures
import dataclasses
import json
import os
import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from oneturn.errors import OneturnError
from oneturn.gate.schemas import Schema
from oneturn.tools.catalog import Catalog
from oneturn.tools.openapi import OpenApi, OpenApiSource
from oneturn.tools.stubs import stub_text
from oneturn.types import Tool

_NAMESPACE = "api"


@dataclasses.dataclass
class Report:
    """What became of one document. Times are seconds."""

    file: str
    refused: str = ""
    operations: int = 0
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    dropped: dict[str, str] = dataclasses.field(default_factory=dict)
    sampled: int = 0
    unusable: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


async def _offered(path: Path) -> tuple[OpenApiSource, Sequence[Tool]]:
    """What a source offers of a document; nothing is sent anywhere."""
    api = OpenApi(_NAMESPACE, path, base_url="https://127.0.0.1", allow_private=("127.0.0.1",))
    source = OpenApiSource(api)
    await source.open()
    tools = await source.list_tools()
    await source.close()
    return source, tools


def check(path: Path, sample: int, seed: int) -> Report:
    """One document, from its text to compiled schemas and stubs."""
    report = Report(str(path))
    start = time.perf_counter()
    try:
        source, tools = asyncio.run(_offered(path))
        catalog = Catalog()
        catalog.replace(_NAMESPACE, tools)
    except OneturnError as error:
        report.refused = str(error)
        return report
    report.seconds = time.perf_counter() - start
    report.operations = len(tools)
    report.skipped = dict(source.skipped)
    report.dropped = dict(catalog.dropped)
    picked = random.Random(f"{seed} {path.name}").sample(catalog.tools, min(sample, len(catalog.tools)))
    report.sampled = len(picked)
    for tool in picked:
        for what, schema in (("input", tool.input_schema), ("output", tool.output_schema)):
            try:
                if schema is not None:
                    Schema(schema).accepts({})
            except Exception as error:
                report.unusable[f"{tool.name} {what}"] = " ".join(str(error).split())[:200]
        try:
            ast.parse(stub_text(tool))
        except SyntaxError as error:
            report.unusable[f"{tool.name} stub"] = str(error)
    return report


def main(arguments: list[str]) -> int:
    """Check a folder and print what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.openapi_directory", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--sample", type=int, default=20, help="tools compiled of each document")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    files = [path for ending in ("json", "yaml", "yml") for path in chosen.folder.rglob(f"*.{ending}")]
    files.sort(key=lambda path: (-path.stat().st_size, path))  # the largest first, so that none is late
    start = time.perf_counter()
    with concurrent.futures.ProcessPoolExecutor(chosen.workers) as pool:
        waiting = [pool.submit(check, path, chosen.sample, chosen.seed) for path in files]
        reports = [each.result() for each in waiting]
    seconds = time.perf_counter() - start
    if chosen.json:
        print(json.dumps({"seconds": seconds, "documents": [dataclasses.asdict(each) for each in reports]}))
    else:
        _print(reports, seconds)
    return 0


def _print(reports: list[Report], seconds: float) -> None:
    loaded = [each for each in reports if not each.refused]
    print(f"documents   {len(reports):,}, of which {len(loaded):,} loaded")
    _reasons("refused", [each.refused for each in reports if each.refused])
    print(f"operations  {sum(each.operations for each in reports):,}")
    _reasons("skipped", [reason for each in reports for reason in each.skipped.values()])
    _reasons("dropped by the catalog", [reason for each in reports for reason in each.dropped.values()])
    tools = sum(each.sampled for each in reports)
    print(f"compiled    {tools:,} tools (input and output schemas)")
    _reasons("cannot be compiled", [reason for each in reports for reason in each.unusable.values()])
    slowest = sorted(loaded, key=lambda each: -each.seconds)[:5]
    print("slowest     " + ", ".join(f"{Path(each.file).name} {each.seconds:.1f} s" for each in slowest))
    print(f"time        {seconds:.1f} s")


def _reasons(what: str, reasons: list[str]) -> None:
    print(f"{what:<12}{len(reasons):,}")
    alike = collections.Counter(re.sub(r"'[^']*'|\d[\d,]*", "…", reason)[:160] for reason in reasons)
    for reason, count in alike.most_common(10):
        print(f"  {count:>6,}  {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
