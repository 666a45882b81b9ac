"""Puts thumbnails of the map's points into a few sprite sheets, for as many examples as there is room for."""

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
"""The side of a thumbnail in pixels."""

_ACROSS = 32  # thumbnails in a row of a sheet, and rows
_QUALITY = 50  # of the WebP: some 170 bytes for a photograph
_EXPECTED = 260  # characters of a thumbnail, by which their number is estimated
_MOST = 5000  # thumbnails of a page: for each an image is read


@dataclass(frozen=True)
class Sprites:
    """Holds sheets of thumbnails as map.js reads them.

    Attributes:
        data: JSON.
        shown: How many points have a thumbnail.
    """

    data: str
    shown: int


def sprites_of(points: Points, media: Media, room: int) -> Sprites | None:
    """Make thumbnails of the points, members of findings and others alike; of all points if they fit.

    Args:
        points: The points of the map.
        media: Previews of the examples.
        room: Characters that the sheets may take.

    Returns:
        The sheets; None if examples are not images, or if there is no room.
    """
    chosen: list[int] = []
    sheets: list[str] = []
    pending = _order(points, min(room // _EXPECTED, _MOST))
    if not pending or media.image(int(points.rows[pending[0]])) is None:
        return None  # a thousand texts, for example, would be read in vain
    while pending:
        some, pending = pending[: _ACROSS**2], pending[_ACROSS**2 :]
        tiles = {i: _thumbnail(media.preview_once(int(points.rows[i]), 2 * SIDE)) for i in some}
        thumbnails = {i: tile for i, tile in tiles.items() if tile is not None}
        sheet = _sheet(list(thumbnails.values()))
        if len(sheet) > room:  # this is the last sheet, with as many thumbnails as fit
            thumbnails = dict(list(thumbnails.items())[: int(0.9 * len(thumbnails) * room / len(sheet))])
            sheet, pending = _sheet(list(thumbnails.values())), []
        if not thumbnails or len(sheet) > room:
            break
        room -= len(sheet)
        chosen += thumbnails
        sheets.append(sheet)
    if not chosen:
        return None
    data = {"side": SIDE, "across": _ACROSS, "sheets": sheets, "points": planes(np.array(chosen), np.uint32)}
    return Sprites(json.dumps(data, separators=(",", ":")), len(chosen))


def _order(points: Points, most: int) -> list[int]:
    """Return points for thumbnails, members of findings and others mixed, so that both get some if room runs out."""
    draw = np.random.default_rng(0)
    order = draw.permutation(points.shown)
    found, others = order[points.inside[order]], order[~points.inside[order]]
    many = min(len(found), max(most // 2, most - len(others)))
    some = np.concatenate([found[:many], others[: max(most - many, 0)]])
    mixed: list[int] = draw.permutation(some).tolist()
    return mixed


def _thumbnail(shown: Any) -> Image.Image | None:
    """Return the middle of an image as a square; None for anything that is not an image."""
    if not isinstance(shown, Image.Image):
        return None
    image = viewable(shown)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "grey"), image)
    return ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)


def _sheet(tiles: Sequence[Image.Image]) -> str:
    """Return base64 of a WebP image of tiles, row by row; all sheets but the last are full."""
    if not tiles:
        return ""
    down = -(-len(tiles) // _ACROSS)
    sheet = Image.new("RGB", (SIDE * min(len(tiles), _ACROSS), SIDE * down))
    for k, tile in enumerate(tiles):
        sheet.paste(tile, (SIDE * (k % _ACROSS), SIDE * (k // _ACROSS)))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()
