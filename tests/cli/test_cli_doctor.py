"""`oneturn doctor`: it tries things, and its verdict is the exit code."""

import sys

import pytest

from oneturn import CodeMode
from oneturn.cli import probe


def statuses(ran):
    return {check["name"]: check["status"] for check in ran.data["checks"]}


def test_a_sound_machine_passes_and_each_canary_was_tried(project, time_server):
    project.servers(time=time_server)
    project.write("oneturn.toml", 'mcp_config = ["servers.json"]\nallow = ["time.get_current_time"]')
    ran = project.run("doctor", "--json")
    assert ran.code == 0, ran.out
    assert ran.data["ok"] is True
    found = statuses(ran)
    assert set(found.values()) == {"ok"}
    assert {name for name in found if name.startswith("sandbox: ")} == {
        "sandbox: a script runs",
        "sandbox: files are out of reach",
        "sandbox: the environment is out of reach",
        "sandbox: the network is out of reach",
        "sandbox: processes are out of reach",
        "sandbox: the memory limit holds",
        "sandbox: the time limit holds",
    }
    details = {check["name"]: check["detail"] for check in ran.data["checks"]}
    assert details["source: time"] == "2 tools"
    assert details["allow-list"] == "1 of 2 tools may be called"
    assert "isolation: interpreter" in details["sandbox: a script runs"]


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


class Leaky:
    """An app whose scripts reach everything, to see that the canaries notice."""

    async def execute(self, code, **options):
        from oneturn.types import Outcome

        *lines, last = code.splitlines()
        names = {}
        exec("\n".join(lines), names)
        try:
            return Outcome("run_1", "succeeded", value=eval(last, names))
        except Exception as error:
            return Outcome("run_1", "failed", prints=repr(error))


async def test_the_canaries_notice_a_sandbox_that_leaks(monkeypatch):
    monkeypatch.setenv("LAB_CANARY", "planted-secret")
    leaky = Leaky()
    verdicts = [
        await probe._files(leaky, "planted-secret"),
        await probe._environment(leaky, "LAB_CANARY", "planted-secret"),
        await probe._network(leaky),
        await probe._processes(leaky),
    ]
    assert [verdict.ok for verdict in verdicts] == [False, False, False, False]


async def test_the_canaries_notice_limits_that_do_not_hold():
    class Limitless:
        async def execute(self, code, **options):
            return await app.execute("'went on for ever'")

    async with CodeMode(runs=1) as app:
        assert not (await probe._memory(Limitless())).ok
        assert not (await probe._time(Limitless())).ok
