"""Measures properties of every image at inference, and adds them to the record as attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from PIL import Image

from weakspot.explain.image_properties import PREFIX, PROPERTIES, image_properties

_PIXELS = ("width", "height")


def measure_image(preview: Any) -> Float[np.ndarray, " p"]:
    """Measure the properties of a preview.

    Args:
        preview: What the dataset shows of an example.

    Returns:
        (p,) the properties in the order of `PROPERTIES`; all NaN if the preview is not an image.
    """
    if not isinstance(preview, Image.Image):
        return np.full(len(PROPERTIES), np.nan)
    return np.array(list(image_properties(preview).values()))


def add_image_properties(attributes: pa.Table, measured: Float[np.ndarray, "n p"]) -> pa.Table:
    """Return the attributes followed by `image.brightness` and the other properties, null if the preview was not an
    image.

    Properties that are the same for every image are left out, and so are those that the dataset already has: under the
    same name with "image.", or without it if the values are the same.

    Args:
        attributes: The dataset's attributes.
        measured: (n, p) properties, as `measure_image` returns them.
    """
    for name, values in zip(PROPERTIES, measured.T, strict=True):
        known = values[~np.isnan(values)]
        if len(known) and np.ptp(known) > 0 and not _is_known(attributes, name, values):
            kind = pa.int32() if name in _PIXELS else pa.float32()
            attributes = attributes.append_column(
                PREFIX + name, pa.array(values, from_pandas=True).cast(kind)
            )
    return attributes


def _is_known(attributes: pa.Table, name: str, values: Float[np.ndarray, " n"]) -> bool:
    names = attributes.column_names
    if PREFIX + name in names:
        return True
    return name in names and attributes[name].to_pylist() == values.tolist()
