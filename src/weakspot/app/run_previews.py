"""Previews of a run's examples: images or texts, and Grad-CAM if there is a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from weakspot.app.loaded_runs import LoadedRun
from weakspot.app.recent import Recent
from weakspot.app.run_index import RunIndex

_MAX_CACHED = 2  # runs whose data and model are in memory


class RunPreviews(ABC):
    """The images or texts of a run's examples, read when they are first needed."""

    @property
    def layers(self) -> Sequence[str]:
        """The names of the layers for which Grad-CAM can be computed; empty without a model."""
        return ()

    @property
    def default_layer(self) -> str:
        """The name of the layer that is used by default; "" if there is none."""
        return ""

    @abstractmethod
    def open(self) -> None:
        """Find the examples, so that problems with them are reported at once.

        Raises:
            ValueError, OSError: If they do not exist or may not be read.
        """

    @property
    @abstractmethod
    def has_images(self) -> bool:
        """Whether examples are shown as images."""

    @property
    @abstractmethod
    def has_texts(self) -> bool:
        """Whether examples are shown as texts, or as the values of a mapping."""

    @property
    @abstractmethod
    def texts(self) -> Sequence[str] | None:
        """The text of each row; None if the examples are not texts."""

    @abstractmethod
    def preview(self, row: int) -> Any:
        """Return what a page shows of a row: an image, a text or a mapping of values; None if there is nothing.

        Args:
            row: The row of the predictions.

        Raises:
            ValueError, OSError: If the example no longer exists.
        """

    @abstractmethod
    def cam_overlay(self, row: int, layer: str, target: int | None) -> Image.Image:
        """Return an image with the regions that the model's output depends on (Grad-CAM).

        Args:
            row: The row of the predictions.
            layer: The layer's name in the model; "" for the model's own `cam_layer`.
            target: The class; None for the predicted one.

        Raises:
            ValueError: If there is no model or no such layer, or Grad-CAM cannot be computed there.
        """


class RunPreviewsCache:
    """Keeps the previews of the last few runs.

    Args:
        runs: The runs below the folders.
        previews_of: Returns the previews of a run; raises ValueError if its components may not be built.
    """

    def __init__(self, runs: RunIndex, previews_of: Callable[[LoadedRun, RunIndex], RunPreviews]) -> None:
        self._runs, self._previews_of = runs, previews_of
        self._cached: Recent[LoadedRun, RunPreviews] = Recent(_MAX_CACHED)

    def get(self, loaded: LoadedRun) -> RunPreviews:
        """Return the previews of a run.

        Raises:
            ValueError: If its dataset may not be built.
            OSError: If its files cannot be read.
        """
        return self._cached.get_or_make(loaded, lambda: self._previews_of(loaded, self._runs))
