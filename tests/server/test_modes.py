"""What clients see and get, through FastMCP's own client in the same process."""

import asyncio
import base64

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError as Refusal
from served import PNG, make_app

from oneturn import Blob, CodeMode, ConfigError
from oneturn.server import build_server


@pytest.fixture
async def app():
    app = make_app()
    yield app
    await app.close()


def text(result) -> str:
    return result.content[0].text


async def tools_of(client) -> dict:
    return {tool.name: tool for tool in await client.list_tools()}


async def test_code_mode_offers_few_tools_and_names_what_can_be_called(app):
    async with Client(build_server(app)) as client:
        tools = await tools_of(client)
    assert list(tools) == ["search_tools", "get_tool_info", "execute_code", "resume_run"]
    assert "issues.create" in tools["execute_code"].description
    assert tools["search_tools"].annotations.read_only_hint is True
    assert tools["execute_code"].annotations.destructive_hint is True
    assert tools["execute_code"].input_schema["required"] == ["code"]


async def test_a_script_gives_text_and_data(app):
    async with Client(build_server(app)) as client:
        result = await client.call_tool("execute_code", {"code": "print('hi')\nawait add(1, 2)"})
    assert text(result) == "3\nprinted:\nhi"
    assert result.structured_content["value"] == 3
    assert result.structured_content["status"] == "succeeded"
    assert result.structured_content["calls"][0]["tool"] == "add"


async def test_a_script_that_fails_is_an_error_result_with_the_same_text(app):
    async with Client(build_server(app)) as client:
        result = await client.call_tool("execute_code", {"code": "await fail()"}, raise_on_error=False)
    assert result.is_error
    assert "the lab is closed" in text(result)
    assert "line 1" in text(result)
    assert "the lab is closed" in result.structured_content["error"]["message"]


async def test_what_is_wrong_with_the_request_itself_is_said(app):
    async with Client(build_server(app)) as client:
        with pytest.raises(Refusal, match="not positive"):
            await client.call_tool("execute_code", {"code": "1", "timeout": -1})


async def test_answers_stay_within_their_budget(app):
    async with Client(build_server(app, max_tokens=300)) as client:
        result = await client.call_tool("execute_code", {"code": "list(range(10000))"})
    assert "left out" in text(result)
    assert result.structured_content["cut"]["value"]


async def test_search_and_info(app):
    async with Client(build_server(app)) as client:
        found = text(await client.call_tool("search_tools", {"queries": ["create issue", "add numbers"]}))
        reads = text(await client.call_tool("search_tools", {"queries": "issue", "effect": "read"}))
        info = text(await client.call_tool("get_tool_info", {"names": ["issues.create", "isues.delete"]}))
    assert "issues.create(" in found
    assert "add(" in found
    assert "issues.create(" not in reads
    assert "title" in info
    assert "\u200b" not in info
    assert "Did you mean issues.delete" in info


@pytest.mark.parametrize("query", ["create an issue", "add numbers", "fail", "something"])
async def test_a_script_and_a_client_find_the_same_tools_in_the_same_order(app, query):
    async with Client(build_server(app)) as client:
        found = text(await client.call_tool("search_tools", {"queries": query, "detail": "names"}))
        code = f"[each['name'] for each in runtime.search_tools({query!r})]"
        result = await client.call_tool("execute_code", {"code": code})
    names = result.structured_content["value"]
    assert names == [match.tool.name for match in app.search(query).matches]
    assert [line for line in found.splitlines() if line in names] == names


async def test_search_mode_calls_by_name_through_the_gate(app):
    async with Client(build_server(app, mode="search")) as client:
        assert list(await tools_of(client)) == ["search_tools", "get_tool_info", "call_tool", "resume_run"]
        good = await client.call_tool("call_tool", {"name": "add", "arguments": {"a": 1, "b": 2}})
        wrong = await client.call_tool(
            "call_tool", {"name": "add", "arguments": {"a": "x"}}, raise_on_error=False
        )
        unknown = await client.call_tool("call_tool", {"name": "nope"}, raise_on_error=False)
    assert text(good) == "3"
    assert good.structured_content["value"] == 3
    assert wrong.is_error
    assert unknown.is_error


async def test_plain_mode_offers_every_tool_as_it_is(app):
    async with Client(build_server(app, mode="plain")) as client:
        tools = await tools_of(client)
        added = await client.call_tool("add", {"a": 1, "b": 2})
        created = await client.call_tool("issues_create", {"title": "x"})
        failed = await client.call_tool("fail", raise_on_error=False)
        wrong = await client.call_tool("add", {"a": 1, "b": 2, "c": 3}, raise_on_error=False)
    assert {"add", "issues_create", "issues_delete", "picture"} <= set(tools)
    assert "execute_code" not in tools
    assert tools["add"].annotations.read_only_hint is True
    assert tools["issues_create"].annotations.read_only_hint is False
    assert tools["issues_create"].annotations.destructive_hint is False
    assert tools["issues_delete"].annotations.destructive_hint is True
    assert tools["issues_create"].description == "Create an issue with a title."
    assert tools["issues_create"].output_schema["type"] == "object"
    assert tools["add"].output_schema is None
    assert text(added) == "3"
    assert created.structured_content == {"title": "x"}
    assert failed.is_error
    assert "the lab is closed" in text(failed)
    assert wrong.is_error


async def test_direct_tools_stand_beside_the_meta_tools(app):
    async with Client(build_server(app, direct=["issues.*"])) as client:
        tools = await tools_of(client)
        created = await client.call_tool("issues_create", {"title": "x"})
        hidden = await client.call_tool("add", {"a": 1, "b": 2}, raise_on_error=False)
    assert list(tools)[4:] == ["issues_create", "issues_delete"]
    assert created.structured_content == {"title": "x"}
    assert hidden.is_error


async def test_tools_that_are_not_allowed_are_not_offered():
    app = CodeMode(allow=["add"])

    @app.tool(effect="read")
    def add(a: int, b: int) -> int:
        return a + b

    @app.tool(effect="read")
    def secret() -> str:
        return "secret"

    async with Client(build_server(app, mode="plain", direct="*")) as client:
        assert list(await tools_of(client)) == ["add"]
        assert (await client.call_tool("secret", raise_on_error=False)).is_error
    await app.close()


async def test_a_result_too_large_for_its_schema_is_an_error_that_says_it_was_made(app):
    async with Client(build_server(app, mode="plain", max_tokens=300)) as client:
        result = await client.call_tool("issues_create", {"title": "word " * 2000}, raise_on_error=False)
    assert result.is_error
    assert "succeeded" in text(result)


async def test_images_of_a_value_are_shown(app):
    async with Client(build_server(app)) as client:
        result = await client.call_tool("execute_code", {"code": "[await picture(), await report()]"})
    assert [block.type for block in result.content] == ["text", "image"]
    assert base64.b64decode(result.content[1].data) == PNG
    assert result.content[1].mime_type == "image/png"


async def test_shown_images_are_bounded_in_number_and_size(app):
    async with Client(build_server(app)) as client:
        many = await client.call_tool("execute_code", {"code": "[await picture() for i in range(10)]"})
        large = await client.call_tool(
            "execute_code", {"code": "[await picture(3_000_000), await picture(3_000_000), await picture(1)]"}
        )
    assert len(many.content) == 1 + 8
    assert len(large.content) == 1 + 2


async def test_a_made_up_handle_shows_nothing(app):
    async with Client(build_server(app)) as client:
        result = await client.call_tool(
            "execute_code", {"code": "{'artifact': 'abc', 'mime': 'image/png', 'bytes': 3}"}
        )
    assert len(result.content) == 1


async def test_artifacts_can_be_read_as_resources(app):
    async with Client(build_server(app)) as client:
        made = await client.call_tool("execute_code", {"code": "await report()"})
        handle = made.structured_content["value"]["artifact"]
        [content] = await client.read_resource(f"artifact://{handle}")
        with pytest.raises(Exception, match="no artifact"):
            await client.read_resource("artifact://nothing")
    assert base64.b64decode(content.blob) == b"%PDF"
    assert content.mime_type == "application/pdf"


async def test_the_list_follows_the_catalog(app):
    server = build_server(app, direct="*")
    async with Client(server, mode="legacy") as client:
        assert "later" not in await tools_of(client)

        @app.tool(effect="read")
        def later() -> str:
            return "now"

        tools = await tools_of(client)
        assert "later" in tools["execute_code"].description
        assert text(await client.call_tool("later")) == "now"


async def test_clients_that_keep_a_session_are_told_of_changes(app):
    told = asyncio.Event()

    async def hear(message):
        if type(message).__name__ == "ToolListChangedNotification":
            told.set()

    async with Client(build_server(app), message_handler=hear, mode="legacy") as client:
        await client.list_tools()

        @app.tool
        def later() -> str:
            return "now"

        await client.call_tool("execute_code", {"code": "1"})
        await told.wait()


async def test_cancelling_the_request_cancels_the_run(app):
    began, ended = asyncio.Event(), asyncio.Event()

    @app.tool(effect="read")
    async def hang() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Client(build_server(app)) as client:
        request = asyncio.create_task(client.call_tool("execute_code", {"code": "await hang()"}))
        await began.wait()
        request.cancel()
        await ended.wait()
        again = await client.call_tool("execute_code", {"code": "await add(1, 2)"})
    assert text(again) == "3"


async def test_a_failure_of_our_own_shows_nothing_of_it(app, monkeypatch):
    async def broken(*args, **options):
        raise RuntimeError("/home/me/secret.py")

    monkeypatch.setattr(app, "execute", broken)
    async with Client(build_server(app)) as client:
        result = await client.call_tool("execute_code", {"code": "1"}, raise_on_error=False)
    assert result.is_error
    assert "secret" not in text(result)


async def test_an_unknown_mode_is_refused(app):
    with pytest.raises(ConfigError, match="plain"):
        build_server(app, mode="codes")


async def test_a_sound_is_sent_as_a_sound():
    app = CodeMode(allow="*")

    @app.tool(effect="read")
    def beep() -> Blob:
        return Blob(b"RIFF", "audio/wav")

    async with Client(build_server(app, mode="plain")) as client:
        result = await client.call_tool("beep")
    await app.close()
    assert result.content[1].type == "audio"
