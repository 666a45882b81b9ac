"""The Slices record and its files: Parquet for what is long, JSON for what is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int, Shaped

from weakspot.predictions import Predictions
from weakspot.predictions.columns import texts
from weakspot.predictions.folders import replaced
from weakspot.predictions.reading import read_manifest, read_parquet, reading
from weakspot.predictions.seals import check_seal, sealed
from weakspot.slices.memberships import Memberships, Weights, as_weights
from weakspot.slices.statistics import SliceStatistics, describe
from weakspot.slices.stored import read_statistics, read_tree, stored_statistics, stored_tree
from weakspot.slices.tree import ClusterNode

FORMAT = 4
_EARLIER = (2, 3)  # formats that are still read
_MANIFEST = "slices.json"
_WEIGHTS = "weights.parquet"
_HISTORIES = "histories.parquet"
_PARAMETERS = "parameters.parquet"
_TABLES = (_WEIGHTS, _HISTORIES, _PARAMETERS)
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
_CELLS = 2**24  # weights that are written or read at a time


@dataclass(frozen=True, eq=False)
class Slices:
    """What a method found in one set of predictions.

    method       the word on the command line: spotlight, udis
    ids          (n,)    whose weights these are
    weights      (k, n)  in [0, 1], float64: how much each example belongs to each slice; `Memberships`, which are
                 sparse, where a method has hundreds of slices
    statistics   of every slice
    searched     (n,)    which of them the slices were sought in; None for all
    histories    one mapping of (steps,) arrays per slice, or none: how the search went
    parameters   arrays that re-apply the slices to new embeddings, by name
    tree         the root of the cluster tree, for methods that have one
    provenance   settings of the method and the manifest of the predictions
    """

    method: str
    ids: Shaped[np.ndarray, " n"]
    weights: Weights
    statistics: Sequence[SliceStatistics]
    histories: Sequence[Mapping[str, np.ndarray]] = ()
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    tree: ClusterNode | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    searched: Bool[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        return f"Slices({self.method}: {len(self)} slices of {len(self.ids)} examples)"

    @property
    def sought_in(self) -> Bool[np.ndarray, " n"]:
        """Which of the examples the slices were sought in: nothing can be tested on these."""
        return np.ones(len(self.ids), dtype=bool) if self.searched is None else self.searched

    def equals(self, other: Slices) -> bool:
        """Whether both say the same: arrays by shape and value, all else as the files keep it.

        In histories and parameters NaN equals NaN; in plain values NaN and infinity are null, a path is text.
        """
        return (
            self.method == other.method
            and np.array_equal(self.ids, other.ids)
            and self.weights.shape == other.weights.shape
            and all(map(np.array_equal, self.weights, other.weights))
            and np.array_equal(self.sought_in, other.sought_in)
            and _plain(stored_statistics(self.statistics)) == _plain(stored_statistics(other.statistics))
            and len(self.histories) == len(other.histories)
            and all(_same(a, b) for a, b in zip(self.histories, other.histories, strict=True))
            and _same(self.parameters, other.parameters)
            and _plain(stored_tree(self.tree)) == _plain(stored_tree(other.tree))
            and _plain(self.provenance) == _plain(other.provenance)
        )

    def carried(
        self,
        weights: Weights,
        predictions: Predictions,
        rows: Int[np.ndarray, " m"],
        audited: Bool[np.ndarray, " n"] | None = None,
    ) -> Slices:
        """The same slices as they lie in other examples, or in more of them.

        What was found stays as it was: the clusters and their tree, the search, the parameters. What is said
        of the slices is described anew.

        Args:
            weights: How much each of the other examples belongs to each slice (`weakspot.methods.apply`).
            predictions: Their record, as the method judges it (`weakspot.methods.audit_of`).
            rows: Where each example of these slices stands in `predictions`; -1 where it is not among them,
                and then it leaves the members of the tree.
            audited: Those of the examples that the method judges, where it does not judge all.
        """
        weights, rows = as_weights(weights), np.asarray(rows)
        if weights.shape != (len(self), len(predictions)) or rows.shape != self.ids.shape:
            raise ValueError(
                f"{len(self)} slices of {len(self.ids)} examples are carried over to {len(predictions)} by weights "
                f"of shape {(len(self), len(predictions))} and as many rows as examples, not by weights of "
                f"shape {weights.shape} and {len(rows)} rows"
            )
        described = describe(weights, predictions, audited)
        searched = np.zeros(len(predictions), dtype=bool)
        searched[rows[self.sought_in & (rows >= 0)]] = True
        return replace(
            self,
            ids=predictions.ids,
            weights=weights,
            searched=searched,
            statistics=[
                replace(new, cluster=old.cluster and old.cluster.moved(rows))
                for new, old in zip(described, self.statistics, strict=True)
            ],
            tree=self.tree and self.tree.moved(rows),
            provenance={**self.provenance, "predictions": predictions.manifest},
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
        header = _plain(
            {
                "format": FORMAT,
                "method": self.method,
                "slices": len(self),
                "sparse": isinstance(self.weights, Memberships),
                "statistics": stored_statistics(self.statistics),
                "histories": len(self.histories),
                "tree": stored_tree(self.tree),
                "provenance": self.provenance,
            }
        )
        with replaced(folder, marks=(_MANIFEST, _WEIGHTS)) as draft:
            self._write_weights(draft / _WEIGHTS)
            pq.write_table(_pack(enumerate(self.histories)), draft / _HISTORIES)
            pq.write_table(_pack([(0, self.parameters)]), draft / _PARAMETERS)
            text = json.dumps(header, indent=1, allow_nan=False) + "\n"
            whole = sealed(text.encode(), [draft / name for name in _TABLES])
            (draft / _MANIFEST).write_text(whole.decode(), encoding="utf-8", newline="\n")
        return folder

    def _write_weights(self, path: Path) -> None:
        """A row for each example, so many at a time that sparse weights never stand there whole."""
        kinds = {"id": pa.string(), "searched": pa.bool_()}
        kinds |= {f"slice_{j + 1}": pa.float64() for j in range(len(self))}
        block = max(_CELLS // max(len(self), 16), 1)  # of few slices a million rows, as Arrow writes them
        with pq.ParquetWriter(path, pa.schema(kinds)) as file:
            for start in range(0, max(len(self.ids), 1), block):
                rows = slice(start, start + block)
                columns = [self.ids[rows].tolist(), self.sought_in[rows], *as_weights(self.weights[:, rows])]
                file.write_table(pa.table(columns, schema=file.schema))

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
        for name in _TABLES:
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder} lacks {name} of its slices; run discover.py to make them again"
                )
        header = read_manifest(manifest, FORMAT, _FIELDS, earlier=_EARLIER)
        check_seal(manifest, header, _TABLES, "run discover.py to make it again")
        k, histories = header["slices"], header["histories"]
        with reading(manifest, "histories"):
            if histories not in (0, k):
                raise ValueError(f"it is {histories}, but there is one history per slice, {k}, or none")
        sparse = header.get("sparse") is True
        ids, weights, searched = _read_weights(folder / _WEIGHTS, k, header["format"] >= 4, sparse)
        with reading(manifest, "statistics"):
            if len(header["statistics"]) != k:
                raise ValueError(f"it must hold one object for each of the {k} slices")
            statistics = read_statistics(header["statistics"], header["format"], len(ids))
        with reading(manifest, "tree"):
            tree = read_tree(header["tree"], len(ids))
        told = _unpack(folder / _HISTORIES, groups=histories)
        return cls(
            method=header["method"],
            ids=ids,
            weights=weights,
            statistics=statistics,
            histories=[told.get(j, {}) for j in range(histories)],
            parameters=_unpack(folder / _PARAMETERS, groups=1).get(0, {}),
            tree=tree,
            provenance=header["provenance"],
            searched=searched,
        )


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


def _read_weights(
    path: Path, k: int, says_searched: bool, sparse: bool
) -> tuple[Shaped[np.ndarray, " n"], Weights, Bool[np.ndarray, " n"] | None]:
    """The ids, the weights of slices 1…k, and which of the examples were searched, where the format says that."""
    with reading(path):
        columns = pq.read_schema(path).names
    first = ["id", "searched"] if says_searched else ["id"]
    table = read_parquet(path, leave_out=columns[len(first) :])
    with reading(path):
        if columns != [*first, *(f"slice_{j + 1}" for j in range(k))]:
            raise ValueError(
                f"it must have the columns {', '.join(first)} and slice_1…slice_{k}, not {columns[:20]}"
            )
    with reading(path, "id"):
        ids = texts(table["id"])
        if len(set(ids.tolist())) < len(ids):
            raise ValueError("an id stands in two rows")
    searched = None
    if says_searched:
        with reading(path, "searched"):
            if not pa.types.is_boolean(table["searched"].type) or table["searched"].null_count:
                raise ValueError("it must be true or false in every row")
            searched = table["searched"].to_numpy()
    rows = _read_slices(path, columns, len(first), ids)
    if sparse:
        return ids, Memberships.of_rows(rows, len(ids)), searched
    weights = np.empty((k, len(ids)))
    for j, row in enumerate(rows):
        weights[j] = row
    return ids, weights, searched


def _read_slices(
    path: Path, columns: Sequence[str], first: int, ids: Shaped[np.ndarray, " n"]
) -> Iterator[Float[np.ndarray, " n"]]:
    """The weights of one slice after the other, of which some are read at a time."""
    some = max(_CELLS // max(len(ids), 1), 1)
    for start in range(first, len(columns), some):
        table = read_parquet(path, leave_out=[*columns[:start], *columns[start + some :]])
        for name in table.column_names:
            with reading(path, name):
                w = table[name].to_numpy().astype(np.float64)
                outside = ~((w >= 0) & (w <= 1 + _ROUNDING))
                if outside.any():
                    row = int(np.argmax(outside))
                    raise ValueError(f"row {row} (id {ids[row]}) is {w[row]:g}, outside 0…1")
            yield w


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
