"""A dataset whose row k holds the number k, so that tests see which rows are loaded; other processes can import it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from weakspot.datasets.base import Dataset, digest
from weakspot.tasks import Classification


class Numbers(Dataset):
    """Row k of `n` rows holds the number k."""

    def __init__(self, split: str, root: Path | None = None, n: int = 21) -> None:
        super().__init__(split, root)
        self.task = Classification(("even", "odd"))
        self.targets = np.arange(n) % 2
        self.examples = pa.table({"id": [f"{split}-{k}" for k in range(n)]})

    def input(self, row: int) -> torch.Tensor:
        return torch.full((1,), float(row))

    def preview(self, row: int) -> str:
        return str(row)

    def fingerprint(self) -> str:
        return digest(self.examples, self.targets)


def rows(loader: Any) -> list[int]:
    return [row for batch in loader for row in batch["index"].tolist()]
