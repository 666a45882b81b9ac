"""The table of a map: where every audited example lies in two dimensions, and what it can be coloured by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from weakspot.explain.neighbour_maps import MIN_MAPPED_EXAMPLES, neighbour_map
from weakspot.explain.projection import projection
from weakspot.findings.audited_examples import AuditedExamples
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import Categorical, categorise
from weakspot.predictions.reading import read_parquet, reading
from weakspot.slices.tree import ClusterNode
from weakspot.tasks import QuestionAnswering, Regression

MapKind = Literal["pca", "umap", "pacmap", "none"]

KINDS: tuple[MapKind, ...] = get_args(MapKind)

ATTRIBUTE = "attribute:"
"""The prefix of a column that is an attribute of the data."""

ORDERED = b"ordered"
"""The key in a column's metadata that marks its values as ranges, from low to high."""

_STEPS = 65_535  # that the longer side is divided into
_CATEGORY = pa.dictionary(pa.int32(), pa.string())
_COLUMN_TYPES = {
    "row": pa.int64(),
    "id": pa.string(),
    "x": pa.uint16(),
    "y": pa.uint16(),
    "label": _CATEGORY,
    "prediction": _CATEGORY,
    "correct": pa.bool_(),
    "loss": pa.float32(),
    "count": pa.float32(),
    "leaf": pa.int64(),
}
_REQUIRED = ("row", "id", "x", "y")

NO_MAP: pa.Table = pa.schema(
    [(name, _COLUMN_TYPES[name]) for name in _REQUIRED], {"map": "none"}
).empty_table()


def build_map(
    audited: AuditedExamples,
    attributes: Sequence[Categorical],
    kind: MapKind = "pca",
    seed: int = 0,
    tree: ClusterNode | None = None,
) -> pa.Table:
    """Make the map of the audited examples, a row for each.

    Args:
        audited: The audited examples.
        attributes: Their attributes, as categories.
        kind: How they are placed: by principal components ("pca"), UMAP or PaCMAP; "none" makes no map.
        seed: The seed of samples.
        tree: The cluster tree, for methods that have one.

    Returns:
        Columns `row`, `id`, `x` and `y` in 65 535ths of the longer side, and, if known, `label`, `prediction`,
        `correct`, `loss`, `count` and `attribute:NAME`; with a tree also `leaf`, the id of the leaf that an example
        lies in, null for one that was not searched. The table is empty if there is no map, or if all examples lie in
        one point.
    """
    record = audited.record
    if kind == "none" or record.embeddings.shape[1] == 0:
        return NO_MAP
    kind = kind if len(record) >= MIN_MAPPED_EXAMPLES else "pca"
    positions = (
        projection(record.embeddings, seed) if kind == "pca" else neighbour_map(record.embeddings, kind, seed)
    )
    if not np.ptp(positions, axis=0).any():
        return NO_MAP
    x, y = _as_steps(positions)
    columns: dict[str, pa.Array] = {
        "row": pa.array(audited.rows, pa.int64()),
        "id": pa.array(record.ids, pa.string()),
        "x": pa.array(x),
        "y": pa.array(y),
    }
    ordered: set[str] = set()
    for name, values in (("label", record.labels), ("prediction", record.predictions)):
        if (found := _as_categories(name, values, record)) is not None:
            columns[name] = _dictionary_array(found)
            ordered |= {name} if found.ranges else set()
    if record.correct is not None and audited.unit_errors is None:
        columns["correct"] = pa.array(np.asarray(record.correct, dtype=bool))
    if record.losses is not None:
        columns["loss"] = pa.array(record.losses, pa.float32())
    if record.counts is not None:
        columns["count"] = pa.array(record.counts, pa.float32())
    if tree is not None:
        columns["leaf"] = _leaf_of_each_row(tree, audited.rows)
    columns |= {ATTRIBUTE + one.name: _dictionary_array(one) for one in attributes}
    ordered |= {ATTRIBUTE + one.name for one in attributes if one.ranges}
    return pa.table(list(columns.values()), _schema(list(columns), ordered, kind))


def map_kind(table: pa.Table) -> str:
    """Return how the examples of a map are placed: pca, umap, pacmap or none."""
    found = (table.schema.metadata or {}).get(b"map", b"pca").decode()
    return found if found in KINDS else "pca"


def read_map(path: Path) -> pa.Table:
    """Read a saved map, and check the type of every column.

    Raises:
        DamagedError: If it cannot be read.
    """
    table = read_parquet(path)
    with reading(path):
        for name in _REQUIRED:
            table.column(name)
        unknown = [n for n in table.column_names if n not in _COLUMN_TYPES and not n.startswith(ATTRIBUTE)]
        if unknown:
            raise ValueError(f"column {unknown[0]!r} is unknown")
        for name in set(table.column_names) & {*_REQUIRED, "correct", "count"}:
            if table.column(name).null_count:
                raise ValueError(f"column {name!r} has no value in some rows")
        ordered = [field.name for field in table.schema if ORDERED in (field.metadata or {})]
        found = table.cast(_schema(table.column_names, ordered, map_kind(table)))
        for name in set(found.column_names) & {"loss", "count"}:
            if not np.isfinite(found.column(name).drop_null().to_numpy()).all():
                raise ValueError(f"column {name!r} holds NaN or infinity")
        return found


def same_map(one: pa.Table, other: pa.Table) -> bool:
    """Return whether two maps are the same, in whatever order they hold the values of a category."""

    def plain(table: pa.Table) -> pa.Table:
        kinds = [pa.string() if pa.types.is_dictionary(field.type) else field.type for field in table.schema]
        return table.cast(pa.schema(map(pa.Field.with_type, table.schema, kinds), table.schema.metadata))

    return bool(plain(one).equals(plain(other), check_metadata=True))


def _leaf_of_each_row(tree: ClusterNode, rows: Int[np.ndarray, " n"]) -> pa.Array:
    """Return the id of the leaf that each row lies in; null for a row that lies in none."""
    leaves = list(tree.leaves())
    members = np.concatenate([np.asarray(leaf.members, dtype=np.int64) for leaf in leaves])
    nodes = np.repeat([leaf.id for leaf in leaves], [len(leaf.members) for leaf in leaves])
    known = np.isin(rows, members)
    found = np.zeros(len(rows), dtype=np.int64)
    if known.any():
        order = np.argsort(members)
        found[known] = nodes[order][np.searchsorted(members[order], rows[known])]
    return pa.array(found, pa.int64(), mask=~known)


def _schema(names: Sequence[str], ordered: Collection[str], kind: str) -> pa.Schema:
    fields = [
        pa.field(
            name, _COLUMN_TYPES.get(name, _CATEGORY), metadata={ORDERED: b"1"} if name in ordered else None
        )
        for name in names
    ]
    return pa.schema(fields, {"map": kind})


def _as_steps(positions: Float[np.ndarray, "n 2"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return coordinates (n, 2) as whole numbers, both axes on the same scale."""
    low = positions.min(axis=0)
    longest = float((positions.max(axis=0) - low).max())
    steps = np.rint((positions.astype(np.float64) - low) / longest * _STEPS).astype(np.uint16)
    return steps[:, 0], steps[:, 1]


def _as_categories(name: str, values: np.ndarray | None, p: Predictions) -> Categorical | None:
    """Return labels or predictions as categories: sets of classes by name, numbers in ranges; None for answers."""
    if values is None or isinstance(p.task, QuestionAnswering):
        return None
    if isinstance(p.task, Regression) or (values.ndim == 1 and not p.classes()):
        described = categorise(pa.table({name: np.asarray(values)}))
        return described[0] if described else None
    if values.ndim == 1:
        return Categorical(name, p.classes(), np.asarray(values, dtype=np.int64))
    _, first, codes = np.unique(values, axis=0, return_index=True, return_inverse=True)
    return Categorical(name, tuple(p.name_of(values, int(row)) or "" for row in first), codes.ravel())


def _dictionary_array(one: Categorical) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(one.codes, pa.int32()), pa.array(one.values, pa.string()))
