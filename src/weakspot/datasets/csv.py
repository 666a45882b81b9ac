"""Your own table: each row is an example, with the path of an image or a text, a label and attributes."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Num

from weakspot.datasets.base import Dataset
from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.inputs.texts import Texts
from weakspot.datasets.readers.labels import read_labels
from weakspot.datasets.readers.splits import fill_splits
from weakspot.datasets.readers.tables import TableFile, read_table_file
from weakspot.images import Pixels
from weakspot.tasks import Regression, Task

log = logging.getLogger(__name__)


def open_table(
    split: str,
    file: str | Path | None = None,
    root: str | Path | None = None,
    image: str | None = "path",
    text: str | None = "text",
    label: str = "label",
    id: str = "id",
    classes: Sequence[str] | None = None,
    size: int | None = 224,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pixels: Pixels = "as_shown",
    tokenizer: str | Path | None = None,
    max_length: int = 512,
    download: bool = False,
    separator: str | None = None,
    task: str | None = None,
) -> Dataset:
    """Open one split of a .csv, .tsv, .jsonl or .parquet file: of images if it has the column `image`, else of texts.

    file        a path, as it is or in `root`
    root        what paths of images are relative to; by default the file's folder
    id          the column of ids, which must never change; without it, an image's path or a digest of a text
    classes     the classes in order, for a model that was trained with more of them or in another order (labels
                may then be their indices from 0); by default the labels that occur, sorted, numbers by value
    separator   what separates the labels of a row that may have several: `|` in `cat|dog`
    task        classification or regression; by default labels that are numbers with fractions make a regression
    size, mean, std, pixels          for images
    tokenizer, max_length, download  for texts

    A column `split` (train, val, test) assigns rows to splits; without it, a hash of an image's id or of the
    text itself does, about 7 : 1 : 2, so that the same text is in one split only. If only val is missing, it is
    a tenth of train. All other columns are attributes.

    Raises FileNotFoundError or ValueError, naming file and line.
    """
    if file is None:
        raise ValueError("dataset=csv needs a table: add dataset.file=my.csv (or .tsv, .jsonl, .parquet)")
    given = Path(file).expanduser()
    candidates = [given] if root is None else [given, Path(root).expanduser() / given]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"no table at {' or '.join(map(str, candidates))}; set dataset.file to where it is"
        )
    named = [name for name in (image, label, id, "split") if name is not None]
    table_file = read_table_file(path, named, untrimmed=text)
    if not table_file.has_column(label):
        raise ValueError(
            f"{path} has no column {label!r}; say which holds the labels: dataset.label=… {_columns_of(table_file)}"
        )
    for setting, column, default in (("image", image, "path"), ("text", text, "text"), ("id", id, "id")):
        table_file.check_chosen(setting, column, default)
    labels = read_labels(table_file, label, classes, separator, task)
    if split == "train" and task is None and isinstance(labels[0], Regression):
        log.info(
            "%r holds fractions, so this is a regression (dataset.task=classification makes each number a class)",
            label,
        )
    if image is not None and table_file.has_column(image):
        where = path.parent if root is None else root
        return ImageTable(
            split, table_file, Columns(image, label, id), where, labels, size, mean, std, pixels
        )
    if text is not None and table_file.has_column(text):
        if tokenizer is None:
            raise ValueError(
                f"{path} holds texts, which need a model that reads them: add model=text_encoder (or "
                "text_classifier) and model.name=<its folder>"
            )
        try:
            return TextTable(
                split, table_file, Columns(text, label, id), labels, tokenizer, max_length, download
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path} holds texts: {error}") from error
    raise ValueError(
        f"{path} has neither a column {image!r} with paths of images nor {text!r} with texts; say which holds "
        f"them: dataset.image=… or dataset.text=… {_columns_of(table_file)}"
    )


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are not attributes."""

    input: str
    label: str
    id: str


_LOCATION_SETTINGS = frozenset({"file", "image", "text", "label", "id", "classes"})
"""Settings that say where a table's data are; the data themselves are in the fingerprint and the task."""


class ImageTable(ImageFiles):
    """Images whose paths are in a table."""

    no_difference = ImageFiles.no_difference | _LOCATION_SETTINGS | {"tokenizer", "max_length"}

    def __init__(
        self,
        split: str,
        table_file: TableFile,
        columns: Columns,
        root: str | Path,
        labels: tuple[Task, Num[np.ndarray, "n ..."]],
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pixels: Pixels = "as_shown",
    ) -> None:
        super().__init__(split, root, size, mean, std, pixels)
        assert self.root is not None
        paths = table_file.image_paths(columns.input, self.root)
        ids = table_file.unique_texts(columns.id) if table_file.has_column(columns.id) else paths
        self.task, targets = labels
        rows = _rows(table_file, ids, split, self.splits)
        self.targets, self.examples = targets[rows], _examples(table_file, columns, ids, rows)
        self.files = [paths[row] for row in rows]


class TextTable(Texts):
    """Texts that are in a table."""

    no_difference = Texts.no_difference | _LOCATION_SETTINGS | {"size", "mean", "std"}

    def __init__(
        self,
        split: str,
        table_file: TableFile,
        columns: Columns,
        labels: tuple[Task, Num[np.ndarray, "n ..."]],
        tokenizer: str | Path = "distilbert-base-uncased",
        max_length: int = 512,
        download: bool = False,
    ) -> None:
        super().__init__(split, None, tokenizer, max_length, download)
        texts = table_file.required_texts(columns.input)
        ids = table_file.unique_texts(columns.id) if table_file.has_column(columns.id) else text_ids(texts)
        self.task, targets = labels
        rows = _rows(table_file, texts, split, self.splits)  # the same text, the same split
        self.targets, self.examples = targets[rows], _examples(table_file, columns, ids, rows)
        self.texts = [texts[row] for row in rows]


def text_ids(texts: Sequence[str]) -> list[str]:
    """Return an id for each text that does not depend on the others, except that repeated texts are numbered."""
    seen: Counter[str] = Counter()
    ids = []
    for text in texts:
        name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return ids


def _rows(
    table_file: TableFile, keys: Sequence[str], split: str, splits: Sequence[str]
) -> Int[np.ndarray, " m"]:
    """Return the rows of a split, as the table assigns them or by a hash of keys."""
    assigned = fill_splits(
        keys, table_file.required_texts("split", splits) if table_file.has_column("split") else None
    )
    rows = np.flatnonzero(assigned == split)
    if len(rows) == 0:
        have = ", ".join(sorted(set(assigned.tolist())))
        raise ValueError(f"no row of {table_file.file} is in split {split!r}; there are some in: {have}")
    return rows


def _examples(
    table_file: TableFile, columns: Columns, ids: Sequence[str], rows: Int[np.ndarray, " m"]
) -> pa.Table:
    taken = (columns.input, columns.label, columns.id, "split")
    attributes = table_file.table.select(
        [name for name in table_file.table.column_names if name not in taken]
    )
    return attributes.add_column(0, "id", pa.array(ids)).take(pa.array(rows)).combine_chunks()


def _columns_of(table_file: TableFile) -> str:
    return f"(it has: {', '.join(table_file.table.column_names)})"
