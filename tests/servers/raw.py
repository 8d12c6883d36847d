"""An MCP server on stdio in plain Python, for what well-behaved libraries will not do.

Usage: python raw.py [mode]. Modes: `normal`, `mute` (never answers), `stubborn` (ignores the
end of its input and SIGTERM), `broken` (complains and exits), `endless` (never stops paging).
"""

import json
import os
import signal
import sys
import threading
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else "normal"
LOCK = threading.Lock()
CANCELLED = []


def tool(name, **more):
    return {"name": name, "description": f"The {name} tool.", "inputSchema": {"type": "object"}, **more}


WRAPPED = {
    "type": "object",
    "title": "addOutput",
    "properties": {"result": {"title": "Result", "type": "integer"}},
    "required": ["result"],
}
TOOLS = [
    tool("pid", annotations={"readOnlyHint": True}),
    tool("add", outputSchema=WRAPPED, annotations={"destructiveHint": False}),
    tool("die"),
    tool("die_reading", annotations={"readOnlyHint": True}),
    tool("sleep"),
    tool("hang"),
    tool("env"),
    tool("cancelled"),
    tool("lie", outputSchema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
    tool("refuse"),
    tool("garbage"),
    tool("bad_base64"),
    tool("meta", annotations={"idempotentHint": True}),
    tool("meta_reading", annotations={"readOnlyHint": True, "idempotentHint": True}),
]


def send(message):
    with LOCK:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def reply(request, structured=None, text="", **more):
    result = {"content": [{"type": "text", "text": text}], **more}
    if structured is not None:
        result["structuredContent"] = structured
    send({"id": request["id"], "result": result})


def call(request):
    name, arguments = request["params"]["name"], request["params"].get("arguments", {})
    if name == "pid":
        reply(request, text=str(os.getpid()))
    elif name == "add":
        reply(request, {"result": arguments["a"] + arguments["b"]})
    elif name in ("die", "die_reading"):
        if "mark" in arguments:  # dies only until the mark is there
            if os.path.exists(arguments["mark"]):
                reply(request, text="survived")
                return
            open(arguments["mark"], "w").close()
        os._exit(1)
    elif name == "sleep":
        time.sleep(arguments["seconds"])
        reply(request, text="woke")
    elif name == "hang":
        time.sleep(3600)
    elif name == "env":
        reply(request, dict(os.environ))
    elif name.startswith("meta"):
        reply(request, request["params"].get("_meta", {}))
    elif name == "cancelled":
        reply(request, {"ids": CANCELLED})
    elif name == "lie":
        reply(request, {"n": "not a number"})
    elif name == "refuse":
        send({"id": request["id"], "error": {"code": -32000, "message": "quota used up"}})
    elif name == "garbage":
        send({"id": request["id"], "result": {"content": [{"type": "hologram"}]}})
    elif name == "bad_base64":
        image = {"type": "image", "data": "a", "mimeType": "image/png"}
        send({"id": request["id"], "result": {"content": [image]}})


def pages(request):
    """Four tools a page."""
    start = int((request.get("params") or {}).get("cursor", 0))
    if MODE == "endless":
        many = [tool(f"t{start}_{number}") for number in range(1000)]
        send({"id": request["id"], "result": {"tools": many, "nextCursor": str(start + 1)}})
        return
    result = {"tools": TOOLS[start : start + 4]}
    if start + 4 < len(TOOLS):
        result["nextCursor"] = str(start + 4)
    send({"id": request["id"], "result": result})


def handle(request):
    method = request.get("method")
    if method == "initialize":
        if "sampling" in request["params"]["capabilities"]:
            os._exit(3)
        send(
            {
                "id": request["id"],
                "result": {
                    "protocolVersion": request["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "raw", "version": "1"},
                },
            }
        )
    elif method == "tools/list":
        pages(request)
    elif method == "notifications/cancelled":
        CANCELLED.append(request["params"]["requestId"])
    elif method == "tools/call":
        threading.Thread(target=call, args=(request,), daemon=True).start()


if MODE == "broken":
    sys.exit(f"cannot log in with {os.environ.get('LAB_TOKEN')}")
if MODE == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for line in sys.stdin:
    if MODE != "mute":
        handle(json.loads(line))
while MODE in ("stubborn", "mute"):
    time.sleep(3600)
