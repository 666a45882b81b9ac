"""Embeddings from elsewhere than the audited model's last layer: an earlier layer of it, or another network.

The last layer of a trained model has thrown away what did not help the training, and what a model mistakes for the same
lies together in it. An earlier layer, or a network that never saw the target, may still tell a failing group apart.
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

_WIDEST = 4096  # numbers that the maps of a layer are pooled to, at most


class EmbeddedElsewhere(Model):
    """Outputs are the audited model's, embeddings come from elsewhere; one pass reads both."""

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
        raise TypeError("the outputs do not follow from an embedding of elsewhere; call read(x)")


class InLayer(EmbeddedElsewhere):
    """The embedding is what a named module of the model gives.

    Maps (n, c, h, w) are averaged over the cells of a grid, the finest with at most 4096 numbers in all; an image's
    tokens are maps of its patches; a text's tokens (n, t, c) are averaged, padding left out.

    Args:
        model: The audited model.
        layer: The module's path, in the model's network where it wraps one.

    Raises:
        ValueError: If the model has no such module; when run, if the module is not called exactly once in a pass or
            gives no tensor of these forms.
    """

    def __init__(self, model: Model, layer: str) -> None:
        super().__init__(model)
        net = getattr(model, "net", None)
        self.name = layer
        self.layer = [
            find_layer(
                net if isinstance(net, nn.Module) else model, layer, "embed_layer", type(model).__name__
            )
        ]  # in a list: registered already, as a part of the model

    def read(self, x: Any) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        given: list[Any] = []
        hook = self.layer[0].register_forward_hook(lambda _module, _received, out: given.append(out))
        try:
            outputs = self.model.read(x)[1]
        finally:
            hook.remove()
        if len(given) != 1:
            raise ValueError(
                f"model.embed_layer={self.name} is called {len(given)} times in a forward pass, not once"
            )
        return self._embedding(given[0], x), outputs

    def _embedding(self, given: Any, x: Any) -> Float[Tensor, "n d"]:
        if isinstance(given, tuple) and given:
            given = given[0]  # a transformer's block gives its hidden states, and what else it is asked for
        if not isinstance(given, Tensor) or not 2 <= given.ndim <= 4:
            what = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
            raise ValueError(
                f"model.embed_layer={self.name} gives {what}, from which no embedding is known to be made; name a "
                "layer that gives one tensor of vectors, maps or tokens"
            )
        if given.ndim == 2:
            return given
        if isinstance(x, Mapping):
            counted = x["attention_mask"][:, :, None].to(given.dtype)
            mean: Tensor = (given * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
            return mean
        maps = ActivationMaps(*x.shape[-2:])(given)
        _, c, h, w = maps.shape
        side = max(1, isqrt(_WIDEST // c))
        return adaptive_avg_pool2d(maps, (min(h, side), min(w, side))).flatten(1)


class InEncoder(EmbeddedElsewhere):
    """The embedding is another network's, which reads the same inputs.

    Args:
        model: The audited model.
        encoder: Of which the embedding is taken; its head is not used.
    """

    def __init__(self, model: Model, encoder: Model) -> None:
        super().__init__(model)
        self.encoder = encoder
        self.channels_last = model.channels_last and encoder.channels_last

    def read(self, x: Any) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        return self.encoder.read(x)[0], self.model.read(x)[1]


def embeds_alike(one: Model, other: Model, x: Any) -> bool:
    """Whether two models give the same embeddings: those of an encoder that was built twice are, if it is trained."""
    with torch.no_grad():
        first, second = (model.eval().read(x)[0] for model in (one, other))
    return torch.equal(first, second)
