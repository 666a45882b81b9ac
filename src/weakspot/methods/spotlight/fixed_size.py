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
    max_factor: Float[Tensor, " k"] | float = torch.inf,
) -> Float[Tensor, " k"]:
    """Solve Σ c·max(0, 1 - s·q) = `size` for s, exactly.

    The sum is convex, decreasing and piecewise linear in s. From any start, the first step of Newton's method
    therefore reaches an s at which the sum is at least `size`; from there the method never overshoots, and ends after
    finitely many steps, on the right piece. It starts from s = 1, because an ascent makes small moves, after which
    the scale has hardly changed.

    If at least `size` examples lie at q = 0, no s is too large; if they lie at 0 up to rounding, the root would depend
    on the rounding. So s is at most `max_factor`, up to which q is reliable; the sum is then `size` or more. This
    process may hold no rows if others do.

    Args:
        q: (n, k) the quadratic forms of the rows that this process holds.
        counts: (n,) how often each row counts.
        size: The required size T.
        processes: The processes.
        max_factor: (k,) or one number, the largest factor.

    Returns:
        (k,) the factors s.
    """
    bound = torch.as_tensor(max_factor, dtype=q.dtype, device=q.device)
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
    """Return the root of the linear piece at s; if only q = 0 is inside, s if that suffices, else 0 to start over."""
    active = s * q < 1
    mass, spread = processes.sum(torch.stack([counts @ active.to(q.dtype), counts @ (q * active)]))
    return torch.where(spread > 0, (mass - size) / spread, torch.where(mass >= size, s, 0.0))
