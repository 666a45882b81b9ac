"""Measures the accuracy and the loss of every group of the validation set in each epoch of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch import Tensor
from torchmetrics import Metric

from weakspot.legible import shortened
from weakspot.predictions.attributes import MISSING

MOST_GROUPS = 100
"""An attribute with more values than this is not used to group the validation set."""


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of the examples by the values of an attribute.

    Attributes:
        values: The values as text.
        codes: (n,) the index of each row's value.
    """

    values: tuple[str, ...]
    codes: Int[np.ndarray, " n"]


class GroupScores(Metric):
    """Accuracy and mean loss of every group, (g,) each; NaN for a group that does not occur, or if predictions are not
    right or wrong.

    It is updated with losses (b,), correct (b,) or None, and group (b,) in 0…g-1.
    """

    full_state_update = False
    losses: Tensor
    hits: Tensor
    totals: Tensor

    def __init__(self, n_groups: int) -> None:
        super().__init__()
        for name in ("losses", "hits", "totals"):
            self.add_state(name, torch.zeros(n_groups), dist_reduce_fx="sum")

    def update(self, losses: Tensor, correct: Tensor | None, group: Tensor) -> None:
        right = torch.full_like(losses, torch.nan) if correct is None else correct
        self.losses.index_add_(0, group, losses.float())
        self.hits.index_add_(0, group, right.float())
        self.totals.index_add_(0, group, torch.ones_like(group, dtype=torch.float32))

    def compute(self) -> tuple[Tensor, Tensor]:
        return self.hits / self.totals, self.losses / self.totals


def groups_of(attributes: pa.Table) -> dict[str, Groups]:
    """Return the groups of each attribute with few values; the id column is not an attribute."""
    groups = {}
    for name in attributes.column_names:
        if name == "id":
            continue
        column = attributes[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        if 2 <= len(encoded.dictionary) <= min(MOST_GROUPS, max(2, attributes.num_rows // 2)):
            values = tuple(map(_value_name, encoded.dictionary.to_pylist()))
            groups[name] = Groups(values, encoded.indices.to_numpy().astype(np.int64))
    return groups


def _value_name(value: object) -> str:
    if value is None:
        return MISSING
    return ("no", "yes")[value] if isinstance(value, bool) else shortened(str(value))
