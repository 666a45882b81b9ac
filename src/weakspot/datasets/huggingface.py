"""Any dataset of images or texts on Hugging Face's hub, or in a folder its `datasets` library can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from weakspot.class_names import class_names
from weakspot.datasets.base import Dataset, digest
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.inputs.texts import Texts
from weakspot.datasets.readers.labels import encode_labels
from weakspot.datasets.readers.splits import pick_val, split_by_id
from weakspot.image_formats import decoding
from weakspot.images import Pixels, check_pixels, to_rgb
from weakspot.offline import hub_network
from weakspot.tasks import Classification

if TYPE_CHECKING:
    import datasets

_PUBLISHED = {
    "train": ("train",),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
_TEXTS = ("text", "sentence", "content", "review")


def open_hub(
    split: str,
    name: str | Path | None = None,
    root: str | Path | None = None,
    subset: str | None = None,
    image: str | None = None,
    text: str | None = None,
    label: str = "label",
    size: int | None = 224,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pixels: Pixels = "as_shown",
    tokenizer: str | Path | None = None,
    max_length: int = 512,
    download: bool = False,
) -> Dataset:
    """Open one split of a dataset of images, if it has a column of images, or else of texts.

    name         a folder (here or in `root`), written by `save_to_disk` or with Parquet or CSV files, or a name on
                 the hub, which is looked for in Hugging Face's cache, and fetched into it if `download`
    subset       the name of a subset, for a dataset that has several ("sst2" of "glue")
    image, text  the column to read; by default the first with images, or else with texts
    size, mean, std, pixels  for images
    tokenizer, max_length    for texts

    test is the published test split, or the published validation split if there is none; val is the published
    validation split or, if it is missing or serves as test, a tenth of train. A dataset with a single split is
    divided by a hash, about 7 : 1 : 2: of ids, or of the texts themselves, so that the same text is in one split
    only. Other columns with one value per row are attributes.

    Raises ImportError without the `datasets` library; FileNotFoundError or ValueError, naming dataset and row.
    """
    if name is None:
        raise ValueError(
            "dataset=huggingface needs a name: add dataset.name=… (a folder, or a name on the hub)"
        )
    candidates = [Path(name).expanduser(), Path(root or ".").expanduser() / name]
    folder = next((path for path in candidates if path.is_dir()), None)
    published = _load(folder or str(name), subset, download)
    features = next(iter(published.values())).features
    read = image or text or _readable(features)
    for column in (label, read):
        if column not in features:
            wanted = repr(column) if column else "of images or texts"
            raise ValueError(
                f"{name} has no column {wanted}; say which to read: dataset.image=… or "
                f"dataset.text=…, dataset.label=… (it has: {', '.join(features)})"
            )
    source = PublishedRows.of(str(name), published, split, label, read)
    if type(features[read]).__name__ == "Image":
        return HubImages(split, source, size, mean, std, pixels)
    if tokenizer is None:
        raise ValueError(
            f"{name} holds texts, which need a text model: add model=text_classifier model.name=…"
        )
    return HubTexts(split, source, tokenizer, max_length, download)


@dataclass(frozen=True, eq=False)
class PublishedRows:
    """The rows of a published split that make up one split here, with their task, targets and examples."""

    published: datasets.Dataset
    column: str
    rows: Int[np.ndarray, " n"]
    task: Classification
    targets: Int[np.ndarray, " n"]
    examples: pa.Table

    @classmethod
    def of(
        cls, name: str, published: Mapping[str, datasets.Dataset], split: str, label: str, column: str
    ) -> PublishedRows:
        sources = _sources(list(published))
        source = sources.get(split)
        if source is None:
            raise ValueError(f"{name} has nothing for split {split!r}; it has: {', '.join(published)}")
        own = published[source]
        table = own.select_columns([c for c in own.column_names if c != column]).with_format("arrow")[:]
        numbers = (
            table["id"].to_pylist()
            if "id" in table.column_names
            else [f"{row:06d}" for row in range(len(own))]
        )
        ids = [f"{source}-{number}" for number in numbers]
        image = type(own.features[column]).__name__ == "Image"
        keys = ids if image else [text or "" for text in own.with_format("arrow")[:][column].to_pylist()]
        rows = _share(
            keys,
            split,
            [split_here for split_here, source_split in sources.items() if source_split == source],
        )
        if len(rows) == 0:
            raise ValueError(f"{name} has too few rows in {source} to make a split {split!r} from")
        task, targets = _classes(name, published, sources, source, label)
        columns = [c for c in table.column_names if c not in (label, "id")]
        attributes = {c: _named(table[c], own.features[c]) for c in columns}
        examples = pa.table({"id": ids, **attributes}).take(pa.array(rows)).combine_chunks()
        return cls(own, column, rows, task, targets[rows], examples)


_LOCATION_SETTINGS = frozenset({"name", "subset", "text", "label"})
"""Settings that say where the data are; the data themselves are in the fingerprint."""


class HubImages(Dataset):
    """Images in a column, which are decoded when an example is read."""

    decodes = True
    no_difference = Dataset.no_difference | _LOCATION_SETTINGS | {"tokenizer", "max_length"}

    def __init__(
        self,
        split: str,
        source: PublishedRows,
        size: int | None = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pixels: Pixels = "as_shown",
    ) -> None:
        super().__init__(split)
        check_pixels(pixels)
        self.pixels = pixels
        self.task, self.targets, self.examples = (
            source.task,
            source.targets,
            source.examples,
        )
        self.scaling = Scaling(size, mean, std)
        self._images = source.published.select_columns([source.column])
        self._column, self._rows, self._digest = (
            source.column,
            source.rows,
            source.published._fingerprint,
        )

    def input(self, row: int) -> Float[Tensor, "3 H W"]:
        return self.scaling(self.preview(row))

    def preview(self, row: int) -> Image.Image:
        """Decode the image; raise ValueError, naming the row, if it is missing or cannot be read."""
        name = self.examples["id"][row]
        try:
            with decoding():
                image = self._images[int(self._rows[row])][self._column]
                if image is None:
                    raise ValueError("there is none")
                return to_rgb(image, self.pixels)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"row {row} of {self.split} ({name}): its image cannot be read ({error}); repair or remove it"
            ) from error

    def fingerprint(self) -> str:
        """Digest the library's own fingerprint: reading every image would take as long as an epoch."""
        return digest(self.examples, self.targets, self._digest.encode())


class HubTexts(Texts):
    """Texts in a column."""

    no_difference = Texts.no_difference | _LOCATION_SETTINGS | {"image", "size", "mean", "std"}

    def __init__(
        self,
        split: str,
        source: PublishedRows,
        tokenizer: str | Path,
        max_length: int = 512,
        download: bool = False,
    ) -> None:
        super().__init__(split, None, tokenizer, max_length, download)
        self.task, self.targets, self.examples = (
            source.task,
            source.targets,
            source.examples,
        )
        texts = source.published.select_columns([source.column]).with_format("arrow")[:][source.column]
        self.texts = [text or "" for text in texts.take(pa.array(source.rows)).to_pylist()]


def _load(source: Path | str, subset: str | None, download: bool) -> dict[str, datasets.Dataset]:
    """Load the published splits by name, from a folder or the hub."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            'dataset=huggingface needs the datasets library: pip install "weakspot[huggingface]"'
        ) from error
    local = isinstance(source, Path)
    try:
        with _network(download):
            if local and any((Path(source) / file).is_file() for file in ("dataset_dict.json", "state.json")):
                loaded = datasets.load_from_disk(source)
            else:
                loaded = datasets.load_dataset(str(source), subset)
    except Exception as error:  # errors of the library, Arrow, JSON or the network
        reason = " ".join(str(error).split())[:300]
        if local:
            raise ValueError(f"{source} cannot be read by the datasets library ({reason})") from error
        if isinstance(error, ValueError):  # several subsets, say: its message lists them
            raise ValueError(f"{source}: {reason}; choose one by dataset.subset=…") from error
        raise FileNotFoundError(
            f"{source} is not a folder, and no dataset of this name is in Hugging Face's cache: add "
            f"dataset.download=true to fetch it, or give the folder it is in [{reason}]"
        ) from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


@contextmanager
def _network(allowed: bool) -> Iterator[None]:
    """Allow the network or not; the library has a switch of its own besides the hub's."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or not allowed
    try:
        with hub_network(allowed):
            yield
    finally:
        config.HF_HUB_OFFLINE = before


def _readable(features: Mapping[str, Any]) -> str:
    """Return the first column of images, or else a column of texts: one with a usual name, or the first."""
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    texts = [
        name
        for name, feature in features.items()
        if getattr(feature, "dtype", "") in ("string", "large_string")
    ]
    usual = [name for name in _TEXTS if name in texts]
    return next(iter([*images, *usual, *texts]), "")


def _sources(published: Sequence[str]) -> dict[str, str | None]:
    """Return, for each split here, the published split that it is taken from, in whole or in part."""
    train, val, test = (
        next((name for name in names if name in published), None) for names in _PUBLISHED.values()
    )
    if (train, val, test) == (None, None, None) and len(published) == 1:
        train = published[0]
    if test is None and val is not None:
        val, test = None, val
    return {"train": train, "val": val or train, "test": test or train}


def _share(keys: Sequence[str], split: str, sharing: Sequence[str]) -> Int[np.ndarray, " m"]:
    """Return the rows of a published split that belong to this split, given all splits that share it."""
    if len(sharing) == 1:
        return np.arange(len(keys))
    assigned = split_by_id(keys) if "test" in sharing else np.where(pick_val(keys), "val", "train")
    return np.flatnonzero(assigned == split)


def _classes(
    name: str,
    published: Mapping[str, datasets.Dataset],
    sources: Mapping[str, str | None],
    source: str,
    label: str,
) -> tuple[Classification, Int[np.ndarray, " n"]]:
    """Return the task, the same for every split, and the targets of one published split."""

    def locate(row: int) -> str:
        return f"{name}: row {row} of {source}"

    feature, values = published[source].features[label], published[source][label][:]
    coded = type(feature).__name__ == "ClassLabel"
    none = (None, -1) if coded else (None, "")  # the library writes an unknown class as -1
    missing = next((row for row, value in enumerate(values) if value in none), None)
    if missing is not None:
        raise ValueError(
            f"{locate(missing)} has no label ({values[missing]!r}); choose another split or label"
        )
    if coded:
        return Classification(tuple(feature.names)), np.array(values, dtype=np.int64)
    if not isinstance(values[0], str | int):
        raise ValueError(f"{name}: labels in {label!r} are {feature}, not one class each")
    used = dict.fromkeys(source_split for source_split in sources.values() if source_split is not None)
    names = class_names(
        str(value) for source_split in used for value in published[source_split].unique(label)
    )
    return Classification(names), encode_labels([str(value) for value in values], names, locate)


def _named(column: pa.ChunkedArray, feature: Any) -> pa.ChunkedArray:
    """Return an attribute's values; for a class label, the names of the classes."""
    if type(feature).__name__ != "ClassLabel":
        return column
    names = [feature.names[code] if code is not None and code >= 0 else None for code in column.to_pylist()]
    return pa.chunked_array([pa.array(names, pa.string())])
