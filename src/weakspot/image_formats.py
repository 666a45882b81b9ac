"""The image formats that can be read, and how to open a file: any problem with it raises OSError or ValueError."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""The extensions, in lower case, of image files that can be read."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""PIL's names of the formats that are decoded; some of its others run programs, or fetch files."""

LARGEST_IMAGE = 1 << 30
"""The most bytes of an encoded image; only a damaged or crafted file claims more."""


@contextmanager
def decoding() -> Iterator[None]:
    """Turn any error while an image is decoded inside the block into an OSError or a ValueError.

    PIL raises a dozen kinds of errors for damaged files. Its warnings are silenced: they are about damaged EXIF data,
    which do not make an image unreadable, and about images so large that they may be meant to fill the memory. It
    refuses images twice as large.

    Raises:
        ValueError: If the image is damaged, or claims more than fits in memory.
        OSError: If the system cannot read it, or it is truncated or not an image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (OSError, ValueError):
        raise
    except MemoryError as error:
        raise ValueError("it claims more than fits in memory") from error
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


@contextmanager
def open_image(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    """Open an encoded image for the block; errors are those of `decoding`."""
    with decoding(), Image.open(file, formats=FORMATS) as image:
        yield image
