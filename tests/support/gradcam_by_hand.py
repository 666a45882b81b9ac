"""Grad-CAM written out from activations and gradients, to compare with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def bilinear(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize with half-pixel centres and clamped edges, as `interpolate(align_corners=False)`, by np.interp."""

    def along(axis: int, size: int, values: np.ndarray) -> np.ndarray:
        old = values.shape[axis]
        at = (np.arange(size) + 0.5) * old / size - 0.5
        return np.apply_along_axis(lambda line: np.interp(at, np.arange(old), line), axis, values)

    return along(2, width, along(1, height, maps))


def finish(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    large = bilinear(np.maximum(maps, 0), height, width)
    highest = large.max(axis=(1, 2), keepdims=True)
    return large / np.where(highest > 0, highest, 1)


def by_hand(activations: Tensor, gradients: Tensor) -> np.ndarray:
    """Equations 1 and 2 of the paper, before the ReLU; activations and gradients are (n, c, h, w)."""
    weights = gradients.mean(dim=(2, 3))
    return torch.einsum("nc,nchw->nhw", weights, activations).detach().numpy()
