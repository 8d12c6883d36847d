"""The guarded client: where it connects, which redirects it follows, how much it reads."""

from __future__ import annotations

import asyncio
import gzip
import sys
import zlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import RedirectResponse, Response

from oneturn.errors import ConfigError, ToolError
from oneturn.tools.openapi import network
from oneturn.tools.openapi.addresses import Reach
from oneturn.tools.openapi.network import AddressRefused, Client, ConnectionBroke, Unreachable
from oneturn.tools.openapi.request import Request

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))
from api import Api, raw_server, serving

HERE = ("127.0.0.0/8",)
SECRET = (("Authorization", "Bearer hush-hush"),)


@asynccontextmanager
async def client(allowed=HERE, timeout=None):
    made = Client(Reach.of(allowed), timeout)
    try:
        yield made
    finally:
        await made.close()


async def get(url, *, allowed=HERE, limit=1_000_000, credentials=(), method="GET"):
    async with client(allowed) as made:
        return await made.send(Request(method, url, (("Accept", "*/*"),), credentials), limit)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.9", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("100.127.255.255", "private"),
        ("192.0.0.192", "reserved"),
        ("192.88.99.1", "reserved"),
        ("198.18.0.1", "private"),
        ("192.0.2.1", "private"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "private"),
        ("::", "unspecified"),
        ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("169.254.169.254", "metadata service"),
        ("100.100.100.200", "metadata service"),
        ("168.63.129.16", "metadata service"),
        ("fd00:ec2::254", "metadata service"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("fc00::1", "private"),
        ("fdff::1", "private"),
        ("fec0::1", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:169.254.169.254", "metadata service"),
        ("::127.0.0.1", "reserved"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a9fe:a9fe::", "metadata service"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a00:1", "private"),
        ("64:ff9b:1::a00:1", "reserved"),
        ("100::1", "reserved"),
        ("2001::1", "private"),
        ("2001:db8::1", "private"),
        ("3fff::1", "reserved"),
        ("4000::1", "reserved"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address, kind):
    assert Reach().objection("api.example.com", address) == kind


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "2606:4700::1111",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
        "2002:808:808::",
    ],
)
def test_a_public_address_is_fine(address):
    assert Reach().objection("api.example.com", address) == ""


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_inside_of_ipv6(address):
    plain = Reach().objection("h", str(address))
    number = int(address)
    for wrapped in ((0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)):
        assert Reach().objection("h", str(ip_address(wrapped))) == plain


def test_what_the_settings_allow():
    reach = Reach.of(("10.0.0.0/8", "127.0.0.1", "[::1]", "api.internal", "Other.Host."))
    assert reach.objection("x", "10.9.9.9") == ""
    assert reach.objection("x", "::ffff:10.9.9.9") == ""
    assert reach.objection("x", "::1") == ""
    assert reach.objection("x", "127.0.0.2") == "loopback"
    assert reach.objection("API.internal.", "192.168.0.1") == ""
    assert reach.objection("other.host", "127.0.0.1") == ""
    assert reach.objection("evil.internal", "192.168.0.1") == "private"


def test_a_name_opens_no_metadata_service_and_an_address_does():
    assert Reach.of(("api.internal",)).objection("api.internal", "169.254.169.254") == "metadata service"
    assert Reach.of(("api.internal",)).objection("api.internal", "169.254.1.1") == "link-local"
    assert Reach.of(("169.254.169.254",)).objection("x", "169.254.169.254") == ""


@pytest.mark.parametrize(
    "entry", ["", "http://x", "10.0.0.0/99", "10.0.0.1/8", "a b", "*.internal", "1.2.3.4.5"]
)
def test_an_allowance_that_means_nothing(entry):
    with pytest.raises(ConfigError, match="allow_private"):
        Reach.of((entry,))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
    ],
)
async def test_this_machine_is_not_reached_unless_allowed(host):
    api = Api()
    async with serving(api) as url:
        port = url.rpartition(":")[2]
        with pytest.raises(AddressRefused, match="allow_private"):
            await get(f"http://{host}:{port}/", allowed=())
    assert api.seen == []


async def test_a_name_is_reached_by_its_address_and_keeps_its_name(monkeypatch):
    async def resolve(host, port):
        return ["10.0.0.1", "127.0.0.1"]

    monkeypatch.setattr(network, "resolve", resolve)
    api = Api()
    async with serving(api) as url:
        port = url.rpartition(":")[2]
        await get(f"http://api.example.com:{port}/x")
    assert api.seen[0].headers["host"] == f"api.example.com:{port}"


async def test_a_name_is_looked_up_once_for_the_check_and_the_connection(monkeypatch):
    lookups = []

    async def resolve(host, port):
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) == 1 else ["169.254.169.254"]

    monkeypatch.setattr(network, "resolve", resolve)
    api = Api()
    async with serving(api) as url, client() as made:
        address = url.replace("127.0.0.1", "rebind.example.com")
        for _ in range(2):  # the second time on the open connection
            assert (await made.send(Request("GET", address), 1_000_000)).status == 200
    assert lookups == ["rebind.example.com"]


async def test_a_name_that_means_a_private_address(monkeypatch):
    async def resolve(host, port):
        return ["10.0.0.7", "::1"]

    monkeypatch.setattr(network, "resolve", resolve)
    with pytest.raises(AddressRefused, match=r"'nice\.example\.com' leads to a loopback and private address"):
        await get("http://nice.example.com/")


async def test_a_name_that_does_not_exist():
    with pytest.raises(Unreachable, match="cannot be found; nothing was sent"):
        await get("http://does-not-exist.invalid/")


async def test_nobody_listens():
    with pytest.raises(Unreachable, match="nothing was sent"):
        await get("http://127.0.0.1:9/")


async def test_the_environment_names_no_proxy(monkeypatch):
    api = Api()
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(api) as url:
        assert (await get(url)).status == 200


# --- redirects


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://10.0.0.1/",
        "http://[::1]:1/",
        "http://2852039166/",
        "//169.254.169.254/",
    ],
)
async def test_a_redirect_leads_nowhere_private(target):
    api = Api()
    api.answers["/go"] = RedirectResponse(target)
    async with serving(api) as url:
        with pytest.raises(AddressRefused):
            await get(f"{url}/go", credentials=SECRET)


async def test_a_redirect_on_the_same_server_keeps_the_credentials():
    api = Api()
    api.answers["/old"] = RedirectResponse("/new?a=1#part", status_code=301)
    async with serving(api) as url:
        assert (await get(f"{url}/old", credentials=SECRET)).status == 200
    assert (api.seen[1].path, api.seen[1].query) == ("/new", "a=1")
    assert api.seen[1].headers["authorization"] == "Bearer hush-hush"


async def test_a_redirect_to_another_server_takes_nothing_along():
    first, second = Api(), Api()
    async with serving(first) as url, serving(second) as other:
        first.answers["/go"] = RedirectResponse(f"{other.replace('//', '//user:word@')}/there")
        async with client() as made:
            headers = (("Accept", "*/*"), ("X-Tenant", "t1"))
            cookies = (*SECRET, ("Cookie", "sid=1"), ("X-Api-Key", "k"))
            await made.send(Request("GET", f"{url}/go", headers, cookies), 1_000_000)
    assert second.paths == ["/there"]
    assert not {"authorization", "cookie", "x-api-key", "x-tenant"} & set(second.seen[0].headers)


async def test_cookies_of_an_answer_are_not_kept():
    api = Api()
    api.answers["/set"] = Response("x", headers={"set-cookie": "sid=1; Path=/"})
    async with serving(api) as url, client() as made:
        for path in ("/set", "/get"):
            await made.send(Request("GET", f"{url}{path}"), 1_000)
    assert "cookie" not in api.seen[1].headers


async def test_a_circle_of_redirects_ends():
    api = Api()
    api.answers["/go"] = RedirectResponse("/go")
    async with serving(api) as url:
        with pytest.raises(ToolError, match="more than 5 times"):
            await get(f"{url}/go")
    assert len(api.seen) == 6


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_only_reads_follow_a_redirect(method):
    api = Api()
    api.answers["/go"] = RedirectResponse("/there?token=hush")
    async with serving(api) as url:
        with pytest.raises(ToolError, match=r"redirect \(307\) to http://127.0.0.1:\d+/there,") as caught:
            await get(f"{url}/go", method=method)
    assert "hush" not in str(caught.value)
    assert len(api.seen) == 1


@pytest.mark.parametrize(
    "target", ["ftp://example.com/", "file:///etc/passwd", "javascript:1", "http://[oops/"]
)
async def test_a_redirect_to_what_is_no_web_address(target):
    api = Api()
    api.answers["/go"] = Response(status_code=302, headers={"location": target})
    async with serving(api) as url:
        with pytest.raises(ToolError, match="redirected"):
            await get(f"{url}/go")


def test_a_redirect_from_https_to_http_is_not_followed():
    answer = network.Response(302, "Found", {"location": "http://api.example.com/"}, b"", "")
    with pytest.raises(ToolError, match="not encrypted"):
        network.redirected(Request("GET", "https://api.example.com/"), answer)


# --- bodies


async def test_a_zipped_answer_is_unzipped():
    api = Api()
    packed = gzip.compress(b"one ") + gzip.compress(b"two " * 100_000)
    api.answers["/z"] = Response(packed, headers={"content-encoding": "gzip"})
    async with serving(api) as url:
        assert (await get(f"{url}/z")).body == b"one " + b"two " * 100_000


async def test_a_gzip_bomb_is_stopped():
    api = Api()
    api.answers["/bomb"] = Response(gzip.compress(bytes(50_000_000)), headers={"content-encoding": "gzip"})
    async with serving(api) as url:
        with pytest.raises(ToolError, match="larger than 1,000,000 bytes"):
            await get(f"{url}/bomb")


@pytest.mark.parametrize(
    ("body", "coding", "error"),
    [
        (bytes(1_000_001), "identity", "larger than 1,000,000 bytes"),
        (b"no gzip", "gzip", "not the gzip data"),
        (gzip.compress(b"x" * 1000)[:-9], "gzip", "in the middle"),
        (gzip.compress(b"") * 100, "gzip", "not the gzip data"),
        (zlib.compress(b"x"), "deflate", "'deflate', which was not asked for"),
        (gzip.compress(gzip.compress(b"x")), "gzip, gzip", "was not asked for"),
    ],
    ids=["too large", "not packed", "cut off", "packed too often", "another coding", "packed twice"],
)
async def test_a_body_that_cannot_be_read(body, coding, error):
    api = Api()
    api.answers["/b"] = Response(body, headers={"content-encoding": coding})
    async with serving(api) as url:
        with pytest.raises(ToolError, match=error):
            await get(f"{url}/b")


async def test_an_endless_body_that_decodes_to_nothing_is_stopped():
    async def answer(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"", mtime=0)[:10])
        while True:  # an endless row of empty blocks
            writer.write(b"\x00\x00\x00\xff\xff" * 10_000)
            await writer.drain()

    async with raw_server(answer) as url:
        with pytest.raises(ToolError, match="larger than"):
            await get(url)


async def test_of_an_error_only_the_beginning_is_read():
    api = Api()
    api.answers["/e"] = Response(b"x" * 5_000_000, status_code=500)
    async with serving(api) as url:
        answer = await get(f"{url}/e")
    assert (answer.status, len(answer.body)) == (500, 64 * 1024)


async def test_an_answer_that_breaks_off():
    async def answer(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")

    async with raw_server(answer) as url:
        with pytest.raises(ConnectionBroke, match="broke before a whole answer came"):
            await get(url)


async def test_an_answer_that_does_not_come_in_time():
    async def answer(reader, writer):
        await reader.read()

    async with raw_server(answer) as url, client(timeout=0.2) as made:
        with pytest.raises(ConnectionBroke, match="did not answer in time"):
            await made.send(Request("POST", url, content=b"x"), 1_000)


async def test_many_calls_at_once():
    api = Api()
    async with serving(api) as url, client() as made:
        calls = [made.send(Request("GET", f"{url}/{number}"), 10_000) for number in range(100)]
        answers = await asyncio.gather(*calls)
    assert [answer.url for answer in answers] == [f"{url}/{number}" for number in range(100)]
    assert sorted(api.paths) == sorted(f"/{number}" for number in range(100))


# --- TLS


@pytest.fixture
def certificates(tmp_path, monkeypatch):
    """A certificate for api.example.com that this process trusts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.example.com")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    return {"ssl_certfile": str(tmp_path / "cert.pem"), "ssl_keyfile": str(tmp_path / "key.pem")}


async def test_a_certificate_is_checked_for_the_name_not_the_address(certificates, monkeypatch):
    async def resolve(host, port):
        return ["127.0.0.1"]

    monkeypatch.setattr(network, "resolve", resolve)
    api = Api()
    async with serving(api, **certificates) as url:
        assert (await get(url.replace("127.0.0.1", "api.example.com"))).status == 200
        with pytest.raises(Unreachable):
            await get(url.replace("127.0.0.1", "other.example.com"))
    assert len(api.seen) == 1


async def test_an_answer_in_tiny_chunks_leaves_the_event_loop_to_others():
    chunks = 5_000
    turns = 0
    at_start = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def answer(reader, writer):
        nonlocal at_start
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * chunks + b"0\r\n\r\n"
        )
        await writer.drain()
        at_start = turns

    working = asyncio.create_task(others())
    async with raw_server(answer) as url:
        response = await get(url)
    working.cancel()
    assert response.body == b"a" * chunks
    assert turns - at_start >= chunks
