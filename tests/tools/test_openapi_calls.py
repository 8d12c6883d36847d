"""Calls of an API that an OpenAPI document describes, over HTTP on this machine."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import sys
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from oneturn import CodeMode
from oneturn.errors import ConfigError, EffectUnknown, SourceError, ToolError
from oneturn.tools.base import Blob, Text
from oneturn.tools.openapi import network
from oneturn.tools.openapi.auth import ApiKey, Basic, Bearer, ClientCredentials
from oneturn.tools.openapi.request import Base, Proof, build
from oneturn.tools.openapi.source import OpenApi, OpenApiSource

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))
from api import Api, raw_server, serving


def parameter(name, place, schema=None, **more):
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "schema": schema or {"type": "string"}, **required, **more}


def operation(*parameters, body=None, answer=None, **more):
    content = {"application/json": {"schema": answer if answer is not None else {}}}
    made = {
        "parameters": list(parameters),
        "responses": {"200": {"description": "", "content": content}},
        **more,
    }
    if body is not None:
        made["requestBody"] = {"content": body}
    return made


def document(paths, **more):
    info = {"title": "Lab", "version": "1"}
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": "https://api.example.com/v1"}],
        "paths": paths,
        **more,
    }


def schemes(**named):
    return {"components": {"securitySchemes": named}}


@asynccontextmanager
async def opened(described, url, *, base="/v1", **options):
    options = {"allow_private": ("127.0.0.1",), **options}
    source = OpenApiSource(OpenApi("lab", described, base_url=f"{url}{base}", **options))
    await source.open()
    try:
        yield source, {tool.original: tool for tool in await source.list_tools()}
    finally:
        await source.close()


@asynccontextmanager
async def lab(paths, *, base="/v1", more=None, **options):
    """An API with these paths, its source, and a function that calls an operation."""
    api = Api()
    async with (
        serving(api) as url,
        opened(document(paths, **(more or {})), url, base=base, **options) as found,
    ):
        source, tools = found

        async def call(original, **arguments):
            return await source.call(tools[original], arguments)

        call.source, call.tools = source, tools
        yield api, call


async def seen(paths, original, **arguments):
    """What the server saw of one call."""
    async with lab(paths) as (api, call):
        await call(original, **arguments)
        return api.seen[-1]


# --- requests


async def test_a_call_reaches_the_configured_server_and_its_path():
    request = await seen(
        {"/pets/{id}": {"get": operation(parameter("id", "path"))}}, "GET /pets/{id}", id="a1"
    )
    assert (request.method, request.path, request.query) == ("GET", "/v1/pets/a1", "")


@pytest.fixture(scope="module")
def one_operation():
    async def read():
        parameters = parameter("x", "path"), parameter("y", "path")
        described = document({"/a/{x}/b/{y}.json": {"get": operation(*parameters)}})
        source = OpenApiSource(
            OpenApi("lab", described, base_url="http://127.0.0.1:1", allow_private=("127.0.0.1",))
        )
        await source.open()
        found = next(iter(source._operations.values()))[0]
        await source.close()
        return found

    return asyncio.run(read())


def climbs(value):
    """Whether some server or proxy, which may decode it again, reads a step to this or the upper level."""
    while (decoded := unquote(value)) != value:
        value = decoded
    parts = [part.partition(";")[0] for part in re.split(r"[/\\]", value)]
    return any(part and not part.strip(".") for part in parts)


HOSTILE = [
    "a/b",
    "a..b/c...d",
    "a?b#c",
    "%",
    "%2e%2ea",
    "é😀",
    "a b",
    ";x=1",
    "\r\nX: y",
    "@evil.com",
    "//e",
    ". ",
    "..a",
]


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_hostile_path_value_stays_in_its_segment(value):
    paths = {"/a/{x}/b": {"get": operation(parameter("x", "path"))}}
    request = await seen(paths, "GET /a/{x}/b", x=value)
    assert request.query == ""
    assert [unquote(part) for part in request.path.split("/")] == ["", "v1", "a", value, "b"]


@given(
    x=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    y=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_any_path_value_stays_in_its_segment(one_operation, x, y):
    base = Base.of("https://api.example.com/v1")
    try:
        url = build(one_operation, {"x": x, "y": y}, base, Proof()).url
    except ToolError:
        assert climbs(x) or climbs(y) or climbs(f"{y}.json")
        return
    path = url.removeprefix("https://api.example.com")
    assert [unquote(part) for part in path.split("/")] == ["", "v1", "a", x, "b", f"{y}.json"]
    assert path.isascii()
    assert not set(path) & set("?#\\ ")


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=60, max_size=60)
)
def test_the_server_sees_the_segments_that_were_meant(values):
    async def run():
        paths = {"/a/{x}/b": {"get": operation(parameter("x", "path"))}}
        async with lab(paths) as (api, call):
            for value in values:
                try:
                    await call("GET /a/{x}/b", x=value)
                except ToolError:
                    assert climbs(value)
                else:
                    assert [unquote(part) for part in api.seen[-1].path.split("/")] == [
                        "",
                        "v1",
                        "a",
                        value,
                        "b",
                    ]

    asyncio.run(run())


@pytest.mark.parametrize("value", ["", ".", "..", "...", None])
async def test_an_empty_or_dotted_path_value_is_refused(value):
    async with lab({"/a/{x}/b": {"get": operation(parameter("x", "path"))}}) as (api, call):
        with pytest.raises(ToolError, match="path parameter 'x'"):
            await call("GET /a/{x}/b", x=value)
    assert api.seen == []


@pytest.mark.parametrize(
    "value",
    [
        *("../admin", "a/../../admin", "a/..", "./a", "a\\..\\b", "..\\admin"),
        *("..%2f", "%2e%2e", "%2E.%2Fadmin", "%252e%252e%252fadmin", "..%5cadmin"),
        *("..;/admin", "..;x=1", "..%3b/admin"),
    ],
)
@pytest.mark.parametrize("style", ["simple", "label"])
async def test_a_path_value_that_a_proxy_would_take_for_a_way_up_is_refused(value, style):
    paths = {"/users/{x}": {"get": operation(parameter("x", "path", style=style))}}
    value = value if style == "simple" else f"a/{value}"
    async with lab(paths) as (api, call):
        with pytest.raises(ToolError, match=r"'\.' or '\.\.' as a part"):
            await call("GET /users/{x}", x=value)
    assert api.seen == []


async def test_a_label_makes_no_step_up_of_its_dot():
    paths = {"/users/{x}": {"get": operation(parameter("x", "path", style="label"))}}
    async with lab(paths) as (api, call):
        with pytest.raises(ToolError, match=r"as a part"):
            await call("GET /users/{x}", x="./admin")
    assert api.seen == []


@pytest.mark.parametrize(
    "path",
    [
        *("/a/../../admin", "/a/%2e%2e/b", "/./a", "/a/.%2E"),
        *("/..;/admin", "/..%2fadmin", "/a/..\\..\\x", "/a/..%5cx", "/a/%252e%252e/b", "/..%3b/admin"),
    ],
)
async def test_a_document_cannot_lead_out_of_the_base_url(path):
    async with lab({path: {"get": operation()}}) as (api, call):
        with pytest.raises(ToolError, match=r"'\.' or '\.\.'"):
            await call(f"GET {path}")
    assert api.seen == []


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("https://a.com/v1", True),
        ("https://a.com/v1/x?y=1", True),
        ("https://a.com:443/v1/x", True),
        ("https://a.com/v10", False),
        ("https://a.com/v1/../x", False),
        ("https://a.com/v1/%2e%2e/x", False),
        ("https://a.com/v1/..%2fx", False),
        ("https://a.com/v1/..;/x", False),
        ("https://a.com/v1/a...b/..c/d..", True),
        ("http://a.com/v1/x", False),
        ("https://a.com:444/v1/x", False),
        ("https://b.com/v1/x", False),
        ("https://u@a.com/v1/x", False),
        ("https://a.com@b.com/v1/x", False),
        ("//a.com/v1", False),
    ],
)
def test_what_is_at_or_under_the_base_url(url, inside):
    assert Base.of("https://A.com/v1/").holds(url) is inside


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com",
        "ftp://a.com",
        "https://",
        "https://u:p@a.com",
        "https://a.com?x=1",
        "https://a.com/../b",
        "http://[x",
    ],
)
def test_a_base_url_that_is_none(url):
    with pytest.raises(ConfigError, match=r"'lab': base_url"):
        OpenApi("lab", {}, base_url=url)


ARRAY = {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("style", "value", "query"),
    [
        ({}, "a&b=c d+é", "q=a%26b%3Dc%20d%2B%C3%A9"),
        ({}, True, "q=true"),
        ({}, 1.5, "q=1.5"),
        ({}, ["a,b", "c"], "q=a%2Cb&q=c"),
        ({"explode": False}, ["a,b", "c"], "q=a%2Cb,c"),
        ({"style": "spaceDelimited", "explode": False}, ["a", "b"], "q=a%20b"),
        ({"style": "pipeDelimited", "explode": False}, ["a", "b"], "q=a%7Cb"),
        ({}, {"a": 1, "b&": "x"}, "a=1&b%26=x"),
        ({"explode": False}, {"a": 1, "b": "x"}, "q=a,1,b,x"),
        ({"style": "deepObject"}, {"a": 1, "b": {"c": "&"}}, "q%5Ba%5D=1&q%5Bb%5D%5Bc%5D=%26"),
        ({"style": "deepObject"}, {"a": ["x", "y"]}, "q%5Ba%5D%5B%5D=x&q%5Ba%5D%5B%5D=y"),
        ({"allowReserved": True}, "a/b:c&d#e", "q=a/b:c%26d%23e"),
        ({}, [], ""),
        ({}, None, ""),
    ],
)
async def test_query_styles(style, value, query):
    request = await seen({"/x": {"get": operation(parameter("q", "query", {}, **style))}}, "GET /x", q=value)
    assert request.query == query


async def test_a_query_parameter_in_json():
    described = {"name": "q", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}}
    request = await seen({"/x": {"get": operation(described)}}, "GET /x", q={"a": [1, "é"]})
    assert json.loads(unquote(request.query.removeprefix("q="))) == {"a": [1, "é"]}


@pytest.mark.parametrize(
    ("style", "value", "segment"),
    [
        ({}, ["a", "b/c"], "a,b%2Fc"),
        ({"style": "label"}, ["a", "b"], ".a,b"),
        ({"style": "label", "explode": True}, ["a", "b"], ".a.b"),
        ({"style": "matrix"}, "a", ";p=a"),
        ({"style": "matrix", "explode": True}, ["a", "b"], ";p=a;p=b"),
        ({"explode": True}, {"a": 1, "b": 2}, "a=1,b=2"),
    ],
)
async def test_path_styles(style, value, segment):
    request = await seen(
        {"/x/{p}": {"get": operation(parameter("p", "path", {}, **style))}}, "GET /x/{p}", p=value
    )
    assert request.path == f"/v1/x/{segment}"


async def test_headers_and_cookies():
    paths = {
        "/x": {
            "get": operation(
                parameter("X-Trace", "header"), parameter("sid", "cookie"), parameter("Host", "header")
            )
        }
    }
    request = await seen(paths, "GET /x", **{"X-Trace": " é1 ", "sid": "a;b=c, d", "Host": "evil.com"})
    assert request.headers["x-trace"].encode("latin-1").decode() == "é1"
    assert request.headers["cookie"] == "sid=a%3Bb%3Dc%2C%20d"
    assert request.headers["host"].startswith("127.0.0.1:")


@pytest.mark.parametrize("value", ["a\r\nX-Admin: 1", "a\nb", "a\0b", "\r"])
async def test_a_header_cannot_become_two(value):
    async with lab({"/x": {"get": operation(parameter("X-Trace", "header"))}}) as (api, call):
        with pytest.raises(ToolError, match="cannot hold a line break"):
            await call("GET /x", **{"X-Trace": value})
    assert api.seen == []


@pytest.mark.parametrize(
    ("name", "place"),
    [("X-HTTP-Method-Override", "header"), ("X_HTTP_METHOD_OVERRIDE", "header"), ("_method", "query")],
)
async def test_a_read_cannot_become_a_deletion(name, place):
    async with lab({"/x": {"get": operation(parameter(name, place))}}) as (api, call):
        with pytest.raises(ToolError, match="another method"):
            await call("GET /x", **{name: "delete"})
        await call("GET /x", **{name: "GET"})
    assert len(api.seen) == 1


async def test_nor_through_a_part_that_is_sent_under_its_own_name():
    anything = {"type": "object", "additionalProperties": True}
    body = {"application/x-www-form-urlencoded": {"schema": {**anything, "properties": {"a": {}}}}}
    paths = {"/x": {"get": operation(parameter("filter", "query", anything)), "post": operation(body=body)}}
    async with lab(paths) as (api, call):
        with pytest.raises(ToolError, match="another method"):
            await call("GET /x", filter={"a": {"_method": "DELETE"}})
        with pytest.raises(ToolError, match="another method"):
            await call("POST /x", a="1", _method="DELETE")
        await call("GET /x", filter={"method": "DELETE"})
    assert len(api.seen) == 1


@pytest.mark.parametrize("name", ["X-Original-URL", "x-rewrite-url", "Proxy", "Content_Length", "COOKIE"])
async def test_a_header_that_is_not_the_scripts_to_set_is_not_sent(name):
    async with lab({"/x": {"get": operation(parameter(name, "header"))}}) as (api, call):
        await call("GET /x", **{name: "/admin"})
    assert "/admin" not in api.seen[0].headers.values()


# --- bodies


async def test_a_json_body():
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "tags": ARRAY, "note": {"type": ["string", "null"]}},
    }
    paths = {"/x": {"post": operation(body={"application/json": {"schema": schema}})}}
    request = await seen(paths, "POST /x", title="é", tags=["a"], note=None)
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"title": "é", "tags": ["a"], "note": None}


async def test_a_form_body():
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "tags": ARRAY, "deep": {"type": "object"}},
    }
    media = {"schema": schema, "encoding": {"deep": {"style": "deepObject", "explode": True}}}
    paths = {"/x": {"post": operation(body={"application/x-www-form-urlencoded": media})}}
    request = await seen(paths, "POST /x", name="a&b=c", tags=["x", "y"], deep={"k": {"l": 1}})
    assert parse_qs(request.body.decode()) == {"name": ["a&b=c"], "tags": ["x", "y"], "deep[k][l]": ["1"]}


async def test_a_multipart_body():
    from python_multipart.multipart import parse_options_header
    from starlette.datastructures import Headers
    from starlette.formparsers import MultiPartParser

    binary = {"type": "string", "format": "binary"}
    schema = {
        "type": "object",
        "properties": {"file": binary, "name": {"type": "string"}, "meta": {"type": "object"}},
    }
    paths = {"/x": {"post": operation(body={"multipart/form-data": {"schema": schema}})}}
    data = b"\x00\xff\r\n--x"
    request = await seen(paths, "POST /x", file=data, name='a"\r\nX: y', meta={"k": 1})
    assert parse_options_header(request.headers["content-type"])[0] == b"multipart/form-data"

    async def stream():
        yield request.body

    form = await MultiPartParser(Headers({"content-type": request.headers["content-type"]}), stream()).parse()
    assert (await form["file"].read(), form["name"], json.loads(form["meta"])) == (
        data,
        'a"\r\nX: y',
        {"k": 1},
    )
    await form.close()


@pytest.mark.parametrize(
    ("kind", "schema", "value", "sent", "header"),
    [
        ("text/plain", {"type": "string"}, "é", "é".encode(), "text/plain; charset=utf-8"),
        (
            "application/octet-stream",
            {"type": "string", "format": "binary"},
            b"\x00\xff",
            b"\x00\xff",
            "application/octet-stream",
        ),
        ("application/xml", {"type": "string"}, "<a/>", b"<a/>", "application/xml"),
    ],
)
async def test_a_text_or_binary_body(kind, schema, value, sent, header):
    paths = {"/x": {"put": operation(body={kind: {"schema": schema}})}}
    request = await seen(paths, "PUT /x", body=value)
    assert (request.body, request.headers["content-type"]) == (sent, header)


async def test_an_optional_body_left_out_is_empty():
    paths = {"/x": {"post": operation(body={"application/json": {"schema": ARRAY}})}}
    request = await seen(paths, "POST /x")
    assert (request.body, request.headers["content-length"]) == (b"", "0")
    assert "content-type" not in request.headers


# --- results


async def answered(response, method="get", **options):
    async with lab({"/x": {method: operation()}}, retries=0, **options) as (api, call):
        api.answers["/v1/x"] = response
        return await call(f"{method.upper()} /x")


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        (b'{"a": [1, null]}', "application/json", {"a": [1, None]}),
        (b"3", "application/vnd.lab+json; charset=utf-8", 3),
        (b'\xef\xbb\xbf"x"', "application/json", "x"),
        ('{"a": "é"}'.encode("latin-1"), "application/json; charset=iso-8859-1", {"a": "é"}),
        (b"", "application/json", None),
    ],
)
async def test_json_is_structured(body, kind, value):
    result = await answered(Response(body, headers={"content-type": kind}))
    assert (result.structured, result.has_structured) == (value, True)


async def test_no_content_is_none():
    result = await answered(Response(status_code=204))
    assert (result.structured, result.has_structured) == (None, True)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("é".encode(), "text/plain", "é"),
        ("é".encode("latin-1"), "text/plain; charset=latin1", "é"),
        ("é".encode("utf-16"), 'text/csv; charset="utf-16"', "é"),
        ("é".encode(), "text/plain; charset=no-such", "é"),
        (b"xn--a", "text/plain; charset=idna", "xn--a"),
        (b"7A", "text/plain; charset=hex", "7A"),
        (b"a\xff", "text/plain", "a\ufffd"),
        (b"<a/>", "application/atom+xml", "<a/>"),
        (b'{"a":1}\n{"a":2}\n', "application/x-ndjson", '{"a":1}\n{"a":2}\n'),
    ],
)
async def test_text_is_text(body, kind, text):
    assert (await answered(Response(body, headers={"content-type": kind}))).blocks == (Text(text),)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a b.png"', "a b.png"),
        ("attachment; filename=../../etc/passwd", "passwd"),
        ('attachment; filename="..\\\\x\\\\c.exe"', "c.exe"),
        ('attachment; filename=".."', ""),
        ("attachment", ""),
    ],
)
async def test_a_file_keeps_its_name_and_type(disposition, name):
    headers = {"content-type": "image/png; x=1", "content-disposition": disposition}
    assert (await answered(Response(b"\x89PNG", headers=headers))).blocks == (
        Blob(b"\x89PNG", "image/png", name),
    )


async def test_json_that_is_none():
    with pytest.raises(
        ToolError, match=r"The call was made \(200\), but .* not the JSON it claims to be: <html>"
    ):
        await answered(Response(b"<html>", headers={"content-type": "application/json"}))
    with pytest.raises(ToolError, match="not the JSON"):
        await answered(Response(b"[" * 100_000, headers={"content-type": "application/json"}))
    with pytest.raises(ToolError, match="not the JSON"):
        await answered(Response(b"[NaN]", headers={"content-type": "application/json"}))


async def test_an_answer_that_is_too_large():
    with pytest.raises(ToolError, match="larger than 1,000 bytes"):
        await answered(PlainTextResponse("x" * 2_000), max_response_bytes=1_000)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"title": "No", "detail": "Not yours.", "type": "about:blank"}, "404 Not Found: No: Not yours"),
        ({"message": "Bad credentials", "documentation_url": "https://x"}, "404 Not Found: Bad credentials"),
        ({"error": {"message": "No such customer", "type": "x"}}, "404 Not Found: No such customer"),
        ({"error": "invalid", "error_description": "Wrong thing"}, "404 Not Found: Wrong thing"),
        (
            {"detail": [{"loc": ["body", "age"], "msg": "must be > 0"}]},
            "404 Not Found: body.age: must be > 0",
        ),
        (
            {"message": "Failed", "errors": [{"field": "title", "message": "missing"}]},
            "404 Not Found: Failed. title: missing",
        ),
        ({"code": 7}, '404 Not Found: {"code": 7}'),
        ({"message": "Not Found"}, "404 Not Found"),
        ([], "404 Not Found: []"),
    ],
)
async def test_an_error_says_what_the_api_says(body, text):
    with pytest.raises(ToolError) as caught:
        await answered(JSONResponse(body, status_code=404))
    assert str(caught.value) == text


async def test_an_error_in_text_or_html_and_a_long_one():
    with pytest.raises(ToolError, match=r"^400 Bad Request: no such thing$"):
        await answered(PlainTextResponse("no such\nthing", status_code=400))
    with pytest.raises(ToolError, match=r"^500 Internal Server Error: Oops$"):
        await answered(
            Response("<html><head><title>Oops</title><body>x", status_code=500, media_type="text/html")
        )
    with pytest.raises(ToolError) as caught:
        await answered(JSONResponse({"message": "x" * 100_000}, status_code=400))
    assert len(str(caught.value)) < 1_100
    with pytest.raises(ToolError, match="304 Not Modified"):
        await answered(Response(status_code=304))


async def test_an_error_repeats_no_secret(caplog):
    caplog.set_level("DEBUG")
    async with lab({"/x": {"get": operation()}}, auth=Bearer("hush-hush-token")) as (api, call):
        api.answers["/v1/x"] = lambda seen: PlainTextResponse(seen.headers["authorization"], status_code=403)
        with pytest.raises(ToolError) as caught:
            await call("GET /x")
    logging.getLogger("lab").error("failed", exc_info=caught.value)
    assert "hush" not in str(caught.value)
    assert "hush" not in caplog.text


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("start", ["", '{"message": "', "<title>", " " * 19_980])
async def test_no_part_of_a_secret_is_left_where_an_error_is_cut(status, start):
    """An API that repeats what it got: whoever chooses what comes before it chooses where it is cut."""
    token = "abcdefghijklmnopqrst"
    paths = {"/x": {"get": operation(parameter("n", "query"))}}
    async with lab(paths, auth=Bearer(token)) as (api, call):

        def answer(seen):
            text = start + "-" * int(seen.query[2:]) + seen.headers["authorization"][len("Bearer ") :]
            text += '"}' if start[:1] == "{" else ""
            kind = "text/html" if start[:1] == "<" else "application/json"
            kind = "application/json" if status == 200 else kind
            return Response(text if status == 400 else f"!{text}", status, media_type=kind)

        api.answers["/v1/x"] = answer
        for count in [*range(175, 205, 3), *range(275, 305, 3), *range(975, 1005, 3), *range(0, 30, 5)]:
            with pytest.raises(ToolError) as caught:
                await call("GET /x", n=str(count))
            assert token[:4] not in str(caught.value)


@pytest.mark.parametrize("auth", [Bearer("hush-hush-token "), ApiKey(" hush-hush-token ", "header", "X-Key")])
async def test_blanks_around_a_credential_neither_spoil_a_request_nor_show_it(auth, caplog):
    caplog.set_level("DEBUG")
    async with lab({"/x": {"get": operation()}}, auth=auth, headers={"X-Other": " more-hush "}) as (
        api,
        call,
    ):

        def answer(seen):
            said = [seen.headers.get("x-key"), seen.headers.get("authorization"), seen.headers["x-other"]]
            return JSONResponse({"message": f"no: {said}."}, status_code=403)

        api.answers["/v1/x"] = answer
        with pytest.raises(ToolError, match="403 Forbidden") as caught:
            await call("GET /x")
    logging.getLogger("lab").error("failed", exc_info=caught.value)
    assert "hush" not in str(caught.value)
    assert "hush" not in caplog.text


async def test_arguments_are_not_written_out_on_the_event_loop():
    threads = []

    class Large(dict):
        def items(self):
            threads.append(threading.current_thread())
            return super().items()

    anything = {"type": "object", "additionalProperties": True}
    async with lab({"/x": {"get": operation(parameter("q", "query", anything))}}) as (_, call):
        await call("GET /x", q=Large(a="1"))
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (400, "text/plain", "\x1b[2J\u202ethe\u200b end"),
        (400, "text/html", "<title>\x1b[2J\u202ethe\u200b end</title>"),
        (400, "application/json", '{"message": "\\u001b[2J\\u202ethe\\u200b end"}'),
        (200, "application/json", "\x1b[2J\u202ethe\u200b end"),
    ],
)
async def test_an_error_has_nothing_in_it_that_cannot_be_seen(status, kind, text):
    async with lab({"/x": {"get": operation()}}) as (api, call):
        api.answers["/v1/x"] = Response(text, status, media_type=kind)
        with pytest.raises(ToolError, match=r"\[2Jthe end") as caught:
            await call("GET /x")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("away", ["/admin", "/v10/x", "/v1/..%2fadmin", "/v1/..;/admin"])
async def test_a_redirect_out_of_the_base_url_takes_no_credential_along(away):
    paths = {"/go": {"get": operation(parameter("X-Trace", "header"))}}
    async with lab(paths, auth=Bearer("hush-hush")) as (api, call):
        for place in ("/v1/there", away):
            api.answers["/v1/go"] = RedirectResponse(place)
            await call("GET /go", **{"X-Trace": "mine"})
    inside, outside = api.seen[1], api.seen[3]
    assert (inside.path, outside.path) == ("/v1/there", away)
    assert (inside.headers["authorization"], inside.headers["x-trace"]) == ("Bearer hush-hush", "mine")
    assert not {"authorization", "x-trace"} & outside.headers.keys()


async def test_a_missing_base_path_is_guessed_at():
    async with lab({"/x": {"get": operation()}}, base="") as (api, call):
        api.answers["/x"] = Response(status_code=404)
        with pytest.raises(ToolError, match="under '/v1', and base_url has no path"):
            await call("GET /x")


# --- credentials


async def test_one_credential_for_every_call_and_static_headers():
    headers = {"X-Tenant": "tenant-7"}
    async with lab({"/x": {"get": operation()}}, auth=Bearer("hush-hush"), headers=headers) as (api, call):
        await call("GET /x")
        assert {"hush-hush", "tenant-7"} <= set(call.source.secrets())
    assert api.seen[0].headers["authorization"] == "Bearer hush-hush"
    assert api.seen[0].headers["x-tenant"] == "tenant-7"


async def test_a_script_cannot_replace_a_credential():
    paths = {"/x": {"get": operation(parameter("X-Api-Key", "header"), parameter("Authorization", "header"))}}
    async with lab(paths, auth=ApiKey("real-key", "header", "x-api-key")) as (api, call):
        await call("GET /x", **{"X-Api-Key": "mine", "Authorization": "mine"})
    assert api.seen[0].headers["x-api-key"] == "real-key"
    assert "authorization" not in api.seen[0].headers


async def test_basic():
    async with lab({"/x": {"get": operation()}}, auth=Basic("me", "pässword")) as (api, call):
        await call("GET /x")
        encoded = api.seen[0].headers["authorization"].removeprefix("Basic ")
        assert base64.b64decode(encoded).decode() == "me:pässword"
        assert {encoded, "pässword"} <= set(call.source.secrets())


@pytest.mark.parametrize("place", ["header", "query", "cookie"])
async def test_an_api_key_goes_where_the_document_says(place):
    more = schemes(key={"type": "apiKey", "in": place, "name": "k-1"})
    async with lab({"/x": {"get": operation(parameter("q", "query"))}}, auth=ApiKey("a&b=c"), more=more) as (
        api,
        call,
    ):
        await call("GET /x", q="1")
    request = api.seen[0]
    assert ("q", "1") in parse_qsl(request.query)
    if place == "header":
        assert request.headers["k-1"] == "a&b=c"
    elif place == "query":
        assert parse_qsl(request.query)[1:] == [("k-1", "a&b=c")]
    else:
        assert request.headers["cookie"] == "k-1=a&b=c"


async def test_credentials_by_scheme():
    more = schemes(
        key={"type": "apiKey", "in": "header", "name": "X-Key"},
        app={"type": "apiKey", "in": "header", "name": "X-App"},
        token={"type": "http", "scheme": "bearer"},
    )
    paths = {
        "/both": {"get": operation(security=[{"token": [], "other": []}, {"key": [], "app": []}])},
        "/token": {"get": operation(security=[{"token": []}])},
        "/maybe": {"get": operation(security=[{}, {"token": []}])},
        "/open": {"get": operation(security=[])},
        "/closed": {"get": operation(security=[{"other": ["x"]}])},
    }
    auth = {"key": ApiKey("kkkk"), "app": ApiKey("aaaa"), "token": Bearer("tttt")}
    async with lab(paths, auth=auth, more=more) as (api, call):
        for path in ("both", "token", "maybe", "open"):
            await call(f"GET /{path}")
        with pytest.raises(ToolError, match="needs credentials for 'other'"):
            await call("GET /closed")
    sent = [
        {name: seen.headers.get(name) for name in ("x-key", "x-app", "authorization")} for seen in api.seen
    ]
    token = {"x-key": None, "x-app": None, "authorization": "Bearer tttt"}
    assert sent[0] == {"x-key": "kkkk", "x-app": "aaaa", "authorization": None}
    assert sent[1:] == [token, token, dict.fromkeys(token)]


@pytest.mark.parametrize(
    ("auth", "error"),
    [
        ({"nope": Bearer("x")}, "names the security scheme 'nope'; the document declares 'key'"),
        (ApiKey("x", "query"), "0 API key schemes that fit"),
        (ApiKey(""), "empty credential"),
        (Bearer(""), "empty credential"),
        (Bearer("a\r\nb"), "cannot be sent as a header"),
        (ClientCredentials("nonsense", "a", "b"), "token_url"),
    ],
)
async def test_a_credential_that_does_not_fit(auth, error):
    described = document({}, **schemes(key={"type": "apiKey", "in": "header", "name": "k"}))
    api = OpenApi("lab", described, base_url="http://127.0.0.1:1", allow_private=("127.0.0.1",), auth=auth)
    with pytest.raises(ConfigError, match=error):
        await OpenApiSource(api).open()


def test_no_credential_is_in_a_repr():
    auth = {
        "a": Bearer("hush"),
        "b": ApiKey("hush"),
        "c": Basic("me", "hush"),
        "d": ClientCredentials("u", "i", "hush"),
    }
    assert "hush" not in repr(auth)
    assert "hush" not in repr(OpenApi("lab", {}, auth=auth, headers={"X": "hush"}))
    assert "hush" not in repr(Proof((("a", "hush"),), (("b", "hush"),), (("c", "hush"),)))


class OAuth:
    """A token endpoint: each token is good until it is revoked, and lives as long as told."""

    def __init__(self, api, expires_in=3600):
        self.granted, self.revoked, self.requests, self.expires_in = [], set(), [], expires_in
        api.answers["/token"] = self.grant
        api.answers["/v1/x"] = self.guard

    def grant(self, seen):
        self.requests.append(seen)
        basic = seen.headers.get("authorization", "").removeprefix("Basic ")
        form = dict(parse_qsl(seen.body.decode()))
        proof = base64.b64decode(basic).decode() or f"{form.get('client_id')}:{form.get('client_secret')}"
        if proof != "me:hush%2Bhush" and proof != "me:hush+hush":
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        self.granted.append(f"token-{len(self.granted)}")
        return JSONResponse(
            {"access_token": self.granted[-1], "token_type": "Bearer", "expires_in": self.expires_in}
        )

    def guard(self, seen):
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        good = token in self.granted and token not in self.revoked
        return JSONResponse({"token": token}, status_code=200 if good else 401)


@asynccontextmanager
async def oauth(expires_in=3600, secret="hush+hush", method="get", **more):
    api = Api()
    async with serving(api) as url:
        server = OAuth(api, expires_in)
        auth = ClientCredentials(f"{url}/token", "me", secret, ("read", "write"), **more)
        async with opened(document({"/x": {method: operation()}}), url, auth=auth) as (source, tools):
            (tool,) = tools.values()
            yield server, source, lambda: source.call(tool, {})


@pytest.mark.parametrize("place", ["basic", "form"])
async def test_an_oauth_token_is_fetched_once(place):
    async with oauth(send_as=place) as (server, source, call):
        results = await asyncio.gather(*(call() for _ in range(20)))
        assert {result.structured["token"] for result in results} == {"token-0"}
        assert len(server.requests) == 1
        form = dict(parse_qsl(server.requests[0].body.decode()))
        assert (form["grant_type"], form["scope"]) == ("client_credentials", "read write")
        assert {"token-0", "hush+hush"} <= set(source.secrets())


async def test_an_oauth_token_about_to_expire_is_replaced():
    async with oauth(expires_in=0) as (_, _, call):
        assert [(await call()).structured["token"] for _ in range(2)] == ["token-0", "token-1"]


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_revoked_oauth_token_is_renewed_once(method):
    async with oauth(method=method) as (server, _, call):
        await call()
        server.revoked.add("token-0")
        results = await asyncio.gather(*(call() for _ in range(10)))
        assert {result.structured["token"] for result in results} == {"token-1"}
        assert len(server.requests) == 2
        server.revoked |= {"token-1", "token-2"}
        with pytest.raises(ToolError, match="401 Unauthorized"):
            await call()
        assert len(server.requests) == 3


async def test_an_oauth_server_that_says_no():
    async with oauth(secret="wrong-secret") as (_, _, call):
        with pytest.raises(
            SourceError, match=r"no OAuth token \(401 invalid_client\).*Nothing was sent to the API"
        ) as caught:
            await call()
    assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["", 7, None, "a\r\nX: y", "é"])
async def test_an_oauth_token_that_is_none(token):
    api = Api()
    async with serving(api) as url:
        api.answers["/token"] = JSONResponse({"access_token": token, "token_type": "bearer"})
        auth = ClientCredentials(f"{url}/token", "me", "hush")
        async with opened(document({"/x": {"get": operation()}}), url, auth=auth) as (source, tools):
            with pytest.raises(SourceError, match="othing was sent to the API"):
                await source.call(tools["GET /x"], {})
    assert api.paths == ["/token"]


async def test_a_token_endpoint_must_be_reachable_too():
    api = Api()
    auth = ClientCredentials("http://169.254.169.254/token", "me", "hush")
    async with (
        serving(api) as url,
        opened(document({"/x": {"get": operation()}}), url, auth=auth) as (source, tools),
    ):
        with pytest.raises(SourceError, match="metadata service address"):
            await source.call(tools["GET /x"], {})
    assert api.seen == []


# --- trying again


async def keys_sent(paths, script, *, effects=None, api=None, **options):
    """The idempotency keys that a run's requests carried, and those that its calls have."""
    wants_token = api is not None
    api = api or Api()
    async with serving(api) as url:
        app = CodeMode(allow=["*"], approve="never", effects=effects)
        if wants_token:
            options["auth"] = ClientCredentials(f"{url}/token", "me", "hush+hush")
        options = {"idempotency_header": "Idempotency-Key", "allow_private": ["127.0.0.1"], **options}
        app.add_openapi("lab", document(paths), base_url=f"{url}/v1", **options)
        async with app:
            outcome = await app.execute(script)
        assert outcome.ok, outcome.error
        sent = [seen for seen in api.seen if seen.path == "/v1/x"]
        own = [f"{outcome.run_id}-{call.id}" for call in outcome.calls]
        return [seen.headers.get("idempotency-key") for seen in sent], own


async def test_every_call_that_is_no_read_has_a_key_of_its_own():
    paths = {"/x": {method: operation(operationId=method) for method in ("get", "post", "put", "delete")}}
    script = "for call in (lab.get, lab.post, lab.put, lab.delete):\n    await call()"
    keys, own = await keys_sent(paths, script)
    assert keys == [None, *own[1:]]
    assert len(set(keys)) == 4


async def test_who_is_asked_for_no_key_gets_none():
    paths = {"/x": {"post": operation(operationId="search")}}
    keys, _ = await keys_sent(paths, "await lab.search()", idempotency_header=None)
    assert keys == [None]
    keys, _ = await keys_sent(paths, "await lab.search()", effects={"lab.search": "read"})
    assert keys == [None]


async def test_a_key_that_the_script_gives_stays():
    given = parameter("Idempotency-Key", "header")
    paths = {"/x": {"post": operation(given, operationId="pay")}}
    keys, own = await keys_sent(paths, "await lab.pay(Idempotency_Key='mine')\nawait lab.pay()")
    assert keys == ["mine", own[1]]


async def test_a_call_that_is_sent_again_has_the_same_key():
    api = Api()
    server = OAuth(api, 3600)
    server.revoked.add(
        "token-0"
    )  # so that the first request is turned down, and sent again with another token
    paths = {"/x": {"post": operation(operationId="pay")}}
    keys, own = await keys_sent(paths, "await lab.pay()", api=api)
    assert keys == own * 2


@pytest.mark.parametrize("name", ["", "Two Words", "Host", "authorization", "X-HTTP-Method-Override"])
def test_a_header_that_cannot_hold_the_key_is_refused(name):
    with pytest.raises(ConfigError, match="idempotency_header"):
        OpenApi("lab", {}, base_url="https://api.example.com", idempotency_header=name)


def failing(times, status=503, **headers):
    left = [times]

    def answer(seen):
        left[0] -= 1
        ok = left[0] < 0
        return JSONResponse({}, status_code=200 if ok else status, headers={} if ok else headers)

    return answer


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_read_is_tried_again_when_the_api_is_busy(status):
    async with lab({"/x": {"get": operation()}}) as (api, call):
        api.answers["/v1/x"] = failing(2, status, **{"retry-after": "0"})
        assert (await call("GET /x")).structured == {}
    assert len(api.seen) == 3


@pytest.mark.parametrize(("retries", "requests"), [(0, 1), (2, 3)])
async def test_trying_again_ends(retries, requests):
    async with lab({"/x": {"get": operation()}}, retries=retries) as (api, call):
        api.answers["/v1/x"] = failing(9, **{"retry-after": "0"})
        with pytest.raises(ToolError, match="503 Service Unavailable"):
            await call("GET /x")
    assert len(api.seen) == requests


@pytest.mark.parametrize(
    ("method", "status"), [("post", 503), ("put", 503), ("delete", 429), ("patch", 502), ("get", 500)]
)
async def test_what_is_not_tried_again(method, status):
    async with lab({"/x": {method: operation()}}) as (api, call):
        api.answers["/v1/x"] = failing(1, status, **{"retry-after": "0"})
        with pytest.raises(ToolError, match=str(status)):
            await call(f"{method.upper()} /x")
    assert len(api.seen) == 1


async def test_what_an_operator_calls_a_read_is_one():
    async with lab({"/x": {"post": operation()}}) as (api, call):
        api.answers["/v1/x"] = failing(1, **{"retry-after": "0"})
        await call.source.call(replace(call.tools["POST /x"], effect="read"), {})
    assert len(api.seen) == 2


async def test_a_wait_that_is_too_long_is_told_instead():
    async with lab({"/x": {"get": operation()}}, timeout=5) as (api, call):
        api.answers["/v1/x"] = failing(1, **{"retry-after": "3600"})
        with pytest.raises(ToolError, match=r"asks to wait 3600 s"):
            await call("GET /x")
        api.answers["/v1/x"] = failing(1, **{"retry-after": formatdate(4_000_000_000, usegmt=True)})
        with pytest.raises(ToolError, match="asks to wait"):
            await call("GET /x")
        api.answers["/v1/x"] = failing(1, **{"retry-after": formatdate(1_000_000_000, usegmt=True)})
        assert (await call("GET /x")).structured == {}
    assert len(api.seen) == 4


async def broken(method, **options):
    requests = []

    async def answer(reader, writer):
        requests.append(1)  # and hangs up without a word

    async with (
        raw_server(answer) as url,
        opened(document({"/x": {method: operation()}}), url, **options) as (source, tools),
    ):
        try:
            await source.call(*tools.values(), {})
        finally:
            assert len(requests) == (3 if method == "get" else 1)


async def test_a_read_whose_connection_breaks_is_tried_again():
    with pytest.raises(SourceError, match="broke before a whole answer came") as caught:
        await broken("get")
    assert not isinstance(caught.value, EffectUnknown)


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
async def test_a_write_whose_connection_breaks_is_in_doubt(method):
    with pytest.raises(EffectUnknown, match="may have taken effect; check before calling it again"):
        await broken(method)


@pytest.mark.parametrize("method", ["get", "post", "delete"])
async def test_a_call_that_never_left_is_tried_again(method, monkeypatch):
    async with lab({"/x": {method: operation()}}) as (api, call):
        real, tries = network.resolve, []

        async def resolve(host, port):
            tries.append(host)
            if len(tries) < 3:
                raise OSError("no such host")
            return await real(host, port)

        monkeypatch.setattr(network, "resolve", resolve)
        await call(f"{method.upper()} /x")
    assert (len(tries), len(api.seen)) == (3, 1)


# --- opening


async def test_without_a_base_url_the_servers_are_told():
    with pytest.raises(
        ConfigError, match=r"'lab': base_url is missing; .* servers: https://api\.example\.com/v1\."
    ):
        await OpenApiSource(OpenApi("lab", document({}))).open()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://169.254.169.254/x"]
)
async def test_a_private_base_url_is_refused_and_the_setting_named(url):
    with pytest.raises(SourceError, match=r"'lab': The host .* allow_private"):
        await OpenApiSource(OpenApi("lab", document({}), base_url=url)).open()


async def test_a_document_from_a_file_and_from_a_url(tmp_path):
    described = document({"/x": {"get": operation()}})
    path = tmp_path / "api.json"
    path.write_text(json.dumps(described))
    api = Api()
    async with serving(api) as url:
        api.answers["/openapi.json"] = JSONResponse(described)
        api.answers["/moved"] = RedirectResponse("/openapi.json")
        for place in (path, str(path), f"{url}/openapi.json", f"{url}/moved"):
            async with opened(place, url, auth=Bearer("hush-hush")) as (_, tools):
                assert list(tools) == ["GET /x"]
    assert not any("authorization" in seen.headers for seen in api.seen)


async def test_a_document_is_fetched_from_public_places_only():
    for place in ("http://127.0.0.1:1/openapi.json", "http://169.254.169.254/openapi.json"):
        with pytest.raises(SourceError, match="allow_private"):
            await OpenApiSource(OpenApi("lab", place, base_url="https://api.example.com")).open()


async def test_a_document_that_is_not_there():
    api = Api()
    async with serving(api) as url:
        api.answers["/openapi.json"] = Response(status_code=404)
        with pytest.raises(SourceError, match="'lab': The document cannot be fetched: 404"):
            async with opened(f"{url}/openapi.json", url):
                pass


async def test_an_operation_with_a_server_of_its_own_is_not_offered():
    own = {"servers": [{"url": "https://uploads.example.com/v1"}]}
    paths = {"/x": {"get": operation()}, "/up": {"post": operation(**own)}}
    async with lab(paths) as (_, call):
        assert list(call.tools) == ["GET /x"]
        assert "https://uploads.example.com/v1" in call.source.skipped["POST /up"]


async def test_a_call_under_way_when_the_source_closes_is_in_doubt():
    arrived, leave = asyncio.Event(), asyncio.Event()

    async def answer(seen):
        arrived.set()
        await leave.wait()
        return Response()

    async with lab({"/x": {"post": operation()}}) as (api, call):
        api.answers["/v1/x"] = answer
        calling = asyncio.create_task(call("POST /x"))
        await arrived.wait()
        await call.source.close()
        leave.set()
        with pytest.raises(EffectUnknown):
            await calling


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Host": "x"}},
        {"headers": {"X": "a\nb"}},
        {"headers": {"a b": "c"}},
        {"auth": ApiKey("k", "header", "Content-Length")},
    ],
)
async def test_a_header_that_cannot_be_configured(options):
    with pytest.raises(ConfigError, match="header"):
        async with opened(document({}), "http://127.0.0.1:1", **options):
            pass


def test_other_settings_that_are_wrong():
    for options in (
        {"retries": -1},
        {"timeout": 0},
        {"timeout": -1},
        {"max_response_bytes": 0},
        {"retries": 99},
    ):
        with pytest.raises(ConfigError, match=r"'lab': .* must be"):
            OpenApi("lab", {}, **options)
    with pytest.raises(ConfigError, match="user name or password"):
        OpenApi("lab", "https://me:hush@example.com/openapi.json")


async def test_a_static_header_takes_the_place_of_our_own():
    async with lab({"/x": {"get": operation()}}, headers={"accept": "application/vnd.lab"}) as (api, call):
        await call("GET /x")
    assert api.seen[0].headers["accept"] == "application/vnd.lab"


async def test_a_closed_source_says_so():
    async with lab({"/x": {"get": operation()}}) as (_, call):
        await call.source.close()
        await call.source.close()
        with pytest.raises(SourceError, match="not open"):
            await call("GET /x")


async def test_many_calls_at_once_get_their_own_answers():
    async with lab({"/x/{n}": {"get": operation(parameter("n", "path"))}}) as (_, call):
        results = await asyncio.gather(*(call("GET /x/{n}", n=str(n)) for n in range(60)))
    assert [result.structured["path"] for result in results] == [f"/v1/x/{n}" for n in range(60)]


# --- pages

ITEMS = {"type": "array", "items": {"type": "object"}}
TEXT = {"type": ["string", "null"]}
NUMBER = {"type": "integer"}
NUMBERS = [{"id": number} for number in range(1, 8)]


def listed(*parameters, answer, **more):
    described = [parameter(name, "query", schema) for name, schema in parameters]
    return {"/items": {"get": operation(*described, answer=answer, **more)}}


def shape(**properties):
    return {"type": "object", "properties": properties}


def github():
    """Three pages of up to three numbers, told by a Link header."""
    made = listed(("page", NUMBER), ("per_page", NUMBER), answer=ITEMS)
    made["/items"]["get"]["responses"]["200"]["headers"] = {"Link": {"schema": {"type": "string"}}}

    def answer(seen):
        page = int(dict(parse_qsl(seen.query)).get("page", 1))
        host = seen.headers["host"]
        links = {"prev": page - 1, "first": 1} | ({"next": page + 1} if page < 3 else {})
        headers = {
            "link": ", ".join(f'<http://{host}/v1/items?page={n}>; rel="{rel}"' for rel, n in links.items())
        }
        return JSONResponse(NUMBERS[page * 3 - 3 : page * 3], headers=headers)

    return made, answer


def google():
    made = listed(
        ("pageToken", TEXT), ("pageSize", NUMBER), answer=shape(files=ITEMS, nextPageToken=TEXT, kind=TEXT)
    )

    def answer(seen):
        at = int(dict(parse_qsl(seen.query)).get("pageToken", "0"))
        token = {"nextPageToken": str(at + 3)} if at + 3 < len(NUMBERS) else {}
        return JSONResponse({"files": NUMBERS[at : at + 3], **token})

    return made, answer


def kubernetes():
    made = listed(("continue", TEXT), ("limit", NUMBER), answer={"$ref": "#/components/schemas/List"})

    def answer(seen):
        at = int(dict(parse_qsl(seen.query)).get("continue", "0"))
        more = str(at + 3) if at + 3 < len(NUMBERS) else ""
        return JSONResponse({"items": NUMBERS[at : at + 3], "metadata": {"continue": more}})

    return made, answer


def stripe():
    made = listed(
        ("starting_after", TEXT),
        ("limit", NUMBER),
        answer=shape(data=ITEMS, has_more={"type": "boolean"}, url=TEXT),
    )

    def answer(seen):
        at = int(dict(parse_qsl(seen.query)).get("starting_after", "0"))
        return JSONResponse({"data": NUMBERS[at : at + 3], "has_more": at + 3 < len(NUMBERS)})

    return made, answer


def offsets():
    made = listed(("offset", NUMBER), ("limit", NUMBER), answer=ITEMS)

    def answer(seen):
        at = int(dict(parse_qsl(seen.query)).get("offset", "0"))
        return JSONResponse(NUMBERS[at : at + 3])

    return made, answer


def page_numbers():
    made = listed(("page", {**NUMBER, "default": 1}), answer=shape(results=ITEMS, total=NUMBER))

    def answer(seen):
        page = int(dict(parse_qsl(seen.query)).get("page", "1"))
        return JSONResponse({"results": NUMBERS[page * 3 - 3 : page * 3], "total": 7})

    return made, answer


def django():
    link = {"type": ["string", "null"], "format": "uri"}
    made = listed(("page", NUMBER), answer=shape(results=ITEMS, next=link, previous=link))

    def answer(seen):
        page = int(dict(parse_qsl(seen.query)).get("page", "1"))
        following = f"/v1/items?page={page + 1}" if page < 3 else None
        return JSONResponse({"results": NUMBERS[page * 3 - 3 : page * 3], "next": following})

    return made, answer


SHARED = {
    "components": {
        "schemas": {
            "List": shape(items=ITEMS, metadata={"$ref": "#/components/schemas/Meta"}),
            "Meta": shape(**{"continue": TEXT}),
        }
    }
}
KINDS = [github, google, kubernetes, stripe, offsets, page_numbers, django]


def numbers(value):
    lists = (
        [value] if isinstance(value, list) else [part for part in value.values() if isinstance(part, list)]
    )
    return [item["id"] for item in lists[0]]


@pytest.mark.parametrize("kind", KINDS)
async def test_pages_are_followed_and_joined(kind):
    paths, answer = kind()
    async with lab(paths, more=SHARED, auth=Bearer("hush-hush")) as (api, call):
        api.answers["/v1/items"] = answer
        assert call.tools["GET /items"].input_schema["properties"]["max_pages"]["maximum"] == 100
        one = (await call("GET /items")).structured
        two = (await call("GET /items", max_pages=2)).structured
        everything = (await call("GET /items", max_pages=100)).structured
    assert numbers(one) == [1, 2, 3]
    assert numbers(two) == [1, 2, 3, 4, 5, 6]
    assert numbers(everything) == [1, 2, 3, 4, 5, 6, 7]
    assert type(one) is type(everything)
    assert all(seen.headers["authorization"] == "Bearer hush-hush" for seen in api.seen)
    assert not any("max_pages" in seen.query for seen in api.seen)


async def test_the_fields_beside_the_items_are_those_of_the_last_page():
    paths, answer = google()
    async with lab(paths) as (api, call):
        api.answers["/v1/items"] = answer
        assert (await call("GET /items", max_pages=2)).structured["nextPageToken"] == "6"
        assert numbers((await call("GET /items", max_pages=9, pageToken="6")).structured) == [7]


async def test_a_size_that_is_given_tells_the_last_page():
    paths, answer = offsets()
    async with lab(paths) as (api, call):
        api.answers["/v1/items"] = answer
        await call("GET /items", max_pages=9, limit=3)
    assert len(api.seen) == 3


@pytest.mark.parametrize(
    "paths",
    [
        listed(answer=ITEMS),
        listed(("page", NUMBER), answer={"type": "object", "properties": {"name": TEXT}}),
        listed(("page", TEXT), answer=ITEMS),
        listed(("page", NUMBER), ("max_pages", NUMBER), answer=ITEMS),
        {"/items": {"post": operation(parameter("page", "query", NUMBER), answer=ITEMS)}},
    ],
)
async def test_what_shows_no_pages_has_no_parameter_for_them(paths):
    async with lab(paths) as (_, call):
        (tool,) = call.tools.values()
        found = tool.input_schema["properties"].get("max_pages", {})
        assert "description" not in found or "Follow up" not in found["description"]


@pytest.mark.parametrize(
    "link",
    [
        "http://169.254.169.254/latest",
        "https://evil.com/v1/items",
        "//evil.com/v1/items",
        "/v2/items",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/..%2fadmin",
        "/v1/..;/admin",
        "http://127.0.0.1:1/v1/items",
        "http://user@127.0.0.1/v1/items",
    ],
)
async def test_a_next_link_cannot_lead_out_of_the_base_url(link):
    paths, _ = github()
    async with lab(paths, auth=Bearer("hush-hush")) as (api, call):
        api.answers["/v1/items"] = JSONResponse([1], headers={"link": f'<{link}>; rel="next"'})
        with pytest.raises(
            ToolError, match=r"Page 2 failed after 1 page came: .* leave the configured base_url"
        ):
            await call("GET /items", max_pages=2)
    assert len(api.seen) == 1


async def test_pages_in_a_circle_end():
    paths, _ = github()
    async with lab(paths) as (api, call):
        api.answers["/v1/items"] = JSONResponse([1], headers={"link": '</v1/items?page=2>; rel="next"'})
        assert (await call("GET /items", max_pages=50)).structured == [1]
    assert len(api.seen) == 2


async def test_pages_are_not_counted_from_a_number_nobody_told():
    paths, answer = page_numbers()
    paths["/items"]["get"]["parameters"][0]["schema"] = NUMBER
    async with lab(paths) as (api, call):
        api.answers["/v1/items"] = answer
        assert numbers((await call("GET /items")).structured) == [1, 2, 3]
        with pytest.raises(ToolError, match="whether pages count from 0 or 1; give 'page'"):
            await call("GET /items", max_pages=2)
        assert numbers((await call("GET /items", max_pages=2, page=2)).structured) == [4, 5, 6, 7]


async def test_an_api_that_repeats_its_last_page_for_ever():
    paths, _ = offsets()
    async with lab(paths) as (api, call):
        api.answers["/v1/items"] = lambda seen: JSONResponse([1, 2] if "offset" not in seen.query else [3])
        assert (await call("GET /items", max_pages=50)).structured == [1, 2, 3]
    assert len(api.seen) == 3


async def test_a_page_that_fails_says_how_many_came():
    paths, answer = google()
    async with lab(paths) as (api, call):
        api.answers["/v1/items"] = lambda seen: (
            answer(seen) if "=6" not in seen.query else JSONResponse({"message": "Too far"}, status_code=400)
        )
        with pytest.raises(
            ToolError, match=r"^Page 3 failed after 2 pages came: 400 Bad Request: Too far .*max_pages=2"
        ):
            await call("GET /items", max_pages=5)


async def test_a_later_page_of_another_shape():
    paths, _ = offsets()
    async with lab(paths) as (api, call):
        api.answers["/v1/items"] = lambda seen: JSONResponse([1] if "offset" not in seen.query else {"a": 1})
        with pytest.raises(ToolError, match="Page 2 failed after 1 page came: it has no list"):
            await call("GET /items", max_pages=5)
        api.answers["/v1/items"] = JSONResponse({"a": 1})
        assert (await call("GET /items", max_pages=5)).structured == {"a": 1}


async def test_all_pages_together_are_held_to_the_limit():
    paths, _ = offsets()
    async with lab(paths, max_response_bytes=5_000) as (api, call):
        api.answers["/v1/items"] = lambda seen: JSONResponse([seen.query, "x" * 2_000])
        with pytest.raises(ToolError, match=r"Page 3 failed after 2 pages came: .* larger than"):
            await call("GET /items", max_pages=100)
    assert len(api.seen) == 3


async def test_a_key_in_the_query_goes_with_every_page_once():
    paths, _ = github()
    more = schemes(key={"type": "apiKey", "in": "query", "name": "api key"})
    async with lab(paths, more=more, auth=ApiKey("hush-hush")) as (api, call):
        answers = iter(
            [
                JSONResponse([1], headers={"link": '</v1/items?page=2&api+key=hush-hush>; rel="next"'}),
                JSONResponse([2]),
            ]
        )
        api.answers["/v1/items"] = lambda seen: next(answers)
        assert (await call("GET /items", max_pages=3)).structured == [1, 2]
    assert [parse_qsl(seen.query) for seen in api.seen] == [
        [("api key", "hush-hush")],
        [("page", "2"), ("api key", "hush-hush")],
    ]


async def test_the_time_a_call_may_take_is_the_tool_s():
    async with lab({"/x": {"get": operation()}}, timeout=7.5) as (_, call):
        assert call.tools["GET /x"].timeout == 7.5


async def test_what_cannot_be_offered_is_named_with_its_reason():
    document = {
        "openapi": "3.0.0",
        "info": {"title": "t", "version": "1"},
        "paths": {"/a": {"get": {"operationId": "a", "responses": {}}, "trace": {"responses": {}}}},
    }
    app = CodeMode(allow=["*"])
    app.add_openapi("api", document, base_url="https://93.184.215.14")
    async with app:
        assert [tool.name for tool in app.tools()] == ["api.a"]
        [(name, reason)] = app.catalog.dropped.items()
    assert "TRACE" in name
    assert reason
