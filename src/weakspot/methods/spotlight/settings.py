"""The settings of a Spotlight, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from weakspot.slices import Slices

CHOICES = {"search": ("multistart", "published"), "precision": ("spherical", "diagonal", "full")}
_WHOLE = ("n_slices", "steps", "starts")
_POSITIVE = ("learning_rate", "barrier_scale", "barrier_end")
_NOT_NEGATIVE = ("patience", "label_entropy", "prediction_entropy")


@dataclass(frozen=True)
class Settings:
    """The constructor arguments of `Spotlight`, which documents them; ValueError names the first bad one."""

    n_slices: int
    min_size: int | float
    search: str
    steps: int
    learning_rate: float
    patience: int
    barrier_scale: float
    precision: str
    flip: bool
    device: str | torch.device
    seed: int
    n_components: int | None
    barrier_end: float
    factor: float
    label_entropy: float
    prediction_entropy: float
    past: Any
    starts: int
    n_jobs: int
    sharded: bool

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; choose {' or '.join(choices)}")
        for name in _WHOLE:
            if not _is_whole(getattr(self, name)) or getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be a whole number of at least 1")
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name}={getattr(self, name)!r} must be a positive number")
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}={getattr(self, name)!r} must not be negative")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor={self.factor!r} must lie between 0 and 1")
        if self.sharded and self.n_components is not None:
            raise ValueError(
                "n_components needs all rows in one place; project the embeddings before sharding them"
            )
        if _device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device={str(self.device)!r}, but torch sees no GPU here; use device='cpu'")

    def size(self, total: float) -> float:
        """The least size in examples, where `total` is Σ counts."""
        if isinstance(self.min_size, bool) or not isinstance(self.min_size, (int, float, np.number)):
            raise ValueError(
                f"min_size={self.min_size!r} must be a number: examples (20) or a share of them (0.02, the default)"
            )
        whole = _is_whole(self.min_size)
        size = float(self.min_size) * (1.0 if whole else total)
        if not 0 < size < total:
            wanted = f"{size:g} examples" if whole else f"a share of {self.min_size:g}"
            raise ValueError(
                f"min_size={self.min_size!r} asks for {wanted}; give more than 0 and less than all {total:g}, "
                "or a share of them (0.02)"
            )
        return size

    def plain(self) -> Mapping[str, Any]:
        """As values that JSON holds; of earlier slices, how many there were."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        count = 0 if self.past is None else len(past_weights(self.past, None))
        return values | {"device": str(self.device), "past": count}


def past_weights(past: Any, n: int | None) -> Float[np.ndarray, "k n"]:
    """The weights of earlier slices, checked; n is how many examples there must be, if known."""
    if past is None:
        return np.empty((0, n or 0))
    array = np.atleast_2d(np.asarray(past.weights if isinstance(past, Slices) else past, dtype=np.float64))
    if array.ndim != 2 or array.shape[1] != (n or array.shape[1]):
        raise ValueError(f"past has weights of shape {array.shape}, but there are {n} examples")
    if not np.isfinite(array).all() or (array < 0).any() or (array.max(axis=1, initial=0) <= 0).any():
        raise ValueError("past holds weights that are negative, not finite, or zero everywhere")
    return array


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={name!r} is unknown; choose cpu or cuda") from error
