"""Spotlights of a fixed size: the scale of the precision is solved for exactly."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.distributed import ProcessGroup


def scale_of_size(
    q: Float[Tensor, "n k"],
    counts: Float[Tensor, " n"],
    size: float,
    processes: ProcessGroup,
    most: Float[Tensor, " k"] | float = torch.inf,
) -> Float[Tensor, " k"]:
    """Solve Σ c·max(0, 1 - s·q) = `size` for s, exactly.

    The sum is convex, falling and piecewise linear in s, so Newton's method from wherever it starts lands where
    the sum is at least `size`, from there never overshoots, and ends after finitely many steps, on the right
    piece. It starts from s = 1: an ascent goes by small moves, after which the scale is nearly what it was. Where at
    least `size` examples lie at q = 0 no s is too large, and where they lie at what rounding makes of 0, the
    root would follow the rounding. So s is at most `most`, below which q is still known; the sum is then `size`
    or more. There may be no rows in this process: other processes then have them.

    Args:
        q: (n, k) the quadratic forms of the rows that this process holds.
        counts: (n,) how often each row counts.
        size: The wanted size T.
        processes: The processes.
        most: (k,) or one number, the largest factor.

    Returns:
        (k,) the factors s.
    """
    bound = torch.as_tensor(most, dtype=q.dtype, device=q.device)
    s = _newton(q.new_ones(q.shape[1]), q, counts, size, processes).clamp(min=0).minimum(bound)
    while True:
        larger = _newton(s, q, counts, size, processes).minimum(bound)
        grown = larger > s * (1 + 1e-14)
        if not grown.any():
            return s
        s = torch.where(grown, larger, s)


def _newton(
    s: Float[Tensor, " k"],
    q: Float[Tensor, "n k"],
    counts: Float[Tensor, " n"],
    size: float,
    processes: ProcessGroup,
) -> Float[Tensor, " k"]:
    """Return the root of the linear piece that s is on; 0 where only q = 0 is inside, from where all pieces follow."""
    active = s * q < 1
    mass, spread = processes.sum(torch.stack([counts @ active.to(q.dtype), counts @ (q * active)]))
    return torch.where(spread > 0, (mass - size) / spread, torch.where(mass >= size, s, 0.0))
