"""Tests which slices are real, on rows that were not searched for them, with pure functions on arrays."""

from weakspot.evaluation.confirmation import Evidence, Verdict, confirm
from weakspot.evaluation.contrasts import Contrast
from weakspot.evaluation.held_out_split import held_out
from weakspot.evaluation.stability import stability

__all__ = ["Contrast", "Evidence", "Verdict", "confirm", "held_out", "stability"]
