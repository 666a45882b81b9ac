"""Pictures small enough to travel inside the page, each embedded once however often it is shown."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

_SIDE = 96
_RATIOS = (0.6, 1.8)  # width to height; a picture beyond them stands in a frame of the nearest
_PIXEL_ART = 48  # up to this size a picture is kept lossless and enlarged by whole pixels


@dataclass(frozen=True)
class Thumbnail:
    """What the page needs to show a picture: the class of its style rule, width by height, if it is tiny."""

    name: str
    ratio: float
    coarse: bool


class Thumbnails:
    """Gathers pictures as WebP data URIs; the same picture, whoever asks for it, is stored once.

    They live in style rules rather than in <img> elements, so that showing one twice costs a class name.
    """

    def __init__(self) -> None:
        self._found: dict[bytes, Thumbnail] = {}

    def add(self, picture: Image.Image) -> Thumbnail:
        small = _shrink(picture)
        coarse = max(small.size) <= _PIXEL_ART
        data = _webp(small, lossless=coarse)
        if data not in self._found:
            self._found[data] = Thumbnail(f"p{len(self._found)}", small.width / small.height, coarse)
        return self._found[data]

    def css(self) -> str:
        """One rule per picture."""
        return "\n".join(
            f".{thumbnail.name}{{aspect-ratio:{min(max(thumbnail.ratio, _RATIOS[0]), _RATIOS[1]):.3g};"
            f"background-image:url(data:image/webp;base64,{base64.b64encode(data).decode()})}}"
            for data, thumbnail in self._found.items()
        )


def _shrink(picture: Image.Image) -> Image.Image:
    image = _eight_bit(picture)
    if max(image.size) > _SIDE:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def _eight_bit(picture: Image.Image) -> Image.Image:
    """RGB or RGBA; grey levels beyond eight bits (X-rays, depth) are stretched over their own range."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        levels = np.asarray(picture, dtype=np.float64)
        finite = levels[np.isfinite(levels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        scaled = np.nan_to_num((levels - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
        return Image.fromarray((255 * scaled).astype(np.uint8)).convert("RGB")
    transparent = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    return picture.convert("RGBA" if transparent else "RGB")


def _webp(picture: Image.Image, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=75, lossless=lossless, method=3)
    return buffer.getvalue()
