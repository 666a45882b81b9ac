"""Findings and slices laid out for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weakspot.explain.attributes import Accuracy
from weakspot.findings import Finding, Findings, NearMiss
from weakspot.findings.record import GroupDescription, Neighbour, Slice
from weakspot.report.confusion import Confusion, confusion
from weakspot.report.exhibits import FEWER, Exhibit, Exhibits
from weakspot.report.figures import Curve, curves

_SEARCHED = 24  # examples of a slice by whose ids it is found
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
    """A slice of the method, as a part of a finding or by itself; `others` are the members beyond those shown."""

    slice: Slice
    anchor: str
    confusion: Confusion | None
    curves: Sequence[Curve]
    exhibits: Sequence[Exhibit]
    others: Sequence[Exhibit]
    neighbours: Sequence[NeighbourView]

    @property
    def words(self) -> str:
        """What a reader may look for it by, in lower case."""
        return _words_of(self.slice.portrait, self.exhibits)


@dataclass(frozen=True)
class FindingView:
    """A finding with its parts; `others` are the members beyond those shown."""

    finding: Finding
    anchor: str
    confusion: Confusion | None
    exhibits: Sequence[Exhibit]
    others: Sequence[Exhibit]
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


def slice_views(
    findings: Findings, exhibits: Exhibits, members: Mapping[str, Sequence[int]]
) -> list[SliceView]:
    """Every slice, in the method's order.

    Args:
        findings: Whose slices.
        exhibits: What examples look like.
        members: Rows of all members by anchor, highest weight first, where all are shown.
    """
    confirmed = {finding.number for finding in findings.findings if finding.confirmed}
    views = []
    for one in findings.slices:
        most = FEWER if one.finding in confirmed else len(one.portrait.top)
        anchor = f"slice-{one.number}"
        views.append(
            SliceView(
                slice=one,
                anchor=anchor,
                confusion=confusion(one.portrait.confusion, _classes(findings)),
                curves=curves(one.curves),
                exhibits=_top(one.portrait, exhibits, most),
                others=_others(members.get(anchor, ()), one.portrait.top[:most], exhibits),
                neighbours=[
                    NeighbourView(neighbour, exhibits.show(neighbour.rows, cams=True))
                    for neighbour in one.neighbours
                ],
            )
        )
    return views


def finding_views(
    findings: Findings,
    slices: Sequence[SliceView],
    exhibits: Exhibits,
    members: Mapping[str, Sequence[int]],
) -> list[FindingView]:
    """Every finding, those that are confirmed first; each with the slices that it is made of."""
    views = []
    for one in sorted(findings.findings, key=lambda finding: not finding.confirmed):
        most = len(one.portrait.top) if one.confirmed else FEWER
        anchor = f"finding-{one.number}"
        views.append(
            FindingView(
                finding=one,
                anchor=anchor,
                confusion=confusion(one.portrait.confusion, _classes(findings)),
                exhibits=_top(one.portrait, exhibits, most),
                others=_others(members.get(anchor, ()), one.portrait.top[:most], exhibits),
                parts=[slices[number - 1] for number in one.parts],
            )
        )
    return views


def near_miss_views(findings: Findings, exhibits: Exhibits) -> list[NearMissView]:
    """What came nearest to being a slice, where there is none; nearest first."""
    rows = {cluster.id: cluster.rows for cluster in findings.clusters}
    return [NearMissView(miss, exhibits.show(rows.get(miss.node, ()))) for miss in findings.near_misses]


def _top(portrait: GroupDescription, exhibits: Exhibits, most: int) -> list[Exhibit]:
    """The top examples of a group with their Grad-CAMs, and with their weights where these differ."""
    weights = portrait.weights[:most] if portrait.soft else None
    return exhibits.show(portrait.top[:most], weights, cams=True)


def _others(members: Sequence[int], shown: Sequence[int], exhibits: Exhibits) -> list[Exhibit]:
    """The members beyond those shown."""
    known = set(shown)
    return exhibits.show([row for row in members if row not in known])


def weak_values(findings: Findings, views: Sequence[FindingView]) -> list[WeakValue]:
    """The attribute values with the lowest accuracy, each with the findings that hold much of it."""
    return [
        WeakValue(accuracy, [view for view in views if _holds(view.finding, accuracy)])
        for accuracy in findings.whole.weak_values
    ]


def _holds(finding: Finding, weak: Accuracy) -> bool:
    names = {(weak.attribute, weak.value), *weak.same}
    return any(
        not names.isdisjoint([(line.attribute, line.value), *line.same])
        and line.telling
        and line.share_inside >= _SHARED
        for line in finding.portrait.enrichment
    )


def _words_of(portrait: GroupDescription, exhibits: Sequence[Exhibit]) -> str:
    pairs = {f"{line.attribute} {line.value}" for line in portrait.enrichment}
    pairs |= {f"{attribute} {value}" for line in portrait.enrichment for attribute, value in line.same[:6]}
    cells = {f"{cell.label} → {cell.prediction}" for cell in portrait.confusion[:FEWER]}
    ids = [exhibit.example.id for exhibit in exhibits[:_SEARCHED]]
    return " ".join([*sorted(pairs), *sorted(cells), *(word.text for word in portrait.words), *ids]).lower()


def _classes(findings: Findings) -> tuple[str, ...]:
    return tuple(row.name for row in findings.whole.classes)
