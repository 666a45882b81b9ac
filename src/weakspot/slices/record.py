"""The Slices record and its files: Parquet for what is long, JSON for what is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Shaped

from weakspot.predictions.folders import read_manifest, read_table, replaced

FORMAT = 2
_MANIFEST = "slices.json"
_WEIGHTS = "weights.parquet"
_FIELDS = {
    "method": str,
    "statistics": list,
    "histories": int,
    "tree": list | None,
    "provenance": dict,
}


@dataclass(frozen=True, eq=False)
class Slices:
    """What a method found in one set of predictions.

    method       the word on the command line: spotlight, udis
    ids          (n,)    whose weights these are
    weights      (k, n)  in [0, 1], float64: how much each example belongs to each slice
    statistics   one mapping of plain values per slice (see `weakspot.slices.statistics`)
    histories    one mapping of (steps,) arrays per slice, or none: how the search went
    parameters   arrays that re-apply the slices to new embeddings, by name
    tree         the cluster tree, for methods that have one: a mapping of plain values, where a node has some
                 with a list of such mappings as `children`, to any depth
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
        """Whether both say the same: arrays by shape and value, all else as the files keep it.

        In histories and parameters NaN equals NaN; in plain values NaN and infinity are null, a path is text.
        """
        return (
            self.method == other.method
            and np.array_equal(self.ids, other.ids)
            and np.array_equal(self.weights, other.weights)
            and _plain(self.statistics) == _plain(other.statistics)
            and len(self.histories) == len(other.histories)
            and all(_same(a, b) for a, b in zip(self.histories, other.histories, strict=True))
            and _same(self.parameters, other.parameters)
            and _flat(self.tree) == _flat(other.tree)
            and _plain(self.provenance) == _plain(other.provenance)
        )

    def save(self, folder: str | Path) -> Path:
        """Write `folder` whole or not at all; an earlier result there stays until this one is complete.

        Raises FileExistsError where the folder holds something else.
        """
        folder = Path(folder)
        columns = {"id": pa.array(self.ids)} | {
            f"slice_{j + 1}": pa.array(w) for j, w in enumerate(self.weights)
        }
        header = _plain(
            {
                "format": FORMAT,
                "method": self.method,
                "slices": len(self),
                "statistics": self.statistics,
                "histories": len(self.histories),
                "tree": _flat(self.tree),
                "provenance": self.provenance,
            }
        )
        with replaced(folder, marks=(_MANIFEST, _WEIGHTS)) as draft:
            pq.write_table(pa.table(columns), draft / _WEIGHTS)
            pq.write_table(_pack(enumerate(self.histories)), draft / "histories.parquet")
            pq.write_table(_pack([(0, self.parameters)]), draft / "parameters.parquet")
            (draft / _MANIFEST).write_text(
                json.dumps(header, indent=1, allow_nan=False) + "\n", encoding="utf-8"
            )
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Slices:
        folder = Path(folder)
        manifest = folder / _MANIFEST
        if not manifest.is_file():
            raise FileNotFoundError(
                f"{folder} holds no slices ({_MANIFEST} is missing); run discover.py to make some"
            )
        header = read_manifest(manifest, FORMAT, _FIELDS)
        table = read_table(folder / _WEIGHTS)
        names = [name for name in table.column_names if name != "id"]
        try:
            weights = np.array([table[name].to_numpy() for name in names], dtype=np.float64)
            ids = table["id"].to_numpy().astype(str)
            histories = _unpack(read_table(folder / "histories.parquet"))
            parameters = _unpack(read_table(folder / "parameters.parquet"))
            tree = _nested(header["tree"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{folder} holds damaged slices: {error}") from error
        if not len(header["statistics"]) == len(names) == header.get("slices"):
            raise ValueError(f"{folder} holds damaged slices: {_MANIFEST} and {_WEIGHTS} differ in number")
        return cls(
            method=header["method"],
            ids=ids,
            weights=weights.reshape(len(names), len(table)),
            statistics=header["statistics"],
            histories=[histories.get(j, {}) for j in range(header["histories"])],
            parameters=parameters.get(0, {}),
            tree=tree,
            provenance=header["provenance"],
        )


def _flat(tree: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """A tree's nodes, root first, `children` as positions: JSON and Python have a limit to nesting."""
    if tree is None:
        return None
    nodes, flat = [tree], []
    for node in nodes:  # grows as it is read
        entry = _plain({name: value for name, value in node.items() if name != "children"})
        if "children" in node:
            entry["children"] = list(range(len(nodes), len(nodes) + len(node["children"])))
            nodes.extend(node["children"])
        flat.append(entry)
    return flat


def _nested(flat: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """The tree of `_flat`'s nodes."""
    if flat is None:
        return None
    nodes = [dict(node) for node in flat]
    for position, node in enumerate(nodes):
        if "children" in node:
            if any(child <= position for child in node["children"]):
                raise ValueError(f"node {position} of the tree lies below itself")
            node["children"] = [nodes[child] for child in node["children"]]
    return nodes[0]


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
    """NumPy scalars and arrays as JSON values, paths as text; NaN, which JSON lacks, as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key], equal_nan=True) for key in a)
