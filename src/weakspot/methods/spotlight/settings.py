"""The settings of a Spotlight, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped

from weakspot.slices import Slices

CHOICES = {
    "search": ("multistart", "published"),
    "precision": ("spherical", "diagonal", "full"),
    "labels": ("ignore", "within"),
    "loss": ("log", "residual"),
    "members": ("kernel", "discriminant"),
}
_WHOLE = ("n_slices", "steps", "starts")
_POSITIVE = ("learning_rate", "barrier_scale", "barrier_end")
_NOT_NEGATIVE = ("patience", "label_entropy", "prediction_entropy")

MAX_FULL_DIMENSIONS = 512
"""The most dimensions d of a full precision, which has d² numbers and costs d³ per step."""


@dataclass(frozen=True)
class SpotlightSettings:
    """Holds the checked constructor arguments of `Spotlight`, which documents them.

    Raises:
        ValueError: For the first invalid argument.
    """

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
    labels: str
    loss: str
    members: str

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
        for name, default in (("labels", "ignore"), ("loss", "log"), ("members", "kernel")):
            if self.sharded and getattr(self, name) != default:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} needs all rows in one place, and sharded=True spreads them"
                )
        if self.labels == "within" and self.n_components is not None:
            raise ValueError(
                "n_components would project each label differently; with labels='within' leave it out"
            )
        if _device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device={str(self.device)!r}, but torch sees no GPU here; use device='cpu'")

    def check_dimensions(self, dimensions: int) -> None:
        """Raise ValueError if a full precision is infeasible in this many dimensions."""
        searched = dimensions if self.n_components is None else self.n_components
        if self.precision == "full" and searched > MAX_FULL_DIMENSIONS:
            raise ValueError(
                f"precision='full' in {searched} dimensions has {searched**2} numbers to find in every spotlight; "
                f"search among at most {MAX_FULL_DIMENSIONS} principal components (n_components=64), or use "
                "precision='diagonal'"
            )

    def size(self, total: float, smallest_count: float = 1.0) -> float:
        """Return the minimum size T in examples.

        A share is raised to one example, or to the smallest count or half the total if these are less than one.

        Args:
            total: Σ counts.
            smallest_count: The smallest count.

        Raises:
            ValueError: If `min_size` is not a number, or T is not between 0 and the total.
        """
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
        return size if whole else max(size, min(1.0, smallest_count, total / 2))

    def past_weights(self, ids: Shaped[np.ndarray, " n"] | None = None) -> Float[np.ndarray, "k n"]:
        """Return the weights of `past`, checked.

        Args:
            ids: (n,) of the examples that are searched. An array must have a column for each, in their order; Slices
                are matched by id. None returns the weights of all examples of `past`.

        Returns:
            (k, n)

        Raises:
            ValueError: If `past` does not hold such weights, or an example is missing.
        """
        if self.past is None:
            return np.empty((0, 0 if ids is None else len(ids)))
        past_weights = self.past.weights if isinstance(self.past, Slices) else self.past
        weights = np.atleast_2d(np.asarray(past_weights, dtype=np.float64))
        if weights.ndim != 2 or not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError("past must hold weights (k, n) that are finite and not negative")
        if not self.sharded and (weights.max(axis=1, initial=0) <= 0).any():
            raise ValueError("past holds a slice whose weights are zero everywhere; leave it out")
        if ids is None:
            return weights
        if isinstance(self.past, Slices):
            return weights[:, _positions(self.past.ids, ids)]
        if weights.shape[1] != len(ids):
            raise ValueError(
                f"past has weights of shape {weights.shape}, but there are {len(ids)} examples; give Slices to have "
                "the examples matched by id"
            )
        return weights

    def as_json(self) -> Mapping[str, Any]:
        """Return the settings as JSON values; `past` becomes its number of slices."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"device": str(self.device), "past": len(self.past_weights())}


def _positions(known: Shaped[np.ndarray, " m"], ids: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return the position of each id among the known ones."""
    rows = {name: row for row, name in enumerate(known.tolist())}
    missing = next((name for name in ids.tolist() if name not in rows), None)
    if missing is not None:
        raise ValueError(
            f"past holds no weight for the example {missing!r}; give slices of the same predictions"
        )
    return np.array([rows[name] for name in ids.tolist()], dtype=np.int64)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={name!r} is unknown; choose cpu or cuda") from error
