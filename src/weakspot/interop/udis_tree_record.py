"""The record and the slices of a published UDIS tree alone, without data or a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weakspot.interop.udis_tree import PublishedTree, leaves_of, to_tree
from weakspot.predictions import Predictions
from weakspot.slices import ClusterNode, Slices
from weakspot.slices.failing_rule import ACCURACY_THRESHOLD, SMALLEST, worst_first
from weakspot.slices.statistics import ClusterStatistics, describe


def record_of(published: PublishedTree) -> Predictions:
    """Return a record of a published tree's images: whether each is right, and the mean loss of its cluster.

    Args:
        published: A tree from `udis_tree.read` or `udis_tree.export`.

    Returns:
        Predictions without embeddings, cluster after cluster, with the wrong images of each first. Losses are cluster
        means, so that means over clusters are right; there are no losses if the tree lacks one.

    Raises:
        ValueError: Two images have the same name, one as text and one as a number.
    """
    ids: list[str] = []
    correct: list[bool] = []
    losses: list[float] = []
    for leaf in leaves_of(published):
        wrong = set(leaf["inc_images"])
        images = sorted(leaf["images"], key=lambda image: image not in wrong)
        ids += map(str, images)
        correct += [image not in wrong for image in images]
        losses += [float(leaf["loss"])] * len(images)
    if len(set(ids)) < len(ids):
        raise ValueError("the tree has two images of the same name, one as text and one as a number")
    y = np.array(losses)
    return Predictions(
        np.array(ids, dtype=np.str_),
        np.empty((len(ids), 0)),
        losses=y if np.isfinite(y).all() else None,
        correct=np.array(correct),
    )


def slices_of(
    published: PublishedTree,
    record: Predictions,
    accuracy_threshold: float = ACCURACY_THRESHOLD,
    source: str = "",
) -> Slices:
    """Return the failing clusters of a published tree, worst first, as if UDIS had just found them.

    Args:
        published: A tree from `udis_tree.read` or `udis_tree.export`.
        record: The tree's record, from `record_of`.
        accuracy_threshold: The share of the overall accuracy below which a cluster fails.
        source: Where the tree comes from.

    Returns:
        The slices, with the tree. They have no parameters, so they cannot be applied to other examples.
    """
    tree = to_tree(published, record.ids, accuracy_threshold)
    failing = worst_first(leaf for leaf in tree.leaves() if leaf.failing)
    weights = np.zeros((len(failing), len(record)))
    for w, leaf in zip(weights, failing, strict=True):
        w[list(leaf.members)] = 1
    described = describe(weights, record)
    settings = {
        "accuracy_threshold": accuracy_threshold,
        "min_cluster_size": SMALLEST,
        "metric": "accuracy",
        "search": "published",
    }
    return Slices(
        method="udis",
        ids=record.ids,
        weights=weights,
        statistics=[
            replace(one, cluster=_cluster(leaf)) for one, leaf in zip(described, failing, strict=True)
        ],
        tree=tree,
        provenance={"settings": settings, "source": source, "predictions": {}},
    )


def _cluster(leaf: ClusterNode) -> ClusterStatistics:
    return ClusterStatistics(
        cluster=leaf.clusters[0],
        node=leaf.id,
        accuracy=leaf.accuracy,
        wrong=leaf.wrong,
        loss=leaf.loss,
        confidence=leaf.confidence,
        f1=leaf.f1,
        f1_macro=leaf.f1_macro,
        top_attributes=leaf.top_attributes,
    )
