"""MNIST (LeCun et al., 1998), and the reader of its idx files, which Fashion-MNIST shares."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torchvision
from filelock import FileLock
from jaxtyping import UInt8

from weakspot.datasets.pictures import PictureArray
from weakspot.datasets.splits import published_rows
from weakspot.tasks import Classification


class MNIST(PictureArray):
    """70 000 grey 28×28 pictures of digits; val is a tenth of the published training set.

    `root` is the folder of the four idx files, or torchvision's (with `MNIST/raw` in it); plain or gzipped,
    and never written to unless `download` asks for it.
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
        pictures_file = self._find(f"{prefix}-images-idx3-ubyte")
        labels_file = self._find(f"{prefix}-labels-idx1-ubyte")
        pictures, labels = read_idx(pictures_file, dims=3), read_idx(labels_file, dims=1)
        if len(pictures) != len(labels):
            raise ValueError(
                f"{pictures_file} holds {len(pictures)} pictures but {labels_file} {len(labels)} labels"
            )
        if (labels >= len(self.classes)).any():
            row = int(np.argmax(labels >= len(self.classes)))
            raise ValueError(
                f"{labels_file}: row {row} is class {labels[row]}, of {len(self.classes)} from 0 on"
            )

        ids, rows = published_rows(split, len(labels))
        self.task = Classification(self.classes)
        self.targets = labels[rows].astype(np.int64)
        self.examples = pa.table({"id": ids})
        self.pictures = pictures[rows]

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
        with FileLock(here / f".{self.published.__name__}.lock"):  # one process of several, the others wait
            try:
                self.published(str(here), download=True)
            except (RuntimeError, OSError) as error:
                raise OSError(
                    f"could not download {self.published.__name__} ({error}); fetch its idx files by hand from one "
                    f"of {', '.join(self.published.mirrors)} and put them into {here}"
                ) from error


def read_idx(path: Path, dims: int) -> UInt8[np.ndarray, "n ..."]:
    """An array of bytes from an idx file, gzipped if its name says so.

    Format: two zero bytes, 8 for bytes, the number of dimensions; each dimension as a big-endian 32-bit
    integer; the values. Raises ValueError, naming the file, where it is anything else or is cut short.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); fetch it again") from error
    start = 4 + 4 * dims
    if data[:4] != bytes((0, 0, 8, dims)) or len(data) < start:
        raise ValueError(f"{path} is not an idx file of bytes in {dims} dimension{'s' * (dims > 1)}")
    shape = tuple(np.frombuffer(data, ">u4", dims, 4).tolist())
    if len(data) - start != prod(shape):
        raise ValueError(
            f"{path} should hold {prod(shape)} values but holds {len(data) - start}; fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
