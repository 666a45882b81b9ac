"""Grad-CAM of the examples that a report shows, computed when it asks for them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from weakspot.datasets.base import Dataset
from weakspot.explain.gradcam import grad_cam, overlay
from weakspot.models.base import Model
from weakspot.tasks import Regression, Task

log = logging.getLogger(__name__)

_AT_ONCE = 64  # images in memory


def check_target(task: Task, target: str) -> None:
    """Raise ValueError for a target of Grad-CAM that the task does not have; cheap, so before anything is made."""
    if target not in ("predicted", "label", "none", *task.classes):
        raise ValueError(
            f"no Grad-CAM for cam={target!r}: choose predicted, label, none or one of {', '.join(task.classes[:20])}"
        )


def grad_cams(
    model: Model,
    dataset: Dataset,
    target: str = "predicted",
    asked: bool = False,
    device: str | None = None,
) -> GradCams | None:
    """What computes Grad-CAM of a model on a dataset, tried on its first example.

    Grad-CAM never costs a report: where it cannot be computed, one sentence says why and the report goes
    without. Called with a model that is yet to be trained, it says so before anything has been spent.

    Args:
        asked: Whether a person named the layer, who then is told by an error.
        device: Where it is computed; a GPU, if there is one, unless given.

    Returns:
        None where the model has no layer for it, the task no single class, or the trial fails.

    Raises:
        ValueError: For a layer that was asked for and does not do, and for examples that the model refuses.
    """
    unnamed = dataset.task.kind == "multilabel" and target not in dataset.task.classes
    if target == "none" or unnamed or model.cam_layer is None:
        return None
    found = GradCams(model, dataset, target, device)
    example = dataset.collate([dataset[0]])["input"]
    try:
        grad_cam(found.model, example)
    except Exception as error:  # of anyone's network, under a hook and a backward pass
        _check_reads(found.model, example)
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if asked:
            raise ValueError(
                f"model.cam_layer cannot be used ({reason}); name another layer, or leave Grad-CAM out (cam=none)"
            ) from error
        log.warning("the report goes without Grad-CAM: %s", reason)
        return None
    return found


def _check_reads(model: Model, example: Any) -> None:
    """Raise the model's own ValueError for examples that it refuses, whatever they are read for."""
    try:
        with torch.inference_mode():
            model(example)
    except ValueError:
        raise
    except Exception:  # not the example's fault, or one that only the trainer's precision avoids
        return


class GradCams:
    """Called with rows of `dataset`, gives their images with what `model` looked at for one class.

    target   "predicted": the class the model says; "label": the one that is right; otherwise a class by name,
             the only thing that a multilabel task can be asked for.
    """

    def __init__(
        self, model: Model, dataset: Dataset, target: str = "predicted", device: str | None = None
    ) -> None:
        task = dataset.task
        check_target(task, target)
        self.model = model.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
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
