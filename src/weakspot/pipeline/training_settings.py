"""The settings of training, separate from its code: a plan needs them long before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

BEST_EPOCH_BY = "val/loss"
"""The metric by which `keep` and `patience` compare epochs: the lower, the better."""


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of training, as `training.…` on the command line.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Examples in a batch.
        optimizer: The optimizer.
        learning_rate: The learning rate at the start.
        weight_decay: The optimizer's weight decay.
        momentum: The momentum of sgd.
        schedule: The schedule of the learning rate.
        clip: The largest norm of the gradient; None: no bound.
        patience: Epochs without a lower validation loss before training ends; None: never.
        keep: The epoch to keep: the one of the lowest validation loss, or the last.

    Raises:
        ValueError: If a value is not allowed.
    """

    epochs: int = 20
    batch_size: int = 64
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: Literal["constant", "cosine"] = "constant"
    clip: float | None = None
    patience: int | None = None
    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        for name in ("optimizer", "schedule", "keep"):
            known = get_args(get_type_hints(type(self))[name])
            if getattr(self, name) not in known:
                raise ValueError(
                    f"training.{name}={getattr(self, name)!r} is unknown; choose {' or '.join(known)}"
                )
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"training.{name}={getattr(self, name)!r} must be more than 0")
