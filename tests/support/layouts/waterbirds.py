"""Waterbirds as WILDS unpacks it: `waterbirds_v1.0/metadata.csv` and a folder for each species."""

from __future__ import annotations

from pathlib import Path

from layouts.noise import write_noise

SPECIES = {  # folder: (short name, y)
    "001.Black_footed_Albatross": ("Black_Footed_Albatross", 1),
    "004.Groove_billed_Ani": ("Groove_Billed_Ani", 0),
    "058.Pigeon_Guillemot": ("Pigeon_Guillemot", 1),
    "200.Common_Yellowthroat": ("Common_Yellowthroat", 0),
}
SCENES = ("/b/bamboo_forest/00000131.jpg", "/o/ocean/00000982.jpg", "/f/forest/broadleaf/00002155.jpg")


def write(data: Path) -> None:
    root = data / "waterbirds" / "waterbirds_v1.0"
    lines = ["img_id,img_filename,y,split,place,place_filename"]
    for folder, (name, y) in SPECIES.items():
        for number in range(30):
            image = f"{folder}/{name}_{number + 1:04d}_{796000 + number}.jpg"
            write_noise(root / image, 60 + number, 50)
            split = (0, 0, 1, 2, 2)[number % 5]
            place = y if split == 0 else number % 2
            scene = SCENES[1 if place else 2 * (number % 2)]
            lines.append(f"{len(lines)},{image},{y},{split},{place},{scene}")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    (root / "RELEASE_v1.0.txt").touch()
