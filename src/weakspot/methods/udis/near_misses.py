"""The clusters that came closest to failing, for when none fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from weakspot.methods.base import NearMiss
from weakspot.slices import ClusterNode

_MOST_MISSES = 3

Measure = Literal["accuracy", "f1"]


def worst_clusters(tree: ClusterNode, measure: Measure, share: float, smallest: float) -> list[NearMiss]:
    """Return the three clusters of the cut that came closest to failing, worst first.

    Args:
        tree: The tree, in which none fails.
        measure: The measure that clusters are judged by.
        share: A cluster fails below this share of the measure of all examples.
        smallest: Only a cluster of more examples can fail.

    Returns:
        Those with the lowest score; among ties the higher loss comes first. Clusters without an error are left out, and
        if the overall score is 0, there are none.
    """
    threshold = share * _score(tree, measure)
    if threshold == 0:
        return []  # If every example is wrong, no cluster is worse.
    candidates = sorted(
        (leaf for leaf in tree.leaves() if leaf.size > smallest and leaf.wrong > 0),
        key=lambda leaf: (_score(leaf, measure), -(leaf.loss or 0.0)),
    )
    return [
        NearMiss(
            leaf.id, leaf.size, measure, _score(leaf, measure), threshold, _score(leaf, measure) - threshold
        )
        for leaf in candidates[:_MOST_MISSES]
    ]


def no_failing_message(
    tree: ClusterNode | None, measure: Measure, share: float, smallest: float, misses: Sequence[NearMiss]
) -> str:
    """Report that no cluster fails, where the threshold lies, and how far from it the worst clusters are.

    Args:
        tree: The tree, in which none fails, if there is one.
        measure: The measure that clusters are judged by.
        share: A cluster fails below this share of the measure of all examples.
        smallest: Only a cluster of more examples can fail.
        misses: The clusters that came closest to it.

    Returns:
        Full sentences.
    """
    what = "an F1" if measure == "f1" else "an accuracy"
    below = f"{share:g} times that of all"
    if tree is not None:
        below = f"{_percent(share * _score(tree, measure))} ({below})"
    sentences = [
        f"No cluster fails: none of more than {smallest:g} examples has {what} below {below}; "
        "method.accuracy_threshold sets this factor."
    ]
    if misses:
        nearest = [
            f"{miss.size:g} examples at {_percent(miss.score)}, {100 * miss.above:.1f} points above it"
            for miss in misses
        ]
        sentences.append(f"The worst: {'; '.join(nearest)}.")
    elif tree is not None and tree.wrong == 0:
        sentences.append("Every example is right.")
    elif tree is not None and tree.accuracy > 0:
        sentences.append("The clusters that are large enough have no errors.")
    return " ".join(sentences)


def _score(node: ClusterNode, measure: Measure) -> float:
    f1 = node.f1 if node.f1_category is None else node.f1_category
    return node.accuracy if measure == "accuracy" or f1 is None else f1


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\u202f%"
