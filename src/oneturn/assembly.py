"""Putting a runtime together from an app's options, when the app opens."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from .gate import Dispatcher, Redactor
from .gate.cache import ResultCache
from .journal.artifacts import ArtifactStore
from .options import Options
from .runtime import Runtime
from .tiers import router_of
from .tools.base import Source
from .tools.shapes import Shapes


def runtime_of(
    options: Options,
    *,
    cache: ResultCache | None,
    sources: Callable[[str], Source],
    secrets: Sequence[str],
    shapes: Shapes | None,
) -> Runtime:
    """The runtime of an app. Opens its journal, which may take a moment.

    Args:
        options: Of the app.
        cache: Answers calls from earlier results.
        sources: Finds a source by `Tool.source`.
        secrets: What must never be in a message or on record.
        shapes: Learns what tools return.

    Raises:
        JournalError: The journal cannot be opened.
        ConfigError: A setting is wrong.
    """
    redactor = Redactor(secrets)
    journal = options.open_journal(redactor if redactor.knows else None)
    approval = options.approval_guard(os.environ.get("ONETURN_AUTO_APPROVE"))
    fields = options.hidden_fields
    return Runtime(
        router=router_of(options),
        dispatcher=Dispatcher(redactor, options.tool_timeout, shapes, fields),
        sources=sources,
        artifacts=ArtifactStore(shelf=journal.artifacts if journal is not None else None),
        runs=options.runs,
        cache=cache,
        journal=journal,
        approval=approval,
        approver=options.approver,
        approval_timeout=options.approval_timeout,
        telemetry=options.open_telemetry(),
        fields=fields,
    )
