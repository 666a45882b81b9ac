"""Conversion of statistics and cluster trees to the plain values of `slices.json` and back, with every type checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from weakspot.slices.statistics import ClusterStatistics, SliceStatistics
from weakspot.slices.tree import ClusterNode


@dataclass(frozen=True)
class _Links:
    children: list[int]


_FINITE = ConfigDict(allow_inf_nan=False)
_STATISTICS = TypeAdapter(list[SliceStatistics], config=_FINITE)
_NODES = TypeAdapter(list[ClusterNode], config=_FINITE)
_LINKS = TypeAdapter(list[_Links])

T = TypeVar("T")


def statistics_to_json(statistics: Sequence[SliceStatistics]) -> list[dict[str, Any]]:
    """Return the statistics of every slice as mappings."""
    return [asdict(one) for one in statistics]


def statistics_from_json(values: Sequence[Any], version: int, n: int) -> list[SliceStatistics]:
    """Return the statistics of every slice from the values in a file.

    Args:
        values: The statistics as mappings.
        version: The format of the file.
        n: How many examples the slices have.

    Raises:
        ValueError: A value is missing, of another type, or names a row outside the n examples; the error says where.
    """
    statistics = _validate(
        _STATISTICS.validate_json, [_upgrade_format_2(one) for one in values] if version < 3 else values
    )
    for one in statistics:
        _check_rows((row for near in (one.cluster.nearest if one.cluster else ()) for row in near.members), n)
    return statistics


def tree_to_json(tree: ClusterNode | None) -> list[dict[str, Any]] | None:
    """Return the nodes as a list, the root first, with `children` as positions: JSON and Python limit nesting."""
    if tree is None:
        return None
    nodes, flat = [tree], []
    for node in nodes:  # grows as it is read
        below = list(range(len(nodes), len(nodes) + len(node.children)))
        nodes.extend(node.children)
        attributes = [asdict(one) for one in node.top_attributes]
        # not `asdict`, which would copy all rows
        flat.append({**vars(node), "top_attributes": attributes, "children": below})
    return flat


def tree_from_json(values: Sequence[Any] | None, n: int) -> ClusterNode | None:
    """Return the tree of the nodes that `tree_to_json` listed; each node but the first must have one parent.

    Args:
        values: The nodes, or None for no tree.
        n: How many examples the slices have.

    Raises:
        ValueError: A value is missing, of another type, or names a row outside the n examples, or the nodes do
            not form a tree; the error says where.
    """
    if values is None:
        return None
    if not values or not all(isinstance(value, dict) for value in values):
        raise ValueError("a tree is a list of one object or more")
    nodes = _validate(_NODES.validate_json, [{**value, "children": []} for value in values])
    links = _validate(_LINKS.validate_json, [{"children": value.get("children", [])} for value in values])
    parents = [0] * len(nodes)
    for position, link in enumerate(links):
        for child in link.children:
            if not position < child < len(nodes):
                raise ValueError(f"node {position} has the child {child}, which is not a later node")
            parents[child] += 1
    strays = [position for position, many in enumerate(parents) if position and many != 1]
    if strays:
        raise ValueError(f"node {strays[0]} has {parents[strays[0]]} parents instead of one")
    for position in reversed(range(len(nodes))):
        node = nodes[position]
        _check_rows((*node.members, *node.wrong_members), n)
        nodes[position] = replace(node, children=tuple(nodes[child] for child in links[position].children))
    return nodes[0]


def _upgrade_format_2(values: Any) -> Any:
    """Convert statistics of format 2, where a cluster's statistics lay among the slice's own."""
    if not isinstance(values, Mapping) or "cluster" not in values:
        return values
    cluster = {one.name: values[one.name] for one in fields(ClusterStatistics) if one.name in values}
    nearest = values.get("nearest") or {}
    cluster["nearest"] = [{"sense": sense, **one} for sense, one in nearest.items() if one]
    cluster["co_predicted"] = [
        {"name": one["category"], "share": one["share"], "overall": one["overall"]}
        for one in values.get("co_predicted", ())
    ]
    return {**values, "cluster": cluster}


def _check_rows(rows: Iterable[int], n: int) -> None:
    outside = next((row for row in rows if not 0 <= row < n), None)
    if outside is not None:
        raise ValueError(f"it has the member {outside}, but there are {n} examples")


def _validate(validate: Callable[..., T], values: Any) -> T:
    """Validate values as JSON: lists may become tuples, but nothing else is converted."""
    try:
        return validate(json.dumps(values, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}") from None
