"""The Spotlight as an estimator: arrays in, slices out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from joblib import effective_n_jobs
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from weakspot.methods.base import Callback, Method, check_predictions, embeddings_for, parameters_of
from weakspot.methods.canonical_order import canonical_order
from weakspot.methods.discriminant import ANY_LABEL, discriminant_membership, has_label
from weakspot.methods.distributed import ProcessGroup, check_same_fields, process_group
from weakspot.methods.residuals import residuals
from weakspot.methods.spotlight.beyond_published import SearchResult, fit_discriminants, search_within_labels
from weakspot.methods.spotlight.kernel import membership
from weakspot.methods.spotlight.objective import EntropyPenalty
from weakspot.methods.spotlight.optim.optimizer import OnStep
from weakspot.methods.spotlight.preprocessing import to_working_units
from weakspot.methods.spotlight.search.spotlight_search import SpotlightSearch
from weakspot.methods.spotlight.settings import SpotlightSettings
from weakspot.predictions import Predictions
from weakspot.predictions.validation import check_finite
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification, Task

_MIN_VALUES_FOR_THREADS = 1 << 22
"""Matrix products over fewer values are faster in one thread."""

_MOST_LOSS = 1e20
"""Losses above this, or all below its inverse, are rejected, long before their products overflow float64."""


class Spotlight(Method):
    """Finds regions of embedding space, of at least a given size, where the loss is highest (or lowest).

    Each spotlight is a kernel of compact support, w = max(0, 1 - (x - m)ᵀ P (x - m)), that maximises the mean
    loss Σ c·w·y / Σ c·w among kernels of size Σ c·w ≥ T, where c are the counts. After each spotlight the losses
    are scaled by 1 - w / max w, and the next one is searched for.

    d'Eon, d'Eon, Wright, Leyton-Brown: The Spotlight, FAccT 2022 (arXiv:2107.00758).

    Args:
        n_slices: The number of spotlights, found one after the other.
        min_size: T: an int counts examples, a float is a share of Σ c (at least one example).
        search: "multistart" ascends from many starts, keeps the size exact, and depends on neither the embedding's
            origin nor its unit; "published" is a single run of Adam from that origin, in that unit.
        steps: The number of steps of the published run; multistart's ascents stop on convergence.
        learning_rate: Adam's learning rate, multiplied by `factor` after `patience` steps without improvement.
        patience: See `learning_rate`.
        barrier_scale: The cost of falling short of T; multistart multiplies it by the range of the losses.
        precision: "spherical" (P = p·I), "diagonal" or "full".
        flip: Whether to search for the lowest losses instead, where the model does best.
        device: "cpu", "cuda" or any torch device.
        seed: The seed of the principal components, and of the noise in "full".
        n_components: The number of principal components to search in; None for the embedding itself.
        barrier_end: The width of the barrier at the end, as a share of T.
        factor: See `learning_rate`.
        label_entropy: The cost of each bit of entropy of the labels inside.
        prediction_entropy: The cost of each bit of entropy of the predictions inside.
        past: Earlier Slices, or weights (k, n), by which the losses are scaled down before the search. The examples of
            Slices are matched by id, so they may be more than those that are searched.
        starts: The largest number of examples of high loss that multistart starts from.
        n_jobs: The number of threads; -1 for one per core.
        sharded: Whether `fit` gets this process's rows only and the others of the torch.distributed group hold the
            rest; `slices_` then covers and describes this process's rows.
        labels: "within": search each label separately, and keep the spotlights whose residuals exceed their label's
            mean by the most standard errors; examples of other labels are not members. "ignore": as published.
        loss: "residual": the bounded 1 - p of the label instead of the loss, so that no single example outweighs a
            region. "log": as published.
        members: "discriminant": membership is given by a linear discriminant of the examples inside the kernel against
            the rest, graded beyond its edge. "kernel": as published.

    Attributes:
        slices_: The spotlights.
        centers_: (k, d) in the embedding's own units.
        precisions_: (k,), (k, d) or (k, d, d) in the embedding's own units.
        history_: For each spotlight the arrays objective, size and learning_rate of the best run. An ascent of
            multistart has the size that it was run at, and step_length (in RMS distances) instead of a learning rate.
    """

    word = "spotlight"
    noun = "Spotlight"
    size_parameter = "min_size"

    def __init__(
        self,
        n_slices: int = 5,
        min_size: float = 0.02,
        search: str = "multistart",
        steps: int = 5000,
        learning_rate: float = 1e-2,
        patience: int = 10,
        barrier_scale: float = 1.0,
        precision: str = "spherical",
        flip: bool = False,
        device: str = "cpu",
        seed: int = 0,
        *,
        n_components: int | None = None,
        barrier_end: float = 0.05,
        factor: float = 0.5,
        label_entropy: float = 0.0,
        prediction_entropy: float = 0.0,
        past: Any = None,
        starts: int = 10,
        n_jobs: int = 1,
        sharded: bool = False,
        labels: str = "ignore",
        loss: str = "log",
        members: str = "kernel",
    ) -> None:
        self.n_slices = n_slices
        self.min_size = min_size
        self.search = search
        self.steps = steps
        self.learning_rate = learning_rate
        self.patience = patience
        self.barrier_scale = barrier_scale
        self.precision = precision
        self.flip = flip
        self.device = device
        self.seed = seed
        self.n_components = n_components
        self.barrier_end = barrier_end
        self.factor = factor
        self.label_entropy = label_entropy
        self.prediction_entropy = prediction_entropy
        self.past = past
        self.starts = starts
        self.n_jobs = n_jobs
        self.sharded = sharded
        self.labels = labels
        self.loss = loss
        self.members = members

    def check(self, n: float, task: Task | None) -> None:
        """Raise ValueError for invalid settings, and for a minimum size that `n` examples do not reach."""
        settings = SpotlightSettings(**self.get_params())
        settings.size(n)
        settings.past_weights()

    def fit(self, p: Predictions, callback: Callback | None = None) -> Spotlight:
        """Find the spotlights of `p`, which must hold losses."""
        check_predictions(p)
        settings = SpotlightSettings(**self.get_params())
        if p.losses is None:
            raise ValueError("the Spotlight needs a loss per example; give losses, or outputs and labels")
        check_finite("losses", p.losses, p.ids)
        check_finite("embeddings", p.embeddings, p.ids)
        searched = p if settings.loss == "log" else replace(p, losses=residuals(p))
        result = (
            search_within_labels(self, settings, searched, callback)
            if settings.labels == "within"
            else _search_all(settings, searched, callback)
        )
        self.centers_, self.precisions_, self.history_ = result.centers, result.precisions, result.histories
        parameters = {"centers": result.centers, "precisions": result.precisions}
        if result.components is not None:
            parameters["components"] = result.components
        if settings.labels == "within":
            parameters["labels"] = result.labels
        weights = result.weights
        if settings.members == "discriminant":
            more = fit_discriminants(p, result, settings.seed)
            parameters, weights = parameters | more, discriminant_membership(p, *more.values()).T
        self.slices_ = Slices(
            method="spotlight",
            ids=p.ids,
            weights=weights,
            statistics=describe(weights, p),
            histories=result.histories,
            parameters=parameters,
            provenance={"settings": settings.as_json(), "predictions": p.provenance},
        )
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the weights (n, k), in [0, 1], of other predictions' examples in every spotlight."""
        slices = self._fitted(p)
        if "directions" in slices.parameters:
            directions, offsets, labels = parameters_of(slices, "directions", "offsets", "labels")
            embeddings_for(p.embeddings, directions.shape[1], "the spotlights")
            return discriminant_membership(p, directions, offsets, labels)
        w = membership(slices, p.embeddings)
        return w if "labels" not in slices.parameters else w * has_label(p, slices.parameters["labels"])

    @property
    def seeks(self) -> Literal["worse", "better"]:
        """Return "better" with `flip`, else "worse"."""
        return "better" if self.flip else "worse"


def _search_all(settings: SpotlightSettings, p: Predictions, callback: Callback | None) -> SearchResult:
    """Find the spotlights one after another, among all examples."""
    assert p.losses is not None
    processes = process_group(settings.sharded)
    check_same_fields(p, processes)
    _check_losses(p.losses, processes)
    settings.check_dimensions(p.embeddings.shape[1])
    counts = p.row_counts
    total = float(processes.sum(torch.tensor(counts.sum())))
    smallest_count = -float(processes.max(torch.tensor(-counts.min())))
    size, past = settings.size(total, smallest_count), settings.past_weights(p.ids)
    penalties = _penalties(settings, p)
    losses = _losses_to_maximize(p.losses.astype(np.float64), settings, processes)
    for w in past:
        losses = _scale_down(losses, w, processes)
    order = canonical_order(p.embeddings, p.losses, counts)  # independent of the input order
    losses, counts = losses[order], counts[order]
    penalties = tuple(replace(penalty, codes=penalty.codes[order]) for penalty in penalties)

    spotlights = []
    threads = effective_n_jobs(settings.n_jobs)
    with _limit_threads(threads if p.embeddings.size >= _MIN_VALUES_FOR_THREADS else 1):
        working = to_working_units(p.embeddings, settings.n_components, settings.seed, processes, order)
        search = SpotlightSearch(settings, working, counts, penalties, size, total, threads, processes)
        for j in range(settings.n_slices):
            on_step = (
                None if callback is None else _progress_callback(callback, j, search.steps, settings.n_slices)
            )
            spotlights.append(search.find(losses, on_step))
            losses = _scale_down(losses, spotlights[-1].weights, processes)
    weights = np.empty((len(spotlights), len(p)))
    weights[:, order] = [one.weights for one in spotlights]
    return SearchResult(
        weights=weights,
        centers=np.stack([one.centre for one in spotlights]),
        precisions=np.stack([one.precision for one in spotlights]),
        histories=[one.history for one in spotlights],
        labels=np.full(len(spotlights), ANY_LABEL),
        components=working.components,
    )


def _check_losses(losses: Float[np.ndarray, " n"], processes: ProcessGroup) -> None:
    """Raise ValueError for losses too large or too small to compute with; all zeros are allowed."""
    largest = float(processes.max(torch.tensor(np.abs(losses).max(), dtype=torch.float64)))
    if largest > _MOST_LOSS or 0 < largest < 1 / _MOST_LOSS:
        raise ValueError(
            f"the largest loss is {largest:.3g}, but a search needs one of at most {_MOST_LOSS:.0e} and at least "
            f"{1 / _MOST_LOSS:.0e}; divide the losses by {largest:.3g}"
        )


def _losses_to_maximize(
    losses: Float[np.ndarray, " n"], settings: SpotlightSettings, processes: ProcessGroup
) -> Float[np.ndarray, " n"]:
    """Return the losses that multistart maximises: not negative, and with `flip` subtracted from the largest.

    Otherwise, scaling them down after a spotlight would not make its region less attractive.
    """
    if settings.search == "published":
        return losses
    largest, negated = processes.max(torch.tensor([losses.max(), -losses.min()])).tolist()
    maximized: np.ndarray = largest - losses if settings.flip else losses + max(negated, 0.0)
    return maximized


def _scale_down(
    losses: Float[np.ndarray, " n"], w: Float[np.ndarray, " n"], processes: ProcessGroup
) -> Float[np.ndarray, " n"]:
    """Scale losses down by a spotlight: to 0 where its weight is highest; not at all if it reaches no example."""
    highest = float(processes.max(torch.tensor(w.max())))
    out: np.ndarray = losses * (1 - w / highest) if highest > 0 else losses
    return out


def _penalties(settings: SpotlightSettings, p: Predictions) -> tuple[EntropyPenalty, ...]:
    """Return the entropy penalties that the settings ask for."""
    penalties = []
    for name, codes in (("label", p.labels), ("prediction", p.predictions)):
        price = getattr(settings, f"{name}_entropy")
        if price == 0:
            continue
        if codes is None or not isinstance(p.task, Classification):
            raise ValueError(f"{name}_entropy needs one class per example as its {name}; there are none here")
        penalties.append(
            EntropyPenalty(codes.astype(np.int64), max(len(p.classes()), int(codes.max()) + 1), price)
        )
    return tuple(penalties)


@contextmanager
def _limit_threads(threads: int) -> Iterator[None]:
    """Limit BLAS, OpenMP and torch to this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(threads, before))
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def _progress_callback(callback: Callback, j: int, steps: int, n_slices: int) -> OnStep:
    """Return a thread-safe callback for all runs of slice j; each slice takes at most `steps` steps."""
    done, lock = 0, threading.Lock()

    def on_step(more: int, objective: float, size: float, learning_rate: float | None) -> None:
        nonlocal done
        with lock:
            done = min(done + more, steps)
            rate = "" if learning_rate is None else f", learning rate {learning_rate:.1e}"
            state = f"objective {objective:.4g}, size {size:.1f}{rate}"
            callback(f"spotlight {j + 1} of {n_slices}: {state}", j * steps + done, n_slices * steps)

    return on_step
