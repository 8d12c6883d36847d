"""A hosted-sandbox service on this machine, for the real e2b SDK: it starts processes here, unconfined.

It speaks the parts of the API and of the envd protocol that the SDK uses to create a sandbox, write
files, run a command with both its streams, and end it. The Connect half is the SDK's own generated
server. A sandbox is a folder, and whatever was started in it.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from api import serving
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from e2b.envd.process.process_connect import Process, ProcessASGIApplication
from e2b.envd.process.process_pb import (
    ProcessEvent,
    SendInputResponse,
    SendSignalResponse,
    StartResponse,
)
from protobuf import Oneof
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

KEY = "e2b_key_of_the_tests"


@dataclass
class Hosted:
    """One sandbox. `asked` is the body it was created with, `lifetime` the seconds it was given last."""

    asked: dict
    token: str
    home: Path
    lifetime: float
    ends: asyncio.TimerHandle | None = None
    processes: dict = field(default_factory=dict)

    async def gone(self):
        """Wait until none of its processes is alive."""
        for process in self.processes.values():
            await process.wait()


class Service(Process):
    """The service: `alive` and `ended` are its sandboxes by id; the rest are faults to switch on."""

    def __init__(self):
        self.url = ""
        self.alive = {}
        self.ended = {}
        self.refuse_create = 0  # an HTTP status
        self.refuse_kills = 0  # how many are answered with a 500
        self.slow_kill = 0.0  # seconds
        self.slice = 1 << 16  # bytes of output in one event
        self.profile = ""  # what the user's login shell does first
        self._loop = None
        self._api = Starlette(
            routes=[
                Route("/v2/sandboxes", self._create, methods=["POST"]),
                Route("/sandboxes/{id}", self._kill, methods=["DELETE"]),
                Route("/sandboxes/{id}/timeout", self._timeout, methods=["POST"]),
                Route("/files", self._write, methods=["POST"]),
                Route("/health", self._health),
                Mount("/", ProcessASGIApplication(self)),
            ]
        )

    async def __call__(self, scope, receive, send):
        await self._api(scope, receive, send)

    def drop(self, sandbox_id):
        """End a sandbox as the service does when it breaks or its time is over."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (self._end(sandbox_id), done.set()))
        done.wait(10)

    # --- the API

    async def _create(self, request):
        if request.headers.get("x-api-key") != KEY:
            return _error(401, "Invalid API key")
        if self.refuse_create:
            return _error(self.refuse_create, "no more sandboxes for you")
        asked = await request.json()
        sandbox_id = secrets.token_hex(10)
        box = Hosted(asked, secrets.token_hex(10), Path(tempfile.mkdtemp(prefix="hosted-")), 0)
        self.alive[sandbox_id] = box
        self._extend(sandbox_id, asked.get("timeout", 300))
        return JSONResponse(
            {
                "templateID": asked["templateID"],
                "sandboxID": sandbox_id,
                "clientID": "here",
                "envdVersion": "0.6.4",
                "envdAccessToken": box.token,
                "domain": None,
            },
            status_code=201,
        )

    async def _kill(self, request):
        await asyncio.sleep(self.slow_kill)
        if self.refuse_kills:
            self.refuse_kills -= 1
            return _error(500, "try again")
        if request.path_params["id"] not in self.alive:
            return _error(404, "no such sandbox")
        box = self.alive[request.path_params["id"]]
        self._end(request.path_params["id"])
        await box.gone()
        return Response(status_code=204)

    async def _timeout(self, request):
        if request.path_params["id"] not in self.alive:
            return _error(404, "no such sandbox")
        self._extend(request.path_params["id"], (await request.json())["timeout"])
        return Response(status_code=204)

    def _extend(self, sandbox_id, seconds):
        box = self.alive[sandbox_id]
        if box.ends is not None:
            box.ends.cancel()
        box.lifetime = seconds
        box.ends = asyncio.get_running_loop().call_later(seconds, self._end, sandbox_id)

    def _end(self, sandbox_id):
        box = self.alive.pop(sandbox_id, None)
        if box is None:
            return
        self.ended[sandbox_id] = box
        box.ends.cancel()
        for process in box.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process._transport.close()  # its pipes; asyncio has no other way
        shutil.rmtree(box.home, ignore_errors=True)

    # --- envd

    def _box(self, headers):
        box = self.alive.get(headers.get("e2b-sandbox-id", ""))
        if box is not None and headers.get("x-access-token") != box.token:
            raise ConnectError(Code.UNAUTHENTICATED, "wrong access token")
        return box

    async def _health(self, request):
        if self._box(request.headers) is None:
            return _error(502, "The sandbox was not found")
        return Response(status_code=204)

    async def _write(self, request):
        box = self._box(request.headers)
        if box is None:
            return _error(502, "The sandbox was not found")
        written = []
        async with request.form() as form:
            for part in form.getlist("file"):
                path = box.home / request.query_params.get("path", part.filename)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(await part.read())
                written.append({"name": path.name, "type": "file", "path": str(path)})
        return JSONResponse(written)

    async def start(self, request, ctx):
        box = self._box(ctx.request_headers)
        if box is None:
            raise ConnectError(Code.UNAVAILABLE, "The sandbox was not found")
        (box.home / ".bash_profile").write_text(self.profile)
        process = await asyncio.create_subprocess_exec(
            request.process.cmd,
            *request.process.args,
            cwd=box.home,
            env={"PATH": os.environ["PATH"], "HOME": str(box.home), **request.process.envs},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        box.processes[process.pid] = process
        try:
            yield _said(Oneof("start", ProcessEvent.StartEvent(pid=process.pid)))
            said = asyncio.Queue(4)
            pumps = [
                asyncio.create_task(self._pump(which, stream, said))
                for which, stream in (("stdout", process.stdout), ("stderr", process.stderr))
            ]
            for _ in pumps:
                while (event := await said.get()) is not None:
                    yield event
            code = await process.wait()
            end = ProcessEvent.EndEvent(exit_code=code, exited=code >= 0, status=f"exit status {code}")
            yield _said(Oneof("end", end))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    async def _pump(self, which, stream, said):
        while chunk := await stream.read(self.slice):
            await said.put(_output(which, chunk))
        await said.put(None)

    def _process(self, request, ctx):
        box = self._box(ctx.request_headers)
        if box is None:
            raise ConnectError(Code.UNAVAILABLE, "The sandbox was not found")
        process = box.processes.get(request.process.selector.value)
        if process is None:
            raise ConnectError(Code.NOT_FOUND, "no such process")
        return process

    async def send_input(self, request, ctx):
        process = self._process(request, ctx)
        process.stdin.write(request.input.input.value)
        await process.stdin.drain()
        return SendInputResponse()

    async def send_signal(self, request, ctx):
        self._process(request, ctx).send_signal(int(request.signal))
        return SendSignalResponse()

    # --- life

    @contextlib.contextmanager
    def running(self):
        """Serve on a thread of its own, since the SDK blocks; afterwards no sandbox is left."""
        ready, stop = threading.Event(), None

        async def serve():
            nonlocal stop
            stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
            async with serving(self):
                ready.set()
                await stop.wait()
                for sandbox_id in list(self.alive):
                    self._end(sandbox_id)
                for box in self.ended.values():
                    await box.gone()

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        try:
            assert ready.wait(10)
            yield self
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            thread.join(20)


def _said(event):
    return StartResponse(event=ProcessEvent(event=event))


def _output(which, chunk):
    return _said(Oneof("data", ProcessEvent.DataEvent(output=Oneof(which, chunk))))


def _error(status, message):
    return JSONResponse({"code": status, "message": message}, status_code=status)
