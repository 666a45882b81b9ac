"""The last of a climb: quasi-Newton at exact size, which fixed steps only circle around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.objective import Laid
from weakspot.methods.spotlight.sizes import at_size

ROUNDS, LEAST_GAIN = 6, 1e-7
"""The objective has kinks, at which the line search gives up: it is started again while that gains so much."""

REACH, LEAST_REACH = 1.7, 1.1
"""Rows out to √1.7 radii take part, or to √1.1 at the least: the centre will hardly go further in a round."""

ROWS_COPIED, SHARE_COPIED = 5000, 0.08
"""They are copied, in float64; so many rows at most, or so large a share."""

_OPTIONS = {"maxiter": 100, "ftol": 1e-10, "gtol": 1e-9}


@dataclass(frozen=True)
class Top:
    """A spotlight of the wanted size and its objective, without barrier."""

    value: float
    centre: Float[Tensor, " d"]
    shape: Float[Tensor, " s"]


def polished(
    field: Field, laid: Laid, centre: Float[Tensor, " d"], shape: Float[Tensor, " s"], value: float
) -> Top:
    """L-BFGS over the centre and what the form leaves free; never worse than the start, asked of all rows."""
    top = Top(value, centre, shape)
    for _ in range(ROUNDS):
        further = _round(field, laid, top)
        if further.value <= top.value:
            break
        gain, top = further.value - top.value, further
        if gain < LEAST_GAIN * abs(top.value):
            break
    return top


def _round(field: Field, laid: Laid, start: Top) -> Top:
    m, shape = _climbed(field, laid, start.centre, start.shape)
    value, _, _, factor = at_size(field, laid, m[None], shape[None])
    return Top(float(value), m, field.form.scaled(shape[None], factor[:, None])[0])


def _climbed(
    field: Field, laid: Laid, centre: Float[Tensor, " d"], shape: Float[Tensor, " s"]
) -> tuple[Float[Tensor, " d"], Float[Tensor, " s"]]:
    """Only rows near the support take part, in float64 and seen from the centre: no digits are lost."""
    q = field.quadratic(centre[None], shape[None])[:, 0]
    most = min(len(field), max(ROWS_COPIED, int(SHARE_COPIED * len(field))))
    reach = -field.world.largest(-q.kthvalue(most).values.clamp(max=REACH))
    if reach <= LEAST_REACH:  # the same answer on all ranks, which must see from the same origin
        return _maximised(field, laid, centre, shape)
    rows = (q < reach).nonzero()[:, 0]
    del q
    m, shape = _maximised(field.take(rows, centre), laid.take(rows), torch.zeros_like(centre), shape)
    return centre + m, shape


def _maximised(
    field: Field, laid: Laid, centre: Float[Tensor, " d"], shape: Float[Tensor, " s"]
) -> tuple[Float[Tensor, " d"], Float[Tensor, " s"]]:
    d = field.dimensions
    free = field.form.free(d)

    def placed(theta: np.ndarray) -> tuple[Tensor, Tensor]:
        moved = shape.clone()
        moved[free] = field.tensor(theta[d:])
        return field.tensor(theta[:d]), moved

    def downhill(theta: np.ndarray) -> tuple[float, np.ndarray]:
        m, moved = placed(theta)
        value, by_m, by_shape, _ = at_size(field, laid, m[None], moved[None])
        return -float(value), -torch.cat([by_m[0], by_shape[0, free]]).cpu().numpy()

    start = torch.cat([centre, shape[free]]).cpu().numpy()
    return placed(minimize(downhill, start, jac=True, method="L-BFGS-B", options=_OPTIONS).x)
