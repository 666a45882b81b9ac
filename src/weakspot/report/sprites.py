"""Thumbnails of the map's points in a few sheets, of as many examples as there is room for."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from weakspot.findings import Media
from weakspot.images import viewable
from weakspot.report.points import Points, planes

SIDE = 32
"""Pixels of a thumbnail's side."""

_ACROSS = 32  # thumbnails of a sheet's side
_QUALITY = 50  # of the WebP: some 170 bytes for a photograph
_EXPECTED = 260  # characters of a thumbnail, until the first sheet says how many
_MOST = 5000  # of a page: each costs the reading of its image


@dataclass(frozen=True)
class Sprites:
    """Sheets of thumbnails as map.js reads them.

    Attributes:
        data: JSON.
        shown: How many points have a thumbnail.
    """

    data: str
    shown: int


def sprites_of(points: Points, media: Media, room: int) -> Sprites | None:
    """Thumbnails of the points, members of findings and all others alike; all of them where they fit.

    Args:
        points: Of the map.
        media: What examples look like.
        room: Characters that they may take.

    Returns:
        The sheets; None where examples are no images, or where there is no room.
    """
    chosen: list[int] = []
    sheets: list[str] = []
    waiting = _order(points, min(room // _EXPECTED, _MOST))
    if not waiting or media.image(int(points.rows[waiting[0]])) is None:
        return None  # texts, say, of which a thousand would be read in vain
    while waiting:
        some, waiting = waiting[: _ACROSS**2], waiting[_ACROSS**2 :]
        tiles = {i: _tile(media.preview_once(int(points.rows[i]), 2 * SIDE)) for i in some}
        pictured = {i: tile for i, tile in tiles.items() if tile is not None}
        sheet = _sheet(list(pictured.values()))
        if len(sheet) > room:  # the last one, then: as much of it as fits
            pictured = dict(list(pictured.items())[: int(0.9 * len(pictured) * room / len(sheet))])
            sheet, waiting = _sheet(list(pictured.values())), []
        if not pictured or len(sheet) > room:
            break
        room -= len(sheet)
        chosen += pictured
        sheets.append(sheet)
    if not chosen:
        return None
    data = {"side": SIDE, "across": _ACROSS, "sheets": sheets, "points": planes(np.array(chosen), np.uint32)}
    return Sprites(json.dumps(data, separators=(",", ":")), len(chosen))


def _order(points: Points, most: int) -> list[int]:
    """Points that are to have a thumbnail, in an order that is fair to both kinds wherever it ends."""
    draw = np.random.default_rng(0)
    order = draw.permutation(points.shown)
    found, others = order[points.inside[order]], order[~points.inside[order]]
    many = min(len(found), max(most // 2, most - len(others)))
    some = np.concatenate([found[:many], others[: max(most - many, 0)]])
    mixed: list[int] = draw.permutation(some).tolist()
    return mixed


def _tile(shown: Any) -> Image.Image | None:
    """The middle of an image, as a square; None of what is none."""
    if not isinstance(shown, Image.Image):
        return None
    image = viewable(shown)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "grey"), image)
    return ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)


def _sheet(tiles: Sequence[Image.Image]) -> str:
    """Base64 of a WebP of tiles, row by row; all sheets but the last are full."""
    if not tiles:
        return ""
    down = -(-len(tiles) // _ACROSS)
    sheet = Image.new("RGB", (SIDE * min(len(tiles), _ACROSS), SIDE * down))
    for k, tile in enumerate(tiles):
        sheet.paste(tile, (SIDE * (k % _ACROSS), SIDE * (k // _ACROSS)))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()
