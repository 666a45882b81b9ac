"""The small network of the Spotlight paper's X-ray experiments (d'Eon et al., 2021)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from weakspot.models.base import Model
from weakspot.tasks import Task

_SIDE = 150


class XRayCNN(Model):
    """Classifies grey images of 150×150 by one 3×3 convolution and two linear layers, with an embedding of 100.

    `net` is laid out as published (`train_xray.py`), so that the published state dict loads. It has one input
    channel and reads the first of three: in a grey image they are equal.

    Raises ValueError, when run, for images of another size.
    """

    embedding_size = 100

    def __init__(self, task: Task) -> None:
        super().__init__()
        after_pool = (_SIDE - 2) // 2
        self.net = nn.Sequential(
            nn.Conv2d(1, 10, kernel_size=3),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(10 * after_pool**2, self.embedding_size),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(self.embedding_size, task.n_outputs),
        )

    @property
    def cam_layer(self) -> nn.Module:
        return self.net[1]

    def embed(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        height, width = x.shape[-2:]
        if (height, width) != (_SIDE, _SIDE):
            raise ValueError(
                f"XRayCNN takes images of exactly {_SIDE}×{_SIDE} pixels, not {height}×{width}; have the "
                f"dataset resize them (dataset.size={_SIDE})"
            )
        z: Tensor = self.net[:-1](x[:, :1])
        return z

    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        y: Tensor = self.net[-1](z)
        return y
