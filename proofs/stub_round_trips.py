"""Random JSON Schemas, and things that are hardly schemas: what their stubs say is true of their values."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Any

from hypothesis import assume, given
from hypothesis import seed as seeded
from hypothesis import strategies as st

from .base import ROOT, Found, Proof, Report
from .examples import CHUNK, calm, failure

sys.path.append(str(ROOT / "tests" / "tools"))
from schema_strategies import schemas, values
from stub_claims import (
    JUNK_GIVEN,
    JUNK_RESULT,
    accepts,
    the_checker_accepts,
    the_stub_is_bounded,
    the_type_accepts,
    type_checker,
)

_CHUNKS = 200
_KINDS = ("schemas", "junk")


def _items(seed: int) -> Sequence[str]:
    return [f"{kind} {chunk}" for kind in _KINDS for chunk in range(_CHUNKS)]


def _check(item: str, seed: int) -> Found:
    """One chunk: how many examples were tried to the end, a fingerprint of each, and what was wrong."""
    tried: list[str] = []
    with type_checker() as ty:

        @given(schemas(), st.data())
        def proper(schema: dict[str, Any], data: st.DataObject) -> None:
            value = data.draw(values(schema, schema))
            assume(accepts(schema, value))
            the_type_accepts(schema, value)
            the_checker_accepts(ty, schema, value)
            tried.append(_fingerprint(schema, value))

        @given(JUNK_GIVEN, JUNK_RESULT)
        def junk(takes: dict[str, Any], gives: dict[str, Any]) -> None:
            the_stub_is_bounded(takes, gives)
            tried.append(_fingerprint(takes, gives))

        wrong = failure(seeded(f"{item} {seed}")(calm(junk if item.startswith("junk") else proper)))
    return {"tried": tried, "wrong": wrong}


def _fingerprint(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()[:16]


def _report(found: dict[str, Found]) -> Report:
    lines = ["| | tried to the end | of these different | chunks with a failure |", "|---|---|---|---|"]
    holds, wrong = True, []
    for kind in _KINDS:
        chunks = {item: each for item, each in found.items() if item.startswith(kind)}
        tried = [mark for each in chunks.values() for mark in each["tried"]]
        failed = [f"- {item}: {each['wrong']}" for item, each in chunks.items() if each["wrong"]]
        lines.append(f"| {_TOLD[kind]} | {len(tried):,} | {len(set(tried)):,} | {len(failed):,} |")
        holds = holds and not failed and len(tried) >= _CHUNKS * CHUNK
        wrong += failed
    lines += ["", f"{len(_KINDS) * _CHUNKS} chunks of {CHUNK} examples, each chunk with a seed of its own."]
    return Report(holds, [*lines, *(["", *wrong] if wrong else [])])


_TOLD = {
    "schemas": "random schemas with a value they accept: the stub's type accepts the value, the checker "
    "accepts the stub and the call, what a model reads parses",
    "junk": "pairs of objects made of the words of schemas: the stub parses and stays under 1,600 tokens",
}

STUB_ROUND_TRIPS = Proof(
    "stub-round-trips",
    "The stub of a random schema parses, passes the type checker, and accepts the values the schema accepts",
    _items,
    _check,
    _report,
)
