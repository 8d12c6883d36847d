"""Properties of the code base itself: what an import costs, what stays small, who imports what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import oneturn

SOURCE = Path(oneturn.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

HEAVY = (
    "pydantic_monty",
    "docker",
    "e2b",
    "fastmcp",
    "mcp",
    "mcp_types",
    "bm25s",
    "yaml",
    "numpy",
    "Stemmer",
    "bpe_openai",
    "typer",
    "rich",
    "pydantic",
    "jsonschema_rs",
    "docstring_parser",
    "starlette",
    "uvicorn",
    "cryptography",
    "psycopg",
    "opentelemetry",
    "standardwebhooks",
)
PUBLIC = (
    "Approval",
    "Approver",
    "ArtifactNotFound",
    "Blob",
    "CacheRule",
    "CallInfo",
    "CallRecord",
    "CodeMode",
    "ConfigError",
    "Decision",
    "DecisionRefused",
    "Diagnostic",
    "Diverged",
    "Effect",
    "EffectUnknown",
    "Grant",
    "JournalCorrupt",
    "JournalError",
    "Limits",
    "OneturnError",
    "Outcome",
    "Position",
    "RunBusy",
    "RunNotFound",
    "SandboxBusy",
    "SandboxClosed",
    "SandboxError",
    "SandboxUnavailable",
    "ScriptError",
    "SessionLost",
    "SourceError",
    "Tool",
    "ToolDefinitionError",
    "ToolError",
    "ValueRefused",
    "__version__",
    "current_call",
)


def test_importing_oneturn_loads_nothing_heavy() -> None:
    program = f"import sys, oneturn; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_making_an_app_loads_nothing_that_it_may_not_need() -> None:
    late = ("pydantic_monty", "fastmcp", "mcp", "bm25s", "numpy", "bpe_openai", "typer", "rich")
    late += ("cryptography", "psycopg")
    program = (
        f"import sys, oneturn; oneturn.CodeMode(); print(*(name for name in {late!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_public_names_are_these_and_exist() -> None:
    assert sorted(oneturn.__all__) == sorted(PUBLIC)
    assert dir(oneturn) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(oneturn, name) is not None


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        oneturn.no_such_name  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
class TestModule:
    def test_it_is_small(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 500
        long = [
            f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno is not None
            and node.end_lineno - node.lineno >= 80
        ]
        assert long == []

    def test_it_says_what_it_owns(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert not text or ast.get_docstring(ast.parse(text))

    def test_it_imports_only_what_its_place_allows(self, path: Path) -> None:
        place = path.relative_to(SOURCE).as_posix()
        imported = set(_imports(path))
        if not place.startswith("testing/"):
            assert not any(name.startswith("oneturn.testing") for name in imported)
        if not place.startswith(("tools/mcp/", "server/")):
            assert not {name.partition(".")[0] for name in imported} & {"fastmcp", "mcp", "mcp_types"}


def _imports(path: Path) -> list[str]:
    """Absolute names of everything a module imports, at its top or inside a function."""
    package = ["oneturn", *path.relative_to(SOURCE).parent.parts]
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found
