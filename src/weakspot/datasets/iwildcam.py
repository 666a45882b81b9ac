"""iWildCam 2020 as WILDS prepared it (Beery et al., 2020; Koh et al., 2021): animals in front of camera traps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.readers.folders import check_exist, find_folder
from weakspot.datasets.readers.label_files import FIRST_LINE, check_unique, encode_column, read_label_file
from weakspot.tasks import Classification

_UNUSED = "99999"  # the y of categories that no image has
_COLUMNS = ("split", "filename", "y", "location_remapped", "sequence_remapped", "datetime")
_ADVICE = (
    "set dataset.root to the folder that holds metadata.csv, categories.csv and train/ "
    "(docs/datasets/iwildcam.md)"
)


class IWildCam(ImageFiles):
    """Holds 203 029 images of 182 species (one of them is "empty"), each stretched to 448×448.

    `val` and `test` come from cameras that no training image comes from; `id_val` and `id_test` from the training
    cameras on other days. All images lie in `root/train`, whatever their split. Attributes: `location` (the
    camera), `sequence` (images of one trigger), `year`, `month`, `hour`.
    """

    splits = ("train", "val", "test", "id_val", "id_test")

    group = "location"

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        size: int | None = 448,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(split, "data/iwildcam" if root is None else root, pixels="as_stored")
        self.transform = Scaling(size, mean, std, stretch=True)
        self.root = find_folder(self.root, ("iwildcam_v2.0",), "metadata.csv", _ADVICE)
        file = self.root / "metadata.csv"
        table = read_label_file(file, _COLUMNS, _ADVICE)
        check_unique(table, "filename", file)
        names = _species(self.root / "categories.csv")
        targets = encode_column(table, "y", [str(y) for y in range(len(names))], file)
        rows = np.flatnonzero(encode_column(table, "split", self.splits, file) == self.splits.index(split))

        chosen = table.take(pa.array(rows))
        lines = (rows + FIRST_LINE).tolist()
        self.files = [f"train/{name}" for name in chosen["filename"].to_pylist()]
        check_exist(self.root, self.files, file, lines)
        self.task = Classification(names)
        self.targets = targets[rows]
        self.examples = pa.table(
            {
                "id": chosen["filename"],
                "location": chosen["location_remapped"],
                "sequence": chosen["sequence_remapped"],
                **_times(chosen["datetime"], file, lines),
            }
        ).combine_chunks()


def _species(file: Path) -> tuple[str, ...]:
    """Return the names in the order of y; if categories share a name, the later ones get their y appended."""
    table = read_label_file(file, ("y", "name"), _ADVICE)
    n = pc.sum(pc.not_equal(table["y"], _UNUSED)).as_py()
    ys = encode_column(table, "y", [*map(str, range(n)), _UNUSED], file)
    rows = np.flatnonzero(ys < n)
    order = rows[np.argsort(ys[rows], kind="stable")]
    twice = order[1:][ys[order[1:]] == ys[order[:-1]]]
    if len(twice):
        raise ValueError(
            f"{file}, line {twice[0] + FIRST_LINE}: y is {ys[twice[0]]}, as in another line; each needs its own"
        )
    names = table["name"].to_pylist()
    seen: Counter[str] = Counter()
    species = []
    for y, row in enumerate(order):
        seen[names[row]] += 1
        species.append(names[row] if seen[names[row]] == 1 else f"{names[row]} ({y})")
    return tuple(species)


def _times(datetimes: pa.Array, file: Path, lines: Sequence[int]) -> dict[str, pa.Array]:
    seconds = pc.utf8_slice_codeunits(datetimes, 0, 19)
    times = pc.strptime(seconds, format="%Y-%m-%d %H:%M:%S", unit="s", error_is_null=True)
    unread = np.flatnonzero(pc.is_null(times).to_numpy(zero_copy_only=False))
    if len(unread):
        row = int(unread[0])
        raise ValueError(
            f"{file}, line {lines[row]}: datetime is {datetimes[row].as_py()!r}, not written as 2013-04-05 17:59:03.000"
        )
    return {"year": pc.year(times), "month": pc.month(times), "hour": pc.hour(times)}
