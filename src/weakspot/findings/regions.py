"""Turns tested slices into regions: confirmed ones are extended as far as errors stay common, and overlaps merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.sparse import csr_array

from weakspot.evaluation.confirmation import VERDICTS, Evidence
from weakspot.findings.example_outcomes import ExampleOutcomes, fails_more
from weakspot.findings.extent import ErrorRates, ReducedEmbeddings, cross_fitted_weights, find_extent
from weakspot.findings.memberships import core_members
from weakspot.findings.region_names import Conjunction
from weakspot.findings.slice_parts import SlicePart
from weakspot.hashing import id_hashes

_SAME_PLACE = 0.5  # share of the smaller of two regions that lies in the other
_IN_MOST_HALVINGS = 0.5  # from this membership on, an example lies in a region: in most halvings
_AS_LIKELY = 0.95  # share of their likelihood apart that labels of a slice must reach together to be merged

_VERDICT_ORDER = {verdict: place for place, verdict in enumerate(VERDICTS)}

NameRegion = Callable[["Region"], Conjunction | None]
TestRegion = Callable[["Region", ExampleOutcomes], Evidence]


@dataclass(frozen=True, eq=False)
class Region:
    """A place in embedding space, perhaps of some labels only, with what was found there.

    Attributes:
        parts: Positions of the slices that it is made of, the leading one first.
        labels: Codes of the labels that it is confined to; none if it is not.
        described: (1, r) memberships of the described examples: those of its slice, or (once its extent has been found)
            the share of the thresholds, each from half of the tested examples, that an example lies within. The array
            is sparse, because there may be hundreds of regions.
        tested: (1, m) memberships of the tested examples: those of its slice, or (once its extent has been found) the
            share, among the thresholds that its own error did not affect, of those that an example lies within.
        evidence: The strongest evidence of its parts.
        likelihood: The log likelihood ratio of the extent of a confirmed region.
        conjunction: The attribute values that name it.
    """

    parts: tuple[int, ...]
    labels: tuple[int, ...]
    described: csr_array
    tested: csr_array
    evidence: Evidence
    likelihood: float = 0.0
    conjunction: Conjunction | None = None

    @property
    def described_weights(self) -> Float[np.ndarray, " r"]:
        """Memberships of the described examples as a dense array."""
        weights: np.ndarray = self.described.toarray()[0]
        return weights

    @property
    def tested_weights(self) -> Float[np.ndarray, " m"]:
        """Memberships of the tested examples as a dense array."""
        weights: np.ndarray = self.tested.toarray()[0]
        return weights

    @property
    def confirmed(self) -> bool:
        return self.evidence.verdict == "confirmed"


def find_regions(
    failing_parts: Sequence[tuple[SlicePart, Evidence]],
    described: ExampleOutcomes,
    tested: ExampleOutcomes,
    ids: tuple[Shaped[np.ndarray, " r"], Shaped[np.ndarray, " m"]],
    searched: Bool[np.ndarray, " r"],
    name_region: NameRegion,
    test_region: TestRegion,
    seed: int,
) -> list[Region]:
    """Turn the parts of slices that are worse than the rest into regions.

    Confirmed parts are extended. They are merged into one region if their extents share most of the smaller one, if
    they are labels of one slice that are as likely together as apart, if attributes name them alike apart from their
    labels, or if one is worse than the rest only because of what it shares with a likelier one. A part that was not
    confirmed, but lies mostly in a confirmed region, belongs to that region.

    Args:
        failing_parts: Parts of slices that are worse than the rest, each with its evidence.
        described: The r examples that the slices are described over.
        tested: The m examples that they were tested on.
        ids: (r,) and (m,) the ids of both. Samples and halves are drawn by their hashes, so the order of examples does
            not matter.
        searched: (r,) the described examples that were searched for slices.
        name_region: Names a region by attributes.
        test_region: Tests a region on some of the tested examples.
        seed: The seed of samples and halves.

    Returns:
        The regions, each with its name.
    """
    confirmed = [_region_of(part, e) for part, e in failing_parts if e.verdict == "confirmed"]
    regions: list[Region] = []
    if confirmed:
        hashes, tested_hashes = (id_hashes(map(str, names), f"extent, seed {seed}") for names in ids)
        reduced = ReducedEmbeddings(described.embeddings, tested.embeddings, hashes)
        extender = _RegionExtender(reduced, described, tested, tested_hashes, searched)
        regions = _merge_labels([extender(region) for region in confirmed], extender)
        regions = _merge_overlapping(regions, extender)
        regions = _absorb_dependent(regions, tested, test_region)
        regions = _merge_by_name(regions, name_region, extender)
    unconfirmed: list[Region] = []
    for part, e in failing_parts:
        if e.verdict == "confirmed":
            continue
        region = _region_of(part, e)
        for hosts in (regions, unconfirmed):
            host = next((i for i, other in enumerate(hosts) if _lies_in(region, other)), None)
            if host is not None:
                hosts[host] = _with_part(hosts[host], region)
                break
        else:
            unconfirmed.append(region)
    return [*regions, *(replace(region, conjunction=name_region(region)) for region in unconfirmed)]


def _region_of(part: SlicePart, evidence: Evidence) -> Region:
    """Return a region that is one part of a slice."""
    described, tested = _sparse_row(part.described_weights), _sparse_row(part.tested_weights)
    return Region((part.slice,), part.labels, described, tested, evidence)


def _sparse_row(weights: Float[np.ndarray, " n"]) -> csr_array:
    return csr_array(weights[None])


def _merge_labels(regions: Sequence[Region], extender: _RegionExtender) -> list[Region]:
    """Merge the labels of one slice if they are as likely together: the failure does not depend on the label."""
    by_slice: dict[tuple[int, ...], list[Region]] = {}
    for region in regions:
        by_slice.setdefault(region.parts, []).append(region)
    result = []
    for group in by_slice.values():
        likelihood_apart = sum(region.likelihood for region in group)
        if len(group) > 1:
            merged = extender(_merge(group, ()))
            if merged.likelihood >= _AS_LIKELY * likelihood_apart:
                result.append(merged)
                continue
        result.extend(group)
    return result


def _merge_overlapping(regions: Sequence[Region], extender: _RegionExtender) -> list[Region]:
    """Merge regions that share most of the smaller one, likeliest first, and extend the merged ones again."""
    result: list[Region] = []
    merged: set[int] = set()
    for region in sorted(regions, key=lambda region: -region.likelihood):
        same = next((i for i, other in enumerate(result) if overlap(other, region) >= _SAME_PLACE), None)
        if same is None:
            result.append(region)
        else:
            result[same] = _merge((result[same], region), result[same].labels)
            merged.add(same)
    return [extender(region) if i in merged else region for i, region in enumerate(result)]


def _absorb_dependent(
    regions: Sequence[Region], tested: ExampleOutcomes, test_region: TestRegion
) -> list[Region]:
    """Keep regions that are worse than the rest even without the examples that they share with likelier ones.

    Each of the others becomes a part of the region that it shares most with.
    """
    result: list[Region] = []
    for region in sorted(regions, key=lambda region: -region.likelihood):
        shared = [float(region.tested.minimum(other.tested).sum()) for other in result]
        if not any(shared):
            result.append(region)
            continue
        others = reduce(csr_array.maximum, (other.tested for other in result)).toarray()[0]
        unshared = others < _IN_MOST_HALVINGS
        remainder = replace(region, tested=region.tested[:, unshared])
        if remainder.tested.nnz and test_region(remainder, tested.take(unshared)).verdict == "confirmed":
            result.append(region)
        else:
            host = int(np.argmax(shared))
            result[host] = replace(result[host], parts=_unique(result[host].parts, region.parts))
    return result


def _merge_by_name(
    regions: Sequence[Region], name_region: NameRegion, extender: _RegionExtender
) -> list[Region]:
    """Name regions, and merge those with the same name: dark cats and dark dogs are dark images."""
    by_name: dict[object, list[Region]] = {}
    for i, region in enumerate(regions):
        named = replace(region, conjunction=name_region(region))
        conditions = () if named.conjunction is None else named.conjunction.conditions
        name = tuple(condition.topic for condition in conditions if not condition.of_label)
        by_name.setdefault(name or i, []).append(named)
    result = []
    for group in by_name.values():
        if len(group) == 1:
            result.append(group[0])
        else:
            labels = tuple(sorted({label for region in group for label in region.labels}))
            confined = all(region.labels for region in group)
            merged = extender(_merge(group, labels if confined else ()))
            result.append(replace(merged, conjunction=name_region(merged)))
    return result


def _merge(regions: Sequence[Region], labels: tuple[int, ...]) -> Region:
    """Merge several regions into one, with the strongest evidence among them."""
    return Region(
        parts=_unique(*(region.parts for region in regions)),
        labels=labels,
        described=reduce(csr_array.maximum, (region.described for region in regions)),
        tested=reduce(csr_array.maximum, (region.tested for region in regions)),
        evidence=reduce(stronger, (region.evidence for region in regions)),
        likelihood=max(region.likelihood for region in regions),
    )


@dataclass(frozen=True, eq=False)
class _RegionExtender:
    """Extends regions over the described and the tested examples."""

    reduced: ReducedEmbeddings
    described: ExampleOutcomes
    tested: ExampleOutcomes
    tested_hashes: Float[np.ndarray, " m"]
    searched: Bool[np.ndarray, " r"]

    def __call__(self, region: Region) -> Region:
        """Return a region with its extent, found by starting from all of its members and from those of high weight.

        The region is returned unchanged if the extent misses most of its members, because the embedding does not
        separate them from the others (in a slice of another tool, say) or because halves of the tested examples hold
        too few errors to locate its end. It is also returned unchanged if the extent is not worse than the rest on the
        tested examples.
        """
        tested_population = self.tested.with_labels(region.labels)
        population = self.described.with_labels(region.labels)
        weights = region.described_weights
        starts = [(members, population) for members in _cores(weights)]
        counts = self.tested.counts * tested_population
        severity = self.tested.severity
        rates = ErrorRates.of(region.tested_weights, severity, counts)
        extent = find_extent(
            self.reduced, starts, population, self.searched, tested_population, severity, rates
        )
        described, tested = cross_fitted_weights(
            extent, tested_population, severity, rates, self.tested_hashes
        )
        misses_members = np.minimum(weights, described).sum() < _SAME_PLACE * weights.sum()
        if misses_members or not fails_more(self.tested, tested):
            return region
        return replace(
            region,
            described=_sparse_row(described),
            tested=_sparse_row(tested),
            likelihood=extent.likelihood,
        )


def _cores(weights: Float[np.ndarray, " r"]) -> list[Bool[np.ndarray, " r"]]:
    """Return the members of any weight, and the core members if they are not the same."""
    members, core = weights > 0, core_members(weights)
    return [members] if np.array_equal(members, core) else [members, core]


def _lies_in(region: Region, other: Region) -> bool:
    """Return whether a region that was not confirmed is mostly the same place as another."""
    if not other.confirmed:
        if region.parts[0] in other.parts:  # another label of the same slice
            return True
        return region.labels == other.labels and overlap(other, region) >= _SAME_PLACE
    return bool(region.described.minimum(other.described).sum() >= _SAME_PLACE * region.described.sum())


def _with_part(region: Region, part: Region) -> Region:
    """Return a region with one more part; the extent of a confirmed one stays as it is."""
    if region.confirmed:
        return replace(region, parts=_unique(region.parts, part.parts))
    return _merge((region, part), region.labels if region.labels == part.labels else ())


def overlap(one: Region, other: Region) -> float:
    """Return the share of the smaller region's weight that lies in the other."""
    shared = float(one.described.minimum(other.described).sum())
    return shared / max(1e-300, float(min(one.described.sum(), other.described.sum())))


def stronger(one: Evidence, other: Evidence) -> Evidence:
    """Return the stronger evidence: by verdict, then by p-value."""
    return min((one, other), key=lambda e: (_VERDICT_ORDER[e.verdict], 2.0 if e.p is None else e.p))


def _unique(*parts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(part for group in parts for part in group))
