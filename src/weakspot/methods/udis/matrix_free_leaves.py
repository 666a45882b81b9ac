"""Examples as leaves, for when a matrix of their distances does not fit: exact, in memory of order n."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Num

from weakspot.methods.base import Callback
from weakspot.methods.udis.distance_sums import DistanceSums
from weakspot.methods.udis.distances import NORM_HEADROOM, mean_row
from weakspot.methods.udis.leaves import RowLeaves
from weakspot.methods.udis.reciprocal import reciprocal_ward
from weakspot.methods.udis.row_blocks import each_block
from weakspot.methods.udis.silhouette import CutSequence, silhouettes

_SUMS = {"cpu": 1 << 22, "cuda": 1 << 28}  # of distances, held at a time
_ROWS = {"cpu": 1024, "cuda": 16_384}
_KERNEL_ROWS = 32
_CHECKED = 512  # rows at a time
_MOST_COUNTED = 1e30


@dataclass(frozen=True, eq=False)
class MatrixFreeLeaves(RowLeaves):
    """The audited examples as the leaves of the tree, without a matrix of distances.

    Attributes:
        dtype: The dtype of the distances that silhouettes are computed from; the tree is decided in float64.
    """

    embeddings: Num[np.ndarray, "n d"]
    rows: Int[np.ndarray, " r"]
    sizes: Float[np.ndarray, " r"]
    dtype: str
    device: torch.device

    @staticmethod
    def device_of(name: str) -> torch.device:
        """Return the torch device with this name.

        Raises:
            ValueError: If torch has no such device.
        """
        try:
            device = torch.device(name)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"device={name!r} is unknown; choose cpu or cuda") from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device={name!r}, but torch sees no GPU here; use device='cpu'")
        return device

    def linkage(self, callback: Callback) -> Float[np.ndarray, "t 4"]:
        """Return Ward's tree in SciPy's convention.

        Raises:
            ValueError: If counts or embeddings are too large to compute with; this is checked before hours of work.
        """
        self._check_lengths()
        if (total := float(self.sizes.sum())) > _MOST_COUNTED:
            raise ValueError(f"the counts add up to {total:g}, more than {_MOST_COUNTED:g}; rescale them")
        return reciprocal_ward(self.embeddings, self.rows, self.sizes, self.device, callback)

    def _check_lengths(self) -> None:
        most = NORM_HEADROOM * float(np.finfo(self.dtype).max)
        centre = mean_row(self.embeddings)
        for start in range(0, len(self.rows), _CHECKED):
            some = self.rows[start : start + _CHECKED]
            differences = np.subtract(self.embeddings[some], centre, dtype=np.float64)
            with np.errstate(over="ignore"):
                norms = np.einsum("ij,ij->i", differences, differences)
            if not (norms < most).all():
                raise ValueError(
                    f"the embedding of row {some[int(norms.argmax())]} is too large to be squared in {self.dtype}; "
                    "rescale the embeddings"
                )

    def silhouettes(
        self, labels: Int[np.ndarray, " r"], sequence: CutSequence, callback: Callback
    ) -> tuple[Float[np.ndarray, " c"], None]:
        """Return the mean silhouette of every cut; nothing is sampled, so there are no standard errors."""
        centre = mean_row(self.embeddings)
        sums = DistanceSums(self.embeddings, self.rows, self.sizes, centre, self.dtype, self.device)
        r, k, total = len(self.rows), len(sequence.sizes), np.zeros(len(sequence.steps) + 1)
        kind = "cpu" if self.device.type == "cpu" else "cuda"
        size = min(_ROWS[kind], max(_KERNEL_ROWS, _SUMS[kind] // k))
        for start in range(0, r, size):
            some = np.arange(start, min(start + size, r))
            total += _sum_of_silhouettes(sums.of(some, labels, k), labels[some], self.sizes[some], sequence)
            callback("silhouettes", start + len(some), r)
        total /= self.sizes.sum()
        return total, None


def _sum_of_silhouettes(
    sums: Float[np.ndarray, "s k"],
    own: Int[np.ndarray, " s"],
    counts: Float[np.ndarray, " s"],
    sequence: CutSequence,
) -> Float[np.ndarray, " c"]:
    """Return the sum of counts · silhouette at every cut (c,), over some rows."""
    parts = np.empty((-(-len(sums) // _KERNEL_ROWS), len(sequence.steps) + 1))

    def work(start: int, stop: int) -> None:
        parts[start // _KERNEL_ROWS] = counts[start:stop] @ silhouettes(
            sums[start:stop], own[start:stop], sequence
        )

    each_block(len(sums), _KERNEL_ROWS, work)
    total: np.ndarray = parts.sum(axis=0)
    return total
