"""Grad-CAM: where in an image a model finds evidence for a class, and the overlay that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from math import isqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image, ImageEnhance
from torch import Tensor, nn
from torch.nn.functional import interpolate

# Matplotlib's "plasma" (CC0): lightness rises evenly from violet to yellow, for the colour-blind too
_COLOURS = np.array(
    [
        [13, 8, 135],
        [84, 2, 163],
        [139, 10, 165],
        [185, 50, 137],
        [219, 92, 104],
        [244, 136, 73],
        [254, 188, 43],
        [240, 249, 33],
    ]
)
_SATURATION = 0.35  # of the image: vivid colours in an overlay are evidence, and the image's hues still show
_COVER = 0.7  # opacity of the strongest evidence: the image shows through
_COVER_EXPONENT = 0.7  # below 1, so that half the evidence looks like half


def grad_cam(
    model: nn.Module,
    inputs: Float[Tensor, "n c H W"],
    targets: Int[np.ndarray, " n"] | None = None,
    batch_size: int = 32,
) -> Float[np.ndarray, "n H W"]:
    """Compute the evidence for one class in each image.

    Selvaraju et al. 2017, equations 1 and 2: the maps of `model.cam_layer` are weighted by the mean gradient of the
    class's output, summed and clipped at zero; then they are scaled up bilinearly and divided by each image's maximum,
    so that values compare positions within an image, not images with each other.
    The layer's output is maps (n, c, h, w), maps with the channels last (n, h, w, c) as in Swin, or tokens (n, t, c)
    of which the last are the patches, row by row. Maps and patches have the image's proportions, which distinguish
    the two kinds of maps. The model's mode and gradients are unchanged afterwards.

    Args:
        model: A model with `cam_layer`.
        inputs: (n, c, H, W) images.
        targets: (n,) class indices, such as the labels; None for the classes that the model predicts.
        batch_size: How many images are on the model's device at once.

    Returns:
        (n, H, W) in [0, 1]; all 0 if an image has no evidence.

    Raises:
        ValueError: If the model has no such layer or no gradients (an int8 model), or targets do not fit.
    """
    layer = getattr(model, "cam_layer", None)
    if not isinstance(layer, nn.Module):
        raise ValueError(
            f"{type(model).__name__} names no layer for Grad-CAM: set its cam_layer (cam_layer=layer4, say)"
        )
    if targets is not None and np.shape(targets) != (len(inputs),):
        raise ValueError(f"targets have shape {np.shape(targets)} but there are {len(inputs)} inputs")
    target_classes = None if targets is None else torch.as_tensor(np.asarray(targets, dtype=np.int64))
    maps = np.empty((len(inputs), *inputs.shape[-2:]), dtype=np.float32)
    with _evaluation_without_gradients(model):
        for start in range(0, len(inputs), batch_size):
            rows = slice(start, start + batch_size)
            maps[rows] = _cams_of_batch(
                model, layer, inputs[rows], None if target_classes is None else target_classes[rows]
            )
    return maps


def overlay(image: Image.Image, cam: Float[np.ndarray, "h w"]) -> Image.Image:
    """Draw evidence in [0, 1] over the image with faded colours: violet if it is weak, yellow if strong."""
    heat = Image.fromarray(np.asarray(cam, dtype=np.float32)).resize(image.size, Image.Resampling.BILINEAR)
    strength = np.clip(np.asarray(heat), 0, 1)
    stops = np.linspace(0, 1, len(_COLOURS))
    colour = np.stack([np.interp(strength, stops, channel) for channel in _COLOURS.T], axis=-1)
    faded = np.asarray(ImageEnhance.Color(image.convert("RGB")).enhance(_SATURATION))
    cover = _COVER * strength[..., None] ** _COVER_EXPONENT
    return Image.fromarray(np.round((1 - cover) * faded + cover * colour).astype(np.uint8))


class ActivationMaps:
    """Converts a layer's output to maps (n, c, h, w) and back, for images of one size."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def __call__(self, activations: Tensor) -> Tensor:
        if activations.ndim == 4:
            return activations.permute(0, 3, 1, 2) if self.channels_last(activations) else activations
        h, w = self.grid(activations.shape[1])
        patches = activations[:, -h * w :]
        return patches.transpose(1, 2).reshape(len(activations), -1, h, w)

    def back(self, maps: Tensor, activations: Tensor) -> Tensor:
        """Return the activations with their patches replaced by the maps."""
        if activations.ndim == 4:
            return maps.permute(0, 2, 3, 1) if self.channels_last(activations) else maps
        patches = maps.flatten(2).transpose(1, 2)
        return torch.cat([activations[:, : -patches.shape[1]], patches], dim=1)

    def channels_last(self, activations: Tensor) -> bool:
        """Return whether maps have the image's proportions only if they are read as (n, h, w, c)."""
        _, a, b, c = activations.shape
        return self.in_proportion(a, b) and not self.in_proportion(b, c)

    def in_proportion(self, h: int, w: int) -> bool:
        """Return whether (h, w) has the image's proportions, up to one row and column that a stride may add or drop."""
        return abs(h * self.width - w * self.height) <= self.height + self.width

    def grid(self, tokens: int) -> tuple[int, int]:
        """Return the rows and columns of the patches: the largest grid of the image's proportions that fits."""
        h = isqrt(tokens * self.height // self.width)
        return h, h * self.width // self.height


@contextmanager
def _evaluation_without_gradients(model: nn.Module) -> Iterator[None]:
    """Use evaluation mode with frozen parameters, so that nothing below the layer is kept for gradients."""
    modes = {module: module.training for module in model.modules()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter in trainable:
            parameter.requires_grad_(True)


@torch.inference_mode(False)
def _cams_of_batch(
    model: nn.Module, layer: nn.Module, inputs: Float[Tensor, "n c H W"], targets: Int[Tensor, " n"] | None
) -> Float[np.ndarray, "n H W"]:
    height, width = inputs.shape[-2:]
    as_maps = ActivationMaps(height, width)
    maps: Tensor | None = None

    def through_maps(_module: nn.Module, _inputs: Any, activations: Any) -> Tensor:
        """Replace the activations by equal ones computed from maps that require gradients."""
        nonlocal maps
        if not isinstance(activations, Tensor) or activations.ndim not in (3, 4):
            shape = (
                tuple(activations.shape) if isinstance(activations, Tensor) else type(activations).__name__
            )
            raise ValueError(
                f"Grad-CAM needs a layer of maps (n, c, h, w) or tokens (n, t, c); cam_layer gives {shape}"
            )
        if not activations.is_floating_point():
            raise _without_gradients(model)
        activations = activations.detach()
        maps = as_maps(activations).requires_grad_()
        return as_maps.back(maps.clone(), activations)  # a copy: the next layer may change it in place

    weights = next(chain(model.parameters(), model.buffers()), inputs)  # an int8 model may have none
    precision = weights.dtype if weights.is_floating_point() else inputs.dtype
    hook = layer.register_forward_hook(through_maps)
    try:
        with torch.enable_grad():
            outputs: Tensor = model(inputs.to(weights.device, precision).clone())
    finally:
        hook.remove()
    if maps is None:
        raise ValueError(f"the cam_layer of {type(model).__name__} takes no part in its forward pass")
    if not outputs.requires_grad:
        raise _without_gradients(model)
    chosen = outputs.argmax(dim=1) if targets is None else targets.to(outputs.device)
    if not ((chosen >= 0) & (chosen < outputs.shape[1])).all():
        raise ValueError(
            f"targets must be classes 0…{outputs.shape[1] - 1} of the model, not {chosen.tolist()}"
        )
    try:
        (gradients,) = torch.autograd.grad(outputs.gather(1, chosen[:, None]).sum(), maps)
    except RuntimeError as error:
        if "used in the graph" in str(error):  # the layer's output does not reach the model's by floats alone
            raise _without_gradients(model) from error
        raise
    cams = (gradients.mean(dim=(2, 3), keepdim=True) * maps.detach()).sum(dim=1, keepdim=True)
    cams = interpolate(cams.float().relu(), (height, width), mode="bilinear", align_corners=False)[:, 0]
    highest = cams.amax(dim=(1, 2), keepdim=True)
    return (cams / highest.where(highest > 0, 1)).cpu().numpy()


def _without_gradients(model: nn.Module) -> ValueError:
    return ValueError(
        f"Grad-CAM needs gradients, and none pass from the outputs of {type(model).__name__} to its cam_layer, as in a "
        "model that computes in integers (int8): audit the one in floating point, or leave Grad-CAM out (cam=none)"
    )
