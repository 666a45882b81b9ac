"""Examples as leaves, with a matrix of their distances: exact Ward and silhouettes, in memory of order n²."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import Callback
from weakspot.methods.udis.distances import CentredRows, all_squared_distances, mean_row
from weakspot.methods.udis.leaves import RowLeaves
from weakspot.methods.udis.silhouette import CutSequence, mean_silhouettes
from weakspot.methods.udis.ward import to_ward_distances, ward


@dataclass(frozen=True, eq=False)
class MatrixLeaves(RowLeaves):
    """The audited examples as the leaves of the tree, with a matrix of distances.

    Attributes:
        squares: (r, r) squared distances; Ward clustering overwrites the upper triangle, the lower one keeps them.
        sizes: (r,) the examples' counts.
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
    ) -> MatrixLeaves:
        """Compute the distances of the audited rows."""
        x = np.asarray(embeddings if len(rows) == len(embeddings) else embeddings[rows])
        return cls(all_squared_distances(CentredRows.about(mean_row(x), x, dtype), callback), counts)

    @staticmethod
    def gigabytes(r: int, d: int, dtype: str) -> float:
        """Return the memory that clustering r examples needs for their distances and embeddings."""
        return (r * r + r * d) * np.dtype(dtype).itemsize / 1e9

    def linkage(self, callback: Callback) -> Float[np.ndarray, "t 4"]:
        """Return Ward's tree in SciPy's convention."""
        to_ward_distances(self.squares, self.sizes)
        return ward(self.squares, self.sizes, callback)

    def silhouettes(
        self, labels: Int[np.ndarray, " r"], sequence: CutSequence, callback: Callback
    ) -> tuple[Float[np.ndarray, " c"], None]:
        """Return the mean silhouette of every cut; nothing is sampled, so there are no standard errors."""
        return mean_silhouettes(self.squares, labels, self.sizes, sequence, callback), None
