"""Grad-CAM of the examples that a report shows, computed when the report asks for them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from weakspot.datasets.base import Dataset
from weakspot.explain.cam_class import check_cam_class
from weakspot.explain.gradcam import grad_cam, overlay
from weakspot.models.base import Model
from weakspot.tasks import Regression

log = logging.getLogger(__name__)

_BATCH_SIZE = 64  # images in memory at a time


def build_grad_cams(
    model: Model,
    dataset: Dataset,
    cam_class: str,
    layer_is_named: bool = False,
    device: str | None = None,
) -> GradCams | None:
    """Return the object that computes Grad-CAM for a model, after trying it on the dataset's first example.

    A failure of Grad-CAM never prevents a report: a warning gives the reason, and the report has none. Calling this
    with a model that is yet to be trained reveals a failure before any time is spent.

    Args:
        model: The model.
        dataset: The dataset whose examples are shown.
        cam_class: The class to explain: predicted, label, none or a class's name.
        layer_is_named: Whether the user named the layer; if so, an error states why it cannot be used.
        device: The device to compute on; by default a GPU, if there is one.

    Returns:
        None if it is not wanted, the model has no layer for it, no class of a multilabel task is named, or the trial
            fails.

    Raises:
        ValueError: If the named layer cannot be used, or the model refuses the examples.
    """
    unnamed = dataset.task.kind == "multilabel" and cam_class not in dataset.task.classes
    if cam_class == "none" or unnamed or model.cam_layer is None:
        return None
    grad_cams = GradCams(model, dataset, cam_class, device)
    example = dataset.collate([dataset[0]])["input"]
    try:
        grad_cam(grad_cams.model, example)
    except Exception as error:  # any network, in a hook and a backward pass, may raise any error
        _check_model_reads(grad_cams.model, example)
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if layer_is_named:
            raise ValueError(
                f"model.cam_layer cannot be used ({reason}); name another layer, or leave Grad-CAM out (cam=none)"
            ) from error
        log.warning("the report has no Grad-CAM: %s", reason)
        return None
    return grad_cams


def _check_model_reads(model: Model, example: Any) -> None:
    """Raise the model's own ValueError if it refuses the examples even without Grad-CAM."""
    try:
        with torch.inference_mode():
            model(example)
    except ValueError:
        raise
    except Exception:  # the example is not at fault, or the trainer's precision avoids the error
        return


class GradCams:
    """Computes the images of rows, each overlaid with the regions that the model's output for one class depends on.

    Args:
        model: The model.
        dataset: The dataset of the rows.
        cam_class: "predicted" for the predicted class; "label" for the label; otherwise a class's name, which is the
            only choice for a multilabel task.
        device: The device to compute on; by default a GPU, if there is one.
    """

    def __init__(self, model: Model, dataset: Dataset, cam_class: str, device: str | None = None) -> None:
        task = dataset.task
        check_cam_class(task, cam_class)
        self.model = model.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dataset = dataset
        self.cam_class = task.classes.index(cam_class) if cam_class in task.classes else cam_class

    def __call__(self, rows: Sequence[int]) -> list[Image.Image]:
        return [
            image
            for start in range(0, len(rows), _BATCH_SIZE)
            for image in self._batch(rows[start:][:_BATCH_SIZE])
        ]

    def _batch(self, rows: Sequence[int]) -> Iterator[Image.Image]:
        inputs = self.dataset.collate([self.dataset[int(row)] for row in rows])["input"]
        targets: np.ndarray | None = None
        if isinstance(self.cam_class, int):
            targets = np.full(len(rows), self.cam_class)
        # a regression has one output, and no classes to choose from
        elif self.cam_class == "label" and not isinstance(self.dataset.task, Regression):
            targets = self.dataset.targets[np.asarray(rows)]
        for row, cam in zip(rows, grad_cam(self.model, inputs, targets), strict=True):
            yield overlay(self.dataset.preview(int(row)), cam)
