"""iWildCam as WILDS unpacks it: one metadata.csv, categories.csv, and all images in `train`."""

from __future__ import annotations

from pathlib import Path

from layouts.noise import write_noise

CATEGORIES = """\
y,category_id,name
0,0,empty
1,2,tayassu pecari
2,380,mazama temama
3,571,mazama temama
99999,243,didelphis sp
99999,245,penelope purpurascens
"""
SPLITS = ("train", "test", "test", "val", "id_val", "id_test")


def write(data: Path) -> None:
    root = data / "iwildcam" / "iwildcam_v2.0"
    lines = [
        ",split,location_remapped,location,sequence_remapped,seq_id,y,category_id,datetime,filename,image_id"
    ]
    for row in range(150):
        split = SPLITS[row % len(SPLITS)]
        y = (row // 5) % 4
        image = f"{0x8B31D3BE + row:08x}-21bc-11ea-a13a-137349068a90"
        camera = row % 3 + (10 if split in ("val", "test") else 0)
        when = f"2013-{row % 12 + 1:02d}-05 {row % 24:02d}:59:03.000"
        category = (0, 2, 380, 571)[y]
        place, sequence = f"{camera},{camera + 20}", f"{row // 2},s{row // 2}"
        lines.append(f"{row},{split},{place},{sequence},{y},{category},{when},{image}.jpg,{image}")
        write_noise(root / "train" / f"{image}.jpg", 64 + row % 5, 48)
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    (root / "categories.csv").write_text(CATEGORIES)
    (root / "RELEASE_v2.0.txt").touch()
