"""Previews of the examples in predictions=FILE: texts, or images with a box, which are read when they are shown."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int
from PIL import Image, ImageDraw

from weakspot.datasets.readers.parquet_shards import EncodedImages
from weakspot.datasets.readers.tables import path_below
from weakspot.image_formats import EXTENSIONS, open_image
from weakspot.images import to_rgb
from weakspot.pipeline.saved_runs import LEFT_OUT
from weakspot.predictions import Predictions, boxes
from weakspot.predictions.arrow_columns import holds_encoded_images
from weakspot.predictions.reading import reading
from weakspot.predictions.user_files import IMAGE

TEXTS = ("text", "prompt")
"""The columns of texts; the first that a file has is shown."""

_MARGIN = 0.3  # the margin around a box, as a share of its longer side
_LEAST_MARGIN = 8  # pixels
_LEAST_SIDE = 128  # pixels; a smaller crop is magnified, so that the outline of its box hides nothing
_LONGEST = 60  # characters of a name in a message
_ADDRESS = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)

log = logging.getLogger(__name__)


class FilePreviews:
    """Shows the examples of a user's own file of predictions, by its columns `image`, `box` and `text`.

    Nothing outside the images' folder is read, and images are read only when they are shown. Predictions that do not
    come from a file have no previews.

    Attributes:
        texts: The text of each example, for distinctive words; None without such a column.

    Args:
        p: The predictions, as `Predictions.load` returns them, or a part of them.
        root: What paths of images are relative to; by default the file's folder.
        rows: (n,) the rows of the file that the predictions are; None for all.

    Raises:
        FileNotFoundError: If an image is missing; the error names the row.
        ValueError: If a path leads out of the folder, or a box is invalid; the error names the row.
    """

    def __init__(
        self, p: Predictions, root: str | Path | None = None, rows: Int[np.ndarray, " n"] | None = None
    ) -> None:
        self.texts: Sequence[str] | None = None
        self._paths: Sequence[Path | None] | None = None
        self._encoded: EncodedImages | None = None
        self._boxes: Sequence[tuple[float, ...] | None] | None = None
        self._ids = p.ids
        self._file_rows = np.arange(len(p)) if rows is None else rows
        source = Path(str(p.manifest.get("source") or ""))
        if not source.is_file():
            return
        names = p.attributes.column_names
        text_column = next((name for name in TEXTS if name in names), None)
        if text_column is not None:
            self.texts = ["" if text is None else str(text) for text in p.attributes[text_column].to_pylist()]
        if IMAGE in names:
            self._paths = _paths(
                p.attributes[IMAGE], source.parent if root is None else Path(root).expanduser()
            )
        else:
            self._encoded = _encoded_images(source, len(p) + p.manifest.get(LEFT_OUT, 0))
        if self.has_images and set(boxes.NAMES) <= set(names):
            self._boxes = _boxes(p.attributes.select(boxes.NAMES))

    @property
    def has_images(self) -> bool:
        """Whether examples are shown as images."""
        return self._paths is not None or self._encoded is not None

    def __bool__(self) -> bool:
        return self.has_images or self.texts is not None

    def preview(self, row: int) -> Any:
        """Return the image of a row, cropped to its box if it has one, or its text; None if it has neither."""
        image = self._image(row) if self.has_images else None
        if image is None:
            return None if self.texts is None else self.texts[row]
        box = None if self._boxes is None else self._boxes[row]
        return image if box is None else crop_to_box(image, box)

    def _image(self, row: int) -> Image.Image | None:
        try:
            if self._encoded is not None:
                source: Any = io.BytesIO(self._encoded.content(int(self._file_rows[row])))
            else:
                source = None if self._paths is None else self._paths[row]
            if source is None:
                return None
            with open_image(source) as file:
                return to_rgb(file)
        except (OSError, ValueError) as error:  # this must not prevent the report
            log.warning("the image of example %s cannot be read: %s", self._ids[row], str(error)[:200])
            return None


def crop_to_box(image: Image.Image, box: Sequence[float]) -> Image.Image:
    """Return the part of an image around a box, which is outlined; the whole image if the box lies outside it.

    Args:
        image: An image of any size.
        box: x, y, width and height in pixels.
    """
    x, y, width, height = box
    left, top, right, bottom = (
        max(x, 0),
        max(y, 0),
        min(x + width, image.width),
        min(y + height, image.height),
    )
    if left >= right or top >= bottom:
        return image
    margin = max(_LEAST_MARGIN, _MARGIN * max(right - left, bottom - top))
    corner = int(max(left - margin, 0)), int(max(top - margin, 0))
    end = int(min(right + margin, image.width)), int(min(bottom + margin, image.height))
    crop = image.crop((*corner, *end))
    scale = max(1, round(_LEAST_SIDE / max(crop.size)))
    crop = crop.resize((crop.width * scale, crop.height * scale), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(crop)
    outline = [
        round((edge - start) * scale)
        for edge, start in zip((left, top, right, bottom), corner * 2, strict=True)
    ]
    # black and white, so that the outline stands out on any background
    for outset, colour in ((3, "black"), (2, "white"), (1, "black")):
        draw.rectangle(
            (outline[0] - outset, outline[1] - outset, outline[2] + outset - 1, outline[3] + outset - 1),
            outline=colour,
        )
    return crop


def _paths(column: pa.ChunkedArray, root: Path) -> list[Path | None] | None:
    """Return the file of each row; None if the column holds names or URLs, not paths of images."""
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return None
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    if not any(value.lower().endswith(EXTENSIONS) for value in values) or any(map(_ADDRESS.match, values)):
        return None
    inside = root.resolve()
    files: list[Path] = []
    for code, value in enumerate(values):
        try:
            path = path_below(value, root)
            file = None if path is None else Path(os.path.realpath(root / path))
            exists = file is not None and file.is_file()
        except (OSError, ValueError) as error:  # no file can have such a name: it is too long, or has a NUL
            raise ValueError(
                f"the image {value[:_LONGEST]!r} of row {_row(encoded, code)} has a name that no file can have: "
                f"{getattr(error, 'strerror', None) or error}"
            ) from error
        if file is None or not file.is_relative_to(inside):
            raise ValueError(
                f"the image {value} of row {_row(encoded, code)} is not below {root}; name the folder that holds all "
                "images (dataset.root=…)"
            )
        if not exists:
            raise FileNotFoundError(
                f"there is no image {root / value}, of row {_row(encoded, code)}; say what paths are relative to "
                "(dataset.root=…), or rename the column 'image' if it holds no paths"
            )
        files.append(file)
    return [None if code is None else files[code] for code in encoded.indices.to_pylist()]


def _row(encoded: pa.DictionaryArray, code: int) -> int:
    """Return the first row that has a value."""
    row: int = pc.index(encoded.indices, code).as_py()
    return row


def _encoded_images(source: Path, n: int) -> EncodedImages | None:
    """Return the images in the Parquet file that predictions come from, or in the one beside their arrays."""
    file = source.with_suffix(".parquet") if source.suffix == ".safetensors" else source
    if file.suffix != ".parquet" or not file.is_file():
        return None
    with reading(file):
        schema = pq.read_schema(file)
    if IMAGE not in schema.names or not holds_encoded_images(schema.field(IMAGE).type):
        return None
    images = EncodedImages([file], IMAGE)
    return images if sum(images.counts) == n else None


def _boxes(table: pa.Table) -> list[tuple[float, ...] | None]:
    rows: Iterable[tuple[Any, ...]] = zip(*(column.to_pylist() for column in table.columns), strict=True)
    boxes_by_row: list[tuple[float, ...] | None] = []
    for row, box in enumerate(rows):
        missing = all(number is None or number != number for number in box)
        if not missing and not boxes.is_box(box):
            raise ValueError(
                f"the box of row {row} is {box}; give x, y, width and height in pixels, or none of them"
            )
        boxes_by_row.append(None if missing else box)
    return boxes_by_row
