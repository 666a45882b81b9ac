"""One spotlight at a time: the search in working units, then the exact kernel in the embedding's own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from weakspot.methods.distributed import Alone, World
from weakspot.methods.spotlight.fixed_size import scale_of_size
from weakspot.methods.spotlight.kernel import finest, weights
from weakspot.methods.spotlight.objective import DeviceProblem, Penalty, Problem, value_and_slopes
from weakspot.methods.spotlight.optim.dense import Dense
from weakspot.methods.spotlight.optim.run import Engine, Plan, Run, Watch
from weakspot.methods.spotlight.precision import Spherical, form_of
from weakspot.methods.spotlight.preprocessing import Prepared
from weakspot.methods.spotlight.search.multistart import Multistart
from weakspot.methods.spotlight.search.published import Published
from weakspot.methods.spotlight.search.starts import Starts
from weakspot.methods.spotlight.settings import Settings

OTHER_FORM_STEPS = 1500
"""Of Adam in another form than the sphere; the published run takes `steps`."""

_A_HAIR = 1e-12


@dataclass(frozen=True)
class Found:
    """A spotlight in the embedding's own units."""

    centre: Float[np.ndarray, " D"]
    precision: Float[np.ndarray, " *shape"]
    weights: Float[np.ndarray, " n"]
    objective: float
    history: dict[str, np.ndarray]


class Search:
    """Looks for spotlights in prepared embeddings; the losses are given anew for each."""

    def __init__(
        self,
        settings: Settings,
        prepared: Prepared,
        counts: Float[np.ndarray, " n"],
        penalties: tuple[Penalty, ...],
        size: float,
        total: float,
        threads: int,
        world: World,
    ) -> None:
        self.settings, self.prepared, self.counts, self.penalties = settings, prepared, counts, penalties
        self.size, self.total, self.world = size, total, world
        device = torch.device(settings.device)
        form = form_of(settings.precision, settings.seed)
        self.dense = Dense(torch.from_numpy(prepared.working).to(device), form, world)
        spheres = self.dense.of(Spherical())
        self.spherical: Engine = spheres
        if device.type == "cpu" and isinstance(world, Alone):
            from weakspot.methods.spotlight.optim.lazy import Lazy

            self.spherical = Lazy(prepared.working, threads)
        self.engine = self.spherical if form.name == "spherical" else self.dense
        self.multistart = None
        if settings.search == "multistart":
            starts = Starts(spheres, size, total)
            self.multistart = Multistart(self.engine, self.spherical, starts, settings.starts, size, total)

    @property
    def steps(self) -> int:
        """How many steps all runs for one spotlight take together, at most."""
        if self.multistart is None:
            return self.settings.steps
        other = 0 if self.settings.precision == "spherical" else self._plan_of_other_forms().barrier.size
        return self.settings.steps + other + self.multistart.steps

    def find(self, losses: Float[np.ndarray, " n"], watch: Watch | None) -> Found:
        if self.multistart is None:
            return self._published(losses, watch)
        largest, smallest = self.world.largest(torch.tensor([losses.max(), -losses.min()])).tolist()
        height = self.settings.barrier_scale * ((largest + smallest) or 1.0)
        problem = Problem(losses, self.counts, self.size, height, 1.0, self.penalties)
        raw = replace(problem, height=self.settings.barrier_scale)
        published = Published(raw, self._published_plan(), -self.prepared.mean / self.prepared.unit)
        ends = self.multistart.best(problem, self._plan_of_other_forms(), published, watch)
        settled = [self._settled(run, problem, exact=True) for run in ends]
        return max(settled, key=lambda found: found.objective)

    def _published(self, losses: Float[np.ndarray, " n"], watch: Watch | None) -> Found:
        settings = self.settings
        sign = -1.0 if settings.flip else 1.0
        problem = Problem(losses, self.counts, self.size, settings.barrier_scale, sign, self.penalties)
        published = Published(problem, self._published_plan(), -self.prepared.mean / self.prepared.unit)
        run = published.run(self.engine, watch)
        if run.centre is None:
            radius = 1 / np.sqrt(self.dense.form.published)
            raise ValueError(
                f"search='published' starts at the embedding's origin with radius {radius:g}, where no "
                f"spotlight of size {self.size:g} is; use search='multistart', which does not depend on units"
            )
        if not run.complete:
            warnings.warn(
                f"a published spotlight lost every example after {len(run.objective)} steps; the last one that "
                "was large enough is kept. search='multistart' does not collapse",
                stacklevel=4,
            )
        found = self._settled(run, problem, exact=False)
        size = self._total(self.counts * found.weights)
        if size < self.size:
            warnings.warn(
                f"a published spotlight ended at size {size:.4g} after {len(run.objective)} steps, below the least "
                f"size of {self.size:.4g} (min_size): its barrier gave way. search='multistart' keeps to the size",
                stacklevel=4,
            )
        return found

    def _settled(self, run: Run, problem: Problem, exact: bool) -> Found:
        """The end of a run as a kernel over the embeddings; if `exact`, of the wanted size (and no less)."""
        assert run.centre is not None
        prepared, precision = self.prepared, self.dense.form.matrix(run.shape) / self.prepared.unit**2
        centre = prepared.home(run.centre)
        q = prepared.quadratic(centre, precision)
        if exact:
            columns, counts = torch.from_numpy(q)[:, None], torch.from_numpy(self.counts)
            most = finest(centre, precision, prepared.unit)
            factor, hair = float(scale_of_size(columns, counts, self.size, self.world, most)[0]), _A_HAIR
            while True:
                factor *= 1 - hair  # so that rounding never leaves it too small
                w = weights(prepared.quadratic(centre, precision * factor))
                if self._total(self.counts * w) >= self.size:
                    break
                hair *= 2
            precision = precision * factor
        else:
            w = weights(q)
        given = DeviceProblem.of(problem, torch.device("cpu"))
        objective = value_and_slopes(torch.from_numpy(w)[:, None], given, None, self.world)[0]
        history = run.history
        if exact:  # the curves end at what is returned
            last = {"objective": float(objective), "size": self._total(self.counts * w)}
            history = {name: np.append(values, last.get(name, 0.0)) for name, values in history.items()}
        return Found(centre, precision, w, float(objective), history)

    def _total(self, values: Float[np.ndarray, " n"]) -> float:
        return float(self.world.sum(torch.tensor(values.sum())))

    def _published_plan(self) -> Plan:
        return self._plan(self.total - self.size, self.settings.steps, 1 / self.prepared.unit)

    def _plan_of_other_forms(self) -> Plan:
        """From size 4T on; the centre is counted in a coordinate's RMS, to which Adam's steps are small."""
        widest = min(3 * self.size, (self.total - self.size) / 2)
        return self._plan(widest, min(OTHER_FORM_STEPS, self.settings.steps), self.dense.dimensions**-0.5)

    def _plan(self, widest: float, steps: int, unit: float) -> Plan:
        settings = self.settings
        barrier = np.geomspace(widest, min(settings.barrier_end * self.size, widest), steps)
        return Plan(barrier, settings.learning_rate, settings.patience, settings.factor, unit)
