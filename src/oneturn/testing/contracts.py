"""The suite every sandbox must pass: subclass it, say how to make one, and let pytest run it.

```python
class TestMySandbox(SandboxContract):
    def make_sandbox(self) -> Sandbox:
        return MySandbox()
```

The tests drive a sandbox the way the runtime does, by steps, and assert only what the protocol and
the promises to script writers say. So a sandbox that passes can take any other's place.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..errors import SandboxClosed
from ..sandbox.base import Sandbox
from ..types import Answer, Call, Failure, Finished, Limits
from .session_contract import SessionContract
from .steps import FEATURES, echo, finish, refuse, script, until_blocked

_PATIENCE = 30.0  # seconds until a test gives up on another thread
_CANARY = "canary-5d1f0e"


class SandboxContract(SessionContract):
    """What every sandbox must do."""

    # --- values and prints

    @pytest.mark.parametrize(
        ("source", "value"),
        [
            ("return 3", 3),
            ("x = 3\nx + 1", 4),
            ("x = 3", None),
            ("", None),
            ("if True:\n    return [1, {'a': None}]\n5", [1, {"a": None}]),
            ("final_answer({'a': 1.5})", {"a": 1.5}),
            ("final_answer('é😀')", "é😀"),
            ("b'\\x00\\xff'", b"\x00\xff"),
            ("2 ** 70", 2**70),
        ],
    )
    def test_value(self, sandbox: Sandbox, source: str, value: Any) -> None:
        assert self.value(sandbox, source) == value

    @pytest.mark.parametrize(
        "source",
        [
            "final_answer(4)\nprint('after')\n5",
            "try:\n    final_answer(4)\nexcept BaseException:\n    print('after')\n5",
            "try:\n    final_answer(4)\nexcept:\n    print('after')\nfinally:\n    print('after')",
            "def f():\n    final_answer(4)\n    print('after')\nf()\nf()",
            "for i in range(3):\n    final_answer(4)\n    print('after')",
        ],
    )
    def test_nothing_runs_after_final_answer(self, sandbox: Sandbox, source: str) -> None:
        end, _, prints = self.play(sandbox, source)
        assert (end.value, end.error, prints) == (4, None, "")

    def test_final_answer_takes_one_value(self, sandbox: Sandbox) -> None:
        end, _, _ = self.play(sandbox, "final_answer(1, 2)")
        assert end.error is not None
        assert end.error.kind == "TypeError"

    def test_prints_are_kept_apart_in_order(self, sandbox: Sandbox) -> None:
        end, _, prints = self.play(sandbox, "print('a', 1)\nawait solo(1)\nprint('b', end='')\n7")
        assert (end.value, prints) == (7, "a 1\nb")

    def test_prints_survive_an_error(self, sandbox: Sandbox) -> None:
        end, _, prints = self.play(sandbox, "print('so far')\n1/0")
        assert end.error is not None
        assert prints == "so far\n"

    def test_prints_are_capped_and_the_cut_is_counted(self, sandbox: Sandbox) -> None:
        limits = Limits(printed_chars=10)
        end, _, prints = self.play(sandbox, "print('x' * 8)\nprint('y' * 8)", limits=limits)
        assert prints == "xxxxxxxx\ny"
        assert end.cut_prints == 8

    # --- calls

    @pytest.mark.parametrize(
        ("source", "name"),
        [
            ("await tools.crm.find('v')", "crm.find"),
            ("await tools.crm.notes.add('v')", "crm.notes.add"),
            ("await tools.solo('v')", "solo"),
            ("await crm.find('v')", "crm.find"),
            ("await crm.notes.add('v')", "crm.notes.add"),
            ("await solo('v')", "solo"),
            ("await find('v')", "find"),
            ("import tools\nawait tools.crm.find('v')", "crm.find"),
            ("from tools import crm\nawait crm.find('v')", "crm.find"),
            ("from tools import solo\nawait solo('v')", "solo"),
            ("from tools import solo as other\nawait other('v')", "solo"),
            ("from tools.crm import find\nawait find('v')", "crm.find"),
            ("from tools.crm.notes import add\nawait add('v')", "crm.notes.add"),
            ("import tools.crm as c\nawait c.find('v')", "crm.find"),
            ("f = tools.crm.find\nawait f('v')", "crm.find"),
            ("d = {'f': crm.find}\nawait d['f']('v')", "crm.find"),
            ("async def run(f):\n    return await f('v')\nawait run(crm.find)", "crm.find"),
            ("n = tools.crm.notes\nawait n.add('v')", "crm.notes.add"),
            ("await getattr(tools.crm, 'find')('v')", "crm.find"),
        ],
    )
    def test_every_spelling_of_a_tool_is_a_call(self, sandbox: Sandbox, source: str, name: str) -> None:
        end, calls, _ = self.play(sandbox, source)
        assert end == Finished("v")
        assert [(call.kind, call.name) for call in calls] == [("tool", name)]

    def test_arguments_arrive_as_written(self, sandbox: Sandbox) -> None:
        _, calls, _ = self.play(sandbox, "await crm.save(1, 'two', three=[3, None], four={'a': 4.5})")
        assert list(calls[0].args) == [1, "two"]
        assert dict(calls[0].kwargs) == {"three": [3, None], "four": {"a": 4.5}}

    def test_arguments_are_those_of_the_call_not_of_later(self, sandbox: Sandbox) -> None:
        source = "x = [1]\nc = crm.save(x)\nx.append(2)\nr = await c\nr.append(3)\n(x, r)"
        end, calls, _ = self.play(sandbox, source)
        assert list(calls[0].args) == [[1]]
        assert [list(part) for part in end.value] == [[1, 2], [1, 3]]

    def test_a_name_that_is_no_tool_is_a_call_for_the_host_to_refuse(self, sandbox: Sandbox) -> None:
        missing = Failure("NameError", "there is no such tool")
        for source in ("await crm.serch('x')", "await tools.serch('x')"):
            end, calls, _ = self.play(sandbox, source, partial(refuse, missing))
            assert calls[0].name.endswith("serch")
            assert end.error is not None
            assert (end.error.kind, end.error.message) == ("NameError", "there is no such tool")

    def test_the_script_s_own_names_win(self, sandbox: Sandbox) -> None:
        end, calls, _ = self.play(sandbox, "def solo(x):\n    return x * 2\nsolo(4)")
        assert (end.value, calls) == (8, [])

    def test_calls_have_positions_and_growing_ids(self, sandbox: Sandbox) -> None:
        _, calls, _ = self.play(sandbox, "x = 'é'\n\ny = 'é' + await solo(x)\nawait solo(y)")
        first, second = calls
        assert first.id < second.id
        assert first.position is not None
        assert second.position is not None
        assert (first.position.line, first.position.column) == (3, 17)
        assert first.position.source == "y = 'é' + await solo(x)"
        assert second.position.line == 4

    @pytest.mark.parametrize("prefix", ["", "await "])
    @pytest.mark.parametrize(
        ("call", "name"),
        [("list_tools()", "list_tools"), ("search_tools('q', limit=3)", "search_tools")],
    )
    def test_runtime_helpers_work_with_and_without_await(
        self, sandbox: Sandbox, prefix: str, call: str, name: str
    ) -> None:
        def respond(call: Call) -> Answer:
            return Answer(call.id, [{"name": "crm.find"}])

        end, calls, _ = self.play(sandbox, f"x = {prefix}runtime.{call}\nx[0]['name']", respond)
        assert end == Finished("crm.find")
        assert [(made.kind, made.name) for made in calls] == [("runtime", name)]

    def test_runtime_can_be_imported(self, sandbox: Sandbox) -> None:
        source = "from runtime import list_tools\nimport runtime\n[list_tools('a'), runtime.list_tools('b')]"
        assert self.value(sandbox, source) == ["a", "b"]

    @pytest.mark.parametrize("feature", sorted(FEATURES))
    def test_a_feature_works_or_fails_where_it_stands(self, sandbox: Sandbox, feature: str) -> None:
        def respond(call: Call) -> Answer:
            if "bad" in call.args:
                return Answer(call.id, failure=Failure("ValueError", "it is bad"))
            return echo(call)

        source, value = FEATURES[feature]
        end, _, _ = self.play(sandbox, source, respond)
        if feature in self.lacks:
            assert end.error is not None
            assert end.error.kind in ("AttributeError", "NotImplementedError")
            assert end.error.position is not None
        else:
            assert end == Finished(value)

    # --- waiting

    def test_gather_overlaps(self, sandbox: Sandbox) -> None:
        source = "import asyncio\nawait asyncio.gather(crm.find(1), crm.find(2), solo(3))"
        run = sandbox.open(Limits(), 1)
        step, calls = until_blocked(run, run.start(script(source)))
        assert [call.args[0] for call in calls] == [1, 2, 3]
        assert step.pending == tuple(call.id for call in calls)
        end, _, _ = finish(run, run.resume([Answer(call.id, call.args[0] * 10) for call in calls]))
        assert end == Finished([10, 20, 30])
        run.close()

    def test_answers_come_in_any_order_and_any_subset(self, sandbox: Sandbox) -> None:
        source = (
            "import asyncio\ndone = []\n"
            "async def one(i):\n    r = await crm.find(i)\n    done.append(r)\n    return r\n"
            "[await asyncio.gather(*[one(i) for i in range(4)]), done]"
        )
        run = sandbox.open(Limits(), 1)
        step, calls = until_blocked(run, run.start(script(source)))
        ids = [call.id for call in calls]
        for batch in ([3], [1, 0]):
            later = run.resume([Answer(ids[index], index) for index in batch])
            step, new = until_blocked(run, later)
            assert new == []
        assert step.pending == (ids[2],)
        end, _, _ = finish(run, run.resume([Answer(ids[2], 2)]))
        assert end.value[0] == [0, 1, 2, 3]
        assert end.value[1][0] == 3
        assert end.value[1][-1] == 2
        run.close()

    def test_one_answer_lets_a_chain_go_on_while_others_wait(self, sandbox: Sandbox) -> None:
        source = (
            "import asyncio\n"
            "async def chain(i):\n    return await crm.save(await crm.find(i))\n"
            "await asyncio.gather(chain(1), chain(2))"
        )
        run = sandbox.open(Limits(), 1)
        _, calls = until_blocked(run, run.start(script(source)))
        step, new = until_blocked(run, run.resume([Answer(calls[0].id, "x")]))
        assert [(call.name, call.args[0]) for call in new] == [("crm.save", "x")]
        assert step.pending == (calls[1].id, new[0].id)
        run.close()

    def test_pending_is_sorted(self, sandbox: Sandbox) -> None:
        source = "import asyncio\nawait asyncio.gather(*[crm.find(i) for i in range(40)])"
        run = sandbox.open(Limits(), 1)
        step, calls = until_blocked(run, run.start(script(source)))
        assert len(step.pending) == 40
        assert list(step.pending) == sorted(call.id for call in calls)
        run.close()

    # --- failures

    @pytest.mark.parametrize(
        "kind",
        [
            "PermissionError", "NameError", "TypeError", "ValueError", "TimeoutError", "RuntimeError",
            "FileNotFoundError", "OSError", "LookupError", "KeyError", "NotImplementedError",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("caught", ["its own name", "ToolError", "Exception"])
    def test_a_failure_is_an_exception_to_catch(self, sandbox: Sandbox, kind: str, caught: str) -> None:
        fail = partial(refuse, Failure(kind, "crm.find: no é"))
        name = kind if caught == "its own name" else caught
        source = f"try:\n    await crm.find(1)\nexcept {name} as e:\n    r = [e.args[0]]\nr"
        assert self.value(sandbox, source, fail) == ["crm.find: no é"]

    def test_a_failure_nobody_catches_ends_the_script_at_the_call(self, sandbox: Sandbox) -> None:
        fail = partial(refuse, Failure("PermissionError", "not yours"))
        end, _, _ = self.play(sandbox, "x = 1\nawait crm.find(x)\n5", fail)
        assert end.error is not None
        assert (end.error.kind, end.error.message) == ("PermissionError", "not yours")
        assert end.error.position is not None
        assert end.error.position.line == 2

    def test_a_failure_of_an_unknown_kind_is_a_runtime_error(self, sandbox: Sandbox) -> None:
        for kind in ("SystemExit", "KeyboardInterrupt", "ExceptionGroup", "Nonsense", "print", ""):
            failure = Failure(kind, "m")
            end, _, _ = self.play(sandbox, "await solo(1)", partial(refuse, failure))
            assert end.error is not None
            assert (end.error.kind, end.error.message) == ("RuntimeError", "m")

    @pytest.mark.parametrize(
        ("source", "kind", "message", "line", "column", "text"),
        [
            ("x = 0\n\nif True:\n    1/x", "ZeroDivisionError", "division by zero", 4, 5, "1/x"),
            ("raise ValueError('hé')", "ValueError", "hé", 1, None, "raise ValueError('hé')"),
            ("def f(d):\n    return d['k']\nf({})", "KeyError", "k", 2, None, "return d['k']"),
            ("y = x = = 3", "SyntaxError", "", 1, None, "y = x = = 3"),
        ],
    )
    def test_an_error_says_what_and_where(
        self, sandbox: Sandbox, source: str, kind: str, message: str, line: int, column: int | None, text: str
    ) -> None:
        end, _, _ = self.play(sandbox, source)
        assert end.value is None
        assert end.error is not None
        assert end.error.kind == kind
        assert message in end.error.message
        assert end.error.position is not None
        assert (end.error.position.line, end.error.position.source) == (line, text)
        assert column is None or end.error.position.column == column

    # --- time and chance

    @pytest.mark.parametrize(
        ("source", "clock"),
        [
            ("import time\ntime.time() == 12.5", "wall"),
            ("import time\ntime.monotonic() == 12.5", "monotonic"),
            ("import time\ntime.perf_counter() == 12.5", "monotonic"),
            ("import datetime\ndatetime.datetime.now().second == 12", "wall"),
            ("import datetime as d\nd.datetime.now(d.timezone.utc).timestamp() == 12.5", "wall"),
            ("import datetime\nstr(datetime.date.today()) == '1970-01-01'", "wall"),
        ],
    )
    def test_the_clock_is_a_call(self, sandbox: Sandbox, source: str, clock: str) -> None:
        end, calls, _ = self.play(sandbox, source, lambda call: Answer(call.id, 12.5))
        assert end == Finished(True)
        assert [(call.kind, call.name) for call in calls] == [("clock", clock)]

    @pytest.mark.parametrize(
        "source", ["import time\ntime.sleep(900)\n'up'", "import asyncio\nawait asyncio.sleep(900)\n'up'"]
    )
    def test_sleep_is_a_call(self, sandbox: Sandbox, source: str) -> None:
        end, calls, _ = self.play(sandbox, source, lambda call: Answer(call.id))
        assert end == Finished("up")
        assert [(call.kind, call.args[0]) for call in calls] == [("sleep", 900)]

    def test_random_follows_the_seed(self, sandbox: Sandbox) -> None:
        source = "import random\n[random.random(), random.randint(0, 10**9), random.sample(range(99), 5)]"
        first, same, other = (self.play(sandbox, source, seed=seed)[0].value for seed in (7, 7, 8))
        assert first == same
        assert first != other

    # --- limits and ends

    def test_cpu_limit(self, sandbox: Sandbox) -> None:
        limits = Limits(cpu_seconds=0.3)
        source = "try:\n    while True:\n        pass\nexcept BaseException:\n    pass\nwhile True:\n    pass"
        end, _, _ = self.play(sandbox, source, limits=limits)
        assert end.error is not None
        assert end.error.kind == "TimeoutError"
        assert self.value(sandbox, "1 + 1") == 2

    def test_memory_limit(self, sandbox: Sandbox) -> None:
        limits = Limits(memory=16 * 1024 * 1024)
        end, _, _ = self.play(sandbox, "x = []\nwhile True:\n    x.append('abc' * 100)", limits=limits)
        assert end.error is not None
        assert end.error.kind == "MemoryError"
        assert self.value(sandbox, "1 + 1") == 2

    def test_recursion_limit(self, sandbox: Sandbox) -> None:
        end, _, _ = self.play(sandbox, "def f(n):\n    return f(n + 1)\nf(0)", limits=Limits(recursion=100))
        assert end.error is not None
        assert end.error.kind == "RecursionError"

    def test_kill_while_computing(self, sandbox: Sandbox) -> None:
        run = sandbox.open(Limits(), 1)
        step = run.start(script("await solo(1)\nwhile True:\n    pass"))
        step, calls = until_blocked(run, step)
        killer = threading.Timer(0.1, run.kill)
        killer.start()
        end = run.resume([Answer(calls[0].id)])
        killer.join(_PATIENCE)
        assert isinstance(end, Finished)
        assert end.error is not None
        run.close()
        assert self.value(sandbox, "1 + 1") == 2

    def test_kill_while_waiting(self, sandbox: Sandbox) -> None:
        run = sandbox.open(Limits(), 1)
        step, _ = until_blocked(run, run.start(script("await solo(1)")))
        threading.Thread(target=run.kill).start()
        run.kill()
        try:
            end = run.resume([Answer(step.pending[0])])
        except SandboxClosed:
            pass
        else:
            assert isinstance(end, Finished)
            assert end.error is not None
        run.close()
        assert self.value(sandbox, "1 + 1") == 2

    def test_kill_before_start(self, sandbox: Sandbox) -> None:
        run = sandbox.open(Limits(), 1)
        run.kill()
        run.kill()
        with pytest.raises(SandboxClosed):
            run.start(script("1"))
        run.close()
        assert self.value(sandbox, "1 + 1") == 2

    def test_close_is_idempotent_and_final(self, sandbox: Sandbox) -> None:
        run = sandbox.open(Limits(), 1)
        step, _ = until_blocked(run, run.start(script("await solo(1)")))
        run.close()
        run.close()
        run.kill()
        with pytest.raises(SandboxClosed):
            run.resume([Answer(step.pending[0])])

    def test_no_answers_after_the_end(self, sandbox: Sandbox) -> None:
        run = sandbox.open(Limits(), 1)
        assert run.start(script("1")) == Finished(1)
        with pytest.raises(SandboxClosed):
            run.resume([])
        run.close()

    def test_the_sandbox_can_be_closed_twice(self) -> None:
        sandbox = self.make_sandbox()
        assert self.value(sandbox, "1") == 1
        sandbox.close()
        sandbox.close()

    # --- isolation

    @pytest.mark.parametrize(
        "source",
        [
            "open({path!r}).read()",
            "open({path!r}, 'w').write('x')",
            "from pathlib import Path\nPath({path!r}).read_text()",
            "from pathlib import Path\nPath({path!r}).unlink()",
            "import os\nos.listdir({folder!r})",
            "import os\nos.remove({path!r})",
            "import os\nos.environ['ONETURN_CANARY']",
            "import os\nos.getenv('ONETURN_CANARY') or 1/0",
            "import os\nos.system('true')",
            "import os\nos.fork()",
            "import socket\nsocket.create_connection(('127.0.0.1', 9))",
            "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')",
            "import subprocess\nsubprocess.run(['true'])",
            "import pydantic_monty",
            "import oneturn",
        ],
    )
    def test_nothing_outside_is_in_reach(
        self, sandbox: Sandbox, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ONETURN_CANARY", _CANARY)
        path = tmp_path / "canary.txt"
        path.write_text(_CANARY)
        code = source.format(path=str(path), folder=str(tmp_path))
        end, calls, prints = self.play(sandbox, code)
        assert end.error is not None
        assert calls == []
        assert _CANARY not in f"{end}{prints}"
        assert path.read_text() == _CANARY

    def test_two_runs_share_nothing(self, sandbox: Sandbox) -> None:
        self.value(sandbox, "import json\nleft = 'behind'\nToolError = int\nprint(left)")
        end, _, _ = self.play(sandbox, "left.upper()")
        assert end.error is not None
        assert end.error.kind in ("NameError", "AttributeError")

    def test_twenty_runs_at_once(self, sandbox: Sandbox) -> None:
        together = threading.Barrier(20, timeout=_PATIENCE)

        def one(number: int) -> Any:
            run = sandbox.open(Limits(), number)
            _, calls = until_blocked(run, run.start(script(f"x = await solo({number})\nx * 2")))
            together.wait()
            end, _, _ = finish(run, run.resume([Answer(calls[0].id, calls[0].args[0] + 1)]))
            run.close()
            return end.value

        with ThreadPoolExecutor(20) as threads:
            assert list(threads.map(one, range(20))) == [(number + 1) * 2 for number in range(20)]
