"""Where to start climbing: a few centres, far enough apart, that already look good at the wanted size."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from jaxtyping import Float
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from weakspot.methods.spotlight.field import Field
from weakspot.methods.spotlight.objective import Laid
from weakspot.methods.spotlight.sizes import at_size, scale_of_size

CLUSTERS, TOP_LOSSES = 64, 192
SAMPLE, LEAST_SAMPLED_SIZE = 20_000, 500.0
"""Candidates are compared on about so many rows, as long as a spotlight keeps so many examples there."""

_VALUES_AT_ONCE = 1 << 20
_HALF_A_RADIUS = 0.5


class Candidates:
    """A sample of the rows, clustered once and then asked for every spotlight anew.

    Rows are taken in the order of their distance from the mean, so that the same examples are chosen however
    rows are ordered, shifted or turned.
    """

    def __init__(self, field: Field, size: float, total: float, seed: int) -> None:
        self.order = torch.argsort(field.squares, stable=True)
        stride = max(1, int(min(total / SAMPLE, size / LEAST_SAMPLED_SIZE)))
        self.rows = self.order[::stride]
        self.field = field
        self.sample = field.take(self.rows)
        self.clusters = self._clusters(seed)

    def _clusters(self, seed: int) -> Float[Tensor, "k d"]:
        k = min(CLUSTERS // self.field.world.size or 1, len(self.sample))
        means = KMeans(k, n_init=1, max_iter=20, random_state=seed)
        with (
            warnings.catch_warnings()
        ):  # copies, and all rows beside a far outlier, leave centres without members
            warnings.simplefilter("ignore", ConvergenceWarning)
            means.fit(self.sample.x.cpu().numpy())
        return self.field.world.gather(self.field.tensor(means.cluster_centers_))

    def thinned(self, laid: Laid) -> tuple[Laid, float]:
        """The problem on the sample, its size in proportion, and Σ counts there."""
        near = laid.take(self.rows)
        sums = torch.stack([near.counts.sum(), laid.counts.sum()])
        sampled, total = self.field.world.sum(sums).tolist()
        return replace(near, problem=replace(laid.problem, size=laid.problem.size * sampled / total)), sampled

    def best(self, laid: Laid, count: int) -> Float[Tensor, "k d"]:
        """The best `count` centres that lie apart."""
        near, sampled = self.thinned(laid)
        centres = torch.cat([self.clusters, self._top_losses(laid)])
        few = max(1, _VALUES_AT_ONCE // len(self.rows))
        for times in (4.0, 2.0):
            size = min(times * near.problem.size, (times * near.problem.size + sampled) / 2)
            centres = torch.cat([self._shifted(near, m, size) for m in torch.split(centres, few)])
        unit = torch.zeros_like(centres[:, :1])
        told = [
            at_size(self.sample, near, m, shape)
            for m, shape in zip(torch.split(centres, few), torch.split(unit, few), strict=True)
        ]
        value, factor = (torch.cat([part[i] for part in told]) for i in (0, 3))
        shapes = self.field.form.scaled(unit, factor[:, None])
        return centres[self.field.apart(centres, shapes, value, count, _HALF_A_RADIUS)]

    def _top_losses(self, laid: Laid) -> Float[Tensor, "a d"]:
        gain = laid.problem.sign * laid.losses
        top = self.order[torch.argsort(gain[self.order], descending=True, stable=True)[:TOP_LOSSES]]
        rows = self.field.world.gather(torch.cat([gain[top, None], self.field.x[top].double()], dim=1))
        return rows[torch.argsort(rows[:, 0], descending=True, stable=True)[:TOP_LOSSES], 1:]

    def _shifted(self, laid: Laid, m: Float[Tensor, "k d"], size: float) -> Float[Tensor, "k d"]:
        """One loss-weighted mean-shift step of every centre, all at a common size."""
        world, sample = self.field.world, self.sample
        q = sample.quadratic(m, torch.zeros_like(m[:, :1]))
        w = (1 - q * scale_of_size(q, laid.counts, size, world)).clamp_(min=0)
        gain = laid.problem.sign * laid.losses
        gain = gain + world.largest(-gain.min())
        w *= (laid.counts * gain)[:, None]
        moment = (w.T.to(sample.x.dtype) @ sample.x).double()
        sums = world.sum(torch.cat([moment, w.sum(dim=0)[:, None]], dim=1))
        return torch.where(sums[:, -1:] > 0, sums[:, :-1] / sums[:, -1:], m)
