"""What a proof is, and running one: in parallel, seeded, going on where it was stopped.

Every finished item is a line in a file under `.data/proofs`, so a proof that was interrupted does
only the rest. The file belongs to one state of the source tree: after a change the proof starts anew.
There is no report before every item has been checked, so none is about a part.
"""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.progress import track

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".data" / "proofs"
_WATCHED = ("src", "proofs", "benchmarks", "tests/corpus", "tests/tools", "tests/hostile")

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
        check: What is found for one item and seed, as JSON has it. A function of a module: it runs in
            worker processes. What it raises ends the proof; what was finished before is kept.
        report: What all that was found comes to, by item.
    """

    name: str
    claim: str
    items: Callable[[int], Sequence[str]]
    check: Callable[[str, int], Found]
    report: Callable[[dict[str, Found]], Report]


def run(proof: Proof, seed: int, workers: int | None = None, state: Path = STATE) -> Report:
    """Check every item that is not checked yet, and report on all of them.

    Args:
        proof: What to prove.
        seed: What everything random in it is made from.
        workers: Processes; as many as there are processors when not given.
        state: Where finished items are kept.
    """
    state.mkdir(parents=True, exist_ok=True)
    path = state / f"{proof.name}-{seed}-{tree()}.jsonl"
    found = _finished(path)
    items = proof.items(seed)
    left = [item for item in items if item not in found]
    with path.open("a", encoding="utf-8") as log:
        _check(proof, seed, left, found, log, workers or os.cpu_count() or 1)
    return proof.report({item: found[item] for item in items})


def _check(
    proof: Proof, seed: int, items: Sequence[str], found: dict[str, Found], log: TextIO, workers: int
) -> None:
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _end_with_parent
    )
    try:
        waiting = {pool.submit(proof.check, item, seed): item for item in items}
        done = concurrent.futures.as_completed(waiting)
        for future in track(done, f"{proof.name} …", total=len(items)):
            item = waiting[future]
            found[item] = future.result()
            # The line feed comes first: a line that an earlier run was stopped in the middle of ends there.
            log.write("\n" + json.dumps([item, found[item]]))
            log.flush()
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Have this worker end when the proof is killed, instead of waiting for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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


@functools.cache
def tree() -> str:
    """A hash of the source a proof rests on, as it was when it was first asked for."""
    digest = hashlib.sha256()
    for folder in _WATCHED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
