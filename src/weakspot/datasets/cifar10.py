"""CIFAR-10 (Krizhevsky, 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torchvision
from filelock import FileLock
from torchvision.datasets.utils import check_integrity

from weakspot.datasets.inputs.images import ImageArray
from weakspot.datasets.readers.splits import published_rows
from weakspot.tasks import Classification


class CIFAR10(ImageArray):
    """Holds 60 000 colour images, 32×32, in ten classes; val is a tenth of the published training set.

    `root` is the folder `cifar-10-batches-py` or the one it is in. Its files are pickles, which can run code
    when they are opened, so only files with the MD5 sums of the published ones are opened.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        download: bool = False,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(split, "data" if root is None else root, size, mean, std)
        published = self._published(download)
        ids, rows = published_rows(split, len(published.targets))
        self.task = Classification(tuple(published.classes))
        self.targets = np.array(published.targets, dtype=np.int64)[rows]
        self.examples = pa.table({"id": ids})
        self.images = published.data[rows]

    def _published(self, download: bool) -> torchvision.datasets.CIFAR10:
        assert self.root is not None
        source = torchvision.datasets.CIFAR10
        parent = self.root.parent if self.root.name == source.base_folder else self.root
        folder = parent / source.base_folder
        if download:
            parent.mkdir(parents=True, exist_ok=True)
            with FileLock(parent / ".CIFAR10.lock"):  # one process downloads, the others wait
                try:
                    source(str(parent), download=True)
                except (RuntimeError, OSError) as error:
                    raise OSError(
                        f"could not download CIFAR-10 ({error}); fetch {source.url} by hand and unpack it in {parent}"
                    ) from error
        sums = dict([*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])])
        for name, md5 in sums.items():
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"no {name} in {folder}; set dataset.root to the folder that {source.base_folder} is in, "
                    "or fetch it with dataset.download=true"
                )
            if not check_integrity(str(folder / name), md5):
                raise ValueError(
                    f"{folder / name} is not the published file (its MD5 sum differs) and, being a pickle, "
                    "is not opened; delete it and fetch it again with dataset.download=true"
                )
        return source(str(parent), train=self.split != "test")
