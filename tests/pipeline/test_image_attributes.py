"""Properties of images: the values themselves, and that they are recorded at little cost."""

from __future__ import annotations

import functools
import time

import numpy as np
import pyarrow as pa
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image, ImageFilter
from pytorch_lightning import Trainer, seed_everything

from weakspot.commands.audit_target import hidden_attributes
from weakspot.datasets.base import Dataset, digest
from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.datasets.datamodule import DataModule
from weakspot.datasets.image_folder import ImageFolder
from weakspot.explain.image_properties import PROPERTIES, image_properties
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline.image_attributes import add_image_properties
from weakspot.pipeline.infer import infer
from weakspot.predictions import Predictions
from weakspot.predictions.shards import write_shard
from weakspot.tasks import Classification

CPU = functools.partial(Trainer, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
SIZE = ["width", "height", "aspect"]


def noise(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("colour", "brightness", "colourfulness"),
    [
        ("black", 0.0, 0.0),
        ("white", 1.0, 0.0),
        ((128, 128, 128), 128 / 255, 0.0),
        ("red", 76 / 255, 0.3 * np.hypot(255, 127.5)),  # luma .299; rg = 255, yb = 127.5
        ("blue", 29 / 255, 0.3 * 255),  # luma .114; rg = 0, yb = -255
    ],
)
def test_one_colour(colour, brightness, colourfulness):
    found = image_properties(Image.new("RGB", (50, 20), colour))
    assert tuple(found) == PROPERTIES
    assert found["brightness"] == pytest.approx(brightness)
    assert found["colourfulness"] == pytest.approx(colourfulness, abs=1e-4)
    assert found["contrast"] == pytest.approx(0, abs=1e-6)
    assert found["sharpness"] == pytest.approx(0, abs=1e-6)
    assert (found["width"], found["height"], found["aspect"]) == (50, 20, 2.5)


def test_properties_match_their_definitions():
    pixels = noise().astype(float)
    found = image_properties(Image.fromarray(noise()))
    luma = np.asarray(Image.fromarray(noise()).convert("L"), dtype=float)
    laplacian = [
        luma[y - 1, x] + luma[y + 1, x] + luma[y, x - 1] + luma[y, x + 1] - 4 * luma[y, x]
        for y in range(1, 39)
        for x in range(1, 59)
    ]
    rg = pixels[..., 0] - pixels[..., 1]
    yb = (pixels[..., 0] + pixels[..., 1]) / 2 - pixels[..., 2]
    m3 = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    expected = [luma.mean() / 255, luma.std() / 255, np.var(laplacian), m3]
    assert list(found.values())[:4] == pytest.approx(expected, rel=1e-4)


def test_a_blurred_image_is_less_sharp_at_any_size():
    large = Image.fromarray(noise(75, 100)).resize((1600, 1200), Image.Resampling.NEAREST)
    sharp = image_properties(large)
    assert image_properties(large.filter(ImageFilter.GaussianBlur(20)))["sharpness"] < sharp["sharpness"] / 4
    assert (sharp["width"], sharp["height"]) == (1600, 1200)


GREY = Image.fromarray(np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8))


@pytest.mark.parametrize(
    "image",
    [
        GREY.convert("RGB"),
        GREY.convert("P"),
        GREY.convert("LA"),
        GREY.convert("RGBA"),
        GREY.convert("CMYK"),
        GREY.convert("YCbCr"),
        Image.fromarray(np.asarray(GREY, dtype=np.uint16) * 16),
        Image.fromarray(np.asarray(GREY, dtype=np.int32) - 100),
        Image.fromarray(np.asarray(GREY, dtype=np.float32) / 7),
    ],
    ids=["RGB", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"],
)
def test_every_image_mode_gives_the_same_values(image):
    expected = image_properties(GREY)
    found = image_properties(image)
    # the brightest 8-bit value is 252; deeper images are stretched so that their brightest is 255
    assert found["brightness"] == pytest.approx(expected["brightness"], rel=0.02)
    assert found["contrast"] == pytest.approx(expected["contrast"], rel=0.02)
    assert found["colourfulness"] == pytest.approx(0, abs=1e-4)


def test_one_bit_black_and_white_images():
    board = Image.fromarray(np.indices((6, 6)).sum(axis=0) % 2 == 1)
    assert board.mode == "1"
    found = image_properties(board)
    assert (found["brightness"], found["contrast"]) == pytest.approx((0.5, 0.5))
    # every inner square differs from all four neighbours: half are +1020, half -1020
    assert found["sharpness"] == pytest.approx(1020**2)


def test_transparent_parts_count_as_white():
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    assert image_properties(image)["brightness"] == pytest.approx(1)
    palette = Image.new("P", (10, 10), 0)
    palette.info["transparency"] = 0
    assert image_properties(palette)["brightness"] == pytest.approx(1)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (2, 2), (300, 1), (1, 60_000)])
def test_the_thinnest_images_have_finite_properties(size):
    assert np.isfinite(list(image_properties(Image.new("RGB", size, "red")).values())).all()


def test_an_image_takes_about_a_millisecond():
    image = Image.fromarray(noise(224, 224))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        image_properties(image)
        times.append(time.perf_counter() - start)
    assert min(times) < 5e-3  # 0.8 ms when nothing else runs


def write_images(root, n: int = 6) -> None:
    for row in range(n):
        folder = root / "test" / ("even", "odd")[row % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(20 + row, 30, seed=row) // (1 + row)).save(folder / f"{row}.png")


def model(dataset):
    seed_everything(0, verbose=False)
    return SmallCNN(dataset.task)


@pytest.mark.parametrize(("workers", "precision"), [(0, "32-true"), (2, "32-true"), (0, "bf16-true")])
def test_inference_records_properties_beside_the_attributes(tmp_path, workers, precision):
    write_images(tmp_path / "images")
    make = functools.partial(ImageFolder, root=tmp_path / "images", size=32)
    data = DataModule(make, batch_size=4, num_workers=workers)
    trainer = functools.partial(CPU, precision=precision)
    p = infer(model(make("test")), data, "test", trainer, tmp_path / "record", {})
    expected = [image_properties(make("test").preview(row)) for row in range(6)]
    names = [name for name in PROPERTIES if name != "width"]  # 30 everywhere, so it describes nothing
    assert p.attributes.column_names == [f"image.{name}" for name in names]
    for name in names:
        found = p.attributes[f"image.{name}"].to_pylist()
        assert found == pytest.approx([values[name] for values in expected])
    assert Predictions.load(tmp_path / "record").attributes.equals(p.attributes)


def test_each_image_is_opened_once(tmp_path):
    opened = []

    class Watched(ColoredDigits):
        def preview(self, row):
            opened.append(row)
            return super().preview(row)

    data = DataModule(Watched, batch_size=100)
    p = infer(model(Watched("test")), data, "test", CPU, tmp_path / "record", {})
    assert opened == [0, *range(len(p))]  # the first row also to see whether there are images at all
    assert [name for name in p.attributes.column_names if name.removeprefix("image.") in SIZE] == []
    brightness = p.attributes["image.brightness"].to_numpy()
    green = np.array(p.attributes["colour"].to_pylist()) == "green"
    assert np.median(brightness[green]) > brightness[~green].max()  # by luma, green is brighter than red


class Apart(Dataset):
    """Rows whose input does not depend on their preview."""

    shown: list = []  # noqa: RUF012

    def __init__(self, split, root=None):
        super().__init__(split, root)
        self.task = Classification(("a", "b"))
        self.targets = np.arange(len(self.shown)) % 2
        self.examples = pa.table(
            {"id": [str(row) for row in range(len(self.shown))], "image.aspect": [9.0] * 3}
        )

    def input(self, row):
        return torch.full((3, 32, 32), float(row))

    def preview(self, row):
        return self.shown[row]

    def fingerprint(self):
        return digest(self.examples, self.targets)


@pytest.mark.parametrize("shown", [["a text"] * 3, [{"rating": 1}] * 3, [None] * 3])
def test_without_images_nothing_is_added(tmp_path, monkeypatch, shown):
    monkeypatch.setattr(Apart, "shown", shown)
    p = infer(model(Apart("test")), DataModule(Apart), "test", CPU, tmp_path / "record", {})
    assert p.attributes.column_names == ["image.aspect"]


@pytest.mark.parametrize("shown", ["a text", {"user": 3}, Image.new("RGB", (4, 4))])
def test_properties_can_be_hidden_if_there_are_images(monkeypatch, shown):
    monkeypatch.setattr(Apart, "shown", [shown] * 3)
    data = Apart("test")
    cfg = OmegaConf.create({"dataset": {"hide": ["image.width"]}})
    if isinstance(shown, Image.Image):
        assert hidden_attributes(cfg, data.examples, data) == ("image.width",)
        return
    with pytest.raises(
        ValueError, match=r"^dataset\.hide=\[image\.width\]: there is no attribute 'image\.width'"
    ):
        hidden_attributes(cfg, data.examples, data)


def test_the_datasets_own_column_is_kept_and_rows_without_an_image_have_nulls(tmp_path, monkeypatch):
    shown = [Image.new("L", (40, 10), 51), None, Image.new("L", (20, 10), 102)]
    monkeypatch.setattr(Apart, "shown", shown)
    p = infer(model(Apart("test")), DataModule(Apart), "test", CPU, tmp_path / "record", {})
    assert p.attributes.to_pydict() == {
        "image.aspect": [9.0] * 3,
        "image.brightness": [pytest.approx(0.2), None, pytest.approx(0.4)],
        "image.width": [40, None, 20],
    }


def test_a_property_that_equals_a_column_of_the_dataset_is_left_out():
    measured = np.tile(np.arange(3.0)[:, None] + 1, (1, len(PROPERTIES)))
    found = add_image_properties(pa.table({"width": [1, 2, 3], "height": [3, 2, 1]}), measured)
    assert "image.width" not in found.column_names
    assert "image.height" in found.column_names


def test_rows_that_an_older_version_inferred_have_missing_values(tmp_path):
    data = ColoredDigits("test")
    whole = infer(model(data), DataModule(ColoredDigits), "test", CPU, tmp_path / "whole", {})
    rows = np.arange(400)
    fields = ("embeddings", "outputs", "labels", "predictions", "correct", "losses")
    old = {"index": rows, **{name: np.array(getattr(whole, name)[rows]) for name in fields}}
    write_shard(tmp_path / "resumed", 0, old)
    resumed = infer(model(data), DataModule(ColoredDigits), "test", CPU, tmp_path / "resumed", {})
    assert resumed.attributes["image.brightness"].null_count == 400
    assert resumed.attributes.slice(400).equals(whole.attributes.slice(400))
