"""Examples drawn at random: the baseline that finds nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.canonical_order import row_hashes
from weakspot.methods.ordered_examples import OrderedExamples
from weakspot.methods.setting_checks import check_at_least, check_share
from weakspot.predictions import Predictions
from weakspot.tasks import Task

_STEP, _FIRST, _SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


class Random(Method):
    """Draws slices at random: the baseline to beat, which tests should confirm no more often than chance.

    Which examples are drawn follows from a hash of the embedding (the finaliser of Steele, Lea, Flood: Fast splittable
    pseudorandom number generators, OOPSLA 2014), so that equal rows are drawn together, and slices can be applied to
    other examples.

    Args:
        n_slices: The number of slices.
        share: The share of all examples that is drawn for a slice, on average.
        seed: The seed of the draws.
    """

    word = "random"
    in_embeddings = False

    def __init__(self, n_slices: int = 5, share: float = 0.05, seed: int = 0) -> None:
        self.n_slices = n_slices
        self.share = share
        self.seed = seed

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, seed=0)
        check_share(self.share)

    def fit(self, p: Predictions, callback: Callback | None = None) -> Random:
        """Draw the slices from `p`."""
        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        report_progress("draws", 0, 1)
        examples = OrderedExamples.of(p)
        salts = np.random.default_rng(self.seed).integers(1 << 32, size=self.n_slices)
        parameters = {"salts": salts, "width": np.array([examples.x.shape[1]])}
        self.slices_ = examples.slices(self, p, self._drawn(examples.x, salts), parameters)
        report_progress("draws", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return 1 for the examples that are drawn."""
        salts, width = parameters_of(self._fitted(p), "salts", "width")
        x = embeddings_for(p.embeddings, int(width[0]), "the slices")
        return self._drawn(x, salts).astype(np.float64)

    def _drawn(self, x: Float[np.ndarray, "n d"], salts: Int[np.ndarray, " k"]) -> Bool[np.ndarray, "n k"]:
        bits = row_hashes(np.asarray(x, dtype=np.float64))[:, None] + salts.astype(np.uint64) * _STEP
        bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
        bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
        bits = bits ^ (bits >> np.uint64(31))
        return np.asarray(bits < np.uint64(self.share * 2**64))
