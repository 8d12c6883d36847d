"""Typed Python stubs of tools: for a model to read, for a type checker, and for an editor."""

from .checker import CheckerStub, checker_stub
from .comments import own_name
from .package import Written, write_package
from .shown import stub_text
from .typed_tool import Observed

__all__ = ["CheckerStub", "Observed", "Written", "checker_stub", "own_name", "stub_text", "write_package"]
