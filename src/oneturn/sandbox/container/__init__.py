"""The container tier: scripts in containers of a Docker-compatible engine."""

from .image import copy_python
from .tier import ContainerSandbox

__all__ = ["ContainerSandbox", "copy_python"]
