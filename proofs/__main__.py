"""`python -m proofs`: run the proofs and write a dated report of each under `docs/proofs`."""

from __future__ import annotations

import argparse
import datetime as dt
import platform
import sys
import time
from importlib.metadata import version

from .base import ROOT, Proof, run
from .gold_scripts import GOLD_SCRIPTS
from .openapi_documents import OPENAPI_DOCUMENTS
from .stub_round_trips import STUB_ROUND_TRIPS

PROOFS = {proof.name: proof for proof in (OPENAPI_DOCUMENTS, GOLD_SCRIPTS, STUB_ROUND_TRIPS)}


def prove(proof: Proof, seed: int) -> bool:
    """Run one proof and write its report. Whether it holds."""
    began = time.perf_counter()
    report = run(proof, seed)
    today = dt.date.today().isoformat()
    text = "\n".join(
        [
            f"# {proof.claim}",
            "",
            f"{'It holds.' if report.holds else '**It does not hold.**'} {today}, seed {seed}, oneturn "
            f"{version('oneturn')}, pydantic-monty {version('pydantic-monty')}, Python "
            f"{platform.python_version()} on {platform.machine()}, "
            f"{time.perf_counter() - began:,.0f} s in the last sitting.",
            "",
            *report.lines,
            "",
            f"Do it again with `make prove` or `python -m proofs {proof.name} --seed {seed}`.",
        ]
    )
    folder = ROOT / "docs" / "proofs"
    folder.mkdir(exist_ok=True)
    path = folder / f"{today}-{proof.name}.md"
    path.write_text(f"{text}\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {'holds' if report.holds else 'DOES NOT HOLD'}")
    return report.holds


def main() -> int:
    """Run the proofs that are named, or all. 1 when one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m proofs", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[[], *PROOFS], help="only these")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    held = [prove(PROOFS[name], chosen.seed) for name in chosen.name or PROOFS]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
