"""Any of Hugging Face's image classifiers, split at its last linear layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weakspot.models.base import Model, find_layer, record_head
from weakspot.models.hub import load_normalisation
from weakspot.models.hub_classifier import HubClassifier
from weakspot.tasks import Task

# modules of transformers' networks with the last feature maps, or the patches that the last block attends to
_LAST_MAPS = (
    re.compile(r"[^.]+\.conv_1x1(_exp)?"),
    re.compile(r"[^.]+\.encoder\.stages\.\d+"),
    re.compile(r"[^.]+\.(encoder\.)?layers?\.\d+\.(blocks\.\d+\.)?(layernorm_before|norm1)"),
)


class ImageClassifier(HubClassifier):
    """Classifies images; see `HubClassifier` for its settings and the order of its outputs.

    A network expects images to be normalised as in its own preprocessor_config.json. The dataset's normalisation
    is undone: whatever `dataset.mean` and `dataset.std` are, the network gets its own. Without that file, images
    stay as they are.

    cam_layer   the module of `net` that Grad-CAM uses; by default the last stage of a network with feature maps,
                or the norm before the last attention of a vision transformer, if it is known
    mean, std   what the dataset's images are normalised by; None: not at all, values are in [0, 1]

    Raises ValueError, when run, for images of a size that the network cannot take.
    """

    no_difference = Model.no_difference | {"cam_layer"}

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        task: Task,
        name: str | Path,
        labels: Sequence[str] | None = None,
        download: bool = False,
        cam_layer: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        from transformers import AutoModelForImageClassification

        super().__init__(AutoModelForImageClassification, task, name, labels, download)
        self._cam_path = _cam_path(self.net) if cam_layer is None else cam_layer
        if cam_layer is not None:
            find_layer(self.net, cam_layer, "cam_layer", str(name))
        given = ([0.0] * 3 if mean is None else mean, [1.0] * 3 if std is None else std)
        taken = load_normalisation(name, download) or given
        (m, s), (wanted_m, wanted_s) = (
            [torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1) for values in pair]
            for pair in (given, taken)
        )
        self.register_buffer("scale", (s / wanted_s).float(), persistent=False)
        self.register_buffer("shift", ((m - wanted_m) / wanted_s).float(), persistent=False)

    @property
    def cam_layer(self) -> nn.Module | None:
        return None if self._cam_path is None else self.net.get_submodule(self._cam_path)

    def embed(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        last = self.net.get_submodule(self._head_path)
        try:
            received, given, returned = record_head(self.net, last, pixel_values=x * self.scale + self.shift)
        except ValueError as error:
            raise self._explained(error, x) from error
        self._check(given, returned.logits)
        return received

    def _explained(self, error: ValueError, x: Tensor) -> ValueError:
        """Return the error with the size that the network takes, if transformers refuses another."""
        side = getattr(self.net.config, "image_size", None)
        sides = tuple(side) if isinstance(side, list | tuple) else (side, side)
        if side is None or tuple(x.shape[-2:]) == sides:
            return error
        given, wanted = ("×".join(map(str, size)) for size in (x.shape[-2:], sides))
        return ValueError(
            f"{type(self.net).__name__} takes images of exactly {wanted} pixels, not {given}; have the dataset resize "
            f"them (dataset.size={sides[0]})"
        )


def _cam_path(net: nn.Module) -> str | None:
    paths: list[str] = [path for path, _ in net.named_modules()]
    for pattern in _LAST_MAPS:
        fitting = [path for path in paths if pattern.fullmatch(path)]
        if fitting:
            return fitting[-1]
    return None
