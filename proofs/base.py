"""What a proof is, and running one: in parallel, seeded, going on where it was stopped.

Every finished item is a line in a file under `.data/proofs`, so a proof that was interrupted does
only the rest. The file belongs to one state of the source tree: after a change the proof starts anew.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.progress import track

ROOT = Path(__file__).parents[1]
_STATE = ROOT / ".data" / "proofs"
_WATCHED = ("src", "proofs", "benchmarks", "tests/corpus", "tests/tools")

Found = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What a proof came to: whether it holds, and lines of Markdown with exact counts."""

    holds: bool
    lines: Sequence[str]


@dataclass(frozen=True)
class Proof:
    """One claim about many items.

    Attributes:
        name: A word for the command line.
        claim: What is proved, in a sentence.
        items: Every item for a seed, as text that says which one it is.
        check: What is found for one item and seed; runs in a process of its own pool.
        report: What all that was found comes to, by item.
    """

    name: str
    claim: str
    items: Callable[[int], Sequence[str]]
    check: Callable[[str, int], Found]
    report: Callable[[dict[str, Found]], Report]


def run(proof: Proof, seed: int, workers: int | None = None) -> Report:
    """Check every item that is not checked yet, and report on all of them."""
    _STATE.mkdir(parents=True, exist_ok=True)
    path = _STATE / f"{proof.name}-{seed}-{_tree()}.jsonl"
    found = _finished(path)
    items = proof.items(seed)
    open_items = [item for item in items if item not in found]
    with path.open("a", encoding="utf-8") as log:
        _check(proof, seed, open_items, found, log, workers or os.cpu_count() or 1)
    return proof.report({item: found[item] for item in items})


def _check(
    proof: Proof, seed: int, items: Sequence[str], found: dict[str, Found], log: TextIO, workers: int
) -> None:
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        waiting = {pool.submit(proof.check, item, seed): item for item in items}
        done = concurrent.futures.as_completed(waiting)
        for future in track(done, f"{proof.name} …", total=len(items)):
            item = waiting[future]
            found[item] = future.result()
            log.write(json.dumps([item, found[item]]) + "\n")
            log.flush()


def _finished(path: Path) -> dict[str, Found]:
    """What an earlier run got done; a line it was stopped in the middle of does not count."""
    found: dict[str, Found] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                item, result = json.loads(line)
            except ValueError:
                continue
            found[item] = result
    return found


def _tree() -> str:
    """A hash of everything a proof rests on."""
    digest = hashlib.sha256()
    for folder in _WATCHED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
