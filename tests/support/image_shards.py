"""Sixty small images in three tars or three Parquet files."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def encoded(k: int, size: tuple[int, int] = (12, 10), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (k % 256, 7 * k % 256, 100)).save(file, kind)
    return file.getvalue()


def tar(path: Path, *members: tuple[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def sample(k: int) -> list[tuple[str, bytes]]:
    about = {"label": ("cat", "dog")[k % 2], "light": ("day", "night")[k % 3 % 2], "age": k}
    return [(f"{k:03d}.png", encoded(k)), (f"{k:03d}.json", json.dumps(about).encode())]


def tars(root: Path, n: int = 60) -> Path:
    """Sixty images in three tars whose names mention no split."""
    for shard in range(3):
        members = [member for k in range(shard, n, 3) for member in sample(k)]
        tar(root / f"pets-{shard:04d}.tar", *members)
    return root


def rows(numbers) -> pa.Table:
    return pa.table(
        {
            "image": [encoded(k) for k in numbers],
            "label": [("cat", "dog")[k % 2] for k in numbers],
            "light": [("day", "night")[k % 3 % 2] for k in numbers],
            "age": list(numbers),
        }
    )


def parquets(root: Path, n: int = 60) -> Path:
    """Sixty images in three files, in row groups of seven."""
    root.mkdir(parents=True, exist_ok=True)
    for shard in range(3):
        pq.write_table(rows(range(shard, n, 3)), root / f"pets-{shard:04d}.parquet", row_group_size=7)
    return root
