"""Recorded runs, executed again without their app: the same, stopped ones, tampered ones, other scripts."""

import asyncio
import json

import pytest

from oneturn import CodeMode, Limits
from oneturn.errors import JournalCorrupt, JournalError, SandboxUnavailable
from oneturn.exported import exported, imported
from oneturn.gate import Redactor
from oneturn.options import Options
from oneturn.run.replay import replay
from oneturn.sandbox.cpython import CPythonSandbox
from oneturn.testing import replay as replay_file
from oneturn.tiers import router_of

SCRIPT = """
import asyncio, random, time
async def one(n):
    await asyncio.sleep(0.001 * (n % 3))
    return await shop.look(n)
found = await asyncio.gather(*[one(n) for n in range(5)])
print(found, random.random(), time.time())
both = await asyncio.gather(shop.save(1), shop.save(2))
names = [line["name"] for line in runtime.list_tools()]
try:
    await shop.save("no")
except Exception as error:
    print(type(error).__name__, error)
[found, both, names, random.random(), time.time()]
"""


def _jail() -> str:
    sandbox = CPythonSandbox()
    try:
        sandbox.open(Limits(), 0).close()
    except SandboxUnavailable as error:
        return str(error)
    finally:
        sandbox.close()
    return ""


NO_JAIL = _jail()
TIERS = [
    "monty",
    pytest.param("cpython", marks=pytest.mark.skipif(bool(NO_JAIL), reason=NO_JAIL or "there is a jail")),
]


class Shop:
    """An app whose tools count their calls and can be told to wait."""

    def __init__(self, path):
        self.saved = []
        self.app = CodeMode(allow="*", journal=path)
        self.stalled = asyncio.Event()
        self.app.tool(self.look, effect="read", namespace="shop")
        self.app.tool(self.save, effect="write", namespace="shop")
        self.app.tool(self.stall, effect="read", namespace="shop")

    async def look(self, n: int) -> int:
        await asyncio.sleep(0.002 * (n % 2))
        return n * 2

    async def save(self, n: int) -> str:
        self.saved.append(n)
        if n == 13:
            raise ValueError("no luck with /home/somebody/secret")
        return f"saved {n}"

    async def stall(self) -> None:
        self.stalled.set()
        await asyncio.sleep(600)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "journal.db")


@pytest.fixture(scope="module")
def router():
    made = router_of(Options(runs=2))
    yield made
    made.close()


def events_of(shop, run):
    return shop.app._runtime.parts.journal.read(run)[1]


async def recorded(shop, code, sandbox="monty", **more):
    async with shop.app:
        outcome = await shop.app.execute(code, sandbox=sandbox, **more)
        return outcome, events_of(shop, outcome.run_id)


@pytest.mark.parametrize("tier", TIERS)
async def test_a_run_is_replayed_without_its_tools(shop, router, tier):
    outcome, events = await recorded(shop, SCRIPT, tier)
    assert outcome.ok, outcome.error
    saved = list(shop.saved)
    shown = await asyncio.to_thread(replay, outcome.run_id, events, router)
    assert (shown.difference, shown.ends) == ("", "")
    assert shown.same
    assert shown.same_value
    assert (shown.value, shown.prints, shown.calls) == (outcome.value, outcome.prints, len(outcome.calls))
    assert shop.saved == saved


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "code",
    [
        "x = 1\nawait shop.save(13)",
        "await shop.look(2)\n1 / 0",
        "print('a')\n{'b': 1, 'a': [None, 1.0, True, b'x']}",
        "def f(:",
        "len(2)",
        "x = 'secret at /home/me/x'\nraise ValueError(x)",
    ],
)
async def test_however_it_ends_it_ends_so_again(shop, router, tier, code):
    outcome, events = await recorded(shop, code, tier)
    shown = await asyncio.to_thread(replay, outcome.run_id, events, router)
    assert (shown.same, shown.same_value, shown.difference) == (True, True, "")
    assert (shown.error is None) == outcome.ok


async def test_a_pause_that_nobody_waits_for_is_no_difference(shop, router):
    if NO_JAIL:
        pytest.skip(NO_JAIL)
    code = "import asyncio\nt = asyncio.create_task(asyncio.sleep(600))\nawait shop.look(1)"
    outcome, events = await recorded(shop, code, "cpython")
    assert outcome.ok
    assert (await asyncio.to_thread(replay, outcome.run_id, events, router)).same_value


async def test_a_script_the_check_stopped_has_nothing_to_replay(shop, router):
    outcome, events = await recorded(shop, "await shop.look(nn=1)")
    assert not outcome.ok
    with pytest.raises(JournalError, match="ended before its script began"):
        replay(outcome.run_id, events, router)


@pytest.mark.parametrize("tier", TIERS)
async def test_a_run_that_was_stopped_is_replayed_to_where_its_record_ends(shop, router, tier):
    code = "await shop.look(1)\nawait shop.save(2)\nprint('now')\nawait shop.stall()\nawait shop.save(3)"
    outcome, events = await recorded(shop, code, tier, timeout=1.0)
    assert outcome.error.kind == "TimeoutError"
    shown = await asyncio.to_thread(replay, outcome.run_id, events, router)
    assert shown.same
    assert shown.calls == 3
    assert shown.ends.startswith("TimeoutError: the run took more than 1 s")
    assert not shown.same_value


async def test_a_script_that_never_stopped_computing_is_not_run_into_its_limit_again(shop, router):
    outcome, events = await recorded(shop, "await shop.look(1)\nwhile True:\n    pass", timeout=0.5)
    assert not outcome.ok
    shown = await asyncio.to_thread(replay, outcome.run_id, events, router)
    assert shown.same, shown.difference


@pytest.mark.parametrize("tier", TIERS)
async def test_a_record_cut_after_any_event_is_replayed_as_far_as_it_goes(shop, router, tier):
    outcome, events = await recorded(shop, SCRIPT, tier)
    for length in range(1, len(events)):
        shown = await asyncio.to_thread(replay, outcome.run_id, events[:length], router)
        assert shown.same, (length, shown.difference)
        ended = any(event.kind == "returned" for event in events[:length])
        assert bool(shown.ends) is not ended


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("returned", {"value": 7}, "It ends differently.\n  recorded: the value 7\n  now:      the value 6"),
        ("returned", {"prints": "other\n"}, "What it prints differs.\n  recorded: 'other\\n'"),
        ("called", {"digest": "0" * 32}, "A call differs.\n  recorded: line 2: shop.look(n=3)"),
        ("called", {"name": "shop.find"}, "  recorded: line 2: shop.find(n=3)"),
    ],
)
async def test_what_is_otherwise_is_told(shop, router, tier, kind, change, told):
    outcome, events = await recorded(shop, "print('hi')\nx = await shop.look(3)\nprint('ho')\nx", tier)
    changed = [
        type(event)(event.n, event.kind, event.at, {**event.body, **change}) if event.kind == kind else event
        for event in events
    ]
    if kind == "returned":  # the run's end is the script's own only when both say the same
        assert changed[-1].kind == "ended"
    shown = await asyncio.to_thread(replay, outcome.run_id, changed, router)
    assert not shown.same
    assert told in shown.difference


@pytest.mark.parametrize("tier", TIERS)
class TestAnotherScript:
    OLD = (
        "import asyncio\na = await asyncio.gather(shop.look(1), shop.look(2))\n"
        "b = await shop.save(a[1])\n[a, b]"
    )

    async def shown(self, shop, router, tier, code):
        outcome, events = await recorded(shop, self.OLD, tier)
        assert outcome.ok
        return await asyncio.to_thread(replay, outcome.run_id, events, router, against=code)

    async def test_that_does_the_same(self, shop, router, tier):
        code = "a = []\nfor n in (1, 2):\n    a.append(await shop.look(n))\n"
        code += "print('x')\n[a, await shop.save(a[-1])]"
        shown = await self.shown(shop, router, tier, code)
        assert (shown.same, shown.same_value, shown.difference) == (True, True, "")

    async def test_that_only_ends_otherwise(self, shop, router, tier):
        shown = await self.shown(shop, router, tier, self.OLD + "[0]")
        assert (shown.same, shown.same_value, shown.value) == (True, False, [2, 4])

    async def test_that_calls_something_else(self, shop, router, tier):
        code = self.OLD.replace("shop.save(a[1])", "shop.save(a[0] + 40)")
        shown = await self.shown(shop, router, tier, code)
        assert not shown.same
        assert shown.calls == 2
        assert "recorded: line 3: shop.save(n=4)\n    b = await shop.save(a[1])" in shown.difference
        assert "now:      line 3: shop.save(42)\n    b = await shop.save(a[0] + 40)" in shown.difference

    async def test_that_fails_with_lines_of_its_own(self, shop, router, tier):
        shown = await self.shown(shop, router, tier, "raise ValueError('one\\nThe same: 2 calls')")
        assert r"now:      line 1: ValueError: one\nThe same: 2 calls" in shown.difference
        assert "The same: 2 calls" not in shown.difference.splitlines()

    async def test_that_calls_more(self, shop, router, tier):
        shown = await self.shown(shop, router, tier, self.OLD + "\nawait shop.save(9)")
        assert "recorded: no call\n  now:      line 5: shop.save(9)" in shown.difference

    async def test_that_calls_less(self, shop, router, tier):
        shown = await self.shown(shop, router, tier, "await shop.look(1)")
        assert not shown.same
        assert "recorded: line 2: shop.look(n=2)" in shown.difference

    async def test_that_calls_a_tool_of_another_name(self, shop, router, tier):
        shown = await self.shown(shop, router, tier, "await shop.look(1)\nawait tools.bank.pay(1)")
        assert "now:      line 2: bank.pay(1)" in shown.difference

    async def test_that_is_no_python(self, shop, router, tier):
        shown = await self.shown(shop, router, tier, "def f(:")
        assert not shown.same
        assert "SyntaxError" in shown.difference


async def test_another_script_gets_full_python_when_it_needs_it(shop, router):
    if NO_JAIL:
        pytest.skip(NO_JAIL)
    outcome, events = await recorded(shop, "await shop.look(1)\nawait shop.save(2)")
    code = "import asyncio\ndef g():\n    yield 1\nnext(g())\nawait asyncio.gather(shop.look(1))"
    code += "\nawait shop.save(2)"
    shown = await asyncio.to_thread(replay, outcome.run_id, events, router, against=code)
    assert shown.same_value, (shown.difference, shown.error)


async def test_a_run_that_was_ended_for_what_it_may_not_do_ends_so_again(shop, router):
    code = "for n in range(1100):\n    try:\n        await getattr(shop, 'look')('x')\n"
    code += "    except TypeError: pass"
    outcome, events = await recorded(shop, code)
    assert outcome.error.kind == "PermissionError"
    assert (await asyncio.to_thread(replay, outcome.run_id, events, router)).same_value


async def test_a_record_without_its_secrets_says_that_this_may_be_why(tmp_path, router):
    app = CodeMode(allow="*", journal=tmp_path / "journal.db", sandbox="monty")

    @app.tool(effect="read")
    def key() -> str:
        return "the key is hunter2hunter2"

    async with app:
        app._runtime.parts.journal.clean = Redactor(["hunter2hunter2"])
        outcome = await app.execute("len(await key())")
        _, events = app._runtime.parts.journal.read(outcome.run_id)
    shown = await asyncio.to_thread(replay, outcome.run_id, events, router)
    assert not shown.same
    assert "Secrets were taken out of this record" in shown.difference


async def test_a_run_of_a_session_cannot_be_replayed(shop, router):
    outcome, events = await recorded(shop, "1", session="s")
    with pytest.raises(JournalError, match="whose variables are not on record"):
        replay(outcome.run_id, events, router)


# --- files


async def written(shop, tmp_path, code=SCRIPT, tier="monty"):
    async with shop.app:
        outcome = await shop.app.execute(code, sandbox=tier)
        row, events = shop.app._runtime.parts.journal.read(outcome.run_id)
    path = tmp_path / "run.jsonl"
    path.write_text("".join(f"{line}\n" for line in exported(row, events)), encoding="utf-8")
    return path, row, events


@pytest.mark.parametrize("tier", TIERS)
async def test_an_exported_run_is_a_test(shop, tmp_path, tier):
    path, row, events = await written(shop, tmp_path, tier=tier)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[0]["head"] == lines[0]["journal"] == row.head.hex()
    assert lines[1]["body"]["code"] == SCRIPT
    assert imported(path) == (row.id, events)
    shown = await asyncio.to_thread(replay_file, path)
    assert shown.same_value
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as version control may hand it out
    assert imported(path) == (row.id, events)


async def test_a_large_value_and_bytes_are_in_the_file(shop, tmp_path):
    path, _, events = await written(shop, tmp_path, "['x' * 100_000, b'\\x00', {'$bytes': 1}]")
    assert imported(path)[1] == events
    assert (await asyncio.to_thread(replay_file, path, sandbox="monty")).value[0] == "x" * 100_000


async def test_a_test_fails_with_the_first_difference(shop, tmp_path):
    path, row, events = await written(shop, tmp_path, "x = await shop.look(2)\nx + 1")
    changed = [
        type(event)(event.n, event.kind, event.at, {**event.body, "value": 6})
        if event.kind == "returned"
        else event
        for event in events
    ]
    path.write_text("".join(f"{line}\n" for line in exported(row, changed)), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"recorded: the value 6\n  now:      the value 5"):
        await asyncio.to_thread(replay_file, path)


def _edit(lines):
    lines[2] = lines[2].replace('"arguments":{"n":', '"arguments":{"n":1', 1)


def _rehash(lines):
    said = json.loads(lines[2])
    said["hash"] = "00" * 32
    lines[2] = json.dumps(said)


def _nonsense(lines):
    lines[3] = "{"


def _cut(lines):
    lines.pop()


def _swap(lines):
    lines[2], lines[3] = lines[3], lines[2]


def _drop(lines):
    del lines[2]


def _id(lines):
    lines[0] = lines[0].replace("run_", "ran_", 1)


def _spelling(lines):
    lines[1] = lines[1].replace('"body":{', '"body":{ ', 1)


def _time(lines):
    lines[1] = lines[1].replace('"at": ', '"at": "x", "old": ', 1)


@pytest.mark.parametrize("tamper", [_edit, _rehash, _nonsense, _cut, _swap, _drop, _id, _spelling, _time])
async def test_a_file_that_was_changed_is_refused(shop, tmp_path, tamper):
    path, *_ = await written(shop, tmp_path, "await shop.look(1)\nawait shop.save(1)")
    before = path.read_text(encoding="utf-8")
    lines = before.splitlines()
    tamper(lines)
    text = "".join(f"{line}\n" for line in lines)
    assert text != before
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JournalCorrupt, match="was changed after it was written"):
        replay_file(path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "hello", '{"oneturn_run": 3}'])
def test_a_file_that_is_no_run_is_refused(tmp_path, text):
    path = tmp_path / "run.jsonl"
    path.write_text(text)
    with pytest.raises(JournalError, match="is no recorded run"):
        replay_file(path)
    with pytest.raises(JournalError, match="cannot be read"):
        replay_file(tmp_path / "none")
