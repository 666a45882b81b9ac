"""A user's table: images by path, labels, two attributes, no splits."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def write(data: Path, n: int = 120) -> None:
    root = data / "mine"
    (root / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (root / "about.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "light", "weight", "remark"])
        for row in range(n):
            cat = row % 2
            pixels = rng.integers(0, 100, size=(40, 48, 3)) + 100 * cat
            Image.fromarray(pixels.astype(np.uint8)).save(root / "pictures" / f"{row:03d}.png")
            light = "day" if rng.random() < 0.6 else "night"
            remark = f"the {row}th,\nseen twice" if row % 5 == 0 else ""
            table.writerow(
                [f"pictures/{row:03d}.png", ["dog", "cat"][cat], light, f"{rng.normal():.2f}", remark]
            )
