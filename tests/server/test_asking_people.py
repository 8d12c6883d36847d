"""Calls that wait for a person, as clients and approvers of a server meet them."""

import asyncio
import base64
import contextlib
import json
import sqlite3
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
import uvicorn
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from standardwebhooks import Webhook as Signer
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from oneturn import CodeMode, ConfigError
from oneturn.errors import DecisionRefused, Diverged, JournalError, SandboxUnavailable
from oneturn.server import Webhook, background, build_server, serve_http
from oneturn.server.background import Attendant
from oneturn.server.webhook import Messenger
from oneturn.types import Decision

CLIENTS = "a-token-for-all-clients"
APPROVERS = "a-token-for-approvers"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
GATHERED = """
import asyncio
done = await asyncio.gather(wipe(1), wipe(2), return_exceptions=True)
[str(each) for each in done]
"""


class Shop:
    """An app with a tool that destroys things, and what it destroyed."""

    def __init__(self, **options) -> None:
        self.wiped: list[int] = []
        self.happened = asyncio.Event()
        self.app = CodeMode(allow=["*"], **options)

        @self.app.tool(effect="read")
        def look(number: int) -> int:
            return number * 2

        @self.app.tool
        async def wipe(number: int) -> str:
            self.wiped.append(number)
            self.happened.set()
            return f"wiped {number}"

        @self.app.tool
        def weigh(number: int) -> dict[str, int]:
            return {"weight": number}


@pytest.fixture
async def shop():
    shop = Shop()
    yield shop
    await shop.app.close()


def waiting(result) -> dict:
    assert not result.is_error
    assert result.structured_content["status"] == "waiting"
    return result.structured_content["waiting"]


async def run(client, code: str = "await wipe(1)"):
    return await client.call_tool("execute_code", {"code": code}, raise_on_error=False)


# --- the model


async def test_a_run_that_waits_says_what_for_and_goes_on_with_resume_run(shop):
    async with Client(build_server(shop.app)) as client:
        result = await run(client, GATHERED)
        told = waiting(result)
        assert "waiting: 2 calls wait for a person's approval" in result.content[0].text
        assert f'resume_run(run_id="{told["run_id"]}"' in result.content[0].text
        assert [each["call"] for each in told["calls"]] == [
            "wipe(number=1), line 3",
            "wipe(number=2), line 3",
        ]
        again = await client.call_tool("resume_run", {"run_id": told["run_id"], "wait": 0})
        assert waiting(again)["number"] == 2
        assert shop.wiped == []

        first, second = (each["approval"] for each in told["calls"])
        await shop.app.decide(first, Decision(True, "alice"))
        await shop.app.decide(second, Decision(False, "alice", "not that one"))
        done = await client.call_tool("resume_run", {"run_id": told["run_id"], "wait": 60})
    assert done.structured_content["value"] == ["wiped 1", "wipe: denied by alice: not that one"]
    assert shop.wiped == [1]


@pytest.mark.parametrize("tool", ["resume_run", "execute_code"])
async def test_an_id_that_is_none_is_not_told_at_length(shop, tool):
    given = {"run_id": "x" * 5_000} if tool == "resume_run" else {"code": "1", "retry_of": "x" * 5_000}
    async with Client(build_server(shop.app)) as client:
        told = await client.call_tool(tool, given, raise_on_error=False)
    assert told.is_error
    assert "There is no run xxx" in told.content[0].text
    assert len(told.content[0].text) < 200


async def test_a_broken_journal_is_told_without_its_path(tmp_path):
    shop = Shop(journal=tmp_path / "journal.db")
    async with Client(build_server(shop.app)) as client:
        told = waiting(await run(client))
        with contextlib.closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
            other.execute("drop table oneturn_rows")
            other.execute("drop table oneturn_runs")
        for tool, given in (
            ("resume_run", {"run_id": told["run_id"]}),
            ("execute_code", {"code": "1", "retry_of": told["run_id"]}),
        ):
            refused = await client.call_tool(tool, given, raise_on_error=False)
            assert refused.is_error
            assert "[path]" in refused.content[0].text
            assert str(tmp_path) not in refused.content[0].text
    await shop.app.close()


async def test_resume_run_waits_for_the_decision(shop):
    async with Client(build_server(shop.app)) as client:
        told = waiting(await run(client))
        resuming = asyncio.create_task(client.call_tool("resume_run", {"run_id": told["run_id"], "wait": 60}))
        await asyncio.sleep(0)
        await shop.app.decide(told["calls"][0]["approval"], Decision(True, "alice"))
        assert (await resuming).structured_content["value"] == "wiped 1"


async def test_a_decided_run_finishes_by_itself_and_keeps_its_outcome(shop):
    async with Client(build_server(shop.app)) as client:
        told = waiting(await run(client))
        await shop.app.decide(told["calls"][0]["approval"], Decision(True, "alice"))
        await shop.happened.wait()  # nobody asks for it
        done = await client.call_tool("resume_run", {"run_id": told["run_id"]})
    assert done.structured_content["value"] == "wiped 1"
    assert shop.wiped == [1]


async def test_a_direct_tool_waits_too(shop):
    async with Client(build_server(shop.app, mode="plain")) as client:
        text = await client.call_tool("wipe", {"number": 1})
        assert "waits for a person's approval" in text.content[0].text
        promised = await client.call_tool("weigh", {"number": 1}, raise_on_error=False)
        assert promised.is_error  # it promises an object that there is not yet
        assert "resume_run" in promised.content[0].text


async def test_resume_run_is_offered_only_where_something_can_wait():
    reading = CodeMode(allow=["*"])
    reading.tool(effect="read")(len)
    for app in (reading, Shop(approve="never").app, Shop(journal=False).app):
        async with Client(build_server(app)) as client:
            assert "resume_run" not in {tool.name for tool in await client.list_tools()}
        await app.close()


async def test_a_run_of_nobody_known_is_not_found(shop):
    async with Client(build_server(shop.app)) as client:
        result = await client.call_tool("resume_run", {"run_id": "run_1"}, raise_on_error=False)
    assert result.is_error
    assert "run_1" in result.content[0].text


# --- elicitation, in both eras of the protocol


@contextlib.asynccontextmanager
async def asked_client(app, mode: str, *answers, **options):
    """A client whose user gives these answers in turn, and the questions they were asked."""
    asked, left = [], list(answers)

    async def handler(message, response_type, params, context):
        asked.append((message, params.requested_schema))
        answer = left.pop(0)
        if isinstance(answer, str):
            return ElicitResult(action=answer)
        return ElicitResult(action="accept", content=answer)

    server = build_server(app, **options)
    async with Client(server, mode=mode, elicitation_handler=handler) as client:
        yield client, asked


ERAS = pytest.mark.parametrize("mode", ["legacy", "auto"])


@ERAS
async def test_calls_that_wait_together_are_one_question(shop, mode):
    async with asked_client(shop.app, mode, {"decision": "approve all"}) as (client, asked):
        result = await run(client, GATHERED)
    assert result.structured_content["value"] == ["wiped 1", "wiped 2"]
    [(message, schema)] = asked
    assert message.startswith("2 tool calls need your approval.")
    assert message.count("call      wipe (destructive tool)") == 2
    assert schema["properties"]["decision"]["enum"] == ["approve all", "deny all", "one by one"]
    assert shop.wiped == [1, 2]


@ERAS
async def test_a_user_can_decide_one_by_one(shop, mode):
    answer = {"decision": "one by one", "call_2": True, "reason": "only the second"}
    async with asked_client(shop.app, mode, answer) as (client, _):
        result = await run(client, GATHERED)
    denied, done = result.structured_content["value"]
    assert denied == "wipe: denied by user of local: only the second"
    assert done == "wiped 2"
    assert shop.wiped == [2]


@ERAS
@pytest.mark.parametrize("answer", ["decline", {"decision": "deny"}])
async def test_a_user_can_deny(shop, mode, answer):
    async with asked_client(shop.app, mode, answer) as (client, _):
        result = await run(client)
    assert result.is_error
    assert "denied by user of local" in result.content[0].text
    assert shop.wiped == []


@ERAS
@pytest.mark.parametrize("answer", ["cancel", {"decision": "approve everything"}, {}])
async def test_no_clear_answer_leaves_the_run_waiting(shop, mode, answer):
    async with asked_client(shop.app, mode, answer, {"decision": "approve"}) as (client, asked):
        told = waiting(await run(client))
        assert shop.wiped == []
        done = await client.call_tool("resume_run", {"run_id": told["run_id"], "wait": 5})
    assert done.structured_content["value"] == "wiped 1"
    assert len(asked) == 2


@ERAS
async def test_later_calls_of_the_run_are_asked_about_anew(shop, mode):
    answers = [{"decision": "approve"}, {"decision": "deny"}]
    async with asked_client(shop.app, mode, *answers) as (client, asked):
        result = await run(client, "await wipe(1)\nawait wipe(2)")
    assert result.is_error
    assert len(asked) == 2
    assert shop.wiped == [1]


@ERAS
async def test_an_operator_can_turn_it_off(shop, mode):
    async with asked_client(shop.app, mode, {"decision": "approve"}, elicit=False) as (client, asked):
        waiting(await run(client))
    assert asked == []


async def test_a_question_takes_ten_calls_and_decides_about_no_others(shop):
    code = "import asyncio\nawait asyncio.gather(*[wipe(n) for n in range(12)])"
    async with asked_client(shop.app, "legacy", {"decision": "approve all"}) as (client, _):
        told = waiting(await run(client, code))
    assert shop.wiped == list(range(10))
    assert told["number"] == 2


# --- over HTTP


@contextlib.asynccontextmanager
async def serving(app, **options):
    url = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve_http(app, port=0, started=url.set_result, **options))
    await asyncio.wait([server, url], return_when=asyncio.FIRST_COMPLETED)
    if server.done():
        server.result()
    try:
        yield url.result(), url.result().removesuffix("/mcp") + "/approvals"
    finally:
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server


@contextlib.asynccontextmanager
async def http(token: str | None = None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers) as client:
        yield client


async def test_an_approver_looks_and_decides(shop):
    options = {"token": CLIENTS, "approver_token": APPROVERS}
    async with (
        serving(shop.app, **options) as (url, desk),
        Client(url, auth=CLIENTS) as client,
        http(APPROVERS) as approver,
    ):
        told = waiting(await run(client, "await wipe(1)\nawait wipe(2)"))
        everything = (await approver.get(desk)).json()
        [listed] = everything["approvals"]
        assert everything["more"] is False
        assert (listed["status"], listed["summary"]) == ("pending", "wipe(number=1), line 1")
        shown = (await approver.get(f"{desk}/{listed['id']}")).json()
        assert shown["arguments"] == {"number": 1}
        assert '| "number": 1' in shown["text"]

        within = {"properties": {"number": {"maximum": 5}}, "required": ["number"]}
        word = {"approved": True, "arguments": {"number": 7}, "grant": {"calls": 1, "arguments": within}}
        answer = await approver.post(f"{desk}/{listed['id']}", json=word)
        assert answer.status_code == 200
        assert answer.json()["decision"]["by"] == "approver"
        twice = await approver.post(f"{desk}/{listed['id']}", json={"approved": False})
        assert twice.status_code == 409
        done = await client.call_tool("resume_run", {"run_id": told["run_id"], "wait": 60})
        assert done.structured_content["value"] == "wiped 2"
    assert shop.wiped == [7, 2]


async def test_an_approver_is_told_when_there_may_be_more(shop):
    many = "import asyncio\nawait asyncio.gather(*[wipe(n) for n in range(100)])"
    async with (
        serving(shop.app, token=CLIENTS, approver_token=APPROVERS) as (_, desk),
        http(APPROVERS) as approver,
    ):
        for _ in range(2):
            assert (await shop.app.execute(many)).status == "waiting"
        listed = (await approver.get(desk)).json()
        assert (len(listed["approvals"]), listed["more"]) == (200, True)


async def test_clients_do_not_get_to_the_approvals(shop):
    async with serving(shop.app, token=CLIENTS) as (url, desk), Client(url, auth=CLIENTS) as client:
        approval = waiting(await run(client))["calls"][0]["approval"]
        for token in (None, CLIENTS, "wrong"):
            async with http(token) as somebody:
                status = 403 if token == CLIENTS else 401
                assert (await somebody.get(desk)).status_code == status
                for body in ({"approved": True}, {}):
                    assert (await somebody.post(f"{desk}/{approval}", json=body)).status_code == status
    async with (
        serving(Shop().app, token=CLIENTS, approver_token=APPROVERS) as (_, desk),
        http(CLIENTS) as client,
    ):
        assert (await client.get(desk)).status_code == 401
    assert shop.wiped == []


async def test_without_a_lock_there_is_no_door(shop):
    async with serving(shop.app) as (_, desk), http() as somebody:
        assert (await somebody.get(desk)).status_code == 404
        assert (await somebody.post(f"{desk}/callback", json={})).status_code == 404


async def test_a_login_needs_the_scope_and_decides_about_no_run_of_its_own(shop):
    people = {
        "the-agents-token": {"client_id": "agent", "scopes": ["oneturn.approve"]},
        "the-others-token": {"client_id": "other", "scopes": []},
        "the-bosses-token": {"client_id": "boss", "scopes": ["oneturn.approve"]},
    }
    async with (
        serving(shop.app, auth=StaticTokenVerifier(people)) as (url, desk),
        Client(url, auth="the-agents-token") as client,
    ):
        approval = waiting(await run(client))["calls"][0]["approval"]
        for token, status in (
            ("the-agents-token", 403),
            ("the-others-token", 403),
            ("the-bosses-token", 200),
        ):
            async with http(token) as somebody:
                answer = await somebody.post(f"{desk}/{approval}", json={"approved": True})
                assert answer.status_code == status
        assert answer.json()["decision"]["by"] == "client:boss"


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"approved": 1}',
        b'{"approved": "true"}',
        b'{"approved": true, "by": "alice"}',
        b'{"approved": true, "grant": {"calls": 0, "arguments": {}}}',
        b'{"approved": true, "grant": {"calls": 1, "arguments": {"type": 7}}}',
        b'{"approved": false, "arguments": {}}',
    ],
)
async def test_what_is_no_decision_decides_nothing(shop, body):
    async with serving(shop.app, approver_token=APPROVERS) as (url, desk), Client(url) as client:
        approval = waiting(await run(client))["calls"][0]["approval"]
        async with http(APPROVERS) as approver:
            assert (await approver.post(f"{desk}/{approval}", content=body)).status_code == 400
            assert (await approver.post(f"{desk}/run_1-1", json={"approved": True})).status_code == 404
            large = b'{"approved": true, "reason": "' + b"x" * 2_000_000 + b'"}'
            assert (await approver.post(f"{desk}/{approval}", content=large)).status_code == 413
            [left] = (await approver.get(desk)).json()["approvals"]
    assert left["status"] == "pending"


async def test_unusable_secrets_are_refused(shop):
    with pytest.raises(ConfigError, match="16"):
        await serve_http(shop.app, approver_token="short")
    with pytest.raises(ConfigError, match="must not be the one"):
        await serve_http(shop.app, token=CLIENTS, approver_token=CLIENTS)
    for url, secret in (
        ("http://example.com/hook", SECRET),
        ("ftp://example.com", SECRET),
        ("https://example.com", "whsec_c2hvcnQ="),
    ):
        with pytest.raises(ConfigError, match="webhook"):
            Webhook(url, secret)
    assert "0123" not in repr(Webhook("https://example.com/private", SECRET))
    assert "private" not in repr(Webhook("https://example.com/private", SECRET))


# --- webhooks


class Receiver:
    """A server that takes webhooks, after having been too busy for the first one."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[tuple[dict, bytes]] = asyncio.Queue()
        self.tries = 0

    async def take(self, request) -> Response:
        self.tries += 1
        if self.tries == 1:
            return Response(status_code=503)
        await self.taken.put((dict(request.headers), await request.body()))
        return Response(status_code=204)


@pytest.fixture
async def receiver():
    receiver = Receiver()
    app = Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (it tells nobody in another way)
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    yield receiver
    server.should_exit = True
    await task


def signed(body: bytes, message: str, *, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Signer(secret).sign(message, at, body.decode()),
    }


async def test_word_goes_out_signed_and_a_signed_answer_decides(shop, receiver):
    webhook = Webhook(receiver.url, SECRET)
    async with (
        serving(shop.app, webhook=webhook) as (url, desk),
        Client(url) as client,
        http() as answering,
    ):
        told = waiting(await run(client))
        headers, body = await receiver.taken.get()
        Signer(SECRET).verify(body, headers)
        message = json.loads(body)
        assert headers["webhook-id"] == told["calls"][0]["approval"]
        assert message["type"] == "approval.pending"
        assert message["data"]["arguments"] == {"number": 1}
        assert '| "number": 1' in message["data"]["text"]
        assert receiver.tries == 2

        async def answer(word: dict, sign=signed, **options) -> int:
            data = json.dumps(word).encode()
            return (
                await answering.post(f"{desk}/callback", content=data, headers=sign(data, **options))
            ).status_code

        word = {
            "type": "approval.decided", "approval": message["data"]["id"], "approved": True, "by": "alice",
        }  # fmt: skip
        old = datetime.now(UTC) - timedelta(minutes=6)
        other = base64.b64encode(b"x" * 32).decode()
        assert await answer(word, lambda _: {}) == 401
        assert await answer(word, message="1", secret=other) == 401
        assert await answer(word, message="1", at=old) == 401
        assert await answer(word, lambda data: signed(data + b" ", "1")) == 401
        ours = {name: headers[name] for name in signed(body, "1")}
        sent_back = await answering.post(f"{desk}/callback", content=body, headers=ours)
        assert sent_back.status_code == 400
        assert await answer({**word, "approval": "run_1-1"}, message="2") == 404
        assert shop.wiped == []

        assert await answer(word, message="3") == 200
        assert await answer(word, message="3") == 409
        assert await answer({**word, "approved": False}, message="4") == 409
        done = await client.call_tool("resume_run", {"run_id": told["run_id"], "wait": 60})
        assert done.structured_content["value"] == "wiped 1"
        [filed] = await shop.app.approvals()
        assert filed.decision.by == "alice (webhook)"
    assert shop.wiped == [1]


async def test_a_message_that_could_not_be_recorded_can_be_sent_again(shop, receiver, monkeypatch):
    async with (
        serving(shop.app, webhook=Webhook(receiver.url, SECRET)) as (url, desk),
        Client(url) as client,
        http() as answering,
    ):
        approval = waiting(await run(client))["calls"][0]["approval"]
        word = {"type": "approval.decided", "approval": approval, "approved": True, "by": "alice"}
        data = json.dumps(word).encode()

        async def answer() -> int:
            headers = signed(data, "1")
            return (await answering.post(f"{desk}/callback", content=data, headers=headers)).status_code

        async def full(*args):
            raise JournalError("The disk is full.")

        with monkeypatch.context() as patched:
            patched.setattr(shop.app, "decide", full)
            assert await answer() == 503
        assert await answer() == 200
        assert await answer() == 409


def test_a_message_counts_once_from_when_it_was_acted_on():
    messenger, headers = Messenger(Webhook("https://example.com", SECRET)), {"webhook-id": "1"}
    with pytest.raises(JournalError), messenger.once(headers):
        raise JournalError("The disk is full.")
    with messenger.once(headers), pytest.raises(DecisionRefused, match="being read"), messenger.once(headers):
        pytest.fail("the same message was acted on twice at a time")
    with pytest.raises(DecisionRefused, match="read already"), messenger.once(headers):
        pytest.fail("the same message was acted on twice")


# --- what a server does on its own


class Slow(Shop):
    """An app with a destructive tool that takes until it may finish."""

    def __init__(self) -> None:
        super().__init__()
        self.may_finish = asyncio.Event()

        @self.app.tool
        async def burn() -> str:
            self.happened.set()
            await self.may_finish.wait()
            return "burnt"


@contextlib.asynccontextmanager
async def attended(app):
    """An attendant at work, to be closed by the test as a server that stops does."""
    attendant = Attendant(app, None)
    looking = asyncio.create_task(attendant.attend())

    async def close() -> None:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await attendant.close()

    try:
        yield close
    finally:
        await close()


async def approved(app, code: str) -> str:
    outcome = await app.execute(code)
    for approval in outcome.pending:
        await app.decide(approval.id, Decision(True, "alice"))
    return outcome.run_id


async def test_a_server_that_stops_lets_a_run_finish():
    shop = Slow()
    async with shop.app, attended(shop.app) as close:
        run_id = await approved(shop.app, "await burn()")
        await shop.happened.wait()
        closing = asyncio.create_task(close())
        await asyncio.sleep(0)
        shop.may_finish.set()
        await closing
        assert (await shop.app.resume(run_id)).value == "burnt"


async def test_a_server_that_stops_ends_no_run_that_takes_longer(monkeypatch):
    monkeypatch.setattr(background, "_GRACE", 0.01)
    shop = Slow()
    async with shop.app, attended(shop.app) as close:
        run_id = await approved(
            shop.app, "try:\n    await burn()\nexcept RuntimeError:\n    r = 'in doubt'\nr"
        )
        await shop.happened.wait()
        await close()
        assert shop.app.running == ()
        async with attended(shop.app):  # the next server
            while await shop.app.decided() or shop.app.running:  # noqa: ASYNC110  nobody says when
                await asyncio.sleep(0.01)
        outcome = await shop.app.resume(run_id)
        assert (outcome.status, outcome.value) == ("succeeded", "in doubt")


@pytest.mark.parametrize("error", [JournalError, SandboxUnavailable, LookupError])
async def test_a_run_that_cannot_go_on_yet_is_tried_again(shop, monkeypatch, error):
    monkeypatch.setattr(background, "_EVERY", 0.01)
    real, tries = shop.app.resume, []

    async def failing(run_id, **options):
        tries.append(run_id)
        if len(tries) < 3:
            raise error("not now")
        return await real(run_id, **options)

    async with shop.app, attended(shop.app):
        monkeypatch.setattr(shop.app, "resume", failing)
        await approved(shop.app, "await wipe(1)")
        async with asyncio.timeout(30):
            await shop.happened.wait()
    assert len(tries) == 3


async def test_a_run_that_diverged_is_given_up(shop, monkeypatch):
    monkeypatch.setattr(background, "_EVERY", 0.01)
    real, tries = shop.app.resume, []

    async def diverging(run_id, **options):
        tries.append(run_id)
        if run_id == lost:
            raise Diverged("it did something else")
        return await real(run_id, **options)

    async with shop.app:
        lost, other = await approved(shop.app, "await wipe(1)"), None
        monkeypatch.setattr(shop.app, "resume", diverging)
        async with attended(shop.app):
            while not tries:  # noqa: ASYNC110 (it tells nobody in another way)
                await asyncio.sleep(0.01)
            other = await approved(shop.app, "await wipe(2)")
            async with asyncio.timeout(30):
                await shop.happened.wait()
    assert tries == [lost, other]


async def test_one_failed_look_is_not_the_last(shop, monkeypatch):
    monkeypatch.setattr(background, "_EVERY", 0.01)
    real, looks = shop.app.decided, []

    async def failing():
        looks.append(1)
        if len(looks) == 1:
            raise ValueError("a fault")
        return await real()

    monkeypatch.setattr(shop.app, "decided", failing)
    async with shop.app, attended(shop.app):
        await approved(shop.app, "await wipe(1)")
        async with asyncio.timeout(30):
            await shop.happened.wait()
