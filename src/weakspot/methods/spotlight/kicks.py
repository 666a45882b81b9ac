"""Out of a top that is only local: kicks towards single examples nearby, and away from them.

Where a spotlight holds few examples, its objective has many tops close to each other, each with an example more
or less inside. No climb tells which of them it will end on; so the way from one to the next is tried.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from weakspot.methods.spotlight.bfgs import minimised
from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.objective import Laid
from weakspot.methods.spotlight.polish import Top, polished
from weakspot.methods.spotlight.sizes import at_size

MOST_INSIDE = 400
"""Examples inside, beyond which one more or less makes no top of its own."""

REACH, TIMES_INSIDE, ROUNDS = 2.25, 10, 8
TOWARDS, AWAY, LENGTHS = 16, 4, (0.25, 0.6)
"""Examples that are kicked towards (the worst served outside) and away from (the best served inside)."""

_ROUGHLY, _LEAST_GAIN, _ELSEWHERE = 1e-5, 1e-9, 1e-2


def kicked(field: Field, laid: Laid, top: Top, least_gain: float) -> Top:
    """The best of the tops that kicks lead to, and on from there while it gains; spheres only.

    Where rows are on several ranks it stays at `top`: kicks would have to be agreed on.
    """
    if field.form.name != "spherical" or field.world.size > 1:
        return top
    for _ in range(ROUNDS):
        q = field.quadratic(top.centre[None], top.shape[None])[:, 0]
        inside = int((q < 1).sum())
        if not 0 < inside <= MOST_INSIDE:
            break
        # in many dimensions all examples are nearly as far as each other: those beyond the next few are too many
        most = min(len(q), TIMES_INSIDE * inside)
        rows = (q <= q.kthvalue(most).values.clamp(max=REACH)).nonzero()[:, 0]
        centre = _best_end(field, laid, top, rows, q[rows])
        if centre is None:
            break
        further = polished(field, laid, centre, top.shape, least_gain)
        if not further.value > top.value * (1 + _LEAST_GAIN * np.sign(top.value)):
            break
        top = further
    return top


def _best_end(
    field: Field, laid: Laid, top: Top, rows: Int[Tensor, " a"], q: Float[Tensor, " a"]
) -> Float[Tensor, " d"] | None:
    """The best centre that a kick, climbed roughly among the rows near, ends on; None if it is only the old one
    again, or none as good.
    """
    near, problem = field.take(rows, top.centre), laid.take(rows)
    flat, axes = near.flattened()
    starts = _kicks(flat.x, q, laid.problem.sign * problem.losses)

    def downhill(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m = flat.tensor(points)
        value, by_m, _, _ = at_size(flat, problem, m, top.shape.expand(len(m), -1))
        return -value.cpu().numpy(), -by_m.cpu().numpy()

    ends = [end for end in minimised(downhill, starts.cpu().numpy(), _ROUGHLY) if len(end.values)]
    radius = float(top.shape.exp()) ** -0.5
    least = top.value - _ROUGHLY * abs(top.value)
    worth = [end for end in ends if -end.values[-1] > least and np.linalg.norm(end.end) > _ELSEWHERE * radius]
    if not worth:
        return None
    best = max(worth, key=lambda end: -end.values[-1])
    centre: Tensor = top.centre + axes @ flat.tensor(best.end)
    return centre


def _kicks(
    x: Float[Tensor, "a s"], q: Float[Tensor, " a"], gain: Float[Tensor, " a"]
) -> Float[Tensor, "k s"]:
    """Starts, seen from the top, on the way to and from the examples that may be worth it."""
    outside, inside = (q >= 1).nonzero()[:, 0], (q < 1).nonzero()[:, 0]
    towards = x[outside[torch.argsort(gain[outside], descending=True, stable=True)[:TOWARDS]]]
    away = -x[inside[torch.argsort(gain[inside], stable=True)[:AWAY]]]
    each = torch.cat([towards, away])
    return torch.cat([length * each for length in LENGTHS])
