"""Images as model input: three channels, one size, scaled values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from weakspot.datasets.base import Dataset, digest
from weakspot.images import to_rgb


class Scaling:
    """Turns an RGB image into a float tensor (3, H, W).

    The central square is resized to `size`; without one, the image keeps its own size. Values are scaled to [0, 1],
    then to (value - mean) / std per channel.

    torchvision's v2 transforms are not used here: `CenterCrop` cuts whole pixels after resizing, whereas this
    class cuts the exact square while resizing, so results would differ. Importing torchvision would also slow the
    start-up of runs that only read a record.

    Args:
        size: The side of the square in pixels.
        mean: Three numbers, one per colour channel; None for zeros.
        std: Three positive numbers; None for ones.
        stretch: Whether to resize the whole image to the square instead of its central part.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        stretch: bool = False,
    ) -> None:
        if size is not None and size < 1:
            raise ValueError(f"size must be a positive number of pixels, not {size}")
        for name, values in (("mean", mean), ("std", std)):
            if values is not None and len(values) != 3:
                raise ValueError(f"{name} must be three numbers, one per colour channel, not {list(values)}")
        if std is not None and min(std) <= 0:
            raise ValueError(f"std must be positive in every channel, not {list(std)}")
        self.size = size
        self.stretch = stretch
        self.mean = torch.tensor([0.0] * 3 if mean is None else mean).view(3, 1, 1)
        self.std = torch.tensor([1.0] * 3 if std is None else std).view(3, 1, 1)

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 H W"]:
        if self.size is not None:
            image = self._resize(image, self.size)
        pixels = torch.from_numpy(np.array(image))
        return (pixels.permute(2, 0, 1).float() / 255 - self.mean) / self.std

    def _resize(self, image: Image.Image, size: int) -> Image.Image:
        if self.stretch:
            return image.resize((size, size), Image.Resampling.BILINEAR)
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


class ImageArray(Dataset):
    """A dataset whose images are held in memory; a subclass also sets `images`, (n, H, W) or (n, H, W, 3)."""

    images: UInt8[np.ndarray, "n H W ..."]

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(split, root)
        self.scaling = Scaling(size, mean, std)

    def input(self, row: int) -> Float[Tensor, "3 H W"]:
        return self.scaling(self.preview(row))

    def preview(self, row: int) -> Image.Image:
        return to_rgb(Image.fromarray(self.images[row]))

    def fingerprint(self) -> str:
        return digest(self.examples, self.targets, self.images)
