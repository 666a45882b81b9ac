"""The examples that a method searches, in canonical order, and the slices that it finds among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import Method, check_predictions
from weakspot.methods.canonical_order import canonical_order
from weakspot.methods.distributed import SINGLE_PROCESS, ProcessGroup
from weakspot.methods.residuals import label_codes, residuals
from weakspot.predictions import Predictions
from weakspot.predictions.validation import check_finite
from weakspot.slices import Slices
from weakspot.slices.statistics import describe

_ROUNDING = 1e-9  # relative: means that differ by no more count as equal


@dataclass(frozen=True, eq=False)
class OrderedExamples:
    """Examples in `canonical_order`, so that sums and random draws do not depend on their original order.

    Attributes:
        record: The predictions, in that order.
        order: (n,) the position of each in the original predictions.
        x: (n, d) their embeddings.
        counts: (n,) how often each counts; ones if the predictions hold no counts.
        labels: (n,) their labels; zeros if labels are not classes.
        losses: (n,) their losses, or else their residuals (`losses_of`).
    """

    record: Predictions
    order: Int[np.ndarray, " n"]
    x: Float[np.ndarray, "n d"]
    counts: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    losses: Float[np.ndarray, " n"]

    @classmethod
    def of(cls, p: Predictions) -> OrderedExamples:
        """Order the examples of `p`.

        Raises:
            ValueError: If an embedding is not finite.
        """
        check_predictions(p)
        check_finite("embeddings", p.embeddings, p.ids)
        counts, losses = p.row_counts, losses_of(p)
        order = canonical_order(p.embeddings, losses, counts)
        record = p.take(order)
        x = np.asarray(record.embeddings, dtype=np.float64)
        return cls(record, order, x, counts[order], label_codes(record), losses[order])

    def rows_by_label(self) -> list[Int[np.ndarray, " m"]]:
        """Return the rows of each label."""
        return [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]

    def slices(
        self,
        method: Method,
        p: Predictions,
        memberships: Float[np.ndarray, "n k"] | Bool[np.ndarray, "n k"],
        parameters: Mapping[str, np.ndarray],
    ) -> Slices:
        """Return the slices of `p` that a method found among these examples.

        Args:
            method: The method, whose settings are recorded.
            p: The predictions in their original order.
            memberships: (n, k) of these examples, in canonical order.
            parameters: What is needed to apply the slices to other examples.
        """
        weights = np.empty(memberships.T.shape)
        weights[:, self.order] = memberships.T
        return build_slices(method, p, weights, parameters)


def build_slices(
    method: Method, p: Predictions, weights: Float[np.ndarray, "k n"], parameters: Mapping[str, np.ndarray]
) -> Slices:
    """Return slices with these weights (k, n) and parameters, described by the predictions they were found in."""
    return Slices(
        method=method.word,
        ids=p.ids,
        weights=weights,
        statistics=describe(weights, p),
        parameters=parameters,
        provenance={"settings": method.get_params(), "predictions": p.provenance},
    )


def losses_of(p: Predictions, processes: ProcessGroup = SINGLE_PROCESS) -> Float[np.ndarray, " n"]:
    """Return the losses (n,), or the residuals if the predictions hold no losses."""
    return residuals(p, processes) if p.losses is None else p.losses.astype(np.float64)


def worst_groups(
    examples: OrderedExamples,
    sizes: Float[np.ndarray, " g"],
    losses: Float[np.ndarray, " g"],
    n_slices: int,
    min_size: float,
) -> Int[np.ndarray, " k"]:
    """Choose the groups with the highest mean loss, among those that do worse than all examples together.

    Args:
        examples: The examples that were split into groups.
        sizes: (g,) of the groups, in examples.
        losses: (g,) the sum of the losses in each group.
        n_slices: The largest number of groups to choose.
        min_size: The fewest examples in a group.

    Returns:
        (k,) the groups, worst first.
    """
    mean = losses / np.maximum(sizes, 1e-300)
    overall = np.average(examples.losses, weights=examples.counts)
    above = mean - overall > _ROUNDING * np.abs(examples.losses).max()
    large = sizes >= min_size * (1 - _ROUNDING)
    ranked = np.argsort(-mean, kind="stable")
    return np.asarray(ranked[(above & large)[ranked]][:n_slices])
