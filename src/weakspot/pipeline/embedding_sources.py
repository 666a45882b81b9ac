"""Embeddings from other sources than the audited model's last layer: an earlier layer of it, or another network.

The last layer of a trained model has discarded what did not help the training, and examples that the model confuses
lie close together in it. An earlier layer, or a network that never saw the target, may still separate a failing
group.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from weakspot.explain.gradcam import ActivationMaps
from weakspot.models.base import Model, find_layer

CAM_LAYER = "cam_layer"
"""The value of `model.embed_layer` that stands for the layer that Grad-CAM reads, usually the last one with maps."""

_MAX_DIMENSIONS = 4096  # the largest number of values that the maps of a layer are pooled to


class EmbeddingOverride(Model):
    """A model with the audited model's outputs and embeddings from elsewhere; one forward pass computes both."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.channels_last = model.channels_last

    @property
    def cam_layer(self) -> nn.Module | None:
        return self.model.cam_layer

    def embed(self, x: Any) -> Float[Tensor, "n d"]:
        return self.read(x)[0]

    def head(self, z: Float[Tensor, "n d"]) -> NoReturn:
        raise TypeError("the outputs cannot be computed from this embedding; call read(x)")


class LayerEmbedding(EmbeddingOverride):
    """Takes the embedding from the output of a named module of the model.

    Feature maps (n, c, h, w) are averaged over the cells of the finest grid that gives at most 4096 values. An image's
    tokens are treated as maps of its patches. A text's tokens (n, t, c) are averaged without padding.

    Args:
        model: The audited model.
        layer: The module's path, within the wrapped network if the model wraps one; or "cam_layer", the layer that
            Grad-CAM reads.

    Raises:
        ValueError: If the model has no such module; when run, if the module returns the model's outputs, is not called
            exactly once in a forward pass, or does not return a tensor of one of these shapes.
    """

    def __init__(self, model: Model, layer: str) -> None:
        super().__init__(model)
        self.name = layer
        # in a list, because it is registered already as a part of the model
        self.layer = [_cam_layer(model) if layer == CAM_LAYER else _named_layer(model, layer)]

    def read(self, x: Any) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        outputs_of_layer: list[Any] = []
        hook = self.layer[0].register_forward_hook(
            lambda _module, _received, out: outputs_of_layer.append(out)
        )
        try:
            outputs = self.model.read(x)[1]
        finally:
            hook.remove()
        if outputs_of_layer and _gives_outputs(outputs_of_layer[-1], outputs):
            raise ValueError(
                f"model.embed_layer={self.name} gives the model's outputs, which are not an embedding: name an "
                f"earlier layer, or leave it out to use the input of the last layer{_cam_layer_advice(self.model)}"
            )
        if len(outputs_of_layer) != 1:
            raise ValueError(
                f"model.embed_layer={self.name} is called {len(outputs_of_layer)} times in a forward pass, not once"
            )
        return self._embedding(outputs_of_layer[0], x), outputs

    def _embedding(self, outputs_of_layer: Any, x: Any) -> Float[Tensor, "n d"]:
        if isinstance(outputs_of_layer, tuple) and outputs_of_layer:
            outputs_of_layer = outputs_of_layer[0]  # a transformer's block returns its hidden states first
        if not isinstance(outputs_of_layer, Tensor) or not 2 <= outputs_of_layer.ndim <= 4:
            what = (
                f"shape {tuple(outputs_of_layer.shape)}"
                if isinstance(outputs_of_layer, Tensor)
                else type(outputs_of_layer).__name__
            )
            raise ValueError(
                f"model.embed_layer={self.name} gives {what}, which cannot be made into an embedding; name a "
                "layer that gives one tensor of vectors, maps or tokens"
            )
        if outputs_of_layer.ndim == 2:
            return outputs_of_layer
        if isinstance(x, Mapping):
            mask = x["attention_mask"][:, :, None].to(outputs_of_layer.dtype)
            mean: Tensor = (outputs_of_layer * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            return mean
        maps = ActivationMaps(*x.shape[-2:])(outputs_of_layer)
        _, c, h, w = maps.shape
        side = max(1, isqrt(_MAX_DIMENSIONS // c))
        return adaptive_avg_pool2d(maps, (min(h, side), min(w, side))).flatten(1)


def _gives_outputs(given: Any, outputs: Float[Tensor, "n C"]) -> bool:
    """Return whether a layer's output is the model's output: as it is, reordered, or one of two logits."""
    if (
        not isinstance(given, Tensor)
        or not given.ndim == outputs.ndim == 2
        or not 0 < given.shape[1] <= outputs.shape[1]
    ):
        return False
    given, outputs = given[:2], outputs[:2]  # two examples are enough
    is_output = (given[:, :, None] == outputs[:, None, :]).all(dim=0).any(dim=1)
    return bool(is_output.all()) and bool((given != 0).any())  # zeros may come from a dead layer


def _cam_layer(model: Model) -> nn.Module:
    if model.cam_layer is None:
        raise ValueError(
            f"{type(model).__name__} has no layer of maps that Grad-CAM reads (model.embed_layer={CAM_LAYER}): give "
            "model.cam_layer, or name a module instead"
        )
    return model.cam_layer


def _named_layer(model: Model, path: str) -> nn.Module:
    net = getattr(model, "net", None)
    root = net if isinstance(net, nn.Module) else model
    try:
        return find_layer(root, path, "embed_layer", type(model).__name__)
    except ValueError as error:
        raise ValueError(f"{error}{_cam_layer_advice(model)}") from None


def _cam_layer_advice(model: Model) -> str:
    if model.cam_layer is None:
        return ""
    return f"; model.embed_layer={CAM_LAYER} is the layer that Grad-CAM reads"


class EncoderEmbedding(EmbeddingOverride):
    """Takes the embedding from another network, which reads the same inputs.

    Args:
        model: The audited model.
        encoder: The other network; its head is not used.
    """

    def __init__(self, model: Model, encoder: Model) -> None:
        super().__init__(model)
        self.encoder = encoder
        self.channels_last = model.channels_last and encoder.channels_last

    def read(self, x: Any) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        return self.encoder.read(x)[0], self.model.read(x)[1]


def have_equal_embeddings(one: Model, other: Model, x: Any) -> bool:
    """Return whether two models compute the same embeddings.

    Two builds of the same encoder do only if its weights are trained.

    Args:
        one: A model.
        other: Another model.
        x: Inputs of both.
    """
    with torch.no_grad():
        first, second = (model.eval().read(x)[0] for model in (one, other))
    return torch.equal(first, second)
