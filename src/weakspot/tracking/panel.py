"""One picture of a finding: its members, what the model looked at, and the same of the well-served neighbour beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_SIDE, _GAP, _LINE = 96, 4, 22  # pixels: of an example, between two, and of a line of words
_ACROSS = 6
_WORDS, _BACKGROUND = "#333333", "white"


@dataclass(frozen=True)
class Block:
    """Some examples under a heading.

    Attributes:
        heading: Letters that Pillow's own font has.
        images: The examples.
        overlays: What the model looked at in each, which stands below it; or none at all.
    """

    heading: str
    images: Sequence[Image.Image]
    overlays: Sequence[Image.Image]

    @property
    def width(self) -> int:
        return _ACROSS * (_SIDE + _GAP)

    @property
    def lines(self) -> list[Sequence[Image.Image]]:
        """The pictures line by line: of each six examples first the images, then what was looked at in them."""
        return [
            kind[start : start + _ACROSS]
            for start in range(0, len(self.images), _ACROSS)
            for kind in ((self.images, self.overlays) if self.overlays else (self.images,))
        ]


def panel(blocks: Sequence[Block]) -> Image.Image:
    """The blocks side by side.

    Args:
        blocks: At least one.

    Returns:
        An image of 600 pixels in width for each block.
    """
    height = _LINE + max(len(block.lines) for block in blocks) * (_SIDE + _GAP)
    width = sum(block.width for block in blocks) + (len(blocks) - 1) * _SIDE // 2
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    left = 0
    for block in blocks:
        draw.text((left, 2), block.heading, _WORDS, font)
        for j, line in enumerate(block.lines):
            for i, image in enumerate(line):
                sheet.paste(_square(image), (left + i * (_SIDE + _GAP), _LINE + j * (_SIDE + _GAP)))
        left += block.width + _SIDE // 2
    return sheet


def _square(image: Image.Image) -> Image.Image:
    """The image whole, as large as it goes, in the middle of a square."""
    scale = _SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    smooth = (
        Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    )  # small ones show their pixels
    square = Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    square.paste(image.convert("RGB").resize(size, smooth), ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return square
