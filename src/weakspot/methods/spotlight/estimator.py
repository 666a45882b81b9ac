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

from weakspot.methods.base import Callback, Method, embeddings_for, parameters_of
from weakspot.methods.discriminant import ANY, graded, has_label
from weakspot.methods.distributed import World, check_alike, world_of
from weakspot.methods.order import order_of
from weakspot.methods.residuals import residuals
from weakspot.methods.spotlight.kernel import membership
from weakspot.methods.spotlight.objective import Penalty
from weakspot.methods.spotlight.optim.run import Watch
from weakspot.methods.spotlight.preprocessing import prepare
from weakspot.methods.spotlight.search.spotlight import Search
from weakspot.methods.spotlight.settings import Settings
from weakspot.methods.spotlight.within import Spotlights, separated, within_labels
from weakspot.predictions import Predictions
from weakspot.predictions.validation import check_finite
from weakspot.slices import Slices
from weakspot.slices.statistics import describe
from weakspot.tasks import Classification, Task

_WORTH_THREADS = 1 << 22
"""Matrix products over fewer values are quicker in one thread."""

_MOST_LOSS = 1e20
"""Losses beyond it, or all within its inverse, are refused: far before float64 overflows in products of them."""


class Spotlight(Method):
    """Regions of embedding space, of at least a given size, where the loss is highest (or lowest).

    Each spotlight is a kernel of compact support, w = max(0, 1 - (x - m)ᵀ P (x - m)), that maximises the mean
    loss Σ c·w·y / Σ c·w among kernels of size Σ c·w ≥ T, c being the counts. After each one the losses are
    scaled by 1 - w / max w and the next is sought.

    d'Eon, d'Eon, Wright, Leyton-Brown: The Spotlight, FAccT 2022 (arXiv:2107.00758).

    n_slices       how many spotlights, one after the other
    min_size       T: an int counts examples, a float is a share of Σ c (of one example, at the least)
    search         "multistart": many starts, exact sizes, never worse than the published run at equal size;
                   "published": that run alone, from the embedding's raw origin and in its raw units
    steps          of the published run; ascents of multistart end by themselves
    learning_rate  Adam's, cut to `factor` of itself after `patience` steps without gain
    barrier_scale  what falling short of T costs; multistart multiplies it by the range of the losses
    precision      "spherical" (P = p·I), "diagonal" or "full"
    flip           look for the lowest losses: where the model serves best
    device         "cpu", "cuda" or any torch device
    seed           of the principal components, and of the noise in "full"
    n_components   search among so many principal components
    barrier_end    width of the barrier at the end, as a share of T
    label_entropy, prediction_entropy
                   cost of each bit of entropy of the labels, or predictions, inside
    past           Slices, or weights (k, n), that these spotlights come after. Of Slices the examples are found by
                   their ids, so that they may be of more than those that are searched
    starts         how many examples of high loss multistart starts from, at most
    n_jobs         threads; -1 for one per core
    sharded        `fit` gets this process's rows only, the others of the torch.distributed group hold the
                   rest, and `slices_` covers and describes this process's rows
    labels         "within": search each label by itself, and keep the spotlights whose residuals exceed their label's
                   mean by most standard errors; others are no members. "ignore": as published
    loss           "residual": what is bounded (1 - p of the label) instead of the loss, so that no single example
                   outweighs a region. "log": as published
    members        "discriminant": examples belong by a linear discriminant of those inside the kernel against the
                   rest, graded beyond its edge. "kernel": as published

    Fitted: `slices_`; `centers_` (k, d) and `precisions_` (k,), (k, d) or (k, d, d), in the embedding's own
    units; `history_`, per spotlight the arrays objective, size and learning_rate of the run that won (of an ascent
    of multistart the size that it was made at, and step_length in RMS distances instead of a learning rate).
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
        """Raise ValueError for parameters that cannot be, and a size that `n` examples do not have."""
        settings = Settings(**self.get_params())
        settings.size(n)
        settings.earlier()

    def fit(self, p: Predictions, callback: Callback | None = None) -> Spotlight:
        """Find the spotlights of `p`, which must hold losses."""
        if not isinstance(p, Predictions):
            raise TypeError(
                f"fit takes Predictions, not {type(p).__name__}; "
                "make them with Predictions.from_arrays(embeddings, losses)"
            )
        settings = Settings(**self.get_params())
        if p.losses is None:
            raise ValueError("the Spotlight needs a loss per example; give losses, or outputs and labels")
        check_finite("losses", p.losses, p.ids)
        check_finite("embeddings", p.embeddings, p.ids)
        searched = p if settings.loss == "log" else replace(p, losses=residuals(p))
        found = (
            within_labels(self, settings, searched, callback)
            if settings.labels == "within"
            else _search(settings, searched, callback)
        )
        self.centers_, self.precisions_, self.history_ = found.centers, found.precisions, found.histories
        parameters = {"centers": found.centers, "precisions": found.precisions}
        if found.components is not None:
            parameters["components"] = found.components
        if settings.labels == "within":
            parameters["labels"] = found.labels
        weights = found.weights
        if settings.members == "discriminant":
            more = separated(p, found, settings.seed)
            parameters, weights = parameters | more, graded(p, *more.values()).T
        self.slices_ = Slices(
            method="spotlight",
            ids=p.ids,
            weights=weights,
            statistics=describe(weights, p),
            histories=found.histories,
            parameters=parameters,
            provenance={"settings": settings.plain(), "predictions": p.manifest},
        )
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Weights in [0, 1] of other predictions' examples in every spotlight."""
        slices = self._fitted()
        if "directions" in slices.parameters:
            directions, offsets, labels = parameters_of(slices, "directions", "offsets", "labels")
            embeddings_for(p.embeddings, directions.shape[1], "the spotlights")
            return graded(p, directions, offsets, labels)
        found = membership(slices, p.embeddings)
        return (
            found if "labels" not in slices.parameters else found * has_label(p, slices.parameters["labels"])
        )

    @property
    def seeks(self) -> Literal["worse", "better"]:
        """Better with `flip`."""
        return "better" if self.flip else "worse"


def _search(settings: Settings, p: Predictions, callback: Callback | None) -> Spotlights:
    """One spotlight after the other in all examples."""
    assert p.losses is not None
    world = world_of(settings.sharded)
    check_alike(p, world)
    _check_losses(p.losses, world)
    settings.check_dimensions(p.embeddings.shape[1])
    counts = np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)
    total = float(world.sum(torch.tensor(counts.sum())))
    lightest = -float(world.largest(torch.tensor(-counts.min())))
    size, past = settings.size(total, lightest), settings.earlier(p.ids)
    penalties = _penalties(settings, p)
    losses = _what_is_sought(p.losses.astype(np.float64), settings, world)
    for w in past:
        losses = _dimmed(losses, w, world)
    order = order_of(p.embeddings, p.losses, counts)  # whatever came before
    losses, counts = losses[order], counts[order]
    penalties = tuple(replace(penalty, codes=penalty.codes[order]) for penalty in penalties)

    found = []
    threads = effective_n_jobs(settings.n_jobs)
    with _at_most(threads if p.embeddings.size >= _WORTH_THREADS else 1):
        prepared = prepare(p.embeddings, settings.n_components, settings.seed, world, order)
        search = Search(settings, prepared, counts, penalties, size, total, threads, world)
        for j in range(settings.n_slices):
            watch = None if callback is None else _told(callback, j, search.steps, settings.n_slices)
            found.append(search.find(losses, watch))
            losses = _dimmed(losses, found[-1].weights, world)
    weights = np.empty((len(found), len(p)))
    weights[:, order] = [one.weights for one in found]
    return Spotlights(
        weights=weights,
        centers=np.stack([one.centre for one in found]),
        precisions=np.stack([one.precision for one in found]),
        histories=[one.history for one in found],
        labels=np.full(len(found), ANY),
        components=prepared.components,
    )


def _check_losses(losses: Float[np.ndarray, " n"], world: World) -> None:
    """Raise ValueError for losses that cannot be computed with; zeros can."""
    largest = float(world.largest(torch.tensor(np.abs(losses).max(), dtype=torch.float64)))
    if largest > _MOST_LOSS or 0 < largest < 1 / _MOST_LOSS:
        raise ValueError(
            f"losses reach {largest:.3g}, and a search computes with no more than {_MOST_LOSS:.0e} and no less than "
            f"{1 / _MOST_LOSS:.0e}; divide the losses by {largest:.3g}"
        )


def _what_is_sought(
    losses: Float[np.ndarray, " n"], settings: Settings, world: World
) -> Float[np.ndarray, " n"]:
    """Losses as multistart sees them: never negative, and turned round where the lowest are sought.

    Only then does scaling them down after a spotlight make its place less attractive.
    """
    if settings.search == "published":
        return losses
    largest, negated = world.largest(torch.tensor([losses.max(), -losses.min()])).tolist()
    sought: np.ndarray = largest - losses if settings.flip else losses + max(negated, 0.0)
    return sought


def _dimmed(
    losses: Float[np.ndarray, " n"], w: Float[np.ndarray, " n"], world: World
) -> Float[np.ndarray, " n"]:
    """The losses that a spotlight leaves: none at its brightest point; all, where it reaches none of the examples."""
    brightest = float(world.largest(torch.tensor(w.max())))
    out: np.ndarray = losses * (1 - w / brightest) if brightest > 0 else losses
    return out


def _penalties(settings: Settings, p: Predictions) -> tuple[Penalty, ...]:
    penalties = []
    for name, codes in (("label", p.labels), ("prediction", p.predictions)):
        price = getattr(settings, f"{name}_entropy")
        if price == 0:
            continue
        if codes is None or not isinstance(p.task, Classification):
            raise ValueError(f"{name}_entropy needs one class per example as its {name}; there are none here")
        penalties.append(Penalty(codes.astype(np.int64), max(len(p.classes()), int(codes.max()) + 1), price))
    return tuple(penalties)


@contextmanager
def _at_most(threads: int) -> Iterator[None]:
    """Keep BLAS, OpenMP and torch to so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(threads, before))
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def _told(callback: Callback, j: int, steps: int, n_slices: int) -> Watch:
    """A watch over all runs for slice j, whichever thread they ascend in; each slice takes at most `steps`."""
    done, lock = 0, threading.Lock()

    def watch(more: int, objective: float, size: float, learning_rate: float | None) -> None:
        nonlocal done
        with lock:
            done = min(done + more, steps)
            rate = "" if learning_rate is None else f", learning rate {learning_rate:.1e}"
            news = f"objective {objective:.4g}, size {size:.1f}{rate}"
            callback(f"spotlight {j + 1} of {n_slices}: {news}", j * steps + done, n_slices * steps)

    return watch
