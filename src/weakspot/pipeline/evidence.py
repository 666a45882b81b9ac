"""Grad-CAM of the examples that a report shows, computed when it asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from weakspot.datasets.base import Dataset
from weakspot.explain.gradcam import grad_cam, overlay
from weakspot.models.base import Model
from weakspot.tasks import Regression, Task

_AT_ONCE = 64  # images in memory


def check_target(task: Task, target: str) -> None:
    """Raise ValueError for a target of Grad-CAM that the task does not have; cheap, so before anything is made."""
    if target not in ("predicted", "label", "none", *task.classes):
        raise ValueError(
            f"no Grad-CAM for cam={target!r}: choose predicted, label, none or one of {', '.join(task.classes[:20])}"
        )


class Evidence:
    """Called with rows of `dataset`, gives their pictures under the evidence that `model` found for one class.

    target   "predicted": the class the model says; "label": the one that is right; otherwise a class by name,
             the only thing that a multilabel task can be asked for.
    """

    def __init__(self, model: Model, dataset: Dataset, target: str = "predicted") -> None:
        task = dataset.task
        check_target(task, target)
        self.model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self.dataset = dataset
        self.target = task.classes.index(target) if target in task.classes else target

    def __call__(self, rows: Sequence[int]) -> list[Image.Image]:
        return [
            picture
            for start in range(0, len(rows), _AT_ONCE)
            for picture in self._some(rows[start:][:_AT_ONCE])
        ]

    def _some(self, rows: Sequence[int]) -> Iterator[Image.Image]:
        inputs = self.dataset.collate([self.dataset[int(row)] for row in rows])["input"]
        targets: np.ndarray | None = None
        if isinstance(self.target, int):
            targets = np.full(len(rows), self.target)
        elif self.target == "label" and not isinstance(
            self.dataset.task, Regression
        ):  # of a number, its one output
            targets = self.dataset.targets[np.asarray(rows)]
        for row, cam in zip(rows, grad_cam(self.model, inputs, targets), strict=True):
            yield overlay(self.dataset.preview(int(row)), cam)
