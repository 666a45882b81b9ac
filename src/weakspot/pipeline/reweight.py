"""Training that weighs its examples by how much they belong to slices on which a model fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

    from weakspot.findings.mended_model import MendedModelComparison
    from weakspot.pipeline.subject import Subject


@dataclass(frozen=True)
class Reweight(ABC):
    """By what the training examples are weighed.

    The weights stand in the loss, not in a sampler: an epoch still sees every example once, in the order that the seed
    gives, whatever the task and however many processes share it, and a run that was killed goes on as it would have.

    Attributes:
        strength: Share of the loss that goes to the slices, from 0 (all examples alike) to 1 (nothing else).
        first_epoch: The first one, counted from 1, in which examples are weighed.
    """

    strength: float = 0.5
    first_epoch: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(
                f"reweight.strength={self.strength:g} must lie between 0 (all examples alike) and 1 (slices alone)"
            )
        if self.first_epoch < 1:
            raise ValueError(
                f"reweight.first_epoch={self.first_epoch} must be at least 1: epochs count from 1"
            )

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What makes a model that is trained so different from all others, as plain values."""

    @abstractmethod
    def check(self, subject: Subject) -> None:
        """Raise the error with which training would refuse, before anything is trained."""

    @abstractmethod
    def callback(self, subject: Subject) -> Callback:
        """What weighs the examples as training goes; it may infer first what it needs to know of them."""

    @abstractmethod
    def compared(self, subject: Subject) -> MendedModelComparison | None:
        """What the trained model does better than the one before, and worse; inferred where it is not yet.

        None on ranks above 0, and where there is no model before.
        """

    def begins(self, epoch: int) -> bool:
        """Whether examples are weighed in this epoch, counted from 0 as Lightning does."""
        return epoch + 1 >= self.first_epoch

    def _check_epochs(self, subject: Subject) -> None:
        if self.first_epoch > subject.training.epochs:
            raise ValueError(
                f"reweight.first_epoch={self.first_epoch} comes after the last of training.epochs="
                f"{subject.training.epochs}; choose an earlier one, or train for longer"
            )


def example_weights(memberships: Float[np.ndarray, "k n"], strength: float) -> Float[np.ndarray, " n"]:
    """Weights of mean 1, a share of which goes to the slices.

    Each of k slices gets the same part of that share, so that a rare failure is not drowned by a common one:
    w = 1 - s + s · mean over j of n · m_j / Σ m_j. With one slice this is what the Spotlight's authors train against
    (`train_fairface_adversary.py` in gregdeon/spotlight). What holds less than one example is left out: nothing can be
    learnt from it, and whatever came near would be blown up.

    Args:
        memberships: How much each example belongs to each slice, in [0, 1].
        strength: The share s.

    Returns:
        The weights; all 1 where no slice holds an example.

    Example:
        >>> example_weights(np.array([[1.0, 0.0, 0.0, 0.0]]), 0.5).tolist()
        [2.5, 0.5, 0.5, 0.5]
    """
    n = memberships.shape[1]
    there = holds_examples(memberships)
    if not there.any():
        return np.ones(n)
    found = memberships[there]
    weights: np.ndarray = (
        1 - strength + strength * n * (found / found.sum(axis=1, keepdims=True)).mean(axis=0)
    )
    return weights


def holds_examples(memberships: Float[np.ndarray, "k n"]) -> Bool[np.ndarray, " k"]:
    """Which slices hold an example or more."""
    there: np.ndarray = memberships.sum(axis=1) >= 1
    return there
