"""The search for one spotlight: the published run alone, or the best of many starts at exact size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from jaxtyping import Float

from weakspot.methods.spotlight.candidates import Candidates
from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.forms import Spherical
from weakspot.methods.spotlight.kicks import kicked
from weakspot.methods.spotlight.objective import Laid
from weakspot.methods.spotlight.polish import polished
from weakspot.methods.spotlight.problem import Plan, Problem, Run, Watch
from weakspot.methods.spotlight.shrink import shrunk

ROUGHLY, FINELY, FINE, BEHIND = 1e-5, 1e-12, 3, 1e-4
"""Gains, as shares of the objective, at which a polish ends; how many ends are polished finely, and how far behind
the best they may be for that."""

TIE = 1e-10
"""Tops that differ by no more than this share are equal; the one nearest the mean then counts."""


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
        self, problem: Problem, climb: Plan, published: Published, watch: Watch | None
    ) -> tuple[Run, Run]:
        """The best end, and the published one for whoever compares them more exactly.

        Runs start from the candidates, among a sample of the rows; one sweeps from nearly all examples to the
        wanted size, as the published one does, but whatever the embedding's origin and unit. Other forms of
        precision then climb on from the best sphere.
        """
        form, d = self.field.form, self.field.dimensions
        laid = Laid.out(problem, self.field.x.device)
        spheres = self.field.of(Spherical())
        near, total = self.candidates.thinned(laid)
        centres = self.candidates.best(laid, self.starts)
        ends = shrunk(self.candidates.sample, near, centres, total, watch)
        if form.name == "spherical":
            known = published.climb(self.spherical, self.field, watch)
            return _best(self.field, laid, [*ends, known]), known
        sphere = _best(spheres, laid, ends)
        assert sphere.centre is not None
        shapes = form.start(np.exp(sphere.shape), d)
        ends = [*self.field.climb(problem, climb, sphere.centre[None], shapes, watch)]
        known = published.climb(self.field, self.field, watch)
        return _best(self.field, laid, [*ends, replace(sphere, shape=shapes[0]), known]), known


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
    least = rough[0][0].value - BEHIND * abs(rough[0][0].value)
    fine = [
        (polished(field, laid, top.centre, top.shape, FINELY), end)
        for top, end in rough[:FINE]
        if top.value >= least
    ]
    highest = max(top.value for top, _ in fine)
    level = [found for found in fine if highest - found[0].value <= TIE * abs(highest)]
    top, run = min(level, key=lambda found: float(found[0].centre.norm()))
    top = kicked(field, laid, top, FINELY)
    return replace(run, centre=top.centre.cpu().numpy(), shape=top.shape.cpu().numpy(), complete=True)
