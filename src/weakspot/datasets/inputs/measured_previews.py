"""Measures the previews of a dataset while its items are loaded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from weakspot.datasets.base import Dataset

Measure = Callable[[Any], Float[np.ndarray, " m"]]


class MeasuredPreviews(torch.utils.data.Dataset[dict[str, Any]]):
    """The items of `dataset`, each with the measures (m,) of its preview under "measured".

    Most datasets make the model's input from the preview, so the preview is measured at that moment: an image is
    opened once, in the process that loads it. In a batch "measured" is an array (n, m) rather than a tensor, so that
    a lower-precision trainer does not round it.
    """

    def __init__(self, dataset: Dataset, measure: Measure) -> None:
        self._preview = _MeasuringPreview(dataset, measure)
        self._dataset = copy.copy(dataset)
        setattr(self._dataset, "preview", self._preview)  # noqa: B010 (a method is replaced, on this copy alone)

    @property
    def decodes(self) -> bool:
        return self._dataset.decodes

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, row: int) -> dict[str, Any]:
        self._preview.row = None
        item = self._dataset[row]
        if self._preview.row != item["index"]:
            self._preview(item["index"])
        return {**item, "measured": self._preview.values}

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        plain = [{name: value for name, value in item.items() if name != "measured"} for item in items]
        return {
            **self._dataset.collate(plain),
            "measured": np.stack([item["measured"] for item in items]),
        }


class _MeasuringPreview:
    """Replaces a dataset's `preview`, and keeps the measures of the last row."""

    def __init__(self, dataset: Dataset, measure: Measure) -> None:
        self._dataset, self._measure = dataset, measure
        self.row: int | None = None
        self.values: np.ndarray

    def __call__(self, row: int) -> Any:
        preview = self._dataset.preview(row)
        self.row, self.values = row, self._measure(preview)
        return preview
