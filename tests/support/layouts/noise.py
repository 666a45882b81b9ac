"""Images of noise in real files."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def write_noise(path: Path, width: int, height: int, grey: bool = False) -> None:
    """Write an image in the format of the path's suffix; the path's last two parts seed its content."""
    rng = np.random.default_rng(zlib.crc32("/".join(path.parts[-2:]).encode()))
    shape = (height, width) if grey else (height, width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
