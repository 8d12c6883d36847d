"""Tools from MCP servers: `McpSource`, and `read_mcp_servers` for the config other clients use.

config.py    which server, how it is reached, and the `mcpServers` JSON
source.py    the `Source`: list, call, reconnect, what may be repeated
link.py      one live connection and its server process; with convert.py the only code
convert.py   that touches FastMCP and MCP types, loaded when the first source opens
"""

from .config import McpServer, read_mcp_servers
from .source import McpSource

__all__ = ["McpServer", "McpSource", "read_mcp_servers"]
