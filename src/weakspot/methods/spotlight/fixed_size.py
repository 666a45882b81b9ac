"""Spotlights of exactly a wanted size: the scale of the precision is solved for, never searched."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.distributed import World


def scale_of_size(
    q: Float[Tensor, "n k"],
    counts: Float[Tensor, " n"],
    size: float,
    world: World,
    most: Float[Tensor, " k"] | float = torch.inf,
) -> Float[Tensor, " k"]:
    """The factors s at which Σ c·max(0, 1 - s·q) = `size`, exactly.

    The sum is convex, falling and piecewise linear in s, so Newton's method from wherever it starts lands where
    the sum is at least `size`, from there never overshoots, and ends after finitely many steps, on the right
    piece. It starts from s = 1: an ascent goes by small moves, after which the scale is nearly what it was. Where at
    least `size` examples lie at q = 0 no s is too large, and where they lie at what rounding makes of 0, the
    root would follow the rounding. So s is at most `most`, below which q is still known; the sum is then `size`
    or more. There may be no rows in this process: other processes then have them.
    """
    bound = torch.as_tensor(most, dtype=q.dtype, device=q.device)
    s = _newton(q.new_ones(q.shape[1]), q, counts, size, world).clamp(min=0).minimum(bound)
    while True:
        larger = _newton(s, q, counts, size, world).minimum(bound)
        grown = larger > s * (1 + 1e-14)
        if not grown.any():
            return s
        s = torch.where(grown, larger, s)


def _newton(
    s: Float[Tensor, " k"], q: Float[Tensor, "n k"], counts: Float[Tensor, " n"], size: float, world: World
) -> Float[Tensor, " k"]:
    """The root of the piece that s is on; 0 where nothing but q = 0 is inside, so that all pieces come."""
    active = s * q < 1
    mass, spread = world.sum(torch.stack([counts @ active.to(q.dtype), counts @ (q * active)]))
    return torch.where(spread > 0, (mass - size) / spread, torch.where(mass >= size, s, 0.0))
