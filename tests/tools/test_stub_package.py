from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schema_strategies import schemas

from oneturn.errors import ConfigError
from oneturn.tools.stubs import Written, write_package
from oneturn.types import Tool

ISSUE = {
    "type": "object",
    "properties": {"number": {"type": "integer"}, "title": {"type": "string"}, "class": {"type": "string"}},
    "required": ["number", "title"],
}
LISTED = {"type": "array", "items": {"$ref": "#/$defs/issue"}, "$defs": {"issue": ISSUE}}


def inputs(*names: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, **more}


LIST = Tool(
    "github.issues.list_for_repo",
    description='Says """ hello.',
    input_schema=inputs("owner", "repo", "state", required=["owner"]),
    output_schema=LISTED,
)
WHOAMI = Tool("github.whoami", output_schema={"type": "string"})
TOP = Tool("now", output_schema={"type": "integer"})


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def mypy(folder: Path, *what: str) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--no-error-summary", *what]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def test_each_namespace_becomes_a_module(tmp_path: Path) -> None:
    assert write_package([LIST, WHOAMI, TOP], tmp_path) == Written(modules=3, tools=3)
    modules = ["__init__", "github/__init__", "github/issues"]
    expected = {f"{name}{end}" for name in modules for end in (".py", ".pyi")}
    assert files(tmp_path / "tools") == {*expected, "py.typed", ".oneturn-stubs.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]


def test_an_editor_finds_wrong_arguments_and_keys(tmp_path: Path) -> None:
    tools = [LIST, WHOAMI, TOP, *hostile_tools()]
    write_package(tools, tmp_path)
    script = """
import tools.hostile
from tools import github, now
from tools.github import issues, whoami
from tools.hostile import Issues, issues as other, list as list_, str as str_


async def main() -> None:
    (await whoami()).upper()
    found = await issues.list_for_repo(owner="a", state=None)
    found[0]["number"] + await now()
    await issues.list_for_repo(owner=1)
    found[0]["titel"]
    await github.issues.list_for_repo()
    await github.whoami(1)
    await Issues.x("a") + await other.x("b")
    (await list_(["x"]))[0].upper()
    await str_(["x"], nope=1)
    await other.x(1)
"""
    (tmp_path / "script.py").write_text(script, "utf-8")
    found = mypy(tmp_path, "script.py")
    lines = [line.partition(" error: ")[2] for line in found.splitlines() if " error: " in line]
    assert [line.partition(";")[0] for line in lines] == [
        'Argument "owner" to "list_for_repo" has incompatible type "int"',
        'TypedDict "Issue" has no key "titel"  [typeddict-item]',
        'Missing positional argument "owner" in call to "list_for_repo"  [call-arg]',
        'Too many arguments for "whoami"  [call-arg]',
        'Unexpected keyword argument "nope" for "str"  [call-arg]',
        'Argument 1 to "x" has incompatible type "int"',
    ]


def hostile_tools() -> list[Tool]:
    """Tools of names that mean something to Python, a type checker, or a file system."""
    text = {"type": "object", "properties": {"dict": {"type": "array", "items": {"type": "string"}}}}
    several = {"type": "array", "items": {"type": "string"}}
    words = ["list", "str", "Any", "TypedDict", "_b", "_t", "NotRequired", "RuntimeError", "_list"]
    spaces = ["Issues", "issues", "ISSUES", "con", "__init__", "__pycache__", "é", "x" * 200, "class_", "py"]
    number = {"type": "integer"}
    return [
        *(Tool(f"hostile.{word}", input_schema=text, output_schema=several) for word in words),
        *(Tool(f"hostile.{space}.x", input_schema=inputs("a"), output_schema=number) for space in spaces),
        Tool("hostile.issues.inside.deep", output_schema=LISTED),
        Tool("hostile.both"),
        Tool("hostile.both.x", description='"""\\', examples=('"""\nimport os',)),
    ]


def test_names_of_strangers_stay_inside_and_apart(tmp_path: Path) -> None:
    tools = hostile_tools()
    write_package(tools, tmp_path)
    found = files(tmp_path / "tools")
    assert len({path.lower() for path in found}) == len(found)
    assert all(path.isascii() and len(part) < 80 for path in found for part in path.split("/"))
    assert mypy(tmp_path, "-p", "tools") == ""
    with pytest.raises(ConfigError):
        write_package([Tool("..etc.passwd")], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"tools", ".mypy_cache"}


@settings(deadline=None, max_examples=2, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(schemas(), min_size=30, max_size=30))
def test_a_type_checker_accepts_the_package_of_any_schemas(
    tmp_path_factory: pytest.TempPathFactory, several: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    tools = []
    for number, schema in enumerate(several):
        given_schema = {"type": "object", "properties": {"x": schema}, "$defs": schema.get("$defs", {})}
        name = f"lab.m{number % 3}.{'list' if number == 6 else f't{number}'}"
        tools.append(Tool(name, input_schema=given_schema, output_schema=schema))
    write_package(tools, folder)
    assert mypy(folder, "-p", "tools") == ""


def test_a_function_called_outside_a_script_says_what_to_do(tmp_path: Path) -> None:
    write_package([LIST, *hostile_tools()], tmp_path)
    script = "from tools.github import issues; import tools.hostile; issues.list_for_repo('a')"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stderr.splitlines()[-1] == (
        "RuntimeError: tools.github.issues.list_for_repo works only in a script; "
        "run the script with: oneturn run FILE"
    )


@dataclass(frozen=True, slots=True)
class Seen:
    schema: dict[str, Any]
    calls: int


def test_an_observed_shape_types_a_result_that_is_not_declared(tmp_path: Path) -> None:
    undeclared = Tool("m.x")
    write_package([undeclared, LIST], tmp_path, lambda tool: Seen(LISTED, 12))
    text = (tmp_path / "tools/m.pyi").read_text("utf-8")
    assert "async def x() -> list[Issue]:  # observed in 12 calls" in text
    write_package([undeclared], tmp_path)
    assert "async def x() -> Any:" in (tmp_path / "tools/m.pyi").read_text("utf-8")


def test_writing_again_replaces_what_was_written_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1")
    write_package([LIST, TOP], tmp_path)
    (tmp_path / "tools/__pycache__").mkdir()
    (tmp_path / "tools/__pycache__/x.pyc").write_bytes(b"")
    write_package([TOP], tmp_path)
    assert files(tmp_path) == {
        "mine.py", "tools/__init__.py", "tools/__init__.pyi", "tools/py.typed", "tools/.oneturn-stubs.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"files": ["a.py"]}', '{"by": "oneturn stubs", "files": 1}', "[" * 100_000]
)
def test_a_folder_that_was_not_written_here_is_left_alone(tmp_path: Path, content: str | None) -> None:
    place = tmp_path / "tools"
    place.mkdir()
    (place / "a.py").write_text("precious")
    if content is not None:
        (place / ".oneturn-stubs.json").write_text(content)
    with pytest.raises(ConfigError, match="was not written by oneturn; write the stubs into another folder"):
        write_package([TOP], tmp_path)
    assert (place / "a.py").read_text() == "precious"


def test_a_file_somebody_put_among_ours_is_never_lost(tmp_path: Path) -> None:
    write_package([LIST], tmp_path)
    (tmp_path / "tools/github/mine.py").write_text("precious")
    with pytest.raises(
        ConfigError, match=r"holds github/mine\.py, which oneturn did not write; move it away"
    ):
        write_package([TOP], tmp_path)
    assert (tmp_path / "tools/github/mine.py").read_text() == "precious"
    assert (tmp_path / "tools/github/issues.pyi").exists()


def test_when_the_new_folder_cannot_take_its_place_the_old_one_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package([LIST], tmp_path)
    before = files(tmp_path)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise PermissionError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        write_package([TOP], tmp_path)
    assert files(tmp_path) == before


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write_package([LIST], outside)
    before = files(outside)
    place = tmp_path / "place"
    place.mkdir()
    (place / "tools").symlink_to(outside / "tools")
    with pytest.raises(ConfigError, match="is no folder"):
        write_package([TOP], place)
    (place / "tools").unlink()
    write_package([LIST], place)
    (place / "tools/link").symlink_to(outside)
    with pytest.raises(ConfigError, match="holds link"):
        write_package([TOP], place)
    assert files(outside) == before


def test_an_empty_catalog_is_an_empty_package(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    assert write_package([], tmp_path) == Written(modules=1, tools=0)
    manifest = json.loads((tmp_path / "tools/.oneturn-stubs.json").read_text())
    assert manifest == {"by": "oneturn stubs", "files": ["__init__.py", "__init__.pyi", "py.typed"]}
