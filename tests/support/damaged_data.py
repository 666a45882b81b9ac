"""Formats of user data and weights: images, tables, tars, Parquet shards, idx files, torch files."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

from mutations import Format
from weakspot.datasets.image_parquet import ImageParquet
from weakspot.datasets.inputs.image_files import ImageFiles
from weakspot.datasets.readers.idx import read_idx
from weakspot.datasets.readers.labels import read_labels
from weakspot.datasets.readers.tables import read_table_file
from weakspot.datasets.webdataset import WebDataset
from weakspot.models.checkpoint import load_weights

_TAGS = {0x0112: 6, 0x010F: "a camera", 0x0132: "2024:01:01 00:00:00"}  # orientation, maker, time


def an_image(mode: str = "RGB") -> Image.Image:
    levels = np.random.default_rng(3).integers(0, 256, (12, 10, 4), dtype=np.uint8)
    return Image.fromarray(levels, "RGBA").convert(mode)


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    written = io.BytesIO()
    exif = Image.Exif()
    exif.update(_TAGS)
    given = {"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}
    an_image(mode).save(written, kind, **given, **options)
    return written.getvalue()


def make_image(folder: Path, ending: str, content: bytes) -> Path:
    (folder / f"image.{ending}").write_bytes(content)
    return folder / f"image.{ending}"


def read_image(path: Path) -> Image.Image:
    images = ImageFiles("test", path.parent)
    images.files = [path.name]
    return images.preview(0)


def use_image(image: Image.Image) -> None:
    assert image.mode == "RGB"
    assert np.asarray(image).shape == (image.height, image.width, 3)


def make_table(folder: Path, ending: str, sign: str) -> Path:
    rows = [
        ["path", "label", "split", "age", "seen", "note"],
        *(
            [
                f"{i}.png",
                ["cat", "dog"][i % 2],
                ["train", "test", "val"][i % 3],
                str(i),
                f"2024-01-{i + 1:02}",
                note,
            ]
            for i, note in enumerate(['"a, b"', "é", '"two\nlines"', "", "true", "1.5", "x", "y"])
        ),
    ]
    text = "\n".join(sign.join(row) for row in rows) + "\n"
    (folder / f"t.{ending}").write_text(text, encoding="utf-8")
    return folder / f"t.{ending}"


def read_table(path: Path) -> Any:
    table = read_table_file(path, ["path", "label", "split"], untrimmed="note")
    if not table.has_column("label"):
        raise ValueError(f"{path} has no labels")
    return table, read_labels(table, "label")


def use_table(read: Any) -> None:
    table, (task, targets) = read
    assert len(targets) == len(table.table)
    assert task.n_outputs >= 1
    json.dumps(table.table.to_pylist(), default=str).encode()
    assert str(table.file) in table.location(len(table.table) - 1)


def make_table_parquet(folder: Path) -> Path:
    table = {"path": ["a.png", "b.png"], "label": ["cat", "dog"], "age": [1, None], "note": ["x", "y"]}
    pq.write_table(pa.table(table), folder / "t.parquet")
    return folder / "t.parquet"


def make_tar(folder: Path) -> Path:
    (folder / "tars").mkdir()
    with tarfile.open(folder / "tars" / "train-0.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(3):
            members = {
                "png": encoded("PNG"),
                "cls": str(number % 2).encode(),
                "json": json.dumps({"age": number, "colour": "red"}).encode(),
            }
            for ending, content in members.items():
                member = tarfile.TarInfo(f"é/{number:04d}.{ending}" if number else f"{'x' * 120}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder / "tars"


def make_image_parquet(folder: Path) -> Path:
    (folder / "shards").mkdir()
    images = [{"bytes": encoded("PNG"), "path": f"{i}.png"} for i in range(4)]
    table = pa.table({"image": images, "label": ["cat", "dog"] * 2, "age": [1, 2, None, 4]})
    pq.write_table(table, folder / "shards" / "train-0.parquet", row_group_size=2)
    return folder / "shards"


def read_shards(path: Path, dataset: Callable[..., Any]) -> Any:
    data = dataset("train", path)
    return data, [data.preview(row) for row in range(len(data))]


def use_shards(read: Any) -> None:
    data, previews = read
    assert len(data) == len(previews) == len(data.targets)
    assert len(set(data.examples["id"].to_pylist())) == len(data)
    json.dumps(data.examples.to_pylist(), default=str).encode()
    for image in previews:
        use_image(image)


def make_idx(folder: Path, packed: bool) -> Path:
    content = bytes((0, 0, 8, 3)) + np.array([5, 4, 3], ">u4").tobytes() + bytes(range(60))
    path = folder / ("i.gz" if packed else "i.idx")
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def use_idx(read: np.ndarray) -> None:
    assert read.ndim == 3
    assert read.dtype == np.uint8


def a_network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def make_weights(folder: Path, kind: str) -> Path:
    state = a_network().state_dict()
    path = folder / f"w.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        save_file(state, path)
    else:
        content = {"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 0.1, "path": Path("x")}}
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path


def read_weights(path: Path) -> torch.nn.Module:
    network = a_network()
    load_weights(network, path)
    return network


def use_network(network: torch.nn.Module) -> None:
    assert network.eval()(torch.zeros(1, 3)).shape == (1, 2)


IMAGES = {
    "png": ("png", encoded("PNG")),
    "png with a palette": ("png", encoded("PNG", "P", transparency=0)),
    "jpeg": ("jpg", encoded("JPEG")),
    "progressive jpeg": ("jpg", encoded("JPEG", "CMYK", progressive=True)),
    "tiff": ("tif", encoded("TIFF", "RGBA")),
    "packed tiff": ("tif", encoded("TIFF", compression="tiff_lzw")),
    "webp": ("webp", encoded("WEBP", "RGBA")),
    "gif": ("gif", encoded("GIF", "P", save_all=True, append_images=[an_image("P")])),
    "bmp": ("bmp", encoded("BMP", "P")),
    "ppm": ("ppm", encoded("PPM")),
}

DATA: dict[str, Format] = {
    **{
        name: Format(partial(make_image, ending=ending, content=content), read_image, use_image)
        for name, (ending, content) in IMAGES.items()
    },
    "csv table": Format(partial(make_table, ending="csv", sign=","), read_table, use_table),
    "tsv table": Format(partial(make_table, ending="tsv", sign="\t"), read_table, use_table),
    "parquet table": Format(make_table_parquet, read_table, use_table),
    "webdataset tar": Format(make_tar, partial(read_shards, dataset=WebDataset), use_shards),
    "image parquet": Format(make_image_parquet, partial(read_shards, dataset=ImageParquet), use_shards),
    "idx": Format(partial(make_idx, packed=False), partial(read_idx, dims=3), use_idx),
    "gzipped idx": Format(partial(make_idx, packed=True), partial(read_idx, dims=3), use_idx),
    "torch weights": Format(partial(make_weights, kind="zip"), read_weights, use_network),
    "old torch weights": Format(partial(make_weights, kind="old"), read_weights, use_network),
    "safetensors weights": Format(partial(make_weights, kind="safetensors"), read_weights, use_network),
}
"""Formats by name, as in `mutations.FORMATS`."""
