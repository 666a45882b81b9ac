"""The leaves of the tree: examples, or micro-clusters of them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from weakspot.methods.base import Callback
from weakspot.methods.udis.silhouette import CutSequence


@runtime_checkable
class Leaves(Protocol):
    """The units that are clustered: examples, or micro-clusters of them."""

    @property
    def labels(self) -> Int[np.ndarray, " r"]:
        """Return the leaf of every audited row."""

    @property
    def sizes(self) -> Float[np.ndarray, " m"]:
        """Return the number of examples in every leaf."""

    @property
    def max_clusters(self) -> int:
        """Return the largest number of clusters that a cut may have."""

    def linkage(self, callback: Callback) -> Float[np.ndarray, "t 4"]:
        """Return Ward's tree in SciPy's convention."""

    def silhouettes(
        self, labels: Int[np.ndarray, " r"], sequence: CutSequence, callback: Callback
    ) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"] | None]:
        """Return the mean silhouette of every cut, and its standard error if it was sampled."""


class RowLeaves:
    """Leaves each of which is one audited example."""

    sizes: Float[np.ndarray, " r"]

    @property
    def labels(self) -> Int[np.ndarray, " r"]:
        """Return the leaf of every audited row: itself."""
        return np.arange(len(self.sizes))

    @property
    def max_clusters(self) -> int:
        """Return the largest number of clusters that a cut may have."""
        return len(self.sizes)
