"""An MCP server whose tools are what a file says, read again at every listing.

Usage: python shifty.py TOOLS.json. Calling `turn` says that the list has changed. Each call of another
tool is written to TOOLS.json.calls, and answered with the tool's name.
"""

import json
import sys
from pathlib import Path

FILE = Path(sys.argv[1])
CALLS = Path(f"{FILE}.calls")
TURN = {"name": "turn", "description": "Change.", "inputSchema": {"type": "object", "properties": {}}}


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def handle(request):
    method = request.get("method")
    if method == "initialize":
        result = {
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "shifty", "version": "1"},
        }
        send({"id": request["id"], "result": result})
    elif method == "tools/list":
        send({"id": request["id"], "result": {"tools": [TURN, *json.loads(FILE.read_text())]}})
    elif method == "tools/call":
        name = request["params"]["name"]
        if name == "turn":
            send({"method": "notifications/tools/list_changed"})
        else:
            with CALLS.open("a") as calls:
                calls.write(f"{name}\n")
        send({"id": request["id"], "result": {"content": [{"type": "text", "text": name}]}})


for line in sys.stdin:
    handle(json.loads(line))
