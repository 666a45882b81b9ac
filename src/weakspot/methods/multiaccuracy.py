"""The examples for which a linear model predicts the largest residuals (Kim et al., AIES 2019)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.ordered_examples import OrderedExamples
from weakspot.methods.residuals import label_codes, residuals
from weakspot.methods.setting_checks import check_at_least, check_share
from weakspot.predictions import Predictions
from weakspot.tasks import Task


class Multiaccuracy(Method):
    """Finds, within each label, the examples for which ridge regression predicts the largest residuals.

    Kim, Ghorbani, Zou: Multiaccuracy, Black-box post-processing for fairness in classification, AIES 2019. This is
    the paper's auditor in a single round: the model is not corrected in between. The paper audits each side of the
    classifier's decision; here each label is audited instead, because membership must not depend on a prediction.
    Residuals are 1 - p of the label, or a substitute (see `residuals`). Slices are ranked by how far their mean
    residual exceeds that of their label.

    An example belongs to a slice if it has the slice's label and its predicted residual exceeds the slice's threshold.

    Args:
        n_slices: The largest number of slices.
        share: The share of a label's examples that a slice holds.
        alpha: The penalty of the ridge regression, on embeddings of mean square norm 1.
    """

    word = "multiaccuracy"

    def __init__(self, n_slices: int = 5, share: float = 0.1, alpha: float = 1.0) -> None:
        self.n_slices = n_slices
        self.share = share
        self.alpha = alpha

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, alpha=0)
        check_share(self.share)

    def fit(self, p: Predictions, callback: Callback | None = None) -> Multiaccuracy:
        """Fit one regression per label of `p`."""
        from sklearn.linear_model import Ridge

        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        examples = OrderedExamples.of(p)
        residual = residuals(examples.record)
        centre = np.average(examples.x, axis=0, weights=examples.counts)
        x = examples.x - centre
        scale = np.sqrt(np.average((x**2).sum(axis=1), weights=examples.counts)) or 1.0
        candidates: list[tuple[float, int, np.ndarray, float]] = []
        rows_by_label = examples.rows_by_label()
        for done, rows in enumerate(rows_by_label):
            report_progress("regressions", done, len(rows_by_label))
            counts, r = examples.counts[rows], residual[rows]
            fitted = Ridge(self.alpha).fit(x[rows] / scale, r, sample_weight=counts)
            direction = fitted.coef_ / scale
            scores = _scores(x[rows], direction[None])[:, 0]
            threshold = _threshold(scores, counts, self.share)
            inside = scores > threshold
            if not inside.any() or not direction.any():
                continue
            excess = np.average(r[inside], weights=counts[inside]) - np.average(r, weights=counts)
            candidates.append((excess, int(examples.labels[rows[0]]), direction, threshold))
        report_progress("regressions", len(rows_by_label), len(rows_by_label))
        worse = [candidate for candidate in candidates if candidate[0] > 0]
        chosen = sorted(worse, key=lambda candidate: -candidate[0])[: self.n_slices]
        parameters = {
            "centre": centre,
            "labels": np.array([label for _, label, _, _ in chosen], dtype=np.int64),
            "directions": np.array([direction for _, _, direction, _ in chosen]).reshape(
                len(chosen), len(centre)
            ),
            "thresholds": np.array([threshold for _, _, _, threshold in chosen], dtype=np.float64),
        }
        self.slices_ = examples.slices(
            self, p, _scores_above_threshold(examples.record, **parameters) > 0, parameters
        )
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return 1 for examples of the slice's label above its threshold; if labels are unknown, for all above it."""
        return (self.published_scores(p) > 0).astype(np.float64)

    def published_scores(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the predicted residual minus the threshold, to rank examples; the lowest number for other labels."""
        names = ("centre", "labels", "directions", "thresholds")
        parameters = dict(zip(names, parameters_of(self._fitted(p), *names), strict=True))
        embeddings_for(p.embeddings, len(parameters["centre"]), "the slices")
        return _scores_above_threshold(p, **parameters)


def _scores(x: Float[np.ndarray, "n d"], directions: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n k"]:
    # Row by row, so that equal examples score the same to the last bit.
    return np.asarray(np.einsum("nd,kd->nk", x, directions))


def _scores_above_threshold(
    p: Predictions,
    centre: Float[np.ndarray, " d"],
    labels: Int[np.ndarray, " k"],
    directions: Float[np.ndarray, "k d"],
    thresholds: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "n k"]:
    """Return predicted residuals minus the thresholds (k,); the lowest number for other labels."""
    excess: np.ndarray = _scores(np.asarray(p.embeddings, dtype=np.float64) - centre, directions) - thresholds
    if p.labels is not None:
        excess[label_codes(p)[:, None] != labels] = np.finfo(np.float64).min
    return excess


def _threshold(scores: Float[np.ndarray, " m"], counts: Float[np.ndarray, " m"], share: float) -> float:
    """Return the midpoint between the last score within the top share and the next one."""
    order = np.argsort(-scores, kind="stable")
    above = int((np.cumsum(counts[order]) <= share * counts.sum() * (1 + 1e-9)).sum())
    return float(scores[order[[max(above, 1) - 1, min(max(above, 1), len(scores) - 1)]]].mean())
