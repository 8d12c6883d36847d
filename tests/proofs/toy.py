"""A proof about small numbers. Run as a script, it keeps everything in the folder it is given."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from proofs.base import Found, Proof, Report, run

COUNT = 6
SLOW = 3  # from this item on, each waits while a file named `wait` is there


def items(seed: int) -> Sequence[str]:
    return [str(number) for number in range(COUNT)]


def check(item: str, seed: int) -> Found:
    """Leave a mark, so that it is seen how often each item was checked."""
    folder = Path(sys.argv[1])
    while int(item) >= SLOW and (folder / "wait").exists():
        time.sleep(0.01)
    if (folder / "break").exists() and item == str(COUNT - 1):
        raise ValueError("broken")
    with (folder / f"checked-{item}").open("a") as marks:
        marks.write("x")
    return {"square": int(item) ** 2, "seed": seed}


def report(found: dict[str, Found]) -> Report:
    total = sum(each["square"] for each in found.values())
    return Report(total == 55, [f"{len(found)} items, sum {total}, seeds {found['0']['seed']}"])


TOY = Proof("toy", "Squares add up", items, check, report)

if __name__ == "__main__":
    where = Path(sys.argv[1])
    done = run(TOY, 7, workers=2, state=where)
    (where / "report").write_text(f"{done.holds} {done.lines[0]}")
