"""FairFace (Kärkkäinen and Joo, 2021): faces with apparent age, gender and race."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.readers.folders import check_exist
from weakspot.datasets.readers.label_files import FIRST_LINE, check_unique, encode_column, read_label_file
from weakspot.datasets.readers.splits import pick_val
from weakspot.tasks import Classification

CLASSES = {  # in the order of the published Spotlight model's outputs
    "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
    "gender": ("Male", "Female"),
    "race": (
        "White",
        "Black",
        "Indian",
        "East Asian",
        "Middle Eastern",
        "Latino_Hispanic",
        "Southeast Asian",
    ),
}
_ADVICE = (
    "set dataset.root to the folder that holds fairface_label_train.csv, fairface_label_val.csv, train/ and val/ "
    "(the padding=0.25 archive, unpacked; docs/datasets/fairface.md)"
)


class FairFace(ImageFiles):
    """Holds 97 698 faces, 224×224. The published val is `test`; `val` is a tenth of the published train.

    `target` is "gender", "age" or "race". Attributes are all three, and `service_test`, the publishers' mark
    of the part that is balanced for testing commercial services.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        target: str = "gender",
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            split, "data/fairface" if root is None else root, size, mean, std, pixels="as_stored"
        )
        assert self.root is not None
        if target not in CLASSES:
            raise ValueError(f"dataset.target={target} is unknown; choose {', '.join(CLASSES)}")
        file = self.root / f"fairface_label_{'val' if split == 'test' else 'train'}.csv"
        table = read_label_file(file, ("file", *CLASSES, "service_test"), _ADVICE)
        check_unique(table, "file", file)
        coded = {name: encode_column(table, name, values, file) for name, values in CLASSES.items()}
        encode_column(table, "service_test", ("True", "False"), file)

        files = table["file"].to_pylist()
        rows = (
            np.arange(len(files)) if split == "test" else np.flatnonzero(pick_val(files) == (split == "val"))
        )
        self.files = [files[row] for row in rows]
        check_exist(self.root, self.files, file, (rows + FIRST_LINE).tolist())
        self.task = Classification(CLASSES[target])
        self.restating = (target,)
        self.targets = coded[target][rows]
        self.examples = table.rename_columns({"file": "id"}).take(pa.array(rows)).combine_chunks()
