"""Which image files can be read, and how one is opened: whatever is wrong with it is an error of two kinds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""The endings, in small letters, of the names of image files that can be read."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""PIL's names of the formats that are decoded; others of PIL's call programs, or fetch files."""

LARGEST_IMAGE = 1 << 30
"""The most bytes of an encoded image; only a damaged or crafted file announces more."""


@contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever fails while an image is decoded inside the block into an error of two kinds.

    PIL raises a dozen kinds of errors where a file is damaged. It warns of damaged EXIF data, which do not make an
    image unreadable, and of images so large that they may be meant to fill the memory; those twice as large it refuses.

    Raises:
        ValueError: If the image is damaged, or announces more than the memory holds.
        OSError: If the system cannot read it, it is cut short, or it is no image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, ValueError):
        raise
    except MemoryError as error:
        raise ValueError("it announces more than the memory holds") from error
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


@contextmanager
def open_image(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    """Open an encoded image for the block, in which errors are those of `decoding`."""
    with decoding(), Image.open(file, formats=FORMATS) as image:
        yield image
