"""Any folder of images, with attributes from a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from weakspot.class_names import class_names
from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.readers.labels import encode_labels
from weakspot.datasets.readers.splits import fill_splits
from weakspot.datasets.readers.tables import read_table_file
from weakspot.datasets.readers.walk import files_below
from weakspot.image_formats import EXTENSIONS
from weakspot.images import Pixels
from weakspot.legible import as_utf8
from weakspot.tasks import Classification


class ImageFolder(ImageFiles):
    """Reads images in `root/class/…`, or in `root/train/class/…`, `root/val/class/…` and `root/test/class/…`.

    If nothing else assigns images to splits, a hash of their paths does (about 7 : 1 : 2). If only val is
    missing, it is a tenth of train.

    `attributes` names a CSV file (in `root`, or anywhere). It must have a column `path`, relative to `root`;
    it may have `label` and `split`, which are then used instead of the folders; all others are attributes. Its
    rows are the examples: images that it does not list are left out.

    Links that lead out of `root` are followed only with `follow_links`. Bytes of a file name that are not UTF-8
    are written as escapes in its id (`caf\\xe9.jpg`).

    `classes` gives the classes and their order, for a model that was trained with more of them or in another
    order; without it they are the folders (or labels) of all splits, sorted, numbers by value.

    Raises FileNotFoundError or ValueError, naming file and line, if there are no images, if rows name no image or
    the same image twice, and for an unknown split or an image without a class.
    """

    no_difference = ImageFiles.no_difference | {
        "attributes",
        "classes",
        "follow_links",
    }  # they are in the fingerprint and the task

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        attributes: str | Path | None = None,
        classes: Sequence[str] | None = None,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pixels: Pixels = "as_shown",
        follow_links: bool = False,
    ) -> None:
        super().__init__(split, root, size, mean, std, pixels)
        if self.root is None or not self.root.is_dir():
            raise FileNotFoundError(
                f"no folder of images at {root}; set dataset.root to the one that holds them"
            )

        if attributes is None:
            files = _scan(self.root, follow_links)
            table = pa.table({"path": [as_utf8(file) for file in files]})
        else:
            table = _read_csv(self.root, Path(attributes), self.splits)
            files = table["path"].to_pylist()
        paths = [PurePosixPath(text) for text in table["path"].to_pylist()]
        has_split_folders = {path.parts[0] for path in paths} <= set(self.splits)
        labels = _labels(table, self.root, paths, depth=1 if has_split_folders else 0)
        names = class_names(labels) if classes is None else tuple(map(str, classes))
        targets = encode_labels(labels, names, lambda row: f"{root}/{paths[row]}")
        given = table["split"].to_pylist() if "split" in table.column_names else None
        if given is None and has_split_folders:
            given = [path.parts[0] for path in paths]
        assigned = fill_splits(table["path"].to_pylist(), given)
        rows = np.flatnonzero(assigned == split)
        if len(rows) == 0:
            have = ", ".join(sorted(set(assigned)))
            raise ValueError(f"no image below {self.root} is in split {split!r}; there are some in: {have}")

        self.task = Classification(names)
        self.targets = targets[rows]
        chosen = table.take(pa.array(rows))
        about = [name for name in chosen.column_names if name not in ("path", "label", "split")]
        described = chosen.select(about)
        self.files = [files[row] for row in rows]
        self.examples = described.add_column(0, "id", chosen["path"]).combine_chunks()


def _scan(root: Path, follow_links: bool) -> list[str]:
    """List the paths of all images below `root`, sorted."""
    paths = files_below(root, EXTENSIONS, follow_links)
    if not paths:
        raise FileNotFoundError(
            f"no images below {root} (looked for {', '.join(EXTENSIONS)}); expected class/image.jpg, "
            "or the same in folders train, val and test"
        )
    return paths


def _read_csv(root: Path, attributes: Path, splits: Sequence[str]) -> pa.Table:
    """Read the CSV file; its paths become relative to `root`, and each is checked."""
    file = next((path for path in (attributes, root / attributes) if path.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"no attributes at {attributes} or {root / attributes}")
    table_file = read_table_file(file, texts=("path", "label", "split"))
    names = table_file.table.column_names
    if "path" not in names:
        raise ValueError(f"{file} has no column 'path' (relative to {root}); it has: {', '.join(names)}")
    paths = table_file.image_paths("path", root)
    for column, allowed in (("label", None), ("split", splits)):
        if column in names:
            table_file.required_texts(column, allowed)
    return table_file.table.set_column(names.index("path"), "path", pa.array(paths))


def _labels(table: pa.Table, root: Path, paths: Sequence[PurePosixPath], depth: int) -> list[str]:
    """Return the labels in the CSV file, or else each image's folder at this depth."""
    if "label" in table.column_names:
        return [str(label) for label in table["label"].to_pylist()]
    outside = next((path for path in paths if len(path.parts) < depth + 2), None)
    if outside is not None:
        raise ValueError(
            f"{root / outside} is not in a class folder; put each image in a folder named after its class, "
            "or give the classes in a column 'label' of dataset.attributes"
        )
    return [path.parts[depth] for path in paths]
