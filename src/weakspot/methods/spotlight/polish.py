"""The last of a climb: quasi-Newton at exact size, which fixed steps only circle around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.spotlight.bfgs import minimised
from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.objective import Laid
from weakspot.methods.spotlight.sizes import at_size

ROUNDS, ROUND_GAIN = 4, 10
"""The rows that take part are chosen anew, so often at most, while a round gains this many least gains."""

REACH, LEAST_REACH = 1.7, 1.02
"""Rows out to √1.7 radii take part, or to √1.02 at the least: the centre will hardly go further in a round."""

ROWS_COPIED, SHARE_COPIED = 5000, 0.08
FEW, TIMES_INSIDE = 500, 8
"""They are copied; so many rows at most, or so large a share. In many dimensions nearly all rows are as far as each
other: the nearest few, or a multiple of those inside, then suffice.
"""


@dataclass(frozen=True)
class Top:
    """A spotlight of the wanted size and its objective, without barrier."""

    value: float
    centre: Float[Tensor, " d"]
    shape: Float[Tensor, " s"]


def polished(
    field: Field, laid: Laid, centre: Float[Tensor, " d"], shape: Float[Tensor, " s"], least_gain: float
) -> Top:
    """BFGS over the centre and what the form leaves free; never worse than the start, asked of all rows.

    It ends with three gains in a row below `least_gain`, as a share of the objective.
    """
    top = _sized(field, laid, centre, shape)
    for _ in range(ROUNDS):
        further = _sized(field, laid, *_climbed(field, laid, top.centre, top.shape, least_gain))
        if not further.value > top.value:
            break
        gain, top = further.value - top.value, further
        if gain < ROUND_GAIN * least_gain * abs(top.value):
            break
    return top


def _sized(field: Field, laid: Laid, centre: Float[Tensor, " d"], shape: Float[Tensor, " s"]) -> Top:
    """The spotlight of the wanted size with that centre and form."""
    value, _, _, factor = at_size(field, laid, centre[None], shape[None])
    return Top(float(value), centre, field.form.scaled(shape[None], factor[:, None])[0])


def _climbed(
    field: Field, laid: Laid, centre: Float[Tensor, " d"], shape: Float[Tensor, " s"], least_gain: float
) -> tuple[Float[Tensor, " d"], Float[Tensor, " s"]]:
    """Only rows near the support take part, seen from the centre: no digits are lost."""
    q = field.quadratic(centre[None], shape[None])[:, 0]
    most = max(ROWS_COPIED, int(SHARE_COPIED * len(field)))
    most = min(len(field), most, max(FEW, TIMES_INSIDE * int((q < 1).sum())))
    reach = -field.world.largest(-q.kthvalue(most).values.clamp(max=REACH))
    if reach <= LEAST_REACH:  # the same answer on all ranks, which must see from the same origin
        return _maximised(field, laid, centre, shape, least_gain)
    rows = (q <= reach).nonzero()[:, 0]  # all that are equally far, or rounding would choose among them
    del q
    near, here = field.take(rows, centre), torch.zeros_like(centre)
    if len(rows) < field.dimensions and field.form.name == "spherical" and field.world.size == 1:
        flat, axes = near.flattened()
        m, shape = _maximised(
            flat, laid.take(rows), flat.tensor(np.zeros(flat.dimensions)), shape, least_gain
        )
        return centre + axes @ m, shape
    m, shape = _maximised(near, laid.take(rows), here, shape, least_gain)
    return centre + m, shape


def _maximised(
    field: Field, laid: Laid, centre: Float[Tensor, " d"], shape: Float[Tensor, " s"], least_gain: float
) -> tuple[Float[Tensor, " d"], Float[Tensor, " s"]]:
    d = field.dimensions
    free = field.form.free(d)

    def placed(theta: Float[np.ndarray, "k t"]) -> tuple[Tensor, Tensor]:
        shapes = shape.expand(len(theta), -1).clone()
        shapes[:, free] = field.tensor(theta[:, d:])
        return field.tensor(theta[:, :d]), shapes

    def downhill(theta: Float[np.ndarray, "k t"]) -> tuple[np.ndarray, np.ndarray]:
        m, shapes = placed(theta)
        value, by_m, by_shape, _ = at_size(field, laid, m, shapes)
        return -value.cpu().numpy(), -torch.cat([by_m, by_shape[:, free]], dim=1).cpu().numpy()

    start = torch.cat([centre, shape[free]]).cpu().numpy()
    (descent,) = minimised(downhill, start[None], least_gain)
    m, shapes = placed(descent.end[None])
    return m[0], shapes[0]
