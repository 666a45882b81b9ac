"""What must hold for every dataset."""

from __future__ import annotations

from collections.abc import Callable

import torch

from weakspot.datasets.base import Dataset


def check_dataset(make: Callable[[str], Dataset]) -> None:
    """Check every split of a dataset against the contract of `weakspot.datasets.Dataset`.

    Items are read and collated, the task's loss is computed, ids are unique over all splits, and building a split again
    gives the same examples under the same fingerprint: a fingerprint that changes would infer every run anew, one that
    does not change with the data would take stale results for current ones.

    Args:
        make: Builds a split, `make("train")`.

    Raises:
        AssertionError: Something does not hold; the message says what.
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
        assert losses.shape == (len(items),), f"{split}: the task gives no loss for each item"
        assert torch.isfinite(losses).all(), f"{split}: the task's losses of finite outputs are not finite"
        assert dataset.preview(0) is not None, f"{split}: preview shows nothing"
        try:
            dataset[len(dataset)]
        except IndexError:
            pass
        else:
            raise AssertionError(
                f"{split}: an index beyond the last row gives an item, so that loops never end"
            )
    ids = [set(dataset.examples["id"].to_pylist()) for dataset in splits.values()]
    assert len(set().union(*ids)) == sum(map(len, splits.values())), "an id is given twice, or in two splits"
    assert len({dataset.task for dataset in splits.values()}) == 1, "the splits have different tasks"
    fingerprints = [dataset.fingerprint() for dataset in splits.values()]
    assert len(set(fingerprints)) == len(fingerprints), (
        "two splits of different examples have one fingerprint"
    )
    for (split, dataset), fingerprint in zip(splits.items(), fingerprints, strict=True):
        again = make(split)
        assert again.fingerprint() == fingerprint, f"{split}: built again, it has another fingerprint"
        assert again.examples == dataset.examples, f"{split}: built again, it has other examples"
