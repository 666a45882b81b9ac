"""Climbing by shrinking: the best centre at a large size, then from there at smaller and smaller ones.

Each size is climbed until nothing is gained, so that rounding along the way is forgotten at every top. A climb
of fixed steps remembers it instead, and many times over: turned embeddings then led to other spotlights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.spotlight.bfgs import Descent, minimised
from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.objective import Laid
from weakspot.methods.spotlight.problem import Run, Watch
from weakspot.methods.spotlight.sizes import at_size

STEPS_PER_SIZE = 100
"""For progress: what one size is taken to cost."""

_FROM, _FACTOR = 4.0, 0.5
_SWEEP_FROM, _SWEEP_FACTOR = 0.9, 0.4
_GAIN = 1e-5
_SAME = 1e-2
"""Ends closer than this share of a radius go on as one."""


def steps(size: float, total: float) -> int:
    """For progress: of all sizes together."""
    return STEPS_PER_SIZE * sum(map(len, _sizes(size, total)))


def _sizes(size: float, total: float) -> tuple[list[float], list[float]]:
    """Falling to `size`: from nearly all examples, and on from four times the size at most."""
    first = min(_FROM * size, (_FROM * size + total) / 2, _SWEEP_FROM * total)
    first = max(first, size)
    last = _falling(first, size, _FACTOR)
    return _falling(max(_SWEEP_FROM * total, first), first, _SWEEP_FACTOR)[:-1], last


def shrunk(
    field: Field, laid: Laid, centres: Float[Tensor, "k d"], total: float, watch: Watch | None
) -> list[Run]:
    """Spherical runs from the centres, and one that sweeps down from the mean of nearly all examples."""
    wide, narrow = _sizes(laid.problem.size, total)
    sweep = [_started(field.tensor(np.zeros(field.dimensions)))]
    for size in wide:
        sweep = _climbed(field, laid, sweep, size, watch)
    runs = [*map(_started, centres), *sweep]
    for size in narrow:
        runs = _climbed(field, laid, runs, size, watch)
    return runs


def _falling(first: float, last: float, factor: float) -> list[float]:
    cuts = int(np.ceil(np.log(last / first) / np.log(factor) - 1e-9))
    return [float(size) for size in np.geomspace(first, last, max(cuts, 0) + 1)]


def _started(centre: Float[Tensor, " d"]) -> Run:
    nothing = np.empty(0)
    return Run(centre.cpu().numpy(), np.zeros(1), nothing, nothing, None, complete=True, step_length=nothing)


def _climbed(field: Field, laid: Laid, runs: list[Run], size: float, watch: Watch | None) -> list[Run]:
    """All runs at the top of their hill for that size, the best first; those that met are one."""
    laid = replace(laid, problem=replace(laid.problem, size=size))
    usual = field.tensor(np.median([run.shape for run in runs], axis=0))[None]

    def downhill(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m = field.tensor(points)
        value, by_m, _, _ = at_size(field, laid, m, usual.expand(len(m), -1))
        return -value.cpu().numpy(), -by_m.cpu().numpy()

    descents = minimised(downhill, np.stack([run.centre for run in runs if run.centre is not None]), _GAIN)
    ended = [
        _continued(field, laid, run, descent, usual) for run, descent in zip(runs, descents, strict=True)
    ]
    m = field.tensor(np.stack([run.centre for run in ended if run.centre is not None]))
    shape = field.tensor(np.stack([run.shape for run in ended]))
    value = field.tensor(np.array([run.objective[-1] for run in ended]))
    chosen = [ended[j] for j in field.apart(m, shape, value, len(ended), _SAME)]
    if watch is not None:
        watch(STEPS_PER_SIZE, chosen[0].objective[-1], size, None)
    return chosen


def _continued(field: Field, laid: Laid, run: Run, descent: Descent, usual: Float[Tensor, "1 s"]) -> Run:
    """Every size adds to the histories where its descent ended, even if it did not move."""
    end = field.tensor(descent.end[None])
    value, _, _, factor = at_size(field, laid, end, usual)
    values = np.append(-descent.values, float(value[0]))
    assert run.step_length is not None
    return replace(
        run,
        centre=descent.end,
        shape=(usual[0] + factor.log()).cpu().numpy(),
        objective=np.append(run.objective, values),
        size=np.append(run.size, np.full(len(values), laid.problem.size)),
        step_length=np.append(run.step_length, [*descent.lengths, 0.0]),
    )
