"""Draws one image of a finding: its members and their Grad-CAMs, beside those of a well-served cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_SIDE, _GAP, _LINE = 96, 4, 22  # pixels of an example, between two examples, and of a line of text
_ACROSS = 6  # examples in a row
_TEXT, _BACKGROUND = "#333333", "white"


@dataclass(frozen=True)
class Block:
    """Some examples under a heading.

    Attributes:
        heading: Text in characters that Pillow's default font has.
        images: The examples.
        overlays: The Grad-CAM of each image, drawn below it; or empty.
    """

    heading: str
    images: Sequence[Image.Image]
    overlays: Sequence[Image.Image]

    @property
    def width(self) -> int:
        """The width in pixels."""
        return _ACROSS * (_SIDE + _GAP)

    @property
    def rows(self) -> list[Sequence[Image.Image]]:
        """The images row by row: for every six examples, first the images, then their Grad-CAMs."""
        return [
            kind[start : start + _ACROSS]
            for start in range(0, len(self.images), _ACROSS)
            for kind in ((self.images, self.overlays) if self.overlays else (self.images,))
        ]


def draw_panel(blocks: Sequence[Block]) -> Image.Image:
    """Draw blocks side by side.

    Args:
        blocks: At least one block.

    Returns:
        An image, 600 pixels wide for each block.
    """
    height = _LINE + max(len(block.rows) for block in blocks) * (_SIDE + _GAP)
    width = sum(block.width for block in blocks) + (len(blocks) - 1) * _SIDE // 2
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    left = 0
    for block in blocks:
        draw.text((left, 2), block.heading, _TEXT, font)
        for j, row in enumerate(block.rows):
            for i, image in enumerate(row):
                sheet.paste(_square(image), (left + i * (_SIDE + _GAP), _LINE + j * (_SIDE + _GAP)))
        left += block.width + _SIDE // 2
    return sheet


def _square(image: Image.Image) -> Image.Image:
    """Return the whole image centred in a square, as large as fits."""
    scale = _SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    # small images show their pixels
    smooth = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    square.paste(image.convert("RGB").resize(size, smooth), ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return square
