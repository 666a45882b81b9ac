"""Pictures of noise: real files, nothing to see."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def write_noise(path: Path, width: int, height: int, grey: bool = False) -> None:
    """A picture in the format that the path's ending names; what is in it follows from the path's last two parts."""
    rng = np.random.default_rng(zlib.crc32("/".join(path.parts[-2:]).encode()))
    shape = (height, width) if grey else (height, width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
