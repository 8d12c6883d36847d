"""Every block of code in the README and in docs/ does what it says."""

from __future__ import annotations

import functools
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from blocks import PAGES, ROOT, Block, all_blocks, blocks

from oneturn import Blob, CodeMode, Limits, ToolError
from oneturn.config import build, parse
from oneturn.errors import SandboxUnavailable
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.tools.mcp import read_mcp_servers

PROGRAMS = [page for page in PAGES if any(block.info == "python" for block in blocks(page))]
SCRIPTS = [block for block in all_blocks("python") if block.info.startswith("python script")]
FULL = "python full"  # a block of a program that is left out where scripts cannot have all of Python
COMMAND = re.compile(r"(?:^|\| |=\S+ )oneturn .*$")


@functools.cache
def no_full_python() -> str:
    """Why this machine has no full Python for scripts; empty when it has."""
    sandbox = CPythonSandbox()
    try:
        sandbox.open(Limits(), 0).close()
    except SandboxUnavailable as error:
        return str(error)
    finally:
        sandbox.close()
    return ""


def test_no_block_that_needs_full_python_was_left_out() -> None:
    if no_full_python():
        pytest.skip(no_full_python())
    assert [block for block in all_blocks("python") if block.info == FULL]


@pytest.mark.parametrize("page", PROGRAMS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_programs_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """All blocks in order, as one program whose line numbers are those of the page.

    A block of `text printed` shows what the program prints.
    """
    lines = [""] * (page.read_text(encoding="utf-8").count("\n") + 1)
    for block in blocks(page):
        if block.info == "python" or (block.info == FULL and not no_full_python()):
            code = block.code.splitlines()
            lines[block.line - 1 : block.line - 1 + len(code)] = code
    program = tmp_path / f"page_{page.stem}.py"  # `types.py` would be imported in place of Python's
    program.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = [block.code for block in blocks(page) if block.info == "text printed"]
    assert [text for text in shown if text not in done.stdout] == []


class Github:
    """What the scripts in the docs talk to."""

    def __init__(self) -> None:
        self.issues = {1: "It is broken", 2: "It is slow"}

    def list_issues(self, state: str = "open") -> list[dict[str, object]]:
        """The issues in a state."""
        return [{"number": number, "title": title, "state": state} for number, title in self.issues.items()]

    def list_comments(self, number: int) -> list[str]:
        """The comments of an issue."""
        return ["same here"] * number

    def create_issue(self, title: str) -> dict[str, int]:
        """Open an issue."""
        if not title:
            raise ToolError("an issue needs a title")
        return {"number": len(self.issues) + 1}

    def avatar(self, user: str) -> Blob:
        """A user's picture."""
        return Blob(b"\x89PNG", "image/png", user)


@pytest.fixture(scope="module")
def app() -> Iterator[CodeMode]:
    github = Github()
    app = CodeMode(allow=["github.*"])
    for function in (github.list_issues, github.list_comments, github.avatar):
        app.tool(namespace="github", effect="read")(function)
    app.tool(namespace="github", effect="write")(github.create_issue)
    with app:
        yield app


@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.place)
def test_a_script_runs(block: Block, app: CodeMode) -> None:
    """It succeeds with a value, or fails as its fence says: `python script raises=ValueError`.

    One that says `python script full` needs full Python.
    """
    if "full" in block.info.split() and no_full_python():
        pytest.skip(no_full_python())
    outcome = app.execute_sync(block.code)
    expected = block.info.partition("raises=")[2]
    if expected:
        assert outcome.error is not None
        assert outcome.error.kind == expected
    else:
        assert outcome.ok, outcome.error
        assert outcome.value not in (None, [], {}, "")


@pytest.mark.parametrize("block", all_blocks("toml"), ids=lambda block: block.place)
def test_settings_are_valid(block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in re.findall(r"\$\{(\w+)\}", block.code):
        monkeypatch.setenv(name, "0123456789")
    settings = parse(tomllib.loads(block.code))
    if settings.app is not None:
        (tmp_path / settings.app.partition(":")[0]).write_text("import oneturn\napp = oneturn.CodeMode()\n")
    for name in settings.mcp_config:
        (tmp_path / name).write_text('{"mcpServers": {"files": {"command": "files"}}}')
    monkeypatch.setattr(sys, "path", list(sys.path))
    named = settings.mcp or settings.openapi or settings.mcp_config
    assert bool(build(settings, base=tmp_path).sources) == bool(named)


@pytest.mark.parametrize("block", all_blocks("json"), ids=lambda block: block.place)
def test_client_configurations_are_valid(block: Block) -> None:
    for server in read_mcp_servers(json.loads(block.code)):
        assert server.command == "oneturn"
        check_command([server.command, *server.args])


@pytest.mark.parametrize("block", [*all_blocks("console"), *all_blocks("sh")], ids=lambda block: block.place)
def test_commands_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in block.code.splitlines():
        line = line.removeprefix("$ ").partition("#")[0].strip()
        if line.startswith("make "):
            assert line.split()[1] in targets
        elif found := COMMAND.search(line):
            check_command(shlex.split(found[0][found[0].index("oneturn") :]))


def check_command(words: list[str]) -> None:
    """Parses the words as the command line would, without running anything."""
    from oneturn.cli import app

    assert words[0] == "oneturn"
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    if hasattr(command, "commands"):
        known = {name for parameter in command.params for name in parameter.opts}
        assert set(rest) <= known | {"--help"}, rest
    else:
        command.make_context(words[-1], rest)


def test_links_lead_somewhere() -> None:
    broken = []
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.is_file() or (anchor and anchor not in _anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
