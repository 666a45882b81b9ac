"""Findings and slices laid out for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weakspot.explain.attributes import Accuracy
from weakspot.findings import Finding, Findings
from weakspot.findings.record import Neighbour, Portrait, Slice
from weakspot.methods.base import NearMiss
from weakspot.report.confusion import Confusion, confusion
from weakspot.report.exhibits import Exhibit, Exhibits
from weakspot.report.figures import Curve, curves

_FEWER = 12
"""Examples of a slice that is part of a confirmed finding, which shows its own, and of what was not confirmed."""

_SHARED = 0.25  # nor is a finding said to hold a value of which it has less than this


@dataclass(frozen=True)
class NeighbourView:
    """The well-served cluster nearest to a failing one, with some of its members."""

    neighbour: Neighbour
    exhibits: Sequence[Exhibit]

    @property
    def senses(self) -> str:
        """In which sense it is the nearest."""
        words = {"embedding": "by its mean embedding", "attributes": "by its attributes"}
        return " and ".join(words[sense] for sense in self.neighbour.senses)


@dataclass(frozen=True)
class SliceView:
    """A slice of the method, as a part of a finding or by itself."""

    slice: Slice
    anchor: str
    confusion: Confusion | None
    curves: Sequence[Curve]
    exhibits: Sequence[Exhibit]
    neighbours: Sequence[NeighbourView]


@dataclass(frozen=True)
class FindingView:
    """A finding with its parts."""

    finding: Finding
    anchor: str
    confusion: Confusion | None
    exhibits: Sequence[Exhibit]
    parts: Sequence[SliceView]

    @property
    def neighbours(self) -> Sequence[NeighbourView]:
        """The well-served clusters nearest to its leading part."""
        return self.parts[0].neighbours if self.parts else ()

    @property
    def commonest(self) -> tuple[str, str, float] | None:
        """Label, prediction and share of the commonest case: of the mistakes, where it does badly."""
        if self.confusion is None:
            return None
        accuracy = self.finding.accuracy
        bad = accuracy is not None and (accuracy.outside is None or accuracy.inside < accuracy.outside)
        return self.confusion.mistake if bad and self.confusion.mistake else self.confusion.heaviest


@dataclass(frozen=True)
class NearMissView:
    """What came nearest to being a slice, where there is none, with some of its members."""

    miss: NearMiss
    exhibits: Sequence[Exhibit]


@dataclass(frozen=True)
class WeakValue:
    """A value of an attribute on which the model is right less often than on all, and findings that hold it."""

    accuracy: Accuracy
    findings: Sequence[FindingView]


def slice_views(findings: Findings, exhibits: Exhibits) -> list[SliceView]:
    """Every slice, in the method's order."""
    confirmed = {finding.number for finding in findings.findings if finding.confirmed}
    return [
        SliceView(
            slice=one,
            anchor=f"slice-{one.number}",
            confusion=confusion(one.portrait.confusion, _classes(findings)),
            curves=curves(one.curves),
            exhibits=_top(one.portrait, exhibits, _FEWER if one.finding in confirmed else None),
            neighbours=[
                NeighbourView(neighbour, exhibits.show(neighbour.rows, cams=True))
                for neighbour in one.neighbours
            ],
        )
        for one in findings.slices
    ]


def finding_views(findings: Findings, slices: Sequence[SliceView], exhibits: Exhibits) -> list[FindingView]:
    """Every finding, those that are confirmed first; each with the slices that it is made of."""
    order = sorted(findings.findings, key=lambda finding: not finding.confirmed)
    return [
        FindingView(
            finding=one,
            anchor=f"finding-{one.number}",
            confusion=confusion(one.portrait.confusion, _classes(findings)),
            exhibits=_top(one.portrait, exhibits, None if one.confirmed else _FEWER),
            parts=[slices[number - 1] for number in one.parts],
        )
        for one in order
    ]


def near_miss_views(findings: Findings, exhibits: Exhibits) -> list[NearMissView]:
    """What came nearest to being a slice, where there is none; nearest first."""
    rows = {cluster.id: cluster.rows for cluster in findings.clusters}
    return [NearMissView(miss, exhibits.show(rows.get(miss.node, ()))) for miss in findings.near_misses]


def _top(portrait: Portrait, exhibits: Exhibits, most: int | None = None) -> list[Exhibit]:
    """The top examples of a group with their Grad-CAMs, and with their weights where these differ."""
    weights = portrait.weights[:most] if portrait.soft else None
    return exhibits.show(portrait.top[:most], weights, cams=True)


def weak_values(findings: Findings, views: Sequence[FindingView]) -> list[WeakValue]:
    """The attribute values with the lowest accuracy, each with the findings that hold much of it."""
    return [
        WeakValue(accuracy, [view for view in views if _holds(view.finding, accuracy)])
        for accuracy in findings.whole.weak_values
    ]


def _holds(finding: Finding, weak: Accuracy) -> bool:
    return any(
        (line.attribute, line.value) == (weak.attribute, weak.value)
        and line.telling
        and line.share_inside >= _SHARED
        for line in finding.portrait.enrichment
    )


def _classes(findings: Findings) -> tuple[str, ...]:
    return tuple(row.name for row in findings.whole.classes)
