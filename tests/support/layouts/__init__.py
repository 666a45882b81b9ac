"""Small data in the exact layout in which each dataset is published: one module per dataset, one row here.

Data that no package registry carries (faces, X-rays, COCO, …) are written file by file in their publishers' layout, so
that the real loading code runs; the contents are invented.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from layouts import (
    amazon,
    celeba,
    coco,
    csv,
    fairface,
    imagenet,
    iwildcam,
    movielens,
    squad,
    waterbirds,
    xray,
)


@dataclass(frozen=True)
class Layout:
    """One dataset at small scale.

    dataset   its name on the command line
    write     puts the files where the default `dataset.root` finds them, given DATA_DIR
    words     further overrides that make the run small (`{data}` stands for DATA_DIR)
    """

    dataset: str
    write: Callable[[Path], None]
    words: tuple[str, ...] = ()

    def overrides(self, data: Path) -> list[str]:
        return [f"dataset={self.dataset}", *(word.format(data=data) for word in self.words)]


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "movielens",
        movielens.write,
        (
            "model.encoder=[8]",
            "model.factors=4",
            "model.decoder=[8]",
            "training.batch_size=64",
            "dataset.spotlight_size=0.1",
        ),
    ),
    Layout("fairface", fairface.write, ("dataset.size=64", "dataset.spotlight_size=6")),
    Layout("xray", xray.write, ("dataset.spotlight_size=6",)),
    Layout(
        "imagenet",
        imagenet.write,
        ("dataset.size=64", "dataset.weights=null", "checkpoint=auto", "dataset.spotlight_size=6"),
    ),
    Layout(
        "waterbirds",
        waterbirds.write,
        ("dataset.size=64", "dataset.weights=null", "dataset.spotlight_size=6"),
    ),
    Layout(
        "iwildcam", iwildcam.write, ("dataset.size=64", "dataset.weights=null", "dataset.spotlight_size=6")
    ),
    Layout("amazon", amazon.write, ("model.name={data}/tiny_sst2", "dataset.first=40")),
    Layout(
        "squad", squad.write, ("model.name={data}/tiny_squad", "dataset.max_length=64", "checkpoint=auto")
    ),
    Layout("celeba", celeba.write, ("dataset.size=64", "dataset.weights=null", "dataset.spotlight_size=6")),
    Layout("coco", coco.write, ("dataset.size=64", "dataset.weights=null", "dataset.spotlight_size=6")),
    Layout(
        "csv",
        csv.write,
        (
            "dataset.file={data}/mine/about.csv",
            "dataset.size=64",
            "dataset.spotlight_size=6",
            "num_workers=0",
        ),
    ),
)
