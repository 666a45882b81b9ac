"""Measures any image without a model: how bright, sharp, colourful and large it is."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from PIL import Image

from weakspot.images import over, viewable

PROPERTIES = ("brightness", "contrast", "sharpness", "colourfulness", "width", "height", "aspect")
"""What `image_properties` measures, in this order."""

PREFIX = "image."
"""The prefix of the attributes that hold them."""

_SIDE = 256  # pixels; about what a model sees, and large images cost no more than small ones


def image_properties(image: Image.Image) -> dict[str, float]:
    """Measure an image: models fail on dark, blurred, pale or tiny ones, whatever they show.

    All but the size is measured on the image reduced to at most 256 pixels a side, so that images of different
    resolutions are comparable. Transparent parts are taken to lie on white.

    Args:
        image: Any PIL image; grey levels beyond eight bits are stretched over their own range.

    Returns:
        By name, in the order of `PROPERTIES`: the mean and the standard deviation of the luma, in [0, 1] (`brightness`,
        `contrast`); the variance of its Laplacian on grey levels from 0 to 255, low where an image is blurred
        (`sharpness`, Pech-Pacheco et al. 2000); the metric M3 of Hasler and Süsstrunk 2003, from 0 for grey to about
        110 for the most vivid photographs (`colourfulness`); `width` and `height` in pixels, and width over height
        (`aspect`).
    """
    small = _shrink(image)
    luma = np.asarray(small.convert("L"), dtype=np.float32)
    return {
        "brightness": float(luma.mean()) / 255,
        "contrast": math.sqrt(_variance(luma)) / 255,
        "sharpness": _laplacian_variance(luma),
        "colourfulness": 0.0 if small.mode == "L" else _colourfulness(small),
        "width": float(image.width),
        "height": float(image.height),
        "aspect": image.width / image.height,
    }


def _shrink(image: Image.Image) -> Image.Image:
    """Return the image as L or RGB, on white, with at most 256 pixels a side."""
    if image.mode not in ("L", "RGB") or "transparency" in image.info:
        image = viewable(image)
    longest = max(image.size)
    if longest > _SIDE:
        size = [max(1, round(side * _SIDE / longest)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if image.mode == "RGBA":
        image = over(image, "white")
    return image


def _laplacian_variance(luma: Float[np.ndarray, "h w"]) -> float:
    """Return the variance of the Laplacian; 0 for images of less than three pixels a side."""
    if min(luma.shape) < 3:
        return 0.0
    around = luma[:-2, 1:-1] + luma[2:, 1:-1]
    for term in (luma[1:-1, :-2], luma[1:-1, 2:], -4 * luma[1:-1, 1:-1]):
        around += term
    return _variance(around)


def _colourfulness(image: Image.Image) -> float:
    """Return √(σ²_rg + σ²_yb) + 0.3 √(μ²_rg + μ²_yb), of the opponent colours rg = R - G and yb = (R + G) / 2 - B."""
    if max(image.size) > _SIDE / 2:
        image = image.reduce(2)  # four times as fast; colours have no fine grain
    red, green, blue = (np.asarray(band, dtype=np.float32) for band in image.split())
    rg, yb = red - green, (red + green) / 2 - blue
    spread = math.sqrt(_variance(rg) + _variance(yb))
    return spread + 0.3 * math.hypot(rg.mean(), yb.mean())


def _variance(levels: Float[np.ndarray, "h w"]) -> float:
    """Return the variance at a fifth of the cost of NumPy's: inference measures every image."""
    flat = (levels - levels.mean()).ravel()
    return float(np.dot(flat, flat) / flat.size)
