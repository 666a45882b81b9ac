"""What the page says of each slice, taken from the records and ready to be laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weakspot.explain.attributes import (
    Categorical,
    Distribution,
    Enrichment,
    categorise,
    distributions,
    rank,
)
from weakspot.predictions import Predictions
from weakspot.report.confusion import Confusion, confusion
from weakspot.report.examples import Example, Exhibits
from weakspot.report.figures import Curve, curves
from weakspot.slices import Slices

_EXAMPLES = 24
_NOUNS = {"spotlight": "Spotlight", "udis": "Cluster"}
_TELLING = 1.2  # a lift below this names nothing
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
    """

    number: int
    name: str
    anchor: str
    statistics: Mapping[str, Any]
    soft: bool
    members: int
    enrichments: Sequence[Enrichment]
    distributions: Sequence[Distribution]
    confusion: Confusion | None
    curves: Sequence[Curve]
    examples: Sequence[Example]
    neighbours: Sequence[Neighbour]

    @property
    def telling(self) -> Enrichment | None:
        """The attribute value that names the slice, if one stands out."""
        best = self.enrichments[0] if self.enrichments else None
        return best if best is not None and best.lift >= _TELLING else None


def views(predictions: Predictions, slices: Slices, exhibits: Exhibits) -> list[SliceView]:
    """Every slice in the method's order."""
    columns = categorise(predictions.attributes)
    return [_view(j, columns, predictions, slices, exhibits) for j in range(len(slices))]


def _view(
    j: int, columns: Sequence[Categorical], predictions: Predictions, slices: Slices, exhibits: Exhibits
) -> SliceView:
    weights = np.asarray(slices.weights[j], dtype=np.float64)
    soft = bool(((weights > 0) & (weights < 1)).any())
    statistics = slices.statistics[j]
    return SliceView(
        number=j + 1,
        name=f"{_NOUNS.get(slices.method, 'Slice')} {j + 1}",
        anchor=f"slice-{j + 1}",
        statistics=statistics,
        soft=soft,
        members=int((weights > 0).sum()),
        enrichments=rank(weights, columns, predictions.counts),
        distributions=distributions(weights, columns, predictions.counts),
        confusion=confusion(statistics.get("confusion") or (), predictions.classes()),
        curves=curves(slices.histories[j]) if slices.histories else [],
        examples=exhibits.explain(heaviest(weights, predictions), weights if soft else None),
        neighbours=_neighbours(statistics.get("nearest") or {}, exhibits),
    )


def heaviest(weights: np.ndarray, predictions: Predictions) -> list[int]:
    """The rows of the highest weights; among equals the highest loss first, then the order of the record."""
    members = np.flatnonzero(weights > 0)
    losses = np.zeros(len(members)) if predictions.losses is None else predictions.losses[members]
    rows: list[int] = members[np.lexsort((-losses, -weights[members]))][:_EXAMPLES].tolist()
    return rows


def _neighbours(nearest: Mapping[str, Any], exhibits: Exhibits) -> list[Neighbour]:
    """The nearest well-served clusters; one that is nearest in both senses is shown once."""
    found: dict[int, tuple[Mapping[str, Any], list[str]]] = {}
    for sense, words in _NEIGHBOURS.items():
        if nearest.get(sense):
            found.setdefault(nearest[sense]["node"], (nearest[sense], []))[1].append(words)
    each = _EXAMPLES // max(len(found), 1)
    return [
        Neighbour(senses, entry["size"], entry["accuracy"], exhibits.explain(entry["members"][:each]))
        for entry, senses in found.values()
    ]
