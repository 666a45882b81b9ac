"""The Spotlight as an estimator: arrays in, slices out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator

from weakspot.methods.spotlight import search
from weakspot.methods.spotlight.kernel import distances, membership, precision_of_size, weights
from weakspot.methods.spotlight.problem import Plan, Problem, Run, Watch
from weakspot.predictions import Predictions
from weakspot.slices import Slices
from weakspot.slices.statistics import describe

Callback = Callable[[int, int, float, float, float], None]
"""Called now and then with (slice number from 1, step, objective, size, learning rate)."""

_ROWS = 8192


class Spotlight(BaseEstimator):
    """Regions of embedding space, of at least a given size, where the loss is highest (or lowest).

    Each spotlight is a kernel of compact support, w = max(0, 1 - p·‖x - m‖²), that maximises the weighted mean
    loss Σ c·w·y / Σ c·w among kernels of size Σ c·w ≥ T. After each one the losses inside are scaled down
    by 1 - w / max w and the next is sought.

    d'Eon, d'Eon, Wright, Leyton-Brown: The Spotlight, FAccT 2022 (arXiv:2107.00758).

    n_slices       how many spotlights, one after the other
    min_size       T: an int counts examples, a float is a share of Σ counts
    search         "multistart": many starts, all sizes exact, never worse than the published run at equal size;
                   "published": the published run alone, in the embedding's raw units, from their origin
    steps          of the published run (the climbs of multistart take `search.CLIMB_STEPS`)
    learning_rate  of Adam at the start; cut to `factor` of it after `patience` steps without gain
    barrier_scale  what falling short of T costs; in multistart it is multiplied by the range of the losses
    barrier_end    width of the barrier at the end, as a share of T
    flip           look for the lowest losses: where the model serves best
    starts         how many candidates multistart climbs from
    device         "cpu", "cuda" or any torch device
    past           earlier Slices, or weights (k, n), that these spotlights come after

    Fitted: `slices_`, `centers_` (k, d) and `precisions_` (k,) in the embedding's own units, `history_` (per
    spotlight: objective, size, learning_rate by step).
    """

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
        barrier_end: float = 0.05,
        factor: float = 0.5,
        starts: int = 8,
        past: Any = None,
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
        self.barrier_end = barrier_end
        self.factor = factor
        self.starts = starts
        self.past = past

    def fit(self, p: Predictions, callback: Callback | None = None) -> Spotlight:
        """Find the spotlights of `p`, which must hold losses."""
        self._check()
        if p.losses is None:
            raise ValueError(
                "the Spotlight needs a loss per example; these predictions hold none (give losses, or outputs and labels)"
            )
        counts = np.ones(len(p)) if p.counts is None else p.counts.astype(np.float64)
        size = self._size(float(counts.sum()))
        mean, unit = _mean_and_spread(p.embeddings)
        if unit == 0:
            raise ValueError(f"all {len(p)} embeddings are equal: there are no regions to tell apart")
        x = _working_copy(p.embeddings, mean, unit)

        y = p.losses.astype(np.float64)
        published = self.search == "published"
        if not published:
            y = y.max() - y if self.flip else y - min(y.min(), 0.0)
        for w in _past_weights(self.past, len(p)):
            y = _dim(y, w)
        clusters = None if published else search.cluster_centres(x, self.seed)

        centers, precisions, histories, found = [], [], [], []
        for j in range(self.n_slices):
            watch = None if callback is None else _numbered(callback, j + 1)
            run = self._seek(x, y, counts, size, mean, unit, clusters, watch)
            assert run.centre is not None
            centre = mean + unit * run.centre
            squares = distances(p.embeddings, centre)
            precision = run.precision / unit**2 if published else _at_least(squares, counts, size)
            w = weights(squares, precision)
            y = _dim(y, w)
            centers.append(centre)
            precisions.append(precision)
            histories.append(run.history)
            found.append(w)

        self.centers_ = np.stack(centers)
        self.precisions_ = np.array(precisions)
        self.history_ = histories
        stacked = np.stack(found)
        self.slices_ = Slices(
            method="spotlight",
            ids=p.ids,
            weights=stacked,
            statistics=describe(stacked, p),
            histories=histories,
            parameters={"centers": self.centers_, "precisions": self.precisions_},
            provenance={"settings": self._settings(), "predictions": p.manifest},
        )
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Weights in [0, 1] of other predictions' examples in every spotlight."""
        if not hasattr(self, "slices_"):
            raise ValueError("this Spotlight is not fitted; call fit first")
        return membership(self.slices_, p.embeddings)

    def _seek(
        self,
        x: Float[np.ndarray, "n d"],
        y: Float[np.ndarray, " n"],
        counts: Float[np.ndarray, " n"],
        size: float,
        mean: Float[np.ndarray, " d"],
        unit: float,
        clusters: Float[np.ndarray, "k d"] | None,
        watch: Watch | None,
    ) -> Run:
        import torch

        from weakspot.methods.spotlight.plain import Plain

        engine = Plain(x, torch.device(self.device))
        total = float(counts.sum())
        end = self.barrier_end * size
        raw = Problem(x, y, counts, size, self.barrier_scale, -1.0 if self.flip and clusters is None else 1.0)
        raw_plan = Plan(
            np.geomspace(total - size, end, self.steps),
            self.learning_rate,
            self.patience,
            self.factor,
            1 / unit,
        )
        origin, precision = -mean / unit, float(np.exp(search.START_LOG_PRECISION)) * unit**2
        if clusters is None:
            (run,) = engine.climb(raw, raw_plan, origin[None], np.array([precision]), watch)
            if run.centre is None:
                raise ValueError(
                    f"search='published' starts at the embedding's origin with radius {1 / np.sqrt(precision) * unit:g}, where no "
                    "spotlight of the wanted size is; use search='multistart', which does not depend on units"
                )
            if not run.complete:
                warnings.warn(
                    f"a published spotlight lost every example at step {len(run.objective)}; the last one that was "
                    "large enough is kept. search='multistart' does not collapse",
                    stacklevel=3,
                )
            return run
        spread = float(np.ptp(y)) or 1.0
        problem = Problem(x, y, counts, size, self.barrier_scale * spread, 1.0)
        widths = np.geomspace(min(size, total - size), end, min(search.CLIMB_STEPS, self.steps))
        plan = Plan(widths, self.learning_rate, self.patience, self.factor)
        return search.multistart(
            problem, engine, clusters, plan, (raw, raw_plan, origin, precision), self.starts, watch
        )

    def _check(self) -> None:
        if self.search not in ("multistart", "published"):
            raise ValueError(f"search={self.search!r} is unknown; choose multistart or published")
        if self.precision not in ("spherical",):
            raise ValueError(f"precision={self.precision!r} is unknown; choose spherical")
        for name in ("n_slices", "steps", "starts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
        for name in ("learning_rate", "barrier_scale", "barrier_end"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name}={getattr(self, name)!r} must be a positive number")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor={self.factor!r} must lie between 0 and 1")

    def _size(self, total: float) -> float:
        """T in examples."""
        whole = isinstance(self.min_size, (int, np.integer)) and not isinstance(self.min_size, bool)
        size = float(self.min_size) * (1.0 if whole else total)
        if not 0 < size < total:
            asked = f"{size:g} examples" if whole else f"{self.min_size:g} of them"
            raise ValueError(
                f"min_size={self.min_size!r} asks for {asked}, but there are {total:g}; give less than that and more than 0"
            )
        return size

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self.get_params()
        past = settings.pop("past")
        return settings | {"past": 0 if past is None else len(past)}


def _mean_and_spread(x: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " d"], float]:
    """The mean and the RMS distance to it, in float64, a block of rows at a time."""
    total = np.zeros(x.shape[1])
    for start in range(0, len(x), _ROWS):
        total += x[start : start + _ROWS].sum(axis=0, dtype=np.float64)
    mean = total / len(x)
    squares = distances(x, mean)
    spread = float(np.sqrt(squares.mean()))
    largest = float(np.abs(mean).max())
    return mean, spread if spread > 1e-7 * largest else 0.0


def _working_copy(
    x: Float[np.ndarray, "n d"], mean: Float[np.ndarray, " d"], unit: float
) -> Float[np.ndarray, "n d"]:
    """(x - mean) / unit in float32: centred first, so that no digits are lost to a far-off origin."""
    out = np.empty(x.shape, dtype=np.float32)
    for start in range(0, len(x), _ROWS):
        out[start : start + _ROWS] = (x[start : start + _ROWS] - mean) / unit
    return out


def _dim(y: Float[np.ndarray, " n"], w: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Losses once a spotlight has taken its share: none left at its brightest point."""
    dimmed: np.ndarray = y * (1 - w / w.max())
    return dimmed


def _past_weights(past: Any, n: int) -> Float[np.ndarray, "k n"]:
    if past is None:
        return np.empty((0, n))
    array = np.atleast_2d(np.asarray(past.weights if isinstance(past, Slices) else past, dtype=np.float64))
    if array.ndim != 2 or array.shape[1] != n:
        raise ValueError(f"past has weights of shape {array.shape}, but there are {n} examples")
    if not np.isfinite(array).all() or (array < 0).any() or (array.max(axis=1) <= 0).any():
        raise ValueError("past holds weights that are negative, not finite, or zero everywhere")
    return array


def _at_least(squares: Float[np.ndarray, " n"], counts: Float[np.ndarray, " n"], size: float) -> float:
    """The precision of that size, a hair lower where rounding would leave the spotlight short of it."""
    precision = precision_of_size(squares, counts, size)
    while (counts * weights(squares, precision)).sum() < size:
        precision *= 1 - 1e-12
    return precision


def _numbered(callback: Callback, number: int) -> Watch:
    def watch(step: int, objective: float, size: float, learning_rate: float) -> None:
        callback(number, step, objective, size, learning_rate)

    return watch
