"""One spotlight at a time: the search in working units, then the exact kernel in the embedding's own units."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from weakspot.methods.distributed import ProcessGroup, SingleProcess
from weakspot.methods.spotlight.fixed_size import scale_of_size
from weakspot.methods.spotlight.kernel import kernel_weights, max_factor
from weakspot.methods.spotlight.objective import DeviceProblem, EntropyPenalty, Problem, value_and_slopes
from weakspot.methods.spotlight.optim.dense import DenseOptimizer
from weakspot.methods.spotlight.optim.optimizer import AdamSchedule, OnStep, OptimizationRun, Optimizer
from weakspot.methods.spotlight.precision import SphericalPrecision, make_precision
from weakspot.methods.spotlight.preprocessing import WorkingEmbeddings
from weakspot.methods.spotlight.search.adam_run import AdamRun
from weakspot.methods.spotlight.search.multistart import Multistart
from weakspot.methods.spotlight.search.starting_points import StartingPoints
from weakspot.methods.spotlight.settings import SpotlightSettings

NONSPHERICAL_STEPS = 1500
"""The steps of Adam with a precision that is not spherical; the published run takes `steps`."""

_RMS_DISTANCE = 10.0
"""The RMS distance of the embeddings from their mean, in the units of multistart's run of Adam. The run starts at the
mean, so neither the embedding's origin nor its unit matters. Smaller values take longer.
"""

_MARGIN = 1e-12  # the first reduction of the precision, so that the size is large enough despite rounding


@dataclass(frozen=True)
class FittedSpotlight:
    """Holds a spotlight in the embedding's own units.

    Attributes:
        centre: (D,) m.
        precision: P as a scalar, a diagonal or a matrix.
        weights: (n,) the kernel weights, in working order.
        objective: The objective without barrier.
        history: The history of the run that found it.
    """

    centre: Float[np.ndarray, " D"]
    precision: Float[np.ndarray, " *shape"]
    weights: Float[np.ndarray, " n"]
    objective: float
    history: dict[str, np.ndarray]


class SpotlightSearch:
    """Searches for spotlights in working embeddings, one at a time; each search gets its own losses.

    Args:
        settings: The checked settings of the Spotlight.
        working: The embeddings.
        counts: (n,) how often each row counts, in working order.
        penalties: The entropy penalties.
        size: The minimum size T, in examples.
        total: Σ counts.
        threads: The number of threads.
        processes: The processes that hold the rows.
    """

    def __init__(
        self,
        settings: SpotlightSettings,
        working: WorkingEmbeddings,
        counts: Float[np.ndarray, " n"],
        penalties: tuple[EntropyPenalty, ...],
        size: float,
        total: float,
        threads: int,
        processes: ProcessGroup,
    ) -> None:
        self.settings, self.working = settings, working
        self.counts, self.penalties = counts, penalties
        self.size, self.total, self.processes = size, total, processes
        device = torch.device(settings.device)
        precision = make_precision(settings.precision, settings.seed)
        self.dense = DenseOptimizer(torch.from_numpy(working.x).to(device), precision, processes)
        spheres = self.dense.of(SphericalPrecision())
        self.spherical: Optimizer = spheres
        if device.type == "cpu" and isinstance(processes, SingleProcess):
            from weakspot.methods.spotlight.optim.lazy import LazyOptimizer

            self.spherical = LazyOptimizer(working.x, threads)
        self.optimizer = self.spherical if precision.name == "spherical" else self.dense
        self.multistart = None
        if settings.search == "multistart":
            starts = StartingPoints(spheres, size, total)
            self.multistart = Multistart(self.optimizer, self.spherical, starts, settings.starts, size, total)

    @property
    def steps(self) -> int:
        """Return the largest number of steps that all runs for one spotlight take together."""
        if self.multistart is None:
            return self.settings.steps
        other = 0 if self.settings.precision == "spherical" else self._nonspherical_schedule().barrier.size
        return self.settings.steps + other + self.multistart.steps

    def find(self, losses: Float[np.ndarray, " n"], on_step: OnStep | None) -> FittedSpotlight:
        """Find the spotlight of these losses (n,), in working order."""
        if self.multistart is None:
            return self._published(losses, on_step)
        largest, smallest = self.processes.max(torch.tensor([losses.max(), -losses.min()])).tolist()
        barrier_cost = self.settings.barrier_scale * ((largest + smallest) or 1.0)
        problem = Problem(losses, self.counts, self.size, barrier_cost, 1.0, self.penalties)
        raw = replace(problem, barrier_cost=self.settings.barrier_scale)
        mean = np.zeros_like(self.working.mean)
        adam = AdamRun(raw, self._published_schedule(1 / _RMS_DISTANCE), mean)
        end = self.multistart.best(problem, self._nonspherical_schedule(), adam, on_step)
        return self._to_embedding_units(end, problem, exact=True)

    def _published(self, losses: Float[np.ndarray, " n"], on_step: OnStep | None) -> FittedSpotlight:
        """Find a spotlight by the published run alone."""
        settings = self.settings
        sign = -1.0 if settings.flip else 1.0
        problem = Problem(losses, self.counts, self.size, settings.barrier_scale, sign, self.penalties)
        published = AdamRun(
            problem,
            self._published_schedule(1 / self.working.unit),
            -self.working.mean / self.working.unit,
        )
        run = published.run(self.optimizer, on_step)
        if run.centre is None:
            radius = 1 / np.sqrt(self.dense.precision.published_start)
            raise ValueError(
                f"search='published' starts at the embedding's origin with radius {radius:g}, where there is "
                f"no spotlight of size {self.size:g}; use search='multistart', which does not depend on units"
            )
        if not run.complete:
            warnings.warn(
                f"a published spotlight lost every example after {len(run.objective)} steps; the last one that "
                "was large enough is kept. search='multistart' does not collapse",
                stacklevel=4,
            )
        spotlight = self._to_embedding_units(run, problem, exact=False)
        size = self._total(self.counts * spotlight.weights)
        if size < self.size:
            warnings.warn(
                f"a published spotlight ended at size {size:.4g} after {len(run.objective)} steps, below the least "
                f"size of {self.size:.4g} (min_size): its barrier gave way. search='multistart' keeps to the size",
                stacklevel=4,
            )
        return spotlight

    def _to_embedding_units(self, run: OptimizationRun, problem: Problem, exact: bool) -> FittedSpotlight:
        """Return the end of a run as a kernel over the embeddings; if `exact`, of the required size (and no less)."""
        assert run.centre is not None
        working = self.working
        precision = self.dense.precision.matrix(run.parameters) / working.unit**2
        centre = working.to_embedding_units(run.centre)
        q = working.quadratic_form(centre, precision)
        if exact:
            columns, counts = torch.from_numpy(q)[:, None], torch.from_numpy(self.counts)
            largest_factor = max_factor(centre, precision, working.unit)
            factor = float(scale_of_size(columns, counts, self.size, self.processes, largest_factor)[0])
            margin = _MARGIN
            while True:
                factor *= 1 - margin  # Rounding must not leave it too small.
                w = kernel_weights(working.quadratic_form(centre, precision * factor))
                if self._total(self.counts * w) >= self.size:
                    break
                margin *= 2
            precision = precision * factor
        else:
            w = kernel_weights(q)
        device_problem = DeviceProblem.of(problem, torch.device("cpu"))
        objective = value_and_slopes(torch.from_numpy(w)[:, None], device_problem, None, self.processes)[0]
        history = run.history
        if exact:  # the histories end at the values that are returned
            last = {"objective": float(objective), "size": self._total(self.counts * w)}
            history = {name: np.append(values, last.get(name, 0.0)) for name, values in history.items()}
        return FittedSpotlight(centre, precision, w, float(objective), history)

    def _total(self, values: Float[np.ndarray, " n"]) -> float:
        return float(self.processes.sum(torch.tensor(values.sum())))

    def _published_schedule(self, unit: float) -> AdamSchedule:
        return self._schedule(self.total - self.size, self.settings.steps, unit)

    def _nonspherical_schedule(self) -> AdamSchedule:
        """Return a schedule that starts at size 4T, in units of a coordinate's RMS, so that Adam's steps are small."""
        widest = min(3 * self.size, (self.total - self.size) / 2)
        return self._schedule(
            widest, min(NONSPHERICAL_STEPS, self.settings.steps), self.dense.dimensions**-0.5
        )

    def _schedule(self, widest: float, steps: int, unit: float) -> AdamSchedule:
        settings = self.settings
        barrier = np.geomspace(widest, min(settings.barrier_end * self.size, widest), steps)
        return AdamSchedule(barrier, settings.learning_rate, settings.patience, settings.factor, unit)
