"""Where every audited example lies on a map of two dimensions, and what it can be coloured by there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from weakspot.explain.neighbour_maps import FEWEST, neighbour_map
from weakspot.explain.projection import projection
from weakspot.findings.examined import Judged
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import Categorical, categorise
from weakspot.predictions.reading import read_parquet, reading
from weakspot.slices.tree import ClusterNode
from weakspot.tasks import QuestionAnswering, Regression

MapKind = Literal["pca", "umap", "pacmap", "none"]

KINDS = ("pca", "umap", "pacmap", "none")

ATTRIBUTE = "attribute:"
"""Before the name of a column that is an attribute of the data."""

ORDERED = b"ordered"
"""Key of a column's metadata where its values are ranges, from low to high."""

_STEPS = 65_535  # into which the longer side is divided
_CATEGORY = pa.dictionary(pa.int32(), pa.string())
_KNOWN = {
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
_ALWAYS = ("row", "id", "x", "y")

NO_MAP: pa.Table = pa.schema([(name, _KNOWN[name]) for name in _ALWAYS], {"map": "none"}).empty_table()


def map_of(
    judged: Judged,
    attributes: Sequence[Categorical],
    kind: MapKind = "pca",
    seed: int = 0,
    tree: ClusterNode | None = None,
) -> pa.Table:
    """The map of the audited examples, a row for each.

    Args:
        judged: The audited examples.
        attributes: What describes them.
        kind: By principal components, UMAP or PaCMAP; "none" makes no map.
        seed: Of samples.
        tree: The cluster tree, for methods that have one.

    Returns:
        Columns `row`, `id`, `x` and `y` in 65 535ths of the longer side, and where they are known `label`,
        `prediction`, `correct`, `loss`, `count` and `attribute:NAME`; of a tree `leaf`, the id of the leaf that an
        example lies in, null for one that was not searched. Empty where there is no map, or where all
        examples lie in one point.
    """
    p = judged.p
    if kind == "none" or p.embeddings.shape[1] == 0:
        return NO_MAP
    kind = kind if len(p) >= FEWEST else "pca"
    at = projection(p.embeddings, seed) if kind == "pca" else neighbour_map(p.embeddings, kind, seed)
    if not np.ptp(at, axis=0).any():
        return NO_MAP
    x, y = _steps(at)
    columns: dict[str, pa.Array] = {
        "row": pa.array(judged.rows, pa.int64()),
        "id": pa.array(p.ids, pa.string()),
        "x": pa.array(x),
        "y": pa.array(y),
    }
    ordered: set[str] = set()
    for name, values in (("label", p.labels), ("prediction", p.predictions)):
        if (found := _classes(name, values, p)) is not None:
            columns[name] = _encoded(found)
            ordered |= {name} if found.ranges else set()
    if p.correct is not None and judged.unit_errors is None:
        columns["correct"] = pa.array(np.asarray(p.correct, dtype=bool))
    if p.losses is not None:
        columns["loss"] = pa.array(p.losses, pa.float32())
    if p.counts is not None:
        columns["count"] = pa.array(p.counts, pa.float32())
    if tree is not None:
        columns["leaf"] = _leaves(tree, judged.rows)
    columns |= {ATTRIBUTE + one.name: _encoded(one) for one in attributes}
    ordered |= {ATTRIBUTE + one.name for one in attributes if one.ranges}
    return pa.table(list(columns.values()), _schema(list(columns), ordered, kind))


def kind_of(table: pa.Table) -> str:
    """What a map was made by."""
    found = (table.schema.metadata or {}).get(b"map", b"pca").decode()
    return found if found in KINDS else "pca"


def read_map(path: Path) -> pa.Table:
    """A map that was saved, each of its columns of the type that it must have.

    Raises:
        DamagedError: If it cannot be read.
    """
    table = read_parquet(path)
    with reading(path):
        for name in _ALWAYS:
            table.column(name)
        unknown = [n for n in table.column_names if n not in _KNOWN and not n.startswith(ATTRIBUTE)]
        if unknown:
            raise ValueError(f"there is a column {unknown[0]!r}")
        for name in set(table.column_names) & {*_ALWAYS, "correct", "count"}:
            if table.column(name).null_count:
                raise ValueError(f"column {name!r} has no value in some rows")
        ordered = [field.name for field in table.schema if ORDERED in (field.metadata or {})]
        found = table.cast(_schema(table.column_names, ordered, kind_of(table)))
        for name in set(found.column_names) & {"loss", "count"}:
            if not np.isfinite(found.column(name).drop_null().to_numpy()).all():
                raise ValueError(f"column {name!r} holds NaN or infinity")
        return found


def same_map(one: pa.Table, other: pa.Table) -> bool:
    """Whether two maps say the same, in whatever order they hold the values of a category."""

    def plain(table: pa.Table) -> pa.Table:
        kinds = [pa.string() if pa.types.is_dictionary(field.type) else field.type for field in table.schema]
        return table.cast(pa.schema(map(pa.Field.with_type, table.schema, kinds), table.schema.metadata))

    return bool(plain(one).equals(plain(other), check_metadata=True))


def _leaves(tree: ClusterNode, rows: Int[np.ndarray, " n"]) -> pa.Array:
    """The leaf that each row lies in; null for one that lies in none."""
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
        pa.field(name, _KNOWN.get(name, _CATEGORY), metadata={ORDERED: b"1"} if name in ordered else None)
        for name in names
    ]
    return pa.schema(fields, {"map": kind})


def _steps(at: Float[np.ndarray, "n 2"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Coordinates as whole numbers, both sides by the same measure."""
    low = at.min(axis=0)
    longest = float((at.max(axis=0) - low).max())
    steps = np.rint((at.astype(np.float64) - low) / longest * _STEPS).astype(np.uint16)
    return steps[:, 0], steps[:, 1]


def _classes(name: str, values: np.ndarray | None, p: Predictions) -> Categorical | None:
    """Labels or predictions as categories: sets of classes by their names, numbers in ranges; no answers."""
    if values is None or isinstance(p.task, QuestionAnswering):
        return None
    if isinstance(p.task, Regression) or (values.ndim == 1 and not p.classes()):
        described = categorise(pa.table({name: np.asarray(values)}))
        return described[0] if described else None
    if values.ndim == 1:
        return Categorical(name, p.classes(), np.asarray(values, dtype=np.int64))
    _, first, codes = np.unique(values, axis=0, return_index=True, return_inverse=True)
    return Categorical(name, tuple(p.name_of(values, int(row)) or "" for row in first), codes.ravel())


def _encoded(one: Categorical) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(one.codes, pa.int32()), pa.array(one.values, pa.string()))
