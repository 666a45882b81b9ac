"""Serves any dataset in batches: shuffled for training, in order for everything else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, RandomSampler, Subset

from weakspot.datasets.base import Dataset, plain_examples
from weakspot.datasets.inputs.batches import check_batches
from weakspot.datasets.inputs.measured_previews import Measure, MeasuredPreviews
from weakspot.machine import cores

_MOST_LOADERS = 16  # per process: enough for the 5000 images a second of resnet50 on a current GPU


class DataModule(LightningDataModule):
    """Serves the splits of a dataset to Lightning.

    A split is built when it is first needed, and kept. The order of training batches depends on `seed` alone; its
    state is saved in Lightning's checkpoints, so that a resumed run continues with the batches that it would have seen.

    Args:
        make: Builds a split, called as `make(split=...)`.
        batch_size: Examples in a batch.
        num_workers: Processes that load data. By default as many as this process has cores for itself, at most 16,
            for datasets that decode files, and none for others.
        seed: The seed of the order of training batches.
    """

    def __init__(
        self,
        make: Callable[..., Dataset],
        batch_size: int = 64,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_batches(batch_size, num_workers)
        self.make = make
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._order = torch.Generator().manual_seed(seed)
        self._datasets: dict[str, Dataset] = {}

    def dataset(self, split: str) -> Dataset:
        """Return a split; raise ValueError if it is unknown or empty, or its parts do not fit together."""
        if split not in self._datasets:
            dataset = self.make(split=split)
            dataset.check()
            dataset.examples = plain_examples(dataset)
            self._datasets[split] = dataset
        return self._datasets[split]

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        dataset = self.dataset("train").augmented()
        # A last batch of one example would break batch normalisation on a 1×1 feature map. Each process gets
        # equally many rows; some are served twice to make them come out even.
        each = -(-len(dataset) // self._processes)
        leaves_one = each > self.batch_size and each % self.batch_size == 1
        shuffled = RandomSampler(dataset, generator=self._order)
        return self._serve(dataset, dataset, sampler=shuffled, drop_last=leaves_one)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.loader("test")

    def loader(
        self,
        split: str,
        rows: Sequence[int] | np.ndarray | None = None,
        measure: Measure | None = None,
        sharing: int = 1,
    ) -> DataLoader[dict[str, Any]]:
        """Load a split in order, or some of its rows in the given order; items keep the split's own `index`.

        Args:
            split: The split's name.
            rows: Indices of rows; by default all of them.
            measure: Measures each row's preview; batches then hold its values (b, m) under "measured".
            sharing: How many processes share this machine's cores; used only without a trainer, which would know it.
        """
        plain = self.dataset(split)
        dataset = plain if measure is None else MeasuredPreviews(plain, measure)
        if rows is None:
            return self._serve(dataset, dataset, sharing)
        chosen = np.asarray(rows, dtype=np.int64)
        outside = (chosen < 0) | (chosen >= len(dataset))
        if outside.any():
            raise ValueError(
                f"row {chosen[outside][0]} is outside split {split!r}, which has {len(dataset)} rows"
            )
        return self._serve(Subset(dataset, chosen.tolist()), dataset, sharing)

    @property
    def _processes(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def _serve(
        self,
        rows: Dataset | MeasuredPreviews | Subset[dict[str, Any]],
        dataset: Dataset | MeasuredPreviews,
        sharing: int = 1,
        **options: Any,
    ) -> DataLoader[dict[str, Any]]:
        if len(rows) < self._processes:
            raise ValueError(
                f"{len(rows)} rows cannot be shared among {self._processes} processes; "
                f"use at most {len(rows)} devices (trainer.devices=…)"
            )
        loaders = self._loaders(dataset.decodes, sharing)
        return DataLoader(
            rows,
            collate_fn=partial(_collate, dataset.collate),
            batch_size=self.batch_size,
            num_workers=loaders,
            persistent_workers=loaders > 0,
            # joblib's processes set a start method of their own, with which workers cannot start
            multiprocessing_context="fork" if loaders and sys.platform == "linux" else None,
            pin_memory=torch.cuda.is_available(),
            **options,
        )

    def _loaders(self, decodes: bool, sharing: int) -> int:
        """Return how many processes load data, at most one per core: more would only slow each other down."""
        if self.num_workers is not None:
            return min(self.num_workers, cores())
        if not decodes:
            return 0
        here = sharing if self.trainer is None else self.trainer.num_devices
        mine = int(os.environ.get("SLURM_CPUS_PER_TASK", cores() // max(here, 1)))
        return min(_MOST_LOADERS, max(1, mine), cores())

    def state_dict(self) -> dict[str, Any]:
        return {"order": self._order.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._order.set_state(state_dict["order"])


def _collate(
    collate: Callable[[list[dict[str, Any]]], dict[str, Any]], items: list[dict[str, Any]]
) -> dict[str, Any]:
    """Collate a batch, with floating-point targets as an array: a half-precision trainer would round a tensor."""
    batch = collate(items)
    target = batch["target"]
    return {**batch, "target": target.numpy()} if target.is_floating_point() else batch
