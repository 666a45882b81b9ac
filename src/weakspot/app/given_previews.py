"""The images and texts of a run that was given its predictions: their file says where these are, or holds them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from weakspot.app.loaded_runs import LoadedRun
from weakspot.pipeline.file_previews import FilePreviews


@dataclass(frozen=True)
class GivenPredictions:
    """Says that a run was given its predictions (`predictions=FILE`), so that neither its data nor its model is known.

    Attributes:
        root: The folder that paths of images are relative to; None for the folder of the predictions' file.
    """

    root: Path | None = None


class GivenPreviews:
    """The images or texts of given predictions, read when they are first needed.

    It stands in for `RunComponents`, without Grad-CAM. Nothing is read outside of one folder: `root`, or else the one
    that holds the predictions, which the explorer has found to lie in its own folders.

    Args:
        loaded: The run.
        given: Where the images are.
    """

    layers: Sequence[str] = ()
    default_layer = ""

    def __init__(self, loaded: LoadedRun, given: GivenPredictions) -> None:
        self._loaded, self._given = loaded, given
        self._previews: FilePreviews | None = None
        self._lock = Lock()

    def open(self) -> None:
        """Find the images.

        Raises:
            ValueError, FileNotFoundError: If one is missing, or lies elsewhere.
        """
        with self._lock:
            if self._previews is not None:
                return
            p, root = self._loaded.predictions, self._given.root
            if root is None:  # once links are followed, as the explorer has checked it
                root = Path(os.path.realpath(str(p.manifest.get("source")))).parent
            try:
                self._previews = FilePreviews(p, root)
            except (ValueError, FileNotFoundError) as error:
                reason = str(error).replace("dataset.root=…", "browse.py root=FOLDER")
                raise type(error)(reason) from error

    @property
    def has_images(self) -> bool:
        """Whether examples are shown as images."""
        return self._opened.has_images

    @property
    def texts(self) -> Sequence[str] | None:
        """The text of each row; None where examples are not texts."""
        return self._opened.texts

    def preview(self, row: int) -> Any:
        """Return the image of a row, cropped to its box if it has one, or its text; None where it has neither."""
        with self._lock:
            return self._opened.preview(row)

    def cam_overlay(self, row: int, layer: str, target: int | None) -> Image.Image:
        """Raise ValueError: Grad-CAM needs the model."""
        raise ValueError("This run was given its predictions, so there is no model to compute Grad-CAM with.")

    @property
    def _opened(self) -> FilePreviews:
        assert self._previews is not None, "open() comes first"
        return self._previews
