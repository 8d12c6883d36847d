"""`oneturn doctor`: it tries things, and its verdict is the exit code."""

import sys

import pytest


def statuses(ran):
    return {check["name"]: check["status"] for check in ran.data["checks"]}


def test_a_sound_machine_passes_and_each_canary_was_tried(project, time_server):
    project.servers(time=time_server)
    project.write("oneturn.toml", 'mcp_config = ["servers.json"]\nallow = ["time.get_current_time"]')
    ran = project.run("doctor", "--json")
    assert ran.code == 0, ran.out
    assert ran.data["ok"] is True
    found = statuses(ran)
    assert set(found.values()) <= {"ok", "none"}
    monty = {name.partition(": ")[2] for name in found if name.startswith("monty (interpreter): ")}
    assert {"Monty gives no files", "Monty gives no network", "Monty's time limit"} <= monty
    details = {check["name"]: check["detail"] for check in ran.data["checks"]}
    assert details["source: time"] == "2 tools"
    assert details["allow-list"] == "1 of 2 tools may be called"


def test_each_tier_is_shown_with_what_confines_it(project):
    found = statuses(project.run("doctor", "--json"))
    jailed = {name.partition(": ")[2]: found[name] for name in found if name.startswith("cpython (jailed): ")}
    if "cpython" in found:
        pytest.skip("this machine has no jail")
    assert jailed["no network"] == jailed["host files out of reach"] == "ok"
    assert {"container", "remote"} & set(found) or any(name.startswith("container (") for name in found)


def test_a_level_that_is_asked_for_and_missing_fails(project):
    project.write("oneturn.toml", 'sandbox = "container"\nallow = []')
    ran = project.run("doctor", "--json", DOCKER_HOST="unix:///nowhere/engine.sock")
    assert ran.code == 1
    assert statuses(ran)["container"] == "fail"


def test_without_settings_it_says_so_and_does_not_fail(project):
    ran = project.run("doctor", "--json")
    assert ran.code == 0, ran.out
    assert statuses(ran)["settings"] == "warn"


def test_a_broken_server_fails_with_its_reason(project, broken_server, time_server):
    path = project.servers(broken=broken_server, time=time_server)
    ran = project.run("doctor", "--config", str(path), "--json")
    assert ran.code == 1
    assert statuses(ran)["source: broken"] == "fail"
    assert statuses(ran)["source: time"] == "ok"
    assert statuses(ran)["allow-list"] == "warn"
    assert "no licence" in ran.out


MISTYPED = """
app = "shop:app"
allow = ["cmr.find", "crm.*", "tools.crm.find"]

[effects]
"cmr.*" = "read"

[results]
"stal" = "text"

[server]
direct = ["zzz"]
"""


def test_a_pattern_that_matches_no_tool_is_told(project, broken_server):
    project.write("oneturn.toml", MISTYPED)
    ran = project.run("doctor", "--allow", "crm.fnd", "--json")
    assert ran.code == 0, ran.out
    told = [check["detail"] for check in ran.data["checks"] if check["name"] == "patterns"]
    assert told == [
        "allow: 'cmr.find' matches no tool; did you mean crm.find?",
        "--allow: 'crm.fnd' matches no tool; did you mean crm.find?",
        "effects: 'cmr.*' matches no tool; did you mean crm.*?",
        "results: 'stal' matches no tool; did you mean stall?",
        "server.direct: 'zzz' matches no tool",
    ]
    assert statuses(ran)["patterns"] == "warn"


def test_patterns_are_not_judged_while_a_source_has_failed(project, broken_server):
    project.servers(broken=broken_server)
    project.write("oneturn.toml", 'mcp_config = ["servers.json"]\nallow = ["broken.find"]')
    assert "patterns" not in statuses(project.run("doctor", "--json"))


def test_wrong_settings_fail_with_the_key(project):
    project.write("oneturn.toml", "alow = []")
    ran = project.run("doctor")
    assert ran.code == 1
    assert "did you mean allow?" in ran.out


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_colours_are_for_terminals_that_want_them(project):
    assert "\x1b[32m" in project.terminal("doctor")
    assert "\x1b[32m" not in project.terminal("doctor", NO_COLOR="1")
    assert "\x1b" not in project.run("doctor").out
