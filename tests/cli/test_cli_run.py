"""`oneturn run`: what comes out where, and the exit codes that other programs rely on."""

import signal
import subprocess
import sys
import time

import pytest
import typer

from oneturn.cli.common import exits
from oneturn.errors import ConfigError, SandboxBusy, SandboxError, SourceError, ToolError


def test_prints_come_first_then_the_value(project):
    script = project.write("s.py", "print('one')\nprint('two')\n{'total': 3, 'name': 'Zoë'}")
    ran = project.run("run", str(script))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == 'one\ntwo\n{\n  "total": 3,\n  "name": "Zoë"\n}\n'


@pytest.mark.parametrize(
    ("script", "out"),
    [("'plain text'", "plain text\n"), ("None", ""), ("[]", "[]\n"), ("print('x', end='')\n1", "x\n1\n")],
)
def test_text_is_written_as_it_is_and_none_not_at_all(project, script, out):
    assert project.run("run", "-", stdin=script).out == out


def test_a_script_from_stdin_calls_the_tools_of_an_app(project):
    ran = project.run("run", "-", "--app", "shop:app", stdin="(await tools.crm.find(name='Ann'))['orders']")
    assert ran.code == 0, ran.err
    assert ran.out == "[\n  1,\n  2\n]\n"


def test_without_app_and_settings_there_are_no_tools(project):
    ran = project.run("run", "-", stdin="runtime.list_tools()")
    assert (ran.code, ran.out) == (0, "[]\n")


def test_a_found_settings_file_is_used(project):
    project.write("oneturn.toml", 'app = "shop:open_app"\nallow = ["ping"]')
    ran = project.run("run", "-", stdin="await ping()")
    assert (ran.code, ran.out) == (0, "pong\n"), ran.err


def test_a_tool_that_is_not_allowed_cannot_be_called(project):
    ran = project.run(
        "run", "-", "--app", "shop:app", "--allow", "crm.find", stdin="await tools.crm.rename('a', 'b')"
    )
    assert ran.code == 1
    assert "PermissionError" in ran.err


@pytest.mark.parametrize(
    ("toml", "args", "says"),
    [
        ('app = "shop:open_app"', (), "--allow 'ping', or add it to allow in "),
        ('app = "shop:open_app"\nallow = ["p"]', (), "add it to allow in "),
        ('app = "shop:open_app"\nallow = ["ping"]', ("--allow", "p"), "--allow 'ping'\n"),
        ('app = "shop:open_app"\nallow = ["p"]', ("--allow", "p"), "--allow 'ping', and add it to allow in "),
        ('app = "shop:strict_app"', (), "add it to the allow-list of the app itself"),
    ],
)
def test_a_person_is_told_how_to_allow_what_was_refused(project, toml, args, says):
    project.write("oneturn.toml", toml)
    ran = project.run("run", "-", *args, stdin="await ping()")
    assert ran.code == 1
    assert "PermissionError" in ran.err
    assert f"to allow it: {says}" in ran.err


def test_no_one_is_told_to_allow_what_is_not_there_or_was_not_refused(project):
    for script in ("await tools.pong()", "raise PermissionError('ping is not allowed here')"):
        ran = project.run("run", "-", "--app", "shop:open_app", stdin=script)
        assert ran.code == 1
        assert "to allow it" not in ran.err


def test_a_timeout_above_the_apps_is_cut_and_that_is_said(project):
    project.write("oneturn.toml", "[limits]\nmax_timeout = 40")
    ran = project.run("run", "-", "--timeout", "9999", "--json", stdin="1")
    assert ran.code == 0
    assert ran.err == "note: --timeout 9999 is cut to 40 s, the app's max_timeout\n"
    assert project.run("run", "-", "--timeout", "40", stdin="1").err == ""
    assert "300" in project.run("run", "--help").out


def test_a_real_mcp_server_is_started_from_its_json(project, time_server):
    path = project.servers(time=time_server)
    script = "now = await tools.time.get_current_time(timezone='UTC')\nnow['timezone']"
    approved = "time.get_current_time"  # nobody says that it only reads
    options = ("--config", str(path), "--allow", "time.*")
    ran = project.run("run", "-", *options, stdin=script, ONETURN_AUTO_APPROVE=approved)
    assert (ran.code, ran.out) == (0, "UTC\n"), ran.err


def test_a_failure_shows_the_line_a_caret_and_the_calls_already_made(project):
    script = "await crm.rename('a', to='b')\nif True:\n    1 / 0\n"
    path = project.write("s.py", script)
    ran = project.run("run", str(path), "--app", "shop:app")
    assert ran.code == 1
    assert ran.out == ""
    assert "error: ZeroDivisionError: division by zero" in ran.err
    assert f"{path}:3:5" in ran.err
    assert "        1 / 0\n        ^" in ran.err
    assert "already made" in ran.err
    assert "crm.rename (write, ok, line 1)" in ran.err


def test_json_says_it_all(project):
    script = "print('hi')\nawait crm.rename('a', to='b')\nnope"
    ran = project.run("run", "-", "--app", "shop:app", "--json", stdin=script)
    assert ran.code == 1
    assert ran.data["status"] == "failed"
    assert ran.data["error"]["kind"] == "NameError"
    assert ran.data["error"]["line"] == 3


def test_json_of_a_success_keeps_prints_apart_and_bytes_whole(project):
    script = "print('hi')\n{'n': 1, 'raw': await data()}"
    ran = project.run("run", "-", "--app", "shop:app", "--json", stdin=script)
    assert ran.code == 0, ran.err
    assert ran.data["prints"] == "hi\n"
    assert ran.data["value"] == {"n": 1, "raw": {"base64": "AP8="}}
    assert [call["tool"] for call in ran.data["calls"]] == ["data"]
    assert ran.data["error"] is None


# --- exit codes


@pytest.mark.parametrize(
    "args",
    [
        ("run", "missing.py"),
        ("run", "-", "--app", "nowhere:app"),
        ("run", "-", "--config", "missing.toml"),
        ("run", "-", "--timeout", "-1"),
        ("run", "-", "--allow", "tools"),
        ("run",),
        ("walk",),
    ],
)
def test_wrong_usage_ends_with_2(project, args):
    ran = project.run(*args, stdin="1")
    assert ran.code == 2
    assert ran.out == ""
    assert "rror" in ran.err
    assert "Traceback" not in ran.err


def test_a_config_error_is_json_when_json_is_asked_for(project):
    ran = project.run("run", "-", "--app", "nowhere:app", "--json", stdin="1")
    assert ran.code == 2
    assert ran.data["error"]["kind"] == "ConfigError"


def test_a_source_that_does_not_start_ends_with_3(project, broken_server):
    path = project.servers(broken=broken_server)
    ran = project.run("run", "-", "--config", str(path), "--allow", "*", stdin="1")
    assert ran.code == 3
    assert "broken" in ran.err
    assert "no licence" in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (SourceError("x"), 3),
        (SandboxBusy("x"), 4),
        (SandboxError("x"), 4),
        (ToolError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error, code, capsys):
    with pytest.raises(typer.Exit) as caught, exits():
        raise error
    assert caught.value.exit_code == code
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("script", ["while True: pass", "import asyncio\nawait asyncio.sleep(600)"])
def test_out_of_time_ends_with_124(project, script):
    ran = project.run("run", "-", "--timeout", "0.5", stdin=script)
    assert ran.code == 124
    assert "TimeoutError" in ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupt_ends_with_130_and_leaves_nothing_behind(project):
    marker = project.folder / "marker"
    script = project.write("s.py", f"await stall({str(marker)!r})")
    process = subprocess.Popen(
        project.command("run", str(script), "--app", "shop:app"),
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    while not marker.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "cancelled" in err
    assert "Traceback" not in err


# --- output


def test_odd_characters_do_not_break_a_narrow_pipe(project):
    ran = project.run("run", "-", stdin="'Zoe\\u0308 \\ud800 ☃'", PYTHONIOENCODING="ascii")
    assert ran.code == 0
    assert "☃" not in ran.out
    assert "\\u2603" in ran.out


def test_verbose_tells_of_servers_on_stderr_only(project, time_server):
    path = project.servers(time=time_server)
    ran = project.run("run", "-", "-v", "--config", str(path), stdin="1")
    assert (ran.code, ran.out) == (0, "1\n")
    assert "time is ready" in ran.err


def test_the_version_and_help_are_there(project):
    from oneturn import __version__

    assert project.run("--version").out == f"oneturn {__version__}\n"
    helped = project.run("--help")
    assert helped.code == 0
    for command in ("run", "tools", "serve", "doctor", "init"):
        assert command in helped.out


def test_help_and_a_run_without_servers_load_no_heavy_part(project):
    check = (
        "import sys\nfrom typer.testing import CliRunner\nfrom oneturn.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert 'oneturn.app' not in sys.modules\n"
        "assert CliRunner().invoke(app, ['run', '-'], input='1').exit_code == 0\n"
        "print(sorted({'fastmcp', 'bm25s', 'numpy', 'bpe_openai'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr
