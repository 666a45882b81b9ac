"""Embeddings made ready for a search: projected, centred, and of unit spread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.decomposition import PCA

from weakspot.methods.distributed import World
from weakspot.methods.spotlight.kernel import ROWS, quadratic
from weakspot.predictions.scratch import copied

_ROUNDING = 1e-7
"""A spread below this share of the mean's norm is no more than the rounding of float32."""

_LEAST_UNIT = 1e-140
"""Precisions are at most 1e12 over the square of this."""


@dataclass(frozen=True)
class Prepared:
    """mean + unit·working are the embeddings, or their principal components, with rows taken in `order`.

    Centred first, so that no digits are lost to a far-off origin; of RMS distance 1, so that a search does
    not depend on the embedding's unit. The working copy is float32: half the reads of float64.
    """

    embeddings: Float[np.ndarray, "n D"]
    order: Int[np.ndarray, " n"]
    working: Float[np.ndarray, "n d"]
    mean: Float[np.ndarray, " d"]
    unit: float
    pca: PCA | None

    @property
    def components(self) -> Float[np.ndarray, "r D"] | None:
        return None if self.pca is None else self.pca.components_.astype(np.float64)

    def quadratic(
        self, centre: Float[np.ndarray, " D"], precision: Float[np.ndarray, " *shape"]
    ) -> Float[np.ndarray, " n"]:
        """(x - m)ᵀ P (x - m) in working order, all in the embedding's own units; float64."""
        out: np.ndarray = quadratic(self.embeddings, centre, precision, self.components)[self.order]
        return out

    def home(self, centre: Float[np.ndarray, " d"]) -> Float[np.ndarray, " D"]:
        """A working centre in the embedding's own space and units."""
        out: np.ndarray = self.mean + self.unit * centre
        if self.pca is not None:
            out = self.pca.mean_.astype(np.float64) + out @ self.pca.components_.astype(np.float64)
        return out


def prepare(
    embeddings: Float[np.ndarray, "n D"],
    n_components: int | None,
    seed: int,
    world: World,
    order: Int[np.ndarray, " n"] | None = None,
) -> Prepared:
    """Raises ValueError if all embeddings are equal, or if float64 cannot hold their squares."""
    if order is None:
        order = np.arange(len(embeddings))
    pca, blocks = None, _Blocks(embeddings, order)
    if n_components is not None:
        if not 1 <= n_components <= min(embeddings.shape):
            raise ValueError(f"n_components={n_components} must lie between 1 and {min(embeddings.shape)}")
        ordered = embeddings[order]
        pca = PCA(n_components, random_state=seed).fit(ordered)
        blocks = _Blocks(pca.transform(ordered), np.arange(len(order)))
    mean, unit = _mean_and_spread(blocks, world)
    working = copied(embeddings, ((block - mean) / unit for _, block in blocks), blocks.shape, np.float32)
    return Prepared(embeddings, order, working, mean, unit, pca)


class _Blocks:
    """Rows in a given order, a few at a time in float64: no second copy of all."""

    def __init__(self, x: Float[np.ndarray, "n d"], order: Int[np.ndarray, " n"]) -> None:
        self.x, self.order, self.shape = x, order, x.shape

    def __iter__(self) -> Iterator[tuple[int, Float[np.ndarray, "b d"]]]:
        for start in range(0, len(self.x), ROWS):
            yield start, self.x[self.order[start : start + ROWS]].astype(np.float64)


def _mean_and_spread(blocks: _Blocks, world: World) -> tuple[Float[np.ndarray, " d"], float]:
    """The mean and the RMS distance to it, of values brought to about 1 first: squares could overflow."""

    def total(values: np.ndarray) -> np.ndarray:
        return world.sum(torch.from_numpy(values)).numpy()

    highest = np.array([max(float(np.abs(block).max()) for _, block in blocks)])
    peak = float(world.largest(torch.from_numpy(highest))) or 1.0
    n = float(total(np.array([float(len(blocks.order))]))[0])
    mean = total(sum((block / peak).sum(axis=0) for _, block in blocks)) / n
    squares = np.array([sum(float(((block / peak - mean) ** 2).sum()) for _, block in blocks)])
    spread = float(np.sqrt(total(squares)[0] / n))
    if not spread > _ROUNDING * np.linalg.norm(mean):
        raise ValueError(f"all {n:.0f} embeddings are equal: there are no regions to tell apart")
    if not _LEAST_UNIT < peak * spread < 1 / _LEAST_UNIT:
        raise ValueError(
            f"the embeddings' spread is {peak * spread:.3g}, and its square is beyond what float64 holds; "
            f"divide the embeddings by {peak:.3g}"
        )
    return mean * peak, spread * peak
