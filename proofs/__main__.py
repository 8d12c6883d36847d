"""`python -m proofs`: run the proofs and write a dated report of each under `docs/proofs`."""

from __future__ import annotations

import argparse
import datetime as dt
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from .base import ROOT, Proof, run, tree
from .changed_definitions import CHANGED_DEFINITIONS
from .crashes import CRASHES
from .differential import DIFFERENTIAL
from .end_states import END_STATES
from .gold_scripts import GOLD_SCRIPTS
from .hostile_suite import HOSTILE_SUITE
from .openapi_documents import OPENAPI_DOCUMENTS
from .stub_round_trips import STUB_ROUND_TRIPS
from .worker_kills import WORKER_KILLS

PROOFS = {
    proof.name: proof
    for proof in (
        OPENAPI_DOCUMENTS,
        GOLD_SCRIPTS,
        STUB_ROUND_TRIPS,
        CHANGED_DEFINITIONS,
        END_STATES,
        HOSTILE_SUITE,
        WORKER_KILLS,
        CRASHES,
        DIFFERENTIAL,
    )
}
FOLDER = ROOT / "docs" / "proofs"
INDEX = """\
# Proofs

The tests hold claims on a sample; the proofs hold them on everything there is, or on very many random
examples. `make prove` runs all of them, `python -m proofs NAME --seed N` one of them, with other random
choices. That takes under two hours on two cores. A proof that is stopped goes on where it was;
after a change of the source it starts anew. A report is written when every item has been checked, never
before. Public data come from the package registries, checked by hash; see `benchmarks/data.py`.

| what is proved | name | last report |
|---|---|---|
"""


def prove(proof: Proof, seed: int, folder: Path = FOLDER) -> bool:
    """Run one proof and write its report. Whether it holds."""
    began = time.perf_counter()
    report = run(proof, seed)
    today = dt.date.today().isoformat()
    versions = [f"{name} {version(name)}" for name in ("oneturn", "pydantic-monty", "hypothesis")]
    text = "\n".join(
        [
            f"# {proof.claim}",
            "",
            "It holds." if report.holds else "**It does not hold.**",
            "",
            f"{today}, seed {seed}, {len(proof.items(seed)):,} items, all checked, "
            f"{time.perf_counter() - began:,.0f} s in the last sitting. {', '.join(versions)}, Python "
            f"{platform.python_version()} on {platform.system()} {platform.machine()}; SHA-256 of the source "
            f"begins with {tree()}.",
            "",
            *report.lines,
            "",
            f"Do it again with `make prove` or `python -m proofs {proof.name} --seed {seed}`.",
        ]
    )
    folder.mkdir(exist_ok=True)
    path = folder / f"{today}-{proof.name}.md"
    path.write_text(f"{text}\n", encoding="utf-8")
    print(f"{path}: {'holds' if report.holds else 'DOES NOT HOLD'}")
    return report.holds


def index(folder: Path) -> None:
    """Write which proofs there are, each with its last report."""
    rows = []
    for name, proof in PROOFS.items():
        reports = sorted(path.name for path in folder.glob(f"*-{name}.md"))
        link = f"[{reports[-1].removesuffix(f'-{name}.md')}]({reports[-1]})" if reports else "none yet"
        rows.append(f"| {proof.claim} | `{name}` | {link} |\n")
    (folder / "README.md").write_text(INDEX + "".join(rows), encoding="utf-8")


def main() -> int:
    """Run the proofs that are named, or all. 1 when one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m proofs", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[[], *PROOFS], help="only these")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where reports go")
    chosen = parser.parse_args()
    held = [prove(PROOFS[name], chosen.seed, chosen.folder) for name in chosen.name or PROOFS]
    index(chosen.folder)
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
