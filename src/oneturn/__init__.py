"""oneturn: Code Mode for Python. A model writes one script; it calls your tools, safely, in one turn.

Names are loaded when they are first used, so importing oneturn costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import CodeMode
    from .errors import (
        ArtifactNotFound,
        ConfigError,
        EffectUnknown,
        OneturnError,
        SandboxBusy,
        SandboxClosed,
        SandboxError,
        SandboxUnavailable,
        SessionLost,
        SourceError,
        ToolDefinitionError,
        ToolError,
        ValueRefused,
    )
    from .tools.base import Blob
    from .types import CacheRule, CallRecord, Diagnostic, Effect, Limits, Outcome, Position, ScriptError, Tool

__version__ = "0.1.0"

_HOME = {
    "CodeMode": "app",
    "ArtifactNotFound": "errors",
    "ConfigError": "errors",
    "EffectUnknown": "errors",
    "OneturnError": "errors",
    "SandboxBusy": "errors",
    "SandboxClosed": "errors",
    "SandboxError": "errors",
    "SandboxUnavailable": "errors",
    "SessionLost": "errors",
    "SourceError": "errors",
    "ToolDefinitionError": "errors",
    "ToolError": "errors",
    "ValueRefused": "errors",
    "Blob": "tools.base",
    "CacheRule": "types",
    "CallRecord": "types",
    "Diagnostic": "types",
    "Effect": "types",
    "Limits": "types",
    "Outcome": "types",
    "Position": "types",
    "ScriptError": "types",
    "Tool": "types",
}

__all__ = [  # noqa: RUF022  the main name first
    "CodeMode",
    "ArtifactNotFound",
    "Blob",
    "CacheRule",
    "CallRecord",
    "ConfigError",
    "Diagnostic",
    "Effect",
    "EffectUnknown",
    "Limits",
    "OneturnError",
    "Outcome",
    "Position",
    "SandboxBusy",
    "SandboxClosed",
    "SandboxError",
    "SandboxUnavailable",
    "ScriptError",
    "SessionLost",
    "SourceError",
    "Tool",
    "ToolDefinitionError",
    "ToolError",
    "ValueRefused",
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
