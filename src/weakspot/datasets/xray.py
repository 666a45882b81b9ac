"""Chest X-rays of children with and without pneumonia (Kermany et al., 2018)."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from torchvision.transforms import v2

from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.readers.folders import find_folder, image_names
from weakspot.datasets.readers.splits import pick_val
from weakspot.image_formats import open_image
from weakspot.tasks import Classification

CLASSES = ("NORMAL", "PNEUMONIA")
_PATIENT = re.compile(r"person\d+|IM-\d+|(?:NORMAL|BACTERIA|VIRUS)-\d+")
_KIND = re.compile(r"bacteria|virus", re.IGNORECASE)
_ADVICE = (
    "set dataset.root to the folder that holds train/NORMAL, train/PNEUMONIA, test/NORMAL and test/PNEUMONIA "
    "(docs/datasets/xray.md)"
)


class XRay(ImageFiles):
    """Holds 5856 grey X-rays, each stretched to 150×150.

    `test` is the published one. `val` is a tenth of the published train, picked by patient, plus the published
    val (16 images on Kaggle, none at Mendeley) and all images of its patients in the published train: no patient
    is in both train and val.

    Attributes: `kind` of pneumonia (bacteria, virus; none for NORMAL), `patient` (both from the file's name),
    and the image's own `width` and `height` in pixels, which differ between the classes.

    For training, each image is rotated by up to ±`degrees`, shifted by up to `translate` of its sides and
    scaled by 1 ± `zoom`; all 0 leaves it as it is. Audits of `train` see the images unchanged.
    """

    group = "patient"

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        size: int = 150,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        degrees: float = 10,
        translate: float = 0.1,
        zoom: float = 0.1,
    ) -> None:
        super().__init__(split, "data/xray" if root is None else root, pixels="as_stored")
        self.root = find_folder(self.root, ("chest_xray", "chest_xray/chest_xray"), "train", _ADVICE)
        self.transform = Scaling(size, mean, std, stretch=True)
        black = ((0 - self.transform.mean) / self.transform.std).flatten().tolist()
        self._affine = v2.RandomAffine(
            degrees, translate=(translate, translate), scale=(1 - zoom, 1 + zoom), fill=black
        )
        self.files = self._files_of(split)
        named = [Path(file) for file in self.files]
        sizes = np.array([self._size(row) for row in range(len(named))])
        self.task = Classification(CLASSES)
        self.targets = np.array([CLASSES.index(path.parts[1]) for path in named], dtype=np.int64)
        self.examples = pa.table(
            {
                "id": self.files,
                "kind": [_kind(path) for path in named],
                "patient": [_patient(path) for path in named],
                "width": sizes[:, 0],
                "height": sizes[:, 1],
            }
        )

    def augmented(self) -> XRay:
        changed = copy.copy(self)
        changed.transform = v2.Compose([self.transform, self._affine])
        return changed

    def preview(self, row: int) -> Image.Image:
        return super().preview(row).convert("L").convert("RGB")

    def _files_of(self, split: str) -> list[str]:
        if split == "test":
            return self._published("test")
        assert self.root is not None
        train = self._published("train")
        val = self._published("val") if (self.root / "val").is_dir() else []
        patients = [_patient(Path(file)) for file in train]
        in_val = pick_val(patients) | np.isin(patients, [_patient(Path(file)) for file in val])
        chosen = [file for file, held_out in zip(train, in_val, strict=True) if held_out == (split == "val")]
        return chosen + (val if split == "val" else [])

    def _published(self, half: str) -> list[str]:
        """Return the images of one published half, by class."""
        assert self.root is not None
        folder = self.root / half
        for name in CLASSES:
            if not (folder / name).is_dir():
                raise FileNotFoundError(f"there is no folder {folder / name}: {_ADVICE}")
        extra = [
            p.name for p in sorted(folder.iterdir()) if p.is_dir() and p.name not in (*CLASSES, "__MACOSX")
        ]
        if extra:
            raise ValueError(
                f"{folder / extra[0]} is not the folder of a known class ({', '.join(CLASSES)}); move it away"
            )
        return [f"{half}/{name}/{image}" for name in CLASSES for image in image_names(folder / name)]

    def _size(self, row: int) -> tuple[int, int]:
        try:
            with open_image(self.path(row)) as file:
                return file.size
        except (OSError, ValueError) as error:
            raise ValueError(
                f"row {row} of {self.split}: {self.path(row)} cannot be read as an image ({error}); "
                "repair or remove it"
            ) from error


def _patient(path: Path) -> str:
    """Return the patient's number: `person78` for person78_bacteria_378, `IM-0381` for NORMAL2-IM-0381-0001."""
    match = _PATIENT.search(path.name)
    return match.group() if match else path.stem


def _kind(path: Path) -> str:
    if path.parts[1] == "NORMAL":
        return "none"
    match = _KIND.search(path.name)
    return match.group().lower() if match else "unknown"
