"""The largest off-diagonal cells of the confusion matrix."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from weakspot.methods.base import Callback, Method, no_progress, parameters_of
from weakspot.methods.ordered_examples import OrderedExamples
from weakspot.methods.setting_checks import check_at_least
from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Task


class Confusion(Method):
    """Finds the most common confusions: all examples of one label that are predicted as one other class.

    This is the usual first look at errors, and one of the baselines of Eyuboglu et al.: Domino, ICLR 2022.

    An example is in a cell because it is wrong. Of other examples only the label is read: their membership in a cell is
    the share of their label's examples that was in it.

    Args:
        n_slices: The largest number of cells.
        min_size: The fewest examples in a cell.
    """

    word = "confusion"
    in_embeddings = False
    testable = False
    noun = "Confusion"
    size_parameter = "min_size"

    def __init__(self, n_slices: int = 5, min_size: int = 1) -> None:
        self.n_slices = n_slices
        self.min_size = min_size

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, min_size=1)
        if task is not None and type(task) is not Classification:
            raise ValueError(f"a confusion matrix needs labels and predicted classes; {task.kind} has none")

    def check_record(self, p: Predictions) -> None:
        if p.labels is None or p.predictions is None or p.task is None:
            raise ValueError(
                "a confusion matrix needs labels and outputs or predictions; these do not hold both"
            )

    def fit(self, p: Predictions, callback: Callback | None = None) -> Confusion:
        """Count the cells of `p`, which must hold labels and outputs or predictions."""
        self.check(len(p), p.task)
        self.check_record(p)
        report_progress = callback or no_progress
        report_progress("cells", 0, 1)
        examples = OrderedExamples.of(p)
        predicted = np.asarray(examples.record.predictions, dtype=np.int64)
        cells, position = np.unique(
            np.stack([examples.labels, predicted], axis=1), axis=0, return_inverse=True
        )
        sizes = np.bincount(position, weights=examples.counts)
        mistakes = (cells[:, 0] != cells[:, 1]) & (sizes >= self.min_size)
        chosen = np.argsort(-np.where(mistakes, sizes, 0.0), kind="stable")[
            : min(self.n_slices, mistakes.sum())
        ]
        labels = cells[chosen, 0]
        total = np.array([examples.counts[examples.labels == label].sum() for label in labels])
        parameters = {"labels": labels, "predictions": cells[chosen, 1], "shares": sizes[chosen] / total}
        self.slices_ = examples.slices(self, p, position[:, None] == chosen, parameters)
        report_progress("cells", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the share of the label's examples that was in the cell."""
        labels, shares = parameters_of(self._fitted(p), "labels", "shares")
        if p.labels is None:
            raise ValueError("cells of a confusion matrix are applied by label; these predictions hold none")
        return np.where(np.asarray(p.labels)[:, None] == labels, shares, 0.0)
