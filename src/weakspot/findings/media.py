"""Makes previews and Grad-CAMs of examples, each only once, however often it is shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

log = logging.getLogger(__name__)

_SIDE = 384  # pixels of the longer side; larger images are reduced, because nothing shows them larger


class Media:
    """Makes previews and Grad-CAMs by row, and keeps them for everything that shows findings.

    Args:
        preview: Takes a row, and returns an image, a text, or a mapping of values; None if there is nothing to show.
        cams: Takes rows, and returns one Grad-CAM overlay each; None if the model has no layer for Grad-CAM.
    """

    def __init__(
        self,
        preview: Callable[[int], Any] | None = None,
        cams: Callable[[Sequence[int]], Sequence[Image.Image]] | None = None,
    ) -> None:
        self._preview = preview
        self._cams = cams
        self._previews: dict[int, Any] = {}
        self._overlays: dict[int, Image.Image] = {}

    def of(self, rows: Sequence[int]) -> Media:
        """Return the media of some rows, indexed by position among these rows."""
        preview, cams = self._preview, self._cams
        return Media(
            None if preview is None else lambda row: preview(int(rows[row])),
            None if cams is None else lambda some: cams([int(rows[row]) for row in some]),
        )

    @property
    def has_cams(self) -> bool:
        """Whether there are Grad-CAMs."""
        return self._cams is not None

    @property
    def has_previews(self) -> bool:
        """Whether there is anything to show."""
        return self._preview is not None

    def preview(self, row: int) -> Any:
        """Return the preview of a row: an image, a text, a mapping of values, or None."""
        if row not in self._previews:
            self._previews[row] = self.preview_once(row)
        return self._previews[row]

    def preview_once(self, row: int, side: int = _SIDE) -> Any:
        """Return the preview of a row without keeping it, for callers that go through all rows.

        Args:
            row: The row of the example.
            side: The longer side of an image, in pixels, at most.
        """
        shown = self._previews.get(row)
        if shown is None and self._preview is not None:
            shown = self._preview(row)
        return _reduced(shown, side) if isinstance(shown, Image.Image) else shown

    def image(self, row: int) -> Image.Image | None:
        """Return the image of a row, or None if its preview is not an image."""
        shown = self.preview(row)
        return shown if isinstance(shown, Image.Image) else None

    def text(self, row: int) -> str | None:
        """Return the text of a row, or None if its preview is not a text."""
        shown = self.preview(row)
        return shown if isinstance(shown, str) else None

    def record(self, row: int) -> Mapping[str, Any] | None:
        """Return the values of a row, or None if its preview is not a mapping."""
        shown = self.preview(row)
        return shown if isinstance(shown, Mapping) else None

    def cams(self, rows: Sequence[int]) -> list[Image.Image | None]:
        """Return the Grad-CAM overlay of every row; None if there is none. New ones are made in one call.

        If that fails, for example on a full GPU, it logs one warning and makes no more, so that a report is not lost
        for lack of an overlay.
        """
        new = [row for row in dict.fromkeys(rows) if row not in self._overlays]
        if self._cams is not None and new:
            try:
                self._overlays |= dict(zip(new, map(_reduced, self._cams(new)), strict=True))
            except Exception as error:  # a user's network may raise anything
                log.warning(
                    "no more Grad-CAMs: %s", " ".join(str(error).split())[:300] or type(error).__name__
                )
                self._cams = None
        return [self._overlays.get(row) for row in rows]


def _reduced(image: Image.Image, side: int = _SIDE) -> Image.Image:
    if max(image.size) <= side or image.mode.startswith(("I", "F")):
        return image
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small
