"""The models of trained settings, and the encoder that knows nothing of their targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from planted.settings import Network
from planted.sources import load

_WIDTH = 64
_EPOCHS = 5
_BATCH = 128


def trained(
    inputs: np.ndarray,
    labels: Int[np.ndarray, " n"],
    targets: int,
    seed: int,
    epochs: int | None = None,
    network: Network = "plain",
) -> Callable[
    [np.ndarray], tuple[Float[np.ndarray, "m e"], Float[np.ndarray, "m 64"], Float[np.ndarray, "m c"]]
]:
    """Train a small network; return a function that gives its last two hidden layers and its logits.

    The earlier layer is flattened. For images it holds all maps of the last convolution: after the pooling of a plain
    network, before the averaging of a residual one.

    Args:
        inputs: uint8 images, or embeddings of sentences.
        labels: The targets.
        targets: The number of targets.
        seed: The seed of weights and batches.
        epochs: Passes over the examples; 5 over images and 15 over embeddings by default.
        network: "plain" or, for images, "resnet".
    """
    torch.manual_seed(seed)
    body, earlier = _network(inputs.shape[1:], network)
    head = nn.Linear(_WIDTH, targets)
    optimiser = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=2e-3)
    x, y = _tensor(inputs), torch.from_numpy(labels)
    for _ in range(epochs or (_EPOCHS if inputs.ndim == 4 else 3 * _EPOCHS)):
        for rows in torch.randperm(len(x)).split(_BATCH):
            if len(rows) > 1:
                optimiser.zero_grad()
                nn.functional.cross_entropy(head(body(x[rows])), y[rows]).backward()
                optimiser.step()
    body.eval()

    def answer(some: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with torch.inference_mode():
            first = torch.cat([body[:earlier](part) for part in _tensor(some).split(1000)])
            hidden = body[earlier:](first)
            return first.flatten(1).numpy(), hidden.numpy(), head(hidden).numpy()

    return answer


@cache
def encoder(source: str, root: Path) -> Callable[[np.ndarray], Float[np.ndarray, "m 64"]] | None:
    """Return a function that gives the last hidden layer of a network trained on all classes of the source.

    The network is trained on four thousand examples, whatever the setting. The result is None for CIFAR-10, whose
    pixels are reduced by PCA instead, and for sentences, which are embeddings already.
    """
    if source in ("cifar10", "sentences"):
        return None
    data = load(source, root)
    rows = np.random.default_rng(0).permutation(len(data.classes))[:4000]
    answer = trained(data.inputs[rows], data.classes[rows], int(data.classes.max()) + 1, seed=0)
    return lambda inputs: answer(inputs)[1]


def _tensor(inputs: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(np.ascontiguousarray(inputs)).float()
    return x / 255 if inputs.dtype == np.uint8 else x


def _network(shape: tuple[int, ...], network: Network) -> tuple[nn.Sequential, int]:
    """Return the layers up to the last hidden one, and how many of them lead to the earlier one."""
    if len(shape) == 1:
        return _vectors(shape[0]), 2
    return (_residual(shape[0]), 5) if network == "resnet" else (_plain(shape), 8)


def _plain(shape: tuple[int, ...]) -> nn.Sequential:
    channels, height, width = shape
    places = (height // 4) * (width // 4)
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * places, _WIDTH), nn.ReLU(),
    )  # fmt: skip


def _residual(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), Block(16, 32), Block(32, _WIDTH),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


class Block(nn.Module):
    """Two convolutions beside a projection, at half the resolution (He et al., 2016)."""

    def __init__(self, received: int, given: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(received, given, 3, 2, padding=1), nn.BatchNorm2d(given), nn.ReLU(),
            nn.Conv2d(given, given, 3, padding=1), nn.BatchNorm2d(given),
        )  # fmt: skip
        self.projection = nn.Sequential(nn.Conv2d(received, given, 1, 2), nn.BatchNorm2d(given))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.residual(x) + self.projection(x))


def _vectors(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, _WIDTH), nn.ReLU())
