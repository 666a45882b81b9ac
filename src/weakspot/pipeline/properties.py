"""What every image looks like, as attributes of the record: measured at inference, seen by no method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from PIL import Image

from weakspot.explain.image_properties import PREFIX, PROPERTIES, image_properties

_PIXELS = ("width", "height")


def measure(preview: Any) -> Float[np.ndarray, " p"]:
    """The properties of a preview in the order of `PROPERTIES`; all NaN where it is no image."""
    if not isinstance(preview, Image.Image):
        return np.full(len(PROPERTIES), np.nan)
    return np.array(list(image_properties(preview).values()))


def describe(attributes: pa.Table, measured: Float[np.ndarray, "n p"]) -> pa.Table:
    """Attributes followed by `image.brightness` and its like, null where the preview was no image.

    Left out are properties that are the same for every image, and those that the dataset has itself: an attribute
    of the same name (a property's, with or without "image."), the same in value.
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
