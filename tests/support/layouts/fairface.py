"""FairFace's padding=0.25 archive and its two label files."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from layouts.noise import write_noise

AGES = ("50-59", "30-39", "3-9", "20-29", "40-49", "10-19", "60-69", "more than 70", "0-2")
GENDERS = ("Male", "Female")
RACES = ("East Asian", "Indian", "Black", "White", "Middle Eastern", "Latino_Hispanic", "Southeast Asian")


def write(data: Path) -> None:
    people = list(product(RACES, GENDERS, AGES))
    for half, n in (("train", 40), ("val", 60)):
        lines = ["file,age,gender,race,service_test"]
        for number in range(1, n + 1):
            race, gender, age = people[(number * 11) % len(people)]
            write_noise(data / "fairface" / half / f"{number}.jpg", 224, 224)
            lines.append(f"{half}/{number}.jpg,{age},{gender},{race},{number % 3 != 0}")
        (data / "fairface" / f"fairface_label_{half}.csv").write_text("\n".join(lines) + "\n")
