"""What happens to a script before it runs: on the syntax tree alone, never by running it."""

from .check import check
from .explain import hint
from .parse import Program, parse

__all__ = ["Program", "check", "hint", "parse"]
