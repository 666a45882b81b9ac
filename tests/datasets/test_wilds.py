"""Waterbirds and iWildCam in WILDS' layout: splits and attributes come from metadata.csv, and bad rows are named."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from layouts import iwildcam, waterbirds
from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.iwildcam import IWildCam
from weakspot.datasets.waterbirds import Waterbirds


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    waterbirds.write(folder)
    iwildcam.write(folder)
    return folder


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file) as text:
        return list(csv.DictReader(text))


def test_waterbirds_follow_the_metadata(data: Path) -> None:
    root = data / "waterbirds"
    rows = rows_of(root / "waterbirds_v1.0" / "metadata.csv")
    for code, split in enumerate(Waterbirds.splits):
        dataset = Waterbirds(split, root)
        expected = [row for row in rows if row["split"] == str(code)]
        assert dataset.targets.tolist() == [int(row["y"]) for row in expected]
        for found, row in zip(dataset.examples.to_pylist(), expected, strict=True):
            place, bird = ("land", "water")[int(row["place"])], ("landbird", "waterbird")[int(row["y"])]
            folder, _ = row["img_filename"].split("/")
            scene = row["place_filename"].removeprefix(row["place_filename"][:3]).rpartition("/")[0]
            assert found == {
                "id": row["img_filename"],
                "place": place,
                "group": f"{bird} on {place}",
                "species": folder,
                "scene": scene,
            }
    scenes = set(Waterbirds("test", root).examples["scene"].to_pylist())
    assert scenes == {"ocean", "bamboo_forest"}


def test_waterbirds_root_may_be_any_of_three_folders(data: Path, tmp_path: Path) -> None:
    published = data / "waterbirds" / "waterbirds_v1.0"
    (tmp_path / "waterbird_complete95_forest2water2").symlink_to(published)
    found = [Waterbirds("val", root).files for root in (data / "waterbirds", published, tmp_path)]
    assert found[0] == found[1] == found[2]


def test_iwildcam_follows_the_metadata(data: Path) -> None:
    root = data / "iwildcam"
    rows = rows_of(root / "iwildcam_v2.0" / "metadata.csv")
    for split in IWildCam.splits:
        dataset = IWildCam(split, root)
        expected = [row for row in rows if row["split"] == split]
        assert dataset.targets.tolist() == [int(row["y"]) for row in expected]
        assert dataset.files == [f"train/{row['filename']}" for row in expected]
        for found, row in zip(dataset.examples.to_pylist(), expected, strict=True):
            assert found["location"] == row["location_remapped"]
            assert found["sequence"] == row["sequence_remapped"]
            when = f"{found['year']:04d}-{found['month']:02d}", f"{found['hour']:02d}"
            assert when == (row["datetime"][:7], row["datetime"][11:13])
    assert dataset.task.classes == ("empty", "tayassu pecari", "mazama temama", "mazama temama (3)")


def test_iwildcam_pixels_are_the_published_transform(data: Path) -> None:
    dataset = IWildCam("test", data / "iwildcam", size=96)
    with Image.open(dataset.path(0)) as file:
        expected = v2.Compose([v2.Resize((96, 96)), v2.PILToTensor()])(file).float() / 255
    torch.testing.assert_close(dataset[0]["input"], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("make", "file", "old", "new", "message"),
    [
        (Waterbirds, "metadata.csv", ",1,0,1,/o", ",2,0,1,/o", r"metadata\.csv, line \d+: y is '2', not one of: 0, 1"),
        (Waterbirds, "metadata.csv", "_0004_796003.jpg", ".jpg", r"line 5: there is no file .*Albatross\.jpg"),
        (Waterbirds, "metadata.csv", ",place,", ",a,", r"metadata\.csv has no column 'place'; it has: img_id, "),
        (IWildCam, "metadata.csv", ",test,", ",tset,", r"line 3: split is 'tset', not one of: train, val"),
        (IWildCam, "metadata.csv", ",0,0,2013", ",9,0,2013", r"line \d+: y is '9', not one of: 0, 1, 2, 3"),
        (IWildCam, "metadata.csv", "2013-02-05 01", "5 Feb 13 01", r"line 3: datetime is '5 Feb 13 01:59.*2013-04-05"),
        (IWildCam, "categories.csv", "3,571", "7,571", r"categories\.csv, line 5: y is '7', not one of: 0, 1, 2, 3"),
        (IWildCam, "categories.csv", "3,571", "2,571", r"categories\.csv, line 5: y is 2, as in another line"),
        (IWildCam, "categories.csv", "y,category", "label,category", r"categories\.csv has no column 'y'"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(
    make: Callable[..., ImageFiles], file: str, old: str, new: str, message: str, data: Path, tmp_path: Path
) -> None:
    root = next((data / make.__name__.lower()).iterdir())
    shutil.copytree(root, tmp_path / "copy", copy_function=lambda a, b: Path(b).symlink_to(a))
    spoilt = (root / file).read_text().replace(old, new, 1)
    assert spoilt != (root / file).read_text()
    (tmp_path / "copy" / file).unlink()
    (tmp_path / "copy" / file).write_text(spoilt)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make("test", tmp_path / "copy")


@pytest.mark.parametrize("make", [Waterbirds, IWildCam])
def test_an_image_in_two_splits_or_a_file_in_another_encoding_is_named(
    make: Callable[..., ImageFiles], data: Path, tmp_path: Path
) -> None:
    root = next((data / make.__name__.lower()).iterdir())
    first, *lines = (root / "metadata.csv").read_text().splitlines()
    twin = lines[0].replace(",train,", ",test,") if make is IWildCam else lines[0]
    if make is Waterbirds:
        column = first.split(",").index("split")
        cells = twin.split(",")
        twin = ",".join([*cells[:column], str((int(cells[column]) + 1) % 3), *cells[column + 1 :]])
    (tmp_path / "metadata.csv").write_text("\n".join([first, *lines, twin]) + "\n")
    (tmp_path / "categories.csv").write_text("y,name\n0,empty\n")
    with pytest.raises(ValueError, match=rf"metadata\.csv, line {len(lines) + 2}: .* is in line 2 already"):
        make("test", tmp_path)
    bad = lines[1].replace(".jpg", "\xe9.jpg").encode("latin-1")
    (tmp_path / "metadata.csv").write_bytes(b"\n".join([first.encode(), lines[0].encode(), bad, b""]))
    with pytest.raises(ValueError, match=r"metadata\.csv, line 3: '.*é\.jpg' is not UTF-8 text"):
        make("test", tmp_path)
    (tmp_path / "metadata.csv").write_bytes((first + ",gr\xf6\xdfe\n").encode("latin-1"))
    with pytest.raises(ValueError, match=r"metadata\.csv, line 1: column names are not UTF-8 text"):
        make("test", tmp_path)


def test_missing_metadata_is_named(tmp_path: Path) -> None:
    for make in (Waterbirds, IWildCam):
        with pytest.raises(FileNotFoundError, match=r"no metadata\.csv in .* or below it: set dataset\.root"):
            make("test", tmp_path)
