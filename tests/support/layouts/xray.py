"""Chest X-rays as in Kaggle's archive: a nested folder, a val split of few images, and files left by macOS."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from layouts.noise import write_noise

NAMES = {
    "train/NORMAL": [f"IM-{120 + n:04d}-0001.jpeg" for n in range(20)],
    "train/PNEUMONIA": [
        *(f"person{1030 + n // 2}_bacteria_{2931 + n}.jpeg" for n in range(14)),
        *(f"person{1030 + n}_virus_{1681 + n}.jpeg" for n in range(14)),
    ],
    "val/NORMAL": ["NORMAL2-IM-1427-0001.jpeg"],
    "val/PNEUMONIA": ["person1946_bacteria_4874.jpeg"],
    "test/NORMAL": [
        *(f"IM-{n:04d}-0001.jpeg" for n in range(1, 21)),
        *(f"NORMAL2-IM-{n:04d}-0001.jpeg" for n in range(7, 16)),
        "NORMAL2-IM-1154-0001-0002.jpeg",
    ],
    "test/PNEUMONIA": [
        *(f"person{n}_virus_{n + 5}.jpeg" for n in range(1, 16)),
        *(f"person{n}_bacteria_{n + 300}.jpeg" for n in range(78, 93)),
    ],
}
COLOUR = "person1030_bacteria_2931.jpeg"  # some of the published pneumonia images have three channels


def write(data: Path) -> None:
    root = data / "xray" / "chest_xray"
    for folder, names in NAMES.items():
        for number, name in enumerate(names):
            write_noise(root / folder / name, 190 + 10 * (number % 7), 130 + 10 * (number % 5), grey=True)
        (root / folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    colour = root / "train" / "PNEUMONIA" / COLOUR
    Image.open(colour).convert("RGB").save(colour)
    junk = root / "__MACOSX" / "chest_xray" / "train" / "NORMAL" / "._IM-0120-0001.jpeg"
    junk.parent.mkdir(parents=True)
    junk.write_bytes(b"\0\5\x16\7")
