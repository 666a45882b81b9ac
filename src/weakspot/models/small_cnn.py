"""A small convolutional network for small images, trained in seconds on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from weakspot.models.base import Model
from weakspot.tasks import Task

_SMALLEST = 8


class SmallCNN(Model):
    """Classifies small images by 3×3 convolutions, max pooling between them, an embedding and a linear head.

    The maps are pooled to 4×4, not to a single value per channel: after a global average the network sees
    which colours an image has but not where, and learns only the background.
    """

    channels_last = True

    def __init__(self, task: Task, channels: Sequence[int] = (16, 32, 64), embedding: int = 64) -> None:
        super().__init__()
        if not channels or min(*channels, embedding) < 1:
            raise ValueError(
                f"SmallCNN needs positive widths, not channels={tuple(channels)}, embedding={embedding}"
            )
        self.embedding_size = embedding
        layers: list[nn.Module] = []
        for before, after in zip((3, *channels), channels, strict=False):
            layers += [nn.Conv2d(before, after, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers[:-1])
        self.embedding = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(channels[-1] * 16, embedding), nn.ReLU()
        )
        self.output = nn.Linear(embedding, task.n_outputs)

    @property
    def cam_layer(self) -> nn.Module:
        return self.features

    def embed(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        if min(x.shape[-2:]) < _SMALLEST:
            height, width = x.shape[-2:]
            raise ValueError(f"SmallCNN needs images of at least 8×8 pixels, not {height}×{width}")
        z: Tensor = self.embedding(self.features(x))
        return z

    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        y: Tensor = self.output(z)
        return y
