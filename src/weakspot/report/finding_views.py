"""Findings and slices, laid out for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weakspot.explain.attributes import Accuracy, MeanError
from weakspot.findings import Finding, Findings, NearMiss
from weakspot.findings.entries import Neighbour, Portrait, Slice
from weakspot.report.confusion import Confusion, confusion
from weakspot.report.curves import Curve, search_curves
from weakspot.report.example_views import SHORT_LIST_LENGTH, ExampleView, ExampleViews

_SEARCHED = 24  # examples of a slice by whose ids a reader can find it
_MIN_HELD_SHARE = 0.25  # of the examples with a value: a finding that holds at least as much is listed for it


@dataclass(frozen=True)
class NeighbourView:
    """Holds the well-served cluster nearest to a failing one, with some of its members."""

    neighbour: Neighbour
    examples: Sequence[ExampleView]

    @property
    def senses(self) -> str:
        """In what sense it is the nearest."""
        words = {"embedding": "by its mean embedding", "attributes": "by its attributes"}
        return " and ".join(words[sense] for sense in self.neighbour.senses)


@dataclass(frozen=True)
class SliceView:
    """Holds a slice of the method; `further_members` are members that are not among the examples shown."""

    slice: Slice
    anchor: str
    confusion: Confusion | None
    curves: Sequence[Curve]
    examples: Sequence[ExampleView]
    further_members: Sequence[ExampleView]
    neighbours: Sequence[NeighbourView]

    @property
    def doubted(self) -> bool:
        """Whether it looks worse than the rest, but the test does not confirm that."""
        verdicts = ("explained_by_label", "not_confirmed")
        return self.slice.finding is not None and self.slice.evidence.verdict in verdicts

    @property
    def words(self) -> str:
        """The words by which a reader can find the slice, in lower case."""
        return _search_words(self.slice.portrait, self.examples)


@dataclass(frozen=True)
class FindingView:
    """Holds a finding with its parts; `further_members` are members that are not among the examples shown."""

    finding: Finding
    anchor: str
    confusion: Confusion | None
    examples: Sequence[ExampleView]
    further_members: Sequence[ExampleView]
    parts: Sequence[SliceView]

    @property
    def neighbours(self) -> Sequence[NeighbourView]:
        """The well-served clusters nearest to its first slice."""
        return self.parts[0].neighbours if self.parts else ()

    @property
    def most_common_case(self) -> tuple[str, str, float] | None:
        """The most common label and prediction with their share; for a finding that does worse than the rest, the most
        common mistake."""
        if self.confusion is None:
            return None
        accuracy = self.finding.accuracy
        bad = accuracy is not None and (accuracy.outside is None or accuracy.inside < accuracy.outside)
        mistake = self.confusion.largest_mistake if bad else None
        return mistake or self.confusion.largest


@dataclass(frozen=True)
class NearMissView:
    """Holds a cluster that nearly failed, if none does, with some of its members."""

    miss: NearMiss
    examples: Sequence[ExampleView]


@dataclass(frozen=True)
class WeakValue:
    """Holds an attribute value on which the model does worse than on all examples, and the findings that hold it."""

    line: Accuracy | MeanError
    findings: Sequence[FindingView]


def slice_views(
    findings: Findings, examples: ExampleViews, members: Mapping[str, Sequence[int]]
) -> list[SliceView]:
    """Lay out every slice, in the method's order.

    Args:
        findings: The findings.
        examples: Makes views of examples.
        members: Rows of all members by anchor, highest weight first, if all members are shown.
    """
    confirmed = {finding.number for finding in findings.findings if finding.confirmed}
    views = []
    for one in findings.slices:
        most = SHORT_LIST_LENGTH if one.finding in confirmed else len(one.portrait.top)
        anchor = f"slice-{one.number}"
        views.append(
            SliceView(
                slice=one,
                anchor=anchor,
                confusion=confusion(one.portrait.confusion, _classes(findings)),
                curves=search_curves(one.curves),
                examples=_top(one.portrait, examples, most),
                further_members=_further_members(members.get(anchor, ()), one.portrait.top[:most], examples),
                neighbours=[
                    NeighbourView(neighbour, examples.show(neighbour.rows, cams=True))
                    for neighbour in one.neighbours
                ],
            )
        )
    return views


def finding_views(
    findings: Findings,
    slices: Sequence[SliceView],
    examples: ExampleViews,
    members: Mapping[str, Sequence[int]],
) -> list[FindingView]:
    """Lay out every finding with the slices that it is made of, confirmed findings first."""
    views = []
    for one in sorted(findings.findings, key=lambda finding: not finding.confirmed):
        most = len(one.portrait.top) if one.confirmed else SHORT_LIST_LENGTH
        anchor = f"finding-{one.number}"
        views.append(
            FindingView(
                finding=one,
                anchor=anchor,
                confusion=confusion(one.portrait.confusion, _classes(findings)),
                examples=_top(one.portrait, examples, most),
                further_members=_further_members(members.get(anchor, ()), one.portrait.top[:most], examples),
                parts=[slices[number - 1] for number in one.parts],
            )
        )
    return views


def near_miss_views(findings: Findings, examples: ExampleViews) -> list[NearMissView]:
    """Lay out the clusters that came nearest to failing, if none fails, the nearest first."""
    rows = {cluster.id: cluster.rows for cluster in findings.clusters}
    return [NearMissView(miss, examples.show(rows.get(miss.node, ()))) for miss in findings.near_misses]


def _top(portrait: Portrait, examples: ExampleViews, most: int) -> list[ExampleView]:
    """Return the top examples of a group with their Grad-CAMs, and with their weights if any is less than 1."""
    return examples.show(portrait.top[:most], portrait.weights_to_show(most), cams=True)


def _further_members(
    members: Sequence[int], shown: Sequence[int], examples: ExampleViews
) -> list[ExampleView]:
    """Return views of the members that are not shown already."""
    known = set(shown)
    return examples.show([row for row in members if row not in known])


def weak_values(findings: Findings, views: Sequence[FindingView]) -> list[WeakValue]:
    """Lay out the attribute values on which the model does worst, each with the findings that hold a quarter of it."""
    lines = findings.whole.weak_values or findings.whole.values_of_large_error
    return [WeakValue(line, [view for view in views if _holds(view.finding, line)]) for line in lines]


def _holds(finding: Finding, weak: Accuracy | MeanError) -> bool:
    names = {(weak.attribute, weak.value), *weak.same}
    return any(
        not names.isdisjoint([(line.attribute, line.value), *line.same])
        and line.telling
        and line.weight >= _MIN_HELD_SHARE * weak.size
        for line in finding.portrait.enrichment
    )


def _search_words(portrait: Portrait, examples: Sequence[ExampleView]) -> str:
    pairs = {f"{line.attribute} {line.value}" for line in portrait.enrichment}
    pairs |= {f"{attribute} {value}" for line in portrait.enrichment for attribute, value in line.same[:6]}
    cells = {f"{cell.label} → {cell.prediction}" for cell in portrait.confusion[:SHORT_LIST_LENGTH]}
    ids = [view.example.id for view in examples[:_SEARCHED]]
    return " ".join([*sorted(pairs), *sorted(cells), *(word.text for word in portrait.words), *ids]).lower()


def _classes(findings: Findings) -> tuple[str, ...]:
    return tuple(row.name for row in findings.whole.classes)
