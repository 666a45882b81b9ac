"""Grad-CAM in a run: an unsuitable layer is found before training, and a failure does not prevent the report."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.explain.gradcam import grad_cam
from weakspot.findings import Media
from weakspot.models import SmallCNN, TorchvisionModel
from weakspot.pipeline.grad_cams import build_grad_cams


class Misled(SmallCNN):
    """Gives its head as the layer for Grad-CAM, though a head does not return maps."""

    @property
    def cam_layer(self) -> nn.Module:
        return self.output


@pytest.fixture(scope="module")
def digits() -> ColoredDigits:
    return ColoredDigits("test")


def test_grad_cam_is_tried_on_one_example_and_then_computed_for_any(digits) -> None:
    model = SmallCNN(digits.task)
    found = build_grad_cams(model, digits, "predicted", device="cpu")
    assert [picture.size for picture in found([3, 5])] == [(32, 32)] * 2


def test_an_unsuitable_layer_of_the_model_does_not_prevent_the_report(digits, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        assert build_grad_cams(Misled(digits.task), digits, "predicted", device="cpu") is None
    assert "the report has no Grad-CAM: Grad-CAM needs a layer of maps" in caplog.text
    assert "cam_layer gives (1, 2)" in caplog.text


def test_an_unsuitable_layer_that_was_asked_for_is_an_error(digits) -> None:
    with pytest.raises(ValueError, match=r"model.cam_layer cannot be used .*\(1, 2\).*cam=none"):
        build_grad_cams(Misled(digits.task), digits, "predicted", layer_is_named=True, device="cpu")


def test_images_that_the_model_refuses_raise_its_own_error(digits) -> None:
    with pytest.raises(ValueError, match="vit_b_32 takes images of exactly 224×224 pixels"):
        build_grad_cams(TorchvisionModel(digits.task, "vit_b_32"), digits, "predicted", device="cpu")


def test_a_model_in_half_precision_is_given_half_precision(digits) -> None:
    torch.manual_seed(0)
    model = SmallCNN(digits.task)
    inputs = torch.stack([digits[row]["input"] for row in range(4)])
    targets = np.array([0, 1, 0, 1])
    whole = grad_cam(model, inputs, targets)
    half = grad_cam(model.bfloat16(), inputs, targets)
    assert whole.mean() > 0.05
    assert np.abs(half - whole).mean() < 0.02


def test_the_layer_of_a_torchvision_model_can_be_named(digits) -> None:
    model = TorchvisionModel(digits.task, "resnet18", cam_layer="layer3.1")
    assert model.cam_layer is model.net.get_submodule("layer3.1")
    with pytest.raises(
        ValueError, match=r"resnet18 has no module 'layer5' to be its cam_layer; it has layer4"
    ):
        TorchvisionModel(digits.task, "resnet18", cam_layer="layer5")


@pytest.mark.slow
def test_a_bad_layer_is_found_before_training(shell) -> None:
    said = shell("discover", "model=resnet18", "model.cam_layer=fc", "logger=none", "trainer=cpu", fails=True)
    assert "model.cam_layer cannot be used" in said
    assert "train →" not in said
    assert not (shell.folder / "outputs" / "checkpoints").exists()


def test_a_failure_while_the_report_is_made_does_not_prevent_it(caplog) -> None:
    """For example on a full GPU: finished Grad-CAMs stay, the others are left out, and one warning is logged."""
    made = []

    def cams(rows: Sequence[int]) -> list[Image.Image]:
        made.append(rows)
        if len(made) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [Image.new("RGB", (4, 4))] * len(rows)

    media = Media(cams=cams)
    with caplog.at_level(logging.WARNING):
        assert None not in media.cams([0, 1])
        first, third = media.cams([0, 2])
        assert media.cams([3]) == [None]
    assert first is not None
    assert third is None
    assert made == [[0, 1], [2]]
    assert caplog.text.count("no more Grad-CAMs: CUDA out of memory") == 1
