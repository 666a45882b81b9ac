"""A small record and a few slices, for tests of writing and reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from weakspot import Predictions, Slices
from weakspot.slices import ClusterNode
from weakspot.slices.statistics import describe


def a_record(n: int = 40) -> Predictions:
    rng = np.random.default_rng(1)
    return Predictions.from_arrays(
        rng.normal(size=(n, 4)).astype(np.float32),
        outputs=rng.normal(size=(n, 3)).astype(np.float32),
        labels=rng.integers(0, 3, n),
        counts=rng.integers(1, 4, n),
        ids=[f"example-{i}" for i in range(n)],
        attributes={"colour": np.where(np.arange(n) % 2, "red", "green"), "age": np.arange(n)},
    )


def unsealed(path: Path, **fields: Any) -> Path:
    """Change fields of our JSON file and remove its checksums, as earlier versions wrote it."""
    written = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in written.items() if name not in ("seal", "checksums")}
    path.write_text(json.dumps(kept | fields), encoding="utf-8")
    return path


def some_slices() -> Slices:
    p = a_record()
    weights = np.random.default_rng(2).random((2, len(p)))
    return Slices(
        "spotlight",
        p.ids,
        weights,
        describe(weights, p),
        histories=[{"objective": np.linspace(0, 1, 7), "size": np.arange(7.0)}] * 2,
        parameters={"centers": weights[:, :4], "precisions": np.ones((2, 4, 4))},
        tree=ClusterNode(
            4,
            3.0,
            1.0,
            2 / 3,
            children=(
                ClusterNode(0, 1.0, 0.0, 1.0, clusters=(0,), members=(1,)),
                ClusterNode(1, 2.0, 1.0, 0.5, clusters=(1,), members=(2, 3), wrong_members=(3,)),
            ),
        ),
        provenance={"settings": {"n_slices": 2}, "predictions": {}},
    )
