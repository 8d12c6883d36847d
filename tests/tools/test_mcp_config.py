"""Reading `mcpServers` JSON, and which of its strings are secrets."""

from __future__ import annotations

import json

import pytest

from oneturn.errors import ConfigError
from oneturn.tools.mcp import McpServer, read_mcp_servers


def only(entry, name="lab"):
    (server,) = read_mcp_servers({"mcpServers": {name: entry}})
    return server


def test_a_stdio_entry_is_read_as_other_clients_read_it(monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "hush-hush")
    server = only(
        {
            "command": "python",
            "args": ["-m", "lab", "--token=${LAB_TOKEN}"],
            "env": {"TOKEN": "${env:LAB_TOKEN}", "LEVEL": 3, "MODE": "${LAB_MODE:-fast}"},
            "cwd": "/srv",
            "timeout": 2500,
            "icon": "ignored",
        }
    )
    assert server.command == "python"
    assert server.args == ("-m", "lab", "--token=hush-hush")
    assert server.env == {"TOKEN": "hush-hush", "LEVEL": "3", "MODE": "fast"}
    assert (server.cwd, server.timeout, server.transport) == ("/srv", 2.5, None)


@pytest.mark.parametrize("key", ["type", "transport"])
@pytest.mark.parametrize(
    ("spelled", "uses_sse"),
    [("http", False), ("streamable-http", False), ("streamableHttp", False), ("sse", True)],
)
def test_a_remote_entry_in_every_spelling(key, spelled, uses_sse):
    server = only({"url": "https://lab.example/mcp", key: spelled, "headers": {"X-Lab": "yes"}})
    assert (server.url, server.headers) == ("https://lab.example/mcp", {"X-Lab": "yes"})
    assert server.uses_sse is uses_sse


def test_the_path_tells_sse_when_nothing_else_does():
    assert only({"url": "https://lab.example/sse"}).uses_sse
    assert not only({"url": "https://lab.example/mcp"}).uses_sse


def test_disabled_servers_are_left_out_and_vs_code_files_are_read(tmp_path):
    file = tmp_path / "mcp.json"
    entries = {"a": {"command": "a"}, "b": {"command": "b", "disabled": True}}
    file.write_text(json.dumps({"servers": entries, "inputs": []}))
    assert [server.name for server in read_mcp_servers(file)] == ["a"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"command": "a", "env": {"K": "${NOT_SET_ANYWHERE}"}}, ["lab", "env.K", "NOT_SET_ANYWHERE"]),
        ({"url": "https://x/${NOT_SET_ANYWHERE}"}, ["lab", "url", "NOT_SET_ANYWHERE"]),
        ({"command": "a", "args": ["${input:token}"]}, ["lab", "args", "${input:token}"]),
        ({"command": "a", "args": "-m lab"}, ["lab", "args"]),
        ({"command": ["a"]}, ["lab", "command"]),
        ({"command": "a", "url": "https://x"}, ["lab", "command", "url"]),
        ({}, ["lab", "command", "url"]),
        ({"command": "a", "env": ["K=V"]}, ["lab", "env"]),
        ({"url": "https://x", "headers": {"A": None}}, ["lab", "headers.A"]),
        ({"url": "https://x", "type": "carrier-pigeon"}, ["lab", "type"]),
        ({"url": "https://x", "type": "stdio"}, ["lab", "type"]),
        ({"command": "a", "type": "sse"}, ["lab", "type"]),
        ({"url": "ftp://x"}, ["lab", "http"]),
        ({"command": "a", "timeout": -1}, ["lab", "timeout"]),
        ("npx lab", ["lab", "object"]),
    ],
)
def test_a_wrong_entry_names_the_server_and_the_key(entry, words, monkeypatch):
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    with pytest.raises(ConfigError) as caught:
        only(entry)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"mcpServers": []}', "{}"])
def test_a_wrong_file_is_a_config_error(tmp_path, text):
    file = tmp_path / "mcp.json"
    file.write_text(text)
    with pytest.raises(ConfigError):
        read_mcp_servers(file)


def test_a_missing_file_is_a_config_error_with_its_path(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        read_mcp_servers(tmp_path / "nowhere.json")


def test_secrets_are_what_looks_like_one(monkeypatch):
    monkeypatch.setenv("LAB_API_KEY", "from-the-env")
    monkeypatch.setenv("LAB_HOST", "lab")
    server = only(
        {
            "url": "https://lab.example/mcp?apiKey=in-the-url&page=two",
            "headers": {"Authorization": "Bearer in-a-header", "X-Key": "${LAB_API_KEY}"},
            "auth": "in-auth",
        }
    )
    assert set(server.secrets()) == {
        "in-the-url",
        "Bearer in-a-header",
        "in-a-header",
        "from-the-env",
        "in-auth",
    }
    env = {"LAB_TOKEN": "abcd", "LOGIN": "this-is-a-long-value", "LEVEL": "debug", "AUTH_ON": "1"}
    assert set(only({"command": "a", "env": env}).secrets()) == {"abcd", "this-is-a-long-value"}
    argument = only({"command": "a", "args": ["--key=${LAB_API_KEY}", "${LAB_HOST}"]})
    assert argument.secrets() == ("from-the-env",)


def test_no_secret_is_in_the_repr():
    server = McpServer(
        "lab", url="https://x/?key=aaaaaa", headers={"A": "bbbbbb"}, auth="cccccc", hidden=("dddddd",)
    )
    shown = repr(server) + repr(McpServer("lab", command="x", env={"K": "eeeeee"}))
    for secret in ("aaaaaa", "bbbbbb", "cccccc", "dddddd", "eeeeee"):
        assert secret not in shown


def test_a_server_is_reached_in_exactly_one_way():
    with pytest.raises(ConfigError, match="exactly one"):
        McpServer("lab")
    with pytest.raises(ConfigError, match="exactly one"):
        McpServer("lab", command="a", server=object())
