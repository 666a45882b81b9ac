"""COCO 2017 (Lin et al., 2014): everyday scenes, and which of eighty categories of objects are in them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from torchvision.transforms.v2 import Compose, RandomHorizontalFlip, RandomResizedCrop, Resize

from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.readers.splits import pick_val
from weakspot.predictions.attribute_tables import RESERVED_NAMES
from weakspot.tasks import Multilabel


class COCO(ImageFiles):
    """Holds 118 287 images to train on and 5 000 to audit; targets (n, 80) in {0, 1}, by category id.

    test is the published val2017, and val a tenth of train2017, by a hash of names. As in Krishnakumar et al.
    (UDIS, 2021), images without any object are kept, with a target of all zeros, and crowds count as objects.
    The transforms are theirs, too: an image is resized to size×size whatever its shape, so that nothing is
    cropped off; in training, a random part of it is, mirrored half of the time (the recipe of Wang et al.:
    ELASTIC, 2019).

    Attributes: `objects` (their number), `largest` (the category of the largest object), `crowd` (whether there
    is one), and for each supercategory, under its name, whether it is present ("supercategory crowd" if a name is
    taken). An annotation without an area has its box's, or 0; one without `iscrowd` is not a crowd.

    Raises FileNotFoundError for a missing file; ValueError, naming the file and the annotation's id, for an
    annotation of an unknown image or category or with values that are not numbers, and, for train and val, if
    the categories of train2017 are not those of val2017.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        size: int = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(split, "data/coco" if root is None else root, pixels="as_stored")
        assert self.root is not None
        shape = (
            [RandomResizedCrop(size), RandomHorizontalFlip()] if split == "train" else [Resize((size, size))]
        )
        self.transform = Compose([*shape, Scaling(None, mean, std)])

        half = "val2017" if split == "test" else "train2017"
        folder = self.root / "annotations"
        annotations = read_annotations(folder / f"instances_{half}.json")
        audited = folder / "instances_val2017.json"
        if split != "test" and audited.is_file():
            _check_same(annotations, read_annotations(audited), folder / f"instances_{half}.json", audited)
        files = [f"{half}/{name}" for name in annotations.file_names]
        rows = np.arange(len(files))
        if split != "test":
            rows = np.flatnonzero(pick_val(files) == (split == "val"))

        self.task = Multilabel(annotations.categories)
        self.files = [files[row] for row in rows]
        self.targets = annotations.present()[rows]
        described = {name: values[rows] for name, values in annotations.describe().items()}
        self.examples = pa.table({"id": self.files, **described})


@dataclass(frozen=True, eq=False)
class ObjectAnnotations:
    """Holds the m annotations of n images in an instances file, as arrays.

    Attributes:
        file_names: (n,) the names of the images' files.
        categories: (C,) names in the order of their ids.
        supercategories: (C,) the supercategory of each category.
        image: (m,) the index of each annotation's image.
        category: (m,) the index of its category.
        area: (m,) in pixels.
        crowd: (m,) 1 for a region of many objects.
    """

    file_names: list[str]
    categories: tuple[str, ...]
    supercategories: tuple[str, ...]
    image: Int[np.ndarray, " m"]
    category: Int[np.ndarray, " m"]
    area: Float[np.ndarray, " m"]
    crowd: Int[np.ndarray, " m"]

    def present(self) -> Int[np.ndarray, "n C"]:
        """Return (n, C), 1 where an image contains an object of a category."""
        present = np.zeros((len(self.file_names), len(self.categories)), dtype=np.int64)
        present[self.image, self.category] = 1
        return present

    def describe(self) -> dict[str, np.ndarray]:
        """Return the attributes of the images by name, each (n,)."""
        n = len(self.file_names)
        largest = np.full(n, "none", dtype=object)
        by_area = np.argsort(self.area, kind="stable")  # the last to be written is the largest
        largest[self.image[by_area]] = np.array(self.categories, dtype=object)[self.category[by_area]]
        crowd = np.bincount(self.image, weights=self.crowd, minlength=n) > 0
        described = {
            "objects": np.bincount(self.image, minlength=n),
            "largest": largest,
            "crowd": np.where(crowd, "yes", "no"),
        }
        present, names = self.present(), np.array(self.supercategories)
        for name in dict.fromkeys(self.supercategories):
            free = name
            while free in described or free in RESERVED_NAMES:
                free = f"supercategory {free}"
            described[free] = np.where(present[:, names == name].any(axis=1), "yes", "no")
        return described


def read_annotations(file: Path) -> ObjectAnnotations:
    """Read an instances file; train and val share the result while the file does not change."""
    try:
        changed = file.stat().st_mtime_ns
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no {file}; unpack annotations_trainval2017.zip, train2017.zip and val2017.zip from "
            "https://cocodataset.org into one folder, and set dataset.root to it"
        ) from error
    return _parsed(file, changed)


@lru_cache(maxsize=2)  # train2017's and val2017's
def _parsed(file: Path, changed: int) -> ObjectAnnotations:
    """Parse the file; outlines, nearly all of its half gigabyte, are dropped while it is read."""
    try:
        with file.open("rb") as stream:
            content = json.load(stream, object_hook=_annotation_tuple)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as JSON ({error}); fetch it again") from error
    try:
        images = {entry["id"]: entry["file_name"] for entry in content["images"]}
        categories = sorted(content["categories"], key=lambda entry: entry["id"])
        column = {entry["id"]: position for position, entry in enumerate(categories)}
        names = tuple(entry["name"] for entry in categories)
        groups = tuple(str(entry.get("supercategory") or "other") for entry in categories)
        annotations = list(content["annotations"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is not an instances file of COCO ({error!r} is missing in it); fetch it again"
        ) from error
    plain = next((entry for entry in annotations if not isinstance(entry, tuple)), None)
    if plain is not None:
        which = plain.get("id") if isinstance(plain, dict) else plain
        raise ValueError(f"{file}: annotation {which} has no category_id; correct or remove it")
    columns = zip(*annotations, strict=True) if annotations else ((),) * 5
    ids, image_ids, category_ids, areas, crowds = (list(values) for values in columns)
    return ObjectAnnotations(
        file_names=list(images.values()),
        categories=names,
        supercategories=groups,
        image=_positions(image_ids, {key: row for row, key in enumerate(images)}, "image", ids, file),
        category=_positions(category_ids, column, "category", ids, file),
        area=np.array(_numbers(areas, "area", ids, file), dtype=np.float64),
        crowd=np.array(_numbers(crowds, "iscrowd", ids, file), dtype=np.int64),
    )


def _annotation_tuple(entry: dict[str, Any]) -> Any:
    """Shorten an annotation to a tuple as soon as it is read; other objects stay as they are."""
    if "category_id" not in entry:
        return entry
    return (
        entry.get("id"),
        entry.get("image_id"),
        entry["category_id"],
        _box_area(entry) if entry.get("area") is None else entry["area"],
        0 if entry.get("iscrowd") is None else entry["iscrowd"],
    )


def _box_area(entry: dict[str, Any]) -> Any:
    match entry.get("bbox"):
        case [_, _, int() | float() as width, int() | float() as height]:
            return width * height
    return 0.0


def _positions(
    keys: list[Any], positions: dict[Any, int], what: str, ids: list[Any], file: Path
) -> Int[np.ndarray, " m"]:
    rows = (positions.get(key, -1) if isinstance(key, int | str) else -1 for key in keys)
    indices = np.fromiter(rows, dtype=np.int64, count=len(keys))
    if (indices < 0).any():
        unknown = int(np.argmax(indices < 0))
        raise ValueError(
            f"{file}: annotation {ids[unknown]} is of {what} {keys[unknown]}, which the file does not list; "
            "correct or remove it"
        )
    return indices


def _numbers(values: list[Any], what: str, ids: list[Any], file: Path) -> list[float]:
    for name, value in zip(ids, values, strict=True):
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(
                f"{file}: annotation {name} has {what} {value!r}, not a number; correct or remove it"
            )
    return values


def _check_same(one: ObjectAnnotations, other: ObjectAnnotations, file: Path, other_file: Path) -> None:
    """Raise ValueError if two files list different categories: a model must be audited on what it learnt."""
    if (one.categories, one.supercategories) != (other.categories, other.supercategories):
        differing = sorted(set(one.categories) ^ set(other.categories))
        which = f"only one has {differing[0]!r}" if differing else "their order or supercategories differ"
        raise ValueError(f"{file} and {other_file} list different categories ({which}); fetch both again")
