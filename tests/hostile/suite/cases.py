"""Every case there is, by name."""

from __future__ import annotations

from . import bridge, code, files, floods, network, processes, resources, system, tenants, walks, wire
from .case import Case

_TABLES = (walks, code, bridge, wire, resources, floods, files, network, processes, system, tenants)


def _all() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for table in _TABLES:
        for case in table.CASES:
            assert case.id not in found, case.id
            found[case.id] = case
    return found


CASES = _all()
