"""Waterbirds (Sagawa et al., 2020): birds of CUB-200 on backgrounds that predict the label in training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.readers.folders import check_exist, find_folder
from weakspot.datasets.readers.label_files import FIRST_LINE, check_unique, encode_column, read_label_file
from weakspot.tasks import Classification

CLASSES = ("landbird", "waterbird")
_PLACES = np.array(["land", "water"])
_FOLDERS = ("waterbirds_v1.0", "waterbird_complete95_forest2water2")
_ADVICE = "set dataset.root to the folder that holds metadata.csv and the birds' folders (docs/datasets/waterbirds.md)"


class Waterbirds(ImageFiles):
    """Holds 11 788 images in WILDS' layout, which is Group DRO's: `metadata.csv` and a folder for each species.

    In train 95 % of each class are on its own place; in val and test each class is half and half. Attributes:
    `place` (land, water), `group` (bird and place), `species` (the folder's name), `scene` (the Places category).

    stretch   whether the whole image is stretched to size×size, instead of taking its central square
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        stretch: bool = False,
    ) -> None:
        super().__init__(split, "data/waterbirds" if root is None else root, pixels="as_stored")
        self.transform = Scaling(size, mean, std, stretch)
        self.root = find_folder(self.root, _FOLDERS, "metadata.csv", _ADVICE)
        file = self.root / "metadata.csv"
        table = read_label_file(file, ("img_filename", "y", "split", "place", "place_filename"), _ADVICE)
        check_unique(table, "img_filename", file)
        birds = encode_column(table, "y", ("0", "1"), file)
        places = encode_column(table, "place", ("0", "1"), file)
        rows = np.flatnonzero(
            encode_column(table, "split", ("0", "1", "2"), file) == self.splits.index(split)
        )

        chosen = table.take(pa.array(rows))
        self.files = chosen["img_filename"].to_pylist()
        check_exist(self.root, self.files, file, (rows + FIRST_LINE).tolist())
        self.task = Classification(CLASSES)
        self.targets = birds[rows]
        place = _PLACES[places[rows]]
        self.examples = pa.table(
            {
                "id": self.files,
                "place": place,
                "group": [f"{CLASSES[b]} on {p}" for b, p in zip(self.targets, place, strict=True)],
                "species": [PurePosixPath(name).parent.name for name in self.files],
                "scene": [_scene(name) for name in chosen["place_filename"].to_pylist()],
            }
        )


def _scene(place_filename: str) -> str:
    """Return `bamboo_forest` for /b/bamboo_forest/00000131.jpg: the path without its first-letter folder and file."""
    return "/".join(PurePosixPath(place_filename.lstrip("/")).parts[1:-1])
