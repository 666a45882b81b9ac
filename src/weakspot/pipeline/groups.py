"""Accuracy of the worst group: what an average hides while a model trains."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torchmetrics import Metric

MOST_GROUPS = 100
"""An attribute with more values than this is no grouping of a validation set."""


class WorstGroupAccuracy(Metric):
    """Lowest accuracy over the groups that occur; update with (correct (b,), group (b,) in 0…n_groups-1)."""

    higher_is_better = True
    full_state_update = False
    hits: Tensor
    totals: Tensor

    def __init__(self, n_groups: int) -> None:
        super().__init__()
        self.add_state("hits", torch.zeros(n_groups), dist_reduce_fx="sum")
        self.add_state("totals", torch.zeros(n_groups), dist_reduce_fx="sum")

    def update(self, correct: Tensor, group: Tensor) -> None:
        self.hits.index_add_(0, group, correct.float())
        self.totals.index_add_(0, group, torch.ones_like(group, dtype=torch.float32))

    def compute(self) -> Tensor:
        seen = self.totals > 0
        return (self.hits[seen] / self.totals[seen]).min()


def group_codes(attributes: pa.Table) -> dict[str, np.ndarray]:
    """For each attribute of few values, the code (n,) of every row's value; the id column is no attribute."""
    codes = {}
    for name in attributes.column_names:
        if name == "id":
            continue
        column = attributes[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        if 2 <= len(encoded.dictionary) <= min(MOST_GROUPS, max(2, attributes.num_rows // 2)):
            codes[name] = encoded.indices.to_numpy().astype(np.int64)
    return codes
