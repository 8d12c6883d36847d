"""`oneturn init`: what it proposes, what it asks, what it writes and what it never overwrites."""

import tomllib

import pytest

from oneturn.cli.init import propose
from oneturn.config import load
from oneturn.types import Tool


def toml(project):
    return tomllib.loads((project.folder / "oneturn.toml").read_text())


def test_the_written_file_works_and_allows_only_reads(project, time_server):
    path = project.servers(time=time_server)
    ran = project.run("init", "--mcp-config", str(path), "--yes")
    assert ran.code == 0, ran.err
    written = toml(project)
    assert written["mcp_config"] == ["servers.json"]
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
    assert toml(project)["mcp_config"] == [".mcp.json"]
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
    assert "--yes" in ran.err
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
