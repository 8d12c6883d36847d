"""One settings file to an app: what is read, what is refused and how, and who may call what."""

import dataclasses
import json
import sys
import textwrap

import pytest

from oneturn import CodeMode, ConfigError, Limits
from oneturn import config as configuration
from oneturn.config import build, find, import_app, load, parse, servers, token
from oneturn.settings import LimitSettings, address

ALL_SETTINGS = """
name = "shop"
app = "shop_app:app"
allow = ["crm.*"]
mcp_config = ["servers.json"]
trust_annotations = ["from_json"]
tool_timeout = 5
runs = 4

[limits]
timeout = 12
memory = 1000000

[effects]
"crm.find" = "read"

[results]
"crm.*" = "text"

[mcp.inline]
command = "server"
args = ["--token", "${LAB_SECRET}"]
env = { API_KEY = "literal-secret" }
timeout = 7

[server]
mode = "search"
direct = ["crm.find"]
http = "127.0.0.1:8000"
token_env = "SHOP_TOKEN"
max_tokens = 2000
"""

APP = """
from oneturn import CodeMode

app = CodeMode(allow=["crm.find", "crm.drop"])

@app.tool(namespace="crm")
def find(name: str) -> str:
    return name

@app.tool(namespace="crm", effect="destructive")
def drop(name: str) -> str:
    return name

@app.tool(namespace="crm")
def hidden() -> str:
    return "never allowed by the app"

text = "not an app"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project folder whose modules are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    (tmp_path / "shop_app.py").write_text(APP)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


def write(folder, text, name="oneturn.toml"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def names(app):
    return [tool.name for tool in app.tools()]


# --- reading


def test_every_setting_reaches_the_app(folder, monkeypatch):
    monkeypatch.setenv("LAB_SECRET", "expanded-secret")
    write(folder, json.dumps({"mcpServers": {"from_json": {"command": "other"}}}), "servers.json")
    settings = load(write(folder, ALL_SETTINGS))
    app = build(settings, base=folder)

    assert app.name == "shop"
    assert app.limits == dataclasses.replace(Limits(), timeout=12, memory=1_000_000)
    assert app.sources == ("from_json", "inline")
    assert names(app) == ["crm.drop", "crm.find"]
    find = app.tools()[1]
    assert (find.effect, find.effect_from, find.results) == ("read", "configuration", "text")
    assert settings.server.mode == "search"
    assert settings.server.direct == ("crm.find",)
    assert settings.server.max_tokens == 2000


def test_servers_get_seconds_expanded_variables_and_a_folder(folder, monkeypatch):
    monkeypatch.setenv("LAB_SECRET", "expanded-secret")
    write(
        folder,
        json.dumps({"mcpServers": {"from_json": {"command": "other", "timeout": 2000}}}),
        "servers.json",
    )
    from_json, inline = servers(load(write(folder, ALL_SETTINGS)), folder)
    assert inline.args == ("--token", "expanded-secret")
    assert inline.timeout == 7
    assert inline.cwd == str(folder.resolve())
    assert from_json.timeout == 2
    assert (from_json.trust_annotations, inline.trust_annotations) == (True, False)


def test_what_is_recorded_and_approved_is_a_setting(folder, monkeypatch):
    monkeypatch.setenv("LAB_JOURNAL", "postgresql://me:hunter2@host/runs")
    settings = """
        journal = "${LAB_JOURNAL}"
        approve = "writes"
        approval_timeout = 60

        [approvals]
        "crm.find" = false

        [idempotent]
        "crm.drop" = true
    """
    app = build(load(write(folder, "app = 'shop_app:app'\n" + textwrap.dedent(settings))), base=folder)
    options = app.options
    assert options.journal == "postgresql://me:hunter2@host/runs"
    assert (options.approve, options.approval_timeout) == ("writes", 60)
    assert options.approvals == {"crm.find": False}
    assert {tool.name: tool.idempotent for tool in app.tools()} == {"crm.drop": True, "crm.find": False}
    assert "hunter2" not in repr(options)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", ".oneturn/journal.db"),
        ("journal = 'runs/all.db'", "runs/all.db"),
        ("journal = false", None),
        ("state = false", None),
    ],
)
def test_runs_are_recorded_beside_the_file_unless_it_says_otherwise(folder, text, place):
    (folder / "runs").mkdir()
    app = build(load(write(folder, text)), base=folder)
    with app:
        assert app.execute_sync("1 + 1").value == 2
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.db")}
    assert found == ({place} if place else set())


def test_rules_of_the_file_are_laid_over_the_apps():
    app = CodeMode(approvals={"a": True, "b": True}, approve="always", journal="mine.db")
    app.configure(approvals={"b": False}, approve=None, journal=None)
    assert app.options.approvals == {"a": True, "b": False}
    assert (app.options.approve, app.options.journal) == ("always", "mine.db")


def test_the_limit_settings_are_the_fields_of_limits():
    assert set(LimitSettings.model_fields) == {field.name for field in dataclasses.fields(Limits)}


def test_an_empty_file_allows_nothing(folder):
    app = build(load(write(folder, "")), base=folder)

    @app.tool
    def add() -> int:
        return 1

    assert names(app) == []
    assert app.limits == Limits()


def test_a_json_file_stands_for_its_servers_and_allows_nothing(tmp_path):
    path = write(
        tmp_path, json.dumps({"mcpServers": {"a": {"command": "x"}, "b": {"url": "http://h/mcp"}}}), "m.json"
    )
    app = build(load(path), base=tmp_path)
    assert app.sources == ("a", "b")
    assert names(app) == []


def test_no_secret_is_in_the_repr(folder):
    settings = parse(
        {
            "mcp": {
                "a": {
                    "url": "https://user:hunter2@host/?key=hunter2",
                    "headers": {"Authorization": "Bearer hunter2"},
                    "auth": "hunter2",
                },
                "b": {"command": "x", "args": ["--key=hunter2"], "env": {"K": "hunter2"}},
            }
        }
    )
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)


# --- mistakes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alow = ['x']", ["alow is no setting", "did you mean allow?", "Allowed here: name, app, allow"]),
        ("[limits]\ntimout = 3", ["limits.timout is no setting", "did you mean timeout?", "cpu_seconds"]),
        ("[mcp.x]\ncomand = 'y'", ["mcp.x.comand", "did you mean command?"]),
        ("[server]\nmode = 'fast'", ["server.mode", "'code', 'search' or 'plain'"]),
        ("[server]\nhttp = '8000'", ["server.http", "HOST:PORT"]),
        ("[effects]\n'a.*' = 'harmless'", ["effects.a.*", "'read', 'write' or 'destructive'"]),
        ("[results]\n'a.*' = 'xml'", ["results.a.*", "'auto', 'text' or 'json'"]),
        ("allow = 'a.*'", ["allow: it should be a list."]),
        ("limits = 3", ["limits: it should be a table."]),
        ("runs = 0", ["runs", "greater than 0"]),
        ("approve = 'sometimes'", ["approve", "'never', 'destructive', 'writes' or 'always'"]),
        ("[approvals]\n'a.*' = 1", ["approvals.a.*", "boolean"]),
        ("approval_timeout = 0", ["approval_timeout", "greater than 0"]),
        ("[idempotent]\n'a.*' = 'yes'", ["idempotent.a.*", "boolean"]),
        ("name = \nruns = 1", ["not valid TOML", "line 1"]),
    ],
)
def test_a_mistake_is_named_with_file_key_and_what_is_allowed(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    for part in [str(path), *says]:
        assert part in str(caught.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse({"alow": [], "runs": -1, "server": {"mode": 3}})
    assert str(caught.value).count("oneturn.toml: ") == 3


def test_a_wrong_value_is_not_repeated_as_it_may_be_a_secret():
    with pytest.raises(ConfigError) as caught:
        parse({"mcp": {"a": {"command": "x", "env": {"KEY": ["hunter2"]}, "auth": 5, "headers": "hunter2"}}})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__context__)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"mcp": {"a": {}}}, "MCP server 'a'"),
        ({"mcp": {"a": {"command": "x", "url": "http://h"}}}, "MCP server 'a'"),
        ({"mcp": {"a": {"command": "${LAB_UNSET}"}}}, "LAB_UNSET"),
        ({"mcp_config": ["nowhere.json"]}, "nowhere.json"),
        ({"mcp": {"time": {"command": "x"}}, "trust_annotations": ["tme"]}, "did you mean time?"),
        ({"limits": {"timeout": 400}}, "raise max_timeout"),
        ({"journal": "${LAB_UNSET}"}, "journal"),
        ({"allow": ["tools"]}, "names no tool"),
        ({"app": "nowhere_at_all:app"}, "no module nowhere_at_all"),
    ],
)
def test_what_cannot_be_built_says_what_to_mend(folder, content, says, monkeypatch):
    monkeypatch.delenv("LAB_UNSET", raising=False)
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        build(parse(content), base=folder)


def test_a_mistake_in_a_json_file_names_the_file(tmp_path):
    write(tmp_path, json.dumps({"mcpServers": {"a": {"command": ""}}}), "m.json")
    with pytest.raises(ConfigError, match=r"m\.json.*'command' must be text"):
        build(parse({"mcp_config": ["m.json"]}), base=tmp_path)


# --- oneturn among its own servers


def test_servers_over_stdio_are_told_how_deep_they_are(folder, monkeypatch):
    write(folder, json.dumps({"mcpServers": {"a": {"command": "x", "env": {"K": "v"}}}}), "m.json")
    settings = parse(
        {
            "mcp_config": ["m.json"],
            "mcp": {"b": {"command": "y", "env": {"ONETURN_DEPTH": "0"}}, "c": {"url": "http://h"}},
        }
    )
    monkeypatch.delenv("ONETURN_DEPTH", raising=False)
    a, b, c = servers(settings, folder)
    assert (a.env, b.env, c.env) == ({"K": "v", "ONETURN_DEPTH": "1"}, {"ONETURN_DEPTH": "1"}, {})
    monkeypatch.setenv("ONETURN_DEPTH", "1")
    assert servers(settings, folder)[0].env["ONETURN_DEPTH"] == "2"


def test_an_app_is_not_built_when_oneturn_started_itself_again_and_again(folder, monkeypatch):
    monkeypatch.setenv("ONETURN_DEPTH", "2")
    assert build(parse({}), base=folder).sources == ()
    monkeypatch.setenv("ONETURN_DEPTH", "3")
    with pytest.raises(ConfigError, match="oneturn is starting itself: take oneturn out"):
        build(parse({}), base=folder)


# --- whose allow-list counts


def test_the_files_list_narrows_the_apps_own(folder):
    app = build(parse({"app": "shop_app:app", "allow": ["crm.find", "crm.hidden"]}), base=folder)
    assert names(app) == ["crm.find"]


def test_without_a_list_in_the_file_the_apps_own_stands(folder):
    assert names(build(parse({"app": "shop_app:app"}), base=folder)) == ["crm.drop", "crm.find"]


def test_an_app_without_a_list_takes_the_files(folder):
    write(folder, APP.replace('allow=["crm.find", "crm.drop"]', ""), "open_app.py")
    assert names(build(parse({"app": "open_app:app", "allow": ["crm.hidden"]}), base=folder)) == [
        "crm.hidden"
    ]


def test_the_command_lines_list_narrows_further(folder):
    settings = parse({"app": "shop_app:app", "allow": ["crm.*"]})
    assert names(build(settings, base=folder, allow=["*.find", "*.hidden"])) == ["crm.find"]


def test_the_environments_list_still_narrows(folder, monkeypatch):
    monkeypatch.setenv("ONETURN_ALLOW", "crm.drop")
    assert names(build(parse({"app": "shop_app:app", "allow": ["crm.*"]}), base=folder)) == ["crm.drop"]


def test_limits_of_the_file_are_laid_over_the_apps(folder):
    own = CodeMode(limits=Limits(timeout=9, calls=7))
    app = build(parse({"limits": {"calls": 3}}), base=folder, app=own)
    assert (app.limits.timeout, app.limits.calls) == (9, 3)


# --- from name to object


@pytest.mark.parametrize("spec", ["shop_app:app", "shop_app", "shop_app.py:app", "./shop_app.py"])
def test_an_app_is_found_by_module_or_file(folder, spec):
    assert isinstance(import_app(spec, folder), CodeMode)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("shop_app:ap", r"ap is not there.*It has: app"),
        ("shop_app:text", r"text is a str, not a CodeMode"),
        ("gone.py:app", r"there is no file"),
        ("broken_app:app", r"importing broken_app failed with RuntimeError: boom"),
        ("exiting_app:app", r"importing exiting_app failed with SystemExit"),
        ("needy_app:app", r"No module named 'not_installed_anywhere'"),
    ],
)
def test_an_app_that_is_not_there_is_a_config_error(folder, spec, says):
    write(folder, "raise RuntimeError('boom')", "broken_app.py")
    write(folder, "raise SystemExit(7)", "exiting_app.py")
    write(folder, "import not_installed_anywhere", "needy_app.py")
    with pytest.raises(ConfigError, match=says):
        import_app(spec, folder)


# --- finding the file


def test_the_nearest_file_up_to_the_git_folder_is_found(tmp_path):
    inner = tmp_path / "repo" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    above = write(tmp_path, "")
    assert find(inner) is None
    own = write(tmp_path / "repo", "")
    assert find(inner) == own.resolve()
    nearer = write(inner, "")
    assert find(inner) == nearer.resolve()
    assert find(tmp_path) == above.resolve()


def test_outside_a_repository_parents_are_not_searched(tmp_path):
    inner = tmp_path / "a"
    inner.mkdir()
    write(tmp_path, "")
    assert find(inner) is None


# --- small things


@pytest.mark.parametrize(
    ("text", "pair"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("localhost:65535", ("localhost", 65535))],
)
def test_an_address_is_host_and_port(text, pair):
    assert address(text) == pair


@pytest.mark.parametrize("text", ["", "80", ":80", "host:", "host:x", "host:65536", "host:-1", "host:²"])
def test_anything_else_is_no_address(text):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        address(text)


def test_a_token_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "t" * 20)
    assert token("LAB_TOKEN") == "t" * 20
    assert token(None) is None
    monkeypatch.setenv("LAB_TOKEN", "")
    with pytest.raises(ConfigError, match="LAB_TOKEN, which is not set"):
        token("LAB_TOKEN")


def test_the_file_name_is_what_the_docs_say():
    assert configuration.FILE_NAME == "oneturn.toml"
