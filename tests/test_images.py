"""Files of images as a viewer shows them: upright, in their own range, on a ground; or as they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from weakspot.datasets.image_folder import ImageFolder
from weakspot.images import to_rgb

CORNER = np.zeros((8, 12, 3), dtype=np.uint8)
CORNER[:4, :4] = 200  # a bright square in the upper left of an image twelve wide


def saved(image: Image.Image, file: Path, **options: Any) -> Image.Image:
    image.save(file, **options)
    return Image.open(file)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_image_upright(tmp_path, suffix, orientation) -> None:
    options = {"jpg": {"quality": 100}, "webp": {"lossless": True}}.get(suffix, {})
    with saved(
        Image.fromarray(CORNER), tmp_path / f"a.{suffix}", exif=turned(orientation), **options
    ) as file:
        found = to_rgb(file)
        stored = to_rgb(file, "as_stored")
    with Image.open(tmp_path / f"a.{suffix}") as file:
        expected = ImageOps.exif_transpose(file)
    assert found.size == expected.size == ((12, 8) if orientation < 5 else (8, 12))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected.convert("RGB")))
    if suffix != "tiff":  # PIL turns them by itself
        np.testing.assert_allclose(np.asarray(stored).astype(int), CORNER, atol=3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # PIL's, as it opens the file
@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0"])
def test_damaged_exif_data_are_passed_over(tmp_path, exif) -> None:
    with saved(Image.fromarray(CORNER), tmp_path / "a.jpg", exif=exif) as file:
        assert to_rgb(file).size == (12, 8)


LEVELS = np.arange(64, dtype=np.uint16).reshape(8, 8)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize(
    ("levels", "shown", "stored"),
    [
        (LEVELS * 65 * 16, 65 * 63 * 16 >> 8, 65 * 63 * 16 >> 8),  # all 16 bits are used
        (LEVELS * 65, 65 * 63 >> 4, 65 * 63 >> 8),  # 12 bits, up to 4095: nearly black as stored
        (LEVELS * 4, 4 * 63, 0),  # 8 bits
    ],
    ids=["16 bits", "12 bits", "8 bits"],
)
def test_grey_of_fewer_bits_in_files_of_sixteen(tmp_path, suffix, levels, shown, stored) -> None:
    with saved(Image.fromarray(levels), tmp_path / f"a.{suffix}") as file:
        assert file.mode == "I;16"
        assert np.asarray(to_rgb(file)).max() == shown
        assert np.asarray(to_rgb(file, "as_stored")).max() == stored


@pytest.mark.parametrize(("most", "dtype"), [(255, "u1"), (4095, ">u2"), (65535, ">u2")])
def test_a_pgm_file_says_what_its_whitest_level_is(tmp_path, most, dtype) -> None:
    levels = np.array([0, most // 2, most], dtype=dtype)
    (tmp_path / "a.pgm").write_bytes(b"P5\n3 1\n%d\n" % most + levels.tobytes())
    for pixels in ("as_shown", "as_stored"):
        with Image.open(tmp_path / "a.pgm") as file:
            assert np.asarray(to_rgb(file, pixels))[0, :, 0].tolist() == [0, 127, 255]


def drawing(ink: tuple[int, int, int, int], mode: str = "RGBA") -> Image.Image:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((5, 5, 14, 14), fill=ink)
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [((0, 0, 0, 255), 255), ((90, 90, 90, 255), 255), ((255, 255, 255, 255), 0), ((250, 250, 250, 128), 0)],
)
def test_what_is_drawn_on_transparency_is_seen(mode, ink, ground) -> None:
    found = np.asarray(to_rgb(drawing(ink, mode))).astype(int)
    assert found[0, 0].tolist() == [ground] * 3
    assert abs(found[10, 10] - found[0, 0]).min() > 100
    alpha = ink[3] / 255
    assert found[10, 10, 0] == pytest.approx(alpha * ink[0] + (1 - alpha) * ground, abs=1)
    stored = np.asarray(to_rgb(drawing(ink, mode), "as_stored"))
    assert stored[10, 10].tolist() == list(ink[:3])
    assert stored[0, 0].tolist() == [0, 0, 0]


def test_transparent_palettes_and_colours(tmp_path) -> None:
    image = Image.new("P", (10, 10), 1)
    image.putpalette([0, 0, 0, 60, 0, 0])
    image.paste(0, (0, 0, 5, 10))
    with saved(image, tmp_path / "a.gif", transparency=0) as file:
        assert np.asarray(to_rgb(file))[0, [0, 9]].tolist() == [[255, 255, 255], [60, 0, 0]]
        assert np.asarray(to_rgb(file, "as_stored"))[0, [0, 9]].tolist() == [[0, 0, 0], [60, 0, 0]]
    with saved(Image.fromarray(CORNER), tmp_path / "b.png", transparency=(0, 0, 0)) as file:
        assert np.asarray(to_rgb(file))[0, [0, 9], 0].tolist() == [200, 255]


def test_a_image_without_transparent_parts_keeps_its_colours() -> None:
    white = Image.new("RGBA", (4, 4), (255, 255, 255, 255))
    assert np.asarray(to_rgb(white)).min() == 255
    assert np.asarray(to_rgb(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))).min() == 255  # there is nothing to see


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, size=(6, 6), dtype=np.uint8)
    for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK", "P", "HSV"):
        for pixels in ("as_shown", "as_stored"):
            assert to_rgb(Image.fromarray(grey).convert("RGB").convert(mode), pixels).mode == "RGB"
    transparent = Image.fromarray(grey).convert("P")
    transparent.info["transparency"] = bytes(range(256))
    assert to_rgb(transparent).mode == "RGB"
    with pytest.raises(ValueError, match="no agreed range"):
        to_rgb(Image.fromarray(grey.astype(np.float32)))


def test_it_is_a_setting_of_a_folder_of_images(tmp_path) -> None:
    folder = tmp_path / "test" / "cat"
    folder.mkdir(parents=True)
    Image.fromarray(CORNER).save(folder / "a.png", exif=turned(6))
    assert ImageFolder("test", tmp_path).preview(0).size == (8, 12)
    assert ImageFolder("test", tmp_path, pixels="as_stored").preview(0).size == (12, 8)
    with pytest.raises(ValueError, match=r"dataset.pixels='raw' is unknown; choose as_shown or as_stored"):
        ImageFolder("test", tmp_path, pixels="raw")
