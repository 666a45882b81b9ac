"""MNIST (LeCun et al., 1998)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torchvision
from filelock import FileLock

from weakspot.datasets.inputs.images import ImageArray
from weakspot.datasets.readers.idx import read_idx
from weakspot.datasets.readers.splits import published_rows
from weakspot.tasks import Classification


class MNIST(ImageArray):
    """Holds 70 000 grey 28×28 images of digits; val is a tenth of the published training set.

    `root` is the folder of the four idx files, plain or gzipped, or torchvision's (with `MNIST/raw` in it). It is
    never written to without `download`.
    """

    published: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.MNIST
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    advice: ClassVar[str] = ""

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
        if download:
            self._download()
        prefix = "t10k" if split == "test" else "train"
        images_file = self._find(f"{prefix}-images-idx3-ubyte")
        labels_file = self._find(f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(images_file, dims=3), read_idx(labels_file, dims=1)
        if len(images) != len(labels):
            raise ValueError(
                f"{images_file} holds {len(images)} images but {labels_file} {len(labels)} labels"
            )
        if (labels >= len(self.classes)).any():
            row = int(np.argmax(labels >= len(self.classes)))
            raise ValueError(
                f"{labels_file}: row {row} has class {labels[row]}, but there are only "
                f"{len(self.classes)} classes, from 0"
            )

        ids, rows = published_rows(split, len(labels))
        self.task = Classification(self.classes)
        self.targets = labels[rows].astype(np.int64)
        self.examples = pa.table({"id": ids})
        self.images = images[rows]

    def _folders(self) -> tuple[Path, Path]:
        assert self.root is not None
        return self.root, self.root / self.published.__name__ / "raw"

    def _find(self, name: str) -> Path:
        for folder in self._folders():
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
        here, raw = self._folders()
        raise FileNotFoundError(
            f"no {name}, plain or .gz, in {here} or {raw}; set dataset.root to the folder it is in, "
            f"or fetch it with dataset.download=true{self.advice}"
        )

    def _download(self) -> None:
        here, _ = self._folders()
        here.mkdir(parents=True, exist_ok=True)
        with FileLock(here / f".{self.published.__name__}.lock"):  # one process downloads, the others wait
            try:
                self.published(str(here), download=True)
            except (RuntimeError, OSError) as error:
                raise OSError(
                    f"could not download {self.published.__name__} ({error}); fetch its idx files by hand from one "
                    f"of {', '.join(self.published.mirrors)} and put them into {here}"
                ) from error
