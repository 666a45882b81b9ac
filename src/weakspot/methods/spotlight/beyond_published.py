"""Extensions of the published Spotlight: a search within each label, and membership beyond the kernel's edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import clone

from weakspot.methods.base import Callback
from weakspot.methods.discriminant import ANY_LABEL, fit_discriminant
from weakspot.methods.principal_components import fit_principal_components
from weakspot.methods.residuals import label_codes, residuals
from weakspot.methods.spotlight.settings import SpotlightSettings
from weakspot.predictions import Predictions

if TYPE_CHECKING:
    from weakspot.methods.spotlight.estimator import Spotlight

_COMPONENTS = 32  # principal components in which the discriminant is fitted
_CERTAIN = 40.0  # log odds of a membership that is certain
_AS_PUBLISHED = {"labels": "ignore", "loss": "log", "members": "kernel"}


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Holds all spotlights of a search.

    Attributes:
        weights: (k, n) the kernel weights, in the order of the predictions.
        centers: (k, D) in the embedding's own units.
        precisions: (k,), (k, d) or (k, d, d) in the embedding's own units.
        histories: The history of each run.
        labels: (k,) the label that each is restricted to; `ANY_LABEL` if it is not.
        components: (r, D) the principal components that they lie in, if any.
    """

    weights: Float[np.ndarray, "k n"]
    centers: Float[np.ndarray, "k D"]
    precisions: Float[np.ndarray, " k *shape"]
    histories: list[dict[str, np.ndarray]]
    labels: Int[np.ndarray, " k"]
    components: Float[np.ndarray, "r D"] | None = None


def search_within_labels(
    method: Spotlight, settings: SpotlightSettings, p: Predictions, callback: Callback | None
) -> SearchResult:
    """Search each label separately; keep the spotlights that are worse than their label by the most standard errors.

    Args:
        method: The method as constructed; each label gets a copy.
        settings: Its checked settings.
        p: The predictions, with the losses to search. The minimum size is computed from all examples.
        callback: Called with the progress.

    Raises:
        ValueError: If there are no labels, or no label has twice as many examples as a spotlight.
    """
    if p.labels is None:
        raise ValueError("labels='within' needs labels, and these predictions hold none; use labels='ignore'")
    counts, codes, errors = p.row_counts, label_codes(p), residuals(p)
    size, past = settings.size(counts.sum(), counts.min()), settings.past_weights(p.ids)
    parts = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    parts = [rows for rows in parts if 2 * size <= counts[rows].sum()]
    if not parts:
        raise ValueError(
            f"no label has twice the {size:g} examples of a spotlight, as labels='within' needs; "
            "give a smaller min_size"
        )
    weights, found, scores = [], [], []
    for i, rows in enumerate(parts):
        c = counts[rows]
        inner = clone(method).set_params(
            **_AS_PUBLISHED,
            min_size=float(size / c.sum()),
            past=past[:, rows][past[:, rows].any(axis=1)] if len(past) else None,
        )
        inner.fit(p.take(rows), _progress_of_label(callback, i, len(parts)))
        deviations = errors[rows] - np.average(errors[rows], weights=c)
        spread = np.sqrt(np.average(deviations**2, weights=c)) or 1.0
        for j, w in enumerate(inner.slices_.weights):
            z = (c * w) @ deviations / spread / np.sqrt((c * w**2).sum())
            scores.append(-z if settings.flip else z)
            found.append((inner, j, codes[rows[0]]))
            weights.append(np.zeros(len(p)))
            weights[-1][rows] = w
    best = np.argsort(-np.array(scores), kind="stable")[: settings.n_slices]
    kept = [found[k] for k in best]
    return SearchResult(
        weights=np.stack([weights[k] for k in best]),
        centers=np.stack([inner.centers_[j] for inner, j, _ in kept]),
        precisions=np.stack([inner.precisions_[j] for inner, j, _ in kept]),
        histories=[inner.history_[j] for inner, j, _ in kept],
        labels=np.array([code for _, _, code in kept]),
    )


def fit_discriminants(p: Predictions, found: SearchResult, seed: int) -> dict[str, np.ndarray]:
    """Fit a discriminant of each spotlight's members against the other examples.

    If the spotlight is restricted to a label, only examples of that label are used. Members are all examples with a
    positive kernel weight; the discriminant is fitted in 32 principal components, because in hundreds of dimensions it
    would fit noise.

    Args:
        p: The predictions that were searched.
        found: Their spotlights.
        seed: The seed of the principal components.

    Returns:
        The parameters directions (k, d), offsets (k,) and labels (k,), as `discriminant_membership` takes them.
    """
    counts, codes = p.row_counts, label_codes(p)
    reduction = fit_principal_components(p.embeddings, counts, _COMPONENTS, seed)
    x = reduction.transform(p.embeddings)
    scores = []
    for w, label in zip(found.weights, found.labels, strict=True):
        rows = np.flatnonzero((codes == label) | (label == ANY_LABEL))
        members = w[rows] > 0
        if members.all() or not members.any():  # There is nothing to separate: all belong, or none.
            scores.append((np.zeros(p.embeddings.shape[1]), _CERTAIN if members.all() else -_CERTAIN))
            continue
        scores.append(reduction.score_of_embeddings(*fit_discriminant(x[rows], members, counts[rows])))
    return {
        "directions": np.array([direction for direction, _ in scores]),
        "offsets": np.array([offset for _, offset in scores]),
        "labels": found.labels,
    }


def _progress_of_label(callback: Callback | None, part: int, parts: int) -> Callback | None:
    """Convert progress within one label into progress over all labels."""
    if callback is None:
        return None
    return lambda stage, done, total: callback(
        f"label {part + 1} of {parts}: {stage}", part * total + done, parts * total
    )
