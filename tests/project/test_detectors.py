"""The scripts of docs/detectors.md, run unchanged on drawn images, lead to a confirmed slice with crops."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from page_scripts import page_scripts
from shell import Shell
from weakspot.pipeline.file_previews import FilePreviews
from weakspot.predictions import Predictions

SCRIPTS = page_scripts("detectors.md")
SIDE = 96


def module_of(name: str) -> Any:
    module = types.ModuleType(name.removesuffix(".py"))
    exec(SCRIPTS[name], module.__dict__)  # the page's own code
    return module


def draw(folder: Path, n: int = 90) -> None:
    """Write COCO files of images with four squares each, and results of a detector that misses most small dark ones."""
    rng = np.random.default_rng(0)
    images, annotations, results = [], [], []
    (folder / "images").mkdir()
    for number in range(n):
        pixels = np.full((SIDE, SIDE, 3), 130, dtype=np.uint8)
        for quarter in range(4):
            small, dark = rng.random(2) < 0.5
            side = int(rng.integers(6, 11)) if small else int(rng.integers(20, 32))
            x = int(rng.integers(2, 46 - side)) + 48 * (quarter % 2)
            y = int(rng.integers(2, 46 - side)) + 48 * (quarter // 2)
            pixels[y : y + side, x : x + side] = rng.integers(10, 50) if dark else rng.integers(200, 250)
            box = [x, y, side, side]
            polygon = [x, y, x + side - 1, y, x + side - 1, y + side - 1, x, y + side - 1]
            about = {"image_id": number + 1, "category_id": 7, "bbox": box, "segmentation": [polygon]}
            annotations.append({**about, "id": len(annotations) + 1, "iscrowd": 0, "area": side * side})
            if rng.random() < (0.15 if small and dark else 0.95):
                shifted = [x + 0.4, y, side, side + 0.5]
                results.append({**about, "bbox": shifted, "score": round(float(rng.uniform(0.5, 1)), 3)})
        name = f"{number + 1:012d}.png"
        Image.fromarray(pixels).save(folder / "images" / name)
        images.append({"id": number + 1, "file_name": name, "width": SIDE, "height": SIDE})
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "square"}]}
    (folder / "instances.json").write_text(json.dumps(coco))
    (folder / "results.json").write_text(json.dumps(results))


def embed(crop: Image.Image) -> list[float]:
    levels = np.asarray(crop.convert("L").resize((3, 3)), dtype=float).ravel() / 255
    return [*levels.tolist(), crop.width / 16]


@pytest.mark.slow
def test_small_dark_objects_that_a_detector_misses_are_found(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(shell.folder)
    monkeypatch.chdir(shell.folder)
    encoder = types.ModuleType("encoder")
    encoder.embed = embed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "encoder", encoder)
    exec(SCRIPTS["instances.py"], {"__name__": "__main__"})

    file = "images/instances.parquet"
    said = shell(
        "discover",
        f"predictions={file}",
        "dataset.group=image",
        "dataset.hide=[outcome,iou,score]",
        "logger=none",
    )
    assert "confirmed" in said
    findings = json.loads(next(shell.folder.glob("**/findings.json")).read_text())
    finding = findings["findings"][0]
    assert finding["verdict"] == "confirmed"
    assert finding["accuracy"]["inside"] < 0.4
    assert any(word in finding["name"] for word in ("area", "brightness", "box.width", "box.height")), (
        finding["name"]
    )
    # a finding's examples are shown as magnified crops of the image, with their boxes
    previews = FilePreviews(Predictions.load(file))
    for row in finding["top_examples"][:3]:
        crop = previews.preview(int(row))
        assert min(crop.size) > 64
        assert (np.asarray(crop) == 255).all(axis=-1).any()  # the white line of the box
    assert "data:image/webp" in shell.reports()[0].read_text()


def test_boxes_are_matched_greedily_by_score_within_their_class() -> None:
    page = module_of("instances.py")
    truth = [{"bbox": [0, 0, 10, 10], "category_id": 1}, {"bbox": [4, 0, 10, 10], "category_id": 1}]
    found = [
        {"bbox": [0, 0, 10, 10], "category_id": 1, "score": 0.5},
        {
            "bbox": [1, 0, 10, 10],
            "category_id": 1,
            "score": 0.9,
        },  # takes the first object, as the more certain one
        {"bbox": [4, 0, 10, 10], "category_id": 2, "score": 0.8},  # of another class
    ]
    ious = page.box_ious(found, truth)
    np.testing.assert_allclose(ious[1], [90 / 110, 70 / 130])
    assert page.match(found, truth, ious) == [None, 0, None]
    assert page.box_ious([], truth).shape == (0, 2)
    assert page.match([], truth, page.box_ious([], truth)) == []


def test_the_iou_of_masks_is_that_of_their_pixels() -> None:
    page = module_of("masks.py")
    squares = [{"segmentation": [[x, 0, x + 9, 0, x + 9, 9, x, 9]]} for x in (0, 5, 30)]
    ious = page.mask_ious(squares[:1], squares, size=(50, 20))
    np.testing.assert_allclose(ious, [[1, 50 / 150, 0]])
    assert page.mask_ious([], squares, size=(50, 20)).shape == (0, 3)


def test_the_encoder_of_the_page_takes_a_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    code = SCRIPTS["encoder.py"].replace("resnet18(weights=WEIGHTS)", "resnet18()")  # without a download
    space: dict[str, Any] = {}
    exec(code, space)
    assert len(space["embed"](Image.new("RGB", (5, 9)))) == 512


# --- images of predictions=FILE


def record(folder: Path, **columns: Any) -> Predictions:
    n = len(next(iter(columns.values())))
    table = pa.table({"embedding": [[float(row), 0.0] for row in range(n)], "loss": [0.5] * n, **columns})
    pq.write_table(table, folder / "p.parquet", row_group_size=2)
    return Predictions.load(folder / "p.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("inside/a.png", "outside.png"):
        Image.new("RGB", (200, 100), "red").save(tmp_path / name)
    return inside


def test_a_row_shows_its_crop_or_its_whole_image_or_nothing(folder: Path) -> None:
    boxes = [[10, 20, 30, 40], None, [10, 20, 30, 40], [900, 900, 5, 5]]
    p = record(folder, image=["a.png", "a.png", None, "a.png"], box=boxes)
    assert p.attributes.select(["box.x", "box.height"]).slice(0, 2).to_pylist() == [
        {"box.x": 10, "box.height": 40},
        {"box.x": None, "box.height": None},
    ]
    previews = FilePreviews(p)
    assert previews.preview(0).size == (2 * 52, 2 * 64)  # a margin of 12 pixels, all magnified twice
    assert previews.preview(1).size == (200, 100)
    assert previews.preview(2) is None
    assert previews.preview(3).size == (200, 100)  # a box outside of the image


def test_encoded_images_are_read_from_their_row_group(folder: Path) -> None:
    encoded = (folder / "a.png").read_bytes()
    for image in (
        [encoded, None, b"no image"],
        [{"bytes": encoded, "path": "x"}, None, {"bytes": b"no", "path": ""}],
    ):
        p = record(folder, image=image)
        assert "image" not in p.attributes.column_names
        previews = FilePreviews(p)
        assert previews.preview(0).size == (200, 100)
        assert previews.preview(1) is None
        assert previews.preview(2) is None


@pytest.mark.parametrize("path", ["a\0.png", "x" * 5000 + ".png", "circle.png"])
def test_an_impossible_path_is_reported_with_its_row(path: str, folder: Path) -> None:
    (folder / "circle.png").symlink_to("circle.png")
    with pytest.raises((ValueError, FileNotFoundError), match="of row 1"):
        FilePreviews(record(folder, image=["a.png", path]))


@pytest.mark.parametrize(
    "path", ["../outside.png", "/etc/passwd.png", "link.png", "file:///etc/x.png", "a/../../outside.png"]
)
def test_paths_that_lead_out_of_the_folder_are_refused(path: str, folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    with pytest.raises(ValueError, match=r"of row 1 is not below .*dataset\.root"):
        FilePreviews(record(folder, image=["a.png", path]))
    if path == "../outside.png":
        with pytest.raises(FileNotFoundError, match="of row 1; say what paths are relative to"):
            FilePreviews(record(folder, image=["a.png", "b.png"]))
        assert FilePreviews(record(folder, image=["inside/a.png"]), folder.parent).preview(0).size == (
            200,
            100,
        )


def test_names_and_urls_are_attributes_rather_than_paths(folder: Path) -> None:
    for image in (["cat", "dog"], ["https://x.org/a.png", "https://x.org/b.png"], [1, 2]):
        assert not FilePreviews(record(folder, image=image))


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 0, 4], [1, 2, 3, float("nan")], [1, 2, 3, -4]])
def test_an_invalid_box_is_reported_with_its_row(box: list[float], folder: Path) -> None:
    with pytest.raises(ValueError, match=r"'box' is .* in row 1"):
        record(folder, image=["a.png"] * 2, box=[[1, 2, 3, 4], box])
