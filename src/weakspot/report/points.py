"""Packs the points of the map for the page: the columns of as many examples as there is room for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Num

from weakspot.explain.attributes import OTHERS
from weakspot.findings import Findings
from weakspot.findings.map import ATTRIBUTE, ORDERED, map_kind
from weakspot.findings.memberships import core_members
from weakspot.predictions.attributes import MISSING
from weakspot.report.folds import pack
from weakspot.report.member_csv import member_groups

MOST = 30_000
"""The maximum number of points on a page, unless it has more room."""

_MIN_POINTS = 1000  # if these do not fit, no map is drawn
_MAX_VALUES = 254  # of a column; all rarer values become one more
_ATTRIBUTES = 40  # that points can be coloured by, at most
_MAX_MEMBER_SHARE = 0.8  # the maximum share of the points that are members of findings
_FOUND_OR_RIGHT = ("finding", "slice", "correct")
_LOSSES = 65_534  # levels; the next one stands for an unknown loss
_CLIP_QUANTILE = 0.99  # quantile of the losses at which the colours end


@dataclass(frozen=True)
class ColourOption:
    """A choice of what points are coloured by.

    Attributes:
        word: The word for it in map.js.
        title: Its title.
        attribute: Whether it is an attribute of the data.
    """

    word: str
    title: str
    attribute: bool


@dataclass(frozen=True, eq=False)
class Points:
    """Holds the m points that the page draws as its map.

    Attributes:
        data: JSON that map.js reads.
        shown, total: How many examples are drawn, and how many there are.
        kind: How they are placed: pca, umap or pacmap.
        colour_options: What they can be coloured by.
        findings: Numbers of the findings that can be highlighted.
        tree: Whether nodes of the tree can be highlighted.
        rows: (m,) the row of each point in the predictions.
        inside: (m,) whether each point is a member of a finding.
    """

    data: str
    shown: int
    total: int
    kind: str
    colour_options: tuple[ColourOption, ...]
    findings: frozenset[int]
    tree: bool
    rows: Int[np.ndarray, " m"]
    inside: Bool[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class _Column:
    """What points can be coloured by: the code of each point's value."""

    name: str
    role: str  # finding, slice, correct, label, prediction, attribute
    values: Sequence[str]
    codes: Int[np.ndarray, " n"]
    ordered: bool = False

    def take(self, some: Int[np.ndarray, " m"]) -> _Column:
        return _Column(self.name, self.role, self.values, self.codes[some], self.ordered)

    def shortened(self) -> _Column:
        """Return the column with few enough values for a byte: the most frequent ones, and one for all others."""
        if len(self.values) <= _MAX_VALUES + 1:
            return self
        numbers = np.bincount(self.codes, minlength=len(self.values))
        kept = np.sort(np.argsort(-numbers, kind="stable")[:_MAX_VALUES])
        place = np.full(len(self.values), _MAX_VALUES)
        place[kept] = np.arange(_MAX_VALUES)
        return _Column(
            self.name, self.role, [*(self.values[i] for i in kept), OTHERS], place[self.codes], self.ordered
        )


def points_of(findings: Findings, room: int, most: int = MOST, seed: int = 0) -> Points | None:
    """Pack as many points of a run's map as fit.

    If there are more, a sample is drawn in which members of findings come first. Every point then records how many
    examples it stands for, so that shares remain those of the whole set.

    Args:
        findings: Findings with a map.
        room: Characters that the points may take.
        most: The maximum number of points.
        seed: The seed of the sample.

    Returns:
        The points; None if there is no map, or no room for one.
    """
    table = findings.map
    if not table.num_rows:
        return None
    columns, members = _columns(findings)
    inside = np.zeros(table.num_rows, dtype=bool)
    for found in members.values():
        inside[found] = True
    order = np.random.default_rng(seed).permutation(table.num_rows)
    while most >= _MIN_POINTS:
        rows, stand_for = _sample(inside, order, most)
        data = _pack_points(findings, columns, members, rows, stand_for)
        if len(data) <= room:
            break
        most = int(min(most, len(rows)) * min(0.95 * room / len(data), 0.9))
    else:
        return None
    return Points(
        data=data,
        shown=len(rows),
        total=table.num_rows,
        kind=map_kind(table),
        colour_options=_colour_options(table, columns),
        findings=frozenset(members),
        tree="leaf" in table.column_names and bool(findings.clusters),
        rows=table.column("row").to_numpy()[rows],
        inside=inside[rows],
    )


def _sample(
    inside: Bool[np.ndarray, " n"], order: Int[np.ndarray, " n"], most: int
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Return the m rows to draw, and how many examples each stands for."""
    n = len(order)
    if n <= most:
        return np.arange(n), np.ones(n)
    found, others = order[inside[order]], order[~inside[order]]
    many = min(len(found), max(int(_MAX_MEMBER_SHARE * most), most - len(others)))
    few = most - many
    rows = np.sort(np.concatenate([found[:many], others[:few]]))
    stand_for = np.where(inside[rows], len(found) / max(many, 1), len(others) / max(few, 1))
    return rows, stand_for


def _columns(findings: Findings) -> tuple[list[_Column], dict[int, Int[np.ndarray, " m"]]]:
    """Return what points can be coloured by, and the positions of each finding's members in the map."""
    table = findings.map
    in_finding, members = _groups(findings, "finding", len(findings.findings))
    in_slice, _ = _groups(findings, "slice", len(findings.slices))
    names = [f"{one.number}: {one.subject}" for one in findings.findings]
    columns = []
    if findings.findings:
        columns.append(_Column("finding", "finding", ["nowhere", *names], in_finding))
    if findings.slices:
        names = [one.name for one in findings.slices]
        columns.append(_Column("slice", "slice", ["nowhere", *names], in_slice))
    if "correct" in table.column_names:
        wrong = (~table.column("correct").to_numpy().astype(bool)).astype(np.int64)
        columns.append(_Column("correct", "correct", ["right", "wrong"], wrong))
    for name in ("label", "prediction"):
        if name in table.column_names:
            columns.append(_category(table, name, name))
    attributes = [name for name in table.column_names if name.startswith(ATTRIBUTE)]
    columns += [_category(table, name, "attribute") for name in attributes[:_ATTRIBUTES]]
    return [column.shortened() for column in columns], members


def _groups(
    findings: Findings, kind: str, many: int
) -> tuple[Int[np.ndarray, " n"], dict[int, Int[np.ndarray, " m"]]]:
    """Return the group in which each point has most weight, 0 for none, and the positions of each group's members."""
    rows = findings.map.column("row").to_numpy()
    table = findings.memberships
    which, most = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows))
    members = {}
    for group in member_groups(table):
        found, _, number = group.anchor.partition("-")
        if found != kind or not 1 <= int(number) <= many:
            continue
        part = table.slice(group.start, group.end - group.start)
        weights = part.column("weight").to_numpy()
        core = core_members(weights)
        weights, wanted = weights[core], part.column("row").to_numpy()[core]
        places = np.searchsorted(rows, wanted).clip(max=len(rows) - 1)
        on_map = rows[places] == wanted
        places, weights = places[on_map], weights[on_map]
        more = weights > most[places]
        which[places[more]], most[places[more]] = int(number), weights[more]
        members[int(number)] = np.sort(places)
    return which, members


def _category(table: pa.Table, name: str, role: str) -> _Column:
    whole = table.column(name).unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    values = [str(value) for value in whole.dictionary.to_pylist()]
    codes = whole.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
    if whole.null_count:
        values.append(MISSING)
    ordered = ORDERED in (table.schema.field(name).metadata or {})
    return _Column(name.removeprefix(ATTRIBUTE), role, values, codes, ordered)


def _colour_options(table: pa.Table, columns: Sequence[_Column]) -> tuple[ColourOption, ...]:
    """Return what points can be coloured by: findings, slices, outcomes, loss, labels, predictions and attributes."""
    colour_options = [
        ColourOption(str(i), _title(one), one.role == "attribute") for i, one in enumerate(columns)
    ]
    if "loss" in table.column_names:
        first = next((i for i, one in enumerate(columns) if one.role not in _FOUND_OR_RIGHT), len(columns))
        colour_options.insert(first, ColourOption("loss", "Loss", False))
    return tuple(colour_options)


def _title(column: _Column) -> str:
    """Return the title of a column; an attribute may have any name."""
    return {
        "finding": "Finding",
        "slice": "Slice",
        "correct": "Right or wrong",
        "label": "Label",
        "prediction": "Prediction",
    }.get(column.role, column.name)


def _pack_points(
    findings: Findings,
    columns: Sequence[_Column],
    members: dict[int, Int[np.ndarray, " m"]],
    rows: Int[np.ndarray, " m"],
    stand_for: Float[np.ndarray, " m"],
) -> str:
    """Return JSON of packed parts: bytes in planes, which compress better than one number after another."""
    table = findings.map.take(pa.array(rows))
    place = np.full(findings.map.num_rows, -1)
    place[rows] = np.arange(len(rows))
    shown_members = {number: place[found][place[found] >= 0] for number, found in members.items()}
    if "count" in table.column_names:
        stand_for = stand_for * table.column("count").to_numpy()
    linked = "leaf" in table.column_names and bool(findings.clusters)
    losses = _losses(table.column("loss").to_numpy()) if "loss" in table.column_names else None
    header = {
        "n": len(rows),
        "columns": [
            {"name": _title(c), "role": c.role, "values": list(c.values), "ordered": c.ordered}
            for c in columns
        ],
        "findings": [[number, len(found)] for number, found in shown_members.items()],
        "names": {one.number: one.subject for one in findings.findings},
        "loss": None if losses is None else losses[1],
        "tree": _tree(findings) if linked else None,
    }
    steps = [np.diff(found, prepend=0) for found in shown_members.values()]
    parts = {
        "header": pack(json.dumps(header)),
        "ids": pack(json.dumps(table.column("id").to_pylist())),
        "x": planes(table.column("x").to_numpy(), np.uint16),
        "y": planes(table.column("y").to_numpy(), np.uint16),
        "columns": [planes(column.codes[rows], np.uint8) for column in columns],
        "members": planes(np.concatenate(steps) if steps else np.empty(0), np.uint32),
        "loss": None if losses is None else planes(losses[0], np.uint16),
        "leaf": planes(_nodes(findings, table), np.uint32) if linked else None,
        "weight": None if (stand_for == 1).all() else planes(stand_for, np.float32),
    }
    return json.dumps(parts, separators=(",", ":"))


def _tree(findings: Findings) -> dict[str, object]:
    """Return the nodes of the tree, parents first: ids, positions of parents (-1 for the root), and names of slices."""
    clusters = findings.clusters
    return {
        "ids": [one.id for one in clusters],
        "parents": [-1 if one.parent is None else one.parent for one in clusters],
        "names": {
            place: findings.slices[one.slice - 1].name
            for place, one in enumerate(clusters)
            if one.slice is not None
        },
    }


def _nodes(findings: Findings, table: pa.Table) -> Int[np.ndarray, " m"]:
    """Return the position (from 1 on) of each point's leaf among the nodes; 0 if it has none."""
    ids = np.array([one.id for one in findings.clusters])
    order = np.argsort(ids)
    leaves = table.column("leaf").fill_null(-1).to_numpy()
    at = order[np.searchsorted(ids[order], leaves).clip(max=len(ids) - 1)]
    return np.where(ids[at] == leaves, at + 1, 0)


def _losses(losses: Float[np.ndarray, " m"]) -> tuple[Int[np.ndarray, " m"], dict[str, float]]:
    """Return losses as levels of low + scale · (exp(t · level / levels) - 1), which are dense where most losses lie."""
    known = np.isfinite(losses)
    if not known.any():
        return np.full(len(losses), _LOSSES + 1), {
            "low": 0.0,
            "scale": 1.0,
            "top": 1.0,
            "levels": _LOSSES,
            "clip": 1.0,
        }
    some = losses[known].astype(np.float64)
    low = float(some.min())
    scale = float(np.median(some) - low) or float(np.ptp(some)) or 1.0
    top = float(np.log1p(np.ptp(some) / scale)) or 1.0
    levels = np.full(len(losses), _LOSSES + 1)
    levels[known] = np.rint(np.log1p((some - low) / scale) / top * _LOSSES)
    clip = float(np.quantile(some, _CLIP_QUANTILE)) if len(some) > 1 else float(some.max())
    return levels, {"low": low, "scale": scale, "top": top, "levels": _LOSSES, "clip": clip}


def planes(values: Num[np.ndarray, " n"], kind: type[np.generic]) -> str:
    """Pack the first bytes of all numbers, then their second bytes, and so on; little-endian."""
    plain = np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<"))
    return pack(plain.view(np.uint8).reshape(-1, plain.itemsize).T.tobytes())
