"""`oneturn init`: what it proposes, what it asks, what it writes and what it never overwrites."""

import json
import re
import tomllib

import pytest

from oneturn.cli.copied import Tables, is_oneturn, read_entries
from oneturn.cli.init import propose
from oneturn.config import load, parse, servers
from oneturn.tools.mcp import McpServer
from oneturn.types import Tool


def toml(project):
    return tomllib.loads((project.folder / "oneturn.toml").read_text())


def test_the_written_file_works_and_allows_only_reads(project, time_server):
    path = project.servers(time=time_server)
    ran = project.run("init", "--mcp-config", str(path), "--yes")
    assert ran.code == 0, ran.err
    written = toml(project)
    assert written["mcp"] == {"time": time_server}
    assert "mcp_config" not in written
    assert written["effects"] == {"time.convert_time": "read", "time.get_current_time": "read"}
    assert written["allow"] == ["time.convert_time", "time.get_current_time"]
    listed = project.run("tools", "list", "--json").data["tools"]
    assert {(tool["name"], tool["effect"], tool["effect_from"]) for tool in listed} == {
        ("time.convert_time", "read", "configuration"),
        ("time.get_current_time", "read", "configuration"),
    }


def test_writes_are_proposed_as_comments(project, lab_server):
    path = project.servers(lab=lab_server)
    ran = project.run("init", "--mcp-config", str(path), "--yes")
    assert ran.code == 0, ran.err
    assert toml(project)["allow"] == ["lab.pid", "lab.point"]
    text = (project.folder / "oneturn.toml").read_text()
    assert '    # "lab.add",  # write' in text
    assert '"lab.pid" = "read"  # as the server claims' in text
    assert '"lab.sleep" = "destructive"  # nothing tells' in text


def test_no_to_a_server_leaves_all_its_tools_out(project, time_server):
    path = project.servers(time=time_server)
    ran = project.run("init", "--mcp-config", str(path), stdin="n\n")
    assert ran.code == 0, ran.err
    assert "Take these effects for time?" in ran.err
    assert toml(project)["allow"] == []
    assert toml(project)["effects"] == {}
    assert '# "time.convert_time",  # not confirmed' in (project.folder / "oneturn.toml").read_text()


def test_found_servers_are_not_started_unasked(project):
    marker = project.folder / "started"
    project.servers(
        ".mcp.json", evil={"command": "touch", "args": [str(marker)], "env": {"API_KEY": "hunter2"}}
    )
    ran = project.run("init", stdin="n\n")
    assert ran.code == 1
    assert "evil: touch" in ran.err
    assert "hunter2" not in ran.err
    assert not marker.exists()
    assert not (project.folder / "oneturn.toml").exists()


def test_the_usual_files_are_found_and_repeated_servers_left_out(project, time_server):
    project.servers(".mcp.json", time=time_server)
    project.servers(".cursor/mcp.json", time=time_server)
    project.write(".vscode/mcp.json", "// not plain JSON")
    ran = project.run("init", "--yes")
    assert ran.code == 0, ran.err
    assert list(toml(project)["mcp"]) == ["time"]
    assert ".cursor/mcp.json is left out" in ran.err
    assert ".vscode/mcp.json is left out" in ran.err


def test_an_existing_file_is_overwritten_only_by_force(project, time_server):
    project.write("oneturn.toml", "name = 'mine'")
    path = project.servers(time=time_server)
    ran = project.run("init", "--mcp-config", str(path), "--yes")
    assert ran.code == 2
    assert "--force" in ran.err
    assert toml(project) == {"name": "mine"}
    assert project.run("init", "--mcp-config", str(path), "--yes", "--force").code == 0
    assert "time.convert_time" in toml(project)["effects"]


def test_nobody_to_answer_means_nothing_is_written(project, time_server):
    path = project.servers(time=time_server)
    ran = project.run("init", "--mcp-config", str(path))
    assert ran.code == 2
    assert re.search(r"^error: .*`oneturn init --yes`", ran.err, re.MULTILINE)
    assert not (project.folder / "oneturn.toml").exists()


def test_no_files_and_no_servers_that_start_are_told_apart(project, broken_server):
    ran = project.run("init", "--yes")
    assert (ran.code, "--mcp-config" in ran.err) == (2, True)
    path = project.servers(broken=broken_server)
    ran = project.run("init", "--yes", "--mcp-config", str(path))
    assert (ran.code, "no licence" in ran.err) == (3, True)


def test_a_server_that_does_not_start_is_left_out_of_the_effects(project, time_server, broken_server):
    path = project.servers(time=time_server, broken=broken_server)
    assert project.run("init", "--yes", "--mcp-config", str(path)).code == 0
    assert load(project.folder / "oneturn.toml").allow == ("time.convert_time", "time.get_current_time")


def entry(project, **raw):
    """What `init` writes of one server: its table read back, and what the user is told."""
    path = project.servers(lab=raw)
    tables = Tables()
    (found,) = read_entries(path)
    text = "\n".join(tables.lines(found))
    parse(tomllib.loads(text))
    return tomllib.loads(text)["mcp"]["lab"], "\n".join(tables.notes)


def test_a_server_is_copied_as_it_is_written(project, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "expanded-secret")
    monkeypatch.setenv("LAB_HOME", "/somewhere")
    table, told = entry(
        project,
        command="${LAB_HOME}/server",
        args=["--root", "${env:LAB_HOME}", 'a "b" \\'],
        cwd="inner",
        timeout=2500,
        env={"TOKEN": "${LAB_TOKEN}", "LEVEL": "info", "N": 3, "ROOT": str(project.folder)},
        alwaysAllow=["x"],
    )
    assert table == {
        "command": "${LAB_HOME}/server",
        "args": ["--root", "${env:LAB_HOME}", 'a "b" \\'],
        "cwd": "inner",
        "timeout": 2.5,
        "env": {"TOKEN": "${LAB_TOKEN}", "LEVEL": "info", "N": "3", "ROOT": str(project.folder)},
    }
    assert told == ""


def test_a_remote_server_keeps_its_transport(project, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "expanded-secret")
    headers = {"Authorization": "Bearer ${LAB_TOKEN}", "X-Team": "shop"}
    table, _ = entry(project, url="https://host/mcp?key=${LAB_TOKEN}", type="sse", headers=headers)
    assert table == {"url": "https://host/mcp?key=${LAB_TOKEN}", "transport": "sse", "headers": headers}
    (server,) = servers(parse({"mcp": {"lab": table}}), project.folder)
    assert server.uses_sse
    table, _ = entry(project, url="https://host/sse")
    assert "transport" not in table


@pytest.mark.parametrize(
    ("raw", "key", "variable"),
    [
        ({"command": "x", "env": {"API_KEY": "hunter2"}}, "env", "API_KEY"),
        ({"command": "x", "env": {"API_KEY": "${LAB_UNSET:-hunter2}"}}, "env", "API_KEY"),
        ({"command": "x", "env": {"DATABASE": "postgres://me:hunter2@host/db"}}, "env", "DATABASE"),
        ({"url": "http://h", "headers": {"Authorization": "Bearer hunter2"}}, "headers", "LAB_AUTHORIZATION"),
        (
            {"url": "http://h", "headers": {"X-Auth": "${PATH} hunter2hunter2hunter2"}},
            "headers",
            "LAB_X_AUTH",
        ),
        ({"url": "http://h", "auth": "hunter2"}, "auth", "LAB_AUTH"),
        ({"url": "http://me:hunter2@h/mcp"}, "url", "LAB_URL"),
        ({"url": "http://h/mcp?key=hunter2&x=${PATH}"}, "url", "LAB_URL"),
    ],
)
def test_a_secret_is_not_copied_and_the_user_is_told_what_to_set(project, raw, key, variable):
    table, told = entry(project, **raw)
    assert "hunter2" not in str(table)
    assert f"${{{variable}}}" in str(table[key])
    assert f"Set the environment variable {variable} to what" in told
    assert "hunter2" not in told


def test_one_variable_does_not_stand_for_two_secrets(project, monkeypatch):
    monkeypatch.setenv("LAB_KEY", "means something else")
    path = project.servers(
        a={"command": "x", "env": {"API_KEY": "one-secret", "LAB_KEY": "three"}},
        b={"command": "x", "env": {"API_KEY": "two-secret"}},
    )
    tables = Tables()
    text = "\n".join(line for each in read_entries(path) for line in tables.lines(each))
    written = tomllib.loads(text)["mcp"]
    assert written["a"]["env"] == {"API_KEY": "${API_KEY}", "LAB_KEY": "${A_LAB_KEY}"}
    assert written["b"]["env"] == {"API_KEY": "${B_API_KEY}"}


@pytest.mark.parametrize(
    ("command", "args", "verdict"),
    [
        ("oneturn", ["serve"], True),
        ("/usr/local/bin/oneturn", ["serve"], True),
        ("C:\\tools\\oneturn.exe", ["serve"], True),
        ("python", ["-m", "oneturn.cli", "serve"], True),
        ("python3", ["-X", "utf8", "-m", "oneturn", "serve"], True),
        ("uvx", ["oneturn", "serve", "--config", "x"], True),
        ("mcp-server-git", ["--repository", "/src/oneturn"], False),
        ("python", ["-m", "oneturned"], False),
    ],
)
def test_oneturn_itself_is_recognised(command, args, verdict):
    assert is_oneturn(McpServer("x", command=command, args=tuple(args))) is verdict


def test_oneturn_itself_is_left_out_and_what_to_do_next_is_said(project, time_server):
    project.servers(".mcp.json", time=time_server, oneturn={"command": "oneturn", "args": ["serve"]})
    ran = project.run("init", "--yes")
    assert ran.code == 0, ran.err
    assert list(toml(project)["mcp"]) == ["time"]
    assert "oneturn of .mcp.json is left out" in ran.err
    assert "`oneturn doctor`" in ran.err
    shown = json.loads(ran.err[ran.err.index("{") : ran.err.rindex("}") + 1])
    args = ["serve", "--config", str(project.folder.resolve() / "oneturn.toml")]
    assert shown == {"mcpServers": {"oneturn": {"command": "oneturn", "args": args}}}


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("get_issue", "read"),
        ("listPullRequests", "read"),
        ("search-docs", "read"),
        ("create_issue", "write"),
        ("get_or_create_user", "write"),
        ("list_and_delete", "destructive"),
        ("delete_file", "destructive"),
        ("resetDB", "destructive"),
        ("git_diff_staged", "read"),
        ("list_updates", "read"),
        ("frobnicate", "destructive"),
        ("query", "destructive"),
        ("run_sql", "destructive"),
        ("SELECT", "destructive"),
        ("GetItem", "read"),
    ],
)
def test_the_strongest_verb_decides_and_doubt_is_destructive(name, effect):
    assert propose(Tool(name=f"x.{name}", original=name)).effect == effect


def test_the_servers_word_goes_before_the_name():
    claimed = Tool(name="x.delete_all", original="delete_all", effect="read", effect_from="annotations")
    assert propose(claimed).reason == "as the server claims"
