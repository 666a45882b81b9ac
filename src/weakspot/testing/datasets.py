"""Checks of the contract that every dataset must fulfil."""

from __future__ import annotations

from collections.abc import Callable

import torch

from weakspot.datasets.base import Dataset


def check_dataset(make: Callable[[str], Dataset]) -> None:
    """Check every split of a dataset against the contract of `weakspot.datasets.Dataset`.

    Items are read and collated, the task's loss is computed, ids must be unique over all splits, and building a split
    again must give the same examples and fingerprint. If a fingerprint changed without the data, every run would infer
    anew; if it did not change with the data, stale results would be used.

    Args:
        make: Builds a split, `make("train")`.

    Raises:
        AssertionError: A split breaks the contract; the message says how.
        ValueError: `Dataset.check` refuses a split.
    """
    splits = {split: make(split) for split in ("train", "val", "test")}
    for split, dataset in splits.items():
        dataset.check()
        items = [dataset[row] for row in range(min(3, len(dataset)))]
        batch = dataset.collate(items)
        assert batch["index"].tolist() == list(range(len(items))), f"{split}: an item's index is not its row"
        assert len(batch["target"]) == len(items), f"{split}: there is not one target for each item"
        outputs = torch.randn(len(items), dataset.task.n_outputs, generator=torch.Generator().manual_seed(0))
        losses = dataset.task.losses(outputs, batch["target"])
        assert losses.shape == (len(items),), f"{split}: the task does not give one loss for each item"
        assert torch.isfinite(losses).all(), f"{split}: the task's losses of finite outputs are not finite"
        assert dataset.preview(0) is not None, f"{split}: preview shows nothing"
        try:
            dataset[len(dataset)]
        except IndexError:
            pass
        else:
            raise AssertionError(
                f"{split}: an index beyond the last row gives an item, so loops would never end"
            )
    ids = [set(dataset.examples["id"].to_pylist()) for dataset in splits.values()]
    assert len(set().union(*ids)) == sum(map(len, splits.values())), "an id is given twice, or in two splits"
    assert len({dataset.task for dataset in splits.values()}) == 1, "the splits have different tasks"
    fingerprints = [dataset.fingerprint() for dataset in splits.values()]
    assert len(set(fingerprints)) == len(fingerprints), (
        "two splits of different examples have the same fingerprint"
    )
    for (split, dataset), fingerprint in zip(splits.items(), fingerprints, strict=True):
        again = make(split)
        assert again.fingerprint() == fingerprint, f"{split}: built again, it has a different fingerprint"
        assert again.examples == dataset.examples, f"{split}: built again, it has different examples"
