"""Which slices are real: tests on rows that a slice was not found in. Pure functions that receive fit and apply."""

from weakspot.evaluation.confirmation import Evidence, Verdict, confirm
from weakspot.evaluation.contrasts import Contrast
from weakspot.evaluation.splitting import held_out
from weakspot.evaluation.stability import stability

__all__ = ["Contrast", "Evidence", "Verdict", "confirm", "held_out", "stability"]
