"""ImageNet as torchvision lays it out: a few of the thousand classes."""

from __future__ import annotations

from pathlib import Path

from layouts.noise import write_noise

WNIDS = ("n01440764", "n02012849", "n02102040", "n03000684", "n15075141")


def write(data: Path) -> None:
    root = data / "imagenet"
    for position, wnid in enumerate(WNIDS):
        for number in range(10):
            write_noise(root / "train" / wnid / f"{wnid}_{10026 + number}.JPEG", 80 + number, 70)
        for number in range(12):
            name = f"ILSVRC2012_val_{position * 12 + number + 1:08d}.JPEG"
            write_noise(root / "val" / wnid / name, 70, 80 + number)
