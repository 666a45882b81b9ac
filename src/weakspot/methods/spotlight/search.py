"""The search for one spotlight: the published run alone, or the best of many starts at exact size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from weakspot.methods.spotlight.candidates import Candidates
from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.forms import Spherical
from weakspot.methods.spotlight.objective import Laid
from weakspot.methods.spotlight.problem import Plan, Problem, Run, Watch
from weakspot.methods.spotlight.sizes import at_size, scale_of_size

POLISHED, POLISH_STEPS = 3, 100
POLISH_REACH, MOST_COPIED = 1.7, 1 << 26
"""Rows out to √1.7 radii take part in the polish, copied if they hold no more values than this."""


class Engine(Protocol):
    """Climbs from given starts: a `Field`, or a `Lazy` for spherical precision on the CPU."""

    def climb(
        self,
        problem: Problem,
        plan: Plan,
        centres: Float[np.ndarray, "k d"],
        shapes: Float[np.ndarray, "k s"],
        watch: Watch | None = None,
    ) -> Sequence[Run]: ...


@dataclass(frozen=True)
class Published:
    """The published run: from the embedding's raw origin, in raw units, with the barrier's raw height."""

    problem: Problem
    plan: Plan
    origin: Float[np.ndarray, " d"]

    def climb(self, engine: Engine, field: Field, watch: Watch | None) -> Run:
        precision = np.array([field.form.published / self.plan.unit**2])
        shapes = field.form.start(precision, field.dimensions)
        return engine.climb(self.problem, self.plan, self.origin[None], shapes, watch)[0]


@dataclass(frozen=True)
class Multistart:
    """Many starts, the best of their ends polished; the published run is among them, so it never wins.

    Sizes are not settled here: an end stands for its centre and the form of its precision, whose scale
    follows from the size.
    """

    field: Field
    engine: Engine
    candidates: Candidates
    starts: int

    def climb(
        self, problem: Problem, plan: Plan, published: Published, watch: Watch | None
    ) -> tuple[Run, Run]:
        """The best end, and the published one for whoever compares them more exactly."""
        form = self.field.form
        laid = Laid.out(problem, self.field.x.device)
        round_field = self.field.of(Spherical())
        centres = self.candidates.best(laid, self.starts)
        shapes = _shapes_of_twice_the_size(round_field, laid, centres)
        ends = list(self.engine.climb(problem, plan, centres.cpu().numpy(), shapes, watch))
        if form.name == "spherical":
            known = published.climb(self.engine, self.field, watch)
            return self._best(self.field, laid, [*ends, known]), known
        best = self._best(round_field, laid, ends)
        assert best.centre is not None
        shapes = form.start(np.exp(best.shape), self.field.dimensions)
        ends = list(self.field.climb(problem, plan, best.centre[None], shapes, watch))
        known = published.climb(self.field, self.field, watch)
        return self._best(self.field, laid, [*ends, replace(best, shape=shapes[0]), known]), known

    def _best(self, field: Field, laid: Laid, ends: Sequence[Run]) -> Run:
        """The best of the best few ends, once polished at the wanted size."""
        there = [end for end in ends if end.centre is not None]
        m = field.tensor(np.array([end.centre for end in there]))
        shape = field.tensor(np.array([end.shape for end in there]))
        value, _, _, factor = at_size(field, laid, m, shape)
        shape = field.form.scaled(shape, factor[:, None])
        leading = torch.argsort(value, descending=True, stable=True)[:POLISHED].tolist()
        polished = [_polished(field, laid, m[j], shape[j]) for j in leading]
        first = int(np.argmax([objective for objective, _, _ in polished]))
        _, centre, bent = polished[first]
        run: Run = there[leading[first]]
        return replace(run, centre=centre.cpu().numpy(), shape=bent.cpu().numpy(), complete=True)


def _shapes_of_twice_the_size(
    field: Field, laid: Laid, centres: Float[Tensor, "k d"]
) -> Float[np.ndarray, "k 1"]:
    """Climbs begin at size 2T, where the barrier of a climb begins too."""
    size, total = laid.problem.size, float(field.world.sum(laid.counts.sum()))
    unit = torch.zeros_like(centres[:, :1])
    q = field.quadratic(centres, unit)
    factor = scale_of_size(q, laid.counts, min(2 * size, (size + total) / 2), field.world)
    shapes: np.ndarray = factor.clamp(min=1e-12).log()[:, None].cpu().numpy()
    return shapes


def _polished(
    field: Field, laid: Laid, centre: Float[Tensor, " d"], shape: Float[Tensor, " s"]
) -> tuple[float, Float[Tensor, " d"], Float[Tensor, " s"]]:
    """L-BFGS at exact size over the centre and what the form leaves free, kept only if it gains.

    Only rows near the support take part, seen from the centre: less to read, and no digits lost to the
    embedding's mean. Whether there is a gain is asked of all rows.
    """
    near, seen, origin = field, laid, torch.zeros_like(centre)
    rows = (field.quadratic(centre[None], shape[None])[:, 0] < POLISH_REACH).nonzero()[:, 0]
    most = field.world.largest(torch.tensor(len(rows) * field.dimensions))
    if most <= MOST_COPIED:  # the same answer everywhere: all ranks must see from the same origin
        near, seen, origin = field.take(rows, centre), laid.take(rows), centre
    free = field.form.free(field.dimensions)
    d = field.dimensions

    def placed(theta: np.ndarray) -> tuple[Tensor, Tensor]:
        moved = shape.clone()
        moved[free] = field.tensor(theta[d:])
        return field.tensor(theta[:d]), moved

    def downhill(theta: np.ndarray) -> tuple[float, np.ndarray]:
        m, moved = placed(theta)
        value, by_m, by_shape, _ = at_size(near, seen, m[None], moved[None])
        return -float(value), -torch.cat([by_m[0], by_shape[0, free]]).cpu().numpy()

    start = torch.cat([centre - origin, shape[free]]).cpu().numpy()
    end = minimize(downhill, start, jac=True, method="L-BFGS-B", options={"maxiter": POLISH_STEPS})
    m, moved = placed(end.x)
    both = torch.stack([centre, m + origin]), torch.stack([shape, moved])
    before, after = at_size(field, laid, *both)[0].tolist()
    return (after, m + origin, moved) if after > before else (before, centre, shape)
