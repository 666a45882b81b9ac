"""Measures whether a method finds the same slices again in other rows: a description, not a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from weakspot.hashing import id_hashes
from weakspot.predictions import Predictions

S = TypeVar("S")


def stability(
    fit: Callable[[Predictions], S],
    apply: Callable[[S, Predictions], Float[np.ndarray, "n k"]],
    predictions: Predictions,
    refits: int = 5,
    share: float = 0.8,
    seed: int = 0,
) -> list[float | None]:
    """Measure how much of each slice is found again when the method is fitted on fewer rows.

    The method is fitted on all rows, then `refits` times on a random `share` of them. On the rows that a refit did not
    see, the top rows of every slice (as many as its memberships add up to there) are compared with the top rows of the
    refit's slices by their Jaccard index |A ∩ B| / |A ∪ B|, and slices are matched one to one so that the sum of these
    indices is largest. On data with planted slices true ones come back more often than false ones; on trained models
    they do not, so this says nothing about whether a slice is real. Rows are drawn by a hash of their ids, so their
    order does not matter.

    Args:
        fit: finds slices in predictions; its result is passed to `apply`.
        apply: returns the memberships (n, k) in [0, 1] of predictions' rows in found slices.
        predictions: the rows to search.
        refits: how often to fit again.
        share: the share of the rows that each refit searches, strictly between 0 and 1.
        seed: the seed of the random choices.

    Returns:
        The mean index in [0, 1] for each slice of the fit on all rows; None if none of the rows left out was in the
        slice.

    Raises:
        ValueError: if there are no refits, or `share` leaves no row to fit or to compare.
    """
    n = len(predictions)
    searched = round(share * n)
    if refits < 1 or not 0 < searched < n:
        raise ValueError(
            f"stability needs 1 refit or more, and rows on both sides: {refits} refits on {share} of {n} rows"
        )
    reference = fit(predictions)
    indices: list[np.ndarray] = []
    for refit in range(refits):
        rows = np.argsort(id_hashes(map(str, predictions.ids), f"refit {refit}, seed {seed}"))
        refitted = fit(predictions.take(np.sort(rows[:searched])))
        rest = predictions.take(rows[searched:])  # in random order, which breaks ties
        indices.append(_matched(apply(reference, rest).T, apply(refitted, rest).T))
    result = np.stack(indices)
    return [float(np.nanmean(column)) if np.isfinite(column).any() else None for column in result.T]


def _matched(first: Float[np.ndarray, "k n"], second: Float[np.ndarray, "l n"]) -> Float[np.ndarray, " k"]:
    """Return the Jaccard index of each slice's top rows with its match's: 0 without a match, NaN without top rows."""
    sizes = [round(float(row.sum())) for row in first]
    overlap = np.zeros((len(first), len(second)))
    for j, size in enumerate(sizes):
        top = _top(first[j], size)
        for m, other in enumerate(second):
            against = _top(other, size)
            overlap[j, m] = (top & against).sum() / max(1, (top | against).sum())
    index = np.zeros(len(first))
    rows, matches = linear_sum_assignment(overlap, maximize=True)
    index[rows] = overlap[rows, matches]
    index[[size == 0 for size in sizes]] = np.nan
    return index


def _top(memberships: Float[np.ndarray, " n"], size: int) -> Bool[np.ndarray, " n"]:
    """Return the `size` rows of highest membership above 0; of equal ones, the first."""
    top = np.zeros(len(memberships), dtype=bool)
    top[np.argsort(-memberships, kind="stable")[:size]] = True
    return top & (memberships > 0)
