"""Makes the thumbnails of the page, each stored once, however often it is shown."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass

from PIL import Image

from weakspot.images import shrunk, webp

_SMALLEST, _LARGEST = 96, 192  # pixels of the longer side
_CHARACTERS_PER_PIXEL = 0.33  # characters for a pixel of a photograph, as base64 of a WebP image
_RATIOS = (0.6, 1.8)  # width to height; an image beyond them gets a frame of the nearest ratio
_PIXEL_ART = 48  # up to this size an image is kept lossless and enlarged by whole pixels
_REPEATED = 0.1  # share of the room of images for those that the page shows more than once


@dataclass(frozen=True)
class Thumbnail:
    """Holds what the page needs to show an image.

    Attributes:
        number: The number of the image.
        width, height: The size of its frame in pixels.
        coarse: Whether it is so small that its pixels are shown enlarged.
    """

    number: int
    width: int
    height: int
    coarse: bool


class Thumbnails:
    """Collects images as WebP data, as large as fits; the same image is stored once, however often it is added.

    Args:
        most: Characters that all images may take.
        expected: How many images there will be.

    Attributes:
        spent: Characters that the images take.
        full: Whether an image was refused for lack of room.
    """

    def __init__(self, most: int, expected: int = 0) -> None:
        self.most = most
        self.full = False
        self._side = int(
            min(max((most / max(expected, 1) / _CHARACTERS_PER_PIXEL) ** 0.5, _SMALLEST), _LARGEST)
        )
        self.spent = 0
        self._data: list[str] = []
        self._found: dict[str, Thumbnail] = {}
        self._known: dict[int, tuple[Image.Image, Thumbnail]] = {}  # by id(), valid while the image is kept

    def add(self, image: Image.Image) -> Thumbnail | None:
        """Return the thumbnail of an image, which is encoded once; None if the page has no room for it."""
        if id(image) not in self._known:
            found = self._encoded(image)
            if found is None:
                return None
            self._known[id(image)] = image, found
        return self._known[id(image)][1]

    def _encoded(self, image: Image.Image) -> Thumbnail | None:
        small = shrunk(image, self._side)
        coarse = max(small.size) <= _PIXEL_ART
        data = base64.b64encode(webp(small, quality=75, lossless=coarse)).decode()
        if data not in self._found:
            if self.spent + len(data) > self.most:
                self.full = True
                return None
            self.spent += len(data)
            ratio = min(max(small.width / small.height, _RATIOS[0]), _RATIOS[1])
            self._found[data] = Thumbnail(
                len(self._data), max(round(small.height * ratio), 1), small.height, coarse
            )
            self._data.append(data)
        return self._found[data]

    def place(self, page: str) -> tuple[str, str]:
        """Insert images where the markup refers to them by number.

        Images of folded parts, which are not in the markup, stay in a table, and so do repetitions of an image once
        they take too much; the script inserts these.

        Args:
            page: Markup with `data-image="3"` in its <img> elements.

        Returns:
            The markup with the `src` of images, and the table as JSON: base64 of a WebP file by the image's number.
        """
        placed: set[int] = set()
        room_left = self.most * _REPEATED

        def source(match: re.Match[str]) -> str:
            nonlocal room_left
            number = int(match[1])
            if number in placed:
                room_left -= len(self._data[number])
                if room_left < 0:
                    return match[0]
            placed.add(number)
            return f'{match[0]} src="data:image/webp;base64,{self._data[number]}"'

        page = re.sub(r'data-image="(\d+)"', source, page)
        return page, json.dumps(
            {number: data for number, data in enumerate(self._data) if number not in placed},
            separators=(",", ":"),
        )
