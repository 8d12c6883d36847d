"""What happens to a script before it runs: on the syntax tree and its types, never by running it."""

from .check import check
from .explain import hint
from .parse import Program, chain, parse
from .reach import Reach, Reached, constant, meaning
from .typecheck import Finding, TypeChecker

__all__ = [
    "Finding",
    "Program",
    "Reach",
    "Reached",
    "TypeChecker",
    "chain",
    "check",
    "constant",
    "hint",
    "meaning",
    "parse",
]
