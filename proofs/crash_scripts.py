"""The scripts whose hosts are killed, and the tools they call.

What a script returns does not depend on the order in which tools answer. A call whose fate a crash has
hidden is `"unknown"` in it, so that two values can be compared but for those.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from oneturn import CodeMode, Limits
from oneturn.tools.base import current_call
from oneturn.tools.function import FunctionSource
from oneturn.types import Grant, Tool

from .effects import Effect, Effects

UNKNOWN = "unknown"
TOO_UNSURE = "it may be done already"
"""Why a person does not let a call be repeated whose fate is unknown."""
_SURE = f"""\
import asyncio
async def sure(call):
    try:
        return await call
    except RuntimeError as error:
        if "may have taken effect" not in str(error):
            raise
        return "{UNKNOWN}"
    except PermissionError as error:  # nobody knows, and it was not repeated therefore
        if "{TOO_UNSURE}" not in str(error):
            raise
        return "{UNKNOWN}"
"""


@dataclass(frozen=True)
class CrashScript:
    """One script, and what happens around it.

    `sure`: it begins with the helper that turns a call in doubt into `"unknown"`. `grant`: what whoever
    approves one of its calls gives leave for besides. `retried`: once its first host is dead, the run is not
    taken up again but retried by a new one.
    """

    code: str
    sure: bool = True
    full_python: bool = False
    grant: Grant | None = None
    retried: bool = False

    @property
    def text(self) -> str:
        return _SURE + self.code if self.sure else self.code


SCRIPTS: Mapping[str, CrashScript] = {
    "sequential": CrashScript("""\
got = []
for i in range(3):
    got.append(await look(n=i))
    got.append(await sure(save(n=i)))
    got.append({"total": await total()})
return got"""),
    "reads only": CrashScript("[await look(n=i) for i in range(6)]", sure=False),
    "writes only": CrashScript("[await sure(save(n=i)) for i in range(6)]"),
    "parallel reads": CrashScript("await asyncio.gather(*[look(n=i) for i in range(6)])"),
    "parallel writes": CrashScript("await asyncio.gather(*[sure(save(n=i)) for i in range(6)])"),
    "nested gathers": CrashScript("""\
async def pair(i):
    return await asyncio.gather(look(n=i), sure(save(n=i)))
async def four(i):
    return await asyncio.gather(pair(i), pair(i + 1))
return await asyncio.gather(four(0), four(2), look(n=9))"""),
    "chains in parallel": CrashScript("""\
async def chain(i):
    a = await look(n=i)
    b = await sure(save(n=i))
    c = await look(n=a)
    return [a, b, c, await sure(save(n=10 + i))]
return await asyncio.gather(*[chain(i) for i in range(3)])"""),
    "tasks": CrashScript("""\
first = asyncio.create_task(sure(save(n=1)))
second = asyncio.create_task(look(n=2))
third = asyncio.create_task(sure(save(n=3)))
return [await third, await second, await first]""", full_python=True),
    "rounds": CrashScript("""\
got = []
for i in range(3):
    got.append(await asyncio.gather(look(n=i), sure(save(n=i)), again.put(n=i)))
return got"""),
    "uncaught tool error": CrashScript("""\
a = await save(n=1)
b = await look(n=1)
await fail(n=2)
await save(n=3)""", sure=False),
    "caught tool errors": CrashScript("""\
got = []
for i in range(3):
    try:
        got.append(await fail(n=i))
    except ValueError as error:
        got.append(str(error))
    except RuntimeError as error:
        assert "may have taken effect" in str(error)
        got.append("unknown")
    got.append(await sure(save(n=i)))
return got"""),
    "own error": CrashScript("""\
await sure(save(n=1))
got = await asyncio.gather(look(n=0), sure(save(n=2)))
return 1 // got[0]"""),
    "printing": CrashScript("""\
print("begin")
for i in range(3):
    print("look", await look(n=i))
    await sure(save(n=i))
    print("saved", i)
print("end")"""),
    "clock": CrashScript("""\
import time
began, at = time.monotonic(), time.time()
await sure(save(n=1))
await asyncio.sleep(0.005)
middle = time.monotonic()
await look(n=1)
await sure(save(n=2))
later = time.time()
return [began <= middle <= time.monotonic(), at <= later, middle - began >= 0.004]"""),
    "identifiers": CrashScript("""\
import random, uuid
first = random.random()
await sure(save(n=1))
second = random.randint(0, 10**9)
await look(n=2)
await sure(save(n=random.randrange(1000)))
return [first, second, str(uuid.uuid4())]""", full_python=True),
    "random numbers": CrashScript("""\
import random
first = random.random()
await sure(save(n=1))
second = random.randint(0, 10**9)
await look(n=2)
await sure(save(n=random.randrange(1000)))
return [first, second, random.random()]"""),
    "pauses": CrashScript("""\
async def one(i):
    await asyncio.sleep(0.002 * i)
    got = await sure(save(n=i))
    await asyncio.sleep(0.001)
    return [got, await look(n=i)]
return await asyncio.gather(*[one(i) for i in range(4)])"""),
    "runtime helpers": CrashScript("""\
names = runtime.list_tools()
await sure(save(n=1))
about = runtime.get_tool_info("save")
await sure(save(n=2))
return [names, about, await look(n=1)]"""),
    "refused calls": CrashScript("""\
got = [await sure(save(n=1))]
for wrong in ("many", None, [1]):
    try:
        await save(n=wrong)
    except Exception as error:
        got.append(type(error).__name__)
    got.append(await look(n=1))
got.append(await sure(save(n=2)))
return got"""),
    "idempotent writes": CrashScript("[await again.put(n=i) for i in range(6)]", sure=False),
    "idempotent, parallel": CrashScript("await asyncio.gather(*[again.put(n=i) for i in range(6)])"),
    "mixed": CrashScript("""\
a = await asyncio.gather(*[look(n=i) for i in range(4)])
b = await sure(save(n=sum(a)))
c = await asyncio.gather(again.put(n=1), sure(save(n=2)), look(n=3))
print(a, c[2])
d = await sure(save(n=4))
return [a, b, c, d]"""),
    "calls not awaited": CrashScript("""\
left = [asyncio.create_task(sure(slow(n=i))) for i in range(3)]
await sure(save(n=9))
return await look(n=1)""", full_python=True),
    "large values": CrashScript("""\
text = await large(n=100_000)
kept = await sure(keep(text=text, n=1))
again = await large(n=70_000)
await sure(keep(text=again + text, n=2))
return [kept, text[:10], len(again), again + "!"]"""),
    "waiting": CrashScript("""\
got = [await look(n=1)]
got.append(await sure(wipe(n=1)))
got.append(await sure(save(n=1)))
got.append(await sure(wipe(n=2)))
return got"""),
    "waiting together": CrashScript("""\
got = await asyncio.gather(*[sure(wipe(n=i)) for i in range(3)], look(n=1), sure(save(n=5)))
return [got, await look(n=2)]"""),
    "granted": CrashScript("""\
return [await sure(wipe(n=i)) for i in (0, 1, 2, 9, 3, 4)]""",
        grant=Grant(2, {"properties": {"n": {"maximum": 5}}})),
    "retried": CrashScript("""\
got = []
for i in range(3):
    got.append(await look(n=i))
    got.append(await sure(save(n=i)))
return got""", retried=True),
    "retried, waiting": CrashScript("""\
return [await sure(save(n=1)), await sure(wipe(n=1)), await look(n=1), await sure(wipe(n=2))]""",
        retried=True),
    "many": CrashScript("""\
async def one(i):
    return await (look(n=i) if i % 3 else sure(save(n=i)))
return await asyncio.gather(*[one(i) for i in range(30)])"""),
    "task group": CrashScript("""\
async with asyncio.TaskGroup() as group:
    tasks = [group.create_task(sure(save(n=i))) for i in range(3)]
    reads = [group.create_task(look(n=i)) for i in range(3)]
return [each.result() for each in tasks + reads]""", full_python=True),
    "generators and classes": CrashScript("""\
class Ledger:
    def __init__(self):
        self.lines = []
    async def add(self, n):
        self.lines.append(await sure(save(n=n)))
        return self
async def numbers():
    for i in range(3):
        yield await look(n=i)
ledger = Ledger()
async for n in numbers():
    await ledger.add(n)
return ledger.lines""", full_python=True),
}  # fmt: skip
IDEMPOTENT = frozenset({"put"})


def app_of(
    journal: str,
    effects: Effects,
    point: Callable[[str], None],
    chance: random.Random,
    *,
    timeout: float = 60.0,
) -> CodeMode:
    """An app with the tools.

    Args:
        journal: Where runs are recorded.
        effects: Counts what the tools do.
        point: Told where a tool is: before its effect, and after.
        chance: When tools answer.
        timeout: Seconds of one run.
    """
    app = CodeMode(allow=["*"], journal=journal, limits=Limits(timeout=timeout), learn=False, check=False)

    async def change(tool: str, n: int, most: float = 0.002) -> None:
        info = current_call()
        await asyncio.sleep(chance.choice((0, 0, chance.random() * most)))
        point("before an effect")
        effects.have(Effect(info.caller, tool, n, info.idempotency_key))
        point("after an effect")
        await asyncio.sleep(chance.choice((0, 0, chance.random() * most)))

    @app.tool(effect="read")
    async def look(n: int) -> int:
        await asyncio.sleep(chance.choice((0, 0, chance.random() * 0.002)))
        return n * 2

    @app.tool(effect="read")
    async def total() -> int:
        return effects.count(current_call().caller, "save")

    @app.tool(effect="read")
    async def large(n: int) -> str:
        return "".join(chr(97 + i * i % 26) for i in range(1_000)) * (n // 1_000)

    @app.tool(effect="write")
    async def save(n: int) -> str:
        await change("save", n)
        return f"saved {n}"

    @app.tool
    async def wipe(n: int) -> str:
        await change("wipe", n)
        return f"wiped {n}"

    @app.tool(effect="write")
    async def slow(n: int) -> str:
        await change("slow", n, 0.02)
        return f"slow {n}"

    @app.tool(effect="write")
    async def fail(n: int) -> str:
        await change("fail", n)
        raise ValueError(f"no {n}")

    @app.tool(effect="write")
    async def keep(text: str, n: int) -> int:
        await change("keep", n)
        return len(text)

    async def put(n: int) -> str:
        await change("put", n)
        return f"put {n}"

    again = _Idempotent()
    again.add(put, effect="write")
    app.add_source(again, namespace="again")
    return app


class _Idempotent(FunctionSource):
    """Functions that may be called again with the same idempotency key."""

    name = "again"

    async def list_tools(self) -> Sequence[Tool]:
        return [replace(tool, idempotent=True) for tool in self.tools]
