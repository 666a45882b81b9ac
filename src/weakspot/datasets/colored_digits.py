"""Handwritten digits on a background whose colour predicts the label in training but not in test.

A model trained on them fails systematically where colour and digit disagree: a known answer for every discovery
method, made of real handwriting, with no download.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, UInt8

from weakspot.datasets.digits import handwriting
from weakspot.datasets.inputs.images import ImageArray
from weakspot.hashing import id_hashes
from weakspot.tasks import Classification

TEST_SHARE = 0.4
VAL_SHARE = 0.1  # of what is left for training
GREEN_IF_HIGH = 0.98
GREEN_IF_LOW = 0.10
SALT = "e"  # of the hash of an id. How clearly a model fails depends on which digits are in training. Of
# eight salts, tried with four seeds each, this one always had the same worst group, and by far
BRIGHTNESS = 0.5  # of the background: dimmer than the digit, so that both can be seen


class ColoredDigits(ImageArray):
    """Asks whether a digit is ≥ 5. White digits, 32×32, on red or green; attributes `digit`, `colour` and `group`.

    In train and val 98 % of the digits ≥ 5 are green and 90 % of the others red, by exact counts; in test
    each digit is half green, half red. Which split and which colour a digit gets follows from its id alone, so a
    seed changes a model's initial weights and the order of batches, never the data.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(split, root, size, mean, std)
        ids, digits, ink = handwriting()
        rows = np.flatnonzero(_splits(ids) == split)
        ids, digits, ink = ids[rows], digits[rows], ink[rows]
        green = _green(ids, digits, balanced=split == "test")

        self.task = Classification(("<5", "≥5"))
        self.targets = (digits >= 5).astype(np.int64)
        colour = np.where(green, "green", "red")
        group = [f"{c}_{self.task.classes[t]}" for c, t in zip(colour, self.targets, strict=True)]
        self.examples = pa.table({"id": ids, "digit": digits, "colour": colour, "group": group})
        self.images = _paint(ink, green)


def _splits(ids: np.ndarray) -> np.ndarray:
    """Assign train, val or test to each id, in exact shares."""
    order = np.argsort(id_hashes(ids, "colored_digits/split" + SALT))
    n_test = round(TEST_SHARE * len(ids))
    n_val = round(VAL_SHARE * (len(ids) - n_test))
    split = np.full(len(ids), "train", dtype="<U5")
    split[order[:n_test]] = "test"
    split[order[n_test : n_test + n_val]] = "val"
    return split


def _green(ids: np.ndarray, digits: np.ndarray, balanced: bool) -> np.ndarray:
    """Return whether each row is green: an exact share of each digit (test) or of each answer (train and val)."""
    cells, shares = (digits, [0.5] * 10) if balanced else (digits >= 5, [GREEN_IF_LOW, GREEN_IF_HIGH])
    hashes = id_hashes(ids, "colored_digits/colour" + SALT)
    green = np.zeros(len(ids), dtype=bool)
    for cell, share in enumerate(shares):
        rows = np.flatnonzero(cells == cell)
        green[rows[np.argsort(hashes[rows])][: round(share * len(rows))]] = True
    return green


def _paint(ink: Float[np.ndarray, "n 32 32"], green: np.ndarray) -> UInt8[np.ndarray, "n 32 32 3"]:
    paper = BRIGHTNESS * np.where(green[:, None], [[0, 1, 0]], [[1, 0, 0]])[:, None, None]
    white = ink[..., None]
    return np.rint(255 * (white + (1 - white) * paper)).astype(np.uint8)
