"""One container engine for a whole run of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.engine import PodmanService, podman


@pytest.fixture(scope="session")
def podman_service() -> Iterator[PodmanService]:
    """A container engine; the tests that use it are skipped where there can be none."""
    with podman() as service:
        yield service
