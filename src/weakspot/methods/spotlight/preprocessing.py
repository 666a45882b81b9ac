"""Embeddings in working units: projected, centred, and of unit spread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.decomposition import PCA

from weakspot.methods.distributed import ProcessGroup
from weakspot.methods.spotlight.kernel import ROWS, quadratic_form
from weakspot.predictions.mapped_copies import copy_blocks

_ROUNDING = 1e-7
"""A spread below this share of the mean's norm is only the rounding of float32."""

_LEAST_UNIT = 1e-140
"""The smallest unit allowed: precisions are at most 1e12 divided by the square of the unit."""


@dataclass(frozen=True)
class WorkingEmbeddings:
    """Holds embeddings in working units: embeddings[order], or their principal components, are mean + unit·x.

    They are centred, so that no digits are lost to a distant origin, and of RMS distance 1, so that a search does not
    depend on the embedding's unit. The working copy is float32, which halves the bytes read.

    Attributes:
        embeddings: (n, D) the original embeddings.
        order: (n,) the working order of the rows.
        x: (n, d) in working units and order.
        mean: (d,) of the embeddings, or of their principal components.
        unit: The RMS distance from the mean.
        pca: The principal components, if there are any.
    """

    embeddings: Float[np.ndarray, "n D"]
    order: Int[np.ndarray, " n"]
    x: Float[np.ndarray, "n d"]
    mean: Float[np.ndarray, " d"]
    unit: float
    pca: PCA | None

    @property
    def components(self) -> Float[np.ndarray, "r D"] | None:
        """Return the principal components in float64, if there are any."""
        return None if self.pca is None else self.pca.components_.astype(np.float64)

    def quadratic_form(
        self, centre: Float[np.ndarray, " D"], precision: Float[np.ndarray, " *shape"]
    ) -> Float[np.ndarray, " n"]:
        """Return (x - m)ᵀ P (x - m) in working order (n,), all in the embedding's own units; float64."""
        out: np.ndarray = quadratic_form(self.embeddings, centre, precision, self.components)[self.order]
        return out

    def to_embedding_units(self, centre: Float[np.ndarray, " d"]) -> Float[np.ndarray, " D"]:
        """Convert a centre in working units to the embedding's own space and units."""
        out: np.ndarray = self.mean + self.unit * centre
        if self.pca is not None:
            out = self.pca.mean_.astype(np.float64) + out @ self.pca.components_.astype(np.float64)
        return out


def to_working_units(
    embeddings: Float[np.ndarray, "n D"],
    n_components: int | None,
    seed: int,
    processes: ProcessGroup,
    order: Int[np.ndarray, " n"] | None = None,
) -> WorkingEmbeddings:
    """Convert embeddings to working units.

    Args:
        embeddings: (n, D) the embeddings that this process holds.
        n_components: The number of principal components to search in; None for all dimensions.
        seed: The seed of the principal components.
        processes: The processes.
        order: (n,) the working order of the rows; by default that of the embeddings.

    Raises:
        ValueError: If all embeddings are equal, if float64 cannot hold their squares, or for too many components.
    """
    if order is None:
        order = np.arange(len(embeddings))
    pca, blocks = None, _OrderedBlocks(embeddings, order)
    if n_components is not None:
        if not 1 <= n_components <= min(embeddings.shape):
            raise ValueError(f"n_components={n_components} must lie between 1 and {min(embeddings.shape)}")
        ordered = embeddings[order]
        pca = PCA(n_components, random_state=seed).fit(ordered)
        blocks = _OrderedBlocks(pca.transform(ordered), np.arange(len(order)))
    mean, unit = _mean_and_spread(blocks, processes)
    x = copy_blocks(embeddings, ((block - mean) / unit for _, block in blocks), blocks.shape, np.float32)
    return WorkingEmbeddings(embeddings, order, x, mean, unit, pca)


class _OrderedBlocks:
    """Yields rows in a given order, a few at a time in float64, without a second copy of all."""

    def __init__(self, x: Float[np.ndarray, "n d"], order: Int[np.ndarray, " n"]) -> None:
        self.x, self.order, self.shape = x, order, x.shape

    def __iter__(self) -> Iterator[tuple[int, Float[np.ndarray, "b d"]]]:
        for start in range(0, len(self.x), ROWS):
            yield start, self.x[self.order[start : start + ROWS]].astype(np.float64)


def _mean_and_spread(
    blocks: _OrderedBlocks, processes: ProcessGroup
) -> tuple[Float[np.ndarray, " d"], float]:
    """Return the mean and the RMS distance from it; values are scaled to about 1 first, as squares could overflow."""

    def total(values: np.ndarray) -> np.ndarray:
        return processes.sum(torch.from_numpy(values)).numpy()

    highest = np.array([max(float(np.abs(block).max()) for _, block in blocks)])
    peak = float(processes.max(torch.from_numpy(highest))) or 1.0
    n = float(total(np.array([float(len(blocks.order))]))[0])
    mean = total(sum((block / peak).sum(axis=0) for _, block in blocks)) / n
    squares = np.array([sum(float(((block / peak - mean) ** 2).sum()) for _, block in blocks)])
    spread = float(np.sqrt(total(squares)[0] / n))
    if not spread > _ROUNDING * np.linalg.norm(mean):
        raise ValueError(f"all {n:.0f} embeddings are equal: there are no regions to distinguish")
    if not _LEAST_UNIT < peak * spread < 1 / _LEAST_UNIT:
        raise ValueError(
            f"the embeddings' spread is {peak * spread:.3g}, and its square is beyond what float64 holds; "
            f"divide the embeddings by {peak:.3g}"
        )
    return mean * peak, spread * peak
