"""How well predicted slices match planted ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import average_precision_score, roc_auc_score

_PRECISION, _RECALL = (10, 25, 100), (50, 100, 200)
SUCCESS = 0.8


def scores(
    memberships: Float[np.ndarray, "n k"], slices: Bool[np.ndarray, "s n"], seed: int
) -> dict[str, float]:
    """Return metrics of the best predicted slice for each planted one, averaged over the planted ones.

    The best is the one with the highest precision among its first ten, then with the highest average precision.
    Equal memberships are ordered at random, so that no method profits from the order of rows.

    Args:
        memberships: The memberships of test examples; no column if nothing was found.
        slices: Which test examples are in each planted slice.
        seed: The seed of the order among equal memberships.
    """
    found = [_best(memberships, inside, seed) for inside in slices]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _best(memberships: np.ndarray, inside: np.ndarray, seed: int) -> dict[str, float]:
    order = np.random.default_rng(seed).permutation(len(inside))
    candidates = [_of_one(column[order], inside[order]) for column in memberships.T]
    if not candidates:
        candidates = [_of_one(np.zeros(len(inside)), inside[order])]
    return max(candidates, key=lambda one: (one["precision@10"], one["average precision"]))


def _of_one(membership: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    ranked = inside[np.argsort(-membership, kind="stable")]
    found = {f"precision@{k}": float(ranked[:k].mean()) for k in _PRECISION}
    found |= {f"recall@{k}": float(ranked[:k].sum() / inside.sum()) for k in _RECALL}
    found["average precision"] = float(average_precision_score(inside, membership))
    found["auroc"] = float(roc_auc_score(inside, membership)) if not inside.all() else 1.0
    found["success"] = float(found["precision@10"] > SUCCESS)
    return found
