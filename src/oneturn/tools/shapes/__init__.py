"""What results look like, learned from results that were seen; for tools that declare no output schema."""

from .learning import Observed, Shapes

__all__ = ["Observed", "Shapes"]
