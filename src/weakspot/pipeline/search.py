"""Search for slices in some of the examples, and keep the others to test what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Num, Shaped
from sklearn.base import clone

from weakspot.evaluation.splitting import held_out
from weakspot.evaluation.stability import stability
from weakspot.methods import Method, apply, audit_of, memberships_of
from weakspot.methods.distributed import process_group
from weakspot.pipeline.progress import progress
from weakspot.pipeline.shares import is_sharded, share
from weakspot.predictions import Predictions
from weakspot.slices import Slices, scatter_memberships
from weakspot.tasks import Task

FEWEST = 20
"""Audited examples that each part must have for a split to be worth it."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How the slices of one run are searched and tested.

    Attributes:
        held: (n,) the examples that no slice is sought in; none where all are searched.
        confirm: What `findings.build` tests on: the held-out rows, other predictions, or nothing.
        source: What is tested on, in words.
    """

    held: Bool[np.ndarray, " n"]
    confirm: Bool[np.ndarray, " n"] | Predictions | None
    source: str


def plan(
    method: Method,
    predictions: Predictions,
    confirm: float | Predictions,
    source: str = "",
    group: str | None = None,
) -> Plan:
    """Decide what is searched and what is tested on.

    Args:
        method: It says which examples it audits.
        predictions: The audited set.
        confirm: A share of the examples to hold out; other predictions, on which slices found in the whole set are
            tested; 0 to test nothing.
        source: What the other predictions are, in words.
        group: An attribute whose values keep their examples on one side (patients, cameras, users).

    Returns:
        The plan. Where either part would have too few examples all are searched and none tested.

    Raises:
        ValueError: If the share is not in [0, 1), or there is no such attribute.
    """
    nobody = np.zeros(len(predictions), dtype=bool)
    if isinstance(confirm, Predictions):
        return Plan(nobody, confirm, source)
    held = _held(predictions.ids, predictions.attributes, confirm, group)
    if confirm == 0:
        return Plan(held, None, "")
    audited = method.audited(predictions).rows
    if min((audited & held).sum(), (audited & ~held).sum()) < FEWEST:
        return Plan(nobody, nobody, "")
    kept = "" if group is None else f", each {group} on one side"
    return Plan(
        held, held, f"{confirm:.0%} of the set, chosen by a hash of the ids{kept}".replace("%", "\u202f%")
    )


@dataclass(frozen=True, eq=False)
class Searched:
    """What a method found, and what it is to be tested on.

    Attributes:
        slices: With a weight for every example of the audited set, searched or not.
        confirm, source: As in `Plan`.
        stability: Of every slice, where it was asked for.
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
) -> Searched:
    """Fit a method on the examples that it may search, and say how all of them belong to what it found.

    Args:
        method: Any discovery method; it is fitted. A sharded one searches each process's share of the rows, and all
            processes call this alike.
        predictions: The audited set.
        confirm, source, group: As for `plan`.
        refits: How often to fit again on parts of the data, to say how stable slices are.
        seed: Of these parts.

    Returns:
        The slices: weights are as found where they were sought, and applied elsewhere.
    """
    planned = plan(method, predictions, confirm, source, group)
    processes = process_group(is_sharded(method))
    start, stop = share(planned.held, processes)
    part = predictions if processes.size == 1 else predictions.between(start, stop)
    rows = np.flatnonzero(~planned.held[start:stop])
    some = part.take(rows) if planned.held.any() else part
    with progress("starting: the first run compiles") as tell:
        method.fit(some, callback=tell)
    slices = method.slices_
    weights = slices.weights
    if planned.held.any():
        weights = scatter_memberships(slices.weights, rows, memberships_of(slices, part))
    if processes.size > 1:
        weights, rows = processes.gather(np.asarray(weights).T).T, np.flatnonzero(~planned.held)
        slices = replace(slices, ids=predictions.ids[rows], weights=weights[:, rows])
    if planned.held.any() or processes.size > 1:
        audit = audit_of(slices, predictions)
        slices = slices.carry_over(weights, audit.record, rows, audit.rows)
    stable = stability(partial(_refit, method), apply, some, refits=refits, seed=seed) if refits else None
    return Searched(slices, planned.confirm, planned.source, stable)


def _refit(method: Method, predictions: Predictions) -> Slices:
    again: Method = clone(method)
    return again.fit(predictions).slices_


def check_search(
    method: Method,
    task: Task | None,
    ids: Sequence[str] | Shaped[np.ndarray, " n"],
    attributes: pa.Table,
    confirm: float,
    group: str | None = None,
    counts: Num[np.ndarray, " n"] | None = None,
) -> None:
    """Raise the ValueError with which `plan` or the method would refuse these examples, before there are predictions.

    Args:
        method: The method, with its parameters.
        task: What the model is asked, if that is known.
        ids: (n,) ids of the audited set.
        attributes: Its n rows.
        confirm: The share to hold out; 0 where nothing is, as other predictions are tested on.
        group: An attribute whose values keep their examples on one side.
        counts: (n,) how many times each example stands for itself.
    """
    held = _held(ids, attributes, confirm, group)
    if min(held.sum(), (~held).sum()) < FEWEST:
        held[:] = False
    method.check(int((~held).sum()) if counts is None else float(counts[~held].sum()), task)
    method.check_attributes([name for name in attributes.column_names if name != "id"])


def _held(
    ids: Sequence[str] | Shaped[np.ndarray, " n"], attributes: pa.Table, confirm: float, group: str | None
) -> Bool[np.ndarray, " n"]:
    """The rows that are held out; none where the share is 0."""
    if not 0 <= confirm < 1:
        raise ValueError(
            f"confirm={confirm} must be a share of the examples below 1 (confirm=0.5), another split of the dataset "
            "(confirm=val), or 0 to test nothing"
        )
    if confirm == 0:
        return np.zeros(len(ids), dtype=bool)
    groups = None
    if group is not None:
        known = [name for name in attributes.column_names if name != "id"]
        if group not in known:
            raise ValueError(
                f"there is no attribute {group!r} to keep groups together by; there are: {', '.join(known) or 'none'}"
            )
        groups = attributes.column(group).to_pylist()
    return held_out(ids, confirm, groups)
