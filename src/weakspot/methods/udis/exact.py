"""Every example for itself: exact distances, exact Ward, exact silhouettes, in memory of order n²."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import Callback
from weakspot.methods.udis.distances import Points, all_squared_distances, mean_row
from weakspot.methods.udis.silhouette import Ladder, every_silhouette
from weakspot.methods.udis.ward import to_ward, ward


@dataclass(frozen=True, eq=False)
class Examples:
    """The audited examples as the leaves of the tree.

    squares  (r, r)  squared distances; Ward uses up the upper triangle, the lower one goes on holding them
    sizes    (r,)    the examples' counts
    """

    squares: Float[np.ndarray, "r r"]
    sizes: Float[np.ndarray, " r"]

    @classmethod
    def of(
        cls,
        embeddings: Float[np.ndarray, "n d"],
        rows: Int[np.ndarray, " r"],
        counts: Float[np.ndarray, " r"],
        dtype: str,
        callback: Callback,
    ) -> Examples:
        x = np.asarray(embeddings if len(rows) == len(embeddings) else embeddings[rows])
        return cls(all_squared_distances(Points.about(mean_row(x), x, dtype), callback), counts)

    @staticmethod
    def gigabytes(r: int, d: int, dtype: str) -> float:
        """What clustering r examples needs: their distances and embeddings."""
        return (r * r + r * d) * np.dtype(dtype).itemsize / 1e9

    @property
    def labels(self) -> Int[np.ndarray, " r"]:
        """The leaf of every audited row: itself."""
        return np.arange(len(self.sizes))

    @property
    def finest(self) -> int:
        """The largest number of clusters that a cut may have."""
        return len(self.sizes)

    def linkage(self, callback: Callback) -> Float[np.ndarray, "t 4"]:
        """Ward's tree."""
        to_ward(self.squares, self.sizes)
        return ward(self.squares, self.sizes, callback)

    def silhouettes(
        self, labels: Int[np.ndarray, " r"], ladder: Ladder, callback: Callback
    ) -> tuple[Float[np.ndarray, " c"], None]:
        """The mean silhouette of every cut of the ladder; nothing is sampled, so no standard errors."""
        return every_silhouette(self.squares, labels, self.sizes, ladder, callback), None
