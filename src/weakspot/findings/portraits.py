"""What groups of examples look like: attributes, labels, words, people, and the examples to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from weakspot.explain.attributes import Accuracy, accuracies, distributions, rank
from weakspot.explain.participants import participants
from weakspot.explain.words import Word, distinctive_words
from weakspot.findings.examined import Judged
from weakspot.findings.naming import LABEL, Condition, Description, Namer
from weakspot.findings.record import Portrait
from weakspot.findings.regions import Region
from weakspot.predictions.attributes import categorise
from weakspot.slices import Weights
from weakspot.slices.statistics import SliceStatistics, describe
from weakspot.tasks import Rating

SHOWN = 24
"""Examples of a finding or slice that are shown, unless more are asked for."""

_RATED = ("user", "movie", "item")  # attributes that say who rated and what
_LABEL_ADDS = 0.05  # of F1 that a name within one label must be better by than a name among all
_FEWEST, _RAREST = 10, 0.01  # examples, and share of all: a value below either is a rarity
_WEAK_VALUES = 8


class Painter:
    """Describes groups of the audited examples; looks at attributes and texts once for all of them.

    Args:
        judged: The audited examples.
        hide: Attributes that explain nothing, because they restate the target.
        texts: What is written in each example of the whole record.
        better: Whether the best-served examples are sought: the lowest losses are then shown first.
        shown: How many top examples there are of a group.
    """

    def __init__(
        self,
        judged: Judged,
        hide: Sequence[str],
        texts: Sequence[str] | None,
        better: bool,
        shown: int = SHOWN,
    ) -> None:
        self.judged = judged
        self.better = better
        self.shown = shown
        restating = _restating(judged)
        self.hidden = [name for name in judged.p.attributes.column_names if name in {*hide, *restating}]
        self.attributes = (
            judged.p.attributes.drop_columns(self.hidden) if self.hidden else judged.p.attributes
        )
        self.columns = categorise(self.attributes)
        self._texts = None if texts is None else [texts[row] for row in judged.rows]
        self._namer = Namer(self.attributes, judged.p.counts)
        self._namers_of_labels: dict[tuple[int, ...], Namer] = {}

    def subject(self, region: Region) -> Description | None:
        """What a region is named by: attributes among all examples, or among those of its labels."""
        among_all = self._namer.describe(region.weights)
        if len(region.labels) != 1:
            return among_all
        among_label = self._among_label(region)
        if among_label is None or (among_all is not None and among_all.f1 + _LABEL_ADDS >= among_label.f1):
            return among_all
        return among_label

    def _among_label(self, region: Region) -> Description | None:
        strata = self.judged.strata
        assert strata is not None
        own = np.flatnonzero(strata == region.labels[0])
        if region.labels not in self._namers_of_labels:
            counts = None if self.judged.p.counts is None else self.judged.p.counts[own]
            self._namers_of_labels[region.labels] = Namer(self.attributes.take(own), counts)
        found = self._namers_of_labels[region.labels].describe(region.weights[own])
        if found is None:
            return None
        label = Condition(LABEL, "=", self.judged.p.classes()[region.labels[0]])
        return replace(found, conditions=(label, *found.conditions))

    def portraits(self, groups: Weights) -> list[Portrait]:
        """What groups look like, each given by the weights of the audited examples."""
        judged, p = self.judged, self.judged.p
        if not len(groups):
            return []
        words: list[list[Word]] = [[] for _ in range(len(groups))]
        if self._texts is not None:
            words = distinctive_words(groups, self._texts, p.counts)
        correct = None if judged.unit_errors is not None else p.correct
        named = [name for name in _RATED if name in p.attributes.column_names]
        found = []
        for weights, statistics, said in zip(groups, self.statistics(groups), words, strict=True):
            top = self._top(weights)
            found.append(
                Portrait(
                    size=statistics.size,
                    share=statistics.share,
                    members=statistics.members,
                    soft=bool(((weights > 0) & (weights < 1)).any()),
                    enrichment=tuple(rank(weights, self.columns, p.counts, correct=correct)),
                    distributions=tuple(distributions(weights, self.columns, p.counts)),
                    confusion=statistics.confusion,
                    words=tuple(said),
                    participants={name: tuple(participants(weights, p, name)) for name in named}
                    if isinstance(p.task, Rating)
                    else {},
                    top=tuple(judged.rows[top].tolist()),
                    weights=tuple(float(weights[row]) for row in top),
                )
            )
        return found

    def statistics(self, groups: Weights) -> list[SliceStatistics]:
        """Size, loss and accuracy inside and outside, over the audited examples."""
        return describe(groups, self.judged.p)

    def weak_values(self) -> list[Accuracy]:
        """The attribute values with the lowest accuracy, of those that are no rarity."""
        judged = self.judged
        if judged.unit_errors is not None or judged.p.correct is None:
            return []
        total = float(judged.counts.sum())
        overall = float(judged.counts @ judged.p.correct) / total
        least = max(_FEWEST, _RAREST * total)
        correct = np.asarray(judged.p.correct)
        found = accuracies(self.columns, correct, judged.counts, _WEAK_VALUES, least)
        return [a for a in found if a.accuracy < overall]

    def _top(self, weights: Float[np.ndarray, " r"]) -> list[int]:
        """Positions of the highest weights; among equals the highest loss first, then the order of the record."""
        members = np.flatnonzero(weights > 0)
        losses = self.judged.errors if self.judged.p.losses is None else self.judged.p.losses
        sought = np.asarray(losses[members], dtype=np.float64) * (-1 if self.better else 1)
        top: list[int] = members[np.lexsort((-sought, -weights[members]))][: self.shown].tolist()
        return top


def _restating(judged: Judged) -> list[str]:
    """Attributes that are the label under another name: each of their values goes with one label, and back."""
    p = judged.p
    if judged.strata is None or p.labels is None or p.labels.ndim != 1 or not p.classes():
        return []
    labels, n_labels = judged.strata, len(np.unique(judged.strata))
    found = []
    for name in p.attributes.column_names:
        column = p.attributes.column(name)
        if pa.types.is_dictionary(column.type):  # with an order of its own
            column = column.cast(column.type.value_type)
        encoded = column.combine_chunks().dictionary_encode
        try:
            codes = encoded(null_encoding="encode").indices.to_numpy(zero_copy_only=False)
        except NotImplementedError:  # a nested column, which describes nothing either
            continue
        n_values = len(np.unique(codes))
        if n_values == n_labels >= 2 and len(np.unique(codes * (labels.max() + 1) + labels)) == n_labels:
            found.append(name)
    return found
