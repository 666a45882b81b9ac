"""The Slices record and its files: Parquet for what is long, JSON for what is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Shaped

FORMAT = 1
_MANIFEST = "slices.json"


@dataclass(frozen=True, eq=False)
class Slices:
    """What a method found in one set of predictions.

    method       the word on the command line: spotlight, udis
    ids          (n,)    whose weights these are
    weights      (k, n)  in [0, 1], float64: how much each example belongs to each slice
    statistics   one mapping of plain values per slice (see `weakspot.slices.statistics`)
    histories    one mapping of (steps,) arrays per slice, or none: how the search went
    parameters   arrays that re-apply the slices to new embeddings, by name
    tree         the cluster tree, for methods that have one (nested plain values)
    provenance   settings of the method and the manifest of the predictions
    """

    method: str
    ids: Shaped[np.ndarray, " n"]
    weights: Float[np.ndarray, "k n"]
    statistics: Sequence[Mapping[str, Any]]
    histories: Sequence[Mapping[str, np.ndarray]] = ()
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    tree: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        return f"Slices({self.method}: {len(self)} slices of {len(self.ids)} examples)"

    def equals(self, other: Slices) -> bool:
        """Whether every array and value is the same, bit for bit."""
        return (
            self.method == other.method
            and np.array_equal(self.ids, other.ids)
            and np.array_equal(self.weights, other.weights)
            and _plain(self.statistics) == _plain(other.statistics)
            and len(self.histories) == len(other.histories)
            and all(_same(a, b) for a, b in zip(self.histories, other.histories, strict=True))
            and _same(self.parameters, other.parameters)
            and _plain(self.tree) == _plain(other.tree)
            and _plain(self.provenance) == _plain(other.provenance)
        )

    def save(self, folder: str | Path) -> Path:
        """Write `folder` whole or not at all; an earlier result there is replaced only once this one is complete."""
        folder = Path(folder)
        draft = folder.with_name(folder.name + ".part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        columns = {"id": pa.array(self.ids)} | {
            f"slice_{j + 1}": pa.array(w) for j, w in enumerate(self.weights)
        }
        pq.write_table(pa.table(columns), draft / "weights.parquet")
        pq.write_table(_pack(enumerate(self.histories)), draft / "histories.parquet")
        pq.write_table(_pack([(0, self.parameters)]), draft / "parameters.parquet")
        header = {
            "format": FORMAT,
            "method": self.method,
            "slices": len(self),
            "statistics": self.statistics,
            "tree": self.tree,
            "provenance": self.provenance,
        }
        (draft / _MANIFEST).write_text(json.dumps(_plain(header), indent=1, allow_nan=False) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Slices:
        folder = Path(folder)
        manifest = folder / _MANIFEST
        if not manifest.is_file():
            raise FileNotFoundError(
                f"{folder} holds no slices ({_MANIFEST} is missing); run discover.py to make some"
            )
        header = json.loads(manifest.read_text())
        if header.get("format") != FORMAT:
            raise ValueError(f"{manifest}: format {header.get('format')!r}, but this version reads {FORMAT}")
        table = pq.read_table(folder / "weights.parquet")
        names = [name for name in table.column_names if name != "id"]
        weights = np.array([table[name].to_numpy() for name in names], dtype=np.float64)
        histories = _unpack(pq.read_table(folder / "histories.parquet"))
        parameters = _unpack(pq.read_table(folder / "parameters.parquet"))
        return cls(
            method=header["method"],
            ids=table["id"].to_numpy().astype(str),
            weights=weights.reshape(len(names), len(table)),
            statistics=header["statistics"],
            histories=[histories[j] for j in sorted(histories)],
            parameters=parameters.get(0, {}),
            tree=header["tree"],
            provenance=header["provenance"],
        )


def _pack(groups: Any) -> pa.Table:
    """Named arrays of any shape as rows of (group, name, dtype, shape, values)."""
    rows = [
        (group, name, str(array.dtype), list(array.shape), np.asarray(array, dtype=np.float64).ravel())
        for group, arrays in groups
        for name, array in ((name, np.asarray(array)) for name, array in arrays.items())
    ]
    schema = pa.schema(
        {
            "group": pa.int64(),
            "name": pa.string(),
            "dtype": pa.string(),
            "shape": pa.list_(pa.int64()),
            "values": pa.list_(pa.float64()),
        }
    )
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(list(column), type=kind.type) for column, kind in zip(columns, schema, strict=True)], schema
    )


def _unpack(table: pa.Table) -> dict[int, dict[str, np.ndarray]]:
    groups: dict[int, dict[str, np.ndarray]] = {}
    for row in table.to_pylist():
        array = np.array(row["values"], dtype=row["dtype"]).reshape(row["shape"])
        groups.setdefault(row["group"], {})[row["name"]] = array
    return groups


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as JSON values; NaN, which JSON lacks, as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key], equal_nan=True) for key in a)
