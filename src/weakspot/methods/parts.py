"""What methods that split examples into parts share: an order of examples, the worst parts, and slices of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import Method
from weakspot.methods.distributed import ALONE, World
from weakspot.methods.order import order_of
from weakspot.methods.residuals import groups, residuals
from weakspot.predictions import Predictions
from weakspot.predictions.validation import check_finite
from weakspot.slices import Slices
from weakspot.slices.statistics import describe

_ROUNDING = 1e-9  # relative: a mean no further above another is as high


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples in an order of their own (`order_of`), on which no sum and no draw can differ.

    Attributes:
        record: The predictions, in that order.
        order: Where each stands in the predictions as they came.
        x: Their embeddings.
        counts: How often each counts; ones where the predictions do not say.
        codes: Their labels; zeros where labels are no classes.
        bad: Their losses, or what stands for them.
    """

    record: Predictions
    order: Int[np.ndarray, " n"]
    x: Float[np.ndarray, "n d"]
    counts: Float[np.ndarray, " n"]
    codes: Int[np.ndarray, " n"]
    bad: Float[np.ndarray, " n"]

    @classmethod
    def of(cls, p: Predictions) -> Examples:
        check_finite("embeddings", p.embeddings, p.ids)
        counts, bad = counts_of(p), losses_of(p)
        order = order_of(p.embeddings, bad, counts)
        record = p.take(order)
        x = np.asarray(record.embeddings, dtype=np.float64)
        return cls(record, order, x, counts[order], groups(record), bad[order])

    def parts(self) -> list[Int[np.ndarray, " m"]]:
        """The rows of each label."""
        return [np.flatnonzero(self.codes == code) for code in np.unique(self.codes)]

    def slices(
        self,
        method: Method,
        p: Predictions,
        memberships: Float[np.ndarray, "n k"] | Bool[np.ndarray, "n k"],
        parameters: Mapping[str, np.ndarray],
    ) -> Slices:
        """The slices of `p` that a method found among these examples.

        Args:
            method: The method, whose settings are told.
            p: The predictions as they came.
            memberships: Of these examples, in their order.
            parameters: By which the slices are applied to others.
        """
        weights = np.empty(memberships.T.shape)
        weights[:, self.order] = memberships.T
        return slices_of(method, p, weights, parameters)


def slices_of(
    method: Method, p: Predictions, weights: Float[np.ndarray, "k n"], parameters: Mapping[str, np.ndarray]
) -> Slices:
    """The slices of `p` that a method found: memberships by slice, and what others are judged by."""
    return Slices(
        method=method.word,
        ids=p.ids,
        weights=weights,
        statistics=describe(weights, p),
        parameters=parameters,
        provenance={"settings": method.get_params(), "predictions": p.manifest},
    )


def counts_of(p: Predictions) -> Float[np.ndarray, " n"]:
    return np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)


def losses_of(p: Predictions, world: World = ALONE) -> Float[np.ndarray, " n"]:
    """Losses, or what stands for them where the predictions hold none."""
    return residuals(p, world) if p.losses is None else p.losses.astype(np.float64)


def worst(
    examples: Examples,
    sizes: Float[np.ndarray, " g"],
    losses: Float[np.ndarray, " g"],
    n_slices: int,
    min_size: float,
) -> Int[np.ndarray, " k"]:
    """The parts of the highest mean loss, worst first: at most `n_slices` of `min_size`, all above the mean of all.

    Args:
        examples: That were split.
        sizes: Of the parts, in examples.
        losses: The sum over the examples of each part.
        n_slices: At most.
        min_size: In examples.
    """
    mean = losses / np.maximum(sizes, 1e-300)
    overall = np.average(examples.bad, weights=examples.counts)
    above = mean - overall > _ROUNDING * np.abs(examples.bad).max()
    large = sizes >= min_size * (1 - _ROUNDING)
    ranked = np.argsort(-mean, kind="stable")
    return np.asarray(ranked[(above & large)[ranked]][:n_slices])


def k_means(
    x: Float[np.ndarray, "n d"], counts: Float[np.ndarray, " n"], n_clusters: int, n_init: int, seed: int
) -> Any:
    """scikit-learn's KMeans, fitted; where fewer places than clusters are told apart, some clusters stay empty."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = KMeans(min(n_clusters, len(x)), n_init=n_init, random_state=seed)
        return model.fit(x, sample_weight=counts)


def check_at_least(method: Method, **least: float) -> None:
    """Raise ValueError for the first of a method's settings that is below what is asked of it, or no whole number.

    Whole are those that the constructor declares as `int`.
    """
    declared = signature(type(method)).parameters
    for name, limit in least.items():
        value = getattr(method, name)
        whole = declared[name].annotation == "int"
        number = isinstance(value, int | np.integer) if whole else isinstance(value, int | float | np.number)
        if not number or isinstance(value, bool) or not limit <= value < np.inf:
            kind = "a whole number of " if whole else ""
            raise ValueError(f"{name}={value!r} must be {kind}at least {limit:g}")


def check_share(share: float) -> None:
    """Raise ValueError unless a share leaves examples on both sides."""
    if not 0 < share < 1:
        raise ValueError(f"share={share} must lie between 0 and 1")


def check_parts(method: Method, name: str, n: float) -> None:
    """Raise ValueError where a method is to make more parts than there are examples."""
    if getattr(method, name) > n:
        raise ValueError(f"{name}={getattr(method, name)} is more than there are examples ({n:.10g})")
