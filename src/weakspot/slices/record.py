"""The Slices record and its files: Parquet for what is long, JSON for what is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Shaped

from weakspot.predictions.folders import replaced
from weakspot.predictions.reading import read_manifest, read_parquet, reading, text_column

FORMAT = 2
_MANIFEST = "slices.json"
_WEIGHTS = "weights.parquet"
_HISTORIES = "histories.parquet"
_PARAMETERS = "parameters.parquet"
_FIELDS = {
    "method": str,
    "slices": int,
    "statistics": list,
    "histories": int,
    "tree": list | None,
    "provenance": dict,
}
_PACKED = pa.schema(
    {
        "group": pa.int64(),
        "name": pa.string(),
        "dtype": pa.string(),
        "shape": pa.list_(pa.int64()),
        "values": pa.list_(pa.float64()),
    }
)
_ROUNDING = 1e-6  # a weight may be above 1 by that much


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
        if len(self.histories) not in (0, len(self)):
            raise ValueError(
                f"there are {len(self.histories)} histories of {len(self)} slices; give one each, or none"
            )
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
            pq.write_table(_pack(enumerate(self.histories)), draft / _HISTORIES)
            pq.write_table(_pack([(0, self.parameters)]), draft / _PARAMETERS)
            (draft / _MANIFEST).write_text(
                json.dumps(header, indent=1, allow_nan=False) + "\n", encoding="utf-8"
            )
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Slices:
        """The slices that `save` wrote.

        Raises:
            FileNotFoundError: Where the folder holds none, or lacks a file of theirs.
            DamagedError: Where a file cannot be read, or says what no slices can; it names the file and the key.
        """
        folder = Path(folder)
        manifest = folder / _MANIFEST
        if not manifest.is_file():
            raise FileNotFoundError(
                f"{folder} holds no slices ({_MANIFEST} is missing); run discover.py to make some"
            )
        for name in (_WEIGHTS, _HISTORIES, _PARAMETERS):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder} lacks {name} of its slices; run discover.py to make them again"
                )
        header = read_manifest(manifest, FORMAT, _FIELDS)
        k, histories = header["slices"], header["histories"]
        with reading(manifest, "statistics"):
            if len(header["statistics"]) != k or not all(isinstance(s, dict) for s in header["statistics"]):
                raise ValueError(f"it must hold one object for each of the {k} slices")
        with reading(manifest, "histories"):
            if histories not in (0, k):
                raise ValueError(f"it is {histories}, but there is one history per slice, {k}, or none")
        with reading(manifest, "tree"):
            tree = _nested(header["tree"])
        ids, weights = _read_weights(folder / _WEIGHTS, k)
        told = _unpack(folder / _HISTORIES, groups=histories)
        return cls(
            method=header["method"],
            ids=ids,
            weights=weights,
            statistics=header["statistics"],
            histories=[told.get(j, {}) for j in range(histories)],
            parameters=_unpack(folder / _PARAMETERS, groups=1).get(0, {}),
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


def _nested(flat: list[Any] | None) -> dict[str, Any] | None:
    """The tree of `_flat`'s nodes, each of which hangs below one other, but for the first."""
    if flat is None:
        return None
    if not flat or not all(isinstance(node, dict) for node in flat):
        raise ValueError("a tree is a list of one object or more")
    nodes, parents = [dict(node) for node in flat], [0] * len(flat)
    for position, node in enumerate(nodes):
        if "children" not in node:
            continue
        if not isinstance(node["children"], list):
            raise ValueError(f"the children of node {position} are no list")
        for child in node["children"]:
            if type(child) is not int or not position < child < len(nodes):
                raise ValueError(f"node {position} has the child {child!r}, which is no node after it")
            parents[child] += 1
        node["children"] = [nodes[child] for child in node["children"]]
    strays = [position for position, many in enumerate(parents) if position and many != 1]
    if strays:
        raise ValueError(f"node {strays[0]} hangs below {parents[strays[0]]} nodes instead of one")
    return nodes[0]


def _pack(groups: Any) -> pa.Table:
    """Named arrays of any shape as rows of (group, name, dtype, shape, values)."""
    rows = [
        (group, name, str(array.dtype), list(array.shape), np.asarray(array, dtype=np.float64).ravel())
        for group, arrays in groups
        for name, array in ((name, np.asarray(array)) for name, array in arrays.items())
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(_PACKED)
    return pa.table(
        [pa.array(list(column), type=kind.type) for column, kind in zip(columns, _PACKED, strict=True)],
        _PACKED,
    )


def _unpack(path: Path, groups: int) -> dict[int, dict[str, np.ndarray]]:
    """The arrays that `_pack` made rows of, by group, 0…groups-1, and name."""
    table = read_parquet(path)
    with reading(path):
        table = table.select(_PACKED.names).cast(_PACKED).combine_chunks()
        if any(column.null_count for column in table.columns):
            raise ValueError("it has empty cells")
    found: dict[int, dict[str, np.ndarray]] = {}
    for row in range(len(table)):
        group, name, kind, shape = (table[column][row].as_py() for column in _PACKED.names[:-1])
        with reading(path, name):
            if not 0 <= group < groups or name in found.get(group, {}):
                raise ValueError(f"group {group} is none, or has it already")
            if np.dtype(kind).kind not in "fiub":
                raise ValueError(f"it holds numbers, not {kind}")
            values = table["values"][row].values.to_numpy(zero_copy_only=False)
            if any(length is None or length < 0 for length in shape) or math.prod(shape) != len(values):
                raise ValueError(f"it has {len(values)} values, not those of shape {tuple(shape)}")
            with np.errstate(all="raise"):  # NaN is no whole number
                found.setdefault(group, {})[name] = values.astype(kind).reshape(shape)
    return found


def _read_weights(path: Path, k: int) -> tuple[Shaped[np.ndarray, " n"], Float[np.ndarray, "k n"]]:
    """The ids, and the weights of slices 1…k."""
    table = read_parquet(path)
    with reading(path):
        if table.column_names != ["id", *(f"slice_{j + 1}" for j in range(k))]:
            raise ValueError(
                f"it must have the columns id and slice_1…slice_{k}, not {table.column_names[:20]}"
            )
    ids = text_column(path, "id", table["id"])
    with reading(path, "id"):
        if len(set(ids.tolist())) < len(ids):
            raise ValueError("an id stands in two rows")
    weights = np.empty((k, len(table)))
    for j, name in enumerate(table.column_names[1:]):
        with reading(path, name):
            weights[j] = table[name].to_numpy()
            outside = ~((weights[j] >= 0) & (weights[j] <= 1 + _ROUNDING))
            if outside.any():
                row = int(np.argmax(outside))
                raise ValueError(f"row {row} (id {ids[row]}) is {weights[j, row]:g}, outside 0…1")
    return ids, weights


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
