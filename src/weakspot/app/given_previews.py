"""Previews of a run on given predictions, whose file holds the images and texts or says where they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from weakspot.app.loaded_runs import LoadedRun
from weakspot.app.run_previews import RunPreviews
from weakspot.pipeline.file_previews import FilePreviews


class GivenPreviews(RunPreviews):
    """The images or texts of a run with `predictions=FILE`, whose dataset and model are not known.

    Files are read from one folder only: `root`, or else the folder of the predictions, which the explorer has checked
    to lie in a folder that it may read.

    Args:
        loaded: The run.
        root: The folder that paths of images are relative to; None for the folder of the predictions' file.
    """

    def __init__(self, loaded: LoadedRun, root: Path | None) -> None:
        self._predictions, self._rows, self._root = loaded.predictions, loaded.given_rows, root
        self._opened: FilePreviews | None = None
        self._lock = Lock()

    def open(self) -> None:
        """Find the images.

        Raises:
            ValueError, FileNotFoundError: If one is missing or lies outside the folder.
        """
        with self._lock:
            if self._opened is not None:
                return
            root = self._root
            if root is None:  # with links followed, as the explorer has checked it
                root = Path(os.path.realpath(str(self._predictions.manifest.get("source")))).parent
            try:
                self._opened = FilePreviews(self._predictions, root, self._rows)
            except (ValueError, FileNotFoundError) as error:
                reason = str(error).replace("dataset.root=…", "browse.py root=FOLDER")
                raise type(error)(reason) from error

    @property
    def has_images(self) -> bool:
        """Whether examples are shown as images."""
        return self._previews.has_images

    @property
    def has_texts(self) -> bool:
        """Whether examples are shown as texts."""
        return not self.has_images and self._previews.texts is not None

    @property
    def texts(self) -> Sequence[str] | None:
        """The text of each row; None if the examples are not texts."""
        return self._previews.texts

    def preview(self, row: int) -> Any:
        """Return the image of a row, cropped to its box if it has one, or its text; None if it has neither."""
        with self._lock:
            return self._previews.preview(row)

    def cam_overlay(self, row: int, layer: str, target: int | None) -> Image.Image:
        """Raise ValueError: Grad-CAM needs the model."""
        raise ValueError("This run was given its predictions, so there is no model to compute Grad-CAM with.")

    @property
    def _previews(self) -> FilePreviews:
        assert self._opened is not None, "open() comes first"
        return self._opened
