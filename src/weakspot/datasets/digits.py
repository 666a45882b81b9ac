"""The 1797 handwritten digits that come with scikit-learn: ten classes, nothing to download.

Alpaydin and Kaynak (1998): the test set of UCI's optical recognition of handwritten digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from weakspot.datasets.inputs.images import ImageArray
from weakspot.datasets.readers.splits import split_by_id
from weakspot.tasks import Classification


class Digits(ImageArray):
    """Holds grey images of white digits on black, 8×8 resized to 32×32."""

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(split, root, size, mean, std)
        ids, digits, ink = handwriting()
        rows = np.flatnonzero(split_by_id(ids) == split)

        self.task = Classification(tuple("0123456789"))
        self.targets = digits[rows]
        self.examples = pa.table({"id": ids[rows]})
        self.images = np.rint(255 * ink[rows]).astype(np.uint8)


def handwriting() -> tuple[Shaped[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, "n 32 32"]]:
    """Return all digits: their ids, labels and ink in [0, 1], interpolated bilinearly from 8×8 to 32×32."""
    images, digits = load_digits(return_X_y=True)
    ids = np.array([f"digit-{row:04d}" for row in range(len(digits))])
    grid = torch.from_numpy(images / 16).view(-1, 1, 8, 8)
    ink = interpolate(grid, size=(32, 32), mode="bilinear").numpy()[:, 0]
    return ids, digits.astype(np.int64), ink
