"""Pictures small enough to travel inside the page, each embedded once however often it is shown."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from weakspot.images import viewable

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
        self._known: dict[
            int, tuple[Image.Image, Thumbnail]
        ] = {}  # by identity, which holds while it is kept

    def add(self, picture: Image.Image) -> Thumbnail:
        """The thumbnail of an image; the same image is encoded once."""
        if id(picture) not in self._known:
            self._known[id(picture)] = picture, self._encoded(picture)
        return self._known[id(picture)][1]

    def _encoded(self, picture: Image.Image) -> Thumbnail:
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
    image = viewable(picture)
    if max(image.size) > _SIDE:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def _webp(picture: Image.Image, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=75, lossless=lossless, method=3)
    return buffer.getvalue()
