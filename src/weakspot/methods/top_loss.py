"""The examples of the highest losses."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from weakspot.methods.base import Callback, Method
from weakspot.methods.parts import Examples, check_share, counts_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.tasks import Task


class TopLoss(Method):
    """One slice: the examples on which the model does worst, whatever they have in common.

    It is what everybody looks at first, and one of the baselines of d'Eon, d'Eon, Wright, Leyton-Brown: The Spotlight,
    FAccT 2022.

    share   of the examples; all of the loss at which that share is reached are in the slice, too

    That an example is in the slice is its loss. No other example belongs to it.
    """

    word = "top_loss"
    in_embeddings = False

    def __init__(self, share: float = 0.05) -> None:
        self.share = share

    def check(self, n: float, task: Task | None) -> None:
        check_share(self.share)

    def fit(self, p: Predictions, callback: Callback | None = None) -> TopLoss:
        """Take the highest losses of `p`; no slice where all are alike."""
        self.check(counts_of(p).sum(), p.task)
        tell = callback or (lambda stage, done, total: None)
        tell("losses", 0, 1)
        some = Examples.of(p)
        order = np.argsort(-some.bad, kind="stable")
        reached = np.cumsum(some.counts[order]) >= self.share * some.counts.sum() * (1 - 1e-9)
        inside = some.bad >= some.bad[order[np.argmax(reached)]]
        found = inside[:, None] if not inside.all() else np.zeros((len(p), 0), dtype=bool)
        self.slices_ = some.slices(self, p, found, {})
        tell("losses", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Zero: nothing but the loss says who belongs."""
        return np.zeros((len(p), len(self._fitted())))

    @classmethod
    def advice(cls, slices: Slices) -> list[str]:
        """That such a slice cannot be confirmed, and what else there is to know."""
        return [
            "The examples of the highest losses are a slice by nothing but their losses: it cannot be carried to other "
            "examples, and so it cannot be confirmed.",
            *super().advice(slices),
        ]
