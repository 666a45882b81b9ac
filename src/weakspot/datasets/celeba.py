"""CelebA (Liu et al., 2015): faces with forty yes-or-no attributes, one of which is to be predicted."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int
from torchvision.transforms.v2 import Compose, Resize

from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.inputs.images import Scaling
from weakspot.datasets.readers.label_files import check_unique
from weakspot.delimited import read_delimited
from weakspot.hashing import id_hashes
from weakspot.tasks import Classification

_LAST_OF_TRAIN, _LAST_OF_VAL = 162_770, 182_637  # numbers of images, of 202 599: the published split


class CelebA(ImageFiles):
    """Holds 202 599 aligned faces, 178×218; train, val and test are the published ones.

    target      the attribute to predict: "Smiling", or any other of the forty; all forty describe examples
    bias        an attribute that the model is to confuse with the target: a share `bias_share` of the training
                examples in which the two disagree (a smiling woman and an unsmiling man, for Male) is left
                out. Val and test stay as they are. Krishnakumar et al. (UDIS, 2021) did so with Male and
                with Black_Hair, and a share of 0.7. Who is left out depends on ids and `bias_seed`
    size        the shorter side in pixels, or [height, width]. As in UDIS, nothing is cropped, and images
                are not normalised unless `mean` and `std` are given

    Files in `root`: `list_attr_celeba.txt` and the folder `img_align_celeba`. Without
    `list_eval_partition.txt`, an image's number determines its split, as published: up to 162770 train, up to
    182637 val. Files may also lie in the publisher's folders (Anno, Eval, Img), or be Kaggle's CSV files.

    Raises FileNotFoundError for missing files; ValueError, naming file and line, for a row with more or fewer
    marks than there are attributes, for marks other than 1 and -1, for an image that is listed twice, and for
    unknown attributes.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        target: str = "Smiling",
        bias: str | None = None,
        bias_share: float = 0.7,
        bias_seed: int = 0,
        size: int | Sequence[int] = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(split, "data/celeba" if root is None else root, pixels="as_stored")
        assert self.root is not None
        if not 0 <= bias_share <= 1:
            raise ValueError(f"dataset.bias_share is the share to leave out, from 0 to 1, not {bias_share}")
        if min([size] if isinstance(size, int) else size, default=0) < 1:
            raise ValueError(f"size must be a positive number of pixels, not {size}")
        self.transform = Compose([Resize(size), Scaling(None, mean, std)])

        file = _find(self.root, "list_attr_celeba", "Anno")
        if file is None:
            raise FileNotFoundError(
                f"no list_attr_celeba.txt (nor .csv) in {self.root}; set dataset.root to the folder that holds it "
                "and img_align_celeba, both from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
            )
        attributes = read_attributes(file)
        for setting, name in (("target", target), ("bias", bias)):
            if name is not None:
                _check_attribute(setting, name, attributes.column_names[1:])
        if bias == target:
            raise ValueError(f"dataset.bias={bias} is the target itself; choose another attribute")

        selected = self._split_codes(attributes["image"]) == self.splits.index(split)
        if bias is not None and split == "train":
            disagree = attributes[bias].to_numpy() != attributes[target].to_numpy()
            selected &= ~(
                disagree
                & _random_share(attributes["image"], bias_share, f"bias {bias} {bias_seed}", disagree)
            )
        own = attributes.filter(pa.array(selected)).combine_chunks()
        ids = own["image"]

        self.task = Classification((f"not {target}", target))
        self.restating = (target,)
        self.targets = (own[target].to_numpy() == 1).astype(np.int64)
        words = {name: pc.if_else(pc.equal(own[name], 1), "yes", "no") for name in own.column_names[1:]}
        self.examples = pa.table({"id": ids, **words}).combine_chunks()
        folder = self._image_folder()
        self.files = [f"{folder}/{name}" for name in ids.to_pylist()]

    def _split_codes(self, images: pa.ChunkedArray) -> Int[np.ndarray, " n"]:
        """Return the split of each image: 0 train, 1 val, 2 test."""
        assert self.root is not None
        file = _find(self.root, "list_eval_partition", "Eval")
        if file is None:
            return _published_split(images)
        listed = read_partition(file)
        positions = pc.index_in(images, listed["image"])
        if positions.null_count:
            missing = images[int(np.argmax(positions.is_null().to_numpy()))]
            raise ValueError(f"{file} does not say which split {missing} is in; fetch it again, or remove it")
        codes: np.ndarray = listed["split"].take(positions).to_numpy()
        return codes

    def _image_folder(self) -> str:
        """Return the folder of the images, relative to `root`."""
        assert self.root is not None
        name = "img_align_celeba"
        for folder in (f"{name}/{name}", f"Img/{name}", name):
            if (self.root / folder).is_dir():
                return folder
        raise FileNotFoundError(
            f"no folder {name} in {self.root}; unpack {name}.zip there, or set dataset.root to where it is"
        )


def read_attributes(file: Path) -> pa.Table:
    """Read the attributes: a column `image`, then one of 1 and -1 for each attribute, in the file's order."""
    data = file.read_bytes().removeprefix(BOM_UTF8)
    if file.suffix == ".csv":
        header, _, _ = data.partition(b"\n")
        names, skipped, announced = _names(file, 1, header).split(",")[1:], 1, None
    else:
        count, header = [*data.split(b"\n", 2), b""][:2]
        if not count.strip().isdigit():
            raise ValueError(f"{file}, line 1 should be the number of images, not {count[:40]!r}")
        names, skipped, announced = _names(file, 2, header).split(), 2, int(count)
    table = _parse(file, names, skipped, allowed=(-1, 1))
    if announced not in (None, len(table)):
        raise ValueError(f"{file} announces {announced} images but lists {len(table)}; fetch it again")
    return table


def _names(file: Path, line: int, header: bytes) -> str:
    try:
        return header.decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file}, line {line} is not UTF-8 text ({header[:40]!r}); fetch the file again"
        ) from error


def read_partition(file: Path) -> pa.Table:
    """Read the published split: columns `image` and `split` (0 train, 1 val, 2 test)."""
    return _parse(file, ["split"], 1 if file.suffix == ".csv" else 0, allowed=(0, 1, 2))


def _parse(file: Path, names: Sequence[str], skipped: int, allowed: Sequence[int]) -> pa.Table:
    """Read rows of an image's name and integers below the header; each row and number is checked."""
    csv = file.suffix == ".csv"
    table = read_delimited(
        file,
        {"image": pa.string()} | dict.fromkeys(names, pa.int8()),
        "," if csv else " ",
        skip_lines=skipped,
        quotes=csv,
        content=None if csv else _collapse_spaces(file.read_bytes()),
        advice="fetch the file again",
    )
    for name in names:
        values = table[name].to_numpy()
        wrong = ~np.isin(values, allowed)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{file}, line {row + 1 + skipped}: {name} of {table['image'][row]} is {values[row]}, "
                f"not {' or '.join(map(str, allowed))}"
            )
    check_unique(table, "image", file, first_line=skipped + 1)
    return table


def _collapse_spaces(body: bytes) -> bytes:
    """Replace runs of spaces by one, and strip those at the ends of lines, as a CSV reader needs."""
    body = body.replace(b"\r", b"")
    while b"  " in body:
        body = body.replace(b"  ", b" ")
    return body.replace(b" \n", b"\n")


def _published_split(images: pa.ChunkedArray) -> Int[np.ndarray, " n"]:
    try:
        numbers = pc.list_element(pc.split_pattern(images, "."), 0).cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"images are not named by their numbers ({error}), so their splits are unknown; "
            "put list_eval_partition.txt beside list_attr_celeba.txt"
        ) from error
    codes: np.ndarray = np.searchsorted([_LAST_OF_TRAIN, _LAST_OF_VAL], numbers, side="left")
    return codes


def _random_share(
    images: pa.ChunkedArray, share: float, purpose: str, among: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Choose about this share of the images in `among`; the order of rows makes no difference."""
    selected = np.zeros(len(images), dtype=bool)
    selected[among] = id_hashes(images.filter(pa.array(among)).to_pylist(), purpose) < share
    return selected


def _check_attribute(setting: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        lower = {attribute.lower(): attribute for attribute in known}
        near = [lower[match] for match in get_close_matches(name.lower(), lower, n=3, cutoff=0.4)]
        raise ValueError(
            f"dataset.{setting}={name} is not one of CelebA's attributes; nearest: {', '.join(near or known)}"
        )


def _find(root: Path, name: str, folder: str) -> Path | None:
    candidates = (
        positions / f"{name}{suffix}" for positions in (root, root / folder) for suffix in (".txt", ".csv")
    )
    return next((path for path in candidates if path.is_file()), None)
