"""Converts images of any mode to full colour, for datasets and pages."""

from __future__ import annotations

import io
import warnings
from typing import Literal, get_args

import numpy as np
from PIL import Image
from PIL.Image import Transpose

Pixels = Literal["as_shown", "as_stored"]
"""How a file is decoded: as a viewer shows it, or as its pixels are stored."""

_TURNS = {  # EXIF's orientations other than 1, and what turns each upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_NEARLY_WHITE = 0.9  # of full luma; a brighter drawing cannot be seen on white


def check_pixels(pixels: str) -> None:
    """Raise ValueError if `pixels` is unknown."""
    if pixels not in get_args(Pixels):
        raise ValueError(f"dataset.pixels={pixels!r} is unknown; choose {' or '.join(get_args(Pixels))}")


def to_rgb(image: Image.Image, pixels: Pixels = "as_shown") -> Image.Image:
    """Convert any PIL image to full colour with 8 bits per channel.

    Args:
        image: An image, or a file that `Image.open` opened and that is still open.
        pixels: "as_shown", as a viewer shows the file: turned upright by its EXIF data; a transparent image on
            white, or on black if the drawing is nearly white itself; 16-bit grey levels that use only 12 or 8
            bits in the range of those. "as_stored", as most training code reads it: not turned, without its
            alpha channel, the upper 8 of 16 bits.

    Raises:
        ValueError: If the image has 32 bits per channel, whose values have no agreed range.
    """
    upright = _upright(image) if pixels == "as_shown" else image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _eight_bits(upright, pixels).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"images of PIL's mode {image.mode} have no agreed range; save it with 8 or 16 bits")
    if pixels == "as_shown" and is_transparent(image):
        return _over_ground(upright.convert("RGBA"))
    if image.mode == "P":
        upright = upright.convert("RGBA")  # converted straight to RGB, PIL warns of transparent palettes
    return upright.convert("RGB")


def over(image: Image.Image, ground: str) -> Image.Image:
    """Draw a transparent image (RGBA) on a background of one colour."""
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")


def is_transparent(image: Image.Image) -> bool:
    """Return whether the image has an alpha channel, or a transparent palette entry or colour."""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def viewable(image: Image.Image) -> Image.Image:
    """Convert the image to RGB, or to RGBA if parts of it are transparent.

    Grey levels beyond eight bits (X-rays, depth) are stretched over their own range.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        levels = np.asarray(image, dtype=np.float64)
        finite = levels[np.isfinite(levels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        scaled = np.nan_to_num((levels - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
        return Image.fromarray((255 * scaled).astype(np.uint8)).convert("RGB")
    return image.convert("RGBA" if is_transparent(image) else "RGB")


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """Return a copy that can be shown, with neither side longer than `side`; a small image keeps its size."""
    small = viewable(image)
    if max(small.size) > side:
        small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small


def webp(image: Image.Image, quality: int, lossless: bool) -> bytes:
    """Return the image as a WebP file, which every browser shows."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, lossless=lossless, method=3)
    return buffer.getvalue()


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # then PIL turns TIFF files itself, and finds the EXIF data at the end of PNG files
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF data do not make an image unreadable
            turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # PIL's reader raises half a dozen kinds of exceptions
        turn = None
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image, pixels: Pixels) -> Image.Image:
    """Convert grey levels of 16 bits to 8; PIL itself would clip them."""
    levels = np.asarray(image)
    most = int(levels.max(initial=0))
    bits = (
        16 if pixels == "as_stored" or image.mode == "I" else 8 if most < 256 else 12 if most < 4096 else 16
    )
    return Image.fromarray((levels >> (bits - 8)).astype(np.uint8))


def _over_ground(image: Image.Image) -> Image.Image:
    alpha = np.asarray(image.getchannel("A"), dtype=np.float64)
    luma = np.asarray(image.convert("RGB").convert("L"), dtype=np.float64) / 255
    shown, hidden = alpha.sum(), (alpha < 255).any()
    light = shown > 0 and hidden and (luma * alpha).sum() / shown > _NEARLY_WHITE
    return over(image, "black" if light else "white")
