"""Training that weights its examples by their membership in slices on which a model fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

    from weakspot.findings.mended_model import MendedModelComparison
    from weakspot.pipeline.audit_target import AuditTarget


@dataclass(frozen=True)
class Reweight(ABC):
    """Decides the weights of the training examples.

    The weights are applied in the loss, not in a sampler: an epoch still sees every example once, in the order that the
    seed gives, for any task and any number of processes, and a run that was killed resumes as if it had never stopped.

    Attributes:
        strength: The share of the loss that goes to the slices, from 0 (all examples alike) to 1 (nothing else).
        first_epoch: The first epoch, counted from 1, in which examples are weighted.
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
    def identity(self, target: AuditTarget) -> dict[str, Any]:
        """Return what distinguishes a target's model that is trained this way from all others, as plain values; the
        embedding is a part of it, because it decides which examples get more weight.
        """

    @abstractmethod
    def check(self, target: AuditTarget) -> None:
        """Raise the error that training would fail with, before anything is trained."""

    @abstractmethod
    def build_callback(self, target: AuditTarget) -> Callback:
        """Return the callback that sets the weights during training; it may first run inference on the
        examples.
        """

    @abstractmethod
    def measure_effect(self, target: AuditTarget) -> MendedModelComparison | None:
        """Compare the trained model with the one before; predictions of either are inferred first if they are missing.

        Returns:
            What it does better, and worse; None on ranks above 0, or if there is no model before.
        """

    def is_active(self, epoch: int) -> bool:
        """Return whether examples are weighted in an epoch, counted from 0 as Lightning does."""
        return epoch + 1 >= self.first_epoch

    def _check_epochs(self, target: AuditTarget) -> None:
        if self.first_epoch > target.training.epochs:
            raise ValueError(
                f"reweight.first_epoch={self.first_epoch} comes after the last of training.epochs="
                f"{target.training.epochs}; choose an earlier one, or train for longer"
            )


def example_weights(memberships: Float[np.ndarray, "k n"], strength: float) -> Float[np.ndarray, " n"]:
    """Return weights of mean 1, a share of which goes to the slices.

    Each of k slices gets the same part of that share, so that a rare failure counts as much as a common one: w = 1 -
    s + s · mean over j of n · m_j / Σ m_j. With one slice this is what the Spotlight's authors train against
    (`train_fairface_adversary.py` in gregdeon/spotlight). A slice that holds less than one example is left out:
    nothing can be learnt from it, and the weights of examples near it would be enormous.

    Args:
        memberships: (k, n) how much each example belongs to each slice, in [0, 1].
        strength: The share s.

    Returns:
        (n,) the weights; all 1 if no slice holds an example.

    Example:
        >>> example_weights(np.array([[1.0, 0.0, 0.0, 0.0]]), 0.5).tolist()
        [2.5, 0.5, 0.5, 0.5]
    """
    n = memberships.shape[1]
    nonempty = holds_examples(memberships)
    if not nonempty.any():
        return np.ones(n)
    memberships_found = memberships[nonempty]
    weights: np.ndarray = (
        1
        - strength
        + strength * n * (memberships_found / memberships_found.sum(axis=1, keepdims=True)).mean(axis=0)
    )
    return weights


def holds_examples(memberships: Float[np.ndarray, "k n"]) -> Bool[np.ndarray, " k"]:
    """Return (k,) which slices hold one example or more."""
    nonempty: np.ndarray = memberships.sum(axis=1) >= 1
    return nonempty
