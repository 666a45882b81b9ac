"""CelebA as published: `list_attr_celeba.txt`, `list_eval_partition.txt`, `img_align_celeba/000001.jpg`…"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ATTRIBUTES = [
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
]

NUMBERS = [*range(1, 41), *range(162_771, 162_783), *range(182_638, 182_668)]
"""Images per split: 40 in train, 12 in val and 30 in test."""


def marks(n: int = len(NUMBERS)) -> np.ndarray:
    """(n, 40) of 1 and -1."""
    return np.where(np.random.default_rng(0).random((n, 40)) < 0.5, 1, -1)


def lines(names: list[str], values: np.ndarray) -> list[str]:
    """Rows as published: numbers right-aligned in two columns each."""
    return [f"{name} {' '.join(f'{v:2d}' for v in row)}" for name, row in zip(names, values, strict=True)]


def write(data: Path, partition: bool = True) -> None:
    root = data / "celeba"
    pictures = root / "img_align_celeba"
    pictures.mkdir(parents=True)
    names, values, rng = [f"{number:06d}.jpg" for number in NUMBERS], marks(), np.random.default_rng(1)
    smiling = values[:, ATTRIBUTES.index("Smiling")]
    for name, smiles in zip(names, smiling, strict=True):
        noise = rng.integers(0, 90, size=(218, 178, 3)) + (120 if smiles == 1 else 40)
        Image.fromarray(noise.astype(np.uint8)).save(pictures / name, quality=60)
    head = [str(len(names)), " ".join(ATTRIBUTES) + " "]
    (root / "list_attr_celeba.txt").write_text("\n".join([*head, *lines(names, values)]) + "\n")
    if partition:
        splits = [0 if number <= 162_770 else 1 if number <= 182_637 else 2 for number in NUMBERS]
        rows = "".join(f"{name} {split}\n" for name, split in zip(names, splits, strict=True))
        (root / "list_eval_partition.txt").write_text(rows)
