"""ImageNet, the 1000 classes of ILSVRC2012 (Russakovsky et al., 2015)."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from torchvision.models import ResNet18_Weights

from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.readers.folders import find_folder, image_names
from weakspot.datasets.readers.splits import pick_val
from weakspot.tasks import Classification

_WNID = re.compile(r"n\d{8}")
_ADVICE = (
    "set dataset.root to the folder that holds train/n01440764/*.JPEG and val/n01440764/*.JPEG "
    "(docs/datasets/imagenet.md)"
)


class ImageNet(ImageFiles):
    """Reads images in `root/train/<wnid>/` and `root/val/<wnid>/`, as torchvision lays them out.

    The published val is `test`; `val` is a tenth of the published train. Only the half that is read must be
    there, with any of its classes: the task always has all 1000 of ILSVRC2012 in their usual order, under
    torchvision's names, so that pretrained models fit a subset, too.

    classes   a text file with other classes than these, in the model's order: in each line a wnid and, after a
              space, its name (as in Kaggle's LOC_synset_mapping.txt)

    Attribute `wnid`: the class's WordNet id; class names may not be unique in a file of your own.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        classes: str | Path | None = None,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        stretch: bool = False,
    ) -> None:
        super().__init__(split, "data/imagenet" if root is None else root, pixels="as_stored")
        self.transform = Scaling(size, mean, std, stretch)
        half = "val" if split == "test" else "train"
        self.root = find_folder(self.root, ("ILSVRC/Data/CLS-LOC",), half, _ADVICE)
        names = _published_classes() if classes is None else _read_classes(self.root, Path(classes))
        position = {wnid: index for index, wnid in enumerate(names)}
        folders = _class_folders(self.root / half)
        for wnid in folders:
            if wnid not in position:
                source = "ILSVRC2012" if classes is None else classes
                raise ValueError(
                    f"{self.root / half / wnid} is not one of the {len(names)} classes of {source}; move it away, or "
                    "give all classes and their order in a text file (dataset.classes=…, a wnid in each line)"
                )
        files = [f"{half}/{wnid}/{name}" for wnid in folders for name in image_names(self.root / half / wnid)]
        if split != "test":
            in_val = pick_val(files) == (split == "val")
            files = [file for file, chosen in zip(files, in_val, strict=True) if chosen]
        wnids = [file.split("/")[1] for file in files]
        self.files = files
        self.task = Classification(tuple(names.values()))
        self.targets = np.array([position[wnid] for wnid in wnids], dtype=np.int64)
        self.examples = pa.table({"id": files, "wnid": wnids})
        self.restating = ("wnid",)


def _published_classes() -> dict[str, str]:
    """Return the names by wnid, in the order of the published models' outputs, which is that of the wnids."""
    wnids = (
        Path(__file__).with_name("readers").joinpath("imagenet_wnids.txt").read_text(encoding="utf-8").split()
    )
    return dict(zip(wnids, ResNet18_Weights.IMAGENET1K_V1.meta["categories"], strict=True))


def _read_classes(root: Path, classes: Path) -> dict[str, str]:
    file = next((path for path in (classes.expanduser(), root / classes) if path.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"no file of classes at {classes} or {root / classes}")
    names: dict[str, str] = {}
    for line, data in enumerate(file.read_bytes().removeprefix(BOM_UTF8).splitlines(), start=1):
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{file}, line {line} is not UTF-8 text ({data[:40]!r}); save it as UTF-8"
            ) from error
        wnid, _, name = text.strip().partition(" ")
        if not _WNID.fullmatch(wnid):
            raise ValueError(
                f"{file}, line {line}: {wnid!r} is not a wnid; write one, such as n01440764, in each line"
            )
        if wnid in names:
            raise ValueError(f"{file}, line {line}: {wnid} is in line {list(names).index(wnid) + 1} already")
        names[wnid] = name.strip() or wnid
    return names


def _class_folders(half: Path) -> list[str]:
    folders = sorted(
        entry.name for entry in half.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if folders:
        return folders
    if image_names(half):
        raise ValueError(
            f"the images of {half} are not in class folders; sort them into folders named by wnid: with the devkit "
            "beside them, torchvision.datasets.ImageNet does so"
        )
    raise FileNotFoundError(f"{half} is empty: {_ADVICE}")
