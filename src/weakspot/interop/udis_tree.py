"""The published UDIS tool's tree files (`fc_treeData.json`): how they are checked, read, written and converted.

The tool writes two variants. In both, an inner node has `id`, `leaf` = "False" and two `children`; a leaf has `id`,
`leaf` = "True", `images`, `inc_images` (the wrong ones) and `loss`. The other fields are:
multi-label    acc, f1 (over all categories together) and f1_c (mean over categories), all in percent
single-label   name "<id>-<accuracy>" and count (inner nodes too), inc_count, conf, top_attr, avg_vec (mean
               embedding) and dist_vec (distribution of the attributes)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from weakspot.predictions.atomic_files import atomic_file, writing
from weakspot.predictions.reading import DamagedError, reading
from weakspot.slices import ClusterNode, Slices
from weakspot.slices.failing_rule import ACCURACY_THRESHOLD, fails
from weakspot.slices.statistics import AttributeShare

PublishedTree = dict[str, Any]
"""The root of a tree in either variant, as in its file."""

FILE_NAME = "fc_treeData.json"
"""The name of the file that the tool writes."""

_LARGEST = 2**53
_LARGEST_REAL = 1e300


def read(path: str | Path) -> PublishedTree:
    """Return the tree in a file of either variant, unchanged, once it has passed `check`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not such a tree; the error names the file, the node and the field.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; give the fc_treeData.json that the published tool wrote")
    with reading(path):
        content = path.read_bytes()
    return parse(content, str(path))


def parse(content: bytes, name: str) -> PublishedTree:
    """Return the tree in the content of a file, as `read` does.

    Args:
        content: The bytes of the file.
        name: The name of the file, for errors.

    Raises:
        ValueError: The content is not such a tree; the error names the file, the node and the field.
    """
    try:
        with reading(Path(name)):
            tree = json.loads(content.decode())
            check(tree)
            json.dumps(tree, ensure_ascii=False).encode()  # a lone surrogate is not text
    except DamagedError as error:
        reason = "it is nested too deeply" if isinstance(error.__cause__, RecursionError) else error.__cause__
        raise DamagedError(f"{name} is not a tree of the published UDIS tool: {reason}") from error
    return dict(tree)


def write(tree: PublishedTree, path: str | Path) -> Path:
    """Write a tree of either variant (from `export` or `read`), completely or not at all.

    Raises:
        ValueError: This is not such a tree, or it is too deep for JSON.
        OSError: The disk is full or not writable; the message says what to do.
    """
    check(tree)
    path = Path(path)
    try:
        text = json.dumps(tree)
    except RecursionError as error:
        raise ValueError(f"{path}: the tree is nested too deeply for a JSON file") from error
    with writing(path.parent), atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def check(tree: Any) -> None:
    """Raise ValueError, naming the node and the field, unless this is a tree of one of the two variants."""
    single_label = isinstance(tree, dict) and "name" in tree
    ids: set[int] = set()
    clustered: set[str | int] = set()  # images of the leaves so far
    for where, node in _walk(tree):
        if not isinstance(node, dict):
            raise ValueError(f"{where} is not an object")
        _check_field(where, node, "id", _is_whole)
        where = f"{where} (id {node['id']})"
        if node["id"] in ids:
            raise ValueError(f"{where}: another node has the same id")
        ids.add(node["id"])
        if node.get("leaf") not in ("True", "False"):
            raise ValueError(f'{where}: \'leaf\' must be "True" or "False"')
        leaf = node["leaf"] == "True"
        for name, rule in _fields(single_label, leaf).items():
            _check_field(where, node, name, rule)
        if leaf and not len(node["inc_images"]) <= len(node["images"]) > 0:
            raise ValueError(f"{where}: a cluster must have images, and no more wrong ones than images")
        if leaf:
            images = set(node["images"])
            if len(images) < len(node["images"]) or images & clustered:
                raise ValueError(f"{where}: an image occurs in it twice, or in another cluster as well")
            if not images.issuperset(node["inc_images"]):
                raise ValueError(f"{where}: a wrong image is not among its images")
            clustered |= images
        if not leaf and len(node["children"]) != 2:
            raise ValueError(f"{where}: an inner node must have two children")


def export(slices: Slices) -> PublishedTree:
    """Return the tree of slices that UDIS found, in the published format.

    It is of the multi-label variant for a multi-label task, otherwise of the single-label one.

    Args:
        slices: The slices that `UDIS` found; their ids become the images, weighted by their counts.

    Returns:
        The tree, for `write`.

    Raises:
        ValueError: The slices have no tree, or lack something that the format requires.
    """
    tree = slices.tree
    if tree is None or "shares" not in slices.parameters:
        raise ValueError("only slices that UDIS itself has found have a tree with the mean of every cluster")
    single_label = tree.f1_macro is None
    required = ("loss", "confidence") if single_label else ("loss", "f1", "f1_macro")
    missing = [name for name in required if getattr(tree, name) is None]
    if missing:
        raise ValueError(
            f"the published format needs the {' and '.join(missing)} of every cluster, which come from outputs and "
            "labels; if you have them, give them with the predictions"
        )
    describe = _single_label_fields(slices) if single_label else _multi_label_fields(slices.ids)

    published: dict[int, PublishedTree] = {}  # nodes that wait for their parents
    for node in reversed(list(tree.walk())):  # children before their parents
        head: PublishedTree = {"id": node.id}
        if single_label:
            head |= {"name": f"{node.id}-{int(_percent_correct(node))}", "count": int(node.size)}
        if node.leaf:
            published[node.id] = head | describe(node) | {"leaf": "True"}
        else:
            children = [published.pop(child.id) for child in node.children]
            published[node.id] = head | {"leaf": "False", "children": children}
    return published[tree.id]


def to_tree(
    published: PublishedTree, ids: Sequence[str] | np.ndarray, accuracy_threshold: float = ACCURACY_THRESHOLD
) -> ClusterNode:
    """Return a published tree as a cluster tree like `UDIS.tree_`, with the fields that its file holds.

    An inner node aggregates its leaves. A leaf of more than 5 images fails if its accuracy is below
    `accuracy_threshold` times the overall accuracy.

    Args:
        published: The tree, from `read` or `export`.
        ids: The ids of the record that its images belong to; an image is also matched by its file name alone.
        accuracy_threshold: A share of the overall accuracy.

    Raises:
        ValueError: An image is not among the ids.
    """
    rows = {str(name): row for row, name in enumerate(ids)}
    numbers = {
        node["id"]: number
        for number, node in enumerate(sorted(leaves_of(published), key=lambda node: int(node["id"])))
    }

    nodes: dict[int, ClusterNode] = {}  # that wait for their parents
    for node in reversed([node for _, node in _walk(published)]):  # children before their parents
        if node["leaf"] == "True":
            nodes[node["id"]] = _leaf(node, rows, numbers[node["id"]])
            continue
        children = tuple(nodes.pop(child["id"]) for child in node["children"])
        size = sum(child.size for child in children)
        wrong = sum(child.wrong for child in children)
        losses = [child.size * child.loss for child in children if child.loss is not None]
        loss = sum(losses) / size if len(losses) == len(children) else None
        nodes[node["id"]] = ClusterNode(
            node["id"], size, wrong, (size - wrong) / size, loss, children=children
        )
    tree = nodes[published["id"]]
    return _with_failing_leaves(tree, accuracy_threshold)


def _with_failing_leaves(tree: ClusterNode, share: float) -> ClusterNode:
    """Return the tree with its failing leaves marked."""
    nodes: dict[int, ClusterNode] = {}
    for node in reversed(list(tree.walk())):
        children = tuple(nodes.pop(child.id) for child in node.children)
        failing = node.leaf and fails(node.size, node.accuracy, tree.accuracy, share)
        nodes[node.id] = replace(node, children=children, failing=failing)
    return nodes[tree.id]


def _leaf(node: PublishedTree, rows: Mapping[str, int], number: int) -> ClusterNode:
    members, wrong = (
        [_row(name, rows, node["id"]) for name in node[field]] for field in ("images", "inc_images")
    )
    size = len(members)

    def value_of(field: str, scale: float = 1) -> float | None:
        value = node.get(field)
        return None if value is None or math.isnan(value) else float(value / scale)

    return ClusterNode(
        id=node["id"],
        size=float(size),
        wrong=float(len(wrong)),
        accuracy=(size - len(wrong)) / size,
        loss=value_of("loss"),
        confidence=value_of("conf"),
        f1=value_of("f1", 100),
        f1_macro=value_of("f1_c", 100),
        top_attributes=tuple(AttributeShare(name) for name in node.get("top_attr", ())),
        clusters=(number,),
        members=tuple(members),
        wrong_members=tuple(wrong),
    )


def _row(image: str | int, rows: Mapping[str, int], cluster: int) -> int:
    row = rows.get(str(image), rows.get(PurePath(str(image)).name))
    if row is None:
        raise ValueError(f"cluster {cluster} holds image {image!r}, which is not among the ids of the record")
    return row


def _single_label_fields(slices: Slices) -> Callable[[ClusterNode], PublishedTree]:
    ids = slices.ids
    sizes, centers, shares = (slices.parameters[name] for name in ("sizes", "centers", "shares"))

    def describe(node: ClusterNode) -> PublishedTree:
        clusters = list(node.clusters)  # a node whose examples are all correct holds several clusters

        def mean(of_clusters: np.ndarray) -> list[float]:
            means: list[float] = np.average(of_clusters[clusters], axis=0, weights=sizes[clusters]).tolist()
            return means

        return {
            "images": ids[list(node.members)].tolist(),
            "inc_images": ids[list(node.wrong_members)].tolist(),
            "inc_count": int(node.wrong),
            "conf": node.confidence,
            "top_attr": [attribute.name for attribute in node.top_attributes],
            "avg_vec": mean(centers),
            "dist_vec": mean(shares),
            "loss": node.loss,
        }

    return describe


def _multi_label_fields(ids: np.ndarray) -> Callable[[ClusterNode], PublishedTree]:
    # The tool's own files identify COCO images by number.
    numbered = all(name.isdecimal() and str(int(name)) == name for name in ids.tolist())
    names = [int(name) for name in ids] if numbered else ids.tolist()

    def describe(node: ClusterNode) -> PublishedTree:
        return {
            "images": [names[row] for row in node.members],
            "inc_images": [names[row] for row in node.wrong_members],
            "loss": node.loss,
            "acc": _percent_correct(node),
            "f1": 100 * float(node.f1 or 0),
            "f1_c": 100 * float(node.f1_macro or 0),
        }

    return describe


def _percent_correct(node: ClusterNode) -> float:
    return float(100 * (node.size - node.wrong) / node.size)


def _walk(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield every node with a description of its position for errors, parents first."""
    stack = [("the root", tree)]
    while stack:
        where, node = stack.pop()
        yield where, node
        if isinstance(node, dict) and node.get("leaf") == "False":
            stack += [
                (f"child {i + 1} of node {node['id']}", child) for i, child in enumerate(node["children"])
            ]


def leaves_of(tree: PublishedTree) -> Iterator[PublishedTree]:
    """Return the leaves of a published tree, which are its clusters."""
    return (node for _, node in _walk(tree) if node["leaf"] == "True")


Rule = tuple[str, Callable[[Any], bool]]
"""What a field must be, in words and as a test."""


def _matches_number(value: Any) -> bool:
    """Return whether a value is a number or NaN, which the tool writes if a cluster has nothing to average."""
    return type(value) in (int, float) and (value != value or abs(value) <= _LARGEST_REAL)


def _list_of(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(type(item) in kinds for item in value)


_is_whole: Rule = ("a whole number", lambda value: type(value) is int and 0 <= value < _LARGEST)
_is_number: Rule = ("a number", _matches_number)
_is_text: Rule = ("text", lambda value: isinstance(value, str))
_is_images: Rule = ("a list of names or numbers", _list_of(str, int))
_is_texts: Rule = ("a list of text", _list_of(str))
_is_vector: Rule = ("a list of numbers", _list_of(int, float))
_is_nodes: Rule = ("a list of nodes", _list_of(dict))


def _fields(single_label: bool, leaf: bool) -> dict[str, Rule]:
    """Return the fields of a node besides `id` and `leaf`, each with its rule."""
    rules: dict[str, Rule] = {"name": _is_text, "count": _is_whole} if single_label else {}
    if not leaf:
        return rules | {"children": _is_nodes}
    rules |= {"images": _is_images, "inc_images": _is_images, "loss": _is_number}
    if not single_label:
        return rules | dict.fromkeys(("acc", "f1", "f1_c"), _is_number)
    vectors = dict.fromkeys(("avg_vec", "dist_vec"), _is_vector)
    return rules | {"inc_count": _is_whole, "conf": _is_number, "top_attr": _is_texts} | vectors


def _check_field(where: str, node: Mapping[str, Any], name: str, rule: Rule) -> None:
    if name not in node:
        raise ValueError(f"{where}: {name!r} is missing")
    kind, matches = rule
    if not matches(node[name]):
        raise ValueError(f"{where}: {name!r} must be {kind}")
