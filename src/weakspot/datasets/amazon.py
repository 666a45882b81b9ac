"""Amazon Polarity: reviews, favourable or not (Zhang, Zhao and LeCun, 2015)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from weakspot.datasets.inputs.texts import Texts
from weakspot.datasets.readers.hub_tables import read_hub_table
from weakspot.delimited import location, read_delimited
from weakspot.tasks import Classification

CLASSES = ("negative", "positive")

_COLUMNS = ("label", "title", "content")


class AmazonPolarity(Texts):
    """Holds the first reviews of each half; one or two stars are negative, four or five positive, three left out.

    `root` holds `train.csv` and `test.csv` (or the folder `amazon_review_polarity_csv` does), or the Parquet files
    of the hub's `amazon_polarity`, or a copy of it written by `save_to_disk`.

    first   the most reviews of a half. `test` and `train` are the first of their halves; `val` is a tenth as many,
            those that follow `train`. So `train` is the sample of Spotlight's published results
            (inference_amazon.py reads the first 20 000 of the training half), and no review is in two splits
    title   whether the title is put before the review; Spotlight's model read reviews only

    Attributes: words (in the review), titled (yes, no), negation (yes, no), exclamations and questions (the number
    of marks).

    Raises FileNotFoundError, or ValueError naming file and row, if a file is not as published.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        first: int = 20_000,
        title: bool = False,
        tokenizer: str | Path = "distilbert-base-uncased-finetuned-sst-2-english",
        max_length: int = 512,
        download: bool = False,
    ) -> None:
        super().__init__(split, root, tokenizer, max_length, download)
        if first < 1:
            raise ValueError(f"dataset.first must be at least 1, not {first}")
        half = "test" if split == "test" else "train"
        start, stop = (first, first + max(1, first // 10)) if split == "val" else (0, first)
        table = _read(self.root or Path("data/amazon"), half, stop).slice(start)
        if len(table) == 0:
            raise ValueError(
                f"the training half in {self.root} has no rows after the first {first}, which are for training: "
                "none are left for validation; set dataset.first to fewer"
            )
        self.task = Classification(CLASSES)
        self.targets = table["label"].to_numpy().astype(np.int64)
        reviews = pc.fill_null(table["content"], "")
        titles = pc.fill_null(table["title"], "")
        read = pc.binary_join_element_wise(titles, reviews, ". ") if title else reviews
        self.texts = read.to_pylist()
        numbers = range(start, start + len(table))
        self.examples = pa.table(
            {
                "id": [f"{half}-{row:07d}" for row in numbers],
                "words": pc.count_substring_regex(reviews, r"\S+"),
                "titled": _yes_no(pc.not_equal(pc.utf8_trim_whitespace(titles), "")),
                "negation": _yes_no(
                    pc.match_substring_regex(reviews, r"(?i)\b(?:not?|never|nothing|none|cannot)\b|n't\b")
                ),
                "exclamations": pc.count_substring(reviews, "!"),
                "questions": pc.count_substring(reviews, "?"),
            }
        )


def _read(root: Path, half: str, first: int) -> pa.Table:
    """Read the first rows of a half: label 0 or 1, title and content, with their line breaks restored."""
    table = read_hub_table(root, half, _COLUMNS, first)
    if table is None:
        files = [folder / f"{half}.csv" for folder in (root, root / "amazon_review_polarity_csv")]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise FileNotFoundError(
                f"no {half}.csv in {root}, nor Parquet files, nor a folder {half} by save_to_disk; see "
                "docs/datasets/amazon.md for where to get Amazon Polarity, and set dataset.root to its folder"
            )
        table = _read_csv(file, first)
    labels = table["label"]
    if not pa.types.is_integer(labels.type):
        raise ValueError(f"{root}: the labels of {half} are {labels.type}, not 0 and 1")
    wrong = pc.index(pc.fill_null(pc.is_in(labels, pa.array([0, 1], labels.type)), False), False).as_py()
    if wrong >= 0:
        raise ValueError(f"{root}: row {wrong} of {half} has the label {labels[wrong].as_py()!r}, not 0 or 1")
    for name in _COLUMNS[1:]:
        kind = table[name].type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ValueError(
                f"{root}: the column {name!r} of {half} is {kind}, not text; fetch the data again"
            )
    broken = {name: pc.replace_substring(table[name], "\\n", "\n") for name in _COLUMNS[1:]}
    return pa.table({"label": labels, **broken})


def _read_csv(file: Path, first: int) -> pa.Table:
    """Read rows of `"1" or "2", title, content`, without a header, and no more of the file than needed."""
    table = read_delimited(
        file,
        dict.fromkeys(_COLUMNS, pa.string()),
        first=first,
        advice="see docs/datasets/amazon.md for the format it is published in",
    )
    labels = table["label"]
    wrong = pc.index(pc.is_in(labels, pa.array(["1", "2"])), False).as_py()
    if wrong >= 0:
        raise ValueError(f"{location(file, ',', wrong)}: the label is {labels[wrong].as_py()!r}, not 1 or 2")
    return table.set_column(0, "label", pc.subtract(pc.cast(labels, pa.int64()), 1))


def _yes_no(flags: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(flags, "yes", "no")
