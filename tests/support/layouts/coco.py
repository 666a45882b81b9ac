"""COCO 2017 as published: `annotations/instances_{train,val}2017.json`, `train2017/000000000009.jpg`…"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_NAMES = {
    "person": "person",
    "vehicle": "bicycle car motorcycle airplane bus train truck boat",
    "outdoor": "traffic_light fire_hydrant stop_sign parking_meter bench",
    "animal": "bird cat dog horse sheep cow elephant bear zebra giraffe",
    "accessory": "backpack umbrella handbag tie suitcase",
    "sports": "frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket",
    "kitchen": "bottle wine_glass cup fork knife spoon bowl",
    "food": "banana apple sandwich orange broccoli carrot hot_dog pizza donut cake",
    "furniture": "chair couch potted_plant bed dining_table toilet",
    "electronic": "tv laptop mouse remote keyboard cell_phone",
    "appliance": "microwave oven toaster sink refrigerator",
    "indoor": "book clock vase scissors teddy_bear hair_drier toothbrush",
}
_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_IDS = [number for number in range(1, 91) if number not in _UNUSED]

CATEGORIES: list[dict[str, Any]] = [
    {"supercategory": group, "id": number, "name": name.replace("_", " ")}
    for number, (group, name) in zip(
        _IDS, [(group, name) for group, names in _NAMES.items() for name in names.split()], strict=True
    )
]
"""The eighty categories with their ids: 1 to 90, ten of which are not used."""


def instances(n: int, first: int, seed: int) -> dict[str, Any]:
    """An instances file for n images; half of them hold a bed, some nothing at all, one a crowd."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for row in range(n):
        picture = first + 7 * row
        width, height = (64, 48) if row % 2 else (48, 64)
        images.append(
            {
                "license": 3,
                "file_name": f"{picture:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/x/{picture:012d}.jpg",
                "height": height,
                "width": width,
                "date_captured": "2013-11-14 17:02:52",
                "flickr_url": "http://farm9.staticflickr.com/x.jpg",
                "id": picture,
            }
        )
        some = rng.choice(_IDS, size=row % 4, replace=False).tolist()
        for category in ([65] if row % 4 >= 2 else []) + some:
            x, y, w, h = 2.0, 3.0, float(rng.integers(5, 40)), float(rng.integers(5, 40))
            annotations.append(
                {
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    "area": w * h,
                    "iscrowd": 0,
                    "image_id": picture,
                    "bbox": [x, y, w, h],
                    "category_id": category,
                    "id": 1000 * first + len(annotations),
                }
            )
    annotations[-1] |= {"iscrowd": 1, "segmentation": {"counts": [20, 30, 10], "size": [48, 64]}}
    return {
        "info": {"description": "COCO 2017 Dataset", "version": "1.0", "year": 2017},
        "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 3, "name": "BY"}],
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES,
    }


def write(data: Path) -> None:
    root = data / "coco"
    (root / "annotations").mkdir(parents=True)
    rng = np.random.default_rng(2)
    for half, n, first in (("train2017", 60, 9), ("val2017", 32, 139)):
        content = instances(n, first, seed=first)
        (root / "annotations" / f"instances_{half}.json").write_text(json.dumps(content))
        (root / half).mkdir()
        with_bed = {entry["image_id"] for entry in content["annotations"] if entry["category_id"] == 65}
        for entry in content["images"]:
            shade = 150 if entry["id"] in with_bed else 0
            pixels = rng.integers(0, 100, size=(entry["height"], entry["width"], 3)) + shade
            Image.fromarray(pixels.astype(np.uint8)).save(root / half / entry["file_name"], quality=60)
