"""Describes groups of examples: by attributes, labels, words and people, and by the examples to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from weakspot.evaluation.contrasts import loss_contrast, wilson_interval
from weakspot.explain.attributes import (
    Accuracy,
    MeanError,
    accuracies,
    distributions,
    mean_errors,
    rank_by_enrichment,
)
from weakspot.explain.participants import participants
from weakspot.explain.words import Word, distinctive_words
from weakspot.findings.audited_examples import AuditedExamples
from weakspot.findings.entries import Portrait
from weakspot.findings.memberships import core_members
from weakspot.findings.region_contrasts import in_task_measure
from weakspot.findings.region_names import LABEL, Condition, Conjunction, RegionNamer
from weakspot.findings.regions import Region
from weakspot.predictions.attributes import categorise
from weakspot.slices import Weights
from weakspot.slices.statistics import SliceStatistics, describe
from weakspot.tasks import Rating

SHOWN = 24
"""How many examples of a finding or slice are shown, unless more are asked for."""

_RATED = ("user", "movie", "item")  # attributes that say who rated what
_LABEL_ADDS = 0.05  # of F1 by which a name within one label must be better than a name among all
_MIN_EXAMPLES_OF_VALUE = 10  # an attribute value with fewer is too rare to judge
_MIN_SHARE_OF_VALUE = 0.01  # the same, as a share of all examples
_WEAK_VALUES = 8  # attribute values with the lowest accuracy, at most


class GroupDescriber:
    """Describes groups of the audited examples; reads attributes and texts once for all groups.

    Args:
        audited: The r audited examples.
        restating: Attributes that explain nothing, because they restate the target.
        texts: The text of each example of the whole record.
        better: Whether the best-served examples are searched for; the lowest losses are then shown first.
        shown: How many top examples of a group are kept.

    Attributes:
        restating: These, and the attributes that are the label under another name.
        attributes: The table of the other attributes.
        columns: Those of them that describe something, as categories.
    """

    def __init__(
        self,
        audited: AuditedExamples,
        restating: Sequence[str],
        texts: Sequence[str] | None,
        better: bool,
        shown: int = SHOWN,
    ) -> None:
        self.audited = audited
        self.better = better
        self.shown = shown
        table = audited.record.attributes
        known = {*restating, *_attributes_restating_label(audited)}
        self.restating = [name for name in table.column_names if name in known]
        self.attributes = table.drop_columns(self.restating) if self.restating else table
        self.columns = categorise(self.attributes)
        self._texts = None if texts is None else [texts[row] for row in audited.rows]
        self._namer = RegionNamer(self.attributes, audited.record.counts, audited.record.ids)
        self._namers_within_label: dict[tuple[int, ...], RegionNamer] = {}

    def name_region(self, region: Region) -> Conjunction | None:
        """Name a region's core by attributes, among all examples or those of its label; None if none agree."""
        core = core_members(region.described_weights).astype(np.float64)
        among_all = self._namer.name(core)
        if len(region.labels) != 1:
            return among_all
        within_label = self._name_within_label(region, core)
        if within_label is None or (among_all is not None and among_all.f1 + _LABEL_ADDS >= within_label.f1):
            return among_all
        return within_label

    def _name_within_label(self, region: Region, core: Float[np.ndarray, " r"]) -> Conjunction | None:
        strata, record = self.audited.strata, self.audited.record
        assert strata is not None
        rows = np.flatnonzero(strata == region.labels[0])
        if region.labels not in self._namers_within_label:
            counts = None if record.counts is None else record.counts[rows]
            own_ids = record.ids[rows]
            self._namers_within_label[region.labels] = RegionNamer(
                self.attributes.take(rows), counts, own_ids
            )
        found = self._namers_within_label[region.labels].name(core[rows])
        if found is None:
            return None
        label = Condition(LABEL, "=", record.classes()[region.labels[0]])
        return replace(found, conditions=(label, *found.conditions))

    def describe(self, groups: Weights) -> list[Portrait]:
        """Describe k groups, each given by the weights of the audited examples, (k, r)."""
        audited, record = self.audited, self.audited.record
        if not len(groups):
            return []
        words: list[list[Word]] = [[] for _ in range(len(groups))]
        if self._texts is not None:
            words = distinctive_words(groups, self._texts, record.counts)
        correct = None if audited.unit_errors is not None else record.correct
        rated = [name for name in _RATED if name in record.attributes.column_names]
        portraits = []
        for weights, statistics, own_words in zip(groups, self.statistics(groups), words, strict=True):
            top = self._top(weights)
            portraits.append(
                Portrait(
                    size=statistics.size,
                    share=statistics.share,
                    members=statistics.members,
                    soft=bool(((weights > 0) & (weights < 1)).any()),
                    enrichment=tuple(
                        rank_by_enrichment(weights, self.columns, record.counts, correct=correct)
                    ),
                    distributions=tuple(distributions(weights, self.columns, record.counts)),
                    confusion=statistics.confusion,
                    words=tuple(own_words),
                    participants={name: tuple(participants(weights, record, name)) for name in rated}
                    if isinstance(record.task, Rating)
                    else {},
                    top=tuple(audited.rows[top].tolist()),
                    weights=tuple(float(weights[row]) for row in top),
                )
            )
        return portraits

    def statistics(self, groups: Weights) -> list[SliceStatistics]:
        """Return size, loss and accuracy inside and outside of groups (k, r), over the audited examples."""
        return describe(groups, self.audited.record)

    def weak_values(self) -> list[Accuracy]:
        """Return the attribute values with the lowest accuracy, among those with enough examples."""
        audited = self.audited
        if audited.unit_errors is not None or audited.record.correct is None:
            return []
        overall = float(audited.counts @ audited.record.correct) / float(audited.counts.sum())
        correct = np.asarray(audited.record.correct)
        found = accuracies(
            self.columns, correct, audited.counts, _WEAK_VALUES, self._least_of_value, wilson_interval
        )
        return [value for value in found if value.accuracy < overall]

    def values_of_large_error(self) -> list[MeanError]:
        """Return the attribute values with the largest error, among those with enough examples."""
        audited, task = self.audited, self.audited.record.task
        if audited.unit_errors is None or task is None:
            return []
        overall = float(np.average(audited.unit_errors, weights=audited.counts))
        found = mean_errors(
            self.columns, audited.unit_errors, audited.counts, _WEAK_VALUES, self._least_of_value
        )
        by_name = {column.name: column for column in self.columns}
        values = []
        for value in found:
            if value.error > overall:
                column = by_name[value.attribute]
                has = audited.counts * (column.codes == column.values.index(value.value))
                means = loss_contrast(audited.unit_errors, has, audited.counts - has, None)
                measured = in_task_measure(means, task)
                values.append(replace(value, error=measured.inside, interval=measured.interval))
        return values

    @property
    def _least_of_value(self) -> float:
        return max(_MIN_EXAMPLES_OF_VALUE, _MIN_SHARE_OF_VALUE * float(self.audited.counts.sum()))

    def _top(self, weights: Float[np.ndarray, " r"]) -> list[int]:
        """Return positions of the highest weights among the core members.

        Examples that hardly belong to a group say nothing about it. Ties are ordered by loss, the highest first (the
        lowest if `better`), then by the record's order.
        """
        members = np.flatnonzero(core_members(weights))
        record = self.audited.record
        losses = self.audited.errors if record.losses is None else record.losses
        signed_losses = np.asarray(losses[members], dtype=np.float64) * (-1 if self.better else 1)
        order = np.lexsort((-signed_losses, -weights[members]))
        top: list[int] = members[order][: self.shown].tolist()
        return top


def _attributes_restating_label(audited: AuditedExamples) -> list[str]:
    """Return attributes that are the label under another name: their values correspond to labels one to one."""
    record = audited.record
    if audited.strata is None or record.labels is None or record.labels.ndim != 1 or not record.classes():
        return []
    labels, n_labels = audited.strata, len(np.unique(audited.strata))
    found = []
    for name in record.attributes.column_names:
        column = record.attributes.column(name)
        if pa.types.is_dictionary(column.type):  # its codes have an order of their own
            column = column.cast(column.type.value_type)
        encode = column.combine_chunks().dictionary_encode
        try:
            codes = encode(null_encoding="encode").indices.to_numpy(zero_copy_only=False)
        except NotImplementedError:  # a nested column, which describes nothing either
            continue
        n_values = len(np.unique(codes))
        if n_values == n_labels >= 2 and len(np.unique(codes * (labels.max() + 1) + labels)) == n_labels:
            found.append(name)
    return found
