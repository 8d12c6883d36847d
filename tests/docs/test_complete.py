"""Nothing a user can set, call or meet is without an entry in the documentation."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from pathlib import Path

import pytest
import typer.main
from blocks import ROOT

from oneturn import CodeMode, Limits, Outcome, errors, metatools, server
from oneturn.gate.dispatch import _KEPT
from oneturn.program.dialect import MODULES
from oneturn.sandbox.container.proof import _KERNEL, _TRIED
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.sandbox.inside.probe import PROBES
from oneturn.sandbox.modules import SAFE
from oneturn.sandbox.monty import MontySandbox
from oneturn.sandbox.monty_jail import _MORE
from oneturn.settings import (
    AuthSettings,
    CacheSettings,
    LimitSettings,
    McpSettings,
    OpenApiSettings,
    ServerSettings,
    Settings,
)
from oneturn.tools import results
from oneturn.tools.openapi import Credential
from oneturn.tools.search import SearchIndex
from oneturn.types import (
    CacheScope,
    CallRecord,
    CallStatus,
    Detail,
    Effect,
    IsolationLevel,
    ResultRule,
    SandboxChoice,
)
from oneturn.view import ScriptRuntime


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def rows(text: str) -> dict[str, str]:
    """Each word in backticks in the first cell of a table row, with its row."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            for word in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
                found[word] = line
    return found


def test_every_limit_is_in_the_table_with_its_default() -> None:
    table = rows(page("scripts").partition("## Limits")[2])
    for each in dataclasses.fields(Limits):
        default = typing.cast(float, each.default)
        shown = f"{default:g} s" if isinstance(each.default, float) else f"{default:,}"
        assert each.name in table
        assert f"| {shown} |" in table[each.name]


def test_every_exception_is_in_the_table() -> None:
    table = rows(page("errors"))
    ours = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.OneturnError)
    ]
    assert [name for name in ours if name not in table] == []


def test_every_exception_a_script_can_catch_is_named() -> None:
    text = page("errors")
    assert [kind.__name__ for kind in _KEPT if f"`{kind.__name__}`" not in text] == []


def _kinds_of_script_errors() -> set[str]:
    """Every kind that oneturn itself writes into a `ScriptError` or a `Failure`."""
    paths = [path for path in (ROOT / "src/oneturn").rglob("*.py") if "testing" not in path.parts]
    source = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    starts = re.findall(r"(?:ScriptError|Failure)\(\s*(?:kind=)?([^\n]*)", source)
    return {word for start in starts for word in re.findall(r"\"([A-Z][a-z]+(?:[A-Z][a-z]+)*)\"", start)}


def test_every_kind_of_script_error_is_in_the_table() -> None:
    kinds = _kinds_of_script_errors()
    assert {"TimeoutError", "SandboxCrashed", "PermissionError", "ForgottenAwait"} <= kinds
    assert kinds - rows(page("errors")).keys() == set()


def _commands() -> dict[str, typing.Any]:
    from oneturn.cli import app

    found: dict[str, typing.Any] = {}

    def walk(command: typing.Any, name: str) -> None:
        found[name] = command
        for word, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {word}")

    walk(typer.main.get_command(app), "oneturn")
    return found


def test_every_command_and_option_is_documented() -> None:
    text = page("cli")
    missing = []
    for name, command in _commands().items():
        if name not in text:
            missing.append(name)
        section = text.partition(f"## {' '.join(name.split()[:2])}\n")[2].partition("\n## ")[0]
        common = text.partition("## Common options")[2].partition("\n## ")[0]
        words = [word for parameter in command.params for word in parameter.opts]
        where = section + common if name != "oneturn" else text
        missing += [f"{name} {word}" for word in words if word.startswith("--") and word not in where]
    assert "oneturn tools search" in _commands()
    assert missing == []


def test_every_exit_code_is_in_the_table() -> None:
    from oneturn.cli.common import Exit

    text = page("cli").partition("## Exit codes")[2]
    assert [code for code in Exit if f"| {code.value} |" not in text] == []


@pytest.mark.parametrize(
    ("prefix", "section"),
    [
        ("", Settings),
        ("limits.", LimitSettings),
        ("mcp.NAME.", McpSettings),
        ("openapi.NAME.", OpenApiSettings),
        ("openapi.NAME.auth.", AuthSettings),
        ("cache.NAME.", CacheSettings),
        ("server.", ServerSettings),
    ],
)
def test_every_setting_is_in_the_table(prefix: str, section: type[typing.Any]) -> None:
    text = page("configuration")
    sections = {"limits", "mcp", "openapi", "server"} if not prefix else set()
    names = section.model_fields.keys() - sections
    if prefix == "limits.":
        row = rows(text)["limits.*"]
        assert [name for name in names if f"`{name}`" not in row] == []
    else:
        assert {f"{prefix}{name}" for name in names} - rows(text).keys() == set()


def test_every_argument_of_an_app_is_a_setting_or_explained() -> None:
    explained = rows(page("configuration")).keys() | {"limits"}  # "limits.*"
    assert inspect.signature(CodeMode).parameters.keys() - explained == set()


def test_every_budget_of_tokens_is_in_the_table() -> None:
    table = page("finding")
    for tokens in (metatools.START_TOKENS, metatools._SEARCH_TOKENS, ServerSettings().max_tokens):
        assert f"{tokens:,} |" in table


def test_every_filter_and_level_of_a_search_is_explained() -> None:
    table = rows(page("finding"))
    filters = inspect.signature(SearchIndex.search).parameters.keys() - {"self", "queries", "limit"}
    assert filters - table.keys() == set()
    assert [level for level in typing.get_args(Detail) if f"`{level}`" not in page("finding")] == []


def test_every_circle_of_a_cache_is_in_the_table() -> None:
    assert set(typing.get_args(CacheScope)) - rows(page("caching")).keys() == set()


def test_every_credential_of_a_web_api_is_in_the_table() -> None:
    table = " ".join(rows(page("openapi")))
    assert [kind.__name__ for kind in typing.get_args(Credential) if kind.__name__ not in table] == []


def test_every_environment_variable_is_in_the_table() -> None:
    read: set[str] = set()
    for path in (ROOT / "src/oneturn").rglob("*.py"):
        if "testing" not in path.parts:
            read |= set(re.findall(r"ONETURN_[A-Z]+\b(?!_)", path.read_text(encoding="utf-8")))
    assert "ONETURN_ALLOW" in read
    assert read - rows(page("configuration")).keys() == set()


def test_the_result_rule_is_quoted_word_for_word() -> None:
    quote = page("tools").partition("oneturn.tools.results -->\n")[2].partition("<!-- end of quote")[0]
    assert results.__doc__ is not None
    assert quote.strip() in results.__doc__


def test_every_option_of_a_tool_is_in_the_table() -> None:
    from oneturn.tools.function import FunctionSource

    options = {
        name
        for name, each in inspect.signature(FunctionSource.add).parameters.items()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert options - rows(page("tools")).keys() == set()


def test_words_with_a_fixed_meaning_are_explained() -> None:
    tools, scripts, security = page("tools"), page("scripts"), page("security")
    for effect in typing.get_args(Effect):
        assert f"`{effect}`" in tools
    for rule in typing.get_args(ResultRule):
        assert rule in tools
    for status in typing.get_args(CallStatus):
        assert f"`{status}`" in security
    for level in typing.get_args(IsolationLevel):
        assert f"`{level}`" in security
    for mode in typing.get_args(server.Mode):
        assert f"`{mode}`" in page("server")
    for field in (*dataclasses.fields(CallRecord), *dataclasses.fields(Outcome)):
        assert f"`{field.name}`" in security
    helpers = [name for name in vars(ScriptRuntime) if not name.startswith("_") and name != "call"]
    assert [name for name in helpers if f"runtime.{name}" not in scripts] == []


def test_every_module_a_script_can_import_is_named() -> None:
    for words, modules in (
        ("These modules can be imported in Monty", MODULES),
        ("In full Python these modules can be imported", set(SAFE)),
    ):
        text = page("scripts").partition(words)[2].partition(".\n\n")[0]
        assert set(re.findall(r"`([\w.]+)`", text)) == modules


def test_every_tier_and_level_is_explained() -> None:
    text = page("sandboxes")
    tables = rows(text)
    assert set(typing.get_args(IsolationLevel)) - tables.keys() == set()
    assert [choice for choice in typing.get_args(SandboxChoice) if f"`{choice}`" not in text] == []


def test_every_control_is_named() -> None:
    sandbox = MontySandbox()
    try:
        own = {control.name for control in sandbox.controls()}
    finally:
        sandbox.close()
    text = page("sandboxes").replace("\n", " ")
    missing = [name for name in (*own, *PROBES, *_MORE, *_TRIED, _KERNEL) if f"`{name}`" not in text]
    assert missing == []


def test_every_control_of_the_jail_on_this_machine_is_in_the_table() -> None:
    sandbox = CPythonSandbox()
    try:
        controls = sandbox.controls()
    except errors.SandboxUnavailable as error:
        pytest.skip(str(error))
    finally:
        sandbox.close()
    assert {control.name for control in controls} - rows(page("sandboxes")).keys() == set()


def test_every_page_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in readme]
    assert missing == []


def test_every_part_has_a_line_in_the_architecture() -> None:
    text = page("architecture")
    parts = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "src/oneturn").iterdir()
        if not path.name.startswith("__") and path.suffix in ("", ".py")
    ]
    assert [part for part in parts if f"\n  {part} " not in text] == []


def test_every_contender_of_the_benchmarks_is_explained() -> None:
    source = (ROOT / "benchmarks/__main__.py").read_text(encoding="utf-8")
    contenders = re.findall(r"^ +\"([^\"]+)\": (?:bare|ours|theirs|\(\[|\(cold)", source, re.MULTILINE)
    assert len(contenders) > 5
    text = page("benchmarks")
    assert [name for name in contenders if name not in text and name != "python -c pass"] == []


def test_every_decision_is_in_the_list_and_says_when_to_reopen() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    pages: list[Path] = sorted(folder.glob("0*.md"))
    assert pages
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert path.name in listed
        assert all(f"**{word}" in text for word in ("Decision.", "Rejected.", "Reason.", "Reopen when"))


def test_the_example_in_the_docstring_of_code_mode_runs() -> None:
    assert CodeMode.__doc__ is not None
    code = CodeMode.__doc__.partition("```python\n")[2].partition("```")[0]
    names: dict[str, object] = {"CodeMode": CodeMode}
    exec(inspect.cleandoc(code), names)
    assert typing.cast(Outcome, names["outcome"]).value == 3
    typing.cast(CodeMode, names["app"]).close_sync()
