"""`oneturn tools`: what exists, what is allowed, and how to allow it."""

import re
import subprocess
import sys

import pytest

import oneturn


def test_a_list_in_a_pipe_is_tab_separated_and_shows_who_set_the_effect(project):
    ran = project.run("tools", "list", "--app", "shop:app", "--namespace", "crm")
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert [row[0] for row in rows] == ["crm.find", "crm.rename"]
    assert rows[0][1].startswith("read (")
    assert rows[0][2:] == ["python", "Find a customer."]


def test_a_list_can_be_narrowed_by_effect(project):
    ran = project.run("tools", "list", "--app", "shop:app", "--effect", "write", "--json")
    assert [tool["name"] for tool in ran.data["tools"]] == ["crm.rename", "stall"]
    assert project.run("tools", "list", "--app", "shop:app", "--effect", "odd").code == 2


def test_when_nothing_is_allowed_it_says_how_to_allow(project):
    ran = project.run("tools", "list", "--app", "shop:open_app")
    assert (ran.code, ran.out) == (0, "")
    assert "--allow 'ping'" in ran.err
    assert "add it to allow in oneturn.toml" in ran.err


def test_all_also_shows_what_is_not_allowed(project):
    ran = project.run("tools", "list", "--app", "shop:app", "--allow", "crm.find", "--all")
    allowed = {line.split("\t")[0]: line.split("\t")[-1] for line in ran.out.splitlines()}
    assert allowed["crm.find"] == "yes"
    assert allowed["crm.rename"] == "no"


def test_one_broken_server_does_not_hide_the_others(project, time_server, broken_server):
    path = project.servers(time=time_server, broken=broken_server)
    ran = project.run("tools", "list", "--config", str(path), "--allow", "time.*", "--json")
    assert ran.code == 0
    assert "time.get_current_time" in [tool["name"] for tool in ran.data["tools"]]
    assert {tool["effect"] for tool in ran.data["tools"]} == {"destructive"}
    assert "no licence" in ran.data["problems"]["broken"]
    assert "no licence" in ran.err


@pytest.mark.parametrize("command", [("list",), ("search", "time"), ("show", "x")])
def test_when_every_source_failed_there_is_nothing_to_show(project, broken_server, command):
    path = project.servers(broken=broken_server)
    ran = project.run("tools", *command, "--config", str(path))
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.count("did not start") == 1
    assert "--app" not in ran.err


def test_oneturn_among_its_own_servers_comes_to_an_end(project):
    project.write(
        "counted.py", "from oneturn import CodeMode\nopen('starts', 'a').write('x')\napp = CodeMode()"
    )
    path = project.write("oneturn.toml", 'app = "counted:app"\nmcp_config = [".mcp.json"]\nallow = ["*"]')
    itself = {"command": sys.executable, "args": ["-m", "oneturn", "serve", "--config", str(path)]}
    project.servers(".mcp.json", oneturn=itself)
    ran = project.run("tools", "list")
    assert ran.code == 0, ran.err
    assert "oneturn.execute_code" in ran.out
    assert (project.folder / "starts").read_text() == "xxx"


def test_search_gives_the_answer_a_model_gets(project):
    ran = project.run("tools", "search", "rename customer", "--app", "shop:app")
    assert ran.code == 0
    assert ran.out.startswith("crm.rename(") or "crm.rename(" in ran.out.splitlines()[0]
    data = project.run(
        "tools", "search", "rename", "customers", "--app", "shop:app", "--limit", "1", "--json"
    ).data
    assert [tool["name"] for tool in data["tools"]] == ["crm.rename"]
    assert data["total"] >= 1


def test_show_tells_everything_about_a_tool(project):
    ran = project.run("tools", "show", "crm.find", "--app", "shop:app")
    assert ran.code == 0
    assert "name: str" in ran.out
    assert "By name only." in ran.out
    data = project.run("tools", "show", "tools.crm.find", "--app", "shop:app", "--json").data
    assert data["input_schema"]["required"] == ["name"]
    assert (data["effect"], data["source"], len(data["pin"])) == ("read", "python", 64)


@pytest.mark.parametrize(
    ("name", "says"), [("crm.fnd", "did you mean crm.find?"), ("crm.rename", "--allow 'crm.rename'")]
)
def test_show_of_what_cannot_be_called_says_why(project, name, says):
    ran = project.run("tools", "show", name, "--app", "shop:app", "--allow", "crm.find")
    assert ran.code == 2
    assert says in ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_table_with_headers(project):
    shown = project.terminal("tools", "list", "--app", "shop:app")
    assert "summary" in shown
    assert "\t" not in shown
    assert "crm.find" in shown


NAMES = """
from oneturn import CodeMode

app = CodeMode(allow=["*.read_*"], effects={"filesystem.write_file": "write"})

def act(path: str) -> str:
    "Do what has a summary that is far too long to fit into what the other columns leave of it."
    return path

for name in ["read_multiple_files_at_once", "write_file", "remove"]:
    app.tool(act, name=name, namespace="filesystem")
app.tool(act, name="a_name_that_is_much_longer_than_half_of_the_terminal", namespace="filesystem")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_names_and_effects_are_whole_at_80_columns(project):
    project.write("names.py", NAMES)
    table = project.terminal("tools", "list", "--all", "--app", "names:app", columns=80, NO_COLOR="1")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", table)
    assert max(map(len, shown.splitlines())) <= 80
    for word in (
        "filesystem.read_multiple_files_at_once ",
        "filesystem.remove ",
        "destructive (?)",
        "write (c)",
    ):
        assert word in shown
    name = "filesystem.a_name_that_is_much_longer_than_half_of_the_terminal"
    assert name[:40] in shown
    assert f"\n{name[40:]}" in shown
    assert "(c) the configuration, (?) nobody" in shown


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_summary_takes_what_the_names_leave(project):
    shown = project.terminal("tools", "list", "--all", "--app", "shop:app", columns=80)
    assert "Find a customer." in shown


@pytest.mark.parametrize("command", [(), ("tools",)])
def test_the_help_shows_whole_summaries_at_80_columns(project, command):
    ran = project.run(*command, "--help", COLUMNS="80")
    assert ran.code == 0
    commands = ran.out.partition("Commands:")[2]
    assert commands.count("\n") > 2
    assert "..." not in commands


def test_the_package_can_be_run_as_a_module(project):
    command = [sys.executable, "-m", "oneturn", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"oneturn {oneturn.__version__}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_what_tools_say_cannot_steer_the_terminal(project):
    project.write("s.py", "print('\\x1b]0;owned\\x07')\n'\\x1b[2J'")
    shown = project.terminal("run", "s.py")
    assert "\x1b" not in shown
    assert "\\x1b]0;owned\\x07" in shown
    assert project.run("run", "s.py").out == "\x1b]0;owned\x07\n\x1b[2J\n"


def test_too_many_queries_are_refused_in_a_sentence(project):
    ran = project.run("tools", "search", *["rename"] * 25, "--app", "shop:app")
    assert ran.code == 2
    assert "at most 20 queries" in ran.err
    assert "Traceback" not in ran.err
