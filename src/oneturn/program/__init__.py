"""What happens to a script before it runs: on the syntax tree and its types, never by running it."""

from .check import check
from .exact import Reason, needs_full_python
from .explain import hint
from .parse import Program, chain, parse
from .reach import Reach, Reached, constant, meaning
from .typecheck import Finding, TypeChecker

__all__ = [
    "Finding",
    "Program",
    "Reach",
    "Reached",
    "Reason",
    "TypeChecker",
    "chain",
    "check",
    "constant",
    "hint",
    "meaning",
    "needs_full_python",
    "parse",
]
