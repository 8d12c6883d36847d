"""Error text: secrets and host paths go, ordinary text stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneturn.gate import Redactor


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("no key kJ8x2Qp9 here", "no key [redacted] here"),
        ("kJ8x2Qp9", "[redacted]"),
        ("a.b+c(1) failed", "[redacted] failed"),
        ("kJ8x2Qp9-longer wins", "[redacted] wins"),
    ],
)
def test_known_secrets_go_whole(text: str, redacted: str) -> None:
    assert Redactor(["kJ8x2Qp9", "kJ8x2Qp9-longer", "a.b+c(1)"]).text(text) == redacted


def test_known_secrets_too_short_to_tell_from_text_are_left() -> None:
    assert Redactor(["a", "", "abc"]).text("a story of abc") == "a story of abc"


def test_short_known_secrets_go_where_they_stand_alone() -> None:
    redactor = Redactor(["true", "12345"])
    assert redactor.text("pin 12345, or 'true'") == "pin [redacted], or '[redacted]'"
    assert redactor.text("untrue truely 123456 012345") == "untrue truely 123456 012345"


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer abcdefgh12345678",
        "bearer ABCDEFGH.12345678",
        "Basic dXNlcjpwYXNzd29yZA==",
        "sk-proj1234567890abcdef",
        "sk_live_1234567890abcdef",
        "ghp_1234567890abcdefghij",
        "github_pat_1234567890abcdefghij",
        "glpat-1234567890abcdef",
        "xoxb-1234567890-abcdef",
        "hf_abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefgh",
    ],
)
@pytest.mark.parametrize("around", ["{}", "401 for {} at once", "['{}']", '{{"h": "{}"}}', "x={}&y=1"])
def test_credentials_that_can_be_recognised_go(secret: str, around: str) -> None:
    redacted = Redactor().text(around.format(secret))
    assert secret not in redacted
    assert secret.split()[-1] not in redacted
    assert "[redacted]" in redacted


@pytest.mark.parametrize(
    "text",
    [
        "GET https://x.example/v1?api_key=hunter2hunter2&page=2",
        "GET https://x.example/v1?page=2&access_token=hunter2hunter2",
        "{'password': 'hunter2hunter2'}",
        '{"apiKey": "hunter2hunter2"}',
        "connecting with password=hunter2hunter2, retrying",
        "API-Key: hunter2hunter2",
        "Authorization: hunter2hunter2",
        "secret = hunter2hunter2",
        "postgres://app:hunter2hunter2@db.example/x failed",
        "token=hunter2hunter2",
        "client_secret=hunter2hunter2",
        "AWS_SECRET_ACCESS_KEY=hunter2hunter2",
        "GITHUB_TOKEN=hunter2hunter2 is not valid",
        "Authorization: Token hunter2hunter2",
        "x-api-key: hunter2hunter2",
        "private_key='hunter2hunter2'",
    ],
)
def test_values_that_are_named_as_secrets_go(text: str) -> None:
    redacted = Redactor().text(text)
    assert "hunter2" not in redacted
    assert "[redacted]" in redacted


@pytest.mark.parametrize(
    "path",
    [
        "/home/me/app/src/tool.py",
        "/root/.ssh/id_rsa",
        "/usr/lib/python3.11/json/decoder.py",
        "/etc/passwd",
        "/var/run/secrets/token",
        "/tmp/pytest-1/x",
        "/opt/app/config.yaml",
        "/Users/me/Library/x.db",
        "/proc/self/environ",
        "/srv/data/x.csv",
        "C:\\Users\\me\\app.py",
        "C:/Users/me/app.py",
        "\\\\srv\\share\\x.txt",
        "/run/secrets/db_password",
        "/data/tenant/x.db",
        "/nix/store/abc-python/bin",
        "/builds/group/project",
        "/boot/grub/grub.cfg",
        "/Library/Keychains/login",
        "/unheard/of/root/settings.toml",
        "/unheard/.ssh/key",
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "cannot read {}",
        "cannot read '{}'",
        'File "{}", line 3',
        "({})",
        "[Errno 2] No such file: {}.",
        "error:{}",
        "at={}",
    ],
)
def test_host_paths_go(path: str, around: str) -> None:
    redacted = Redactor().text(around.format(path))
    assert "[path]" in redacted
    for part in path.replace("\\", "/").split("/")[2:]:
        assert part not in redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("see file:///home/user/x", "see [path]"),
        ("see file://localhost/unheard/of", "see [path]"),
        ("PATH=/usr/bin:/home/bob/bin", "PATH=[path]:[path]"),
        ("no <mypkg.inner.Client object at 0x7f12>", "no [object]"),
        ("<function outer.<locals>.<lambda> at 0x7f12ab>", "[object]"),
        ("outer.<locals>.inner.<locals>.x() takes no y", "[local]() takes no y"),
        ("GET /v1/export.json or /api/v2/x.csv", "GET /v1/export.json or /api/v2/x.csv"),
        ("/api/../home/me", "[path]"),
    ],
)
def test_what_names_the_inside_of_the_host_goes(text: str, redacted: str) -> None:
    assert Redactor().text(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PATCH /repos/o/r/issues/7: see /users/{id}/orders",
        "http://localhost:8080/home/me/x.py and https://x.example/etc/y",
        "a <b> c at 0x10",
        "the issue is closed",
        "404 for https://api.example.com/home/users/7?page=2#top",
        "GET /api/v1/users/7 gave 404",
        "use 'a/b' or a / b, and and/or",
        "docs/usr/readme.md is missing",
        "the token is missing",
        "token expired; secrets are rotated daily",
        "password must have 8 characters",
        "no such key: 'api_key'",
        "a basic example of a bearer token",
        "expected int, got str: 'x: 3'",
        "skip-this-one and task-list-with-many-words",
        "ratio 3/4, date 2026/11/21, 10:30",
        "at https://user@example.com/x",
        "Zürich → 東京 😀",
        "line one\nline two",
        "max_tokens: 4096 is too many",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Redactor(["kJ8x2Qp9"]).text(text) == text


def test_the_name_of_a_removed_value_stays() -> None:
    assert Redactor().text("set GITHUB_TOKEN=abcdef123") == "set GITHUB_TOKEN=[redacted]"


def test_text_is_capped_and_says_so() -> None:
    text = Redactor().text("x" * 100_000, cap=100)
    assert text == "x" * 100 + "…"
    assert Redactor().text("x" * 100, cap=100) == "x" * 100


def test_a_secret_across_the_cut_does_not_show() -> None:
    secret = "kJ8x2Qp9" * 10
    for start in range(260):
        text = Redactor([secret]).text("." * start + secret + "." * 500, cap=100)
        assert "kJ8" not in text
    for count in range(1, 200):
        assert "kJ8" not in Redactor([secret]).text(f"{secret} " * count, cap=100)
        assert "ghp_" not in Redactor().text(f"ghp_{'x1' * 40} " * count, cap=100)


@pytest.mark.parametrize(
    "text",
    ["/", "/a", "/home/a.", "a.", "<", "< at 0x", "a<locals>", "<locals>", "\\\\a", "C:\\a ", "C:/", "file:",
     "file://a", "eyJ-", "eyJaaaaaaaa.", "bearer ", "://a:", "token=", "a-", "/a/.", "x"],
)  # fmt: skip
def test_a_megabyte_of_hostile_text_is_searched_once(text: str) -> None:
    text *= 1_000_000 // len(text)
    began = time.perf_counter()
    Redactor(["kJ8x2Qp9", "1234"]).text(text, cap=len(text))
    assert time.perf_counter() - began < 20.0


def test_redacting_hostile_text_takes_no_time() -> None:
    texts = [
        "/home" + "/a" * 5_000,
        "token=" * 5_000,
        "a:" * 5_000 + "@",
        "://" + "a" * 10_000,
        "eyJ" + "A" * 10_000 + "." * 50,
        "C:\\" + "a b" * 5_000,
        "bearer " * 5_000,
        "Basic " + "=" * 9_999,
        "a-" * 10_000,
        "api_" * 5_000,
        "token" + " " * 10_000,
    ]
    began = time.perf_counter()
    for text in texts:
        Redactor(["kJ8x2Qp9"]).text(text, cap=10_000)
    assert time.perf_counter() - began < 2.0


@given(
    st.text(max_size=300),
    st.text(alphabet="abcXYZ019._-+/$^(", min_size=6, max_size=30),
    st.text(max_size=300),
)
def test_a_known_secret_never_survives(before: str, secret: str, after: str) -> None:
    redacted = Redactor([secret]).text(before + secret + after)
    assert (
        secret not in redacted.replace("[redacted]", "").replace("[path]", "") or secret in "[redacted][path]"
    )
