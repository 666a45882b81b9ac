"""Where a linear model says that residuals are largest (Kim et al., AIES 2019)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import Callback, Method, embeddings_for, parameters_of
from weakspot.methods.parts import Examples, check_at_least, check_share, counts_of
from weakspot.methods.residuals import groups, residuals
from weakspot.predictions import Predictions
from weakspot.tasks import Task


class Multiaccuracy(Method):
    """Within each label the examples for which ridge regression on the embedding predicts the largest residuals.

    Kim, Ghorbani, Zou: Multiaccuracy, Black-box post-processing for fairness in classification, AIES 2019. This is
    its auditor, in one round: the model is not mended in between. It audits the sides of a classifier's decision; here
    these are the labels, as no membership may follow from a prediction. Residuals are 1 - p of the label, or what
    stands for it. The slices whose examples exceed the mean residual of their label by most come first.

    n_slices   at most
    share      of a label's examples that a slice holds
    alpha      penalty of the ridge regression, on embeddings of mean square norm 1

    An example belongs to a slice if it is of its label and its predicted residual is among the largest.
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

        self.check(counts_of(p).sum(), p.task)
        tell = callback or (lambda stage, done, total: None)
        some = Examples.of(p)
        residual = residuals(some.record)
        centre = np.average(some.x, axis=0, weights=some.counts)
        x = some.x - centre
        scale = np.sqrt(np.average((x**2).sum(axis=1), weights=some.counts)) or 1.0
        found: list[tuple[float, int, np.ndarray, float]] = []
        parts = some.parts()
        for done, rows in enumerate(parts):
            tell("regressions", done, len(parts))
            counts, r = some.counts[rows], residual[rows]
            fitted = Ridge(self.alpha).fit(x[rows] / scale, r, sample_weight=counts)
            direction = fitted.coef_ / scale
            scores = _scores(x[rows], direction[None])[:, 0]
            threshold = _threshold(scores, counts, self.share)
            inside = scores > threshold
            if not inside.any() or not direction.any():
                continue
            excess = np.average(r[inside], weights=counts[inside]) - np.average(r, weights=counts)
            found.append((excess, int(some.codes[rows[0]]), direction, threshold))
        tell("regressions", len(parts), len(parts))
        found = sorted((one for one in found if one[0] > 0), key=lambda one: -one[0])[: self.n_slices]
        parameters = {
            "centre": centre,
            "labels": np.array([one[1] for one in found], dtype=np.int64),
            "directions": np.array([one[2] for one in found]).reshape(len(found), len(centre)),
            "thresholds": np.array([one[3] for one in found], dtype=np.float64),
        }
        self.slices_ = some.slices(self, p, _excesses(some.record, **parameters) > 0, parameters)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """1 above the threshold, for the slice's label; by the threshold alone where labels are unknown."""
        return (self.published_scores(p) > 0).astype(np.float64)

    def published_scores(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """The predicted residual less the threshold, by which examples can be ranked; least for other labels."""
        names = ("centre", "labels", "directions", "thresholds")
        parameters = dict(zip(names, parameters_of(self._fitted(), *names), strict=True))
        embeddings_for(p.embeddings, len(parameters["centre"]), "the slices")
        return _excesses(p, **parameters)


def _scores(x: Float[np.ndarray, "n d"], directions: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "n k"]:
    # row by row, so that equal examples score the same to the last bit
    return np.asarray(np.einsum("nd,kd->nk", x, directions))


def _excesses(
    p: Predictions,
    centre: Float[np.ndarray, " d"],
    labels: Int[np.ndarray, " k"],
    directions: Float[np.ndarray, "k d"],
    thresholds: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "n k"]:
    excess: np.ndarray = _scores(np.asarray(p.embeddings, dtype=np.float64) - centre, directions) - thresholds
    if p.labels is not None:
        excess[groups(p)[:, None] != labels] = np.finfo(np.float64).min
    return excess


def _threshold(scores: Float[np.ndarray, " m"], counts: Float[np.ndarray, " m"], share: float) -> float:
    """Halfway between the last score of the largest share and the next: the next itself where both are equal."""
    order = np.argsort(-scores, kind="stable")
    above = int((np.cumsum(counts[order]) <= share * counts.sum() * (1 + 1e-9)).sum())
    return float(scores[order[[max(above, 1) - 1, min(max(above, 1), len(scores) - 1)]]].mean())
