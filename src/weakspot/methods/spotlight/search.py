"""The search for one spotlight: the published run alone, or the best of many starts at exact size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.spotlight.candidates import Candidates
from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.forms import Spherical
from weakspot.methods.spotlight.objective import Laid
from weakspot.methods.spotlight.polish import polished
from weakspot.methods.spotlight.problem import Plan, Problem, Run, Watch
from weakspot.methods.spotlight.sizes import scale_of_size

ROUGHLY, FINELY, FINE = 1e-5, 1e-10, 5
"""Gains, as shares of the objective, at which a polish ends; how many ends are polished finely."""

_NEARLY_ALL = 0.98


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
    spherical: Engine
    candidates: Candidates
    starts: int

    def climb(
        self, problem: Problem, climb: Plan, sweep: Plan, published: Published, watch: Watch | None
    ) -> tuple[Run, Run]:
        """The best end, and the published one for whoever compares them more exactly.

        Climbs start from the candidates; one run sweeps from nearly all examples to the wanted size, as the
        published one does, but whatever the embedding's origin and unit. Other forms of precision then climb
        on from the best sphere.
        """
        form, d = self.field.form, self.field.dimensions
        laid = Laid.out(problem, self.field.x.device)
        spheres = self.field.of(Spherical())
        mean = torch.zeros((1, d), dtype=torch.float64, device=self.field.x.device)
        ends: list[Run] = []
        for plan, centres in ((climb, self.candidates.best(laid, self.starts)), (sweep, mean)):
            shapes = _log_precisions(spheres, laid, centres, problem.size + plan.barrier[0])
            ends += self.spherical.climb(problem, plan, centres.cpu().numpy(), shapes, watch)
        if form.name == "spherical":
            known = published.climb(self.spherical, self.field, watch)
            return _best(self.field, laid, [*ends, known]), known
        sphere = _best(spheres, laid, ends)
        assert sphere.centre is not None
        shapes = form.start(np.exp(sphere.shape), d)
        ends = [*self.field.climb(problem, climb, sphere.centre[None], shapes, watch)]
        known = published.climb(self.field, self.field, watch)
        return _best(self.field, laid, [*ends, replace(sphere, shape=shapes[0]), known]), known


def _log_precisions(
    field: Field, laid: Laid, centres: Float[Tensor, "k d"], size: float
) -> Float[np.ndarray, "k 1"]:
    """Of spotlights of a size, or of a little less than everything: a climb begins where its barrier does."""
    size = min(size, _NEARLY_ALL * float(field.world.sum(laid.counts.sum())))
    unit = torch.zeros_like(centres[:1, :1])
    factors = [
        scale_of_size(field.quadratic(m, unit), laid.counts, size, field.world)
        for m in torch.split(centres, 1)
    ]
    shapes: np.ndarray = torch.stack(factors).clamp(min=1e-12).log().cpu().numpy()
    return shapes


def _best(field: Field, laid: Laid, ends: Sequence[Run]) -> Run:
    """The best of the ends, all of them polished roughly at the wanted size, the best few finely.

    All, for ends so near each other that they seem the same may lie under tops that differ by per cents.
    """
    rough = [
        (polished(field, laid, field.tensor(end.centre), field.tensor(end.shape), ROUGHLY), end)
        for end in ends
        if end.centre is not None
    ]
    rough.sort(key=lambda found: -found[0].value)
    fine = [(polished(field, laid, top.centre, top.shape, FINELY), end) for top, end in rough[:FINE]]
    top, run = max(fine, key=lambda found: found[0].value)
    return replace(run, centre=top.centre.cpu().numpy(), shape=top.shape.cpu().numpy(), complete=True)
