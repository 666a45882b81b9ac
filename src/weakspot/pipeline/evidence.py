"""Grad-CAM of the examples that a report shows, computed when it asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from weakspot.datasets.base import Dataset
from weakspot.explain.gradcam import grad_cam, overlay
from weakspot.models.base import Model
from weakspot.tasks import Classification

_AT_ONCE = 64  # images in memory


class Evidence:
    """Called with rows of `dataset`, gives their pictures under the evidence that `model` found for one class.

    target   "predicted": the class the model says; "label": the one that is right; otherwise a class by name.
             A multilabel task has no single predicted class, so it needs a name.

    Raises ValueError for a class that the task does not have.
    """

    def __init__(self, model: Model, dataset: Dataset, target: str = "predicted") -> None:
        task = dataset.task
        named = target in task.classes
        if not named and not (isinstance(task, Classification) and target in ("predicted", "label")):
            choices = "predicted, label or " if isinstance(task, Classification) else ""
            raise ValueError(
                f"no Grad-CAM for {target!r}: choose {choices}one of {', '.join(task.classes[:20])}"
            )
        self.model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self.dataset = dataset
        self.target = task.classes.index(target) if named else target

    def __call__(self, rows: Sequence[int]) -> list[Image.Image]:
        return [
            picture
            for start in range(0, len(rows), _AT_ONCE)
            for picture in self._some(rows[start:][:_AT_ONCE])
        ]

    def _some(self, rows: Sequence[int]) -> Iterator[Image.Image]:
        inputs = torch.stack([self.dataset[int(row)]["input"] for row in rows])
        targets: np.ndarray | None = None
        if isinstance(self.target, int):
            targets = np.full(len(rows), self.target)
        elif self.target == "label":
            targets = self.dataset.targets[np.asarray(rows)]
        for row, cam in zip(rows, grad_cam(self.model, inputs, targets), strict=True):
            yield overlay(self.dataset.preview(int(row)), cam)
