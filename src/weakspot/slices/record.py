"""The Slices record and its files: Parquet for arrays, JSON for everything that people read."""

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

from weakspot.legible import row_name
from weakspot.predictions import Predictions
from weakspot.predictions.arrow_columns import text_array
from weakspot.predictions.atomic_files import atomic_folder
from weakspot.predictions.reading import read_manifest, read_parquet, reading
from weakspot.predictions.seals import add_seal, check_seal
from weakspot.slices.json_format import statistics_from_json, statistics_to_json, tree_from_json, tree_to_json
from weakspot.slices.memberships import Memberships, Weights, as_weights
from weakspot.slices.statistics import SliceStatistics, describe
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
_ROUNDING = 1e-6  # a weight may exceed 1 by this much
_CELLS = 2**24  # weights written or read at a time


@dataclass(frozen=True, eq=False)
class Slices:
    """Holds the slices that a method found in one set of predictions.

    Attributes:
        method: The method's word on the command line, such as spotlight or udis.
        ids: The ids of the examples, (n,).
        weights: How much each example belongs to each slice, float64 in [0, 1], (k, n); sparse `Memberships` if a
            method has hundreds of slices.
        statistics: The statistics of every slice.
        histories: The course of the search: one mapping of arrays (steps,) for each slice, or none.
        parameters: The arrays, by name, for applying the slices to new embeddings.
        tree: The root of the cluster tree, for methods that have one.
        provenance: The settings of the method and the manifest of the predictions.
        searched: Which examples were searched for the slices, (n,); None for all. See `searched_mask`.
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
    def searched_mask(self) -> Bool[np.ndarray, " n"]:
        """The mask, (n,), of the examples that were searched for the slices, which cannot be tested on these."""
        return np.ones(len(self.ids), dtype=bool) if self.searched is None else self.searched

    def equals(self, other: Slices) -> bool:
        """Return whether both hold the same: arrays are compared by shape and value, everything else as in the files.

        In histories and parameters NaN equals NaN; in plain values NaN and infinity are null, and paths are texts.
        """
        return (
            self.method == other.method
            and np.array_equal(self.ids, other.ids)
            and self.weights.shape == other.weights.shape
            and all(map(np.array_equal, self.weights, other.weights))
            and np.array_equal(self.searched_mask, other.searched_mask)
            and _plain(statistics_to_json(self.statistics)) == _plain(statistics_to_json(other.statistics))
            and len(self.histories) == len(other.histories)
            and all(_same(a, b) for a, b in zip(self.histories, other.histories, strict=True))
            and _same(self.parameters, other.parameters)
            and _plain(tree_to_json(self.tree)) == _plain(tree_to_json(other.tree))
            and _plain(self.provenance) == _plain(other.provenance)
        )

    def carry_over(
        self,
        weights: Weights,
        predictions: Predictions,
        rows: Int[np.ndarray, " m"],
        audited: Bool[np.ndarray, " n"] | None = None,
    ) -> Slices:
        """Return the same slices for other examples, or for more of them.

        The clusters and their tree, the histories and the parameters stay the same; the statistics are computed again.

        Args:
            weights: How much each of the other examples belongs to each slice (`weakspot.methods.apply`).
            predictions: The record of the other examples, as the method audits it (`weakspot.methods.audit_of`).
            rows: The position in `predictions` of each example of these slices; -1 if it is not among them,
                which removes it from the members of the tree.
            audited: Which of the other examples the method audits; None for all.

        Raises:
            ValueError: The shapes of weights or rows do not fit.
        """
        weights, rows = as_weights(weights), np.asarray(rows)
        if weights.shape != (len(self), len(predictions)) or rows.shape != self.ids.shape:
            raise ValueError(
                f"to carry over {len(self)} slices of {len(self.ids)} examples to {len(predictions)}, give weights "
                f"of shape {(len(self), len(predictions))} and as many rows as examples, not weights of "
                f"shape {weights.shape} and {len(rows)} rows"
            )
        described = describe(weights, predictions, audited)
        searched = np.zeros(len(predictions), dtype=bool)
        searched[rows[self.searched_mask & (rows >= 0)]] = True
        return replace(
            self,
            ids=predictions.ids,
            weights=weights,
            searched=searched,
            statistics=[
                replace(new, cluster=old.cluster and old.cluster.renumber_rows(rows))
                for new, old in zip(described, self.statistics, strict=True)
            ],
            tree=self.tree and self.tree.renumber_rows(rows),
            provenance={**self.provenance, "predictions": predictions.provenance},
        )

    def save(self, folder: str | Path) -> Path:
        """Write the slices to a folder and return it; an earlier result there is replaced once this one is complete.

        Raises:
            FileExistsError: The folder holds something else.
            OSError: The disk is full or not writable; the message says what to do.
        """
        folder = Path(folder)
        if len(self.histories) not in (0, len(self)):
            raise ValueError(
                f"there are {len(self.histories)} histories of {len(self)} slices; give one for each slice, or none"
            )
        header = _plain(
            {
                "format": FORMAT,
                "method": self.method,
                "slices": len(self),
                "sparse": isinstance(self.weights, Memberships),
                "statistics": statistics_to_json(self.statistics),
                "histories": len(self.histories),
                "tree": tree_to_json(self.tree),
                "provenance": self.provenance,
            }
        )
        with atomic_folder(folder, required_files=(_MANIFEST, _WEIGHTS)) as draft:
            self._write_weights(draft / _WEIGHTS)
            pq.write_table(_pack(enumerate(self.histories)), draft / _HISTORIES)
            pq.write_table(_pack([(0, self.parameters)]), draft / _PARAMETERS)
            text = json.dumps(header, indent=1, allow_nan=False) + "\n"
            manifest = add_seal(text.encode(), [draft / name for name in _TABLES])
            (draft / _MANIFEST).write_text(manifest.decode(), encoding="utf-8", newline="\n")
        return folder

    def _write_weights(self, path: Path) -> None:
        """Write a row for each example, in blocks, so that sparse weights are never all dense at once."""
        kinds = {"id": pa.string(), "searched": pa.bool_()}
        kinds |= {f"slice_{j + 1}": pa.float64() for j in range(len(self))}
        # a million rows if slices are few, as Arrow writes them
        block = max(_CELLS // max(len(self), 16), 1)
        with pq.ParquetWriter(path, pa.schema(kinds)) as file:
            for start in range(0, max(len(self.ids), 1), block):
                rows = slice(start, start + block)
                columns = [
                    self.ids[rows].tolist(),
                    self.searched_mask[rows],
                    *as_weights(self.weights[:, rows]),
                ]
                file.write_table(pa.table(columns, schema=file.schema))

    @classmethod
    def load(cls, folder: str | Path) -> Slices:
        """Return the slices that `save` wrote.

        Raises:
            FileNotFoundError: The folder holds no slices, or lacks one of their files.
            DamagedError: A file cannot be read, or its content is not valid; the error names the file and the key.
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
            statistics = statistics_from_json(header["statistics"], header["format"], len(ids))
        with reading(manifest, "tree"):
            tree = tree_from_json(header["tree"], len(ids))
        steps = _unpack(folder / _HISTORIES, groups=histories)
        return cls(
            method=header["method"],
            ids=ids,
            weights=weights,
            statistics=statistics,
            histories=[steps.get(j, {}) for j in range(histories)],
            parameters=_unpack(folder / _PARAMETERS, groups=1).get(0, {}),
            tree=tree,
            provenance=header["provenance"],
            searched=searched,
        )


def _pack(groups: Any) -> pa.Table:
    """Return named arrays of any shape as rows of (group, name, dtype, shape, values)."""
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
    """Return the arrays that `_pack` turned into rows, by group, 0…groups-1, and name."""
    table = read_parquet(path)
    with reading(path):
        table = table.select(_PACKED.names).cast(_PACKED).combine_chunks()
        if any(column.null_count for column in table.columns):
            raise ValueError("it has empty cells")
    arrays: dict[int, dict[str, np.ndarray]] = {}
    for row in range(len(table)):
        group, name, kind, shape = (table[column][row].as_py() for column in _PACKED.names[:-1])
        with reading(path, name):
            if not 0 <= group < groups or name in arrays.get(group, {}):
                raise ValueError(f"group {group} does not exist, or already has it")
            if np.dtype(kind).kind not in "fiub":
                raise ValueError(f"it must hold numbers, not {kind}")
            values = table["values"][row].values.to_numpy(zero_copy_only=False)
            if any(length is None or length < 0 for length in shape) or math.prod(shape) != len(values):
                raise ValueError(f"it has {len(values)} values, not those of shape {tuple(shape)}")
            with np.errstate(all="raise"):  # NaN is not a whole number
                arrays.setdefault(group, {})[name] = values.astype(kind).reshape(shape)
    return arrays


def _read_weights(
    path: Path, k: int, has_searched: bool, sparse: bool
) -> tuple[Shaped[np.ndarray, " n"], Weights, Bool[np.ndarray, " n"] | None]:
    """Return the ids, the weights of slices 1…k, and the mask of the searched examples if the format has it."""
    with reading(path):
        columns = pq.read_schema(path).names
    first = ["id", "searched"] if has_searched else ["id"]
    table = read_parquet(path, leave_out=columns[len(first) :])
    with reading(path):
        # a damaged header may announce any number of slices
        if len(columns) != len(first) + k or columns != [*first, *(f"slice_{j + 1}" for j in range(k))]:
            raise ValueError(
                f"it must have the columns {', '.join(first)} and slice_1…slice_{k}, not {columns[:20]}"
            )
    with reading(path, "id"):
        ids = text_array(table["id"])
        if len(set(ids.tolist())) < len(ids):
            raise ValueError("an id occurs in two rows")
    searched = None
    if has_searched:
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
    """Yield the weights of one slice after another, reading several at a time in blocks of bounded size."""
    block = max(_CELLS // max(len(ids), 1), 1)
    for start in range(first, len(columns), block):
        table = read_parquet(path, leave_out=[*columns[:start], *columns[start + block :]])
        with reading(path):
            if table.num_rows != len(ids):
                raise ValueError(f"it has {len(ids)} ids, but weights of {table.num_rows} examples")
        for name in table.column_names:
            with reading(path, name):
                w = table[name].to_numpy().astype(np.float64)
                outside = ~((w >= 0) & (w <= 1 + _ROUNDING))
                if outside.any():
                    row = int(np.argmax(outside))
                    raise ValueError(f"{row_name(row, ids)} is {w[row]:g}, outside 0…1")
            yield w


def _plain(value: Any) -> Any:
    """Return NumPy scalars and arrays as JSON values, paths as texts, and NaN, which JSON lacks, as null."""
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
