"""Searches some of the examples for slices, and holds out the others to test what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Num, Shaped
from sklearn.base import clone

from weakspot.evaluation.held_out_split import MIN_EXAMPLES, held_out
from weakspot.evaluation.stability import stability
from weakspot.methods import Method, apply, audit_of, weights_of
from weakspot.methods.distributed import process_group
from weakspot.pipeline.progress import progress
from weakspot.pipeline.sharded_search import is_sharded, shard_bounds
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import check_attributes
from weakspot.slices import Slices, scatter_memberships
from weakspot.tasks import Task


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """Which examples one run searches, and which it tests on.

    Attributes:
        held_out: (n,) the examples that are not searched; none if all are searched.
        confirm: What `findings.build` tests on: the held-out rows, other predictions, or nothing.
        source: A description of what is tested on.
    """

    held_out: Bool[np.ndarray, " n"]
    confirm: Bool[np.ndarray, " n"] | Predictions | None
    source: str


def plan_search(
    method: Method,
    predictions: Predictions,
    confirm: float | Predictions,
    source: str = "",
    group: str | None = None,
) -> SearchPlan:
    """Decide which examples are searched and which are tested on.

    Args:
        method: The method, which decides which examples it audits.
        predictions: The audited set.
        confirm: A share of the examples to hold out; other predictions, on which slices found in the whole set are
            tested; 0 to test nothing.
        source: A description of the other predictions.
        group: An attribute (patient, camera, user); examples with the same value stay on one side.

    Returns:
        The plan. If either part would have too few examples, or slices of this method cannot be tested, all examples
        are searched and none are tested.

    Raises:
        ValueError: If the share is not in [0, 1), or there is no such attribute.
    """
    if not method.testable:
        confirm = 0.0
    none_held_out = np.zeros(len(predictions), dtype=bool)
    if isinstance(confirm, Predictions):
        return SearchPlan(none_held_out, confirm, source)
    held_out = _held_out_rows(predictions.ids, predictions.attributes, confirm, group)
    if confirm == 0:
        return SearchPlan(held_out, None, "")
    audited = method.audited(predictions).rows
    if min((audited & held_out).sum(), (audited & ~held_out).sum()) < MIN_EXAMPLES:
        return SearchPlan(none_held_out, none_held_out, "")
    kept = "" if group is None else f", each {group} on one side"
    return SearchPlan(
        held_out,
        held_out,
        f"{held_out.mean():.0%} of the set, chosen by a hash of the ids{kept}".replace("%", "\u202f%"),
    )


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The slices that a method found, and what to test them on.

    Attributes:
        slices: The slices, with a weight for every example of the audited set, searched or not.
        confirm: What is tested on, as in `SearchPlan`.
        source: A description of what is tested on.
        stability: The stability of every slice, if it was requested.
    """

    slices: Slices
    confirm: Bool[np.ndarray, " n"] | Predictions | None
    source: str
    stability: list[float | None] | None


def search(
    method: Method,
    predictions: Predictions,
    confirm: float | Predictions = 0.5,
    source: str = "",
    group: str | None = None,
    refits: int = 0,
    seed: int = 0,
) -> SearchResult:
    """Fit a method on the examples that it may search, and apply the slices that it found to all examples.

    Args:
        method: The discovery method, which is fitted. A sharded one searches each process's rows, so all processes
            must call this.
        predictions: The audited set.
        confirm: As for `plan_search`.
        source: As for `plan_search`.
        group: As for `plan_search`; the slices' provenance records it, and their test respects it.
        refits: How often to fit again on parts of the data, to measure how stable slices are.
        seed: The seed of these parts.

    Returns:
        The slices: the weights of searched examples come from the fit, those of all others from applying the slices.
    """
    search_plan = plan_search(method, predictions, confirm, source, group)
    processes = process_group(is_sharded(method))
    start, stop = shard_bounds(search_plan.held_out, processes)
    part = predictions if processes.size == 1 else predictions.between(start, stop)
    rows = np.flatnonzero(~search_plan.held_out[start:stop])
    searched_part = part.take(rows) if search_plan.held_out.any() else part
    with progress("starting: the first run compiles") as report_progress:
        method.fit(searched_part, callback=report_progress)
    slices = method.slices_
    if group is not None:  # those who test the slices must know which examples belong together
        slices = replace(slices, provenance={**slices.provenance, "group": group})
    weights = slices.weights
    if search_plan.held_out.any():
        weights = scatter_memberships(slices.weights, rows, weights_of(slices, part))
    if processes.size > 1:
        weights, rows = processes.gather(np.asarray(weights).T).T, np.flatnonzero(~search_plan.held_out)
        slices = replace(slices, ids=predictions.ids[rows], weights=weights[:, rows])
    if search_plan.held_out.any() or processes.size > 1:
        audit = audit_of(slices, predictions)
        slices = slices.carry_over(weights, audit.record, rows, audit.rows)
    stability_of_slices = _measure_stability(method, searched_part, refits, seed) if refits else None
    return SearchResult(slices, search_plan.confirm, search_plan.source, stability_of_slices)


def _measure_stability(
    method: Method, predictions: Predictions, refits: int, seed: int
) -> list[float | None]:
    """Return the stability of every slice: the method is fitted again, on all examples and on parts of them."""
    fits = count()
    with progress("fitting again, for the stability") as report_progress:

        def fit_again(part: Predictions) -> Slices:
            report_progress("fitting again, for the stability", next(fits), refits + 1)
            again: Method = clone(method)
            return again.fit(part).slices_

        return stability(fit_again, apply, predictions, refits=refits, seed=seed)


def check_search(
    method: Method,
    task: Task | None,
    ids: Sequence[str] | Shaped[np.ndarray, " n"],
    attributes: pa.Table,
    confirm: float,
    group: str | None = None,
    counts: Num[np.ndarray, " n"] | None = None,
) -> None:
    """Raise the ValueError that `plan_search` or the method would raise for these examples, before there are
    predictions.

    Args:
        method: The method, with its parameters.
        task: The model's task, if it is known.
        ids: (n,) ids of the audited set.
        attributes: Its n rows of attributes.
        confirm: The share to hold out; 0 if nothing is held out, because other predictions are tested on.
        group: An attribute; examples with the same value stay on one side.
        counts: (n,) how many times each example counts.
    """
    share = confirm if method.testable else 0.0
    held_out = _held_out_rows(ids, attributes, share, group)
    if share and min(share, 1 - share) * len(ids) < MIN_EXAMPLES <= len(ids) / 2:
        raise ValueError(
            f"confirm={confirm} holds out {share * len(ids):.0f} of {len(ids)} examples, but {MIN_EXAMPLES} are "
            "needed both to search and to test on: give a share nearer to 0.5, or 0 to test nothing"
        )
    if min(held_out.sum(), (~held_out).sum()) < MIN_EXAMPLES:
        held_out[:] = False
    method.check(int((~held_out).sum()) if counts is None else float(counts[~held_out].sum()), task)
    method.check_attributes([name for name in attributes.column_names if name != "id"])


def _held_out_rows(
    ids: Sequence[str] | Shaped[np.ndarray, " n"], attributes: pa.Table, confirm: float, group: str | None
) -> Bool[np.ndarray, " n"]:
    """Return (n,) the rows that are held out; none if the share is 0."""
    if not 0 <= confirm < 1:
        raise ValueError(
            f"confirm={confirm} must be a share of the examples below 1 (confirm=0.5), another split of the dataset "
            "(confirm=val), or 0 to test nothing"
        )
    if group is not None:  # check the name even when nothing is held out
        known = [name for name in attributes.column_names if name != "id"]
        check_attributes(f"dataset.group={group}", [group], known)
    if confirm == 0:
        return np.zeros(len(ids), dtype=bool)
    return held_out(ids, confirm, None if group is None else attributes.column(group).to_pylist())
