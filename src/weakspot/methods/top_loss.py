"""The examples with the highest losses."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from weakspot.methods.base import Callback, Method, no_progress
from weakspot.methods.ordered_examples import OrderedExamples
from weakspot.methods.setting_checks import check_share
from weakspot.predictions import Predictions
from weakspot.tasks import Task


class TopLoss(Method):
    """Makes one slice of the examples on which the model does worst, whatever they have in common.

    This is the usual first look at errors, and one of the baselines of d'Eon, d'Eon, Wright, Leyton-Brown: The
    Spotlight, FAccT 2022.

    An example is in the slice because of its loss, so no other example belongs to it.

    Args:
        share: The share of the examples; all examples tied at the lowest loss within it are in the slice, too.
    """

    word = "top_loss"
    in_embeddings = False
    testable = False

    def __init__(self, share: float = 0.05) -> None:
        self.share = share

    def check(self, n: float, task: Task | None) -> None:
        check_share(self.share)

    def fit(self, p: Predictions, callback: Callback | None = None) -> TopLoss:
        """Take the highest losses of `p`; there is no slice if all are equal."""
        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        report_progress("losses", 0, 1)
        examples = OrderedExamples.of(p)
        order = np.argsort(-examples.losses, kind="stable")
        reached = np.cumsum(examples.counts[order]) >= self.share * examples.counts.sum() * (1 - 1e-9)
        inside = examples.losses >= examples.losses[order[np.argmax(reached)]]
        members = inside[:, None] if not inside.all() else np.zeros((len(p), 0), dtype=bool)
        self.slices_ = examples.slices(self, p, members, {})
        report_progress("losses", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return zeros: only the loss decides which examples belong."""
        return np.zeros((len(p), len(self._fitted(p))))
