"""oneturn: Code Mode for Python. A model writes one script; it calls your tools, safely, in one turn.

Names are loaded when they are first used, so importing oneturn costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import (
        CodeMode,
    )
    from .errors import (
        ArtifactNotFound,
        ConfigError,
        DecisionRefused,
        Diverged,
        EffectUnknown,
        JournalCorrupt,
        JournalError,
        OneturnError,
        RunBusy,
        RunNotFound,
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
    from .run.order import (
        Approver,
    )
    from .tools.base import (
        Blob,
        CallInfo,
        current_call,
    )
    from .types import (
        Approval,
        CacheRule,
        CallRecord,
        Decision,
        Diagnostic,
        Effect,
        Grant,
        Limits,
        Outcome,
        Position,
        ScriptError,
        Tool,
    )

__version__ = "0.1.0"

_HOME = {
    "CodeMode": "app",
    "ArtifactNotFound": "errors",
    "ConfigError": "errors",
    "DecisionRefused": "errors",
    "Diverged": "errors",
    "EffectUnknown": "errors",
    "JournalCorrupt": "errors",
    "JournalError": "errors",
    "OneturnError": "errors",
    "RunBusy": "errors",
    "RunNotFound": "errors",
    "SandboxBusy": "errors",
    "SandboxClosed": "errors",
    "SandboxError": "errors",
    "SandboxUnavailable": "errors",
    "SessionLost": "errors",
    "SourceError": "errors",
    "ToolDefinitionError": "errors",
    "ToolError": "errors",
    "ValueRefused": "errors",
    "Approver": "run.order",
    "Blob": "tools.base",
    "CallInfo": "tools.base",
    "current_call": "tools.base",
    "Approval": "types",
    "CacheRule": "types",
    "CallRecord": "types",
    "Decision": "types",
    "Diagnostic": "types",
    "Effect": "types",
    "Grant": "types",
    "Limits": "types",
    "Outcome": "types",
    "Position": "types",
    "ScriptError": "types",
    "Tool": "types",
}

__all__ = [  # noqa: RUF022  the main name first
    "CodeMode",
    "Approval",
    "Approver",
    "ArtifactNotFound",
    "Blob",
    "CacheRule",
    "CallInfo",
    "CallRecord",
    "ConfigError",
    "Decision",
    "DecisionRefused",
    "Diagnostic",
    "Diverged",
    "Effect",
    "EffectUnknown",
    "Grant",
    "JournalCorrupt",
    "JournalError",
    "Limits",
    "OneturnError",
    "Outcome",
    "Position",
    "RunBusy",
    "RunNotFound",
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
    "current_call",
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
