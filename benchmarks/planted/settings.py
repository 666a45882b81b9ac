"""The settings: what is planted where, and which settings may be used for tuning."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import Literal

import numpy as np

Kind = Literal["rare", "noisy", "correlation"]
Split = Literal[
    "tune", "tune2", "tune3", "report", "fresh", "fresh2", "fresh3", "fresh4", "fresh5", "fresh6", "quick"
]
Network = Literal["plain", "resnet"]
KINDS: tuple[Kind, ...] = ("rare", "noisy", "correlation")
STRENGTHS = {
    "rare": np.geomspace(0.01, 0.1, 4),
    "noisy": np.linspace(0.1, 0.4, 4),
    "correlation": np.linspace(0.2, 0.8, 4),
}
FIRST_SEED: dict[Split, int] = {
    "tune": 0,
    "report": 10_000,
    "fresh": 20_000,
    "quick": 30_000,
    "fresh2": 40_000,
    "tune2": 50_000,
    "tune3": 60_000,
    "fresh3": 70_000,
    "fresh4": 80_000,
    "fresh5": 90_000,
    "fresh6": 100_000,
}
"""Settings of one split share no seed with those of another, and so no draw of examples, classes or predictions."""


@dataclass(frozen=True)
class Setting:
    """One or two planted slices, and the predictions and embedding that a method is given.

    Attributes:
        source: The source of the examples.
        kind: "rare": a class is thinned to a share of its target. "noisy": labels within a class are flipped.
            "correlation": an attribute is correlated with the target.
        strength: That share, the probability of a flip, or the correlation.
        targets: How many classes the model predicts; each is a group of the source's own classes.
        predictions: "synthetic": drawn. "trained": a model's.
        embedding: "own": the last hidden layer of the model that predicts. "earlier": its layer before. "other": that
            of an encoder that knows nothing of the target.
        seed: The seed of everything that is drawn.
        network: The network of trained predictions. "plain": convolutions, or layers over embeddings, that end in a
            layer of 64. "resnet": over images, two residual blocks and the average of 64 maps.
    """

    source: str
    kind: Kind
    strength: float
    targets: int
    predictions: Literal["synthetic", "trained"]
    embedding: Literal["own", "earlier", "other"]
    seed: int
    network: Network = "plain"

    @property
    def key(self) -> str:
        return "-".join(str(value) for value in asdict(self).values())

    @property
    def model_key(self) -> str:
        """Return the key of the model and its predictions, which is the same for every embedding."""
        return self.key.replace(f"-{self.embedding}-", "-")


def settings(split: Split, network: Network = "plain") -> list[Setting]:
    """Return all settings of a split in a fixed order; for residual networks, only the trained ones over images."""
    sources = ("digits",) if split == "quick" else ("mnist", "fashion_mnist", "cifar10", "sentences")
    found, seed = [], FIRST_SEED[split]
    for source, kind, targets in product(sources, KINDS, (2, 4)):
        if targets > 2 and (kind == "correlation" or source == "sentences"):
            continue
        for strength in STRENGTHS[kind][1::2] if split == "quick" else STRENGTHS[kind]:
            seed += 1
            common = (source, kind, round(float(strength), 4), targets)
            found.append(Setting(*common, "synthetic", "other", seed))
            for embedding in ("own", "earlier", "other"):
                found.append(Setting(*common, "trained", embedding, seed, network))
    if network == "resnet":
        return [one for one in found if one.predictions == "trained" and one.source != "sentences"]
    return found
