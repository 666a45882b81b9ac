"""Amazon Polarity as Xiang Zhang published it: two CSV files without a header, and a tiny classifier beside them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from tiny_models import write_model

GOOD, BAD = ("great", "love it", "works well", "excellent"), ("broken", "waste of money", "not good", "awful")
THINGS = ("book", "album", "phone", "game", "movie")


def reviews(n: int, seed: int) -> list[tuple[str, str, str]]:
    """Label (1 or 2), title and review, their line breaks escaped as in the published files."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        label = int(rng.integers(1, 3))
        words = rng.choice(GOOD if label == 2 else BAD, size=2)
        thing = rng.choice(THINGS)
        text = f'This "{thing}" is {words[0]}! I said\\nit was {words[1]}, and that is all.'
        rows.append((str(label), f"{words[0]} {thing}" if rng.random() < 0.8 else "", text))
    return rows


def write(data: Path) -> None:
    folder = data / "amazon"
    folder.mkdir()
    for half, n, seed in (("train", 44, 0), ("test", 50, 1)):
        with open(folder / f"{half}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(reviews(n, seed))
    texts = [text for row in reviews(50, 1) for text in row[1:]]
    write_model(data / "tiny_sst2", texts, id2label={0: "NEGATIVE", 1: "POSITIVE"}, num_labels=2)
