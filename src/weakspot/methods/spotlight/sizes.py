"""Spotlights of exactly a wanted size: the scale of the precision is solved for, never searched."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.objective import Laid, value_and_slopes
from weakspot.methods.spotlight.world import World

MOST_COMPILED = 1 << 18
"""Rows × dimensions × centres, beyond which torch's matrix products are quicker than a compiled loop."""


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
    piece. It starts from s = 1: climbs go by small moves, after which the scale is nearly what it was. Where at
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


def at_size(
    field: Field, laid: Laid, m: Float[Tensor, "k d"], shape: Float[Tensor, "k s"]
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k s"], Float[Tensor, " k"]]:
    """The objective without barrier at S = T, its gradient, and the factor on P that gives S = T.

    Any move changes the factor so that S stays: with g = ∂f/∂w this takes κ = Σ g·q / Σ c·q (over the
    support) off every slope, per count. Where S = T would ask for a spotlight too small for q to be known
    (see `Form.finest`), it is the smallest known one, with S > T, and its factor does not change.
    """
    finest = field.form.finest(m, shape, field.x.dtype)
    if _are_few(field, laid, m):
        return _among_few(field, laid, m, shape, finest)
    q = field.quadratic(m, shape)
    factor = scale_of_size(q, laid.counts, laid.problem.size, field.world, finest)
    q *= factor
    w = (1 - q).clamp_(min=0)
    value, _, slopes = value_and_slopes(w, laid, None, field.world)
    inside = w > 0
    pull, spread = field.world.sum(
        torch.stack([(slopes * q * inside).sum(dim=0), laid.counts @ (q * inside)])
    )
    kappa = torch.where((spread > 0) & (factor < finest), pull / spread, 0.0)
    slopes = (slopes - laid.counts[:, None] * kappa) * inside
    by_m, by_shape = field.gradient(slopes, q, m, field.form.scaled(shape, factor[:, None]))
    return value, by_m, by_shape, factor


def _are_few(field: Field, laid: Laid, m: Float[Tensor, "k d"]) -> bool:
    here = field.x.device.type == "cpu" and field.world.size == 1
    plain = field.form.name == "spherical" and not laid.problem.penalties
    return here and plain and field.x.numel() * len(m) <= MOST_COMPILED


def _among_few(
    field: Field,
    laid: Laid,
    m: Float[Tensor, "k d"],
    shape: Float[Tensor, "k 1"],
    finest: Float[Tensor, " k"],
) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k 1"], Float[Tensor, " k"]]:
    from weakspot.methods.spotlight.few import at_size_among_few  # numba takes a while to import

    problem, precision = laid.problem, shape[:, 0].exp()
    arrays = [a.numpy() for a in (field.x, laid.counts, laid.losses, m, precision, finest)]
    x, counts, losses, *placed = map(np.ascontiguousarray, arrays)
    found = at_size_among_few(x, counts, losses, float(problem.size), float(problem.sign), *placed)
    value, by_m, by_shape, factor = map(torch.from_numpy, found)
    return value, by_m, by_shape[:, None], factor
