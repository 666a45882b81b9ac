"""Datasets of image files, which are opened when an example is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from weakspot.datasets.base import Dataset, digest
from weakspot.datasets.inputs.images import Scaling
from weakspot.image_formats import open_image
from weakspot.images import Pixels, check_pixels, to_rgb
from weakspot.legible import as_utf8


class ImageFiles(Dataset):
    """A dataset of image files; a subclass also sets `files`, one path per row, relative to `root`.

    `transform` turns an RGB image into the model's input, as torchvision's transforms do; by default it is `Scaling`
    with `size`, `mean` and `std`. `pixels` says how a file is decoded: "as_shown" by a viewer or "as_stored" (see
    `weakspot.images.to_rgb`).
    """

    decodes = True
    files: Sequence[str]

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pixels: Pixels = "as_shown",
    ) -> None:
        super().__init__(split, root)
        check_pixels(pixels)
        self.pixels = pixels
        self.transform: Any = Scaling(size, mean, std)

    def input(self, row: int) -> Tensor:
        x: Tensor = self.transform(self.preview(row))
        return x

    def preview(self, row: int) -> Image.Image:
        """Read the image from its file.

        Raises:
            FileNotFoundError: If there is no such file; the message names the row.
            ValueError: If the file cannot be read as an image.
        """
        path = self.path(row)
        name = as_utf8(str(path))
        try:
            with open_image(path) as file:
                return to_rgb(file, self.pixels)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"row {row} of {self.split}: there is no file {name}") from error
        except (OSError, ValueError) as error:
            raise ValueError(
                f"row {row} of {self.split}: {name} cannot be read as an image ({error}); repair or remove it"
            ) from error

    def fingerprint(self) -> str:
        """Digest names, sizes and modification times: reading every pixel would take as long as an epoch."""
        stats = (self._stat(row) for row in range(len(self)))
        times = np.array([(s.st_size, s.st_mtime_ns) for s in stats])
        return digest(
            self.examples, self.targets, times, "\0".join(self.files).encode("utf-8", "surrogateescape")
        )

    def _stat(self, row: int) -> os.stat_result:
        try:
            return os.stat(self.path(row))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"row {row} of {self.split}: there is no file {as_utf8(str(self.path(row)))}"
            ) from error

    def path(self, row: int) -> Path:
        """Return the full path of a row's file."""
        assert self.root is not None
        return self.root / self.files[row]
