"""What the page says of each slice, taken from the records and ready to be laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weakspot.explain.attributes import (
    Accuracy,
    Distribution,
    Enrichment,
    accuracies,
    distributions,
    rank,
)
from weakspot.explain.participants import Participant, participants
from weakspot.explain.words import Word
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import Categorical
from weakspot.report.confusion import Confusion, confusion
from weakspot.report.examples import Example, Exhibits
from weakspot.report.figures import Curve, curves
from weakspot.slices import Slices
from weakspot.slices.statistics import Nearest, SliceStatistics
from weakspot.tasks import Rating

_EXAMPLES = 24
_SHARED = 0.25  # nor is a slice said to hold a value of which it has less than this
_FEWEST, _RAREST = 10, 0.01  # examples, and share of all: a value below either is a rarity
_WEAK_VALUES = 8
_RATED = ("user", "movie", "item")  # attributes that say who rated and what
_NEIGHBOURS = {"embedding": "by its mean embedding", "attributes": "by its attributes"}


@dataclass(frozen=True)
class Neighbour:
    """The well-served cluster nearest to a failing one, in which sense, and some of its members."""

    senses: Sequence[str]
    size: float
    accuracy: float
    examples: Sequence[Example]


@dataclass(frozen=True)
class SliceView:
    """One slice as the page shows it.

    soft      whether its weights differ from one another: a spotlight's do, a cluster's do not
    members   how many examples have any weight
    words     the most distinctive ones, of a slice of texts
    tables    of a slice of ratings: who gave them and what they are of
    """

    number: int
    name: str
    anchor: str
    statistics: SliceStatistics
    soft: bool
    members: int
    enrichments: Sequence[Enrichment]
    distributions: Sequence[Distribution]
    confusion: Confusion | None
    words: Sequence[Word]
    tables: Mapping[str, Sequence[Participant]]
    curves: Sequence[Curve]
    examples: Sequence[Example]
    neighbours: Sequence[Neighbour]

    @property
    def telling(self) -> Enrichment | None:
        """The attribute value that names the slice, if one stands out."""
        best = self.enrichments[0] if self.enrichments else None
        return best if best is not None and best.telling else None

    @property
    def commonest(self) -> tuple[str, str, float] | None:
        """Label, prediction and share of the commonest case: of the mistakes, where the slice does badly."""
        if self.confusion is None:
            return None
        inside, outside = (getattr(self.statistics, f"accuracy_{side}") for side in ("inside", "outside"))
        bad = inside is not None and (outside is None or inside < outside)
        return self.confusion.mistake if bad and self.confusion.mistake else self.confusion.heaviest


@dataclass(frozen=True)
class WeakValue:
    """A value of an attribute on which the model is right less often than on all, and slices that hold it."""

    accuracy: Accuracy
    slices: Sequence[SliceView]


def views(
    predictions: Predictions,
    slices: Slices,
    columns: Sequence[Categorical],
    exhibits: Exhibits,
    words: Sequence[Sequence[Word]] = (),
    noun: str = "Slice",
) -> list[SliceView]:
    """Every slice in the method's order."""
    return [
        _view(j, columns, predictions, slices, exhibits, words[j] if words else (), noun)
        for j in range(len(slices))
    ]


def weak_values(
    columns: Sequence[Categorical],
    correct: np.ndarray,
    counts: np.ndarray | None,
    audited: np.ndarray,
    found: Sequence[SliceView],
) -> list[WeakValue]:
    """The values with the lowest accuracy, of those that are no rarity; at most eight."""
    c = audited * (1.0 if counts is None else counts)
    overall = float(c @ correct / c.sum())
    least = max(_FEWEST, _RAREST * float(c.sum()))
    weak = [a for a in accuracies(columns, correct, c) if a.size >= least and a.accuracy < overall]
    return [WeakValue(a, [view for view in found if _names(view, a)]) for a in weak[:_WEAK_VALUES]]


def _names(view: SliceView, weak: Accuracy) -> bool:
    """Whether a slice has clearly more of a value than the rest."""
    return any(
        (line.attribute, line.value) == (weak.attribute, weak.value)
        and line.telling
        and line.share_inside >= _SHARED
        for line in view.enrichments
    )


def _view(
    j: int,
    columns: Sequence[Categorical],
    predictions: Predictions,
    slices: Slices,
    exhibits: Exhibits,
    words: Sequence[Word],
    noun: str,
) -> SliceView:
    weights = np.asarray(slices.weights[j], dtype=np.float64)
    soft = bool(((weights > 0) & (weights < 1)).any())
    statistics = slices.statistics[j]
    return SliceView(
        number=j + 1,
        name=f"{noun} {j + 1}",
        anchor=f"slice-{j + 1}",
        statistics=statistics,
        soft=soft,
        members=int((weights > 0).sum()),
        enrichments=rank(weights, columns, predictions.counts, correct=exhibits.correct),
        distributions=distributions(weights, columns, predictions.counts),
        confusion=confusion(statistics.confusion, predictions.classes()),
        words=words,
        tables=_tables(weights, predictions),
        curves=curves(slices.histories[j]) if slices.histories else [],
        examples=exhibits.explain(heaviest(weights, predictions), weights if soft else None),
        neighbours=_neighbours(statistics.cluster.nearest if statistics.cluster else (), exhibits),
    )


def _tables(weights: np.ndarray, predictions: Predictions) -> dict[str, list[Participant]]:
    if not isinstance(predictions.task, Rating):
        return {}
    named = [name for name in _RATED if name in predictions.attributes.column_names]
    return {name: participants(weights, predictions, name) for name in named}


def heaviest(weights: np.ndarray, predictions: Predictions) -> list[int]:
    """The rows of the highest weights; among equals the highest loss first, then the order of the record."""
    members = np.flatnonzero(weights > 0)
    losses = np.zeros(len(members)) if predictions.losses is None else predictions.losses[members]
    rows: list[int] = members[np.lexsort((-losses, -weights[members]))][:_EXAMPLES].tolist()
    return rows


def _neighbours(nearest: Sequence[Nearest], exhibits: Exhibits) -> list[Neighbour]:
    """The nearest well-served clusters; one that is nearest in both senses is shown once.

    Members that the model gets right come first: it is they that a failing cluster is compared with.
    """
    right = exhibits.correct
    found: dict[int, tuple[Nearest, list[str]]] = {}
    for one in nearest:
        found.setdefault(one.node, (one, []))[1].append(_NEIGHBOURS[one.sense])
    each = _EXAMPLES // max(len(found), 1)
    return [
        Neighbour(
            senses,
            entry.size,
            entry.accuracy,
            exhibits.explain(
                sorted(entry.members, key=lambda row: right is not None and not right[row])[:each]
            ),
        )
        for entry, senses in found.values()
    ]
