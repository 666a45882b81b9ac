"""An image in full colour, whatever form it comes in: what a dataset reads and what a page shows."""

from __future__ import annotations

import numpy as np
from PIL import Image


def is_transparent(picture: Image.Image) -> bool:
    """Whether the image has an alpha channel, or a palette or colour that is see-through."""
    return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info


def viewable(picture: Image.Image) -> Image.Image:
    """The image as RGB, or as RGBA where parts of it are transparent.

    Grey levels beyond eight bits (X-rays, depth) are stretched over their own range.
    """
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        levels = np.asarray(picture, dtype=np.float64)
        finite = levels[np.isfinite(levels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        scaled = np.nan_to_num((levels - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
        return Image.fromarray((255 * scaled).astype(np.uint8)).convert("RGB")
    return picture.convert("RGBA" if is_transparent(picture) else "RGB")
