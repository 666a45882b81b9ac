"""Any folder of images, and what a CSV file says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.csv
from jaxtyping import Shaped

from weakspot.datasets.picture_files import PictureFiles
from weakspot.datasets.splits import pick_val, split_by_id
from weakspot.tasks import Classification

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFolder(PictureFiles):
    """Images in `root/class/…`, or in `root/train/class/…`, `root/val/class/…` and `root/test/class/…`.

    Where nothing says which split an image belongs to, its path does, by a hash (about 7 : 1 : 2); where
    only val is missing, it is a tenth of train.

    `attributes` names a CSV file (in `root`, or anywhere). It must have a column `path`, relative to `root`;
    it may have `label` and `split`, which then count instead of the folders; all others are attributes. Its
    rows are the examples: images it does not name are left out.

    `classes` gives the classes and their order, for a model that was trained with more of them or in another
    order; without it they are the folders (or labels) of all splits, sorted.

    Raises FileNotFoundError or ValueError, naming file and line, for: no images, rows that name no image or
    the same image twice, an unknown split, an image with no class.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        attributes: str | Path | None = None,
        classes: Sequence[str] | None = None,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(split, root, size, mean, std)
        if self.root is None or not self.root.is_dir():
            raise FileNotFoundError(
                f"no folder of images at {root}; set dataset.root to the one that holds them"
            )

        table = (
            _scan(self.root) if attributes is None else _read_csv(self.root, Path(attributes), self.splits)
        )
        paths = [PurePosixPath(text) for text in table["path"].to_pylist()]
        has_split_folders = {path.parts[0] for path in paths} <= set(self.splits)
        labels = _labels(table, self.root, paths, depth=1 if has_split_folders else 0)
        names = tuple(sorted(set(labels))) if classes is None else tuple(map(str, classes))
        position = {name: index for index, name in enumerate(names)}
        unknown = next((row for row, label in enumerate(labels) if label not in position), None)
        if unknown is not None:
            raise ValueError(
                f"{self.root / paths[unknown]} is of class {labels[unknown]!r}, "
                f"not one of: {', '.join(names)}"
            )
        folders = [path.parts[0] for path in paths] if has_split_folders else None
        assigned = _assign(table, folders)
        rows = np.flatnonzero(assigned == split)
        if len(rows) == 0:
            have = ", ".join(sorted(set(assigned)))
            raise ValueError(f"no image below {self.root} is in split {split!r}; there are some in: {have}")

        self.task = Classification(names)
        self.targets = np.array([position[labels[row]] for row in rows], dtype=np.int64)
        chosen = table.take(pa.array(rows))
        about = [name for name in chosen.column_names if name not in ("path", "label", "split")]
        described = chosen.select(about)
        self.files = chosen["path"].to_pylist()
        self.examples = described.add_column(0, "id", chosen["path"]).combine_chunks()


def _scan(root: Path) -> pa.Table:
    """The paths of all images below `root`, sorted; hidden files and folders are passed over."""
    paths = []
    for folder, below, files in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        images = (name for name in files if name.lower().endswith(EXTENSIONS) and not name.startswith("."))
        paths += [str(inside / name) for name in images]
    if not paths:
        raise FileNotFoundError(
            f"no images below {root} (looked for {', '.join(EXTENSIONS)}); expected class/image.jpg, "
            "or the same in folders train, val and test"
        )
    return pa.table({"path": sorted(paths)})


def _read_csv(root: Path, attributes: Path, splits: Sequence[str]) -> pa.Table:
    """The CSV file, its paths made regular, each of them checked."""
    file = next((path for path in (attributes, root / attributes) if path.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"no attributes at {attributes} or {root / attributes}")
    text = {name: pa.string() for name in ("path", "label", "split")}
    try:
        table = pa.csv.read_csv(file, convert_options=pa.csv.ConvertOptions(column_types=text))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file} cannot be read as CSV: {error}") from error
    names = table.column_names
    if "path" not in names:
        raise ValueError(f"{file} has no column 'path' (relative to {root}); it has: {', '.join(names)}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{file} has two columns {twice!r}")
    if len(table) == 0:
        raise ValueError(f"{file} has no rows")

    paths: dict[str, int] = {}
    for line, given in enumerate(table["path"].to_pylist(), start=2):
        path = PurePosixPath(os.path.normpath(given).replace(os.sep, "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{file}, line {line}: {given} is not below {root}")
        if not (root / path).is_file():
            raise FileNotFoundError(f"{file}, line {line}: there is no file {root / path}")
        if path.suffix.lower() not in EXTENSIONS:
            raise ValueError(f"{file}, line {line}: {given} is none of {', '.join(EXTENSIONS)}")
        if str(path) in paths:
            raise ValueError(f"{file}, line {line}: {given} stands in line {paths[str(path)]} already")
        paths[str(path)] = line
    for column, allowed in (("label", None), ("split", splits)):
        for line, value in enumerate(table[column].to_pylist() if column in names else (), start=2):
            if not value or (allowed and value not in allowed):
                raise ValueError(
                    f"{file}, line {line}: {column} is {value!r}"
                    + (f", not one of: {', '.join(allowed)}" if allowed else "")
                )
    return table.set_column(names.index("path"), "path", pa.array(list(paths)))


def _labels(table: pa.Table, root: Path, paths: Sequence[PurePosixPath], depth: int) -> list[str]:
    """What the CSV file says, else the folder at this depth."""
    if "label" in table.column_names:
        return [str(label) for label in table["label"].to_pylist()]
    lone = next((path for path in paths if len(path.parts) < depth + 2), None)
    if lone is not None:
        raise ValueError(
            f"{root / lone} lies in no class folder; put each image in a folder named after its class, "
            "or give the classes in a column 'label' of dataset.attributes"
        )
    return [path.parts[depth] for path in paths]


def _assign(table: pa.Table, folders: Sequence[str] | None) -> Shaped[np.ndarray, " n"]:
    """Each image's split: what the CSV file says, else the folder, else a hash of its path."""
    paths = table["path"].to_pylist()
    if "split" in table.column_names:
        assigned = np.array(table["split"].to_pylist())
    elif folders is not None:
        assigned = np.array(folders)
    else:
        return split_by_id(paths)
    if "val" in assigned:
        return assigned
    return np.where((assigned == "train") & pick_val(paths), "val", assigned)
