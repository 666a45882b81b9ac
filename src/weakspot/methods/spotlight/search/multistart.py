"""`search=multistart`: several ascents at fixed size, the published run among their starts; the best end counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from weakspot.methods.float32_products import float32_products
from weakspot.methods.spotlight.objective import Problem
from weakspot.methods.spotlight.optim.run import STEPS_PER_SIZE, Engine, Plan, Run, Watch
from weakspot.methods.spotlight.precision import apart
from weakspot.methods.spotlight.search.published import Published
from weakspot.methods.spotlight.search.starts import Starts

ROUGHLY, FINELY, FINE, BEHIND = 1e-5, 1e-9, 6, 3e-4
"""Gains, as shares of the objective, at which ascents end; how many ends go on finely, and how far behind the best
they may be for that.
"""

SAME = 1e-2
"""Ends closer than this share of a radius are one."""

TIE, ROUNDING = 1e-10, 1e-6
"""Optima that differ by no more than the first share are equal; the one nearest the mean then counts. Float32
embeddings do not tell apart those that differ by less than the second.
"""

_SWEEP_FROM = 0.9


@dataclass(frozen=True)
class Multistart:
    """The search for one spotlight.

    Sizes are not settled here: an end stands for its centre and the form of its precision, whose scale follows from
    the size.
    """

    engine: Engine
    spherical: Engine
    starts: Starts
    count: int
    size: float
    total: float

    @property
    def steps(self) -> int:
        """For progress: how many steps the ascents take together."""
        return STEPS_PER_SIZE * (len(self._sweep()) + self.count + 1 + FINE)

    @float32_products()
    def best(self, problem: Problem, plan: Plan, published: Published, watch: Watch | None) -> list[Run]:
        """The best end; before it the published one as it is, where only rounding tells which of them is better.

        One ascent sweeps from nearly all examples to the wanted size, as the published run does, but whatever the
        embedding's origin and unit. Other forms of precision go on from the best sphere, by Adam as `plan` says.
        """
        high = self.starts.at_high_losses(problem, self.count)
        ends = [
            *self.spherical.ascend(problem, [self.starts.at_the_mean()], self._sweep(), ROUGHLY, watch),
            *self.spherical.ascend(problem, high, [self.size], ROUGHLY, watch),
        ]
        if self.engine is not self.spherical:
            ends = self._in_its_form(
                problem, self._finished(self.spherical, problem, ends, watch), plan, watch
            )
        known = published.run(self.engine, watch)
        if known.centre is None:
            return [self._finished(self.engine, problem, ends, watch)]
        here = [Run.at(known.centre, known.shape)]
        (further,) = self.engine.ascend(problem, here, [self.size], ROUGHLY, watch)
        best = self._finished(self.engine, problem, [*ends, further], watch)
        as_good = further.objective[0] >= best.value - ROUNDING * abs(best.value)
        return [known, best] if as_good else [best]

    def _in_its_form(self, problem: Problem, sphere: Run, plan: Plan, watch: Watch | None) -> list[Run]:
        assert sphere.centre is not None
        shapes = self.engine.form.start(np.exp(sphere.shape), len(sphere.centre))
        (run,) = self.engine.adam(problem, plan, sphere.centre[None], shapes, watch)
        starts = [Run.at(sphere.centre, shapes[0])]
        if run.centre is not None:
            starts.append(Run.at(run.centre, run.shape))
        return self.engine.ascend(problem, starts, [self.size], ROUGHLY, watch)

    def _sweep(self) -> list[float]:
        """From nearly all examples to the wanted size, each at least half as large as the one before."""
        first = max(_SWEEP_FROM * self.total, self.size)
        halvings = int(np.ceil(np.log2(first / self.size) - 1e-9))
        return [float(size) for size in np.geomspace(first, self.size, halvings + 1)]

    def _finished(self, engine: Engine, problem: Problem, ends: Sequence[Run], watch: Watch | None) -> Run:
        """The best of the ends, after those near it in value have gone on finely."""
        centres, shapes, values = (
            torch.from_numpy(np.stack(arrays))
            for arrays in zip(*((end.centre, end.shape, end.value) for end in ends), strict=True)
        )
        near = [
            ends[j]
            for j in apart(engine.form, centres, shapes, values, FINE, SAME)
            if values[j] >= values.max() - BEHIND * abs(values.max())
        ]
        fine = engine.ascend(problem, near, [self.size], FINELY, watch)
        highest = max(end.value for end in fine)
        level = [end for end in fine if highest - end.value <= TIE * abs(highest)]
        return min(level, key=_distance_from_mean)


def _distance_from_mean(run: Run) -> float:
    assert run.centre is not None
    return float(np.linalg.norm(run.centre))
